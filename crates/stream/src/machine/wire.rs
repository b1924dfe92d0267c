//! What the machines work with: scanner, output, events, and how far the close has got.

use std::collections::VecDeque;
use std::mem;

use stentor_xml::{Content, Limits, Scanner, Writer};

use crate::fault::Fault;
use crate::{Millis, limits};

pub(crate) struct Wire<E> {
    pub(crate) scanner: Scanner,
    /// The last time that the shell told.
    pub(crate) now: Millis,
    pub(crate) out: Vec<u8>,
    pub(crate) events: VecDeque<E>,
    pub(crate) close: Close,
    /// How long each side waits for the other's last words, in milliseconds.
    pub(crate) close_wait_ms: u64,
}

/// How far the close of a stream has got (RFC 6120 §4.4).
pub(crate) enum Close {
    /// Neither side has closed.
    Open,
    /// The peer has closed, we have not, and do so then at the latest.
    Owing(Millis),
    /// We have closed, the peer has not, and is not waited for any longer than that.
    Closing(Millis, Option<Fault>),
    Ended,
}

impl<E> Wire<E> {
    pub(crate) fn new(content: Content, limits: Limits, close_wait_ms: u64, now: Millis) -> Self {
        let mut scanner = Scanner::new(limits);
        scanner.set_content(content);
        let (out, events) = (Vec::new(), VecDeque::new());
        Self { scanner, now, out, events, close: Close::Open, close_wait_ms }
    }

    /// Whether neither side has closed.
    pub(crate) const fn is_open(&self) -> bool {
        matches!(self.close, Close::Open)
    }

    /// Whether something may still be said: we have not closed.
    pub(crate) const fn may_speak(&self) -> bool {
        matches!(self.close, Close::Open | Close::Owing(_))
    }

    /// Whether the shell has nothing to fetch first.
    pub(crate) fn has_room(&self) -> bool {
        self.events.is_empty() && self.out.len() < limits::OUTPUT_BYTES_MAX
    }

    /// Writes with a [`Writer`] at the first level of the stream.
    pub(crate) fn write(&mut self, f: impl FnOnce(&mut Writer)) {
        let mut w = Writer::over(mem::take(&mut self.out));
        f(&mut w);
        self.out = w.into_bytes();
    }

    /// Moves what is to be written behind what is in `out`.
    pub(crate) fn take_output(&mut self, out: &mut Vec<u8>) {
        out.append(&mut self.out);
        self.out = Vec::new();
    }
}
