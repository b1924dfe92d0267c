//! Clients that use XEP-0198 over a network that breaks, with a server that is killed or restarted:
//! over many seeds every message arrives exactly once, in order, and both archives tell the same.
//!
//! `SEED=17 cargo test -p stentor-testkit --test simulation` runs one seed and tells its story;
//! `SEEDS=1000` runs more of them than an ordinary run does.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::print_stderr)]

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use stentor_testkit::{Counts, Trouble, simulate};

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap())
}

/// Runs all seeds on all processors; panics with the story of the first that fails.
fn run(seeds: u64, trouble: Trouble) -> Counts {
    if let Some(seed) = number("SEED") {
        return simulate(seed, trouble).unwrap_or_else(|story| panic!("{story}"));
    }
    let seeds = number("SEEDS").unwrap_or(seeds);
    // The clock of the process begins before that of any run.
    simulate(0, trouble).unwrap_or_else(|story| panic!("{story}\nreplay it by `SEED=0`"));
    let (next, total, failed) =
        (AtomicU64::new(1), Mutex::new(Counts::default()), Mutex::new(None));
    let work = || {
        while failed.lock().is_none() {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds {
                return;
            }
            match simulate(seed, trouble) {
                Ok(counts) => total.lock().add(counts),
                Err(story) => drop(failed.lock().get_or_insert((seed, story))),
            }
        }
    };
    std::thread::scope(|scope| {
        let threads = std::thread::available_parallelism().unwrap().get();
        (0..threads).for_each(|_| drop(scope.spawn(work)));
    });
    if let Some((seed, story)) = failed.into_inner() {
        panic!("{story}\nreplay it by `SEED={seed}`");
    }
    total.into_inner()
}

#[test]
fn nothing_is_lost_or_doubled_while_the_network_breaks() {
    let counts = run(150, Trouble::Network);
    eprintln!("{counts:?}");
    let is_one = number("SEED").is_some();
    assert!(is_one || (counts.resumed > counts.refused && counts.repeated > 0), "{counts:?}");
}

#[test]
fn nothing_is_lost_or_doubled_while_the_server_is_killed() {
    let counts = run(150, Trouble::Server);
    eprintln!("{counts:?}");
    let is_one = number("SEED").is_some();
    assert!(is_one || (counts.resumed > counts.refused && counts.repeated > 0), "{counts:?}");
}
