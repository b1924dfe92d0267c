//! What becomes of a stanza that its session does not take, and who else has it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use smallvec::SmallVec;
use smol_str::SmolStr;
use stentor_store::{Write, Writer};

use crate::resource::Resource;

/// What becomes of a stanza that the session could not take before it ended.
#[derive(Clone, Debug)]
pub enum Fate {
    /// Nobody else has it: route it again.
    Reroute,
    /// Several sessions were given it, by itself or as a copy (XEP-0280): whoever loses the last one
    /// routes it again.
    Shared(Copies),
    /// The store still holds it, or nobody misses it: forget it.
    Forget,
}

/// How many copies of a message have not been lost. A copy that was written is never lost, so the
/// count ends at nothing only if nobody got it.
#[derive(Clone, Debug)]
pub struct Copies(Arc<Count>);

#[derive(Debug, Default)]
struct Count {
    left: AtomicUsize,
    /// Where there are copies (XEP-0280): who has the message, in either way. Not known after a
    /// restart.
    takers: Mutex<Takers>,
    given: OnceLock<Given>,
}

/// Who has a message, by their serials and resources.
#[derive(Debug, Default)]
struct Takers {
    of_original: SmallVec<[(u64, SmolStr); 1]>,
    of_copy: SmallVec<[(u64, SmolStr); 2]>,
}

/// What it means that a session ended with a stanza unwritten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    /// Nobody else has it: it is routed again.
    Last,
    /// Nobody has the message itself any more. These resources have it as a copy (XEP-0280).
    Original(Vec<SmolStr>),
    /// Others have it, or nobody misses it.
    Bearable,
}

/// A message that is in the store as long as anybody has a copy of it to deliver.
#[derive(Debug)]
struct Given {
    writer: Writer,
    number: u64,
}

impl Drop for Given {
    fn drop(&mut self) {
        // If it fails, the message is delivered once more after a restart: repeated, not lost.
        drop(self.writer.submit(Write::DropGiven { number: self.number }));
    }
}

impl Fate {
    /// Notes that the session of this serial ended with the stanza unwritten.
    pub(crate) fn lose(&self, serial: u64) -> Loss {
        match self {
            Self::Reroute => Loss::Last,
            Self::Shared(copies) => copies.lose(serial),
            Self::Forget => Loss::Bearable,
        }
    }
}

impl Copies {
    pub(crate) fn of(count: usize) -> Self {
        Self(Arc::new(Count { left: AtomicUsize::new(count), ..Count::default() }))
    }

    /// One of those counted took the message itself, of which there will be copies.
    pub(crate) fn is_with(&self, taker: &Resource) {
        self.0.takers.lock().of_original.push(name_of(taker));
    }

    /// One more session took the message itself.
    pub(crate) fn is_with_also(&self, taker: &Resource) {
        self.0.left.fetch_add(1, Ordering::AcqRel);
        self.is_with(taker);
    }

    /// One more session took a copy. Called under the lock under which the message was given to the
    /// others: none of them has lost it.
    pub(crate) fn is_copied_to(&self, taker: &Resource) {
        self.0.left.fetch_add(1, Ordering::AcqRel);
        self.0.takers.lock().of_copy.push(name_of(taker));
    }

    /// Whether this session was given a copy, and has not lost it.
    pub(crate) fn has_copy(&self, serial: u64) -> bool {
        self.0.takers.lock().of_copy.iter().any(|(taker, _)| *taker == serial)
    }

    /// The store has the message under this number, until the last copy has left memory: it was
    /// written, acknowledged, or found another place.
    pub(crate) fn is_given(&self, writer: Writer, number: u64) {
        drop(self.0.given.set(Given { writer, number }));
    }

    fn lose(&self, serial: u64) -> Loss {
        let less = |count: usize| count.checked_sub(1);
        if self.0.left.fetch_update(Ordering::AcqRel, Ordering::Acquire, less) == Ok(1) {
            return Loss::Last;
        }
        let mut takers = self.0.takers.lock();
        let Takers { of_original, of_copy } = &mut *takers;
        of_copy.retain(|(taker, _)| *taker != serial);
        let originals = of_original.len();
        of_original.retain(|(taker, _)| *taker != serial);
        if of_original.is_empty() && originals > 0 {
            return Loss::Original(of_copy.iter().map(|(_, resource)| resource.clone()).collect());
        }
        Loss::Bearable
    }
}

fn name_of(taker: &Resource) -> (u64, SmolStr) {
    (taker.serial, taker.jid.resource().into())
}

#[cfg(test)]
mod tests {
    use stentor_jid::BareJid;

    use super::*;

    #[test]
    fn a_shared_message_is_lost_with_its_last_copy() {
        let fate = Fate::Shared(Copies::of(3));
        let losses = [1, 2, 3].map(|serial| fate.lose(serial) == Loss::Last);
        assert_eq!(losses, [false, false, true]);
    }

    #[test]
    fn a_shared_message_that_somebody_wrote_is_never_lost() {
        let fate = Fate::Shared(Copies::of(2));
        assert_eq!(fate.lose(1), Loss::Bearable);
    }

    #[test]
    fn whoever_has_a_copy_of_a_message_is_known_when_the_message_is_lost() {
        let taker = |resource, serial| {
            let juliet = BareJid::new("juliet@capulet.example").unwrap();
            Resource::new(juliet.with_resource(resource).unwrap(), serial, 0, None)
        };
        let takers = [("phone", 1), ("watch", 2), ("desk", 3), ("tablet", 4)];
        let takers = takers.map(|(resource, serial)| taker(resource, serial));
        let [phone, watch, desk, tablet] = takers;
        let copies = Copies::of(2);
        copies.is_with(&phone);
        copies.is_with(&watch);
        copies.is_copied_to(&desk);
        copies.is_copied_to(&tablet);
        let fate = Fate::Shared(copies);
        assert_eq!(fate.lose(tablet.serial), Loss::Bearable);
        assert_eq!(fate.lose(phone.serial), Loss::Bearable);
        assert_eq!(fate.lose(watch.serial), Loss::Original(vec!["desk".into()]));
        assert_eq!(fate.lose(desk.serial), Loss::Last);
    }
}
