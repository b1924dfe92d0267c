//! Whom an event is told to (§4): the owner's sessions, contacts who are interested, and those who
//! have subscribed.

use std::sync::Arc;

use stentor_engine::{Account, AccountState, CapsKey, Engine, Resource};
use stentor_jid::{BareJid, Jid};
use stentor_stanza::Stanza;

use super::abroad::Abroad;
use crate::xep0060_pubsub::Asker;
use crate::xep0060_pubsub::event::News;
use crate::xep0060_pubsub::nodes::{Node, Nodes, Subscription};

/// Tells of an event at a node that is there. The caller holds the account's lock.
pub(crate) fn tell_of(
    engine: &Arc<Engine>,
    account: &Arc<Account>,
    state: &AccountState,
    news: News,
) {
    if let Some(node) = Nodes::of(state).and_then(|nodes| nodes.find(&news.node)) {
        tell(engine, account, state, node, news);
    }
}

/// Tells of an event at this node. The caller holds the account's lock; the owner's sessions are
/// told at once, others in the order of events once the account catches up.
pub(crate) fn tell(
    engine: &Arc<Engine>,
    account: &Arc<Account>,
    state: &AccountState,
    node: &Node,
    news: News,
) {
    let News { node: name, message, is_for_pending } = news;
    let mut told = engine.tell_own(account, state, &message, &|r| wants(engine, r, &name));
    let may_read = |who: &BareJid| {
        Asker { owner: &account.jid, roster: &state.roster, who }.may_read(node).is_ok()
    };
    let is_ours = |who: &BareJid| engine.host(who.domain()).is_some();
    let subscribers = state.roster.subscribers();
    let contacts: Vec<BareJid> =
        subscribers.filter(|who| is_ours(who) && may_read(who)).cloned().collect();
    let sees_owner = |who: &BareJid| state.roster.item(who).is_some_and(|item| item.from);
    let mut abroad = state
        .slots
        .find::<Abroad>()
        .map_or_else(Vec::new, |abroad| abroad.interested(engine, &name));
    abroad.retain(|full| {
        let who = full.to_bare();
        sees_owner(&who) && may_read(&who)
    });
    let explicit: Vec<Jid> = node
        .subscriptions
        .iter()
        .filter(|(jid, subscription)| match subscription {
            Subscription::Subscribed => may_read(&jid.to_bare()),
            Subscription::Pending => is_for_pending,
        })
        .map(|(jid, _)| jid.clone())
        .collect();
    if contacts.is_empty() && abroad.is_empty() && explicit.is_empty() {
        return;
    }
    let (engine, owner) = (engine.clone(), account.clone());
    account.afterwards(async move {
        for contact in contacts {
            let wants = |r: &Resource| wants(&engine, r, &name);
            told.extend(engine.tell_sessions(&owner, &contact, &message, &wants));
        }
        for full in abroad {
            engine.tell(&owner, addressed(&message, &full)).await;
            told.push(full);
        }
        // §4.3.2: one for a full address; a bare one where nobody of it is known to be interested.
        for jid in explicit {
            let is_told = |one: &Jid| *one == jid || one.bare_str() == jid.as_str();
            if !told.iter().any(is_told) {
                engine.tell(&owner, addressed(&message, &jid)).await;
            }
        }
    });
}

/// Sends a message that has its address, behind what was told before.
pub(crate) fn tell_one(engine: &Arc<Engine>, account: &Arc<Account>, message: Stanza) {
    let (engine, owner) = (engine.clone(), account.clone());
    account.afterwards(async move { engine.tell(&owner, message).await });
}

/// Whether a session's presence says that it wishes to be told of this node.
fn wants(engine: &Engine, session: &Resource, node: &str) -> bool {
    let Some(presence) = session.presence() else { return false };
    let Some(key) = CapsKey::of(session.jid.as_jid(), &presence) else { return false };
    engine.interest(&key).is_some_and(|interest| interest.has(node))
}

fn addressed(message: &Stanza, to: &Jid) -> Stanza {
    message.with_head(message.head.clone().to(to.clone()))
}
