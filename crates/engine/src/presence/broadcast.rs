//! Presence to everyone who may see it (RFC 6121 §4.2, §4.4, §4.5).

use std::sync::Arc;

use stentor_jid::{BareJid, Jid};
use stentor_stanza::{Head, Kind, PresenceType, Stanza};
use stentor_store::{LastRow, Write};

use crate::account::Account;
use crate::backlog;
use crate::engine::Engine;
use crate::outbox::Fate;
use crate::presence::check;
use crate::resource::{Available, Resource};
use crate::session::{Handling, Session, send_to_resource};

/// A session says that it is there, for the first time or again.
pub(crate) fn available(session: &Arc<Session>, stanza: &Stanza) -> Handling {
    let priority = check::priority(stanza);
    let former =
        session.resource.set_presence(Some(Available { stanza: stanza.clone(), priority }));
    to_subscribers(&session.engine, &session.account, stanza);
    to_own_resources(&session.account, stanza);
    if former.is_none() {
        greet(session);
    }
    // §4.7.2.3 and XEP-0160 §2: what is stored waits for a priority that is not negative.
    if priority >= 0
        && former.is_none_or(|f| f.priority < 0)
        && backlog::is_waiting(&session.account)
    {
        let (engine, account, resource) =
            (session.engine.clone(), session.account.clone(), session.resource.clone());
        return Handling::Later(Box::pin(async move {
            backlog::hand_over(&engine, &account, &resource).await;
        }));
    }
    Handling::Done
}

/// What a new presence session learns: its siblings, its contacts, requests that wait (§4.2.2).
fn greet(session: &Session) {
    let me = &session.resource;
    let (siblings, contacts, requests): (Vec<_>, Vec<_>, Vec<_>) = {
        let state = session.account.lock();
        (
            state
                .available()
                .filter(|r| r.serial != me.serial)
                .filter_map(|r| r.presence())
                .collect(),
            state.roster.subscriptions().cloned().collect(),
            state.roster.requests().cloned().collect(),
        )
    };
    for presence in siblings {
        push(me, presence, me.jid.as_jid());
    }
    // §4.3.1: the presence of local contacts is known here, no probe is sent.
    for contact in contacts {
        for presence in visible_presences(&session.engine, &contact, &session.account.jid) {
            push(me, presence, session.account.jid.as_jid());
        }
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

/// The presences of an account of ours that `watcher` is entitled to.
fn visible_presences(engine: &Engine, contact: &BareJid, watcher: &BareJid) -> Vec<Stanza> {
    let Some(account) = engine.directory.find(contact.as_str()) else { return Vec::new() };
    let state = account.lock();
    if !state.roster.item(watcher).is_some_and(|i| i.from) {
        return Vec::new();
    }
    state.available().filter_map(|r| r.presence()).collect()
}

/// A session says that it is not there any more, or its stream ended without a word.
/// Does nothing for what nobody saw.
pub fn leave(session: &Session, said: Option<&Stanza>) {
    leave_resource(&session.engine, &session.account, &session.resource, said);
}

/// The same for a session that is not at hand.
pub(crate) fn leave_resource(
    engine: &Engine,
    account: &Arc<Account>,
    resource: &Resource,
    said: Option<&Stanza>,
) {
    let was_available = resource.set_presence(None).is_some();
    let directed = resource.take_directed();
    let stanza = said.cloned().unwrap_or_else(|| {
        let head = Head::new(Kind::Presence(PresenceType::Unavailable));
        Stanza::empty(head.from(resource.jid.clone()))
    });
    if was_available {
        to_subscribers(engine, account, &stanza);
        to_own_resources(account, &stanza);
        // §4.5.2: to the one that said so as well.
        if said.is_some() {
            push(resource, stanza.clone(), resource.jid.as_jid());
        }
        note_last(engine, account, &stanza);
    }
    // §4.6.3: entities that only got directed presence hear of the end as well.
    for to in directed {
        let is_subscriber = was_available && is_subscriber(account, &to.to_bare());
        if !is_subscriber {
            to_entity(engine, &stanza, &to);
        }
    }
}

fn is_subscriber(account: &Account, contact: &BareJid) -> bool {
    *contact == account.jid || account.lock().roster.item(contact).is_some_and(|i| i.from)
}

/// When the last resource leaves, the time and its status are kept (XEP-0012, RFC 6121 §4.3.2).
fn note_last(engine: &Engine, account: &Arc<Account>, stanza: &Stanza) {
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
pub(crate) fn to_subscribers(engine: &Engine, account: &Account, stanza: &Stanza) {
    let subscribers: Vec<BareJid> = account.lock().roster.subscribers().cloned().collect();
    for contact in subscribers {
        to_bare(engine, stanza, &contact);
    }
}

/// Delivers presence to all available resources of an account of ours, if it has any (§8.5.2).
pub(crate) fn to_bare(engine: &Engine, stanza: &Stanza, to: &BareJid) {
    let Some(account) = engine.directory.find(to.as_str()) else { return };
    let state = account.lock();
    for resource in state.available() {
        push(resource, stanza.clone(), to.as_jid());
    }
}

/// Delivers presence to a bare or full address.
pub(crate) fn to_entity(engine: &Engine, stanza: &Stanza, to: &Jid) {
    if to.is_full() {
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
