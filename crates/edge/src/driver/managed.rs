//! A driver's part in stream management (XEP-0198): acknowledgements, sessions that come from
//! and go to other streams, and what clients say of their state (XEP-0352).

use std::task::Context;

use stentor_engine::{Close, Flag, Item, Resumed, TooHigh};
use stentor_payload::xep0352_csi::ClientState;
use stentor_stream::fault::Fault;

use super::{Done, Driver, Silence, confirm};
use crate::monotonic;

impl Driver {
    /// An earlier session goes on over this stream, as the machine is told next.
    pub(super) fn attach(&mut self, Resumed { session, confirmed, .. }: Resumed) {
        let jid = &session.resource.jid;
        tracing::info!(event = "resumed", %jid, peer = %self.link.peer, "A session was resumed.");
        confirm(&session, confirmed);
        self.begin(session);
    }

    pub(super) fn enable(&mut self, resume: bool, max_secs: Option<u32>) {
        let Some(session) = &self.session else { return };
        let enabling = session.enable_sm(resume, max_secs);
        self.silence = Silence::Enabling;
        self.work = Some(Box::pin(async move { Done::Enabled(enabling.await) }));
    }

    /// What was taken from the outbox and is kept nowhere else.
    pub(super) fn unwritten(&mut self) -> Vec<Item> {
        let mut items: Vec<Item> = self.stored.take_unconfirmed().collect();
        items.extend(self.out.unwritten());
        items
    }

    /// Another stream wants the session: it is left at once, whatever the peer does.
    pub(super) fn let_go(&mut self) -> bool {
        if self.work.is_some() || !self.session.as_ref().is_some_and(|s| s.is_wanted()) {
            return false;
        }
        let unwritten = self.unwritten();
        let is_leaving = self.session.as_ref().is_some_and(|s| s.is_leaving());
        if let Some(session) = self.session.take()
            && let Some(end) = session.break_off(unwritten)
        {
            tokio::spawn(end);
        }
        self.acks_due.clear();
        let fault = if is_leaving { Fault::Shutdown } else { Fault::Replaced };
        self.machine.close(Some(fault), monotonic::now());
        true
    }

    /// Tells the client what has been handled, once it is on disk: one answer for each request.
    pub(super) fn poll_acks(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(session) = &self.session else { return false };
        let mut moved = false;
        while let Some(&(awaited, handled)) = self.acks_due.front() {
            if session.poll_settled(awaited, cx).is_pending() {
                break;
            }
            self.acks_due.pop_front();
            self.machine.acknowledge(handled);
            moved = true;
        }
        moved
    }

    /// Work that waits for the client to take something would wait for ever once the stream is
    /// over: it ends with the session, or goes on by itself where the session may be resumed.
    pub(super) fn leave_work(&mut self) -> bool {
        let Some(session) = self.session.as_ref().filter(|_| self.machine.is_ended()) else {
            return false;
        };
        if !session.resource.has(Flag::Resumable) {
            session.resource.outbox.close(Close::Overflow);
            return false;
        }
        let Some(work) = self.work.take() else { return false };
        session.finish_apart(async move { drop(work.await) });
        true
    }

    /// The client says whether somebody looks at it (XEP-0352).
    pub(super) fn indicated(&self, state: ClientState) {
        if let Some(session) = &self.session {
            session.indicate(state);
        }
    }

    pub(super) fn acked(&mut self, h: u32) {
        let Some(session) = &self.session else { return };
        if let Err(TooHigh { sent }) = session.acknowledge(h) {
            self.machine.close(Some(Fault::AckTooHigh { h, sent }), monotonic::now());
        }
    }
}
