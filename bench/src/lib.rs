//! Ratios, budgets and the load generator.
//!
//! `benches/stanza.rs` compares a stanza's way through the server with other parsers,
//! `tests/budgets.rs` holds sizes, allocations and idle sessions to their budgets. The program is a
//! load generator for any XMPP server: `cli.rs` is what it takes, `fleet/` its clients, `scenario/`
//! what they do. `docs/performance.md` has the figures.

#![cfg_attr(test, allow(clippy::unwrap_used))]
#![allow(clippy::cast_precision_loss, reason = "figures are told to three digits")]

pub mod cli;
pub mod fleet;
pub mod histogram;
pub mod inputs;
pub mod process;
pub mod relay;
pub mod report;
pub mod scenario;
pub mod split;
pub mod stentor;
pub mod target;

/// Waits; there is one thread, and nothing for it to do.
#[allow(clippy::disallowed_methods, reason = "no session depends on this thread")]
pub(crate) fn pause(length: std::time::Duration) {
    std::thread::sleep(length);
}
