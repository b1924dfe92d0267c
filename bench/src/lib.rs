//! Ratios, budgets and the load generator.
//!
//! `benches/stanza.rs` compares a stanza's way through the server with other parsers.
//! `docs/performance.md` has the figures.

pub mod inputs;
