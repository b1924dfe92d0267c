//! Asking for a password.

use std::io::{BufRead as _, Read as _, Write as _};

use rustix::termios::{LocalModes, OptionalActions, Termios, isatty, tcgetattr, tcsetattr};

/// The first line of standard input.
///
/// # Errors
/// There is none, or it is far too long for a password.
pub(super) fn first_line() -> anyhow::Result<String> {
    let mut line = String::new();
    std::io::stdin().lock().take(LINE_BYTES_MAX).read_line(&mut line)?;
    let line = line.trim_end_matches(['\r', '\n']);
    anyhow::ensure!(!line.is_empty(), "standard input holds no password");
    Ok(line.to_owned())
}

/// Asks for a password without showing what is typed; for a new one twice.
///
/// # Errors
/// Standard input is no terminal: then `--password-stdin` says that it holds the password.
pub(super) fn password(jid: &str, is_new: bool) -> anyhow::Result<String> {
    anyhow::ensure!(
        isatty(std::io::stdin()),
        "no terminal to ask for the password: use `--password-stdin` or `--password`"
    );
    let password = hidden(&format!("Password for {jid}: "))?;
    if is_new {
        let again = hidden("The same again: ")?;
        anyhow::ensure!(password == again, "the two differ; nothing was changed");
    }
    Ok(password)
}

fn hidden(question: &str) -> anyhow::Result<String> {
    let mut err = std::io::stderr();
    err.write_all(question.as_bytes())?;
    err.flush()?;
    let silence = Silence::begin()?;
    let line = first_line();
    drop(silence);
    err.write_all(b"\n")?;
    line
}

/// The terminal does not show what is typed, until this is dropped.
struct Silence {
    shown: Termios,
}

impl Silence {
    fn begin() -> anyhow::Result<Self> {
        let shown = tcgetattr(std::io::stdin())?;
        let mut hidden = shown.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        tcsetattr(std::io::stdin(), OptionalActions::Flush, &hidden)?;
        Ok(Self { shown })
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Flush, &self.shown);
    }
}

/// Longer than any password that is accepted.
const LINE_BYTES_MAX: u64 = 64 * 1024;
