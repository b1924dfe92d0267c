//! What waits while nobody looks at a client (XEP-0352 §1): presence, of which the latest of each
//! sender is enough, chat states, of which the same is true, and other news of the moment.
//!
//! What is held has no place among the stanzas of the session yet, and no number of XEP-0198: it
//! gets both when it leaves the hold, which it does in order and before anything that came later.

use super::Item;
use super::latest::Latest;
use crate::limits::{HELD_BYTES_MAX, HELD_ITEMS_MAX};
use crate::worth;

/// Stanzas that wait, in the order in which they will leave.
#[derive(Default)]
pub(super) struct Hold {
    latest: Latest,
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
        if let Some(bytes) = self.latest.push(0, item) {
            self.saved.stanzas += 1;
            self.saved.bytes += bytes as u64;
        }
        self.latest.len() <= HELD_ITEMS_MAX && self.latest.bytes() <= HELD_BYTES_MAX
    }

    /// Everything, in order; the hold is empty.
    pub(super) fn take(&mut self) -> impl Iterator<Item = Item> + use<> {
        self.latest.take().map(|(_, item)| item)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.latest.is_empty()
    }

    /// What has been saved since the last time.
    pub(super) fn take_saved(&mut self) -> Saved {
        std::mem::take(&mut self.saved)
    }
}

#[cfg(test)]
mod tests {
    use stentor_stanza::Stanza;

    use super::super::Fate;
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
        let bytes = (first.bytes_len() + item(&typing("composing")).bytes_len()) as u64;
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
