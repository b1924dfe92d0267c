//! Stanzas that wait, of which a later one takes the place of an earlier one that said the same of
//! an earlier moment.

use std::collections::BTreeMap;
use std::hash::Hash;

use hashbrown::HashMap;
use stentor_jid::Jid;
use stentor_stanza::Kind;

use super::{Fate, Item};
use crate::worth::Content;

/// Entries in the order in which they came, those left out that a later one has overtaken.
#[derive(Default)]
pub(super) struct Latest {
    items: BTreeMap<u64, (u64, Item)>,
    /// The places of those that a later one of the same kind replaces.
    latest: HashMap<News, u64>,
    next: u64,
    bytes: usize,
}

/// News of which only the latest counts, by whose it is.
#[derive(Clone, PartialEq, Eq, Hash)]
enum News {
    Presence(Jid),
    ChatState(Jid),
}

impl Latest {
    /// Adds an entry, which came behind so many others that are elsewhere. Returns the bytes of the
    /// one that it has overtaken, if there was one.
    pub(super) fn push(&mut self, behind: u64, item: Item) -> Option<usize> {
        let earlier = news(&item).and_then(|news| self.latest.insert(news, self.next));
        let freed = earlier.and_then(|earlier| self.replace(earlier));
        self.bytes += item.bytes_len();
        self.items.insert(self.next, (behind, item));
        self.next += 1;
        freed
    }

    fn replace(&mut self, earlier: u64) -> Option<usize> {
        let (_, item) = self.items.remove(&earlier)?;
        self.bytes -= item.bytes_len();
        if let Item::Stanza(_, fate @ Fate::Shared(_), _) = &item {
            // One of several copies is gone; whoever loses the last one drops it as well.
            fate.lose(u64::MAX);
        }
        Some(item.bytes_len())
    }

    /// Everything, in order, with what it came behind; nothing is left.
    pub(super) fn take(&mut self) -> impl Iterator<Item = (u64, Item)> + use<> {
        self.latest = HashMap::new();
        self.bytes = 0;
        std::mem::take(&mut self.items).into_values()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }
}

fn news(item: &Item) -> Option<News> {
    let Item::Stanza(stanza, ..) = item else { return None };
    let from = stanza.head.from.clone()?;
    match stanza.head.kind {
        Kind::Presence(_) => Some(News::Presence(from)),
        // Copies of chat states say something about somebody who is not their sender: they stay as
        // they are.
        Kind::Message(_) => {
            (Content::of(stanza) == Content::ChatState).then_some(News::ChatState(from))
        }
        Kind::Iq(_) => None,
    }
}
