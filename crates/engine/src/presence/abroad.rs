//! Who of other servers was shown to whom of ours: when their server is gone its users are gone too,
//! and nobody else says so (RFC 6121 §4.3.1: their state is unknown then).
//!
//! Left to other servers are rooms: who is in one finds out by asking it (XEP-0410).

use std::sync::Arc;

use hashbrown::{HashMap, HashSet};
use parking_lot::Mutex;
use smallvec::SmallVec;
use smol_str::SmolStr;
use stentor_jid::{BareJid, Jid};
use stentor_stanza::{Head, Kind, PresenceType, Stanza};

use crate::engine::{Engine, Route};
use crate::limits::SHOWN_ABROAD_MAX;
use crate::presence::broadcast;
use crate::session::{Handling, bare_presence};
use crate::watch;

/// What is known of the contacts of other servers, by a domain of ours and one of theirs.
#[derive(Default)]
pub(crate) struct Abroad(Mutex<State>);

#[derive(Default)]
struct State {
    pairs: HashMap<(SmolStr, SmolStr), Contacts>,
    /// Entries of all of them.
    count: usize,
}

#[derive(Default)]
struct Contacts {
    /// Available resources, and the accounts that were shown them.
    shown: HashMap<Jid, SmallVec<[BareJid; 1]>>,
    /// Those that have not shown themselves since they were asked for.
    asked: HashSet<Jid>,
    /// Accounts, and contacts of whom they know nothing because their server could not be asked.
    missed: HashSet<(BareJid, BareJid)>,
}

impl Engine {
    /// Notes what somebody elsewhere has shown an account of ours that is subscribed to it.
    pub(crate) fn note_shown(&self, presence: &Stanza, owner: &BareJid) {
        let (Some(from), Some(kind)) = (&presence.head.from, presence.presence_type()) else {
            return;
        };
        let is_seen = kind == PresenceType::Available
            && from.is_full()
            && self.resident(owner).is_some_and(|account| {
                let state = account.lock();
                let is_subscribed = state.roster.item(&from.to_bare()).is_some_and(|i| i.to);
                is_subscribed && state.available().next().is_some()
            });
        let mut state = self.abroad.0.lock();
        if is_seen { state.show(owner, from) } else { state.hide(owner, from) }
    }

    /// Notes that a contact could not be asked how it is.
    pub fn note_missed(&self, probe: &Stanza) {
        let Head { from: Some(from), to: Some(to), .. } = &probe.head else { return };
        let (owner, contact) = (from.to_bare(), to.to_bare());
        let mut state = self.abroad.0.lock();
        if state.count < SHOWN_ABROAD_MAX
            && state.of(&owner, contact.domain()).missed.insert((owner, contact))
        {
            state.count += 1;
        }
    }

    /// Whether anybody of a domain of ours sees, or wants to see, somebody of another domain.
    #[must_use]
    pub fn looks_at(&self, local: &str, remote: &str) -> bool {
        let key = (SmolStr::new(local), SmolStr::new(remote));
        self.abroad.0.lock().pairs.contains_key(&key)
    }

    /// The probes (RFC 6121 §4.3.1) that tell how contacts are who were shown, or could not be asked:
    /// one of each account that somebody looks at.
    #[must_use]
    pub fn probes_abroad(&self, local: &str, remote: &str) -> Vec<Stanza> {
        let key = (SmolStr::new(local), SmolStr::new(remote));
        let mut wanted: Vec<(BareJid, BareJid)> = {
            let mut state = self.abroad.0.lock();
            let Some(contacts) = state.pairs.get_mut(&key) else { return Vec::new() };
            let missed = std::mem::take(&mut contacts.missed);
            let shown = contacts.shown.iter().flat_map(|(contact, owners)| {
                owners.iter().map(|owner| (owner.clone(), contact.to_bare()))
            });
            let wanted = shown.chain(missed.iter().cloned()).collect();
            state.count -= missed.len();
            state.tidy(&key);
            wanted
        };
        wanted.sort_unstable();
        wanted.dedup();
        let looks = |owner: &BareJid| {
            self.resident(owner).is_some_and(|account| account.lock().available().next().is_some())
        };
        let (there, gone): (Vec<_>, Vec<_>) =
            wanted.into_iter().partition(|(owner, _)| looks(owner));
        for (owner, contact) in gone {
            self.abroad.0.lock().hide(&owner, contact.as_jid());
        }
        let probe = |(owner, contact): (BareJid, BareJid)| {
            bare_presence(PresenceType::Probe, owner, contact)
        };
        there.into_iter().map(probe).collect()
    }

    /// Notes that everybody who was shown is asked for: whoever is there answers.
    pub fn expect_abroad(&self, local: &str, remote: &str) {
        let key = (SmolStr::new(local), SmolStr::new(remote));
        if let Some(contacts) = self.abroad.0.lock().pairs.get_mut(&key) {
            contacts.asked = contacts.shown.keys().cloned().collect();
        }
    }

    /// Shows as gone who has not answered: servers need not answer for who is not there.
    pub async fn show_silent(self: &Arc<Self>, local: &str, remote: &str) {
        let key = (SmolStr::new(local), SmolStr::new(remote));
        let silent: Vec<_> = {
            let mut state = self.abroad.0.lock();
            let Some(contacts) = state.pairs.get_mut(&key) else { return };
            let asked = std::mem::take(&mut contacts.asked);
            let silent: Vec<_> =
                asked.into_iter().filter_map(|c| contacts.shown.remove_entry(&c)).collect();
            state.count -= silent.iter().map(|(_, owners)| owners.len()).sum::<usize>();
            state.tidy(&key);
            silent
        };
        self.show_gone(silent).await;
    }

    /// Shows everybody that contacts whose server is lost are not there any more, as far as anybody
    /// can know; they are asked for again.
    pub async fn show_lost(self: &Arc<Self>, local: &str, remote: &str) {
        let key = (SmolStr::new(local), SmolStr::new(remote));
        let shown: Vec<_> = {
            let mut state = self.abroad.0.lock();
            let Some(contacts) = state.pairs.get_mut(&key) else { return };
            contacts.asked = HashSet::new();
            let shown = std::mem::take(&mut contacts.shown);
            let (mut left, mut came) = (0, 0);
            for (contact, owners) in &shown {
                left += owners.len();
                for owner in owners {
                    came += usize::from(contacts.missed.insert((owner.clone(), contact.to_bare())));
                }
            }
            state.count = state.count + came - left;
            shown.into_iter().collect()
        };
        self.show_gone(shown).await;
    }

    async fn show_gone(self: &Arc<Self>, shown: Vec<(Jid, SmallVec<[BareJid; 1]>)>) {
        let each = shown.into_iter().flat_map(|(contact, owners)| {
            owners.into_iter().map(move |owner| (contact.clone(), owner))
        });
        for (contact, owner) in each {
            let head = Head::new(Kind::Presence(PresenceType::Unavailable)).from(contact);
            let gone = Stanza::empty(head.to(owner.clone()));
            broadcast::to_bare(self, None, &gone, &owner);
            if let Route::Account(host, owner) = self.route(owner.as_jid())
                && let Handling::Later(rest) = watch::shown_from_abroad(self, &host, &owner, &gone)
            {
                rest.await;
            }
        }
    }
}

impl State {
    fn of(&mut self, owner: &BareJid, remote: &str) -> &mut Contacts {
        let key = (SmolStr::new(owner.domain()), SmolStr::new(remote));
        self.pairs.entry(key).or_default()
    }

    fn show(&mut self, owner: &BareJid, contact: &Jid) {
        let is_full = self.count >= SHOWN_ABROAD_MAX;
        let contacts = self.of(owner, contact.domain());
        let missed = contacts.missed.remove(&(owner.clone(), contact.to_bare()));
        contacts.asked.remove(contact);
        let is_known = contacts.shown.get(contact).is_some_and(|owners| owners.contains(owner));
        let is_new = !is_known && !is_full;
        if is_new {
            contacts.shown.entry(contact.clone()).or_default().push(owner.clone());
        }
        self.count = self.count + usize::from(is_new) - usize::from(missed);
        self.tidy(&(SmolStr::new(owner.domain()), SmolStr::new(contact.domain())));
    }

    /// Forgets what an account was shown of a resource, or of all of a bare address.
    fn hide(&mut self, owner: &BareJid, contact: &Jid) {
        let key = (SmolStr::new(owner.domain()), SmolStr::new(contact.domain()));
        let Some(contacts) = self.pairs.get_mut(&key) else { return };
        let mut gone = 0;
        let mut forget = |owners: &mut SmallVec<[BareJid; 1]>| {
            let before = owners.len();
            owners.retain(|other| other != owner);
            gone += before - owners.len();
            owners.is_empty()
        };
        if contact.is_full() {
            if contacts.shown.get_mut(contact).is_some_and(&mut forget) {
                contacts.shown.remove(contact);
            }
        } else {
            let bare = contact.to_bare();
            contacts.shown.retain(|full, owners| full.to_bare() != bare || !forget(owners));
        }
        gone += usize::from(contacts.missed.remove(&(owner.clone(), contact.to_bare())));
        self.count -= gone;
        self.tidy(&key);
    }

    /// Forgets a pair of which nothing is known.
    fn tidy(&mut self, key: &(SmolStr, SmolStr)) {
        if self.pairs.get(key).is_some_and(|c| c.shown.is_empty() && c.missed.is_empty()) {
            self.pairs.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bare(text: &str) -> BareJid {
        BareJid::new(text).unwrap()
    }

    #[test]
    fn counts_what_it_knows_and_forgets_all_of_it() {
        let mut state = State::default();
        let (juliet, nurse) = (bare("juliet@capulet.example"), bare("nurse@capulet.example"));
        let [one, two] =
            ["romeo@far.example/1", "romeo@far.example/2"].map(|j| Jid::new(j).unwrap());
        state.of(&juliet, "far.example").missed.insert((juliet.clone(), bare("romeo@far.example")));
        state.count = 1;
        for owner in [&juliet, &nurse, &juliet] {
            state.show(owner, &one);
        }
        assert_eq!(state.count, 2, "what was missed is known now, and nothing twice");
        state.show(&juliet, &two);
        state.hide(&nurse, &two);
        state.hide(&juliet, &one);
        assert_eq!(state.count, 2);
        state.hide(&juliet, &Jid::new("romeo@far.example").unwrap());
        state.hide(&nurse, &one);
        assert_eq!((state.count, state.pairs.len()), (0, 0));
    }

    #[test]
    fn is_bounded() {
        let mut state = State { count: SHOWN_ABROAD_MAX, ..State::default() };
        state.show(&bare("juliet@capulet.example"), &Jid::new("romeo@far.example/1").unwrap());
        assert_eq!((state.count, state.pairs.len()), (SHOWN_ABROAD_MAX, 0));
    }
}
