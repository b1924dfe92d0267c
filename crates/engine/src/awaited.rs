//! Whose coming is waited for: contacts, and the accounts of ours that want to hear of it while they
//! are away. Those accounts need not be in memory; whether they still want it is for the feature to
//! say that tells them.

use std::sync::Arc;

use hashbrown::HashMap;
use parking_lot::Mutex;
use smallvec::SmallVec;
use smol_str::SmolStr;
use stentor_jid::{BareJid, Jid};
use stentor_stanza::Stanza;

use crate::account::Account;
use crate::engine::Engine;
use crate::limits::{AWAITED_MAX, AWAITED_RESOURCES_MAX, AWAY_MS};
use crate::phase::{Direction, Flow};
use crate::pipeline;
use crate::presence::broadcast;
use crate::resource::Resource;
use crate::session::Session;

/// All of them.
#[derive(Default)]
pub struct Awaited(Mutex<Table>);

#[derive(Default)]
struct Table {
    by_contact: HashMap<BareJid, Waiting>,
    count: usize,
}

/// Who waits for one contact, and what each was shown of it. That is known of contacts elsewhere
/// only: those here are asked.
type Waiting = HashMap<BareJid, Sight>;

/// What somebody was shown of a contact elsewhere.
#[derive(Debug, PartialEq, Eq)]
enum Sight {
    /// Nothing since then.
    Unknown(i64),
    /// These resources are there.
    There(SmallVec<[SmolStr; 1]>),
    /// It has not been there since then.
    Gone(i64),
}

impl Awaited {
    /// An account waits for a contact from now on; false if it did already, or if there are too many.
    pub fn add(&self, contact: &BareJid, owner: &BareJid, now_ms: i64) -> bool {
        let mut table = self.0.lock();
        if table.count >= AWAITED_MAX {
            return false;
        }
        let waiting = table.by_contact.entry(contact.clone()).or_default();
        let is_new = !waiting.contains_key(owner);
        if is_new {
            waiting.insert(owner.clone(), Sight::Unknown(now_ms));
            table.count += 1;
        }
        is_new
    }

    /// It does not any more.
    pub fn remove(&self, contact: &BareJid, owner: &BareJid) {
        let mut table = self.0.lock();
        let Some(waiting) = table.by_contact.get_mut(contact) else { return };
        let was_there = waiting.remove(owner).is_some();
        if waiting.is_empty() {
            table.by_contact.remove(contact);
        }
        table.count -= usize::from(was_there);
    }

    /// Who waits for a contact.
    pub fn owners(&self, contact: &BareJid) -> Vec<BareJid> {
        let table = self.0.lock();
        table.by_contact.get(contact).map(|w| w.keys().cloned().collect()).unwrap_or_default()
    }

    /// Notes what an account was shown of a contact elsewhere. Whether it waited for that: the contact
    /// is there, and was not for [`AWAY_MS`].
    pub fn note(&self, owner: &BareJid, from: &Jid, is_there: bool, now_ms: i64) -> bool {
        let mut table = self.0.lock();
        // Presence is frequent, and waiting is not.
        if table.count == 0 {
            return false;
        }
        let waiting = table.by_contact.get_mut(&from.to_bare());
        let Some(sight) = waiting.and_then(|w| w.get_mut(owner)) else { return false };
        if is_there { sight.show(from, now_ms) } else { sight.hide(from, now_ms) }
    }
}

impl Sight {
    fn show(&mut self, from: &Jid, now_ms: i64) -> bool {
        let Some(resource) = from.resource().map(SmolStr::new) else { return false };
        match self {
            Self::There(resources) => {
                if !resources.contains(&resource) && resources.len() < AWAITED_RESOURCES_MAX {
                    resources.push(resource);
                }
                false
            }
            Self::Unknown(since_ms) | Self::Gone(since_ms) => {
                let is_long = now_ms.saturating_sub(*since_ms) >= AWAY_MS;
                *self = Self::There(SmallVec::from_elem(resource, 1));
                is_long
            }
        }
    }

    fn hide(&mut self, from: &Jid, now_ms: i64) -> bool {
        match self {
            Self::There(resources) => {
                resources.retain(|known| from.resource().is_some_and(|gone| known != gone));
                if resources.is_empty() {
                    *self = Self::Gone(now_ms);
                }
            }
            // Nobody knows for how long, and who is asked says so of nobody who has just left.
            Self::Unknown(_) => *self = Self::Gone(i64::MIN),
            Self::Gone(_) => {}
        }
        false
    }
}

impl Engine {
    /// Whether an account may be shown this presence: subscriptions and the rules of both sides permit
    /// it, whether the account is there or not. `by` is the session that shows it, if it is one of ours.
    pub fn may_be_shown(
        self: &Arc<Self>,
        owner: &Arc<Account>,
        presence: &Stanza,
        by: Option<&Session>,
    ) -> bool {
        let Some(from) = &presence.head.from else { return false };
        let to = owner.jid.as_jid();
        let lets = |session: &Session| {
            let state = session.account.lock();
            let host = self.host(session.account.jid.domain());
            state.roster.item(&owner.jid).is_some_and(|item| item.from)
                && host.is_none_or(|h| h.admits(Flow::PresenceOut, &session.resource, to, &state))
        };
        if !by.is_none_or(lets) {
            return false;
        }
        let Ok(stand_in) = owner.jid.with_resource(STAND_IN) else { return false };
        let stand_in = Resource::new(stand_in, 0, 0, None);
        let host = self.host(owner.jid.domain());
        let state = owner.lock();
        state.roster.item(&from.to_bare()).is_some_and(|item| item.to)
            && pipeline::may_pass(self, owner, Direction::Received, &state, presence).is_ok()
            && host.is_none_or(|h| h.admits(Flow::PresenceIn, &stand_in, from, &state))
    }

    /// Asks another server how a contact is (RFC 6121 §4.3.1).
    pub fn probe_contact(self: &Arc<Self>, owner: &BareJid, contact: &BareJid) {
        if self.host(contact.domain()).is_none() {
            broadcast::probe_abroad(self, owner, contact);
        }
    }
}

/// Rules are about sessions: the one that a session of nobody would have holds for who is away.
const STAND_IN: &str = "away";

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000;

    fn jid(text: &str) -> Jid {
        Jid::new(text).unwrap()
    }

    fn bare(text: &str) -> BareJid {
        BareJid::new(text).unwrap()
    }

    #[test]
    fn only_the_first_coming_after_a_while_was_waited_for() {
        let awaited = Awaited::default();
        let (juliet, romeo) = (bare("juliet@capulet.example"), bare("romeo@far.example"));
        let shows = |resource: &str, is_there, minute: i64| {
            let from = jid(&format!("romeo@far.example{resource}"));
            awaited.note(&juliet, &from, is_there, minute * MINUTE)
        };
        assert!(!shows("/a", true, 60), "nobody waits");
        assert!(awaited.add(&romeo, &juliet, 0) && !awaited.add(&romeo, &juliet, 0));
        assert!(!shows("/a", true, 1), "it answers a probe");
        assert!(!shows("/a", true, 20) && !shows("/b", true, 21));
        assert!(!shows("/a", false, 22) && !shows("/a", true, 40), "the other was there");
        assert!(!shows("/a", false, 41) && !shows("/b", false, 41));
        assert!(!shows("/a", true, 45), "it was away for four minutes");
        assert!(!shows("", false, 50));
        assert!(shows("/a", true, 55));
        assert!(!shows("/a", true, 90));
        awaited.remove(&romeo, &juliet);
        assert!(awaited.owners(&romeo).is_empty());
        assert_eq!(awaited.0.lock().count, 0);
    }

    #[test]
    fn who_was_gone_when_asked_for_is_waited_for_at_once() {
        let awaited = Awaited::default();
        let (juliet, romeo) = (bare("juliet@capulet.example"), bare("romeo@far.example"));
        awaited.add(&romeo, &juliet, 0);
        awaited.note(&juliet, romeo.as_jid(), false, 0);
        assert!(awaited.note(&juliet, &jid("romeo@far.example/a"), true, 1));
        // And who has never been asked for after a while.
        let nurse = bare("nurse@far.example");
        awaited.add(&nurse, &juliet, 0);
        assert!(awaited.note(&juliet, &jid("nurse@far.example/a"), true, 5 * MINUTE));
    }

    #[test]
    fn it_is_bounded() {
        let awaited = Awaited::default();
        awaited.0.lock().count = AWAITED_MAX;
        assert!(!awaited.add(&bare("romeo@far.example"), &bare("juliet@capulet.example"), 0));
        let mut sight = Sight::There(SmallVec::new());
        for n in 0..2 * AWAITED_RESOURCES_MAX {
            sight.show(&jid(&format!("romeo@far.example/{n}")), 0);
        }
        assert!(matches!(sight, Sight::There(r) if r.len() == AWAITED_RESOURCES_MAX));
    }
}
