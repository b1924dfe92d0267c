//! What waits for one domain pair: bounded, in order, with one taker; and what a taker has sent and
//! has no word of yet.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use hashbrown::HashSet;
use parking_lot::Mutex;
use stentor_engine::Pressure;
use stentor_stanza::Stanza;
use stentor_store::{Write, Writer};
use stentor_stream::Millis;

use super::waiting::Waiting;
use crate::limits::{
    S2S_QUEUE_BYTES_MAX, S2S_QUEUE_BYTES_SOFT, S2S_QUEUE_ITEMS_MAX, S2S_UNACKED_MAX,
    S2S_WAITING_BYTES_MAX,
};

/// Stanzas for another domain.
#[derive(Default)]
pub(crate) struct Queue {
    inner: Mutex<Inner>,
    all: Arc<All>,
}

/// What all queues have in common.
#[derive(Default)]
pub(crate) struct All {
    bytes: AtomicUsize,
    /// Stanzas that are in the store as well.
    kept: AtomicUsize,
    /// Drops these from the store.
    store: Option<Writer>,
}

/// A stanza that left, and by whom.
struct Sent {
    taker: u64,
    /// Where it ends, in what its taker counts: stanzas, or bytes where none are acknowledged.
    mark: u64,
    waiting: Waiting,
}

/// What is known of stanzas that left and were not acknowledged, when their stream is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Doubt {
    /// None of them arrived: the peer, or the socket, has said how far it came.
    None,
    /// Some may have arrived.
    Arrived,
    /// So may they here, and one of them may be why the peer ended the stream by an error.
    Blamed,
}

#[derive(Default)]
struct Inner {
    items: VecDeque<Waiting>,
    /// What left and may have to leave again, in the order of each taker.
    sent: VecDeque<Sent>,
    bytes: usize,
    /// Numbers of those that are gone and still in the store.
    arrived: Vec<u64>,
    waker: Option<Waker>,
}

impl Queue {
    /// An empty queue.
    pub(crate) fn new(all: Arc<All>) -> Self {
        Self { inner: Mutex::default(), all }
    }

    /// Queues a stanza; none if there is no room.
    pub(crate) fn push(&self, waiting: Waiting) -> Option<Pressure> {
        let (pressure, waker) = {
            let mut inner = self.inner.lock();
            let bytes = waiting.stanza.bytes_len();
            let total = self.all.bytes.load(Ordering::Relaxed);
            let is_full = inner.items.len() + inner.sent.len() >= S2S_QUEUE_ITEMS_MAX
                || inner.bytes.saturating_add(bytes) > S2S_QUEUE_BYTES_MAX
                || total.saturating_add(bytes) > S2S_WAITING_BYTES_MAX;
            if is_full {
                return None;
            }
            inner.bytes += bytes;
            self.all.bytes.fetch_add(bytes, Ordering::Relaxed);
            self.all.kept.fetch_add(usize::from(waiting.kept.is_some()), Ordering::Relaxed);
            inner.items.push_back(waiting);
            let is_high = inner.bytes > S2S_QUEUE_BYTES_SOFT;
            let pressure = if is_high { Pressure::High } else { Pressure::Low };
            (pressure, inner.waker.take())
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        Some(pressure)
    }

    /// Takes the next stanza, unless the taker must hear of what it has sent first: one that may
    /// have ended a stream goes alone. It still counts until [`Queue::note_sent`] and
    /// [`Queue::acked`], or [`Queue::forget`].
    pub(crate) fn pop(&self, taker: u64) -> Option<Waiting> {
        let mut inner = self.inner.lock();
        if !inner.may_leave(taker) {
            return None;
        }
        let waiting = inner.items.pop_front();
        if inner.items.is_empty() {
            inner.items = VecDeque::new();
        }
        waiting
    }

    /// Puts back what was taken and could not be sent.
    pub(crate) fn unpop(&self, waiting: Waiting) {
        self.inner.lock().items.push_front(waiting);
    }

    /// Notes that what was taken has left, up to this mark.
    pub(crate) fn note_sent(&self, taker: u64, mark: u64, waiting: Waiting) {
        self.inner.lock().sent.push_back(Sent { taker, mark, waiting });
    }

    /// Forgets what was taken and goes nowhere.
    pub(crate) fn forget(&self, waiting: &Waiting) {
        self.inner.lock().uncount(waiting, &self.all);
        self.drop_arrived();
    }

    /// Forgets what has arrived: all of this taker's up to the mark.
    pub(crate) fn acked(&self, taker: u64, mark: u64) {
        self.inner.lock().acked(taker, mark, &self.all);
        self.drop_arrived();
    }

    /// As [`Queue::acked`] where nobody knows what has arrived: messages, and changes of
    /// subscriptions, rather come twice than not at all.
    pub(crate) fn acked_but_messages(&self, taker: u64, mark: u64) {
        {
            let mut inner = self.inner.lock();
            for sent in std::mem::take(&mut inner.sent) {
                let has_left = sent.taker == taker && sent.mark <= mark;
                if has_left && !sent.waiting.may_come_twice() {
                    inner.uncount(&sent.waiting, &self.all);
                } else {
                    inner.sent.push_back(sent);
                }
            }
        }
        self.drop_arrived();
    }

    /// The taker counts from nothing again: what it has sent comes before all that it will count.
    pub(crate) fn count_anew(&self, taker: u64) {
        let mut inner = self.inner.lock();
        let mine = inner.sent.iter_mut().filter(|sent| sent.taker == taker);
        mine.for_each(|sent| sent.mark = 0);
    }

    /// What this taker sent and has no word of.
    pub(crate) fn unacked(&self, taker: u64) -> usize {
        self.inner.lock().unacked(taker)
    }

    /// Puts what the taker has no word of back in front, in its order. What may have arrived comes
    /// twice then, which for presence would bring back what is not so any more: of that only the
    /// latest of each sender for each recipient stays. After an error of the peer's each of them is
    /// suspect; one that left alone and was suspect before is what the peer does not bear: it is the
    /// answer.
    pub(crate) fn restore(&self, taker: u64, doubt: Doubt) -> Option<Stanza> {
        let guilty = self.inner.lock().restore(taker, doubt, &self.all);
        self.drop_arrived();
        guilty
    }

    /// Takes what does not stay.
    pub(crate) fn drain(&self, mut stays: impl FnMut(&Waiting) -> bool) -> Vec<Stanza> {
        let mut gone = Vec::new();
        {
            let mut inner = self.inner.lock();
            for waiting in std::mem::take(&mut inner.items) {
                if stays(&waiting) {
                    inner.items.push_back(waiting);
                } else {
                    inner.uncount(&waiting, &self.all);
                    gone.push(waiting.stanza);
                }
            }
        }
        self.drop_arrived();
        gone
    }

    /// Forgets availability that something newer says anew: after a while without a way only how
    /// somebody is counts.
    pub(crate) fn forget_outdated(&self) {
        let mut inner = self.inner.lock();
        let items = std::mem::take(&mut inner.items);
        let mut shown = HashSet::new();
        let newest_first = items.iter().rev().map(|waiting| waiting.shows());
        let outdated: Vec<bool> =
            newest_first.map(|key| key.is_some_and(|key| !shown.insert(key))).collect();
        drop(shown);
        for (waiting, is_outdated) in items.into_iter().zip(outdated.into_iter().rev()) {
            if is_outdated {
                inner.uncount(&waiting, &self.all);
            } else {
                inner.items.push_back(waiting);
            }
        }
    }

    /// The first of the times until which all this waits, for a stream or for a word of it.
    pub(crate) fn first(&self, until: impl Fn(&Waiting) -> Millis) -> Option<Millis> {
        let inner = self.inner.lock();
        let sent = inner.sent.iter().map(|sent| &sent.waiting);
        inner.items.iter().chain(sent).map(until).min()
    }

    /// Drops from the store what is gone from here, in one write.
    fn drop_arrived(&self) {
        let numbers = std::mem::take(&mut self.inner.lock().arrived);
        if let (Some(store), false) = (&self.all.store, numbers.is_empty()) {
            // If it fails, it is sent once more after a restart.
            drop(store.submit(Write::DropUnderway { numbers }));
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.inner.lock().items.is_empty()
    }

    /// How many stanzas wait, for a stream or for a word of it, and how many bytes that are.
    pub(crate) fn size(&self) -> (usize, usize) {
        let inner = self.inner.lock();
        (inner.items.len() + inner.sent.len(), inner.bytes)
    }

    /// Since when the oldest waits, for a stream or for a word of it.
    pub(crate) fn oldest(&self) -> Option<Millis> {
        let inner = self.inner.lock();
        let sent = inner.sent.front().map(|sent| sent.waiting.since);
        inner.items.front().map(|waiting| waiting.since).into_iter().chain(sent).min()
    }

    /// Ready when something waits that this taker may send. Only the latest taker is woken.
    pub(crate) fn poll_ready(&self, taker: u64, cx: &mut Context<'_>) -> Poll<()> {
        let mut inner = self.inner.lock();
        if inner.may_leave(taker) {
            return Poll::Ready(());
        }
        match &mut inner.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }
}

impl All {
    /// Nothing waits yet; `store` is where stanzas are kept.
    pub(crate) fn new(store: Writer) -> Self {
        Self { store: Some(store), ..Self::default() }
    }

    /// Bytes in all queues together.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Stanzas in all queues that are in the store as well.
    pub(crate) fn kept(&self) -> usize {
        self.kept.load(Ordering::Relaxed)
    }
}

impl Inner {
    /// How much a taker has no word of.
    fn unacked(&self, taker: u64) -> usize {
        let is_mine = |sent: Option<&Sent>| sent.is_some_and(|sent| sent.taker == taker);
        if is_mine(self.sent.front()) && is_mine(self.sent.back()) {
            return self.sent.len();
        }
        self.sent.iter().filter(|sent| sent.taker == taker).count()
    }

    /// Whether something waits and this taker may send it: what may have ended a stream goes alone.
    fn may_leave(&self, taker: u64) -> bool {
        let Some(next) = self.items.front() else { return false };
        let is_behind_suspect =
            self.sent.back().is_some_and(|sent| sent.taker == taker && sent.waiting.is_suspect);
        let unacked = self.unacked(taker);
        let is_apart = next.is_suspect || is_behind_suspect;
        unacked < S2S_UNACKED_MAX && (!is_apart || unacked == 0)
    }

    fn acked(&mut self, taker: u64, mark: u64, all: &All) {
        // As a rule there is one taker only, and then this is the front.
        let first = self.sent.iter().position(|sent| sent.taker == taker);
        let Some(first) = first else { return };
        while self.sent.get(first).is_some_and(|s| s.taker == taker && s.mark <= mark) {
            if let Some(sent) = self.sent.remove(first) {
                self.uncount(&sent.waiting, all);
            }
        }
        if self.sent.is_empty() {
            self.sent = VecDeque::new();
        }
    }

    fn restore(&mut self, taker: u64, doubt: Doubt, all: &All) -> Option<Stanza> {
        let (mine, others): (VecDeque<Sent>, VecDeque<Sent>) =
            std::mem::take(&mut self.sent).into_iter().partition(|sent| sent.taker == taker);
        self.sent = others;
        let is_blamed = doubt == Doubt::Blamed;
        if let (1, true, Some(Sent { waiting, .. })) = (mine.len(), is_blamed, mine.front())
            && waiting.is_suspect
        {
            self.uncount(waiting, all);
            return Some(waiting.stanza.clone());
        }
        let outdated = if doubt == Doubt::None { Vec::new() } else { self.outdated(&mine) };
        let mut outdated = outdated.into_iter();
        for Sent { mut waiting, .. } in mine.into_iter().rev() {
            if outdated.next() == Some(true) {
                self.uncount(&waiting, all);
                continue;
            }
            waiting.is_suspect |= is_blamed;
            self.items.push_front(waiting);
        }
        None
    }

    /// Which of these, from the last to the first, say of somebody what something newer says anew.
    /// All that is in the queue is newer.
    fn outdated(&self, mine: &VecDeque<Sent>) -> Vec<bool> {
        let others = self.sent.iter().map(|sent| &sent.waiting);
        let newer = self.items.iter().chain(others);
        let mut shown: HashSet<_> = newer.filter_map(|waiting| waiting.shows()).collect();
        let mine = mine.iter().rev().map(|sent| &sent.waiting);
        mine.map(|waiting| waiting.shows().is_some_and(|shown_to| !shown.insert(shown_to)))
            .collect()
    }

    fn uncount(&mut self, waiting: &Waiting, all: &All) {
        let bytes = waiting.stanza.bytes_len();
        self.bytes = self.bytes.saturating_sub(bytes);
        all.bytes.fetch_sub(bytes, Ordering::Relaxed);
        if let Some(number) = waiting.kept {
            all.kept.fetch_sub(1, Ordering::Relaxed);
            self.arrived.push(number);
        }
    }
}

#[cfg(test)]
mod tests {
    use stentor_engine::Kept;
    use stentor_jid::Jid;
    use stentor_stanza::{Head, Kind, MessageType, PresenceType};

    use super::*;

    fn waiting(stanza: Stanza) -> Waiting {
        Waiting::new(stanza, None, Millis(0), 0)
    }

    #[test]
    fn is_bounded_and_keeps_the_order() {
        let queue = Queue::default();
        let stanza =
            |n: usize| Stanza::empty(Head::new(Kind::Message(MessageType::Chat)).id(n.to_string()));
        let mut pushed = 0;
        while queue.push(waiting(stanza(pushed))).is_some() {
            pushed += 1;
        }
        assert!(pushed <= S2S_QUEUE_ITEMS_MAX);
        let first = queue.pop(1).unwrap();
        assert_eq!(first.stanza.head.id.as_deref(), Some("0"));
        queue.unpop(first);
        let odd = |w: &Waiting| w.stanza.head.id.as_deref().is_some_and(|id| id.ends_with('1'));
        let rest = queue.drain(odd);
        assert_eq!(rest.len(), pushed - pushed / 10);
        assert_eq!(rest[0].head.id.as_deref(), Some("0"));
        assert_eq!(queue.drain(|_| false).len(), pushed / 10);
        assert!(queue.is_empty());
        assert_eq!(queue.all.bytes(), 0);
    }

    #[test]
    fn all_queues_together_are_bounded() {
        let queue = Queue::default();
        queue.all.bytes.store(S2S_WAITING_BYTES_MAX - 1, Ordering::Relaxed);
        let stanza = Stanza::empty(Head::new(Kind::Message(MessageType::Chat)));
        assert!(queue.push(waiting(stanza)).is_none());
    }

    fn filled(count: usize) -> Queue {
        let queue = Queue::default();
        for n in 0..count {
            let head = Head::new(Kind::Message(MessageType::Chat)).id(n.to_string());
            queue.push(waiting(Stanza::empty(head))).unwrap();
        }
        queue
    }

    fn send_all(queue: &Queue, taker: u64, mut mark: u64) -> Vec<String> {
        let mut ids = Vec::new();
        while let Some(waiting) = queue.pop(taker) {
            mark += 1;
            ids.push(waiting.stanza.head.id.as_deref().unwrap_or_default().to_owned());
            queue.note_sent(taker, mark, waiting);
        }
        ids
    }

    #[test]
    fn what_left_is_sent_again_in_order_until_it_has_arrived() {
        let queue = filled(5);
        assert_eq!(send_all(&queue, 1, 0), ["0", "1", "2", "3", "4"]);
        queue.acked(1, 2);
        queue.acked(7, 5);
        assert_eq!((queue.unacked(1), queue.unacked(7)), (3, 0));
        let stanza = Stanza::empty(Head::new(Kind::Message(MessageType::Chat)).id("new"));
        queue.push(waiting(stanza)).unwrap();
        assert!(queue.restore(1, Doubt::Arrived).is_none());
        assert_eq!(send_all(&queue, 2, 0), ["2", "3", "4", "new"]);
        queue.acked(2, 4);
        assert_eq!(queue.all.bytes(), 0);
    }

    #[test]
    fn what_left_before_the_peer_counted_is_there_once_it_says_anything() {
        let queue = filled(3);
        queue.note_sent(1, 700, queue.pop(1).unwrap());
        queue.note_sent(1, 900, queue.pop(1).unwrap());
        queue.count_anew(1);
        queue.note_sent(1, 1, queue.pop(1).unwrap());
        assert_eq!(queue.unacked(1), 3);
        queue.acked(1, 0);
        assert_eq!(queue.unacked(1), 1);
        queue.restore(1, Doubt::Arrived);
        assert_eq!(send_all(&queue, 2, 0), ["2"]);
    }

    #[test]
    fn no_more_leaves_than_may_be_lost() {
        let queue = filled(S2S_UNACKED_MAX + 10);
        assert_eq!(send_all(&queue, 1, 0).len(), S2S_UNACKED_MAX);
        queue.acked(1, 4);
        assert_eq!(send_all(&queue, 1, S2S_UNACKED_MAX as u64).len(), 4);
    }

    #[test]
    fn what_the_peer_does_not_bear_is_found_by_sending_each_alone() {
        let queue = filled(3);
        send_all(&queue, 1, 0);
        assert!(queue.restore(1, Doubt::Blamed).is_none(), "any of them may be it");
        assert_eq!(send_all(&queue, 1, 0), ["0"], "alone");
        queue.acked(1, 1);
        assert_eq!(send_all(&queue, 1, 1), ["1"]);
        let guilty = queue.restore(1, Doubt::Blamed).unwrap();
        assert_eq!(guilty.head.id.as_deref(), Some("1"));
        assert_eq!(send_all(&queue, 1, 0), ["2"]);
    }

    /// A stanza of `a` for `to`; its id is what it says.
    fn presence(kind: PresenceType, to: &str, id: &str) -> Stanza {
        let jid = |jid: &str| Jid::new(jid).unwrap();
        let head = Head::new(Kind::Presence(kind)).from(jid("a@one.example/x")).to(jid(to)).id(id);
        Stanza::empty(head)
    }

    /// What leaves again after eight stanzas left and two more came.
    fn left_again(doubt: Doubt) -> Vec<String> {
        use PresenceType::{Available, Subscribe, Unavailable};
        let queue = Queue::default();
        let (b, c) = ("b@two.example", "c@two.example");
        let message = Stanza::empty(Head::new(Kind::Message(MessageType::Chat)).id("message"));
        let push = |stanza| queue.push(waiting(stanza)).unwrap();
        push(presence(Available, b, "b away"));
        push(presence(Available, c, "c away"));
        push(message);
        push(presence(Subscribe, b, "b asks"));
        push(presence(Subscribe, b, "b asks again"));
        push(presence(Unavailable, c, "c gone"));
        push(presence(Available, b, "b back"));
        push(presence(Available, "b@two.example/y", "b/y back"));
        send_all(&queue, 1, 0);
        push(presence(Available, b, "b busy"));
        push(presence(Available, b, "b still busy"));
        assert!(queue.restore(1, doubt).is_none());
        let again = send_all(&queue, 2, 0);
        queue.acked(2, u64::MAX);
        assert_eq!(queue.all.bytes(), 0);
        again
    }

    #[test]
    fn presence_that_may_have_arrived_leaves_again_only_if_it_is_still_so() {
        let rest = ["message", "b asks", "b asks again", "c gone", "b/y back"];
        // What has not left yet is no repetition.
        let new = ["b busy", "b still busy"];
        assert_eq!(left_again(Doubt::Arrived), [&rest[..], &new].concat());
        let all = ["b away", "c away", "message", "b asks", "b asks again", "c gone", "b back"];
        assert_eq!(left_again(Doubt::None), [&all[..], &["b/y back"], &new].concat());
    }

    #[test]
    fn after_a_while_only_how_somebody_is_waits() {
        use PresenceType::{Available, Unavailable};
        let queue = Queue::default();
        let (b, c) = ("b@two.example", "c@two.example");
        let push = |stanza| queue.push(waiting(stanza)).unwrap();
        push(presence(Available, b, "b away"));
        push(presence(Available, c, "c away"));
        push(Stanza::empty(Head::new(Kind::Message(MessageType::Chat)).id("message")));
        push(presence(Unavailable, b, "b gone"));
        push(presence(Available, b, "b back"));
        queue.forget_outdated();
        assert_eq!(send_all(&queue, 1, 0), ["c away", "message", "b back"]);
        queue.acked(1, 3);
        assert_eq!(queue.all.bytes(), 0);
    }

    #[test]
    fn what_is_kept_leaves_the_store_once_it_is_gone_and_not_before() {
        let queue = Queue::default();
        for number in 1..=5 {
            let head = Head::new(Kind::Message(MessageType::Chat)).id(number.to_string());
            let kept = Some(Kept { number, since_ms: 0 });
            queue.push(Waiting::new(Stanza::empty(head), kept, Millis(0), 0)).unwrap();
        }
        // Without a writer what should leave the store stays where it is seen.
        let arrived = || std::mem::take(&mut queue.inner.lock().arrived);
        send_all(&queue, 1, 0);
        queue.inner.lock().acked(1, 2, &queue.all);
        assert_eq!((arrived(), queue.all.kept()), (vec![1, 2], 3));
        queue.restore(1, Doubt::Arrived);
        assert_eq!((arrived(), queue.all.kept()), (vec![], 3));
        let first = queue.pop(2).unwrap();
        queue.inner.lock().uncount(&first, &queue.all);
        assert_eq!(arrived(), [3]);
        queue.restore(1, Doubt::Blamed);
        send_all(&queue, 2, 0);
        queue.restore(2, Doubt::Blamed);
        assert_eq!(send_all(&queue, 2, 0), ["4"], "alone");
        queue.inner.lock().restore(2, Doubt::Blamed, &queue.all).unwrap();
        assert_eq!((arrived(), queue.all.kept()), (vec![4], 1));
    }

    #[test]
    fn of_what_may_have_arrived_uncounted_only_messages_and_subscriptions_leave_again() {
        let queue = filled(2);
        let to = "b@two.example";
        for (kind, id) in [(PresenceType::Available, "there"), (PresenceType::Subscribe, "asks")] {
            queue.push(waiting(presence(kind, to, id))).unwrap();
        }
        queue
            .push(waiting(presence(PresenceType::Available, "c@two.example", "unwritten")))
            .unwrap();
        send_all(&queue, 1, 0);
        queue.acked_but_messages(1, 4);
        queue.restore(1, Doubt::None);
        assert_eq!(send_all(&queue, 2, 0), ["0", "1", "asks", "unwritten"]);
        queue.acked(2, 4);
        assert_eq!(queue.all.bytes(), 0);
    }
}
