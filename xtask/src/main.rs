//! The checks of the house and its generated pages.
//!
//! `cargo xtask tidy` holds the tree against the rules of `STYLE.md` and `ARCHITECTURE.md` that a
//! machine can judge. `cargo xtask docs` writes `docs/xeps.md` and `doap.xml` from the headers of
//! the XEP files; with `--check` it only says whether they are current. Both also run as tests.
#![cfg_attr(test, allow(clippy::unwrap_used))]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool")]

mod docs;
mod graph;
mod rust;
mod tidy;
mod tree;
mod xep_header;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::tree::Tree;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["tidy"] => run_tidy(),
        ["docs"] => docs::write(&root()).map(|()| true),
        ["docs", "--check"] => check_docs(),
        _ => {
            eprintln!("usage: cargo xtask tidy | docs [--check]");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run_tidy() -> anyhow::Result<bool> {
    let findings = tidy::run(&root())?;
    for finding in &findings {
        println!("{finding}");
    }
    match findings.len() {
        0 => println!("tidy: {} checks, nothing to mend", tidy::CHECKS.len()),
        count => println!("tidy: {count} to mend"),
    }
    Ok(findings.is_empty())
}

fn check_docs() -> anyhow::Result<bool> {
    let stale = docs::stale(&Tree::read(&root())?)?;
    for path in &stale {
        println!("{path} is not current: run `cargo xtask docs`");
    }
    Ok(stale.is_empty())
}

/// The folder of the workspace.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new(".")).to_owned()
}
