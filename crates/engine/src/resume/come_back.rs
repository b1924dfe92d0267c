//! A client comes back for its session (XEP-0198 §5), or the server leaves its clients.

use std::sync::{Arc, Weak};

use stentor_jid::BareJid;
use stentor_stanza::{Condition, Head, IqType, Kind, Stanza, StanzaError};
use stentor_store::Stage;

use super::{NotResumed, Resumed, token_of};
use crate::backlog::Flush;
use crate::engine::Engine;
use crate::outbox::Close;
use crate::presence;
use crate::resource::{Flag, Resource};
use crate::service;
use crate::session::Session;
use crate::watch;

impl Engine {
    /// Lets a session of this account go on over another stream (§5). `h` is how many of our
    /// stanzas the client has had, modulo 2³²; what it has not had is in the outbox again.
    ///
    /// # Errors
    /// There is no such session, or the count is impossible.
    pub async fn resume(
        self: &Arc<Self>,
        account: &BareJid,
        id: &str,
        h: u32,
    ) -> Result<Resumed, NotResumed> {
        if self.host(account.domain()).is_some_and(|h| h.profile.settings.resume_secs == 0) {
            return Err(NotResumed::NotOffered);
        }
        let mut confirmed = Vec::new();
        let found = self.find_resumable(account, id).await;
        let session = found.map_err(|received| {
            self.metrics.resumptions_failed.inc();
            NotResumed::Unknown(received)
        })?;
        if !session.take_over().await {
            self.metrics.resumptions_failed.inc();
            return Err(NotResumed::Unknown(None));
        }
        // What is told as handled has been recorded.
        session.finished().await;
        session.settle_all().await;
        let was_restored = session.resource.outbox.is_restored();
        let ticket = {
            let _account = session.account.lock();
            let acknowledged = match session.resource.outbox.resume(h) {
                Ok(acknowledged) => acknowledged,
                Err(too_high) => {
                    session.detach();
                    return Err(NotResumed::TooHigh(too_high));
                }
            };
            let mut stage: Stage = acknowledged.write.into_iter().collect();
            session.resource.outbox.gather().into_iter().for_each(|write| stage.push(write));
            if was_restored {
                session.forget_written();
            }
            session.stage_handled(&mut stage);
            for stored in acknowledged.marks {
                confirmed.push(stored);
            }
            self.submit(stage)
        };
        if let Some(ticket) = ticket
            && let Err(error) = ticket.await
        {
            tracing::error!(event = "store_failed", jid = %session.resource.jid, %error, "A resumption could not be kept.");
            session.forget_written();
            let _account = session.account.lock();
            session.detach();
            return Err(NotResumed::Unknown(None));
        }
        if was_restored {
            session.catch_up();
        }
        // XEP-0352 §5.2: whatever the former stream was, this one is active.
        session.look_again();
        let due = {
            // One lock: nothing that comes overtakes what is stored.
            let mut state = session.account.lock();
            session.resource.outbox.unpark();
            Flush::begin_for_best(&session.account, &mut state)
        };
        if let Some(due) = due {
            due.start(self);
        }
        self.metrics.resumptions.inc();
        let received = session.attachment.state.lock().received;
        Ok(Resumed { session, received, confirmed })
    }

    /// The session of an id, or what it had handled when it ended.
    async fn find_resumable(
        &self,
        account: &BareJid,
        id: &str,
    ) -> Result<Arc<Session>, Option<u64>> {
        let (number, secret) = id.split_once('-').ok_or(None)?;
        let number = u64::from_str_radix(number, 16).map_err(|_| None)?;
        let token = token_of(secret);
        let found = self.resumable.0.lock().get(&number).and_then(Weak::upgrade);
        if let Some(session) = found {
            return if session.is_of(account, &token) { Ok(session) } else { Err(None) };
        }
        // What was staged before now must be readable.
        self.stores.writer.barrier().await.map_err(|_| None)?;
        let row = self.stores.sessions.load(number).await.map_err(|_| None)?.ok_or(None)?;
        let is_it = row.owner == *account && row.token == token;
        Err(is_it.then_some(u64::from(row.h)))
    }

    /// The session behind a resource, if it may be resumed.
    pub(crate) fn resumable_of(&self, resource: &Resource) -> Option<Arc<Session>> {
        let number = resource.outbox.number()?;
        self.resumable.0.lock().get(&number)?.upgrade()
    }

    /// The process is taken to have been killed: its sessions neither end nor wait any longer, nobody is
    /// told anything, and nothing more is written about them. For those who try out what a kill leaves
    /// behind; their streams are gone.
    pub fn abandon_all(&self) {
        let resumable: Vec<_> =
            self.resumable.0.lock().values().filter_map(Weak::upgrade).collect();
        for session in resumable {
            session.abandon();
        }
        self.close_all(Close::Shutdown);
    }

    /// The server stops: sessions that outlive the process leave their streams, the others end.
    pub fn leave_all(&self) {
        let resumable: Vec<_> =
            self.resumable.0.lock().values().filter_map(Weak::upgrade).collect();
        for session in resumable {
            session.depart();
        }
        for account in self.directory.online() {
            for resource in account.resources() {
                if !resource.has(Flag::Resumable) {
                    resource.outbox.close(Close::Shutdown);
                }
            }
        }
    }
}

impl Session {
    /// What a client gets that comes back after a restart: answers to what it asked, and the
    /// presence of its contacts as it is now.
    fn catch_up(self: &Arc<Self>) {
        for iq in self.resource.outbox.unanswered() {
            let head = Head::new(Kind::Iq(IqType::Get)).id(iq.id);
            let mut request = Stanza::empty(head.from(self.resource.jid.clone()));
            request.head.to = iq.to;
            self.refuse(&request, &StanzaError::new(Condition::InternalServerError));
        }
        if self.resource.is_available() {
            presence::show_absent(self);
            let requests = presence::waiting_requests(self, &self.account.lock());
            // It goes on by itself.
            drop(presence::greet(self, requests));
        }
        // What it wishes to be notified of was known to the former process alone.
        if let Some(presence) = self.resource.presence() {
            watch::shown(self, &presence, None).into_iter().for_each(service::start);
        }
    }
}
