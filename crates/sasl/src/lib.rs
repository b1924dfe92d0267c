//! SASL mechanisms (RFC 4422) as pure steps, for both sides of an XMPP stream.
//!
//! Nothing here reads a socket, a clock or a source of randomness: messages, channel bindings and
//! nonces are arguments, and what a server has to look up is a [`server::Step`] that waits for a
//! [`server::Answer`]. Messages are raw bytes; base64 and `=` for an empty message belong to the
//! stream (RFC 6120 §6.4.2).
//!
//! | Mechanism | Source |
//! |---|---|
//! | PLAIN | RFC 4616 |
//! | SCRAM-SHA-1, SCRAM-SHA-256, SCRAM-SHA-512, each with -PLUS | RFC 5802, RFC 7677 |
//! | EXTERNAL | RFC 4422 appendix A |
//! | ANONYMOUS | RFC 4505, XEP-0175 |
//! | HT-SHA-256-EXPR, -ENDP, -NONE | draft-schmaus-kitten-sasl-ht-09, XEP-0484 |
//!
//! A user name leaves this crate as the peer spelled it: preparing it is the business of whoever
//! knows addresses. Passwords are prepared here, see [`prep`].

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod anonymous;
mod authzid;
mod binding;
pub mod client;
mod condition;
mod crypto;
mod external;
mod keys;
pub mod limits;
mod mechanism;
mod plain;
pub mod prep;
mod scram;
pub mod server;
mod token;
mod xep0474_downgrade;

pub use authzid::check_authzid;
pub use binding::{Bindings, ChannelBinding};
pub use condition::Condition;
pub use keys::{ScramKeys, derive_key};
pub use mechanism::{Hash, Mechanism};
pub use prep::PrepError;
pub use scram::nonce;
pub use token::TokenProof;
pub use xep0474_downgrade::Offered;
