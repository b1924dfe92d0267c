//! What waits while nobody looks at a client (XEP-0352 §1): presence, of which the latest of each
//! sender is enough, chat states, of which the same is true, and other news of the moment.
//!
//! What is held has no place among the stanzas of the session yet, and no number of XEP-0198: it
//! gets both when it leaves the hold, which it does in order and before anything that came later.

use std::collections::BTreeMap;
use std::hash::Hash;

use hashbrown::HashMap;
use stentor_jid::Jid;
use stentor_stanza::{Kind, Stanza};

use super::{Fate, Item};
use crate::limits::{HELD_BYTES_MAX, HELD_ITEMS_MAX};
use crate::worth::{self, Content};

/// Stanzas that wait, in the order in which they will leave.
#[derive(Default)]
pub(super) struct Hold {
    items: BTreeMap<u64, Item>,
    /// The places of those that a later one of the same kind replaces.
    latest: HashMap<News, u64>,
    next: u64,
    bytes: usize,
    saved: Saved,
    since_ms: i64,
}

/// What was never sent, because something later said the same anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Saved {
    /// Stanzas.
    pub stanzas: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// News of which only the latest counts, by whose it is.
#[derive(Clone, PartialEq, Eq, Hash)]
enum News {
    Presence(Jid),
    ChatState(Jid),
}

impl Hold {
    /// An empty one, of a client that nobody looks at since this time, in milliseconds since 1970.
    pub(super) fn since(now_ms: i64) -> Self {
        Self { since_ms: now_ms, ..Self::default() }
    }

    pub(super) const fn since_ms(&self) -> i64 {
        self.since_ms
    }

    /// Whether a stanza may wait here.
    pub(super) fn takes(item: &Item) -> bool {
        match item {
            Item::Stanza(stanza, ..) => worth::may_wait(stanza),
            Item::Stored(_) => false,
        }
    }

    /// Holds an entry back. False if there is too much now: then all of it must leave.
    pub(super) fn push(&mut self, item: Item) -> bool {
        let earlier = news(&item).and_then(|news| self.latest.insert(news, self.next));
        if let Some(earlier) = earlier {
            self.replace(earlier);
        }
        self.bytes += bytes(&item);
        self.items.insert(self.next, item);
        self.next += 1;
        self.items.len() <= HELD_ITEMS_MAX && self.bytes <= HELD_BYTES_MAX
    }

    fn replace(&mut self, earlier: u64) {
        let Some(item) = self.items.remove(&earlier) else { return };
        self.bytes -= bytes(&item);
        self.saved.stanzas += 1;
        self.saved.bytes += bytes(&item) as u64;
        if let Item::Stanza(_, fate @ Fate::Shared(_), _) = item {
            // One of several copies is gone; whoever loses the last one drops it as well.
            fate.lose(u64::MAX);
        }
    }

    /// Everything, in order; the hold is empty.
    pub(super) fn take(&mut self) -> impl Iterator<Item = Item> + use<> {
        self.latest = HashMap::new();
        self.bytes = 0;
        std::mem::take(&mut self.items).into_values()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// What has been saved since the last time.
    pub(super) fn take_saved(&mut self) -> Saved {
        std::mem::take(&mut self.saved)
    }
}

fn news(item: &Item) -> Option<News> {
    let Item::Stanza(stanza, ..) = item else { return None };
    let from = stanza.head.from.clone()?;
    match stanza.head.kind {
        Kind::Presence(_) => Some(News::Presence(from)),
        Kind::Message(_) => is_chat_state(stanza).then_some(News::ChatState(from)),
        Kind::Iq(_) => None,
    }
}

/// Copies of chat states say something about somebody who is not their sender: they stay as they
/// are.
fn is_chat_state(stanza: &Stanza) -> bool {
    Content::of(stanza) == Content::ChatState
}

fn bytes(item: &Item) -> usize {
    match item {
        Item::Stanza(stanza, ..) => stanza.bytes_len(),
        Item::Stored(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(xml: &str) -> Item {
        Item::Stanza(Stanza::parse(xml.as_bytes()).unwrap(), Fate::Forget, None)
    }

    fn held(hold: &mut Hold) -> Vec<String> {
        let xml = |item: Item| match item {
            Item::Stanza(stanza, ..) => String::from_utf8(stanza.to_bytes()).unwrap(),
            Item::Stored(_) => "stored".to_owned(),
        };
        hold.take().map(xml).collect()
    }

    #[test]
    fn the_latest_of_each_sender_is_kept_where_it_stands() {
        let mut hold = Hold::default();
        let of = |from: &str, inside: &str| {
            format!("<presence from='{from}'><show>{inside}</show></presence>")
        };
        let typing = |state: &str| {
            format!(
                "<message type='chat' from='a@x.example/1'>\
                 <{state} xmlns='http://jabber.org/protocol/chatstates'/></message>"
            )
        };
        for xml in [
            of("a@x.example/1", "away"),
            of("b@x.example/1", "away"),
            typing("composing"),
            of("a@x.example/2", "away"),
            of("a@x.example/1", "xa"),
            typing("paused"),
        ] {
            assert!(hold.push(item(&xml)));
        }
        assert_eq!(
            held(&mut hold),
            [
                of("b@x.example/1", "away"),
                of("a@x.example/2", "away"),
                of("a@x.example/1", "xa"),
                typing("paused"),
            ]
        );
        let first = item(&of("a@x.example/1", "away"));
        let bytes = bytes(&first) as u64 + bytes(&item(&typing("composing"))) as u64;
        assert_eq!(hold.take_saved(), Saved { stanzas: 2, bytes });
        assert_eq!(hold.take_saved(), Saved::default());
    }

    #[test]
    fn news_of_nodes_are_all_kept() {
        let mut hold = Hold::default();
        let event = "<message from='a@x.example'>\
                     <event xmlns='http://jabber.org/protocol/pubsub#event'/></message>";
        hold.push(item(event));
        hold.push(item(event));
        assert_eq!(held(&mut hold).len(), 2);
    }

    #[test]
    fn it_is_bounded_by_count_and_by_bytes() {
        let mut hold = Hold::default();
        for n in 0..HELD_ITEMS_MAX {
            assert!(hold.push(item(&format!("<presence from='{n}.example'/>"))));
        }
        assert!(hold.push(item("<presence from='0.example'/>")), "one more of the same sender");
        assert!(!hold.push(item("<presence from='x.example'/>")));
        let mut hold = Hold::default();
        let status = "x".repeat(HELD_BYTES_MAX / 2);
        let large =
            |n: u8| format!("<presence from='{n}.example'><status>{status}</status></presence>");
        assert!(hold.push(item(&large(1))));
        assert!(!hold.push(item(&large(2))));
    }
}
