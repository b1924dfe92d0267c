//! What waits while a session is without a stream (XEP-0198 §5): of presence, which only says how
//! things are at the moment, the latest of each address is enough.
//!
//! It has no number of XEP-0198 and no part in what outlives the process until the client is back;
//! then it takes the place at which it came. What was sent to the client before, and has not been
//! acknowledged, is judged by the same rule: the client gets its contacts as they are now, and none of
//! the steps to that. How much all of it may be are the bounds of the outbox.

use std::collections::VecDeque;

use hashbrown::HashSet;
use stentor_jid::Jid;

use super::Item;
use super::latest::Latest;
use super::managed::stanzas_in;
use crate::worth;

/// Presence that came while there was no stream, and how much else came meanwhile.
#[derive(Default)]
pub(super) struct Parked {
    latest: Latest,
    /// Stanzas that went to the end of the queue meanwhile.
    passed: u64,
}

/// A queue in which everything has its place.
#[derive(Default)]
pub(super) struct Gathered {
    pub(super) queue: VecDeque<Item>,
    /// Stanzas in it.
    pub(super) stanzas: u64,
    /// The numbers of those that had one, in their former order.
    pub(super) moved: Vec<u64>,
    /// Bytes of what has been left out.
    pub(super) freed_bytes: usize,
}

impl Parked {
    /// Whether an entry may wait here.
    pub(super) fn takes(item: &Item) -> bool {
        shown(item).is_some()
    }

    /// Adds one. Returns the bytes of the one that it has overtaken.
    pub(super) fn push(&mut self, item: Item) -> usize {
        self.latest.push(self.passed, item).unwrap_or(0)
    }

    /// A stanza goes to the end of the queue.
    pub(super) const fn pass(&mut self) {
        self.passed += 1;
    }

    pub(super) fn len(&self) -> usize {
        self.latest.len()
    }

    /// All that is here, in no queue.
    pub(super) fn into_items(mut self) -> impl Iterator<Item = Item> {
        self.latest.take().map(|(_, item)| item)
    }

    /// Puts all that is here into the queue of what has a number; the first number is the one behind
    /// `acked`.
    pub(super) fn gather(self, queue: VecDeque<Item>, acked: u64) -> Gathered {
        let all = self.in_order(queue);
        let mut later = HashSet::new();
        let is_last: Vec<bool> = all
            .iter()
            .rev()
            .map(|(_, item)| shown(item).is_none_or(|from| later.insert(from.clone())))
            .collect();
        let mut gathered = Gathered::default();
        for ((has_number, item), is_last) in all.into_iter().zip(is_last.into_iter().rev()) {
            gathered.stanzas += u64::from(is_last && item.is_stanza());
            if has_number {
                gathered.moved.push(acked + gathered.stanzas);
            }
            if is_last {
                gathered.queue.push_back(item);
            } else {
                gathered.freed_bytes += item.bytes_len();
            }
        }
        gathered
    }

    /// All entries, and whether they are stanzas that have a number.
    fn in_order(mut self, queue: VecDeque<Item>) -> Vec<(bool, Item)> {
        let earlier = stanzas_in(&queue).saturating_sub(self.passed);
        let mut waiting = self.latest.take().peekable();
        let (mut all, mut count) = (Vec::with_capacity(queue.len()), 0);
        for item in queue {
            let has_number = item.is_stanza();
            if has_number {
                let is_due = |(behind, _): &(u64, Item)| earlier + behind <= count;
                while let Some((_, item)) = waiting.next_if(is_due) {
                    all.push((false, item));
                }
                count += 1;
            }
            all.push((has_number, item));
        }
        all.extend(waiting.map(|(_, item)| (false, item)));
        all
    }
}

/// Whose presence an entry shows, if it says no more than that.
fn shown(item: &Item) -> Option<&Jid> {
    match item {
        Item::Stanza(stanza, ..) if worth::is_state(stanza) => stanza.head.from.as_ref(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use stentor_stanza::Stanza;

    use super::super::{Fate, Stored};
    use super::*;

    fn item(xml: &str) -> Item {
        Item::Stanza(Stanza::parse(xml.as_bytes()).unwrap(), Fate::Forget, None)
    }

    fn presence(from: &str, show: &str) -> Item {
        item(&format!("<presence from='{from}.example'><show>{show}</show></presence>"))
    }

    fn message(n: u32) -> Item {
        item(&format!("<message id='{n}'><body>x</body></message>"))
    }

    /// Ids of messages, and what presence shows.
    fn told(queue: &VecDeque<Item>) -> Vec<String> {
        let tell = |item: &Item| match item {
            Item::Stanza(stanza, ..) => {
                let show = stanza.child(stentor_xml::ns::CLIENT, "show");
                let show = show.map(|show| show.text().into_owned());
                show.or(stanza.head.id.as_deref().map(str::to_owned)).unwrap()
            }
            Item::Stored(_) => "mark".to_owned(),
        };
        queue.iter().map(tell).collect()
    }

    #[test]
    fn the_latest_of_each_address_comes_where_it_came() {
        let mut parked = Parked::default();
        for (n, show) in ["away", "xa", "dnd"].into_iter().enumerate() {
            parked.push(presence("a", show));
            parked.push(presence(&format!("b{n}"), show));
            parked.pass();
        }
        parked.push(presence("b2", "chat"));
        assert_eq!(parked.len(), 4);
        let gathered = parked.gather((1..=3).map(message).collect(), 7);
        assert_eq!(told(&gathered.queue), ["away", "1", "xa", "2", "dnd", "3", "chat"]);
        assert_eq!((gathered.stanzas, gathered.moved), (7, vec![9, 11, 13]));
    }

    #[test]
    fn what_was_sent_before_is_overtaken_as_well() {
        let mut parked = Parked::default();
        let mark = Item::Stored(Stored { ids: vec![1], bytes: 1 });
        let sent = [presence("a", "away"), message(1), mark, presence("a", "xa"), message(2)];
        let bytes = sent[0].bytes_len() + sent[3].bytes_len();
        parked.push(presence("a", "dnd"));
        let gathered = parked.gather(sent.into(), 0);
        assert_eq!(told(&gathered.queue), ["1", "mark", "2", "dnd"]);
        assert_eq!(gathered.moved, [0, 1, 1, 2]);
        assert_eq!((gathered.stanzas, gathered.freed_bytes), (3, bytes));
    }

    #[test]
    fn what_a_room_tells_and_requests_all_stay() {
        let occupant = "<presence from='r@x.example/n'>\
                        <x xmlns='http://jabber.org/protocol/muc#user'/></presence>";
        for xml in [occupant, "<presence type='subscribe' from='a.example'/>"] {
            assert!(!Parked::takes(&item(xml)), "{xml}");
            let gathered = Parked::default().gather([item(xml), item(xml)].into(), 0);
            assert_eq!(gathered.stanzas, 2, "{xml}");
        }
    }
}
