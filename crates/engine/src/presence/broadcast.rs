//! Presence to everyone who may see it (RFC 6121 §4.2, §4.4, §4.5).

use std::sync::Arc;

use stentor_jid::{BareJid, Jid};
use stentor_stanza::{Head, Kind, PresenceType, Stanza};
use stentor_store::{LastRow, StoreError, Write};
use stentor_xml::ns;

use crate::account::{Account, AccountState};
use crate::backlog::Flush;
use crate::component::xep0356_privilege;
use crate::engine::Engine;
use crate::host::Delivery;
use crate::iq::BoxFuture;
use crate::limits::OUTBOX_SOFT_BYTES;
use crate::locks::Locks;
use crate::outbox::{Close, Fate};
use crate::phase::{Direction, Flow};
use crate::pipeline;
use crate::presence::ghosts::unseen;
use crate::presence::{check, directed};
use crate::resource::{Available, Flag, Resource};
use crate::session::{Handling, Session, bare_presence, send_to_resource};
use crate::watch;

/// A session says that it is there, for the first time or again.
pub(crate) fn available(session: &Arc<Session>, mut stanza: Stanza) -> Handling {
    let priority = used_priority(session, &mut stanza);
    let stanza = &stanza;
    let (former, requests, flush) = {
        let mut state = session.account.lock();
        // Another session may have taken the resource over: then this one is gone for everyone.
        if !state.holds(session.resource.serial) {
            return Handling::Done;
        }
        let next = Available { stanza: stanza.clone(), priority };
        let former = session.resource.set_presence(Some(next));
        // Before any message that comes for it: what it is given outlives the process only as what
        // is for somebody who is there.
        session.write_handled();
        // §3.1.3: those that come from here on reach the session by themselves.
        let requests = match former {
            Some(_) => Vec::new(),
            None => {
                session.note_seen();
                waiting_requests(session, &state)
            }
        };
        // §4.7.2.3 and XEP-0160 §2: what is stored waits for a priority that is not negative.
        let flush = (priority >= 0)
            .then(|| Flush::begin(&session.account, &mut state, &session.resource))
            .flatten();
        (former, requests, flush)
    };
    to_subscribers(&session.engine, &session.account, &session.resource, stanza);
    to_own_resources(&session.account, stanza);
    let mut greeting = None;
    if former.is_none() {
        // XEP-0356 §7.1: only initial presence.
        xep0356_privilege::show_session(&session.engine, &session.account, stanza);
        greeting = greet(session, requests);
    }
    let mut work = watch::shown(session, stanza, former.as_ref().map(|former| &former.stanza));
    if let Some(flush) = flush {
        work.insert(0, Box::pin(flush.start_first(&session.engine)));
    }
    work.extend(greeting);
    watch::later(work)
}

/// The priority that counts. Where every device gets all messages, those that are not negative count
/// alike, and everyone is shown so: without the element it is the default (§4.7.2.3).
fn used_priority(session: &Session, stanza: &mut Stanza) -> i8 {
    let said = check::priority(stanza);
    let rule = session.host().map(|host| host.profile.settings.delivery);
    if said <= 0 || rule != Ok(Delivery::All) {
        return said;
    }
    stanza.cut(|c| c.ns() == ns::CLIENT && c.name() == "priority");
    0
}

/// What a new presence session learns: its siblings, its contacts, requests that wait (§4.2.2). The
/// client takes the presences of very many contacts one lot after the other: they are not to end the
/// session for what waits for it. Then its next stanza waits for what is returned.
pub(crate) fn greet(
    session: &Arc<Session>,
    requests: Vec<Stanza>,
) -> Option<BoxFuture<'static, ()>> {
    let (engine, account, me) = (&session.engine, &session.account, &session.resource);
    let contacts: Vec<_> = {
        let state = account.lock();
        let mut is_first = true;
        for sibling in state.available().filter(|r| r.serial != me.serial) {
            is_first = false;
            if let Some(presence) = sibling.presence() {
                push(me, presence, me.jid.as_jid());
            }
        }
        if is_first {
            ask_again(engine, account, &state);
        }
        state.roster.subscriptions().cloned().collect()
    };
    let mut contacts = contacts.into_iter();
    // §4.3.1: the presence of local contacts is known here, no probe is sent.
    for contact in contacts.by_ref() {
        show_contact(engine, account, me, &contact);
        if me.outbox.bytes() > OUTBOX_SOFT_BYTES {
            return greet_on(session, contacts.collect(), requests);
        }
    }
    show_requests(me, requests);
    None
}

fn greet_on(
    session: &Arc<Session>,
    contacts: Vec<BareJid>,
    requests: Vec<Stanza>,
) -> Option<BoxFuture<'static, ()>> {
    let greeter = session.clone();
    let greeting = session.aside(async move {
        let Session { engine, account, resource: me, .. } = &*greeter;
        for contact in contacts {
            greeter.wait_for_room().await;
            if !me.is_available() || me.outbox.closing().is_some() {
                return;
            }
            show_contact(engine, account, me, &contact);
        }
        show_requests(me, requests);
    });
    match greeting {
        Some(greeting) => Some(Box::pin(greeting)),
        // It takes nothing and asks for ever more.
        None => {
            session.resource.outbox.close(Close::Overflow);
            None
        }
    }
}

/// §3.1.3: at each new presence session until it is answered.
fn show_requests(session: &Resource, requests: Vec<Stanza>) {
    for request in requests {
        session.outbox.push(request, Fate::Forget);
    }
}

/// §3.1.2: another server may have lost a request, so those without an answer are sent again when
/// the user comes.
fn ask_again(engine: &Arc<Engine>, account: &Arc<Account>, state: &AccountState) {
    let is_abroad = |contact: &BareJid| engine.host(contact.domain()).is_none();
    let asked = state.roster.items().filter(|(contact, item)| item.ask && is_abroad(contact));
    for (contact, _) in asked {
        let id = format!("again-{}", engine.next_id(engine.clock.unix_ms()));
        let head = Head::new(Kind::Presence(PresenceType::Subscribe)).id(id);
        let request = Stanza::empty(head.from(account.jid.clone()).to(contact.clone()));
        if pipeline::may_pass(engine, account, Direction::Sent, state, &request).is_ok() {
            drop(engine.send_remote(request));
        }
    }
}

/// Tells a client that comes back after a restart which contacts are not there: it may have seen
/// them before. They are told as a probe would be answered (§4.3.2). Whoever comes meanwhile is
/// shown by [`greet`], which follows.
pub(crate) fn show_absent(session: &Session) {
    let (engine, account, me) = (&session.engine, &session.account, &session.resource);
    let contacts: Vec<_> = account.lock().roster.subscriptions().cloned().collect();
    for contact in contacts {
        let found = engine.directory.find(contact.as_str());
        let is_there = found.is_some_and(|other| other.lock().available().next().is_some());
        if !is_there && engine.host(contact.domain()).is_some() {
            let absent = bare_presence(PresenceType::Unavailable, contact, me.jid.clone());
            me.outbox.push(absent, Fate::Forget);
        }
    }
}

/// The subscription requests that the session's account has not answered.
pub(crate) fn waiting_requests(session: &Session, state: &AccountState) -> Vec<Stanza> {
    let (engine, account) = (&session.engine, &session.account);
    let parsed = state.roster.requests().filter_map(|request| {
        Stanza::parse(request)
            .inspect_err(|error| {
                tracing::error!(event = "damaged", account = %account.jid, %error, "A stored subscription request is damaged.");
            })
            .ok()
    });
    let may_pass =
        |r: &Stanza| pipeline::may_pass(engine, account, Direction::Received, state, r).is_ok();
    parsed.filter(may_pass).collect()
}

/// Shows a session the presences of a contact that lets them be seen. Under both locks, so that no
/// later presence is overtaken and both accounts' rules hold.
pub(crate) fn show_contact(
    engine: &Arc<Engine>,
    account: &Account,
    session: &Resource,
    contact: &BareJid,
) {
    if engine.host(contact.domain()).is_none() {
        let state = account.lock();
        if admits(engine, account, &state, Flow::PresenceIn, session, contact.as_jid()) {
            probe_abroad(engine, &account.jid, contact);
        }
        return;
    }
    let Some(other) = engine.directory.find(contact.as_str()) else { return };
    let mut locks = Locks::take(Some(&*other), Some(account));
    let Some(theirs) = locks.sender() else { return };
    if theirs.roster.item(&account.jid).is_none_or(|i| !i.from) {
        return;
    }
    let me = session.jid.as_jid();
    let shown =
        theirs.available().filter(|r| admits(engine, &other, theirs, Flow::PresenceOut, r, me));
    let shown: Vec<_> = shown.filter_map(|r| Some((r.jid.clone(), r.presence()?))).collect();
    let Some(own) = locks.recipient() else { return };
    for (from, presence) in shown {
        if admits(engine, account, own, Flow::PresenceIn, session, from.as_jid()) {
            push(session, presence, account.jid.as_jid());
        }
    }
}

/// §4.3.1: a contact of another server is probed, from one bare address to the other (§4.3); an
/// answer comes as presence.
pub(crate) fn probe_abroad(engine: &Arc<Engine>, user: &BareJid, contact: &BareJid) {
    let head = Head::new(Kind::Presence(PresenceType::Probe)).from(user.clone());
    let probe = Stanza::empty(head.to(contact.clone()));
    if engine.send_remote(probe.clone()).is_err() && engine.links.get().is_some() {
        engine.note_missed(&probe);
    }
}

/// A session says that it is not there any more. Does nothing for what nobody saw.
pub fn leave(session: &Session, said: Option<&Stanza>) {
    let left = {
        let _state = session.account.lock();
        let left = Left::take(&session.engine, &session.resource);
        session.write_handled();
        left
    };
    announce_end(&session.engine, &session.account, &session.resource, left, said);
}

/// Who saw a resource that is not there any more.
pub(crate) struct Left {
    was_available: bool,
    directed: Vec<Jid>,
}

impl Left {
    /// Makes a resource unavailable. The caller holds the account's lock.
    pub(crate) fn take(engine: &Engine, resource: &Resource) -> Self {
        let was_available = resource.set_presence(None).is_some();
        // If it fails, the next process tells of its end once more.
        drop(unseen(resource).map(|write| engine.stores.writer.submit(write)));
        Self { was_available, directed: resource.take_directed() }
    }

    /// Of a resource that is not there.
    pub(crate) const fn of(was_available: bool, directed: Vec<Jid>) -> Self {
        Self { was_available, directed }
    }
}

/// Tells everyone who saw a resource that it is gone, in its own words if it said any.
pub(crate) fn announce_end(
    engine: &Arc<Engine>,
    account: &Arc<Account>,
    resource: &Resource,
    left: Left,
    said: Option<&Stanza>,
) {
    let stanza = said.cloned().unwrap_or_else(|| {
        let head = Head::new(Kind::Presence(PresenceType::Unavailable));
        Stanza::empty(head.from(resource.jid.clone()))
    });
    if left.was_available {
        to_subscribers(engine, account, resource, &stanza);
        to_own_resources(account, &stanza);
        xep0356_privilege::show_session(engine, account, &stanza);
        // §4.5.2: to the one that said so as well.
        if said.is_some() {
            push(resource, stanza.clone(), resource.jid.as_jid());
        }
        note_last(engine, account, &stanza);
    }
    // §4.6.3: entities that only got directed presence hear of the end as well.
    for to in left.directed {
        let is_subscriber = left.was_available && is_subscriber(account, &to.to_bare());
        if !is_subscriber && may_see(engine, account, resource, &to) {
            to_entity(engine, Some((&**account, resource)), &stanza, &to);
        }
    }
}

/// Shows a resource once more to those who may have been told since that it is gone.
pub(crate) fn show_again(engine: &Arc<Engine>, account: &Account, resource: &Resource) {
    if let Some(presence) = resource.presence() {
        to_subscribers(engine, account, resource, &presence);
        to_own_resources(account, &presence);
    }
}

fn is_subscriber(account: &Account, contact: &BareJid) -> bool {
    *contact == account.jid || account.lock().roster.item(contact).is_some_and(|i| i.from)
}

/// When the last resource leaves, the time and its status are kept (XEP-0012, RFC 6121 §4.3.2).
fn note_last(engine: &Arc<Engine>, account: &Arc<Account>, stanza: &Stanza) {
    let mut state = account.lock();
    if account.is_ephemeral || state.available().next().is_some() {
        return;
    }
    let status = stanza
        .child(ns::CLIENT, "status")
        .map(|s| s.text().into_owned())
        .filter(|s| s.len() <= LAST_STATUS_BYTES_MAX);
    let last = LastRow { at_ms: engine.clock.unix_ms(), status };
    state.last = Some(Box::new(last.clone()));
    // Nobody is told that this is kept, so nobody waits for it.
    drop(engine.stores.writer.submit(Write::PutLast { owner: account.jid.clone(), last }));
}

impl Engine {
    /// When the account's last session left, and with what status (XEP-0012, RFC 6121 §4.3.2); none
    /// if nobody has left yet.
    ///
    /// # Errors
    /// The store could not be read.
    pub async fn last_left(&self, account: &Account) -> Result<Option<LastRow>, StoreError> {
        let last = account.lock().last.clone();
        match last {
            Some(last) => Ok(Some(*last)),
            None => self.stores.last.load(&account.jid).await,
        }
    }
}

/// Sends a session's presence to every contact with a subscription (§4.2.2, §4.4.2, §4.5.2).
fn to_subscribers(engine: &Arc<Engine>, account: &Account, session: &Resource, stanza: &Stanza) {
    let subscribers: Vec<BareJid> = {
        let state = account.lock();
        let may_see = |contact: &&BareJid| {
            admits(engine, account, &state, Flow::PresenceOut, session, contact.as_jid())
        };
        state.roster.subscribers().filter(may_see).cloned().collect()
    };
    for contact in subscribers {
        to_bare(engine, Some((account, session)), stanza, &contact);
    }
}

/// Whether a session's presence is for this entity, as far as its account's rules go.
pub(crate) fn may_see(
    engine: &Arc<Engine>,
    account: &Account,
    session: &Resource,
    entity: &Jid,
) -> bool {
    admits(engine, account, &account.lock(), Flow::PresenceOut, session, entity)
}

/// The available resources of an account that its rules show to this entity. Whether the entity may
/// see the account at all is for the caller to know, here and below.
pub fn shown_to(engine: &Engine, account: &Account, entity: &Jid) -> Vec<Arc<Resource>> {
    let state = account.lock();
    let is_shown = |r: &&Arc<Resource>| is_shown(engine, account, &state, r, entity);
    state.available().filter(is_shown).cloned().collect()
}

/// Whether a session is available and the rules of its account show it to this entity. The caller
/// holds the account's lock.
pub fn is_shown(
    engine: &Engine,
    account: &Account,
    state: &AccountState,
    session: &Resource,
    entity: &Jid,
) -> bool {
    session.is_available() && admits(engine, account, state, Flow::PresenceOut, session, entity)
}

fn admits(
    engine: &Engine,
    account: &Account,
    state: &AccountState,
    flow: Flow,
    session: &Resource,
    peer: &Jid,
) -> bool {
    let host = engine.host(account.jid.domain());
    // A domain that is gone has no rules.
    host.is_none_or(|host| host.admits(flow, session, peer, state))
}

/// Whose presence it is, where the rules of its account are to be kept to for each session that may
/// get it: they may speak of one resource of a contact (XEP-0191 §6). Those of another server are
/// not known one by one.
pub(crate) type Shown<'a> = Option<(&'a Account, &'a Resource)>;

/// Delivers presence to all available resources of an account of ours, if it has any (§8.5.2), or
/// to its server. The caller holds no lock.
pub(crate) fn to_bare(engine: &Arc<Engine>, of: Shown<'_>, stanza: &Stanza, to: &BareJid) {
    xep0356_privilege::show_contact(engine, stanza, to);
    let Some(account) = engine.directory.find(to.as_str()) else {
        if engine.host(to.domain()).is_none() {
            drop(engine.send_remote(stanza.with_head(stanza.head.clone().to(to.clone()))));
        }
        return;
    };
    let locks = Locks::take(of.map(|(sender, _)| sender), Some(&*account));
    let (own, Some(state)) = locks.both() else { return };
    if pipeline::may_pass(engine, &account, Direction::Received, state, stanza).is_err() {
        return;
    }
    directed::note_gone(engine, state, stanza);
    let Some(from) = &stanza.head.from else { return };
    let is_shown = |to: &Resource| match (of, own) {
        (Some((sender, session)), Some(own)) => {
            admits(engine, sender, own, Flow::PresenceOut, session, to.jid.as_jid())
        }
        _ => true,
    };
    // RFC 6121 §3.1.2: what became of a request concerns those who hear of subscriptions as well.
    let is_error = stanza.head.kind.is_error();
    let takes = |r: &Resource| r.is_available() || (is_error && r.has(Flag::Interested));
    for resource in state.resources().iter().filter(|r| takes(r) && is_shown(r)) {
        if admits(engine, &account, state, Flow::PresenceIn, resource, from) {
            push(resource, stanza.clone(), to.as_jid());
        }
    }
}

/// Delivers presence to a bare or full address. The caller holds no lock.
pub(crate) fn to_entity(engine: &Arc<Engine>, of: Shown<'_>, stanza: &Stanza, to: &Jid) {
    if engine.host(to.domain()).is_none() {
        drop(engine.send_remote(stanza.with_head(stanza.head.clone().to(to.clone()))));
    } else if to.is_full() {
        send_to_resource(engine, stanza.with_head(stanza.head.clone().to(to.clone())));
    } else {
        to_bare(engine, of, stanza, &to.to_bare());
    }
}

fn to_own_resources(account: &Account, stanza: &Stanza) {
    let state = account.lock();
    for resource in state.available() {
        push(resource, stanza.clone(), resource.jid.as_jid());
    }
}

fn push(resource: &Resource, mut stanza: Stanza, to: &Jid) {
    stanza.head.to = Some(to.clone());
    resource.outbox.push(stanza, Fate::Forget);
}

/// Bytes of the last status that are kept; a longer one is not.
const LAST_STATUS_BYTES_MAX: usize = 1_024;
