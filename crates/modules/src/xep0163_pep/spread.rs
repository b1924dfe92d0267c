//! Whom an event is told to (§4): the owner's sessions, contacts who are interested, and those who
//! have subscribed.

use std::sync::Arc;

use stentor_engine::{Account, AccountState, CapsKey, Engine, Resource, presence};
use stentor_jid::{BareJid, Jid};
use stentor_payload::xep0033_address;
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
    let News { node: name, message, is_for_pending, session } = news;
    let views = Views::new(engine, account, state, message, session);
    let own = views.of(&account.jid);
    let mut told = engine.tell_own(account, state, &own, &|r| wants(engine, r, &name));
    let may_read = |who: &BareJid| {
        Asker { owner: &account.jid, roster: &state.roster, who }.may_read(node).is_ok()
    };
    let is_ours = |who: &BareJid| engine.host(who.domain()).is_some();
    let subscribers = state.roster.subscribers();
    let contacts: Vec<(BareJid, Stanza)> = subscribers
        .filter(|who| is_ours(who) && may_read(who))
        .map(|who| (who.clone(), views.of(who)))
        .collect();
    let interested = state.slots.find::<Abroad>().map(|abroad| abroad.interested(engine, &name));
    let abroad: Vec<Stanza> = interested
        .into_iter()
        .flatten()
        .filter_map(|full| {
            let who = full.to_bare();
            let is_told = sees_owner(state, &who) && may_read(&who);
            is_told.then(|| addressed(&views.of(&who), &full))
        })
        .collect();
    let explicit: Vec<Stanza> = node
        .subscriptions
        .iter()
        .filter(|(jid, subscription)| match subscription {
            Subscription::Subscribed => may_read(&jid.to_bare()),
            Subscription::Pending => is_for_pending,
        })
        .map(|(jid, _)| addressed(&views.of(&jid.to_bare()), jid))
        .collect();
    if contacts.is_empty() && abroad.is_empty() && explicit.is_empty() {
        return;
    }
    let (engine, owner) = (engine.clone(), account.clone());
    account.afterwards(async move {
        for (contact, message) in contacts {
            let wants = |r: &Resource| wants(&engine, r, &name);
            told.extend(engine.tell_sessions(&owner, &contact, &message, &wants));
        }
        for message in abroad {
            told.extend(message.head.to.clone());
            engine.tell(&owner, message).await;
        }
        // §4.3.2: one for a full address; a bare one where nobody of it is known to be interested.
        for message in explicit {
            let Some(jid) = &message.head.to else { continue };
            let is_told = |one: &Jid| one == jid || one.bare_str() == jid.as_str();
            if !told.iter().any(is_told) {
                engine.tell(&owner, message).await;
            }
        }
    });
}

/// One event as different people get it: which session published is for those to know who see it
/// (§4.3.1 rule 3).
struct Views<'a> {
    engine: &'a Engine,
    account: &'a Account,
    state: &'a AccountState,
    plain: Stanza,
    /// With the session, if one of the account itself published.
    full: Option<(Arc<Resource>, Stanza)>,
}

impl<'a> Views<'a> {
    fn new(
        engine: &'a Engine,
        account: &'a Account,
        state: &'a AccountState,
        plain: Stanza,
        session: Option<Arc<Resource>>,
    ) -> Self {
        let full = session.map(|session| {
            let mut full = plain.clone();
            full.append(|w| xep0033_address::write_reply_to(w, session.jid.as_jid()));
            (session, full)
        });
        Self { engine, account, state, plain, full }
    }

    fn of(&self, who: &BareJid) -> Stanza {
        let Self { engine, account, state, plain, full } = self;
        match full {
            Some((session, full))
                if (*who == account.jid || sees_owner(state, who))
                    && presence::is_shown(engine, account, state, session, who.as_jid()) =>
            {
                full.clone()
            }
            _ => plain.clone(),
        }
    }
}

fn sees_owner(state: &AccountState, who: &BareJid) -> bool {
    state.roster.item(who).is_some_and(|item| item.from)
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
