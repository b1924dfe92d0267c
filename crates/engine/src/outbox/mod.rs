//! The byte-counted queue in front of one session: the only way in.

mod durable;
mod fate;
mod hold;
mod latest;
mod managed;
mod parked;
mod unacked;

use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::{Context, Poll, Waker};

use parking_lot::{Mutex, MutexGuard};
use stentor_stanza::Stanza;
use stentor_store::Write;

pub(crate) use self::durable::{Former, Place};
pub(crate) use self::fate::Loss;
pub use self::fate::{Copies, Fate};
use self::hold::Hold;
pub use self::hold::Saved;
use self::managed::Managed;
use self::parked::Parked;
pub use self::unacked::TooHigh;
use crate::limits::{OUTBOX_HARD_BYTES, OUTBOX_HARD_ITEMS, OUTBOX_SOFT_BYTES};

/// What waits for a session, in order, bounded by bytes and by count.
#[derive(Default)]
pub struct Outbox(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    queue: VecDeque<Item>,
    bytes: usize,
    waker: Option<Waker>,
    close: Option<Close>,
    /// Something else than an entry is to be looked at.
    is_woken: bool,
    /// Whether nobody takes anything for now.
    is_parked: bool,
    /// What only some clients ask for.
    asked: Option<Box<Asked>>,
}

#[derive(Default)]
struct Asked {
    /// Once stream management is on (XEP-0198).
    managed: Option<Managed>,
    /// What waits, while nobody looks at the client (XEP-0352).
    hold: Option<Box<Hold>>,
}

/// One entry of an outbox.
#[derive(Clone, Debug)]
pub enum Item {
    /// A stanza to write.
    Stanza(Stanza, Fate, Since),
    /// Stored messages stand before this entry: once they are on the wire they may leave the
    /// store.
    Stored(Stored),
}

/// Which stored messages a mark speaks of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// Their ids in the store, growing; no others may leave it, for another session may hold them.
    pub ids: Vec<u64>,
    /// Their bytes in the store.
    pub bytes: u64,
}

impl Item {
    const fn is_stanza(&self) -> bool {
        matches!(self, Self::Stanza(..))
    }

    /// Bytes of memory that count; a mark has none.
    fn bytes_len(&self) -> usize {
        match self {
            Self::Stanza(stanza, ..) => stanza.bytes_len(),
            Self::Stored(_) => 0,
        }
    }
}

/// When a stanza was queued, in milliseconds since 1970; none where nobody may ever ask, which is
/// without stream management.
pub type Since = Option<i64>;

/// What an acknowledgement brings.
#[derive(Debug, Default)]
pub(crate) struct Acknowledged {
    /// Marks of stored messages that the client has.
    pub(crate) marks: Vec<Stored>,
    /// What is to be written.
    pub(crate) write: Option<Write>,
}

/// Why the engine asks a session to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Close {
    /// Another stream bound the same resource (RFC 6120 §7.7.2.2).
    Conflict,
    /// The account is gone.
    Deleted,
    /// The account is suspended.
    Suspended,
    /// What it signed in with is good no more: the password was changed, or the client's access
    /// was taken back.
    Revoked,
    /// The peer reads too slowly.
    Overflow,
    /// The domain is served no longer (RFC 6120 §4.9.3.5).
    HostGone,
    /// The server stops.
    Shutdown,
}

/// How full an outbox is after a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pressure {
    /// There is room.
    Low,
    /// The sender should pause.
    High,
    /// The session is ending; nothing was queued.
    Gone,
}

impl Outbox {
    /// Queues a stanza. A queue beyond its hard bounds ends its session; what is in it is routed
    /// again then, so nothing is lost. Until it has ended it takes as much again: what was stored
    /// meanwhile would overtake what waits.
    pub fn push(&self, stanza: Stanza, fate: Fate) -> Pressure {
        let bytes = stanza.bytes_len();
        Self::put_stanza(self.0.lock(), stanza, fate, bytes, false).0
    }

    /// Queues a stanza that is to outlive the process if the session does: then it has a place in
    /// the store, which the caller writes, and stays here until [`Outbox::release`].
    pub(crate) fn push_kept(&self, stanza: Stanza, fate: Fate) -> (Pressure, Option<Place>) {
        let bytes = stanza.bytes_len();
        Self::put_stanza(self.0.lock(), stanza, fate, bytes, true)
    }

    fn put_stanza(
        inner: MutexGuard<'_, Inner>,
        stanza: Stanza,
        fate: Fate,
        bytes: usize,
        is_kept: bool,
    ) -> (Pressure, Option<Place>) {
        let since = inner.managed().map(|managed| managed.unacked.now_ms());
        Self::put(inner, Item::Stanza(stanza, fate, since), bytes, is_kept)
    }

    /// Queues the mark that these stored messages stand before it.
    pub fn push_mark(&self, stored: Stored) -> Pressure {
        Self::put(self.0.lock(), Item::Stored(stored), 0, false).0
    }

    fn put(
        mut inner: MutexGuard<'_, Inner>,
        item: Item,
        bytes: usize,
        is_kept: bool,
    ) -> (Pressure, Option<Place>) {
        let (pressure, place, waker) = {
            let inner = &mut *inner;
            if inner.takes_nothing() {
                return (Pressure::Gone, None);
            }
            // What is kept has its place now.
            let may_wait = !is_kept && inner.hold_mut().is_some() && Hold::takes(&item);
            let place = if may_wait {
                if inner.hold_back(item) {
                    return (Pressure::Low, None);
                }
                None
            } else {
                inner.let_go();
                inner.enqueue(item, bytes, is_kept)
            };
            // Where nobody takes anything, waiting a little helps nobody.
            let high = inner.bytes > OUTBOX_SOFT_BYTES && !inner.is_parked;
            (if high { Pressure::High } else { Pressure::Low }, place, inner.waker.take())
        };
        drop(inner);
        if let Some(waker) = waker {
            waker.wake();
        }
        (pressure, place)
    }

    /// Asks the session to end. The first reason given stands.
    pub fn close(&self, reason: Close) {
        let waker = {
            let mut inner = self.0.lock();
            inner.close.get_or_insert(reason);
            inner.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Why the session shall end, if it shall.
    pub fn closing(&self) -> Option<Close> {
        self.0.lock().close
    }

    /// Wakes the taker up, whatever there is to take.
    pub(crate) fn wake(&self) {
        let waker = {
            let mut inner = self.0.lock();
            inner.is_woken = true;
            inner.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Waits until the session shall end.
    pub(crate) async fn closed(&self) {
        poll_fn(|cx| {
            let mut inner = self.0.lock();
            if inner.close.is_some() {
                return Poll::Ready(());
            }
            inner.wait(cx);
            Poll::Pending
        })
        .await;
    }

    /// The session is without a stream: nobody takes anything until [`Outbox::unpark`]. What only
    /// says how things are waits apart until [`Outbox::gather`].
    pub(crate) fn park(&self) {
        let mut inner = self.0.lock();
        inner.is_parked = true;
        if let Some(managed) = inner.managed_mut() {
            managed.parked.get_or_insert_default();
        }
    }

    /// There is a stream again.
    pub(crate) fn unpark(&self) {
        self.0.lock().is_parked = false;
    }

    /// Whether the session is without a stream.
    pub(crate) fn is_parked(&self) -> bool {
        self.0.lock().is_parked
    }

    /// Asks to be woken, though there is no room for what waits.
    pub fn watch(&self, cx: &Context<'_>) {
        self.0.lock().wait(cx);
    }

    /// Ready when there is something to take or the session shall end.
    pub fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut inner = self.0.lock();
        let is_woken = std::mem::take(&mut inner.is_woken);
        if inner.poll_front(cx).is_ready() {
            return Poll::Ready(());
        }
        inner.wait(cx);
        if is_woken || inner.close.is_some() { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Takes the next entry. What is on its way to the store is not there yet.
    pub fn pop(&self) -> Option<Item> {
        let mut inner = self.0.lock();
        if !inner.may_front_leave() {
            return None;
        }
        let item = inner.queue.pop_front()?;
        match (inner.managed_mut(), &item) {
            // Its bytes are held until it is acknowledged.
            (Some(managed), item) => managed.note_taken(item),
            (None, Item::Stanza(stanza, ..)) => inner.bytes -= stanza.bytes_len(),
            (None, Item::Stored(_)) => {}
        }
        if inner.queue.is_empty() {
            // An idle session keeps no queue.
            inner.queue = VecDeque::new();
        }
        Some(item)
    }

    /// Nobody looks at the client from here on: what may wait does (XEP-0352).
    pub(crate) fn hold(&self, now_ms: i64) {
        let mut inner = self.0.lock();
        inner
            .asked
            .get_or_insert_default()
            .hold
            .get_or_insert_with(|| Box::new(Hold::since(now_ms)));
    }

    /// Since when nobody looks at the client, in milliseconds since 1970.
    pub(crate) fn held_since_ms(&self) -> Option<i64> {
        let inner = self.0.lock();
        inner.asked.as_ref()?.hold.as_deref().map(Hold::since_ms)
    }

    /// Somebody looks again: what was held leaves. Returns what need not be sent at all.
    pub(crate) fn unhold(&self) -> Saved {
        let (saved, waker) = {
            let mut inner = self.0.lock();
            inner.let_go();
            let saved = inner
                .asked
                .as_mut()
                .and_then(|asked| asked.hold.take())
                .map(|mut h| h.take_saved());
            // An empty queue has woken nobody and wakes nobody now.
            let waker = if inner.queue.is_empty() { None } else { inner.waker.take() };
            (saved.unwrap_or_default(), waker)
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        saved
    }

    /// Bytes waiting.
    pub fn bytes(&self) -> usize {
        self.0.lock().bytes
    }

    /// Closes the outbox for good and hands over what nobody took.
    pub fn drain(&self) -> VecDeque<Item> {
        let mut inner = self.0.lock();
        inner.close = inner.close.filter(|c| *c != Close::Overflow).or(Some(Close::Shutdown));
        inner.let_go();
        inner.bytes = 0;
        let managed = inner.asked.take().and_then(|asked| asked.managed);
        let Some(mut managed) = managed else { return std::mem::take(&mut inner.queue) };
        let mut items = managed.unacked.take();
        items.append(&mut inner.queue);
        items.extend(managed.parked.into_iter().flat_map(|parked| parked.into_items()));
        items
    }
}

impl Inner {
    fn takes_nothing(&self) -> bool {
        match self.close {
            None => false,
            Some(Close::Overflow) => {
                self.bytes > 2 * OUTBOX_HARD_BYTES || self.len() > 2 * OUTBOX_HARD_ITEMS
            }
            Some(_) => true,
        }
    }

    fn hold_mut(&mut self) -> Option<&mut Hold> {
        self.asked.as_mut()?.hold.as_deref_mut()
    }

    fn enqueue(&mut self, item: Item, bytes: usize, is_kept: bool) -> Option<Place> {
        self.bytes += bytes;
        let item = if is_kept { item } else { self.park_item(item)? };
        let place = match (self.durable_mut(), &item) {
            (Some(durable), Item::Stanza(stanza, ..)) => durable.note(stanza, is_kept),
            _ => None,
        };
        if let Some(managed) = self.managed_mut() {
            managed.note_queued(&item);
        }
        self.queue.push_back(item);
        self.keep_bounds();
        place
    }

    /// What may wait apart while there is no stream does; all else is returned.
    fn park_item(&mut self, item: Item) -> Option<Item> {
        match self.managed_mut().and_then(|managed| managed.parked.as_mut()) {
            Some(parked) if Parked::takes(&item) => {
                let freed = parked.push(item);
                self.bytes -= freed;
                self.keep_bounds();
                None
            }
            _ => Some(item),
        }
    }

    fn keep_bounds(&mut self) {
        if self.bytes > OUTBOX_HARD_BYTES || self.len() > OUTBOX_HARD_ITEMS {
            self.close = Some(Close::Overflow);
        }
    }

    /// Whether the entry waits; if not, all that waited leaves with it.
    fn hold_back(&mut self, item: Item) -> bool {
        let waits = self.hold_mut().is_some_and(|hold| hold.push(item));
        if !waits {
            self.let_go();
        }
        waits
    }

    /// What was held takes its place in the queue.
    fn let_go(&mut self) {
        let Some(hold) = self.hold_mut().filter(|hold| !hold.is_empty()) else { return };
        for item in hold.take() {
            let bytes = item.bytes_len();
            self.enqueue(item, bytes, false);
        }
    }

    fn len(&self) -> usize {
        self.queue.len() + self.managed().map_or(0, Managed::len)
    }

    /// The number of the stanza that was taken last.
    fn taken(&self) -> u64 {
        self.managed().map_or(0, |managed| managed.unacked.taken())
    }

    /// Whether there is a first entry that may leave; if not, the task is woken once it may.
    fn poll_front(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let next = self.taken() + 1;
        let asked = self.asked.as_mut();
        let durable = asked.and_then(|asked| asked.managed.as_mut()?.durable.as_mut());
        match (self.queue.front(), durable) {
            (None, _) => Poll::Pending,
            (Some(Item::Stanza(..)), Some(durable)) => durable.poll_gate(next, cx),
            (Some(_), _) => Poll::Ready(()),
        }
    }

    fn may_front_leave(&mut self) -> bool {
        let next = self.taken() + 1;
        let asked = self.asked.as_mut();
        let durable = asked.and_then(|asked| asked.managed.as_mut()?.durable.as_mut());
        match (self.queue.front(), durable) {
            (Some(Item::Stanza(..)), Some(durable)) => durable.may_leave(next),
            _ => true,
        }
    }

    fn wait(&mut self, cx: &Context<'_>) {
        match &mut self.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use stentor_stanza::{Head, Kind, MessageType};

    use super::*;

    fn message(bytes: usize) -> Stanza {
        Stanza::build(Head::new(Kind::Message(MessageType::Chat)), |w| {
            w.text_element("body", stentor_xml::ns::CLIENT, &"x".repeat(bytes));
        })
    }

    #[test]
    fn counts_bytes_in_and_out() {
        let outbox = Outbox::default();
        assert_eq!(outbox.push(message(10), Fate::Reroute), Pressure::Low);
        assert!(outbox.bytes() > 10);
        assert!(matches!(outbox.pop(), Some(Item::Stanza(_, Fate::Reroute, None))));
        assert_eq!(outbox.bytes(), 0);
    }

    #[test]
    fn slows_senders_and_then_ends_the_session_without_losing_anything() {
        let outbox = Outbox::default();
        let mut pushed = 0;
        let mut slowed = false;
        loop {
            match outbox.push(message(60_000), Fate::Reroute) {
                Pressure::Gone => break,
                Pressure::High => slowed = true,
                Pressure::Low => assert!(!slowed),
            }
            pushed += 1;
        }
        assert!(slowed);
        assert_eq!(outbox.closing(), Some(Close::Overflow));
        assert!(outbox.bytes() <= 2 * OUTBOX_HARD_BYTES + 61_000);
        assert_eq!(outbox.drain().len(), pushed);
        assert_eq!(outbox.push(message(1), Fate::Reroute), Pressure::Gone, "it has ended");
    }

    #[test]
    fn a_session_without_a_stream_slows_nobody_and_is_bounded_all_the_same() {
        let outbox = Outbox::default();
        outbox.park();
        while outbox.closing().is_none() {
            assert_eq!(outbox.push(message(60_000), Fate::Reroute), Pressure::Low);
        }
        assert!(outbox.bytes() > OUTBOX_HARD_BYTES);
        while outbox.push(message(60_000), Fate::Reroute) != Pressure::Gone {}
        assert!(outbox.bytes() <= 2 * OUTBOX_HARD_BYTES + 61_000);
    }

    #[test]
    fn the_first_reason_to_close_stands() {
        let outbox = Outbox::default();
        outbox.close(Close::Conflict);
        outbox.close(Close::Shutdown);
        assert_eq!(outbox.closing(), Some(Close::Conflict));
        assert_eq!(outbox.push(message(1), Fate::Forget), Pressure::Gone);
    }
}
