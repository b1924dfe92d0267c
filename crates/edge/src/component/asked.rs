//! Which stream of a component sent a request: the answer goes there.

use hashbrown::HashMap;
use stentor_jid::Jid;
use stentor_stanza::Id;

use crate::limits::COMPONENT_ASKED_MAX;

/// Requests by whom they were sent to and by their ids, and the serials of the streams. Some are
/// never answered: where there are too many, the older half is forgotten.
#[derive(Default)]
pub(super) struct Asked {
    young: HashMap<(Jid, Id), u64>,
    old: HashMap<(Jid, Id), u64>,
}

impl Asked {
    pub(super) fn is_empty(&self) -> bool {
        self.young.is_empty() && self.old.is_empty()
    }

    /// Notes a request.
    pub(super) fn note(&mut self, to: Jid, id: Id, serial: u64) {
        if self.young.len() >= COMPONENT_ASKED_MAX / 2 {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert((to, id), serial);
    }

    /// The stream of the request that this answers; it is answered once.
    pub(super) fn take(&mut self, from: Jid, id: Id) -> Option<u64> {
        let request = (from, id);
        self.young.remove(&request).or_else(|| self.old.remove(&request))
    }

    /// Forgets the requests of a stream.
    pub(super) fn forget(&mut self, serial: u64) {
        self.young.retain(|_, of| *of != serial);
        self.old.retain(|_, of| *of != serial);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_without_an_answer_make_room_for_later_ones() {
        let mut asked = Asked::default();
        let jid = Jid::new("juliet@capulet.example/balcony").unwrap();
        let id = |n: usize| Id::from(n.to_string());
        let count = COMPONENT_ASKED_MAX * 3;
        for n in 0..count {
            asked.note(jid.clone(), id(n), 7);
            assert!(asked.young.len() + asked.old.len() <= COMPONENT_ASKED_MAX);
        }
        assert_eq!(asked.take(jid.clone(), id(count - 1)), Some(7));
        assert_eq!(asked.take(jid.clone(), id(count - 1)), None, "answered once");
        assert_eq!(asked.take(jid.clone(), id(count - COMPONENT_ASKED_MAX / 2)), Some(7));
        assert_eq!(asked.take(jid, id(0)), None);
        asked.forget(7);
        assert!(asked.is_empty());
    }
}
