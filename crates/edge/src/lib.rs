//! Adapters that join transports, stream machines and the engine.
//!
//! `c2s.rs` accepts connections, `driver.rs` is the one loop over a socket, `asks.rs` answers what
//! a machine asks during negotiation. `s2s/` speaks to other servers, `component/` to components.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod accept;
mod admission;
mod asks;
pub mod c2s;
pub mod component;
mod driver;
mod finding;
pub mod limits;
pub mod metrics;
mod monotonic;
mod out;
pub mod s2s;
mod sign_in;
mod stored;
mod turns;

pub use accept::{Serve, accept};
pub use admission::{Admission, AdmissionSettings};
pub use asks::Offers;
pub use c2s::{C2sListener, Kind, Shared};
pub use component::{ComponentListener, ComponentSettings, Components, OnConflict};
pub use driver::{Driver, Link, Rates};
pub use metrics::{ComponentMetrics, FederationMetrics, Metrics};
pub use turns::Turns;
