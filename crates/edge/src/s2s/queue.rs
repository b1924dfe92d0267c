//! What waits for one domain pair: bounded, in order, with one taker.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;
use stentor_engine::Pressure;
use stentor_stanza::Stanza;
use stentor_stream::Millis;

use crate::limits::{
    S2S_QUEUE_BYTES_MAX, S2S_QUEUE_BYTES_SOFT, S2S_QUEUE_ITEMS_MAX, S2S_WAITING_BYTES_MAX,
};

/// Stanzas for another domain.
#[derive(Default)]
pub(crate) struct Queue {
    inner: Mutex<Inner>,
    /// Bytes in all queues together.
    total: Arc<AtomicUsize>,
}

/// A stanza, and since when it waits.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) stanza: Stanza,
    pub(crate) since: Millis,
}

#[derive(Default)]
struct Inner {
    items: VecDeque<Waiting>,
    bytes: usize,
    waker: Option<Waker>,
}

impl Queue {
    /// An empty queue, which counts its bytes in `total` as well.
    pub(crate) fn new(total: Arc<AtomicUsize>) -> Self {
        Self { inner: Mutex::default(), total }
    }

    /// Queues a stanza; none if there is no room.
    pub(crate) fn push(&self, stanza: Stanza, since: Millis) -> Option<Pressure> {
        let (pressure, waker) = {
            let mut inner = self.inner.lock();
            let bytes = stanza.bytes_len();
            let total = self.total.load(Ordering::Relaxed);
            let is_full = inner.items.len() >= S2S_QUEUE_ITEMS_MAX
                || inner.bytes.saturating_add(bytes) > S2S_QUEUE_BYTES_MAX
                || total.saturating_add(bytes) > S2S_WAITING_BYTES_MAX;
            if is_full {
                return None;
            }
            inner.bytes += bytes;
            self.total.fetch_add(bytes, Ordering::Relaxed);
            inner.items.push_back(Waiting { stanza, since });
            let is_high = inner.bytes > S2S_QUEUE_BYTES_SOFT;
            let pressure = if is_high { Pressure::High } else { Pressure::Low };
            (pressure, inner.waker.take())
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        Some(pressure)
    }

    /// Takes the next stanza.
    pub(crate) fn pop(&self) -> Option<Waiting> {
        let mut inner = self.inner.lock();
        let waiting = inner.items.pop_front()?;
        let bytes = waiting.stanza.bytes_len();
        inner.bytes -= bytes;
        self.total.fetch_sub(bytes, Ordering::Relaxed);
        if inner.items.is_empty() {
            inner.items = VecDeque::new();
        }
        Some(waiting)
    }

    /// Puts back what was taken and could not be sent.
    pub(crate) fn unpop(&self, waiting: Waiting) {
        let mut inner = self.inner.lock();
        let bytes = waiting.stanza.bytes_len();
        inner.bytes += bytes;
        self.total.fetch_add(bytes, Ordering::Relaxed);
        inner.items.push_front(waiting);
    }

    /// Takes what does not stay.
    pub(crate) fn drain(&self, mut stays: impl FnMut(&Waiting) -> bool) -> Vec<Stanza> {
        let mut inner = self.inner.lock();
        let mut gone = Vec::new();
        for waiting in std::mem::take(&mut inner.items) {
            if stays(&waiting) {
                inner.items.push_back(waiting);
            } else {
                inner.bytes -= waiting.stanza.bytes_len();
                self.total.fetch_sub(waiting.stanza.bytes_len(), Ordering::Relaxed);
                gone.push(waiting.stanza);
            }
        }
        gone
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.inner.lock().items.is_empty()
    }

    /// Since when the oldest waits.
    pub(crate) fn oldest(&self) -> Option<Millis> {
        self.inner.lock().items.front().map(|waiting| waiting.since)
    }

    /// Ready when something waits. Only the latest taker is woken.
    pub(crate) fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut inner = self.inner.lock();
        if !inner.items.is_empty() {
            return Poll::Ready(());
        }
        match &mut inner.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use stentor_stanza::{Head, Kind, MessageType};

    use super::*;

    #[test]
    fn is_bounded_and_keeps_the_order() {
        let total = Arc::new(AtomicUsize::new(0));
        let queue = Queue::new(total.clone());
        let now = Millis(0);
        let stanza =
            |n: usize| Stanza::empty(Head::new(Kind::Message(MessageType::Chat)).id(n.to_string()));
        let mut pushed = 0;
        while queue.push(stanza(pushed), now).is_some() {
            pushed += 1;
        }
        assert!(pushed <= S2S_QUEUE_ITEMS_MAX);
        let first = queue.pop().unwrap();
        assert_eq!(first.stanza.head.id.as_deref(), Some("0"));
        queue.unpop(first);
        let odd = |w: &Waiting| w.stanza.head.id.as_deref().is_some_and(|id| id.ends_with('1'));
        let rest = queue.drain(odd);
        assert_eq!(rest.len(), pushed - pushed / 10);
        assert_eq!(rest[0].head.id.as_deref(), Some("0"));
        assert_eq!(queue.drain(|_| false).len(), pushed / 10);
        assert!(queue.is_empty());
        assert_eq!(total.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn all_queues_together_are_bounded() {
        let total = Arc::new(AtomicUsize::new(S2S_WAITING_BYTES_MAX - 1));
        let queue = Queue::new(total);
        let stanza = Stanza::empty(Head::new(Kind::Message(MessageType::Chat)));
        assert!(queue.push(stanza, Millis(0)).is_none());
    }
}
