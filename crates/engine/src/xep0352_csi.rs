//! XEP-0352: Client State Indication, version 1.0.0.
//!
//! What follows when somebody begins or ceases to look at a client.
//! Implements: §4.2, §5 (the state begins as active and is nobody's business), §5.1 (what was held
//! leaves before anything that the client asks next), §5.2 (resumed streams are active).
//! Left out: nothing. Which stanzas may wait is `worth::may_wait`, how they do is `outbox/hold.rs`.

use stentor_payload::xep0352_csi::ClientState;

use crate::session::Session;

impl Session {
    /// The client indicates whether somebody looks at it (§4.2).
    pub fn indicate(&self, state: ClientState) {
        match state {
            ClientState::Inactive => self.resource.look_away(self.engine.clock.unix_ms()),
            ClientState::Active => self.look_again(),
        }
    }

    /// Somebody looks at the client, as far as is known.
    pub(crate) fn look_again(&self) {
        self.look();
        self.engine.attended(&self.account);
    }

    /// Nothing is held back any more.
    pub(crate) fn look(&self) {
        let saved = self.resource.look();
        self.engine.metrics.csi_stanzas_saved.inc_by(saved.stanzas);
        self.engine.metrics.csi_bytes_saved.inc_by(saved.bytes);
    }
}
