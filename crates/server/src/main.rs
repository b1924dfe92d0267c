//! Stentor: one binary that does all of chat.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod cli;
mod config;
mod greeting;
mod logging;
mod memory;
mod panics;
mod reload;
mod run;
mod signals;
mod wire;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
