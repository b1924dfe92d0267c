//! The last two states: one side has said its last words, the other not yet (RFC 6120 §4.4).

use stentor_xml::Frame;

use super::established::Established;
use super::wire::Wire;
use crate::Millis;
use crate::fault::Fault;

/// The client's closing tag is in, ours is due: the shell sends what is still owed.
pub(super) struct Owing {
    pub(super) session: Established,
    /// When we close without waiting for the shell.
    pub(super) until: Millis,
}

/// Our closing tag is out, the client's is due.
pub(super) struct Closing {
    pub(super) fault: Option<Fault>,
    /// When we give up on the client's tag.
    pub(super) until: Millis,
    /// The session of an ordinary close; after an error nothing more is processed.
    pub(super) session: Option<Established>,
}

impl Closing {
    /// §4.4: what the client still sends is processed, and not answered by us. False if it can no
    /// longer be.
    pub(super) fn handle_frame(&mut self, frame: Frame, wire: &mut Wire) -> bool {
        let Some(session) = &mut self.session else { return true };
        let written = wire.out().len();
        let outcome = session.handle_frame(frame, wire);
        wire.out().truncate(written);
        outcome.is_ok()
    }
}
