//! Sessions that wait without a stream (XEP-0198 §5), in the order in which their streams broke.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hashbrown::HashMap;
use parking_lot::Mutex;
use stentor_jid::BareJid;

use crate::limits::{DETACHED_PER_ACCOUNT_MAX, DETACHED_SESSIONS_MAX};
use crate::outbox::Close;
use crate::resource::Resource;

/// Who waits. Where too many do, those who have waited longest are given up.
pub(crate) struct Detached {
    line: Mutex<Line>,
    sessions_max: usize,
    per_account_max: usize,
}

#[derive(Default)]
struct Line {
    next: u64,
    all: BTreeMap<u64, Arc<Resource>>,
    of_account: HashMap<BareJid, BTreeSet<u64>>,
}

impl Default for Detached {
    fn default() -> Self {
        Self::bounded(DETACHED_SESSIONS_MAX, DETACHED_PER_ACCOUNT_MAX)
    }
}

impl Detached {
    fn bounded(sessions_max: usize, per_account_max: usize) -> Self {
        Self { line: Mutex::default(), sessions_max, per_account_max }
    }

    /// Puts a session at the end of the line and returns its place.
    pub(crate) fn join(&self, resource: &Arc<Resource>) -> u64 {
        let mut line = self.line.lock();
        let place = line.next;
        line.next += 1;
        let account = resource.jid.to_bare();
        line.all.insert(place, resource.clone());
        let of_account = line.of_account.entry(account).or_default();
        of_account.insert(place);
        let oldest =
            of_account.first().copied().filter(|_| of_account.len() > self.per_account_max);
        let oldest = oldest.or_else(|| {
            let first = line.all.keys().next().copied();
            first.filter(|_| line.all.len() > self.sessions_max)
        });
        if let Some(given_up) = oldest.and_then(|oldest| line.remove(oldest)) {
            given_up.outbox.close(Close::Overflow);
        }
        place
    }

    /// Takes a session from the line; false if it was given up.
    pub(crate) fn leave(&self, place: u64) -> bool {
        self.line.lock().remove(place).is_some()
    }
}

impl Line {
    fn remove(&mut self, place: u64) -> Option<Arc<Resource>> {
        let resource = self.all.remove(&place)?;
        let account = resource.jid.to_bare();
        if let Some(places) = self.of_account.get_mut(&account) {
            places.remove(&place);
            if places.is_empty() {
                self.of_account.remove(&account);
            }
        }
        Some(resource)
    }
}

#[cfg(test)]
mod tests {
    use stentor_jid::FullJid;

    use super::*;

    fn session(jid: &str) -> Arc<Resource> {
        Arc::new(Resource::new(FullJid::new(jid).unwrap(), 1, 0, None))
    }

    fn is_given_up(session: &Resource) -> bool {
        session.outbox.closing().is_some()
    }

    #[test]
    fn an_account_has_its_oldest_given_up_and_nobody_elses() {
        let detached = Detached::bounded(9, 2);
        let romeo = session("romeo@montague.example/a");
        detached.join(&romeo);
        let of_juliet = ["a", "b", "c"].map(|r| session(&format!("juliet@capulet.example/{r}")));
        let places = of_juliet.each_ref().map(|session| detached.join(session));
        assert_eq!(of_juliet.each_ref().map(|s| is_given_up(s)), [true, false, false]);
        assert!(!is_given_up(&romeo));
        assert_eq!(places.map(|place| detached.leave(place)), [false, true, true]);
    }

    #[test]
    fn of_all_the_oldest_is_given_up_and_none_for_those_that_went_on() {
        let detached = Detached::bounded(2, 2);
        let sessions = ["a", "b", "c", "d"].map(|n| session(&format!("{n}@capulet.example/r")));
        let first = detached.join(&sessions[0]);
        detached.join(&sessions[1]);
        assert!(detached.leave(first));
        detached.join(&sessions[2]);
        assert!(!sessions.iter().any(|s| is_given_up(s)));
        detached.join(&sessions[3]);
        assert_eq!(sessions.each_ref().map(|s| is_given_up(s)), [false, true, false, false]);
        assert_eq!(detached.line.lock().of_account.len(), 2, "nothing is left of the others");
    }
}
