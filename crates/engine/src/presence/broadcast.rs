//! Presence to everyone who may see it (RFC 6121 §4.2, §4.4, §4.5).

use std::sync::Arc;

use stentor_jid::{BareJid, Jid};
use stentor_stanza::{Head, Kind, PresenceType, Stanza};
use stentor_store::{LastRow, Write};

use crate::account::Account;
use crate::backlog::Flush;
use crate::engine::Engine;
use crate::outbox::Fate;
use crate::phase::Direction;
use crate::pipeline;
use crate::presence::check;
use crate::resource::{Available, Resource};
use crate::session::{Handling, Session, send_to_resource};

/// A session says that it is there, for the first time or again.
pub(crate) fn available(session: &Arc<Session>, stanza: &Stanza) -> Handling {
    let priority = check::priority(stanza);
    let (former, flush) = {
        let mut state = session.account.lock();
        // Another session may have taken the resource over: then this one is gone for everyone.
        if !state.holds(session.resource.serial) {
            return Handling::Done;
        }
        let next = Available { stanza: stanza.clone(), priority };
        let former = session.resource.set_presence(Some(next));
        // §4.7.2.3 and XEP-0160 §2: what is stored waits for a priority that is not negative.
        let flush = (priority >= 0)
            .then(|| Flush::begin(&session.account, &mut state, &session.resource))
            .flatten();
        (former, flush)
    };
    to_subscribers(&session.engine, &session.account, stanza);
    to_own_resources(&session.account, stanza);
    if former.is_none() {
        greet(session);
    }
    let Some(flush) = flush else { return Handling::Done };
    let engine = session.engine.clone();
    Handling::Later(Box::pin(async move { flush.hand_over(&engine).await }))
}

/// What a new presence session learns: its siblings, its contacts, requests that wait (§4.2.2).
fn greet(session: &Session) {
    let me = &session.resource;
    let (contacts, requests): (Vec<_>, Vec<_>) = {
        let state = session.account.lock();
        for sibling in state.available().filter(|r| r.serial != me.serial) {
            if let Some(presence) = sibling.presence() {
                push(me, presence, me.jid.as_jid());
            }
        }
        let contacts = state.roster.subscriptions().cloned().collect();
        (contacts, state.roster.requests().cloned().collect())
    };
    // §4.3.1: the presence of local contacts is known here, no probe is sent.
    for contact in contacts {
        show_contact(session, &contact);
    }
    // §3.1.3: at each new presence session until it is answered.
    for request in requests {
        match Stanza::parse(&request) {
            Ok(request) => {
                me.outbox.push(request, Fate::Forget);
            }
            Err(error) => {
                tracing::error!(account = %session.account.jid, %error, "A stored subscription request is damaged.");
            }
        }
    }
}

/// Shows the presences of an account of ours, if it lets them be seen. Under its lock, so that a
/// later presence is not overtaken.
fn show_contact(session: &Session, contact: &BareJid) {
    let Some(account) = session.engine.directory.find(contact.as_str()) else {
        return probe_abroad(session, contact);
    };
    let state = account.lock();
    if state.roster.item(&session.account.jid).is_some_and(|i| i.from) {
        for presence in state.available().filter_map(|r| r.presence()) {
            push(&session.resource, presence, session.account.jid.as_jid());
        }
    }
}

/// §4.3.1: a contact of another server is probed; an answer comes as presence.
fn probe_abroad(session: &Session, contact: &BareJid) {
    if session.engine.host(contact.domain()).is_some() {
        return;
    }
    let head = Head::new(Kind::Presence(PresenceType::Probe)).from(session.resource.jid.clone());
    drop(session.engine.send_remote(Stanza::empty(head.to(contact.clone()))));
}

/// A session says that it is not there any more. Does nothing for what nobody saw.
pub fn leave(session: &Session, said: Option<&Stanza>) {
    let left = {
        let _state = session.account.lock();
        Left::take(&session.resource)
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
    pub(crate) fn take(resource: &Resource) -> Self {
        let was_available = resource.set_presence(None).is_some();
        Self { was_available, directed: resource.take_directed() }
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
        to_subscribers(engine, account, &stanza);
        to_own_resources(account, &stanza);
        // §4.5.2: to the one that said so as well.
        if said.is_some() {
            push(resource, stanza.clone(), resource.jid.as_jid());
        }
        note_last(engine, account, &stanza);
    }
    // §4.6.3: entities that only got directed presence hear of the end as well.
    for to in left.directed {
        let is_subscriber = left.was_available && is_subscriber(account, &to.to_bare());
        if !is_subscriber {
            to_entity(engine, &stanza, &to);
        }
    }
}

fn is_subscriber(account: &Account, contact: &BareJid) -> bool {
    *contact == account.jid || account.lock().roster.item(contact).is_some_and(|i| i.from)
}

/// When the last resource leaves, the time and its status are kept (XEP-0012, RFC 6121 §4.3.2).
fn note_last(engine: &Arc<Engine>, account: &Arc<Account>, stanza: &Stanza) {
    if account.is_ephemeral || account.lock().available().next().is_some() {
        return;
    }
    let status = stanza
        .child(stentor_xml::ns::CLIENT, "status")
        .map(|s| s.text().into_owned())
        .filter(|s| s.len() <= LAST_STATUS_BYTES_MAX);
    let last = LastRow { at_ms: engine.clock.unix_ms(), status };
    // Nobody is told that this is kept, so nobody waits for it.
    drop(engine.stores.writer.submit(Write::PutLast { owner: account.jid.clone(), last }));
}

/// Sends presence to every contact with a subscription (§4.2.2, §4.4.2, §4.5.2).
pub(crate) fn to_subscribers(engine: &Arc<Engine>, account: &Account, stanza: &Stanza) {
    let subscribers: Vec<BareJid> = account.lock().roster.subscribers().cloned().collect();
    for contact in subscribers {
        to_bare(engine, stanza, &contact);
    }
}

/// Delivers presence to all available resources of an account of ours, if it has any (§8.5.2), or
/// to its server.
pub(crate) fn to_bare(engine: &Arc<Engine>, stanza: &Stanza, to: &BareJid) {
    let Some(account) = engine.directory.find(to.as_str()) else {
        if engine.host(to.domain()).is_none() {
            drop(engine.send_remote(stanza.with_head(stanza.head.clone().to(to.clone()))));
        }
        return;
    };
    let state = account.lock();
    if pipeline::may_pass(engine, &account, Direction::Received, &state, stanza).is_err() {
        return;
    }
    for resource in state.available() {
        push(resource, stanza.clone(), to.as_jid());
    }
}

/// Delivers presence to a bare or full address.
pub(crate) fn to_entity(engine: &Arc<Engine>, stanza: &Stanza, to: &Jid) {
    if engine.host(to.domain()).is_none() {
        drop(engine.send_remote(stanza.with_head(stanza.head.clone().to(to.clone()))));
    } else if to.is_full() {
        send_to_resource(engine, stanza.with_head(stanza.head.clone().to(to.clone())));
    } else {
        to_bare(engine, stanza, &to.to_bare());
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
