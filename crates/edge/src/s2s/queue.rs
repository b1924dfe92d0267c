//! What waits for one domain pair: bounded, in order, with one taker.

use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;
use stentor_engine::Pressure;
use stentor_stanza::Stanza;

use crate::limits::{S2S_QUEUE_BYTES_MAX, S2S_QUEUE_BYTES_SOFT, S2S_QUEUE_ITEMS_MAX};

/// Stanzas for another domain.
#[derive(Default)]
pub(crate) struct Queue(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    items: VecDeque<Stanza>,
    bytes: usize,
    waker: Option<Waker>,
}

impl Queue {
    /// Queues a stanza; none if there is no room.
    pub(crate) fn push(&self, stanza: Stanza) -> Option<Pressure> {
        let (pressure, waker) = {
            let mut inner = self.0.lock();
            let bytes = stanza.bytes_len();
            let is_full = inner.items.len() >= S2S_QUEUE_ITEMS_MAX
                || inner.bytes.saturating_add(bytes) > S2S_QUEUE_BYTES_MAX;
            if is_full {
                return None;
            }
            inner.bytes += bytes;
            inner.items.push_back(stanza);
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
    pub(crate) fn pop(&self) -> Option<Stanza> {
        let mut inner = self.0.lock();
        let stanza = inner.items.pop_front()?;
        inner.bytes -= stanza.bytes_len();
        if inner.items.is_empty() {
            inner.items = VecDeque::new();
        }
        Some(stanza)
    }

    /// Puts back what was taken and could not be sent.
    pub(crate) fn unpop(&self, stanza: Stanza) {
        let mut inner = self.0.lock();
        inner.bytes += stanza.bytes_len();
        inner.items.push_front(stanza);
    }

    /// Takes all that waits.
    pub(crate) fn drain(&self) -> VecDeque<Stanza> {
        let mut inner = self.0.lock();
        inner.bytes = 0;
        std::mem::take(&mut inner.items)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.lock().items.is_empty()
    }

    /// Bytes waiting.
    pub(crate) fn bytes(&self) -> usize {
        self.0.lock().bytes
    }

    /// Ready when something waits. Only the latest taker is woken.
    pub(crate) fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut inner = self.0.lock();
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
        let queue = Queue::default();
        let stanza =
            |n: usize| Stanza::empty(Head::new(Kind::Message(MessageType::Chat)).id(n.to_string()));
        let mut pushed = 0;
        while queue.push(stanza(pushed)).is_some() {
            pushed += 1;
        }
        assert!(pushed <= S2S_QUEUE_ITEMS_MAX);
        let first = queue.pop().unwrap();
        assert_eq!(first.head.id.as_deref(), Some("0"));
        queue.unpop(first);
        let all = queue.drain();
        assert_eq!(all.len(), pushed);
        assert_eq!(all[0].head.id.as_deref(), Some("0"));
        assert!(queue.is_empty() && queue.bytes() == 0);
    }
}
