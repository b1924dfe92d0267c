//! The load generator.

use std::process::ExitCode;

fn main() -> ExitCode {
    stentor_bench::cli::main()
}
