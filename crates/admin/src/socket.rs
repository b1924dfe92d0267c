//! The local socket: one line of JSON a request, one line an answer.
//!
//! The socket's file is readable by its owner only, and the caller's user is asked of the system
//! besides: it must be the server's own or root.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;

use crate::command::{self, Cx};
use crate::limits::{CALLER_WAIT_SECS, CALLERS_MAX, LINE_BYTES_MAX};

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
                    if let Err(error) = answer_all(stream, cx).await {
                        tracing::debug!(%error, "A caller of the local socket went away.");
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "The local socket cannot accept callers.");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

async fn answer_all(stream: UnixStream, cx: Cx) -> io::Result<()> {
    let caller = stream.peer_cred()?.uid();
    let own = rustix::process::geteuid().as_raw();
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    if caller != own && caller != 0 {
        let refusal =
            json!({ "error": "only the user that runs the server, or root, may do this" });
        return write_line(&mut writer, &refusal).await;
    }
    loop {
        let wait = Duration::from_secs(CALLER_WAIT_SECS);
        let Ok(line) = tokio::time::timeout(wait, read_line(&mut reader)).await else {
            return Ok(());
        };
        let Some(line) = line? else { return Ok(()) };
        let answer = match serde_json::from_slice::<Value>(&line) {
            Err(error) => json!({ "error": format!("the request is no JSON: {error}") }),
            Ok(request) => {
                let name = request["command"].as_str().unwrap_or_default().to_owned();
                match command::run(cx.clone(), &name, request["input"].clone()).await {
                    Ok(value) => json!({ "ok": value }),
                    Err(error) => json!({ "error": error.to_string() }),
                }
            }
        };
        write_line(&mut writer, &answer).await?;
    }
}

/// Asks a running server.
///
/// # Errors
/// Nobody listens, or the answer breaks off.
pub async fn ask(path: &Path, command: &str, input: &Value) -> io::Result<Result<Value, String>> {
    let (reader, mut writer) = UnixStream::connect(path).await?.into_split();
    write_line(&mut writer, &json!({ "command": command, "input": input })).await?;
    let broken = || io::Error::from(io::ErrorKind::UnexpectedEof);
    let line = read_line(&mut BufReader::new(reader)).await?.ok_or_else(broken)?;
    let answer: Value = serde_json::from_slice(&line)?;
    Ok(match answer.get("ok") {
        Some(value) => Ok(value.clone()),
        None => Err(answer["error"].as_str().unwrap_or("the server did not say why").to_owned()),
    })
}

async fn read_line(
    reader: &mut (impl tokio::io::AsyncBufRead + Unpin),
) -> io::Result<Option<Vec<u8>>> {
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

async fn write_line(
    writer: &mut (impl tokio::io::AsyncWrite + Unpin),
    value: &Value,
) -> io::Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    writer.write_all(&line).await
}
