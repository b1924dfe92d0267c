//! Links to other servers that take everything, for a test to look at.

use parking_lot::Mutex;
use stentor_engine::{Links, Pressure};
use stentor_stanza::{Stanza, StanzaError};

/// What was sent to other servers, in order.
#[derive(Default)]
pub(crate) struct Wire(pub(crate) Mutex<Vec<Stanza>>);

impl Links for Wire {
    fn push(&self, stanza: Stanza) -> Result<Pressure, StanzaError> {
        self.0.lock().push(stanza);
        Ok(Pressure::Low)
    }
}
