//! The local socket: one line of JSON a request, one line an answer.
//!
//! `{"command": "account-add", "input": {…}}` is answered by `{"ok": {…}}` or by
//! `{"code": "account-exists", "error": "…"}`. The socket's file is its owner's only, and the
//! caller's user is asked of the system besides: it must be the server's own, or root.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _, AsyncWrite};
use tokio::io::{AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::command::{self, Command, Refusal};
use crate::limits::{ANSWER_WAIT_SECS, CALLER_WAIT_SECS, CALLERS_MAX, LINE_BYTES_MAX};
use crate::{AdminError, Cx};

/// Why a running server could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody listens: no server is running.
    #[error("no server is running")]
    Absent,
    /// The socket belongs to another user.
    #[error("the server belongs to another user; run this as that user or as root")]
    Denied,
    /// The server went away, or did not answer. Whether it did what it was asked is not known.
    #[error("the server went away before it answered ({0}); see what it did, and ask again")]
    Broken(io::Error),
}

/// Opens the socket, in place of one that a killed server left behind.
///
/// # Errors
/// The file cannot be made.
pub fn bind(path: &Path) -> io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Serves callers until the task is ended.
pub async fn serve(listener: UnixListener, cx: Cx) {
    let places = Arc::new(Semaphore::new(CALLERS_MAX));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let cx = cx.clone();
                tokio::spawn(async move {
                    let _place = place;
                    if let Err(error) = admit(stream, cx).await {
                        tracing::debug!(event = "socket_closed", %error, "A caller of the local socket went away.");
                    }
                });
            }
            Err(error) => {
                tracing::warn!(event = "socket_failed", %error, "The local socket cannot accept callers.");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

/// Asks a running server for a command.
///
/// # Errors
/// The outer one if it could not be asked, the inner one if it refused.
pub async fn ask<C: Command>(
    path: &Path,
    input: &C::Input,
) -> Result<Result<C::Output, Refusal>, AskError> {
    let stream = UnixStream::connect(path).await.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => AskError::Absent,
        io::ErrorKind::PermissionDenied => AskError::Denied,
        _ => AskError::Broken(error),
    })?;
    let request = json!({ "command": C::NAME, "input": input });
    let wait = Duration::from_secs(ANSWER_WAIT_SECS);
    let answer = timeout(wait, exchange(stream, &request))
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        .map_err(AskError::Broken)?;
    let wrong = |error: serde_json::Error| AskError::Broken(error.into());
    match answer.get("ok") {
        Some(output) => serde_json::from_value(output.clone()).map(Ok).map_err(wrong),
        None => serde_json::from_value(answer).map(Err).map_err(wrong),
    }
}

async fn admit(mut stream: UnixStream, cx: Cx) -> io::Result<()> {
    let caller = stream.peer_cred()?.uid();
    if is_trusted(caller, rustix::process::geteuid().as_raw()) {
        return answer_all(stream, cx).await;
    }
    tracing::warn!(event = "caller_refused", uid = caller, "Another user called the local socket.");
    let error = "only the user that runs the server, or root, may do this".to_owned();
    write_line(&mut stream, &json!(Refusal { code: "not-permitted".into(), error })).await
}

/// Whether this user may give commands to a server that runs as `own`.
fn is_trusted(caller: u32, own: u32) -> bool {
    caller == own || caller == ROOT
}

async fn answer_all(stream: UnixStream, cx: Cx) -> io::Result<()> {
    let wait = Duration::from_secs(CALLER_WAIT_SECS);
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    loop {
        let line = match timeout(wait, read_line(&mut reader)).await {
            Ok(Ok(Some(line))) => line,
            Ok(Err(error)) if error.kind() == io::ErrorKind::InvalidData => {
                let text = format!("a request is one line of at most {LINE_BYTES_MAX} bytes");
                let refusal = Refusal::from(AdminError::Input(text));
                // Where the next request begins is not known.
                return write_line(&mut writer, &json!(refusal)).await;
            }
            Ok(Ok(None)) | Err(_) => return Ok(()),
            Ok(Err(error)) => return Err(error),
        };
        let answer = match answer(cx.clone(), &line).await {
            Ok(output) => json!({ "ok": output }),
            Err(error) => json!(Refusal::from(error)),
        };
        timeout(wait, write_line(&mut writer, &answer)).await??;
    }
}

async fn answer(cx: Cx, line: &[u8]) -> Result<Value, AdminError> {
    let mut request: Value = serde_json::from_slice(line)
        .map_err(|error| AdminError::Input(format!("it is no JSON: {error}")))?;
    let name = request.get("command").and_then(Value::as_str).unwrap_or_default().to_owned();
    let input = request.get_mut("input").map_or_else(|| json!({}), Value::take);
    command::run(cx, &name, input).await
}

async fn exchange(stream: UnixStream, request: &Value) -> io::Result<Value> {
    let (reader, mut writer) = stream.into_split();
    write_line(&mut writer, request).await?;
    let broken = || io::Error::from(io::ErrorKind::UnexpectedEof);
    let line = read_line(&mut BufReader::new(reader)).await?.ok_or_else(broken)?;
    Ok(serde_json::from_slice(&line)?)
}

/// One line, none at the end. Too long, or cut off, is `InvalidData`.
async fn read_line(reader: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let len = reader.take(LINE_BYTES_MAX as u64).read_until(b'\n', &mut line).await?;
    if len == 0 {
        return Ok(None);
    }
    if line.last() != Some(&b'\n') {
        return Err(io::ErrorKind::InvalidData.into());
    }
    Ok(Some(line))
}

async fn write_line(writer: &mut (impl AsyncWrite + Unpin), value: &Value) -> io::Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    writer.write_all(&line).await
}

const ROOT: u32 = 0;

#[cfg(test)]
mod tests {
    use stentor_testkit::World;

    use super::*;
    use crate::accounts::{Account, Add, Credentials, List, Unlock, Which};
    use crate::testing::cx;

    /// A socket over a world, and its folder.
    fn served(world: &World) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("stentor.sock");
        tokio::spawn(serve(bind(&path).unwrap(), cx(world)));
        (folder, path)
    }

    async fn talk(path: &Path, request: &[u8]) -> Vec<Value> {
        let mut stream = UnixStream::connect(path).await.unwrap();
        // The server may answer and close before it has read all.
        let _ = stream.write_all(request).await;
        let _ = stream.shutdown().await;
        let mut answers = Vec::new();
        let _ = stream.read_to_end(&mut answers).await;
        answers
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_slice(line).unwrap())
            .collect()
    }

    #[tokio::test]
    async fn commands_are_answered_over_the_socket() {
        let world = World::new();
        let (_folder, path) = served(&world);
        let jid = "juliet@capulet.example".to_owned();
        let input = Credentials { jid: jid.clone(), password: "secret".into() };
        let made = ask::<Add>(&path, &input).await.unwrap().unwrap();
        assert_eq!(made, Account { jid: jid.clone() });
        let again = ask::<Add>(&path, &input).await.unwrap().unwrap_err();
        assert_eq!(again.code, "account-exists");
        let page = ask::<List>(&path, &Which::default()).await.unwrap().unwrap();
        assert_eq!(page.accounts.iter().map(|row| &*row.jid).collect::<Vec<_>>(), [jid]);
        assert_eq!(page.next, None);
    }

    #[tokio::test]
    async fn garbage_is_refused_and_the_connection_goes_on() {
        let world = World::new();
        let (_folder, path) = served(&world);
        let requests = b"garbage\n[]\n{\"command\":7}\n{\"command\":\"account-add\"}\n\
            {\"command\":\"account-add\",\"input\":{\"jid\":\"a@b\",\"password\":\"c\",\"d\":1}}\n\
            \xFF\xFE\n{\"command\":\"status\"}\n";
        let answers = talk(&path, requests).await;
        let codes: Vec<_> = answers.iter().map(|a| a["code"].as_str().unwrap_or("ok")).collect();
        let input = "bad-input";
        let unknown = "unknown-command";
        assert_eq!(codes, [input, unknown, unknown, input, input, input, "ok"]);
        assert_eq!(answers[6]["ok"]["domains_count"], 2);
    }

    #[tokio::test]
    async fn a_request_beyond_the_maximum_ends_the_connection() {
        let world = World::new();
        let (_folder, path) = served(&world);
        let mut request = vec![b' '; LINE_BYTES_MAX];
        request.extend_from_slice(b"{\"command\":\"status\"}\n{\"command\":\"status\"}\n");
        let answers = talk(&path, &request).await;
        assert!(answers.len() <= 1, "{answers:?}");
        assert!(answers.iter().all(|answer| answer["code"] == "bad-input"), "{answers:?}");
        // Others are served as before.
        assert_eq!(talk(&path, b"{\"command\":\"status\"}\n").await.len(), 1);
    }

    #[tokio::test]
    async fn a_request_that_breaks_off_is_not_carried_out() {
        let world = World::new();
        let (_folder, path) = served(&world);
        let request =
            br#"{"command":"account-add","input":{"jid":"a@capulet.example","password":"b"}}"#;
        let answers = talk(&path, request).await;
        assert_eq!(answers[0]["code"], "bad-input");
        let page = ask::<List>(&path, &Which::default()).await.unwrap().unwrap();
        assert_eq!(page.accounts, []);
    }

    #[tokio::test]
    async fn callers_wait_for_a_place_and_then_get_one() {
        let world = World::new();
        let (_folder, path) = served(&world);
        let mut idle = Vec::new();
        for _ in 0..CALLERS_MAX {
            idle.push(UnixStream::connect(&path).await.unwrap());
        }
        let late = tokio::spawn({
            let path = path.clone();
            async move { talk(&path, b"{\"command\":\"status\"}\n").await.len() }
        });
        drop(idle);
        assert_eq!(late.await.unwrap(), 1);
    }

    #[tokio::test]
    async fn the_socket_is_its_owners_only() {
        let world = World::new();
        let (_folder, path) = served(&world);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        for (caller, own, expected) in [(7, 7, true), (0, 7, true), (8, 7, false), (7, 0, false)] {
            assert_eq!(is_trusted(caller, own), expected, "{caller} {own}");
        }
    }

    #[tokio::test]
    async fn where_nobody_listens_no_server_is_running() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("stentor.sock");
        let input = Account { jid: "juliet@capulet.example".into() };
        let outcome = ask::<Unlock>(&path, &input).await;
        assert!(matches!(outcome, Err(AskError::Absent)), "{outcome:?}");
        drop(bind(&path).unwrap());
        let outcome = ask::<Unlock>(&path, &input).await;
        assert!(matches!(outcome, Err(AskError::Absent)), "a killed server left it: {outcome:?}");
        bind(&path).unwrap();
    }
}
