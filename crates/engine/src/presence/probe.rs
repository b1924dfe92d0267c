//! Presence probes (RFC 6121 §4.3.2).

use std::sync::Arc;

use stentor_jid::Jid;
use stentor_payload::xep0203_delay;
use stentor_stanza::{Head, Kind, PresenceType, Stanza};

use crate::account::Account;
use crate::engine::{Engine, Route};
use crate::outbox::Fate;
use crate::phase::Direction;
use crate::pipeline;
use crate::presence::broadcast;
use crate::resource::Resource;
use crate::session::Session;

/// Answers a probe on the contact's behalf. Never brings the prober an error (§4.3).
pub(crate) async fn answer(session: &Session, probe: Stanza) {
    let Some(to) = &probe.head.to else { return };
    if matches!(session.engine.route(to), Route::Remote) {
        drop(session.engine.send_remote(probe));
        return;
    }
    for presence in replies(&session.engine, &probe).await {
        session.resource.outbox.push(presence, Fate::Forget);
    }
}

/// What the prober of an account of ours learns.
pub(crate) async fn replies(engine: &Arc<Engine>, probe: &Stanza) -> Vec<Stanza> {
    let (Some(from), Some(to)) = (&probe.head.from, &probe.head.to) else { return Vec::new() };
    let Route::Account(_, contact) = engine.route(to) else { return Vec::new() };
    let found = match engine.account(&contact).await {
        Ok(found) => found,
        Err(error) => {
            tracing::error!(event = "store_failed", %contact, %error, "A presence probe could not be answered.");
            return Vec::new();
        }
    };
    if let Some(account) = &found
        && pipeline::may_pass(engine, account, Direction::Received, &account.lock(), probe).is_err()
    {
        // XEP-0191 §3.3: whoever is blocked hears nothing at all.
        return Vec::new();
    }
    let replies = match found {
        Some(account) if may_see(&account, from) => {
            return addressed(presences(engine, &account, probe, to).await, from);
        }
        Some(account) => directed(&account, probe, to),
        None => Vec::new(),
    };
    // §4.3.2 rule 1: the same for nobody as for somebody who does not share.
    let nothing = || vec![reply(probe, PresenceType::Unsubscribed, contact.as_jid().clone())];
    addressed(if replies.is_empty() { nothing() } else { replies }, from)
}

fn addressed(mut replies: Vec<Stanza>, to: &Jid) -> Vec<Stanza> {
    for presence in &mut replies {
        presence.head.to = Some(to.clone());
    }
    replies
}

fn may_see(account: &Account, prober: &Jid) -> bool {
    let bare = prober.to_bare();
    bare == account.jid || account.lock().roster.item(&bare).is_some_and(|i| i.from)
}

/// §4.6.6: whoever got directed presence may learn that its sender is still there, and no more.
fn directed(account: &Account, probe: &Stanza, to: &Jid) -> Vec<Stanza> {
    let Some(prober) = &probe.head.from else { return Vec::new() };
    let state = account.lock();
    let senders = state.resources().iter().filter(|r| r.has_directed(prober));
    senders
        .filter(|r| to.resource().is_none_or(|name| name == r.jid.resource()))
        .map(|r| reply(probe, PresenceType::Available, r.jid.as_jid().clone()))
        .collect()
}

async fn presences(
    engine: &Arc<Engine>,
    account: &Account,
    probe: &Stanza,
    to: &Jid,
) -> Vec<Stanza> {
    let there: Vec<Arc<Resource>> = {
        let state = account.lock();
        let is_asked = |r: &&Arc<Resource>| to.resource().is_none_or(|n| n == r.jid.resource());
        state.available().filter(is_asked).cloned().collect()
    };
    if !there.is_empty() {
        let Some(prober) = &probe.head.from else { return Vec::new() };
        let may_see = |r: &&Arc<Resource>| broadcast::may_see(engine, account, r, prober);
        return there
            .iter()
            .filter(may_see)
            .filter_map(|r| match to.resource() {
                None => r.presence(),
                // A full address tells about that resource, and only that it is there.
                Some(_) => r
                    .presence()
                    .map(|shown| reply(&shown, PresenceType::Available, r.jid.as_jid().clone())),
            })
            .collect();
    }
    let mut unavailable = reply(probe, PresenceType::Unavailable, to.clone());
    // The time is that of the account's last resource, not of the one asked for.
    if to.is_bare()
        && !account.is_ephemeral
        && let Ok(Some(last)) = engine.last_left(account).await
    {
        let domain = account.jid.as_jid().domain();
        unavailable.append(|w| xep0203_delay::write(w, domain, last.at_ms));
    }
    vec![unavailable]
}

/// §4.3.2.1: the id of the probe, or of what the contact said where that is told.
fn reply(probe: &Stanza, kind: PresenceType, from: Jid) -> Stanza {
    let mut head = Head::new(Kind::Presence(kind)).from(from);
    head.id.clone_from(&probe.head.id);
    Stanza::empty(head)
}
