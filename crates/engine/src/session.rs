//! One bound client from the inside: what becomes of each stanza it sends, and of its end.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use parking_lot::Mutex;
use stentor_jid::{BareJid, Jid};
use stentor_stanza::{Condition, ErrorType, Head, Kind, PresenceType, Stanza, StanzaError};
use stentor_store::{Stage, Ticket};

use crate::account::Account;
use crate::ask::{self, Asker};
use crate::backlog::{self, Flush};
use crate::component::xep0355_delegation as delegation;
use crate::deliver;
use crate::engine::{Engine, Route};
use crate::host::Host;
use crate::iq::BoxFuture;
use crate::leftover::{Leftover, Owner};
use crate::limits::{SLOW_SENDER_PAUSE_MS, SLOW_SENDER_PAUSES, UNSETTLED_MAX};
use crate::lookup::{self, Found};
use crate::outbox::{Fate, Item, Pressure};
use crate::pending::Pending;
use crate::phase::Direction;
use crate::pipeline::{self, Outcome, Party, Passage};
use crate::presence;
use crate::refuse::store_error;
use crate::resource::Resource;
use crate::resume::Attachment;
use crate::sequel::Sequel;
use crate::service;

/// A bound session. Its owner, the connection's task, hands in one stanza after the other and
/// writes out what its outbox holds.
pub struct Session {
    /// Everything shared.
    pub engine: Arc<Engine>,
    /// The account that signed in.
    pub account: Arc<Account>,
    /// What others see of this session.
    pub resource: Arc<Resource>,
    /// Messages delivered or kept whose commit is awaited, oldest first.
    unsettled: Mutex<VecDeque<Unsettled>>,
    /// Commits awaited since the session began, and those that are done.
    awaited: AtomicU64,
    settled: AtomicU64,
    pub(crate) attachment: Attachment,
    /// Long answers.
    pub(crate) asides: Sequel,
}

struct Unsettled {
    ticket: Ticket,
    /// Whose state is ahead of the disk until then.
    account: Arc<Account>,
    /// The message that comes back if the commit fails.
    head: Option<Head>,
}

/// Whether a stanza has been dealt with.
pub enum Handling {
    /// Yes: hand in the next one.
    Done,
    /// Not yet: poll this first, and go on writing meanwhile.
    Later(BoxFuture<'static, ()>),
}

impl Session {
    pub(crate) fn new(engine: Arc<Engine>, account: Arc<Account>, resource: Arc<Resource>) -> Self {
        account.note_administrator(engine.is_administrator(&account.jid));
        Self {
            engine,
            account,
            resource,
            unsettled: Mutex::default(),
            awaited: AtomicU64::new(0),
            settled: AtomicU64::new(0),
            attachment: Attachment::default(),
            asides: Sequel::default(),
        }
    }

    /// Deals with one stanza from the client. Stanzas are dealt with one by one, in the order
    /// they came (RFC 6120 §10.1): the caller waits for [`Handling::Later`] before the next.
    pub fn handle(self: &Arc<Self>, mut stanza: Stanza) -> Handling {
        stanza.head.from = Some(Jid::from(self.resource.jid.clone()));
        let at_ms = self.engine.clock.unix_ms();
        if stanza.iq_type().is_none() && self.must_settle() {
            let session = self.clone();
            return Handling::Later(Box::pin(async move {
                session.settle_all().await;
                // The disk is behind: senders wait their turn, and none is refused for it.
                while session.engine.stores.writer.is_pressed() {
                    let _ = session.engine.stores.writer.barrier().await;
                }
                if let Handling::Later(rest) = session.handle_now(stanza, at_ms) {
                    rest.await;
                }
            }));
        }
        self.handle_now(stanza, at_ms)
    }

    fn handle_now(self: &Arc<Self>, stanza: Stanza, at_ms: i64) -> Handling {
        match self.spread(&stanza, at_ms) {
            Some(handling) => handling,
            None => self.handle_one(stanza, at_ms),
        }
    }

    /// Deals with what is for one receiver.
    pub(crate) fn handle_one(self: &Arc<Self>, stanza: Stanza, at_ms: i64) -> Handling {
        // Messages are screened in their passes.
        if stanza.message_type().is_none() && stanza.head.to.is_some() {
            match self.may_leave(&stanza) {
                Ok(()) => {}
                Err(Some(error)) => return self.refused(&stanza, &error),
                Err(None) => return Handling::Done,
            }
        }
        match stanza.head.kind {
            Kind::Message(_) => self.message(stanza, at_ms),
            Kind::Presence(_) => presence::handle(self, stanza),
            Kind::Iq(_) => self.iq(stanza),
        }
    }

    /// The domain of the account.
    ///
    /// # Errors
    /// `gone`: it was removed from the configuration meanwhile.
    pub(crate) fn host(&self) -> Result<Arc<Host>, StanzaError> {
        self.engine
            .host(self.account.jid.as_jid().domain())
            .ok_or(StanzaError::new(Condition::Gone))
    }

    /// Sends the client a stanza.
    pub fn reply(&self, stanza: Stanza) {
        self.resource.outbox.push(stanza, Fate::Forget);
    }

    /// Sends the client the error for its stanza, where one may be sent.
    pub fn refuse(&self, stanza: &Stanza, error: &StanzaError) {
        if let Some(mut reply) = stanza.reply_error(error) {
            reply.head.from.get_or_insert_with(|| self.account.jid.clone().into());
            // RFC 6120 §8.1.1.1: also where the stanza went out from the bare address.
            reply.head.to = Some(self.resource.jid.clone().into());
            self.reply(reply);
        }
    }

    fn may_leave(&self, stanza: &Stanza) -> Result<(), Option<StanzaError>> {
        let (engine, account) = (&self.engine, &self.account);
        pipeline::may_pass(engine, account, Direction::Sent, &account.lock(), stanza)
    }

    /// `at_ms` is when it came, in milliseconds since 1970: what is shown as the time of sending.
    fn message(self: &Arc<Self>, stanza: Stanza, at_ms: i64) -> Handling {
        self.engine.metrics.messages_in.inc();
        // RFC 6120 §10.3.1: without an address it is for the sender's own account.
        let to = stanza.head.to.clone().unwrap_or_else(|| self.account.jid.clone().into());
        let route = self.engine.route(&to);
        let Some(looking) = lookup::begin(&self.engine, Some(&self.account.jid), &route, &stanza)
        else {
            return self.route_message(route, stanza, Found::default(), at_ms);
        };
        let session = self.clone();
        Handling::Later(Box::pin(async move {
            let handling = match looking.await {
                Ok(found) => session.route_message(route, stanza, found, at_ms),
                Err(error) => session.refused(&stanza, &store_error(&error)),
            };
            if let Handling::Later(rest) = handling {
                rest.await;
            }
        }))
    }

    fn route_message(
        self: &Arc<Self>,
        route: Route,
        stanza: Stanza,
        found: Found,
        at_ms: i64,
    ) -> Handling {
        match route {
            Route::Account(host, jid) => match self.engine.resident(&jid) {
                Some(recipient) => self.deliver(&host, &recipient, stanza, &found, at_ms),
                None => self.clone().load_and_deliver(host, jid, stanza, found, at_ms),
            },
            // RFC 6120 §10.5.2: nobody reads messages to the domain itself.
            Route::Host(_) => {
                self.refused(&stanza, &StanzaError::new(Condition::ServiceUnavailable))
            }
            Route::Remote => self.message_abroad(stanza, &found, at_ms),
        }
    }

    fn message_abroad(self: &Arc<Self>, mut stanza: Stanza, found: &Found, at_ms: i64) -> Handling {
        let host = match self.host() {
            Ok(host) => host,
            Err(error) => return self.refused(&stanza, &error),
        };
        let sender = Some(Party { host: &host, account: &self.account });
        let engine = &self.engine;
        let session = Some(self);
        let passage = Passage { engine, sender, recipient: None, session, found, at_ms };
        match pipeline::decide(&passage, &mut stanza) {
            Outcome::Refused(error) => self.refused(&stanza, &error),
            Outcome::Done { ticket, underway, .. } => {
                if let Some(ticket) = ticket {
                    self.await_commit(ticket, &self.account, Some(stanza.head.clone()));
                }
                match underway {
                    Some(kept) => self.sent(&stanza, engine.send_kept(stanza.clone(), kept)),
                    None => self.leave(&stanza),
                }
            }
        }
    }

    fn deliver(
        self: &Arc<Self>,
        host: &Arc<Host>,
        recipient: &Arc<Account>,
        mut stanza: Stanza,
        found: &Found,
        at_ms: i64,
    ) -> Handling {
        let own_host = match self.host() {
            Ok(own_host) => own_host,
            Err(error) => return self.refused(&stanza, &error),
        };
        let passage = Passage {
            engine: &self.engine,
            sender: Some(Party { host: &own_host, account: &self.account }),
            recipient: Some(Party { host, account: recipient }),
            session: Some(self),
            found,
            at_ms,
        };
        match pipeline::decide(&passage, &mut stanza) {
            Outcome::Refused(error) => self.refused(&stanza, &error),
            Outcome::Done { ticket, pressure, .. } => {
                if let Some(ticket) = ticket {
                    self.await_commit(ticket, recipient, Some(stanza.head));
                }
                if pressure == Pressure::High { Handling::Later(pause()) } else { Handling::Done }
            }
        }
    }

    fn load_and_deliver(
        self: Arc<Self>,
        host: Arc<Host>,
        jid: BareJid,
        stanza: Stanza,
        found: Found,
        at_ms: i64,
    ) -> Handling {
        Handling::Later(Box::pin(async move {
            let handling = match self.engine.account(&jid).await {
                Ok(Some(recipient)) => self.deliver(&host, &recipient, stanza, &found, at_ms),
                Ok(None) => {
                    self.no_such_account(&host, &stanza);
                    Handling::Done
                }
                Err(error) => self.refused(&stanza, &store_error(&error)),
            };
            if let Handling::Later(rest) = handling {
                rest.await;
            }
        }))
    }

    /// RFC 6121 §8.5.1: what an account without resources would return comes back; what it would
    /// keep comes back, or vanishes where the operator says so: then nobody can tell the two apart.
    fn no_such_account(&self, host: &Host, stanza: &Stanza) {
        if let Err(error) = self.may_leave(stanza) {
            error.into_iter().for_each(|error| self.refuse(stanza, &error));
            return;
        }
        if deliver::returns_unknown(&host.profile.settings, stanza) {
            self.refuse(stanza, &StanzaError::new(Condition::ServiceUnavailable));
        }
    }

    fn refused(&self, stanza: &Stanza, error: &StanzaError) -> Handling {
        self.refuse(stanza, error);
        Handling::Done
    }

    fn iq(self: &Arc<Self>, stanza: Stanza) -> Handling {
        self.engine.metrics.iqs_in.inc();
        let Some(kind) = stanza.iq_type() else { return Handling::Done };
        let to = stanza.head.to.clone().unwrap_or_else(|| self.account.jid.clone().into());
        let route = self.engine.route(&to);
        if kind.is_request()
            && let Some(id) = stanza.head.id.as_deref()
        {
            self.resource.outbox.note_request(id, stanza.head.to.as_ref());
        }
        if matches!(route, Route::Remote) {
            return self.leave(&stanza);
        }
        let asked = delegation::request(&self.engine, self.resource.jid.as_jid(), &route, &stanza);
        if let Some(request) = asked {
            return self.delegate(request, &stanza);
        }
        if to.is_full() && matches!(route, Route::Account(..)) {
            let asker = Asker::of(self);
            return match ask::to_resource(&self.engine, asker, &to, &stanza) {
                Ok(Pressure::High) => Handling::Later(pause()),
                Ok(Pressure::Low | Pressure::Gone) => Handling::Done,
                Err(error) => self.refused(&stanza, &error),
            };
        }
        // Answers to pushes are not acted on; stray ones must not be answered.
        if !kind.is_request() {
            self.engine.take_answer(&stanza);
            return Handling::Done;
        }
        let is_long = ask::is_long(&route, &stanza);
        let session = self.clone();
        let request = is_long.then(|| stanza.clone());
        let answering = async move {
            let asker = Asker::of(&session);
            let reply = ask::answer(&session.engine, asker, route, &stanza).await;
            // An answer says that what was sent before it has been recorded, and so has what the
            // session asks for itself, as far as it outlives the process.
            session.note_changed();
            session.settle_all().await;
            if let Some(mut reply) = reply {
                if reply.head.kind.is_error() {
                    reply.head.from.get_or_insert_with(|| session.account.jid.clone().into());
                }
                session.reply(reply);
            }
        };
        let Some(request) = request else { return Handling::Later(Box::pin(answering)) };
        match self.aside(answering) {
            Some(done) => Handling::Later(Box::pin(done)),
            None => self.refused(&request, &StanzaError::new(Condition::ResourceConstraint)),
        }
    }

    /// A component answers. Nobody's other stanzas wait for it (XEP-0355 §9).
    fn delegate(self: &Arc<Self>, request: delegation::Request, stanza: &Stanza) -> Handling {
        let Ok(permit) = self.engine.delegating.clone().try_acquire_owned() else {
            return self.refused(stanza, &StanzaError::new(Condition::ResourceConstraint));
        };
        let session = self.clone();
        service::start(async move {
            let answer = request.answer(&session.engine).await;
            session.settle_all().await;
            answer.into_iter().for_each(|answer| session.reply(answer));
            drop(permit);
        });
        Handling::Done
    }

    /// Sends a stanza to another domain.
    pub(crate) fn leave(&self, stanza: &Stanza) -> Handling {
        self.sent(stanza, self.engine.send_remote(stanza.clone()))
    }

    fn sent(&self, stanza: &Stanza, outcome: Result<Pressure, StanzaError>) -> Handling {
        match outcome {
            Ok(Pressure::High) => Handling::Later(pause()),
            Ok(Pressure::Low | Pressure::Gone) => Handling::Done,
            // Others may have a copy by now.
            Err(error) if stanza.message_type().is_some() => {
                self.engine.bounce(stanza, &error);
                Handling::Done
            }
            Err(error) => self.refused(stanza, &error),
        }
    }

    /// Waits for the commits of what came before, if too many wait for theirs.
    pub(crate) async fn settle_if_many(&self) {
        if self.must_settle() {
            self.settle_all().await;
        }
    }

    fn must_settle(&self) -> bool {
        self.engine.stores.writer.is_pressed() || self.unsettled.lock().len() >= UNSETTLED_MAX
    }

    /// Whether messages of this session wait for their commit.
    pub fn has_unsettled(&self) -> bool {
        !self.unsettled.lock().is_empty()
    }

    /// Waits until every message sent so far is recorded, and returns those that could not be.
    pub async fn settle_all(&self) {
        let awaited = self.awaited();
        loop {
            let Some(next) = self.unsettled.lock().pop_front() else { break };
            self.settle(next).await;
        }
        // Another may have taken some of them, and wait for them still.
        if self.settled.load(Ordering::Acquire) < awaited {
            drop(self.engine.stores.writer.barrier().await);
        }
    }

    async fn settle(&self, next: Unsettled) {
        let outcome = self.engine.settle(&next.account, next.ticket).await;
        self.settled.fetch_add(1, Ordering::AcqRel);
        // An acknowledgement may wait for it: whoever polls has no ticket to be woken by any more.
        self.resource.outbox.wake();
        let Err(error) = outcome else { return };
        self.forget_written();
        // The stage may have held writes of the sender's own as well.
        if !self.account.is_ephemeral {
            self.account.mark_stale();
        }
        if let Some(head) = next.head {
            self.refuse(&Stanza::empty(head), &store_error(&error));
        }
    }

    /// How many commits the session has had to wait for so far.
    pub fn awaited(&self) -> u64 {
        self.awaited.load(Ordering::Acquire)
    }

    /// Whether so many of them are decided; if not, the task is woken when more are.
    pub fn poll_settled(self: &Arc<Self>, awaited: u64, cx: &mut Context<'_>) -> Poll<()> {
        while self.settled.load(Ordering::Acquire) < awaited {
            let next = {
                let mut unsettled = self.unsettled.lock();
                let Some(first) = unsettled.front_mut() else { return Poll::Pending };
                match Pin::new(&mut first.ticket).poll(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Ok(())) => {
                        unsettled.pop_front();
                        if unsettled.is_empty() {
                            // An idle session keeps no queue.
                            *unsettled = VecDeque::new();
                        }
                        self.settled.fetch_add(1, Ordering::AcqRel);
                        continue;
                    }
                    Poll::Ready(Err(_)) => unsettled.pop_front(),
                }
            };
            if let Some(next) = next {
                let session = self.clone();
                service::start(async move { session.settle(next).await });
            }
        }
        Poll::Ready(())
    }

    /// Remembers a commit that a later answer to this session must wait for.
    pub(crate) fn await_commit(&self, ticket: Ticket, account: &Arc<Account>, head: Option<Head>) {
        let mut unsettled = self.unsettled.lock();
        // What is on disk by now is nothing to wait for.
        while unsettled.front_mut().is_some_and(|first| first.ticket.outcome() == Some(Ok(()))) {
            unsettled.pop_front();
            self.settled.fetch_add(1, Ordering::AcqRel);
        }
        if unsettled.capacity() == 0 {
            // An idle session that may be resumed awaits one commit: no room for four.
            unsettled.reserve_exact(1);
        }
        unsettled.push_back(Unsettled { ticket, account: account.clone(), head });
        self.awaited.fetch_add(1, Ordering::AcqRel);
    }

    /// Ends the session: everyone who saw it learns of it, and what it did not take is routed
    /// again, so that nothing is lost. `unwritten` are stanzas taken from the outbox that did not
    /// reach the wire.
    pub async fn end(self: Arc<Self>, unwritten: Vec<Item>) {
        if let Some(flush) = self.end_session(unwritten).await {
            flush.start(&self.engine);
        }
    }

    /// The same, but for handing what is stored to whom it is due now.
    async fn end_session(self: &Arc<Self>, unwritten: Vec<Item>) -> Option<Flush> {
        self.forget_resumption();
        self.look();
        let host = self.host().ok();
        let owner = Owner { engine: &self.engine, host: host.as_ref(), account: &self.account };
        let (left, flush, placed, ticket, is_last) = {
            // One lock for all of it: no message slips in between and overtakes those here.
            let mut state = self.account.lock();
            let is_ahead = backlog::is_ahead(&state, &self.resource);
            let left = presence::Left::take(&self.engine, &self.resource);
            state.remove_resource(self.resource.serial);
            let mut items = unwritten;
            items.extend(self.resource.outbox.drain());
            backlog::take_back(&mut state, &items);
            let flush = Flush::begin_for_best(&self.account, &mut state);
            let (mut stage, mut pending) = (Stage::new(), Pending::default());
            let since_ms = self.broken_ms();
            let leftover = Leftover { items, serial: self.resource.serial, since_ms, is_ahead };
            let placed = owner.place(&mut state, leftover, &mut stage, &mut pending);
            pending.write(&mut stage);
            // In one stage: nothing has two places, and nothing none.
            self.stage_end(&mut stage);
            let ticket = self.engine.submit(stage);
            pending.release();
            (left, flush, placed, ticket, state.resources().is_empty())
        };
        presence::announce_end(&self.engine, &self.account, &self.resource, left, None);
        owner.report(placed, ticket).await;
        self.settle_all().await;
        if is_last && self.account.is_ephemeral {
            self.engine.directory.remove(self.account.jid.as_str());
        }
        self.engine.metrics.sessions.dec();
        flush
    }
}

/// Pushes a stanza to the one session it is addressed to, if it is there.
pub(crate) fn send_to_resource(engine: &Arc<Engine>, stanza: Stanza) -> bool {
    let Some(to) = &stanza.head.to else { return false };
    let resource = engine.directory.find(to.bare_str()).and_then(|account| {
        let state = account.lock();
        let resource = state.resource(to.resource()?)?.clone();
        let verdict = pipeline::may_pass(engine, &account, Direction::Received, &state, &stanza);
        verdict.ok()?;
        presence::note_gone(engine, &state, &stanza);
        Some(resource)
    });
    resource.is_some_and(|r| r.outbox.push(stanza, Fate::Forget) != Pressure::Gone)
}

/// A slow receiver slows its senders: a few milliseconds, no more, so that nobody is held up for
/// another's sake for long.
pub(crate) fn pause() -> BoxFuture<'static, ()> {
    Box::pin(tokio::time::sleep(std::time::Duration::from_millis(
        SLOW_SENDER_PAUSE_MS * u64::from(SLOW_SENDER_PAUSES),
    )))
}

/// The error for a presence that is malformed.
pub(crate) const fn bad_request() -> StanzaError {
    StanzaError::new(Condition::BadRequest).of_type(ErrorType::Modify)
}

/// A presence of this type without content.
pub(crate) fn bare_presence(
    kind: PresenceType,
    from: impl Into<Jid>,
    to: impl Into<Jid>,
) -> Stanza {
    Stanza::empty(Head::new(Kind::Presence(kind)).from(from).to(to))
}
