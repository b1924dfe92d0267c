//! What passes between the machine of an incoming stream and its shell.

use std::sync::Arc;

use stentor_stanza::Stanza;

use super::{How, Key, Pair, Tally, Verdict};
use crate::Ending;
use crate::fault::Fault;

/// What the shell must do, or know.
#[derive(Debug)]
pub enum Event {
    /// Send what `take_output` has, let the TLS handshake begin, then call `handle_tls`.
    StartTls,
    /// The machine needs the outside. It reads on unless [`Ask::Host`] is open.
    Ask(Ask),
    /// A pair has been authorized: its stanzas come from now on.
    Authorized(Pair, How),
    /// Stanzas are counted from now on; with an id the stream may be resumed (XEP-0198 §3).
    Managed(Option<String>),
    /// The peer asks what has been handled: `acknowledge` is due once it has been.
    AckRequested,
    /// The peer has so many of our stanzas.
    Acked(u64),
    /// A stanza of an authorized pair.
    Stanza(Stanza),
    /// A stanza of an authorized pair was refused: this error is for its sender.
    Refused(Stanza),
    /// The stream comes to its end.
    Ending(Ending),
}

impl From<Ending> for Event {
    fn from(ending: Ending) -> Self {
        Self::Ending(ending)
    }
}

/// A question of the machine.
#[derive(Debug, PartialEq, Eq)]
pub enum Ask {
    /// What is offered to the server that says it is `from`, at the domain `to`?
    /// [`Answer::Host`].
    Host {
        /// The domain that the peer wants; none if its header names none.
        to: Option<String>,
        /// The domain that the peer says it serves.
        from: Option<String>,
    },
    /// Is this pair to be authorized? The key is to be shown to `pair.remote`'s own server, or
    /// its certificate is to be looked at. [`Answer::Dialback`].
    Dialback {
        /// Whose stanzas.
        pair: Pair,
        /// The key that the peer showed, made for this stream.
        key: Key,
    },
    /// Did we make this key? [`Answer::Verify`].
    Verify {
        /// Ours, and the receiving server that asks.
        pair: Pair,
        /// The key and the stream it is for.
        key: Key,
    },
    /// What did the stream of this id carry, which the peer wants to go on for? Nothing is read
    /// meanwhile. [`Answer::Resume`].
    Resume {
        /// The id.
        previd: String,
    },
}

/// What the shell found out. One that nothing asked for is ignored.
#[derive(Debug)]
pub enum Answer {
    /// What is offered, or why the stream ends.
    Host(Result<Arc<Offer>, Fault>),
    /// Whether the pair is authorized.
    Dialback(Pair, Verdict),
    /// Whether the key is ours.
    Verify(Pair, Key, Verdict),
    /// What the stream carried, all that came having been handled; what is sent again follows. If
    /// it cannot go on, what had come on it, where that is still known.
    Resume(Result<Tally, Option<u64>>),
}

/// What is offered to one server.
#[derive(Clone, Debug, Default)]
pub struct Offer {
    /// The domain of ours.
    pub domain: String,
    /// Whether there is a certificate, so that STARTTLS can be offered.
    pub starttls: bool,
    /// Whether nothing is accepted without TLS.
    pub tls_required: bool,
    /// Whether the peer's certificate proves the domain it says it serves.
    pub external: bool,
    /// Whether dialback is accepted.
    pub dialback: bool,
    /// Whether stanzas may go back on the same stream (XEP-0288).
    pub bidi: bool,
    /// Whether stanzas are counted, and for how many seconds a broken stream may be resumed
    /// (XEP-0198).
    pub management: Option<u32>,
    /// The largest stanza that is accepted, in bytes, if that is announced (XEP-0478).
    pub frame_bytes_max: Option<u64>,
}
