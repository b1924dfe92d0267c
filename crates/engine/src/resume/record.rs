//! What the store knows of a session that may be resumed, and when it is told.

use stentor_store::{OpenIq, SessionChange, SessionRow, SessionState, Stage, Write};

use super::{Right, Standing, State};
use crate::backlog;
use crate::limits::ENDED_SESSIONS_MS;
use crate::outbox::{Acknowledged, TooHigh};
use crate::session::Session;

impl Session {
    /// Adds to a stage that all that has come is dealt with by it or before it, and what has
    /// changed about the session since the last time. Nothing for a session that dies with the
    /// process.
    pub(crate) fn stage_handled(&self, stage: &mut Stage) {
        let mut state = self.attachment.state.lock();
        let Some(right) = state.right.clone() else { return };
        let version = self.resource.version();
        let is_changed = state.written.is_none_or(|(_, written)| written != version);
        state.written = Some((state.received, version));
        let (h, open_iqs) = (wrapped(state.received), self.resource.outbox.open_iqs());
        let session = right.number;
        let change = if is_changed {
            let standing = state.kept(&right);
            SessionChange::Put(Box::new(self.row(right, standing, h, open_iqs)))
        } else {
            SessionChange::In { h, open_iqs }
        };
        stage.push(Write::Session { session, change });
    }

    /// Writes until when the session waits for its client. The caller holds the account's lock.
    pub(super) fn write_standing(&self) {
        let state = self.attachment.state.lock();
        let Some(right) = &state.right else { return };
        let change = SessionChange::State(state.kept(right));
        // If it fails, the session has more time after a restart than it should.
        drop(self.engine.stores.writer.submit(Write::Session { session: right.number, change }));
    }

    fn row(&self, right: Right, state: SessionState, h: u32, open_iqs: Vec<OpenIq>) -> SessionRow {
        let mut directed = self.resource.directed();
        directed.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
        SessionRow {
            client: self.resource.client.as_ref().map(ToString::to_string),
            session: right.number,
            owner: self.account.jid.clone(),
            resource: self.resource.jid.resource().to_owned(),
            token: right.token,
            max_secs: right.secs,
            flags: self.resource.lasting_flags(),
            epoch: self.resource.outbox.epoch(),
            state,
            presence: self.resource.presence().map(|presence| presence.to_bytes()),
            directed,
            h,
            open_iqs,
        }
    }

    /// The client asks how many stanzas have been handled: that is written, if it is not yet.
    pub fn note_handled(&self) {
        // Under the lock, so that the order of the stages is that of the counts.
        let _account = self.account.lock();
        self.write_handled();
    }

    /// Writes what the session has asked for, if that has changed and is not written yet.
    pub(crate) fn note_changed(&self) {
        let is_written = {
            let state = self.attachment.state.lock();
            let version = self.resource.version();
            state.right.is_none() || state.written.is_some_and(|(_, written)| written == version)
        };
        if !is_written {
            self.note_handled();
        }
    }

    /// Writes what has been handled, and what has changed about the session, if that is not
    /// written yet. The caller holds the account's lock.
    pub(crate) fn write_handled(&self) {
        {
            let state = self.attachment.state.lock();
            let now = (state.received, self.resource.version());
            if state.right.is_none() || state.written == Some(now) {
                return;
            }
        }
        let mut stage = Stage::new();
        self.stage_handled(&mut stage);
        if let Some(ticket) = self.engine.submit(stage) {
            self.await_commit(ticket, &self.account, None);
        }
    }

    /// A stage was refused: what the store knows is not known any more.
    pub(crate) fn forget_written(&self) {
        self.attachment.state.lock().written = None;
    }

    /// The client has handled `h` of our stanzas, modulo 2³².
    ///
    /// # Errors
    /// It was not sent so many.
    pub fn acknowledge(&self, h: u32) -> Result<(), TooHigh> {
        let acknowledged = self.resource.outbox.acknowledge(h)?;
        self.note_acknowledged(acknowledged);
        Ok(())
    }

    fn note_acknowledged(&self, acknowledged: Acknowledged) {
        // If it fails, the client is given it once more after a restart, and says that it has it.
        drop(acknowledged.write.map(|write| self.engine.stores.writer.submit(write)));
        for stored in acknowledged.marks {
            backlog::written(&self.engine, &self.account, stored);
        }
    }

    /// Adds to a stage that the session has ended; what it had handled is remembered for its client.
    pub(crate) fn stage_end(&self, stage: &mut Stage) {
        let (right, received) = {
            let mut state = self.attachment.state.lock();
            (state.right.take(), state.received)
        };
        let Some(Right { number: session, .. }) = right else { return };
        self.engine.resumable.0.lock().remove(&session);
        let until_ms = self.engine.clock.unix_ms().saturating_add(ENDED_SESSIONS_MS);
        for change in [
            SessionChange::In { h: wrapped(received), open_iqs: Vec::new() },
            SessionChange::State(SessionState::Ended(until_ms)),
        ] {
            stage.push(Write::Session { session, change });
        }
    }
}

impl State {
    /// How a session stands, as the store is told.
    fn kept(&self, right: &Right) -> SessionState {
        match self.stage {
            Standing::Detached => {
                SessionState::Detached(self.broken_ms.saturating_add(right.millis()))
            }
            Standing::Attached | Standing::Wanted | Standing::Over => SessionState::Attached,
        }
    }
}

/// A count as it is written: it starts again behind 2³² − 1 (§4).
const fn wrapped(count: u64) -> u32 {
    (count & 0xFFFF_FFFF) as u32
}
