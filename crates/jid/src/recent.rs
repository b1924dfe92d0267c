//! Addresses that a thread has met again lately: they are neither judged nor copied once more.
//!
//! The recipient of a conversation stands in each of its messages. What is remembered is at most
//! [`RECENT_ADDRESSES`] addresses of at most [`RECENT_BYTES_MAX`] bytes on each thread, under
//! their canonical form, and an address enters when it comes a second time, so that those that come
//! once cost no more than a look. Where an address has its place is known to nobody outside: the
//! hash has a key, and two that meet in one place cost what they cost without all this.

use std::cell::RefCell;
use std::hash::{BuildHasher, Hasher};

use foldhash::fast::RandomState;

use crate::Jid;
use crate::limits::{RECENT_ADDRESSES, RECENT_BYTES_MAX};

/// The address with this canonical text, if it is remembered. If not, `is_again` tells whether it
/// was looked for before.
pub(crate) fn find(text: &str, is_again: &mut bool) -> Option<Jid> {
    with(|recent| recent.find(text, is_again))
}

/// Remembers an address that was looked for again.
#[cold]
pub(crate) fn remember(address: &Jid) {
    with(|recent| {
        recent.remember(address);
        Some(())
    });
}

/// None also of a thread that ends, which has forgotten all.
#[inline(always)]
fn with<T>(f: impl FnOnce(&mut Recent) -> Option<T>) -> Option<T> {
    let use_recent =
        |recent: &RefCell<Option<Recent>>| f(recent.try_borrow_mut().ok()?.get_or_insert_default());
    RECENT.try_with(use_recent).ok()?
}

struct Recent {
    state: RandomState,
    places: Box<[Place; RECENT_ADDRESSES]>,
}

#[derive(Clone, Default)]
struct Place {
    address: Option<Jid>,
    /// The hash of the text that was last looked for here and not found.
    missed: u64,
}

impl Default for Recent {
    fn default() -> Self {
        let places = Box::new(std::array::from_fn(|_| Place::default()));
        Self { state: RandomState::default(), places }
    }
}

impl Recent {
    #[inline]
    fn find(&mut self, text: &str, is_again: &mut bool) -> Option<Jid> {
        if text.len() > RECENT_BYTES_MAX {
            return None;
        }
        let (hash, place) = self.place(text);
        let known = place.address.as_ref().filter(|known| known.as_str() == text);
        if known.is_none() {
            *is_again = place.missed == hash;
            place.missed = hash;
        }
        known.cloned()
    }

    fn remember(&mut self, address: &Jid) {
        let (_, place) = self.place(address.as_str());
        place.address = Some(address.clone());
    }

    /// The place of a text, and its hash.
    #[inline]
    fn place(&mut self, text: &str) -> (u64, &mut Place) {
        let mut hasher = self.state.build_hasher();
        hasher.write(text.as_bytes());
        let hash = hasher.finish();
        let [low, ..] = hash.to_le_bytes();
        (hash, &mut self.places[usize::from(low)])
    }
}

thread_local! {
    static RECENT: RefCell<Option<Recent>> = const { RefCell::new(None) };
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::jid::tests::near_address;

    /// Asks for an address as [`Jid::new`] does; whether it was remembered.
    fn is_known(recent: &mut Recent, text: &str) -> bool {
        let mut is_again = false;
        let found = recent.find(text, &mut is_again);
        assert!(found.as_ref().is_none_or(|found| *found == *text));
        if is_again {
            recent.remember(&Jid::judge(text).unwrap());
        }
        found.is_some()
    }

    #[test]
    fn remembers_what_comes_a_second_time() {
        let mut recent = Recent::default();
        let known = [(); 4].map(|()| is_known(&mut recent, "juliet@capulet.example"));
        assert_eq!(known, [false, false, true, true]);
        assert!(!is_known(&mut recent, "romeo@montague.example"));
    }

    #[test]
    fn keeps_an_address_where_others_come_once() {
        let mut recent = Recent::default();
        for _ in 0..2 {
            is_known(&mut recent, "juliet@capulet.example");
        }
        for n in 0..20 * RECENT_ADDRESSES {
            assert!(!is_known(&mut recent, &format!("user{n}@montague.example")));
        }
        assert!(is_known(&mut recent, "juliet@capulet.example"));
    }

    #[test]
    fn forgets_the_old_for_the_new() {
        let mut recent = Recent::default();
        for n in 0..20 * RECENT_ADDRESSES {
            let user = format!("user{n}@montague.example");
            let known = [(); 3].map(|()| is_known(&mut recent, &user));
            assert_eq!(known, [false, false, true]);
        }
        let kept = recent.places.iter().filter(|place| place.address.is_some()).count();
        assert!(kept <= RECENT_ADDRESSES);
    }

    #[test]
    fn does_not_remember_what_is_long() {
        let mut recent = Recent::default();
        let long = format!("capulet.example/{}", "x".repeat(RECENT_BYTES_MAX));
        for _ in 0..3 {
            assert!(!is_known(&mut recent, &long));
        }
    }

    #[test]
    fn gives_the_same_string_again() {
        let text = "benvolio@montague.example";
        let new = || Jid::new(text).unwrap();
        let [_, second, third] = [new(), new(), new()];
        assert!(std::ptr::eq(second.as_str(), third.as_str()));
        let full = Jid::new("benvolio@montague.example/street").unwrap();
        assert!(std::ptr::eq(full.to_bare().as_str(), third.as_str()));
    }

    proptest! {
        #[test]
        fn prop_changes_no_result(texts in proptest::collection::vec(near_address(), 1..8)) {
            for text in texts.iter().cycle().take(4 * texts.len()) {
                let (new, judged) = (Jid::new(text), Jid::judge(text));
                prop_assert_eq!(&new, &judged);
                if let (Ok(new), Ok(judged)) = (new, judged) {
                    prop_assert_eq!(new.local(), judged.local());
                    prop_assert_eq!(new.domain(), judged.domain());
                    prop_assert_eq!(new.resource(), judged.resource());
                }
            }
        }
    }
}
