//! What sessions of contacts elsewhere wish to be told of: their presence is all that is known of
//! them.

use hashbrown::HashMap;
use stentor_engine::{CapsKey, Engine};
use stentor_jid::Jid;

use crate::limits::PUBSUB_ABROAD_MAX;

/// Sessions elsewhere that an account has seen available, with the mark that each shows. In memory
/// with the account; whoever is seen again after it was forgotten is told the last items again.
#[derive(Debug, Default)]
pub(super) struct Abroad(HashMap<Jid, CapsKey>);

impl Abroad {
    /// Notes what a session shows; false if that is known or there is no room.
    pub(super) fn see(&mut self, session: &Jid, key: &CapsKey) -> bool {
        if self.0.get(session) == Some(key) {
            return false;
        }
        if self.0.len() >= PUBSUB_ABROAD_MAX && !self.0.contains_key(session) {
            return false;
        }
        self.0.insert(session.clone(), key.clone());
        true
    }

    /// What a session showed.
    pub(super) fn shown(&self, session: &Jid) -> Option<&CapsKey> {
        self.0.get(session)
    }

    /// Forgets a session; all of an address if it has no resource.
    pub(super) fn forget(&mut self, gone: &Jid) {
        if gone.is_full() {
            self.0.remove(gone);
        } else {
            self.0.retain(|session, _| session.bare_str() != gone.as_str());
        }
    }

    /// Who wishes to be told of a node.
    pub(super) fn interested(&self, engine: &Engine, node: &str) -> Vec<Jid> {
        let wants = |key: &CapsKey| engine.interest(key).is_some_and(|i| i.has(node));
        let mut who: Vec<Jid> =
            self.0.iter().filter(|(_, key)| wants(key)).map(|(jid, _)| jid.clone()).collect();
        who.sort_unstable();
        who
    }
}
