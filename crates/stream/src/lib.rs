//! Stream machines without I/O, both sides (RFC 6120 §4 to §7).
//!
//! A machine is given what happened and the time, and says what follows. Nothing in here opens a
//! socket, reads a clock, makes a random number or asks a database:
//!
//! | In | Out |
//! |---|---|
//! | `handle_bytes`: what the peer sent | `poll_event`: what the shell must do or know |
//! | `handle_tls`: the handshake is done | `take_output`: bytes for the peer |
//! | `handle_answer`: what the machine asked for | `poll_timeout`: when to call `handle_timeout` |
//! | `handle_timeout`: time has passed | `may_read`: whether more input is welcome |
//!
//! [`c2s::C2s`] is the server's end of a client's stream, [`initiator::Initiator`] the connecting
//! end; [`s2s`] has both ends of streams between servers, [`component`] the server's end of a component's
//! stream. Each is a chain of states named by what they wait for, one file each. When negotiation
//! needs the outside it emits [`event::Event::Ask`] and reads no further input until the answer is
//! there, so everything is decided in the order in which it was sent (RFC 6120 §10.1).
//!
//! Why a stream ends is a [`fault::Fault`], and [`fault`] alone knows how that looks on the wire.
//! What may be negotiated is a list of features in [`feature`]; its bits also say what comes next.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod c2s;
pub mod component;
pub mod event;
pub mod fault;
pub mod feature;
pub mod framing;
pub mod initiator;
pub mod limits;
mod machine;
mod millis;
mod ns;
mod opening;
#[cfg(feature = "testing")]
pub mod pair;
pub mod s2s;
mod sasl_text;
pub mod sign_in;
mod xep0198_sm;
mod xep0386_bind2;
mod xep0388_sasl2;
mod xep0440_bindings;
mod xep0478_limits;
mod xep0480_upgrade;
mod xep0484_fast;
mod xep0509_pipelining;

pub use machine::{Ending, Machine, Says};
pub use millis::Millis;
