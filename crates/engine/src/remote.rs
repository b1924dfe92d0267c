//! Stanzas to and from domains that are not ours: other servers and components.
//!
//! The engine knows neither: what leaves goes to [`Links`], what comes in from an authenticated
//! domain goes through an [`Inbound`].

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use stentor_jid::{BareJid, Jid};
use stentor_stanza::{Condition, Head, IqType, Kind, PresenceType, Stanza, StanzaError};
use stentor_store::Ticket;

use crate::account::Account;
use crate::ask::{self, Asker};
use crate::component::{xep0355_delegation as delegation, xep0356_privilege as privilege};
use crate::deliver;
use crate::engine::{Engine, Route};
use crate::host::Host;
use crate::lookup::{self, Found};
use crate::outbox::Pressure;
use crate::pipeline::{self, Outcome, Party, Passage};
use crate::presence;
use crate::refuse::store_error;
use crate::service;
use crate::session::{Handling, pause, send_to_resource};
use crate::underway::Kept;
use crate::watch;
use crate::xep0033_address;
use crate::xep0203_delay;

/// The ways to other domains.
pub trait Links: Send + Sync {
    /// Queues a stanza for the domain of its address; it has a sender of ours. What cannot be
    /// delivered later comes back by [`Engine::bounce`].
    ///
    /// # Errors
    /// There is no way and none may be opened: `remote-server-not-found` as a rule.
    fn push(&self, stanza: Stanza) -> Result<Pressure, StanzaError>;

    /// Whether what is for this address may be given to [`Links::push_kept`].
    fn may_keep(&self, _to: &Jid) -> bool {
        false
    }

    /// The same as [`Links::push`] for a stanza that is in the store. It is dropped from there once its
    /// domain has it or its sender the error; at the end of the process it stays.
    ///
    /// # Errors
    /// As above; then it is the caller's to drop.
    fn push_kept(&self, stanza: Stanza, _kept: Kept) -> Result<Pressure, StanzaError> {
        self.push(stanza)
    }

    /// The same for a stanza that an earlier process left in the store. Whom it is for may not be
    /// back yet, and is waited for.
    ///
    /// # Errors
    /// As above.
    fn push_restored(&self, stanza: Stanza, kept: Kept) -> Result<Pressure, StanzaError> {
        self.push_kept(stanza, kept)
    }
}

impl Engine {
    /// Sets the ways to other domains. Without them every other domain is unknown. Only the first
    /// call counts.
    pub fn connect_links(&self, links: Arc<dyn Links>) {
        let _ = self.links.set(links);
    }

    /// Sends a stanza to another domain.
    ///
    /// # Errors
    /// As in [`Links::push`].
    pub(crate) fn send_remote(&self, stanza: Stanza) -> Result<Pressure, StanzaError> {
        let links = self.links.get().ok_or(StanzaError::new(Condition::RemoteServerNotFound))?;
        links.push(stanza)
    }

    /// Sends an answer or an error of ours to wherever its address is.
    pub fn send_answer(self: &Arc<Self>, stanza: Stanza) {
        match stanza.head.to.as_ref().map(|to| self.route(to)) {
            Some(Route::Remote) => drop(self.send_remote(stanza)),
            // RFC 6121 §3.1.2: a request is from a bare address, and so comes its error.
            Some(Route::Account(_, jid)) if stanza.presence_type().is_some() => {
                let is_bare = stanza.head.to.as_ref().is_some_and(Jid::is_bare);
                if is_bare {
                    presence::broadcast::to_bare(self, None, &stanza, &jid);
                } else {
                    send_to_resource(self, stanza);
                }
            }
            Some(Route::Account(host, jid))
                if !stanza.head.to.as_ref().is_some_and(Jid::is_bare) =>
            {
                if stanza.message_type().is_some() {
                    self.return_message(&host, &jid, stanza);
                } else {
                    send_to_resource(self, stanza);
                }
            }
            Some(Route::Account(..) | Route::Host(_)) => {
                self.take_answer(&stanza);
            }
            None => {}
        }
    }

    /// Gives the error for a message to the session that sent it, and copies to whoever has copies of
    /// the message (XEP-0280 §6.1).
    fn return_message(self: &Arc<Self>, host: &Arc<Host>, jid: &BareJid, mut error: Stanza) {
        let Some(account) = self.directory.find(jid.as_str()) else { return };
        let recipient = Some(Party { host, account: &account });
        let (found, at_ms) = (Found::default(), self.clock.unix_ms());
        let (sender, session) = (None, None);
        let passage = Passage { engine: self, sender, recipient, session, found: &found, at_ms };
        // Whatever becomes of it: an error is not answered.
        drop(pipeline::decide(&passage, &mut error));
    }

    /// Returns a stanza that could not be delivered to another domain: its sender gets the error,
    /// where one may be sent. Presence that no user sent to this address is only dropped: a
    /// broadcast, a probe, a request that the server repeats by itself (RFC 6121 §3.1.2).
    pub fn bounce(self: &Arc<Self>, stanza: &Stanza, error: &StanzaError) {
        if stanza.presence_type() == Some(PresenceType::Probe) {
            self.note_missed(stanza);
        }
        if stanza.presence_type().is_some() && !stanza.head.is_directed {
            return;
        }
        if let Some(reply) = stanza.reply_error(error) {
            self.send_answer(reply);
        }
    }
}

/// The stanzas of one authenticated stream of another server or component, in their order.
pub struct Inbound {
    engine: Arc<Engine>,
    /// Messages delivered or kept whose commit is awaited, oldest first.
    unsettled: Mutex<VecDeque<(Ticket, Arc<Account>, Head)>>,
}

impl Inbound {
    /// A stream's entry.
    #[must_use]
    pub fn new(engine: Arc<Engine>) -> Self {
        Self { engine, unsettled: Mutex::default() }
    }

    /// Deals with one stanza. Its sender's domain has been authenticated on the stream; it has both
    /// addresses. The caller waits for [`Handling::Later`] before the next of the same sender.
    pub fn handle(self: &Arc<Self>, stanza: Stanza) -> Handling {
        let (Some(from), Some(to)) = (stanza.head.from.clone(), stanza.head.to.clone()) else {
            return Handling::Done;
        };
        match xep0033_address::spread_from_abroad(&self.engine, &stanza) {
            None => self.handle_one(&from, &to, stanza),
            Some(Err(error)) => self.refused(&stanza, &error),
            Some(Ok(copies)) => {
                let inbound = self.clone();
                Handling::Later(Box::pin(async move {
                    for copy in copies {
                        let Some(to) = copy.head.to.clone() else { continue };
                        if let Handling::Later(rest) = inbound.handle_one(&from, &to, copy) {
                            rest.await;
                        }
                    }
                }))
            }
        }
    }

    fn handle_one(self: &Arc<Self>, from: &Jid, to: &Jid, stanza: Stanza) -> Handling {
        let route = self.engine.route(to);
        if matches!(route, Route::Remote) {
            return self.relay(from, to, stanza);
        }
        match stanza.head.kind {
            Kind::Message(_) => self.message(route, stanza),
            Kind::Presence(kind) => self.presence(kind, from, to, route, stanza),
            Kind::Iq(kind) => self.iq(kind, from, to, route, stanza),
        }
    }

    /// How many messages wait for their commit.
    #[must_use]
    pub fn unsettled(&self) -> usize {
        self.unsettled.lock().len()
    }

    /// Waits until every message so far is recorded, and returns those that could not be.
    pub async fn settle_all(&self) {
        loop {
            let Some((ticket, account, head)) = self.unsettled.lock().pop_front() else { return };
            if let Err(error) = self.engine.settle(&account, ticket).await {
                self.refuse(&Stanza::empty(head), &store_error(&error));
            }
        }
    }

    /// From or to a component. RFC 6120 §8.3.3.7 and §10.5.1: we carry nothing from one foreign
    /// domain to another.
    fn relay(self: &Arc<Self>, from: &Jid, to: &Jid, mut stanza: Stanza) -> Handling {
        let component = |jid: &Jid| self.engine.component(jid.domain());
        let refusal = match (component(from), component(to)) {
            (Some(_), Some(_)) => None,
            (Some(only), None) => (!only.may_federate).then_some(Condition::NotAllowed),
            (None, Some(only)) => (!only.may_federate).then_some(Condition::ItemNotFound),
            (None, None) => Some(Condition::ItemNotFound),
        };
        if let Some(condition) = refusal {
            return self.refused(&stanza, &StanzaError::new(condition));
        }
        stanza.head.is_directed = match stanza.presence_type() {
            // A component broadcasts nothing by us: whatever it sends, it addresses itself.
            Some(PresenceType::Available | PresenceType::Unavailable) => component(from).is_some(),
            kind => kind.is_some_and(PresenceType::is_subscription),
        };
        match self.engine.send_remote(stanza.clone()) {
            // Whoever is slow slows its senders; a stream that carries others' stanzas is not one.
            Ok(_) => Handling::Done,
            Err(error) => self.refused(&stanza, &error),
        }
    }

    fn message(self: &Arc<Self>, route: Route, stanza: Stanza) -> Handling {
        self.engine.metrics.messages_in.inc();
        let at_ms = self.engine.clock.unix_ms();
        let (host, jid) = match route {
            Route::Account(host, jid) => (host, jid),
            Route::Host(host) if self.may_send_for_others(&stanza) => {
                return self.send_for_others(host, stanza);
            }
            // RFC 6120 §10.5.2: nobody reads messages to the domain itself.
            Route::Host(_) | Route::Remote => {
                return self.refused(&stanza, &StanzaError::new(Condition::ServiceUnavailable));
            }
        };
        let route = Route::Account(host.clone(), jid.clone());
        let looking = lookup::begin(&self.engine, None, &route, &stanza);
        if looking.is_none()
            && let Some(recipient) = self.engine.resident(&jid)
        {
            return self.deliver(&host, &recipient, stanza, &Found::default(), at_ms);
        }
        let inbound = self.clone();
        Handling::Later(Box::pin(async move {
            let found = match looking {
                None => Found::default(),
                Some(looking) => match looking.await {
                    Ok(found) => found,
                    Err(error) => return inbound.refuse(&stanza, &store_error(&error)),
                },
            };
            let handling = match inbound.engine.account(&jid).await {
                Ok(Some(recipient)) => inbound.deliver(&host, &recipient, stanza, &found, at_ms),
                Ok(None) if deliver::returns_unknown(&host.profile.settings, &stanza) => {
                    inbound.refused(&stanza, &StanzaError::new(Condition::ServiceUnavailable))
                }
                Ok(None) => Handling::Done,
                Err(error) => inbound.refused(&stanza, &store_error(&error)),
            };
            if let Handling::Later(rest) = handling {
                rest.await;
            }
        }))
    }

    /// Whether a component sends a message for somebody else (XEP-0356 §5).
    fn may_send_for_others(&self, stanza: &Stanza) -> bool {
        let from = stanza.head.from.as_ref();
        privilege::is_message(stanza)
            && from.is_some_and(|from| self.engine.component(from.domain()).is_some())
    }

    fn send_for_others(self: &Arc<Self>, host: Arc<Host>, stanza: Stanza) -> Handling {
        let inbound = self.clone();
        Handling::Later(Box::pin(async move {
            let engine = &inbound.engine;
            let from = stanza.head.from.as_ref();
            let component = from.and_then(|from| privilege::privileged(engine, from, &host));
            let sent = privilege::send_message(engine, &host, component.as_deref(), &stanza).await;
            if let Err(error) = sent {
                inbound.refuse(&stanza, &error);
            }
        }))
    }

    fn deliver(
        self: &Arc<Self>,
        host: &Arc<Host>,
        recipient: &Arc<Account>,
        mut stanza: Stanza,
        found: &Found,
        at_ms: i64,
    ) -> Handling {
        let passage = Passage {
            engine: &self.engine,
            sender: None,
            recipient: Some(Party { host, account: recipient }),
            session: None,
            found,
            at_ms,
        };
        match pipeline::decide(&passage, &mut stanza) {
            Outcome::Refused(error) => self.refused(&stanza, &error),
            Outcome::Done { ticket, pressure, .. } => {
                if let Some(ticket) = ticket {
                    let entry = (ticket, recipient.clone(), stanza.head);
                    self.unsettled.lock().push_back(entry);
                }
                if pressure == Pressure::High { Handling::Later(pause()) } else { Handling::Done }
            }
        }
    }

    fn presence(
        self: &Arc<Self>,
        kind: PresenceType,
        from: &Jid,
        to: &Jid,
        route: Route,
        mut stanza: Stanza,
    ) -> Handling {
        self.engine.metrics.presences_in.inc();
        xep0203_delay::cut_forged(&self.engine, &mut stanza);
        let Route::Account(host, jid) = route else {
            return match kind {
                // RFC 6120 §10.5.1: nobody is there who could answer it.
                PresenceType::Subscribe => {
                    self.refused(&stanza, &StanzaError::new(Condition::ServiceUnavailable))
                }
                _ => Handling::Done,
            };
        };
        match kind {
            PresenceType::Available | PresenceType::Unavailable => {
                self.engine.note_shown(&stanza, &jid);
                presence::broadcast::to_entity(&self.engine, None, &stanza, to);
                watch::shown_from_abroad(&self.engine, &host, &jid, &stanza)
            }
            PresenceType::Error => {
                self.engine.send_answer(stanza);
                Handling::Done
            }
            PresenceType::Probe => {
                let engine = self.engine.clone();
                Handling::Later(Box::pin(async move {
                    for reply in presence::probe::replies(&engine, &stanza).await {
                        engine.send_answer(reply);
                    }
                }))
            }
            _ => {
                let (inbound, contact) = (self.clone(), from.to_bare());
                Handling::Later(Box::pin(async move {
                    inbound.subscription(&jid, &contact, stanza).await;
                }))
            }
        }
    }

    async fn subscription(&self, owner: &BareJid, contact: &BareJid, stanza: Stanza) {
        let account = match self.engine.account(owner).await {
            Ok(Some(account)) => account,
            Ok(None) => return,
            Err(error) => return self.refuse(&stanza, &store_error(&error)),
        };
        let commits = presence::subscription::from_remote(&self.engine, &account, contact, stanza);
        for (ticket, account) in commits {
            drop(self.engine.settle(&account, ticket).await);
        }
    }

    fn iq(
        self: &Arc<Self>,
        kind: IqType,
        from: &Jid,
        to: &Jid,
        route: Route,
        stanza: Stanza,
    ) -> Handling {
        self.engine.metrics.iqs_in.inc();
        if to.is_full() && matches!(route, Route::Account(..)) {
            let asker = Asker::elsewhere(from);
            return match ask::to_resource(&self.engine, asker, to, &stanza) {
                Ok(Pressure::High) => Handling::Later(pause()),
                Ok(Pressure::Low | Pressure::Gone) => Handling::Done,
                Err(error) => self.refused(&stanza, &error),
            };
        }
        if !kind.is_request() {
            self.engine.take_answer(&stanza);
            return Handling::Done;
        }
        if let Some(request) = delegation::request(&self.engine, from, &route, &stanza) {
            let engine = self.engine.clone();
            return self.apart(&stanza, async move { request.answer(&engine).await });
        }
        if let (true, Route::Account(host, _)) = (privilege::is_iq(&stanza), &route)
            && self.engine.component(from.domain()).is_some()
        {
            let component = privilege::privileged(&self.engine, from, host);
            let (engine, outer) = (self.engine.clone(), stanza.clone());
            return self.apart(&stanza, async move {
                match privilege::send_iq(&engine, component.as_deref(), &outer).await {
                    Ok(answer) => Some(answer),
                    Err(error) => outer.reply_error(&error),
                }
            });
        }
        let (inbound, from) = (self.clone(), from.clone());
        Handling::Later(Box::pin(async move {
            let engine = &inbound.engine;
            let asker = Asker::elsewhere(&from);
            let reply = ask::answer(engine, asker, route, &stanza).await;
            // An answer says that what was sent before it has been recorded.
            inbound.settle_all().await;
            reply.into_iter().for_each(|reply| engine.send_answer(reply));
        }))
    }

    /// Answers a request by something that may take long: nothing else waits for it.
    fn apart(
        self: &Arc<Self>,
        stanza: &Stanza,
        answer: impl Future<Output = Option<Stanza>> + Send + 'static,
    ) -> Handling {
        let Ok(permit) = self.engine.delegating.clone().try_acquire_owned() else {
            return self.refused(stanza, &StanzaError::new(Condition::ResourceConstraint));
        };
        let inbound = self.clone();
        service::start(async move {
            let answer = answer.await;
            inbound.settle_all().await;
            answer.into_iter().for_each(|answer| inbound.engine.send_answer(answer));
            drop(permit);
        });
        Handling::Done
    }

    fn refused(&self, stanza: &Stanza, error: &StanzaError) -> Handling {
        self.refuse(stanza, error);
        Handling::Done
    }

    fn refuse(&self, stanza: &Stanza, error: &StanzaError) {
        if let Some(reply) = stanza.reply_error(error) {
            drop(self.engine.send_remote(reply));
        }
    }
}
