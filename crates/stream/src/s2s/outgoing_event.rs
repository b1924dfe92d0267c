//! What the machine of an outgoing stream tells its shell.

use stentor_stanza::Stanza;

use super::{How, Key, Pair, Verdict};
use crate::Ending;

/// What the shell must do, or know.
#[derive(Debug)]
pub enum Event {
    /// Send what `take_output` has, let the TLS handshake begin, look at the server's certificate,
    /// then call `handle_tls`.
    StartTls,
    /// A dialback key for this pair and stream is wanted: `handle_key` (XEP-0185).
    Key {
        /// Ours and theirs.
        pair: Pair,
        /// The stream it is for.
        stream_id: String,
    },
    /// Stanzas are counted from now on. With an id the stream may be resumed, for so many seconds
    /// if the peer says (XEP-0198 §3).
    Managed {
        /// The id.
        id: Option<String>,
        /// The peer's patience, in seconds.
        max_secs: Option<u32>,
    },
    /// The stream goes on for the former one: the peer has so many of its stanzas, and the others
    /// are to be sent again before anything else.
    Resumed(u64),
    /// It does not go on for the former one; how many of its stanzas the peer has, if it says.
    NotResumed(Option<u64>),
    /// The peer asks what has been handled: `acknowledge` is due once it has been.
    AckRequested,
    /// The peer has so many of our stanzas.
    Acked(u64),
    /// Stanzas of the pair may be sent.
    Authorized(Pair, How),
    /// Stanzas of the pair cannot be sent here.
    Denied(Pair, Verdict),
    /// What the authoritative server says about a key.
    Verified(Pair, Key, Verdict),
    /// A stanza came back on the same stream (XEP-0288).
    Stanza(Stanza),
    /// The stream comes to its end.
    Ending(Ending),
}

impl From<Ending> for Event {
    fn from(ending: Ending) -> Self {
        Self::Ending(ending)
    }
}
