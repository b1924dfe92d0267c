//! How a connection ends, and what becomes of its session.

use std::sync::Arc;
use std::task::Context;

use stentor_engine::{Close, Item, Session};
use stentor_stream::fault::Fault;

use super::{Done, Driver, Phase, confirm};
use crate::monotonic;
use crate::out::{linger, linger_until_closed};

impl Driver {
    /// The client closed its stream: what it sent is settled, what is owed is sent, then we close.
    pub(super) fn close_politely(&mut self) {
        let is_owing =
            |session: &Arc<Session>| session.has_unsettled() || !self.acks_due.is_empty();
        let Some(session) = self.session.clone().filter(is_owing) else { return self.say_last() };
        self.work = Some(Box::pin(async move {
            session.settle_all().await;
            Done::Settled
        }));
    }

    /// All that the client sent is settled: what it is still owed, and our end of the stream.
    pub(super) fn say_last(&mut self) {
        // XEP-0198 §4: no request for an acknowledgement is left without an answer.
        while let Some((_, handled)) = self.acks_due.pop_front() {
            self.machine.acknowledge(handled);
        }
        self.out.complete();
        self.fill_from_outbox(usize::MAX);
        self.machine.close(None, monotonic::now());
    }

    pub(super) fn ended(&mut self, fault: Option<&Fault>, by_peer: bool) {
        let jid = self.session.as_ref().map(|s| s.resource.jid.as_str().to_owned());
        let peer = self.link.peer;
        match fault {
            None => tracing::info!(event = "closed", jid, %peer, by_peer, "A stream was closed."),
            Some(fault) => {
                self.link.listener.shared.metrics.faults.inc();
                let condition = fault.condition().name();
                tracing::info!(event = "ended", jid, %peer, by_peer, condition, reason = %fault, "A stream ended.");
            }
        }
        self.phase = Phase::Ending;
        self.timer = None;
        self.out.complete();
        self.machine.take_output(&mut self.out.bytes);
        let last_bytes = self.out.bytes.split_off(self.out.taken);
        let conn = self.conn.take().filter(|_| !matches!(fault, Some(Fault::Lost)));
        let mut session = self.session.take();
        // XEP-0198 §7: what did not close in order may go on. Bytes that are no XML are mostly those
        // of a connection that broke in the middle.
        let is_broken = matches!(fault, Some(Fault::Lost | Fault::Timeout(_) | Fault::Xml(_)));
        if is_broken && let Some(broken) = session.take() {
            let end = broken.break_off(self.unwritten());
            self.work = Some(Box::pin(async move {
                if let Some(conn) = conn {
                    linger(conn, last_bytes).await;
                }
                if let Some(end) = end {
                    end.await;
                }
                Done::Ended
            }));
            return;
        }
        if let Some(session) = &session {
            // What comes while the last bytes leave is for others.
            session.resource.outbox.close(Close::Shutdown);
        }
        let stored = self.stored.take_all();
        let unwritten = self.out.unwritten();
        // The client ended the stream: if it goes on to close the connection it has what it was
        // sent, the answers to our questions included.
        let may_confirm = by_peer && fault.is_none() && !stored.is_empty();
        self.work = Some(Box::pin(async move {
            let have_left = match conn {
                Some(conn) if may_confirm => linger_until_closed(conn, last_bytes).await,
                Some(conn) => linger(conn, last_bytes).await,
                None => false,
            };
            if let Some(session) = session {
                let mut lost: Vec<Item> = Vec::new();
                if may_confirm && have_left {
                    confirm(&session, stored);
                } else {
                    lost.extend(stored.into_iter().map(Item::Stored));
                }
                if !have_left {
                    lost.extend(unwritten);
                }
                session.end(lost).await;
            }
            Done::Ended
        }));
    }

    /// The connection is of no more use.
    pub(super) fn lost(&mut self, cx: &mut Context<'_>) {
        match self.phase {
            Phase::Open => {
                self.machine.handle_eof(monotonic::now());
                self.poll_events(cx);
            }
            Phase::Ending | Phase::Gone => {}
        }
    }
}

impl Drop for Driver {
    /// Whatever ends the task, a panic included, the session must not stay behind as a ghost.
    fn drop(&mut self) {
        if let (Some(session), Ok(runtime)) =
            (self.session.take(), tokio::runtime::Handle::try_current())
        {
            let _guard = runtime.enter();
            if let Some(end) = session.break_off(self.unwritten()) {
                runtime.spawn(end);
            }
        }
    }
}
