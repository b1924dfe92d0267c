//! Asking for a password.

use std::io::{BufRead as _, Write as _};

use rustix::termios::{LocalModes, OptionalActions, isatty, tcgetattr, tcsetattr};

/// The first line of standard input.
///
/// # Errors
/// There is none.
pub(crate) fn first_line() -> anyhow::Result<String> {
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    let line = line.trim_end_matches(['\r', '\n']);
    anyhow::ensure!(!line.is_empty(), "standard input holds no password");
    Ok(line.to_owned())
}

/// Asks for a password without showing what is typed.
///
/// # Errors
/// Standard input is no terminal: then `--password-stdin` says that it holds the password.
pub(crate) fn password(question: &str) -> anyhow::Result<String> {
    let stdin = std::io::stdin();
    anyhow::ensure!(
        isatty(&stdin),
        "no terminal to ask for the password: use `--password-stdin` or `--password`"
    );
    let mut err = std::io::stderr();
    err.write_all(question.as_bytes())?;
    err.flush()?;
    let shown = tcgetattr(&stdin)?;
    let mut hidden = shown.clone();
    hidden.local_modes.remove(LocalModes::ECHO);
    tcsetattr(&stdin, OptionalActions::Flush, &hidden)?;
    let line = first_line();
    tcsetattr(&stdin, OptionalActions::Flush, &shown)?;
    err.write_all(b"\n")?;
    line
}
