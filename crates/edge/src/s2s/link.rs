//! The way for one domain pair: its queue, who drains it, and how the peer is.

use std::collections::VecDeque;

use parking_lot::Mutex;
use stentor_stanza::Condition;
use stentor_stream::Millis;
use stentor_stream::s2s::Pair;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use super::lost::spread;
use super::queue::Queue;
use crate::limits::S2S_BACK_OFF_MAX_MS;
use crate::monotonic;

/// The way for one domain pair.
pub(crate) struct Link {
    pub(crate) pair: Pair,
    pub(crate) queue: Queue,
    state: Mutex<State>,
    /// Told when trouble is over.
    reached: Notify,
    /// Told when an attempt has come to something.
    tried: Notify,
}

#[derive(Default)]
struct State {
    taker: Option<u64>,
    takers: u64,
    failure: Option<Trouble>,
    /// Who goes on for a broken stream of ours.
    going_on: Option<u64>,
    /// Whether its taker has a stream.
    is_standing: bool,
    /// Whether a stream broke or the peer said that it goes, and none has stood since.
    is_doubtful: bool,
    /// Whether somebody sees to it that its domain is not lost for good.
    is_sought: bool,
    /// When the peer was called in the last minute.
    called: VecDeque<Millis>,
}

/// Why nobody answered the last time, since when, and until when nobody is asked again.
#[derive(Clone, Copy)]
pub(crate) struct Trouble {
    pub(super) condition: Condition,
    /// Whether messages wait for another attempt.
    pub(super) is_passing: bool,
    pub(crate) since: Millis,
    pub(crate) until: Millis,
    back_off_ms: u64,
}

impl Link {
    pub(super) fn new(pair: Pair, queue: Queue) -> Self {
        let (state, reached, tried) = (Mutex::default(), Notify::new(), Notify::new());
        Self { pair, queue, state, reached, tried }
    }

    /// Becomes the one that drains the queue. One that has a stream already (`is_ready`) takes it
    /// from another of which nothing is under way: what comes later must not overtake it (RFC 6120
    /// §10.1). It is given back by [`Link::leave`].
    pub(super) fn take_over(&self, is_ready: bool) -> Option<u64> {
        let mut state = self.state.lock();
        if state.taker.is_some_and(|taker| !is_ready || self.queue.unacked(taker) > 0) {
            return None;
        }
        if let (false, Some(_)) = (is_ready, state.going_on) {
            // It will have a stream, and one more would not tell the peer what has come by the last.
            state.taker = state.going_on;
            return None;
        }
        state.takers += 1;
        state.taker = Some(state.takers);
        let taker = state.takers;
        drop(state);
        if is_ready {
            self.succeeded(taker);
        }
        Some(taker)
    }

    /// Notes whether a taker's stream broke and another is to go on for it (XEP-0198 §5). Then that
    /// is made whoever drains the queue by now: the peer as well has sent what it has no word of.
    pub(super) fn note_broken(&self, taker: u64, is_broken: bool) {
        let mut state = self.state.lock();
        if is_broken {
            state.going_on = Some(taker);
        } else {
            state.going_on.take_if(|other| *other == taker);
        }
    }

    /// Whether this taker still is the one.
    pub(crate) fn is_taken_by(&self, taker: u64) -> bool {
        self.state.lock().taker == Some(taker)
    }

    /// Whether anybody drains the queue, or will.
    pub(super) fn is_taken(&self) -> bool {
        self.state.lock().taker.is_some()
    }

    /// Stops draining; true if that leaves nobody.
    pub(crate) fn leave(&self, taker: u64) -> bool {
        let mut state = self.state.lock();
        let was_mine = state.taker == Some(taker);
        if was_mine {
            state.taker = None;
            state.is_standing = false;
        }
        was_mine
    }

    /// Notes that a taker's stream stands: the next failure waits briefly again.
    pub(crate) fn succeeded(&self, taker: u64) {
        self.note_broken(taker, false);
        let mut state = self.state.lock();
        state.is_standing |= state.taker == Some(taker);
        drop(state);
        self.reached();
    }

    /// Notes that the peer is there.
    pub(crate) fn reached(&self) {
        let mut state = self.state.lock();
        state.is_doubtful = false;
        if state.failure.take().is_some() {
            self.reached.notify_waiters();
        }
        drop(state);
        self.tried.notify_waiters();
    }

    /// Notes how a stream ended: the peer may be gone.
    pub(crate) fn doubt(&self) {
        self.state.lock().is_doubtful = true;
        self.tried.notify_waiters();
    }

    /// Whether the peer may be gone: it has not been heard of since a stream ended, or an attempt
    /// failed.
    pub(crate) fn is_in_doubt(&self) -> bool {
        let state = self.state.lock();
        state.is_doubtful || state.failure.is_some()
    }

    /// Waits until trouble is over.
    pub(crate) fn until_reached(&self) -> Notified<'_> {
        self.reached.notified()
    }

    /// Waits until the next attempt has come to something.
    pub(crate) fn until_tried(&self) -> Notified<'_> {
        self.tried.notified()
    }

    /// Whether somebody drains the queue over a stream.
    pub(crate) fn is_standing(&self) -> bool {
        self.state.lock().is_standing
    }

    /// Becomes the one that sees to it that the domain is not lost for good; false if there is one.
    pub(crate) fn begin_seeking(&self) -> bool {
        !std::mem::replace(&mut self.state.lock().is_sought, true)
    }

    pub(crate) fn end_seeking(&self) {
        self.state.lock().is_sought = false;
    }

    /// Why the peer cannot be reached, if that is so.
    pub(crate) fn trouble(&self) -> Option<Trouble> {
        self.state.lock().failure
    }

    /// Notes that the peer is called, unless that has been done so often within a minute. Then it is how
    /// many milliseconds that has to wait.
    pub(crate) fn call_after(&self, per_minute: usize, now: Millis) -> Option<u64> {
        let mut state = self.state.lock();
        while state.called.front().is_some_and(|at| at.plus(MINUTE_MS) <= now) {
            state.called.pop_front();
        }
        let oldest = state.called.front().filter(|_| state.called.len() >= per_minute).copied();
        match oldest {
            Some(oldest) => Some(oldest.plus(MINUTE_MS).0.saturating_sub(now.0).max(1)),
            None => {
                state.called.push_back(now);
                None
            }
        }
    }

    /// Notes a failure; how long nobody is asked again. None if another took over.
    pub(super) fn failed(
        &self,
        taker: u64,
        condition: Condition,
        is_passing: bool,
        back_off_ms: u64,
    ) -> Option<u64> {
        let mut state = self.state.lock();
        if state.taker != Some(taker) {
            return None;
        }
        let back_off_ms = state.failure.map_or(back_off_ms, |before| {
            before.back_off_ms.saturating_mul(2).min(S2S_BACK_OFF_MAX_MS)
        });
        let (wait_ms, now) = (spread(back_off_ms), monotonic::now());
        let (since, until) = (state.failure.map_or(now, |before| before.since), now.plus(wait_ms));
        state.failure = Some(Trouble { condition, is_passing, since, until, back_off_ms });
        state.is_standing = false;
        drop(state);
        self.tried.notify_waiters();
        Some(wait_ms)
    }

    pub(super) fn is_spare(&self) -> bool {
        let is_waiting = self.trouble().is_some_and(|f| f.until > monotonic::now());
        !is_waiting && self.is_idle()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.state.lock().taker.is_none() && self.queue.is_empty()
    }
}

const MINUTE_MS: u64 = 60_000;

#[cfg(test)]
mod tests {
    use stentor_stanza::{Head, Kind, MessageType, Stanza};

    use super::*;
    use crate::s2s::waiting::Waiting;

    fn link() -> Link {
        let pair = Pair { local: "one.example".into(), remote: "two.example".into() };
        Link::new(pair, Queue::default())
    }

    #[test]
    fn each_failure_waits_twice_as_long_until_a_stream_stood() {
        let link = link();
        let fail = || {
            let taker = link.take_over(false).unwrap();
            let wait = link.failed(taker, Condition::RemoteServerTimeout, true, 5_000).unwrap();
            link.leave(taker);
            wait
        };
        let waits: Vec<u64> = (0..8).map(|_| fail()).collect();
        let expected = [5_000, 10_000, 20_000, 40_000, 80_000, 160_000, 300_000, 300_000];
        for (wait, least) in waits.iter().zip(expected) {
            assert!((least..=least + least / 4).contains(wait), "{waits:?}");
        }
        assert!(waits.iter().zip(expected).any(|(wait, least)| *wait != least), "{waits:?}");
        link.reached();
        assert!(fail() <= 6_250);
    }

    #[test]
    fn a_peer_is_called_so_often_within_any_minute_and_no_more() {
        let link = link();
        let call = |ms| link.call_after(3, Millis(ms));
        assert_eq!([0, 20_000, 20_001].map(call), [None; 3]);
        assert_eq!(call(30_000), Some(30_000));
        assert_eq!(call(59_999), Some(1));
        assert_eq!(call(60_000), None, "the first is a minute ago");
        assert_eq!(call(60_000), Some(20_000));
        assert_eq!([80_001, 80_001, 80_001].map(call), [None, None, Some(39_999)]);
    }

    #[test]
    fn who_has_a_stream_takes_the_queue_from_who_seeks_one() {
        let link = link();
        let seeker = link.take_over(false).unwrap();
        assert_eq!(link.take_over(false), None);
        let ready = link.take_over(true).unwrap();
        assert!(link.is_taken_by(ready) && !link.is_taken_by(seeker));
        assert_eq!(link.failed(seeker, Condition::RemoteServerTimeout, true, 1), None);
        assert!(!link.leave(seeker) && link.leave(ready));
    }

    // XEP-0198 §5.
    #[test]
    fn who_goes_on_for_a_broken_stream_gets_the_queue_when_nobody_has_it() {
        let link = link();
        let broken = link.take_over(true).unwrap();
        link.note_broken(broken, true);
        let other = link.take_over(true).unwrap();
        assert!(!link.is_taken_by(broken));
        link.leave(other);
        assert_eq!(link.take_over(false), None, "no second stream is sought");
        assert!(link.is_taken_by(broken) && !link.is_standing());
        link.succeeded(broken);
        assert!(link.is_standing() && link.leave(broken));
        assert!(link.take_over(false).is_some());
    }

    // RFC 6120 §10.1.
    #[test]
    fn nobody_takes_the_queue_while_something_is_under_way() {
        let link = link();
        let first = link.take_over(true).unwrap();
        let head = Head::new(Kind::Message(MessageType::Chat));
        link.queue.push(Waiting::new(Stanza::empty(head), None, Millis(0), 0)).unwrap();
        let waiting = link.queue.pop(first).unwrap();
        link.queue.note_sent(first, 1, waiting);
        assert_eq!(link.take_over(true), None);
        link.queue.acked(first, 1);
        assert!(link.take_over(true).is_some());
    }
}
