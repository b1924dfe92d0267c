//! The server's end of a component's stream (XEP-0114).
//!
//! A component is a service of its own that attaches itself to the server by a shared secret and
//! speaks for one domain: a gateway, a bot, a service that the server does not have itself.

mod settings;
mod xep0114_component;

pub use settings::{Offer, Settings};
pub use xep0114_component::{Answer, Ask, Component, Event, handshake};
