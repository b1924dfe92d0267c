//! A world for tests: an engine with all modules over a store in memory, clients that are bound
//! sessions, a clock that stands still, and scripts that read like the specification.
//!
//! Everything here may panic: it runs in tests, where a panic is the report.

#![allow(clippy::unwrap_used, clippy::missing_panics_doc)]

mod device;
mod matching;
mod script;
mod sim;
mod tcp;
mod typist;
mod wire;
mod world;

pub use device::{Counts, Device, Got};
pub use matching::{Names, difference, exact_difference, filled_in, tree};
pub use script::run;
pub use sim::{Trouble, simulate};
pub use tcp::{Login, TcpClient, Tls};
pub use typist::Typist;
pub use wire::{Broken, Wire};
pub use world::{Client, World};
