//! Adapters that join transports, stream machines and the engine.
//!
//! `c2s.rs` accepts connections, `driver.rs` is the one loop over a socket, `asks.rs` answers what
//! a machine asks during negotiation.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod admission;
mod asks;
pub mod c2s;
mod driver;
pub mod limits;
pub mod metrics;
mod monotonic;
mod out;
mod stored;

pub use admission::{Admission, AdmissionSettings};
pub use asks::Offers;
pub use c2s::{C2sListener, Kind, Shared};
pub use driver::{Driver, Link};
pub use metrics::Metrics;
