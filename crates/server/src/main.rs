//! Stentor: one binary that does all of chat.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod cli;
mod config;
mod greeting;
mod logging;
mod panics;
mod reload;
mod run;
mod signals;
mod wire;

use std::process::ExitCode;

/// Smallest after days of churn, of the allocators measured.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::main()
}
