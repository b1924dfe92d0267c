//! What waits for one stream of a component: bounded, in order.

use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;
use stentor_engine::Pressure;
use stentor_stanza::Stanza;
use stentor_stream::fault::Fault;

use crate::limits::{COMPONENT_QUEUE_ITEMS_MAX, COMPONENT_SHARDS};

/// Which senders' stanzas take the same stream: a number below [`COMPONENT_SHARDS`].
pub(crate) type Shard = u8;

/// A stanza for a component.
#[derive(Clone, Debug)]
pub(crate) struct Parcel {
    pub(crate) stanza: Stanza,
    /// Its number in the store, if it is there until the socket has it.
    pub(crate) kept: Option<u64>,
}

/// The way to one stream of a component.
pub(crate) struct Lane {
    /// Tells it from the component's other streams.
    pub(crate) serial: u64,
    bytes_max: usize,
    inner: Mutex<Inner>,
}

struct Inner {
    items: VecDeque<(Shard, Parcel)>,
    bytes: usize,
    /// Stanzas of each shard that the socket has not taken, queued or not.
    held: Box<[u32; COMPONENT_SHARDS]>,
    waker: Option<Waker>,
    close: Option<Fault>,
    is_closing: bool,
}

impl Lane {
    pub(crate) fn new(serial: u64, bytes_max: usize) -> Self {
        let inner = Inner {
            items: VecDeque::new(),
            bytes: 0,
            held: Box::new([0; COMPONENT_SHARDS]),
            waker: None,
            close: None,
            is_closing: false,
        };
        Self { serial, bytes_max, inner: Mutex::new(inner) }
    }

    /// Queues a stanza; none if there is no room.
    pub(crate) fn push(&self, shard: Shard, parcel: Parcel) -> Option<Pressure> {
        let mut inner = self.inner.lock();
        let bytes = inner.bytes.saturating_add(parcel.stanza.bytes_len());
        if bytes > self.bytes_max || inner.items.len() >= COMPONENT_QUEUE_ITEMS_MAX {
            return None;
        }
        inner.bytes = bytes;
        inner.held[usize::from(shard)] += 1;
        inner.items.push_back((shard, parcel));
        let is_high = bytes > self.bytes_max / 8;
        inner.wake();
        Some(if is_high { Pressure::High } else { Pressure::Low })
    }

    /// Queues what the component is told first; without room it has to do without.
    pub(crate) fn hand_over(&self, stanza: Stanza) {
        let _ = self.push(0, Parcel { stanza, kept: None });
    }

    /// Takes the next stanza. Its shard stays here until it is [settled](Self::settle).
    pub(crate) fn pop(&self) -> Option<(Shard, Parcel)> {
        let mut inner = self.inner.lock();
        let (shard, parcel) = inner.items.pop_front()?;
        inner.bytes -= parcel.stanza.bytes_len();
        if inner.items.is_empty() {
            inner.items = VecDeque::new();
        }
        Some((shard, parcel))
    }

    /// The socket has taken a stanza of this shard.
    pub(crate) fn settle(&self, shard: Shard) {
        self.inner.lock().held[usize::from(shard)] -= 1;
    }

    /// Whether a stanza of this shard is still on its way.
    pub(crate) fn holds(&self, shard: Shard) -> bool {
        self.inner.lock().held[usize::from(shard)] > 0
    }

    /// Takes all that waits.
    pub(crate) fn drain(&self) -> impl Iterator<Item = Parcel> + use<> {
        let mut inner = self.inner.lock();
        inner.bytes = 0;
        std::mem::take(&mut inner.items).into_iter().map(|(_, parcel)| parcel)
    }

    /// Bytes waiting.
    pub(crate) fn bytes(&self) -> usize {
        self.inner.lock().bytes
    }

    /// Asks the stream to end; the first reason counts.
    pub(crate) fn close(&self, fault: Fault) {
        let mut inner = self.inner.lock();
        if !std::mem::replace(&mut inner.is_closing, true) {
            inner.close = Some(fault);
        }
        inner.wake();
    }

    /// Whether the stream was asked to end.
    pub(crate) fn is_closing(&self) -> bool {
        self.inner.lock().is_closing
    }

    /// Why the stream is to end, told once.
    pub(crate) fn take_close(&self) -> Option<Fault> {
        self.inner.lock().close.take()
    }

    /// Ready when the stream is to end, or when something waits and there `has_room`.
    pub(crate) fn poll_ready(&self, has_room: bool, cx: &mut Context<'_>) -> Poll<()> {
        let mut inner = self.inner.lock();
        if inner.close.is_some() || (has_room && !inner.items.is_empty()) {
            return Poll::Ready(());
        }
        match &mut inner.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }
}

impl Inner {
    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}
