//! Messages, presence and IQs (RFC 6120 §8): the validated head, the shared body, edits to it,
//! and stanza errors.
//!
//! A [`Stanza`] is a [`Head`] that is always written afresh, and a body that is forwarded as it
//! was received. Cloning one shares the body, so that carbons, archives and rooms cost a
//! reference count for each recipient.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod edits;
mod error;
mod head;
mod stanza;
mod text;

pub use error::{Condition, ErrorType, NS_STANZAS, StanzaError};
pub use head::{Head, IqType, Kind, MessageType, PresenceType};
pub use stanza::{BadStanza, Children, DamagedStanza, Refusal, Stanza};
pub use text::{Id, Lang, Text};
