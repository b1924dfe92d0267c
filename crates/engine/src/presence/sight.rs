//! Who sees whom when an account changes its rules: whoever is blocked sees sessions leave, whoever
//! is let in again sees them come (XEP-0191 §3.3 and §3.4, XEP-0016 §2.10 and §2.11).

use std::sync::Arc;

use stentor_jid::{BareJid, Jid};
use stentor_stanza::PresenceType;

use crate::account::{Account, AccountState};
use crate::engine::Engine;
use crate::host::Host;
use crate::outbox::Fate;
use crate::phase::Flow;
use crate::presence::{broadcast, ghosts};
use crate::resource::Resource;
use crate::session::bare_presence;

/// Who sees whom at one time.
pub struct Sight(Vec<Pair>);

/// What is different after a change.
#[must_use = "those concerned must be told"]
pub struct Shift(Vec<Pair>);

/// A session of the account and somebody else, in one direction.
struct Pair {
    session: Arc<Resource>,
    peer: Jid,
    flow: Flow,
    is_seen: bool,
}

impl Sight {
    /// Looks before the change. `named` are full addresses that the rules name, now or afterwards.
    /// The caller holds the account's lock until it has looked again.
    pub fn before(host: &Host, state: &AccountState, named: &[Jid]) -> Self {
        let mut pairs = Vec::new();
        for session in state.resources() {
            let mut add = |flow, peer: Jid| {
                let is_seen = host.admits(flow, session, &peer, state);
                pairs.push(Pair { session: session.clone(), peer, flow, is_seen });
            };
            for peer in session.directed() {
                let is_subscriber = state.roster.item(&peer.to_bare()).is_some_and(|i| i.from);
                if !(is_subscriber && session.is_available()) {
                    add(Flow::PresenceOut, peer);
                }
            }
            if !session.is_available() {
                continue;
            }
            for contact in state.roster.subscribers() {
                add(Flow::PresenceOut, contact.as_jid().clone());
            }
            for contact in state.roster.subscriptions() {
                add(Flow::PresenceIn, contact.as_jid().clone());
            }
            for full in named {
                let Some(item) = state.roster.item(&full.to_bare()) else { continue };
                if item.from {
                    add(Flow::PresenceOut, full.clone());
                }
                if item.to {
                    add(Flow::PresenceIn, full.clone());
                }
            }
        }
        Self(pairs)
    }

    /// Looks again.
    pub fn after(self, host: &Host, state: &AccountState) -> Shift {
        let mut changed = Vec::new();
        for mut pair in self.0 {
            let is_seen = host.admits(pair.flow, &pair.session, &pair.peer, state);
            if is_seen != pair.is_seen {
                pair.is_seen = is_seen;
                changed.push(pair);
            }
        }
        Shift(changed)
    }
}

impl Shift {
    /// Tells all whom it concerns. The caller holds no lock.
    pub fn tell(self, engine: &Arc<Engine>, account: &Arc<Account>) {
        for (n, Pair { session, peer, flow, is_seen }) in self.0.iter().enumerate() {
            // What a contact is told, each of its resources is.
            if self.0.iter().any(|pair| pair.covers(&self.0[n])) {
                continue;
            }
            match (*flow, *is_seen) {
                (Flow::PresenceOut, true) => show(engine, account, session, peer),
                (Flow::PresenceOut, false) => hide(engine, session, peer),
                (_, true) => {
                    broadcast::show_contact(engine, account, session, &peer.to_bare());
                }
                (_, false) => hide_contact(engine, account, session, peer),
            }
        }
    }
}

impl Pair {
    /// Whether this says of a contact what `other` says of one of its resources.
    fn covers(&self, other: &Self) -> bool {
        let is_of_contact = self.peer.is_bare()
            && other.peer.is_full()
            && self.peer.as_str() == other.peer.bare_str();
        is_of_contact
            && (self.flow, self.is_seen) == (other.flow, other.is_seen)
            && self.session.serial == other.session.serial
    }
}

fn show(engine: &Arc<Engine>, account: &Account, session: &Resource, peer: &Jid) {
    if let Some(presence) = session.presence() {
        broadcast::to_entity(engine, Some((account, session)), &presence, peer);
    }
}

fn hide(engine: &Arc<Engine>, session: &Resource, peer: &Jid) {
    ghosts::no_longer_directed(engine, session, peer);
    let gone = bare_presence(PresenceType::Unavailable, session.jid.clone(), peer.clone());
    // To all of a contact: the rules that hide the session from now on are in force already.
    broadcast::to_entity(engine, None, &gone, peer);
}

/// The sessions of a contact seem to end. Those of another server are not known one by one.
fn hide_contact(engine: &Engine, account: &Account, session: &Resource, peer: &Jid) {
    let gone: Vec<Jid> = if engine.host(peer.domain()).is_some() {
        let Some(contact) = engine.directory.find(peer.bare_str()) else { return };
        sessions_seen(&contact, &account.jid, peer)
    } else {
        vec![peer.clone()]
    };
    for from in gone {
        let to = account.jid.clone();
        session.outbox.push(bare_presence(PresenceType::Unavailable, from, to), Fate::Forget);
    }
}

fn sessions_seen(contact: &Account, by: &BareJid, peer: &Jid) -> Vec<Jid> {
    let state = contact.lock();
    if state.roster.item(by).is_none_or(|i| !i.from) {
        return Vec::new();
    }
    let is_named = |r: &&Arc<Resource>| peer.resource().is_none_or(|n| n == r.jid.resource());
    state.available().filter(is_named).map(|r| r.jid.as_jid().clone()).collect()
}
