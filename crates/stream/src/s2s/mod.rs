//! Streams between servers (RFC 6120; XEP-0220 dialback; XEP-0288 in both directions at once).
//!
//! [`Incoming`] is the end of a stream that another server opened to us, [`Outgoing`] the end of
//! one that we opened. A stream carries stanzas of domain [`Pair`]s, each authorized by itself: one
//! by SASL EXTERNAL, any by dialback.

mod addresses;
mod header;
mod incoming;
mod incoming_event;
mod outgoing;
mod outgoing_event;
mod settings;
mod xep0178_external;
mod xep0198_sm;
mod xep0220_dialback;
mod xep0288_bidi;

pub use incoming::Incoming;
pub use incoming_event::{Answer, Ask, Event as IncomingEvent, Offer};
pub use outgoing::Outgoing;
pub use outgoing_event::Event as OutgoingEvent;
pub use settings::{IncomingSettings, OutgoingSettings, Tls};
pub use xep0198_sm::{Former, Silence, Tally};
pub use xep0220_dialback::{Key, Verdict};

/// Whose stanzas a stream carries, and in which direction seen from us.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pair {
    /// The domain of ours.
    pub local: String,
    /// The other server's.
    pub remote: String,
}

/// How a pair was authorized.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// By a certificate (RFC 6120 §13.7, XEP-0178).
    External,
    /// By a call back (XEP-0220).
    Dialback,
}

impl How {
    /// The word for logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::External => "external",
            Self::Dialback => "dialback",
        }
    }
}
