//! What a session with stream management has been sent and has not acknowledged (XEP-0198 §4).

use std::collections::VecDeque;
use std::sync::Arc;

use super::{Item, Stored};
use crate::clock::Clock;

/// Entries in the order in which they were sent; marks stand behind the messages they speak of.
pub(super) struct Unacked {
    clock: Arc<dyn Clock>,
    /// Stanzas acknowledged since stream management is on.
    acked: u64,
    /// Stanzas among the entries.
    stanzas: u64,
    items: VecDeque<Item>,
}

/// The client acknowledged more than it was sent (§6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooHigh {
    /// What it was sent, modulo 2³².
    pub sent: u32,
}

impl Unacked {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, acked: 0, stanzas: 0, items: VecDeque::new() }
    }

    pub(super) fn now_ms(&self) -> i64 {
        self.clock.unix_ms()
    }

    /// Nothing, of which so many stanzas are acknowledged.
    pub(super) fn begin_at(&mut self, acked: u64) {
        self.acked = acked;
        self.stanzas = 0;
        self.items.clear();
    }

    /// Stanzas acknowledged so far.
    pub(super) const fn acked(&self) -> u64 {
        self.acked
    }

    /// Stanzas sent so far.
    pub(super) const fn taken(&self) -> u64 {
        self.acked + self.stanzas
    }

    /// Notes that an entry was sent.
    pub(super) fn push(&mut self, item: Item) {
        if matches!(item, Item::Stanza(..)) {
            self.stanzas += 1;
        }
        if self.items.capacity() == 0 {
            // Few stanzas wait for most clients, often one: no room for four.
            self.items.reserve_exact(1);
        }
        self.items.push_back(item);
    }

    /// Forgets what the client has handled; `h` counts modulo 2³². Returns the bytes that are free
    /// again and the marks that have been passed. A count that stands before an earlier one says
    /// nothing new.
    pub(super) fn acknowledge(&mut self, h: u32) -> Result<(usize, Vec<Stored>), TooHigh> {
        let newly = u64::from(h.wrapping_sub(wrapped(self.acked)));
        if newly > self.stanzas {
            // Half the numbers stand behind the present one, as with any counter that wraps; none of
            // them stands before the first stanza.
            let since = (1 << 32) - newly;
            if since <= u64::from(u32::MAX / 2) && since <= self.acked {
                return Ok((0, Vec::new()));
            }
            return Err(TooHigh { sent: wrapped(self.acked + self.stanzas) });
        }
        let (mut bytes, mut marks, mut left) = (0, Vec::new(), newly);
        while let Some(item) = self.items.front() {
            match item {
                Item::Stanza(stanza, ..) if left > 0 => {
                    bytes += stanza.bytes_len();
                    left -= 1;
                    self.items.pop_front();
                }
                Item::Stanza(..) => break,
                Item::Stored(_) => {
                    if let Some(Item::Stored(stored)) = self.items.pop_front() {
                        marks.push(stored);
                    }
                }
            }
        }
        if self.items.is_empty() {
            // An idle session keeps no queue.
            self.items = VecDeque::new();
        }
        self.acked += newly;
        self.stanzas -= newly;
        Ok((bytes, marks))
    }

    /// Stanzas sent since stream management is on.
    pub(super) const fn sent(&self) -> u64 {
        self.acked + self.stanzas
    }

    /// Takes everything, to be sent again.
    pub(super) fn take(&mut self) -> VecDeque<Item> {
        self.stanzas = 0;
        std::mem::take(&mut self.items)
    }

    pub(super) fn len(&self) -> usize {
        self.items.len()
    }
}

/// A count as it is written: it starts again behind 2³² − 1 (§4).
const fn wrapped(count: u64) -> u32 {
    (count & 0xFFFF_FFFF) as u32
}

#[cfg(test)]
mod tests {
    use stentor_stanza::{Head, Kind, MessageType, Stanza};

    use super::super::Fate;
    use super::*;

    struct Noon;

    impl Clock for Noon {
        fn unix_ms(&self) -> i64 {
            12
        }
    }

    fn item() -> Item {
        Item::Stanza(
            Stanza::empty(Head::new(Kind::Message(MessageType::Chat))),
            Fate::Reroute,
            None,
        )
    }

    fn mark(id: u64) -> Stored {
        Stored { ids: vec![id], bytes: 1 }
    }

    #[test]
    fn acknowledged_entries_go_and_marks_behind_them() {
        let mut unacked = Unacked::new(Arc::new(Noon));
        unacked.push(item());
        unacked.push(Item::Stored(mark(1)));
        unacked.push(item());
        unacked.push(Item::Stored(mark(2)));
        assert_eq!(unacked.acknowledge(0).unwrap().1, []);
        assert_eq!(unacked.acknowledge(1).unwrap().1, [mark(1)]);
        assert_eq!(unacked.acknowledge(1).unwrap().1, []);
        assert_eq!(unacked.acknowledge(3), Err(TooHigh { sent: 2 }));
        assert_eq!(unacked.acknowledge(0).unwrap().1, [], "an older count says nothing new");
        assert_eq!(unacked.acknowledge(2).unwrap().1, [mark(2)]);
        assert_eq!(unacked.len(), 0);
    }

    #[test]
    fn no_count_stands_before_the_first_stanza() {
        let mut unacked = Unacked::new(Arc::new(Noon));
        unacked.push(item());
        assert_eq!(unacked.acknowledge(u32::MAX), Err(TooHigh { sent: 1 }));
        unacked.acknowledge(1).unwrap();
        assert_eq!(unacked.acknowledge(u32::MAX), Err(TooHigh { sent: 1 }));
        assert!(unacked.acknowledge(0).is_ok());
    }

    #[test]
    fn counts_wrap() {
        let mut unacked = Unacked { acked: (1 << 32) - 2, ..Unacked::new(Arc::new(Noon)) };
        for _ in 0..4 {
            unacked.push(item());
        }
        assert!(unacked.acknowledge(u32::MAX - 1).is_ok());
        assert_eq!(unacked.len(), 4);
        assert!(unacked.acknowledge(u32::MAX).is_ok());
        assert_eq!(unacked.len(), 3);
        assert_eq!(unacked.acknowledge(3), Err(TooHigh { sent: 2 }));
        assert!(unacked.acknowledge(0).is_ok());
        assert_eq!(unacked.len(), 2);
        assert!(unacked.acknowledge(2).is_ok());
        assert_eq!(unacked.len(), 0);
    }
}
