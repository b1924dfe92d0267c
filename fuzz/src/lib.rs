//! What every target shares: the fuzzer's entry, replay of single inputs, and the test over seeds.
//!
//! A target is `fuzz_targets/NAME.rs` with `#![cfg_attr(fuzzing, no_main)]`, a
//! `fn check(data: &[u8])` that panics on a finding, and `stentor_fuzz::target!(check);`. It has a
//! `[[bin]]` entry in `Cargo.toml` and inputs worth keeping in `seeds/NAME/`. `fuzz/run` looks for
//! findings; `cargo test` replays the seeds; `cargo run --bin NAME -- FILE…` replays single inputs
//! under a debugger.

use std::fs;
use std::path::{Path, PathBuf};

use stentor_stream::{Machine, Millis};

#[cfg(fuzzing)]
pub use libfuzzer_sys;

/// Makes `main` and the seed test of a target from its `fn check(data: &[u8])`.
#[macro_export]
macro_rules! target {
    ($check:path) => {
        #[cfg(fuzzing)]
        use $crate::libfuzzer_sys;
        #[cfg(fuzzing)]
        $crate::libfuzzer_sys::fuzz_target!(|data: &[u8]| $check(data));

        #[cfg(not(fuzzing))]
        fn main() {
            $crate::replay_arguments($check);
        }

        #[cfg(all(test, not(fuzzing)))]
        #[test]
        fn holds_on_all_seeds() {
            $crate::replay_seeds(env!("CARGO_BIN_NAME"), $check);
        }
    };
}

/// Runs `check` on every file named on the command line.
pub fn replay_arguments(check: fn(&[u8])) {
    for path in std::env::args_os().skip(1).map(PathBuf::from) {
        let data =
            fs::read(&path).unwrap_or_else(|e| panic!("cannot read {}: {e}", path.display()));
        println!("{}: {} bytes", path.display(), data.len());
        check(&data);
    }
}

/// Runs `check` on every file in `seeds/NAME`; fails when there is none.
pub fn replay_seeds(name: &str, check: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(name);
    let entries = fs::read_dir(&folder)
        .unwrap_or_else(|e| panic!("target {name} has no folder {}: {e}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.filter_map(|e| e.ok().map(|e| e.path())).collect();
    paths.sort();
    assert!(!paths.is_empty(), "target {name} has no seed in {}", folder.display());
    for path in paths {
        let data =
            fs::read(&path).unwrap_or_else(|e| panic!("cannot read {}: {e}", path.display()));
        // Printed by the test harness only if `check` panics: names the seed that did it.
        println!("seed {}", path.display());
        check(&data);
    }
}

/// Drives the machine of a stream by operations that follow each other in `data`: a byte that says
/// what, a byte that says how much, and for bytes from the peer the bytes themselves. `more` does
/// what only this machine can do, `event` what follows of an event, with the second byte. Panics
/// if the machine speaks after its end.
pub fn drive<M: Machine>(
    mut machine: M,
    mut data: &[u8],
    mut more: impl FnMut(&mut M, Millis),
    mut event: impl FnMut(&mut M, M::Event, u8, Millis),
) {
    let mut now = Millis(0);
    machine.take_output(&mut Vec::new());
    while let [what, how_much, rest @ ..] = data {
        data = rest;
        let was_ended = machine.is_ended();
        match what % 6 {
            0..=2 => {
                let (mut piece, rest) = data.split_at(data.len().min(usize::from(*how_much)));
                data = rest;
                machine.handle_bytes(&mut piece, now);
            }
            3 => more(&mut machine, now),
            4 => {
                now = now.plus(u64::from(*how_much) * 1_000);
                machine.handle_timeout(now);
            }
            _ if how_much % 2 == 0 => machine.close(None, now),
            _ => machine.handle_eof(now),
        }
        while let Some(said) = machine.poll_event() {
            event(&mut machine, said, *how_much, now);
        }
        let mut out = Vec::new();
        machine.take_output(&mut out);
        assert!(!was_ended || out.is_empty(), "it spoke after the end");
    }
}
