//! What of an outbox outlives the process: the places of stanzas in the store, and which of them
//! must not be seen before they are there.
//!
//! Stanzas are numbered as they come in, from 1. Over a stream these are the numbers of XEP-0198.
//! After a restart it is not known which number the client saw last: until it says so, numbers are
//! our own, and then all of them move.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use stentor_jid::Jid;
use stentor_stanza::Stanza;
use stentor_store::{OpenIq, SessionChange, Ticket, Write, Writer};

use crate::limits::OPEN_IQS_MAX;

/// The part of an outbox that is written.
#[derive(Debug)]
pub(super) struct Durable {
    /// The session's number in the store.
    session: u64,
    epoch: u32,
    writer: Writer,
    /// The number of the stanza that came in last.
    last: u64,
    /// What is added to a number to make a place within the epoch.
    offset: u64,
    /// Numbers of stanzas that have a place in the store.
    kept: VecDeque<u64>,
    /// Numbers of stanzas that must not leave before a commit, which is unknown until their stage
    /// is submitted.
    gates: VecDeque<(u64, Option<Ticket>)>,
    /// After a restart: the places of the first stanzas, which the client may have seen.
    former: Option<Vec<u64>>,
    /// Requests of the client, and the numbers of their answers.
    open: VecDeque<(OpenIq, Option<u64>)>,
}

/// A place in the store that a stanza was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The session's number in the store.
    pub(crate) session: u64,
    /// The place among what waits for its acknowledgement.
    pub(crate) seq: u64,
}

/// What is known of a session that was in the store when the process began.
#[derive(Clone, Debug)]
pub(crate) struct Former {
    /// The epoch in which its stanzas were last numbered for a stream.
    pub(crate) epoch: u32,
    /// The places of what it has not acknowledged, of that epoch or, never seen by it, of the next.
    pub(crate) places: Vec<u64>,
    /// Requests without an answer.
    pub(crate) open_iqs: Vec<OpenIq>,
}

impl Durable {
    /// For a session that begins; `waiting` stanzas stand in its queue.
    pub(super) fn new(session: u64, writer: Writer, waiting: u64) -> Self {
        Self {
            session,
            epoch: 0,
            writer,
            last: waiting,
            offset: 0,
            kept: VecDeque::new(),
            gates: VecDeque::new(),
            former: None,
            open: VecDeque::new(),
        }
    }

    /// For a session of an earlier process, whose queue begins with what has a place.
    pub(super) fn restored(session: u64, writer: Writer, former: Former) -> Self {
        let count = former.places.len() as u64;
        let of_former = |seq: &&u64| epoch_of(**seq) == former.epoch;
        let seen: Vec<u64> = former.places.iter().take_while(of_former).copied().collect();
        let most = former.places.iter().skip(seen.len()).map(|seq| seq & NUMBER_MASK).max();
        Self {
            epoch: former.epoch.saturating_add(1),
            last: count,
            // Behind those of that epoch that are there.
            offset: most.unwrap_or(0).wrapping_sub(count),
            kept: (1..=count).collect(),
            former: Some(seen),
            open: former.open_iqs.into_iter().map(|iq| (iq, None)).collect(),
            ..Self::new(session, writer, 0)
        }
    }

    /// Notes that a stanza came in; if it is to be kept, it gets a place and must wait for it.
    pub(super) fn note(&mut self, stanza: &Stanza, is_kept: bool) -> Option<Place> {
        self.last += 1;
        self.note_answer(stanza);
        is_kept.then(|| {
            self.kept.push_back(self.last);
            self.gates.push_back((self.last, None));
            Place { session: self.session, seq: self.seq(self.last) }
        })
    }

    fn note_answer(&mut self, stanza: &Stanza) {
        if self.open.is_empty() || stanza.iq_type().is_none_or(|kind| kind.is_request()) {
            return;
        }
        let Some(id) = stanza.head.id.as_deref() else { return };
        let is_it = |(iq, answer): &&mut (OpenIq, Option<u64>)| {
            answer.is_none() && iq.id == id && is_from(stanza, iq.to.as_ref())
        };
        if let Some((_, answer)) = self.open.iter_mut().find(is_it) {
            *answer = Some(self.last);
        }
    }

    /// Notes that the client asked something.
    pub(super) fn note_request(&mut self, iq: OpenIq) {
        if self.open.len() >= OPEN_IQS_MAX {
            self.open.pop_front();
        }
        if self.open.capacity() == 0 {
            // Mostly one at a time.
            self.open.reserve_exact(1);
        }
        self.open.push_back((iq, None));
    }

    /// Requests whose answers the client is not known to have.
    pub(super) fn open_iqs(&self) -> Vec<OpenIq> {
        self.open.iter().map(|(iq, _)| iq.clone()).collect()
    }

    /// Requests that have no answer.
    pub(super) fn unanswered(&self) -> Vec<OpenIq> {
        let unanswered = self.open.iter().filter(|(_, answer)| answer.is_none());
        unanswered.map(|(iq, _)| iq.clone()).collect()
    }

    /// What was given a place has been submitted: it may leave once that is committed.
    pub(super) fn release(&mut self) {
        for (_, ticket) in self.gates.iter_mut().rev().take_while(|(_, ticket)| ticket.is_none()) {
            *ticket = Some(self.writer.barrier());
        }
    }

    /// Whether the stanza of this number may leave.
    pub(super) fn may_leave(&mut self, number: u64) -> bool {
        while let Some((first, ticket)) = self.gates.front() {
            if *first > number {
                break;
            }
            if !ticket.as_ref().is_some_and(Ticket::is_done) {
                return false;
            }
            self.gates.pop_front();
        }
        if self.gates.is_empty() {
            self.gates = VecDeque::new();
        }
        true
    }

    /// The same; if it may not, the task is woken once its place is in the store.
    pub(super) fn poll_gate(&mut self, number: u64, cx: &mut Context<'_>) -> Poll<()> {
        while !self.may_leave(number) {
            let ticket = self.gates.front_mut().and_then(|(_, ticket)| ticket.as_mut());
            let is_decided = ticket.is_some_and(|ticket| Pin::new(ticket).poll(cx).is_ready());
            if !is_decided {
                return Poll::Pending;
            }
        }
        Poll::Ready(())
    }

    /// The client has everything up to this number; the last place in the store that goes by it.
    pub(super) fn acknowledge(&mut self, number: u64) -> Option<Write> {
        if !self.open.is_empty() {
            self.open.retain(|(_, answer)| answer.is_none_or(|answer| answer > number));
            if self.open.is_empty() {
                self.open = VecDeque::new();
            }
        }
        let mut last = None;
        while let Some(first) = self.kept.front().copied().filter(|first| *first <= number) {
            last = Some(first);
            self.kept.pop_front();
        }
        if self.kept.is_empty() {
            self.kept = VecDeque::new();
        }
        let change = SessionChange::Ack { seq: self.seq(last?) };
        Some(Write::Session { session: self.session, change })
    }

    /// The session's number in the store.
    pub(super) const fn session(&self) -> u64 {
        self.session
    }

    /// How often the stanzas have been numbered anew.
    pub(super) const fn epoch(&self) -> u32 {
        self.epoch
    }

    /// Whether it is not known yet what the client saw before a restart.
    pub(super) const fn is_restored(&self) -> bool {
        self.former.is_some()
    }

    /// The client says what it saw before a restart, and everything is numbered from there.
    /// Returns how many of the first stanzas go, and what is to be written.
    pub(super) fn begin_anew(&mut self, h: u32) -> (usize, Write) {
        let former = self.former.take().unwrap_or_default();
        // §4: counts start again behind 2³² − 1.
        let has_had = |seq: &&u64| h.wrapping_sub(wrapped(**seq)) < u32::MAX / 2;
        let gone = former.iter().take_while(has_had).count();
        let count = former.len() as u64;
        let acked = gone.checked_sub(1).map_or(0, |last| former[last]);
        self.kept.drain(..gone.min(self.kept.len()));
        let old: Vec<u64> = (former.into_iter().skip(gone))
            .chain(self.kept.iter().skip_while(|n| **n <= count).map(|n| self.seq(*n)))
            .collect();
        let moved = |number: u64| number - gone as u64 + u64::from(h);
        (gone, self.renumber(acked, &old, moved))
    }

    /// So many stanzas go in front of those behind this number. Returns what is to be written.
    pub(super) fn make_room(&mut self, behind: u64, count: u64) -> Write {
        let old: Vec<u64> = self.kept.iter().map(|number| self.seq(*number)).collect();
        self.renumber(0, &old, |number| if number > behind { number + count } else { number })
    }

    /// The stanzas behind this number stand in another order: `moved` has their new numbers in the
    /// former order, and `last` is the last of them now. Returns what is to be written.
    pub(super) fn reorder(&mut self, behind: u64, moved: &[u64], last: u64) -> Option<Write> {
        debug_assert_eq!(self.last, behind + moved.len() as u64, "all of them are known here");
        let new = |number: u64| {
            let index = number.checked_sub(behind + 1).and_then(|n| usize::try_from(n).ok());
            index.and_then(|index| moved.get(index)).copied().unwrap_or(number)
        };
        let write = if self.kept.iter().any(|number| new(*number) != *number) {
            let old: Vec<u64> = self.kept.iter().map(|number| self.seq(*number)).collect();
            Some(self.renumber(0, &old, new))
        } else {
            for (_, answer) in &mut self.open {
                *answer = answer.map(new);
            }
            None
        };
        self.last = last;
        write
    }

    /// Moves all numbers to a new epoch. `old` are the places of what is kept.
    fn renumber(&mut self, acked: u64, old: &[u64], moved: impl Fn(u64) -> u64) -> Write {
        self.epoch = self.epoch.saturating_add(1);
        self.offset = 0;
        self.last = moved(self.last);
        self.kept.iter_mut().for_each(|number| *number = moved(*number));
        self.gates.iter_mut().for_each(|(number, _)| *number = moved(*number));
        for (_, answer) in &mut self.open {
            *answer = answer.map(&moved);
        }
        let new = self.kept.iter().map(|number| place(self.epoch, *number));
        let moves = old.iter().copied().zip(new).collect();
        let change = SessionChange::Renumber { epoch: self.epoch, acked, moves };
        Write::Session { session: self.session, change }
    }

    fn seq(&self, number: u64) -> u64 {
        place(self.epoch, number.wrapping_add(self.offset))
    }
}

/// Whether a stanza answers what was sent to this address, or to the own account without one.
fn is_from(stanza: &Stanza, to: Option<&Jid>) -> bool {
    match (to, &stanza.head.from) {
        (Some(to), Some(from)) => to == from,
        // RFC 6120 §8.1.2.1: an answer of the own account may come without a sender.
        (_, None) => true,
        (None, Some(from)) => !from.is_full(),
    }
}

fn place(epoch: u32, number: u64) -> u64 {
    (u64::from(epoch) << NUMBER_BITS) | (number & NUMBER_MASK)
}

fn epoch_of(seq: u64) -> u32 {
    u32::try_from(seq >> NUMBER_BITS).unwrap_or(u32::MAX)
}

/// A number as the client counts it.
fn wrapped(seq: u64) -> u32 {
    (seq & 0xFFFF_FFFF) as u32
}

/// Numbers of one epoch: no stream carries more stanzas.
const NUMBER_BITS: u32 = 40;
const NUMBER_MASK: u64 = (1 << NUMBER_BITS) - 1;
