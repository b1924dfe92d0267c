//! A simulation: clients that use XEP-0198, a network that breaks, a server that is killed.
//!
//! All of it runs in virtual time on one thread and follows from a seed. The server is the real one
//! from the bytes of its streams to its store; commits take time, and a kill loses what was not
//! committed. The clients are written apart from the server, from the specification. At the end
//! every message has arrived exactly once and in order, and both archives hold what was delivered.
//! One account has two devices: each of its messages has arrived at one of them or, by itself or as a
//! copy (XEP-0280), at both, at none of them twice.

mod cable;
mod chance;
mod judge;
mod server;
mod town;

use crate::device::Counts;

/// What may go wrong in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The network breaks.
    Network,
    /// The network breaks, and the server is killed or restarted.
    Server,
}

/// Runs what follows from a seed.
///
/// # Errors
/// What went wrong, and what happened before that.
pub fn simulate(seed: u64, trouble: Trouble) -> Result<Counts, String> {
    town::run(seed, trouble)
}
