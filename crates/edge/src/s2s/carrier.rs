//! What streams between servers do with the queues that they drain, whoever opened them.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use stentor_engine::{Engine, Handling, Inbound};
use stentor_payload::xep0203_delay;
use stentor_stanza::{Condition, Stanza, StanzaError};
use stentor_store::Ticket;
use stentor_stream::s2s::{Incoming, Outgoing, Tally};
use stentor_stream::{Machine, Millis};

use super::Federation;
use super::link::Link;
use super::pump::Pump;
use super::waiting::Waiting;
use crate::limits::{ACKS_DUE_MAX, S2S_DELAY_STAMP_MS, S2S_UNSETTLED_MAX};
use crate::monotonic;

/// A machine that carries stanzas of ours.
pub(crate) trait Carrier: Machine {
    /// As [`Outgoing::send`].
    fn carry(&mut self, stanza: &Stanza, out: &mut Vec<u8>) -> bool;

    /// What it has counted; none without stream management.
    fn counted(&self) -> Option<Tally>;

    /// Asks the peer what it has.
    fn ask(&mut self, now: Millis);

    /// The largest stanza that the peer says it accepts, in bytes.
    fn bytes_max(&self) -> Option<u64>;
}

impl Carrier for Outgoing {
    fn carry(&mut self, stanza: &Stanza, out: &mut Vec<u8>) -> bool {
        self.send(stanza, out)
    }

    fn counted(&self) -> Option<Tally> {
        self.tally()
    }

    fn ask(&mut self, now: Millis) {
        self.ask_for_ack(now);
    }

    fn bytes_max(&self) -> Option<u64> {
        Self::bytes_max(self)
    }
}

impl Carrier for Incoming {
    fn carry(&mut self, stanza: &Stanza, out: &mut Vec<u8>) -> bool {
        self.send(stanza, out)
    }

    fn counted(&self) -> Option<Tally> {
        self.tally()
    }

    fn ask(&mut self, now: Millis) {
        self.ask_for_ack(now);
    }

    /// Whoever opens a stream has no features to say it in.
    fn bytes_max(&self) -> Option<u64> {
        None
    }
}

/// Moves what waits for a link to its stream, as long as the socket keeps up; whether anything
/// moved.
pub(crate) fn drain<M: Carrier>(
    federation: &Federation,
    (link, taker): (&Link, u64),
    machine: &mut M,
    pump: &mut Pump,
) -> bool {
    let mut moved = false;
    while pump.has_room() {
        let Some(waiting) = link.queue.pop(taker) else { break };
        if machine.bytes_max().is_some_and(|max| is_longer(&waiting.stanza, max)) {
            // XEP-0478 §3.1: the peer would close the stream.
            link.queue.forget(&waiting);
            let error = StanzaError::new(Condition::PolicyViolation)
                .with_text("The other server does not accept anything of that size.");
            federation.engine.bounce(&waiting.stanza, &error);
            continue;
        }
        if !machine.carry(&stamped(&waiting, &link.pair.local), &mut pump.out) {
            link.queue.unpop(waiting);
            break;
        }
        moved = true;
        federation.metrics.stanzas_out.inc();
        pump.counts.note_out(&waiting.stanza);
        let mark = machine.counted().map_or_else(|| pump.end(), |tally| tally.sent);
        link.queue.note_sent(taker, mark, waiting);
    }
    if moved {
        ask(machine, pump);
    }
    moved
}

/// Takes an acknowledgement. While there is no word of something the peer is asked: what it does not
/// say before it goes is sent again.
pub(crate) fn take_ack<M: Carrier>(
    (link, taker): (&Link, u64),
    acked: u64,
    machine: &mut M,
    pump: &mut Pump,
) {
    link.queue.acked(taker, acked);
    if link.queue.unacked(taker) > 0 {
        ask(machine, pump);
    }
}

fn ask<M: Carrier>(machine: &mut M, pump: &mut Pump) {
    machine.ask(monotonic::now());
    machine.take_output(&mut pump.out);
}

/// Without stream management what the socket has taken is as good as there.
pub(crate) fn settle<M: Carrier>((link, taker): (&Link, u64), machine: &M, pump: &Pump) {
    if machine.counted().is_none() {
        link.queue.acked(taker, pump.written);
    }
}

/// XEP-0203: a message that comes late says since when.
fn stamped<'a>(waiting: &'a Waiting, local: &str) -> Cow<'a, Stanza> {
    let waited_ms = monotonic::now().0.saturating_sub(waiting.since.0);
    let is_late = waited_ms >= S2S_DELAY_STAMP_MS && waiting.stanza.message_type().is_some();
    if !is_late || waiting.stanza.has_child(xep0203_delay::NS, "delay") {
        return Cow::Borrowed(&waiting.stanza);
    }
    let mut stanza = waiting.stanza.clone();
    stanza.append(|w| xep0203_delay::write(w, local, waiting.since_unix_ms));
    Cow::Owned(stanza)
}

/// Deals with a stanza that came in, when room is made for what it leaves to wait for.
pub(crate) async fn take_in(inbound: &Arc<Inbound>, stanza: Stanza) {
    if inbound.unsettled() >= S2S_UNSETTLED_MAX {
        inbound.settle_all().await;
    }
    if let Handling::Later(rest) = inbound.handle(stanza) {
        rest.await;
    }
}

fn is_longer(stanza: &Stanza, bytes_max: u64) -> bool {
    // Most are so much shorter that nobody has to count.
    let is_near = (stanza.bytes_len() as u64).saturating_mul(2) > bytes_max;
    is_near && {
        let mut out = Vec::new();
        stanza.write(&mut out);
        out.len() as u64 > bytes_max
    }
}

/// Acknowledgements that the peer asked for, due once what it sent before is on disk.
#[derive(Default)]
pub(crate) struct Acks(VecDeque<(Ticket, u64)>);

impl Acks {
    /// The peer asks, of whom so much has come and is with the engine.
    pub(crate) fn note(&mut self, engine: &Engine, received: u64) {
        self.0.push_back((engine.stores.writer.barrier(), received));
    }

    /// Whether the peer asks faster than the disk answers.
    pub(crate) fn is_full(&self) -> bool {
        self.0.len() >= ACKS_DUE_MAX
    }

    /// How much has been handled, when the next answer is due.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<u64> {
        let Some((ticket, received)) = self.0.front_mut() else { return Poll::Pending };
        let received = *received;
        // What failed comes back as an error: that is handled as well.
        match Pin::new(ticket).poll(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(_) => {
                self.0.pop_front();
                Poll::Ready(received)
            }
        }
    }
}
