//! Reading from a client, and how fast that may go.
//!
//! Who sends faster than he may is read more slowly (XEP-0205 §4.7): nothing is refused, and TCP
//! tells the client. Each connection has its own rates, and all of one account have theirs together.

use std::cell::RefCell;
use std::task::{Context, Poll};

use stentor_engine::Handling;
use stentor_engine::pace::{Pace, Rate};
use stentor_stanza::Stanza;
use stentor_stream::Millis;
use tokio::io::ReadBuf;

use super::{Done, Driver, Phase, confirm};
use crate::limits::{ACKS_DUE_MAX, READ_BYTES_MAX};
use crate::monotonic;

/// How fast clients may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rates {
    /// Stanzas of one connection.
    pub stanzas: Rate,
    /// Bytes of one connection, without TLS; also before it is signed in.
    pub bytes: Rate,
    /// Stanzas of all connections of one account.
    pub account_stanzas: Rate,
    /// Bytes of all connections of one account.
    pub account_bytes: Rate,
    /// Stanzas of one connection of an administrator, instead of all these.
    pub administrator_stanzas: Rate,
    /// Bytes of one.
    pub administrator_bytes: Rate,
}

impl Default for Rates {
    fn default() -> Self {
        Self {
            stanzas: Rate::new(STANZAS_PER_SEC, BURST_SECS),
            bytes: Rate::new(BYTES_PER_SEC, BURST_SECS),
            account_stanzas: Rate::new(ACCOUNT_STANZAS_PER_SEC, BURST_SECS),
            account_bytes: Rate::new(ACCOUNT_BYTES_PER_SEC, BURST_SECS),
            administrator_stanzas: Rate::new(STANZAS_PER_SEC, BURST_SECS),
            administrator_bytes: Rate::new(BYTES_PER_SEC, BURST_SECS),
        }
    }
}

/// What a connection has taken of its rates.
#[derive(Default)]
pub(super) struct Paces {
    stanzas: Pace,
    bytes: Pace,
}

/// Input that waits, of one read.
#[derive(Default)]
pub(super) struct Rest {
    bytes: Box<[u8]>,
    /// How much of it has been taken.
    taken: usize,
}

impl Rest {
    fn of(input: &[u8]) -> Self {
        Self { bytes: input.into(), taken: 0 }
    }

    fn is_empty(&self) -> bool {
        self.taken == self.bytes.len()
    }

    /// Hands it to somebody who takes what he wants from the front.
    fn hand(&mut self, take: impl FnOnce(&mut &[u8])) {
        let mut input = &self.bytes[self.taken..];
        take(&mut input);
        self.taken = self.bytes.len() - input.len();
        if self.is_empty() {
            *self = Self::default();
        }
    }
}

impl Driver {
    /// Hands the machine more of what was read before. Whether anything moved.
    pub(super) fn take_rest(&mut self) -> bool {
        if self.rest.is_empty() || !self.may_take() {
            return false;
        }
        let now = monotonic::now();
        self.rest.hand(|input| self.machine.handle_bytes(input, now));
        true
    }

    /// Whether the machine may be given input.
    fn may_take(&self) -> bool {
        let is_busy =
            self.work.is_some() || self.acks_due.len() >= ACKS_DUE_MAX || self.is_held_up();
        self.phase == Phase::Open && !is_busy && self.machine.may_read()
    }

    /// Reads what there is, into the buffer of the thread. Whether anything moved.
    pub(super) fn read(&mut self, cx: &mut Context<'_>) -> bool {
        if !self.rest.is_empty() || !self.may_take() {
            return false;
        }
        let now = monotonic::now();
        let Some(conn) = &mut self.conn else { return false };
        match conn.poll_readable(cx) {
            Poll::Pending => return false,
            Poll::Ready(Ok(()) | Err(_)) => {}
        }
        let came = INPUT.with_borrow_mut(|buffer| {
            let mut buf = ReadBuf::new(buffer);
            match conn.poll_read(cx, &mut buf) {
                Poll::Pending => None,
                Poll::Ready(Ok(0) | Err(_)) => {
                    self.machine.handle_eof(now);
                    Some(0)
                }
                Poll::Ready(Ok(len)) => {
                    let mut input = buf.filled();
                    self.machine.handle_bytes(&mut input, now);
                    self.rest = Rest::of(input);
                    Some(len)
                }
            }
        });
        self.count_bytes(came.unwrap_or(0));
        came.is_some()
    }

    fn count_bytes(&mut self, len: usize) {
        if len == 0 {
            return;
        }
        self.link.listener.shared.metrics.bytes_in.inc_by(len as u64);
        let (rates, now) = (self.link.listener.shared.rates, monotonic::now());
        let len = len as u64;
        let wait_ms = match self.session.as_ref().map(|session| &session.account) {
            Some(account) if account.is_administrator() => {
                self.paces.bytes.take(rates.administrator_bytes, len, now.0)
            }
            account => {
                let own = self.paces.bytes.take(rates.bytes, len, now.0);
                let all = |pace: &Pace| pace.take(rates.account_bytes, len, now.0);
                own.max(account.map_or(0, |account| all(&account.paces.bytes)))
            }
        };
        self.pause(wait_ms, now);
    }

    /// Deals with a stanza of the client, or begins to.
    pub(super) fn handle_stanza(&mut self, stanza: Stanza, cx: &mut Context<'_>) {
        let weight = self.session.as_ref().map_or(1, |session| session.weight(&stanza));
        self.count_stanzas(weight);
        let Some(session) = &self.session else { return };
        let received = self.machine.received();
        if received > 0 {
            session.note_received(received);
        }
        if let Some(confirmed) = self.stored.hear(&stanza) {
            return confirm(session, confirmed);
        }
        // Most of what is not done at once waits for nothing either.
        if let Handling::Later(mut rest) = session.handle(stanza)
            && rest.as_mut().poll(cx).is_pending()
        {
            self.work = Some(Box::pin(async move {
                rest.await;
                Done::Handled
            }));
        }
    }

    /// Notes stanzas that came.
    fn count_stanzas(&mut self, count: u64) {
        let (rates, now) = (self.link.listener.shared.rates, self.machine.now());
        let wait_ms = match self.session.as_ref().map(|session| &session.account) {
            Some(account) if account.is_administrator() => {
                self.paces.stanzas.take(rates.administrator_stanzas, count, now.0)
            }
            account => {
                let own = self.paces.stanzas.take(rates.stanzas, count, now.0);
                let all = |pace: &Pace| pace.take(rates.account_stanzas, count, now.0);
                own.max(account.map_or(0, |account| all(&account.paces.stanzas)))
            }
        };
        self.pause(wait_ms, now);
    }

    fn pause(&mut self, wait_ms: u64, now: Millis) {
        if wait_ms == 0 {
            return;
        }
        if !self.is_paused {
            self.link.listener.shared.metrics.paused.inc();
        }
        let left_ms = self.pause_left_ms(now).unwrap_or(0);
        let wait_ms = u32::try_from(wait_ms).unwrap_or(PAUSE_MS_MAX).min(PAUSE_MS_MAX);
        self.paused_until = wrapped(now).wrapping_add(wait_ms.max(left_ms));
        self.is_paused = true;
    }

    /// Whether nothing more is taken from the client for now. What ends the stream is not held up.
    pub(super) fn is_held_up(&self) -> bool {
        self.is_paused && !self.machine.is_ended()
    }

    /// When the pause ends, if there is one.
    pub(super) fn pause_ends(&self, now: Millis) -> Option<Millis> {
        self.pause_left_ms(now).map(|left_ms| Millis(now.0.saturating_add(u64::from(left_ms))))
    }

    /// Goes on if the pause is over; whether it was.
    pub(super) fn go_on(&mut self, now: Millis) -> bool {
        let is_over = self.pause_left_ms(now) == Some(0);
        self.is_paused &= !is_over;
        is_over
    }

    /// Milliseconds of the pause that are left, 0 if it is over.
    fn pause_left_ms(&self, now: Millis) -> Option<u32> {
        let left_ms = self.paused_until.wrapping_sub(wrapped(now));
        // A moment of the past is far ahead, as the numbers go round.
        self.is_paused.then_some(if left_ms > PAUSE_MS_MAX { 0 } else { left_ms })
    }
}

/// The moment as it is kept.
const fn wrapped(now: Millis) -> u32 {
    (now.0 & 0xFFFF_FFFF) as u32
}

/// A pause is never longer: 12 days, which no rate and no stanza that is allowed bring about.
const PAUSE_MS_MAX: u32 = 1 << 30;
const STANZAS_PER_SEC: u64 = 20_000;
const BYTES_PER_SEC: u64 = 20 * 1024 * 1024;
const ACCOUNT_STANZAS_PER_SEC: u64 = 40_000;
const ACCOUNT_BYTES_PER_SEC: u64 = 40 * 1024 * 1024;
const BURST_SECS: u64 = 5;

thread_local! {
    /// The input buffer of this worker: lent to one connection at a time, for one read.
    static INPUT: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES_MAX].into_boxed_slice());
}
