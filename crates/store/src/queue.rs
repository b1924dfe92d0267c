//! What lies between `submit` and the backend: stages in order, and how each came out.
//!
//! Two short locks, never held together: one for the stages that wait, one for outcomes. Outcomes
//! are a watermark, below which everything is decided, and the few failures below it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Poll, Waker};
use std::time::Instant;

use parking_lot::{Condvar, Mutex};

use crate::limits::{BATCH_BUSY_WRITES, STAGED_OVERSHOOT, STAGED_PRESSED_SHARE};
use crate::{Counters, Stage, StoreError, WriterLimits};

/// Stages that wait and outcomes that were not asked for yet.
#[derive(Debug)]
pub(crate) struct Queue {
    limits: WriterLimits,
    pub(crate) counters: Counters,
    waiting: Mutex<Waiting>,
    work: Condvar,
    /// Every sequence number up to this one is decided.
    watermark: AtomicU64,
    /// Length of `Outcomes::failures`, so that success needs no lock.
    failures: AtomicUsize,
    outcomes: Mutex<Outcomes>,
    barriers: AtomicU64,
}

/// What a ticket waits for. The token tells waiters for one number apart: 0 is the stage's own
/// ticket, and only that one may learn of its failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    sequence: u64,
    token: u64,
}

/// Stages that go to the backend together.
pub(crate) struct Batch {
    pub(crate) stages: Vec<Stage>,
    writes: usize,
    bytes: usize,
}

#[derive(Debug, Default)]
struct Waiting {
    stages: VecDeque<Stage>,
    /// Writes in `stages`.
    queued_writes: usize,
    /// Writes and bytes in `stages` and in the batch under way.
    writes: usize,
    bytes: usize,
    last_sequence: u64,
    is_stopped: bool,
}

#[derive(Debug, Default)]
struct Outcomes {
    failures: BTreeMap<u64, StoreError>,
    /// Undecided numbers whose ticket is gone. Bounded by what may wait.
    abandoned: BTreeSet<u64>,
    wakers: BTreeMap<Place, Waker>,
    closed: Option<Result<(), StoreError>>,
    close_wakers: Vec<Waker>,
}

impl Queue {
    pub(crate) fn new(limits: WriterLimits) -> Self {
        Self {
            limits,
            counters: Counters::default(),
            waiting: Mutex::default(),
            work: Condvar::new(),
            watermark: AtomicU64::new(0),
            failures: AtomicUsize::new(0),
            outcomes: Mutex::default(),
            barriers: AtomicU64::new(0),
        }
    }

    pub(crate) fn has_room(&self) -> bool {
        self.is_below(1)
    }

    pub(crate) fn is_pressed(&self) -> bool {
        !self.is_below(STAGED_PRESSED_SHARE)
    }

    /// Whether less waits than this share of what may.
    fn is_below(&self, share: usize) -> bool {
        let writes = Counters::read(&self.counters.writes_waiting);
        let bytes = Counters::read(&self.counters.bytes_waiting);
        let WriterLimits { staged_writes_max, staged_bytes_max, .. } = self.limits;
        writes < (staged_writes_max / share) as u64 && bytes < (staged_bytes_max / share) as u64
    }

    pub(crate) fn push(&self, stage: Stage) -> Result<Place, StoreError> {
        let (writes, bytes) = (stage.len(), stage.bytes_len());
        let mut waiting = self.waiting.lock();
        if waiting.is_stopped {
            return Err(StoreError::Stopped);
        }
        // A stage above the limits can never fit: alone it passes, or it would fail for ever.
        let is_over = waiting.writes.saturating_add(writes)
            > self.limits.staged_writes_max.saturating_mul(STAGED_OVERSHOOT)
            || waiting.bytes.saturating_add(bytes)
                > self.limits.staged_bytes_max.saturating_mul(STAGED_OVERSHOOT);
        if is_over && waiting.writes > 0 {
            Counters::add(&self.counters.stages_refused, 1);
            return Err(StoreError::Busy);
        }
        let was_empty = waiting.stages.is_empty();
        waiting.stages.push_back(stage);
        waiting.queued_writes += writes;
        waiting.writes += writes;
        waiting.bytes += bytes;
        waiting.last_sequence += 1;
        Counters::add(&self.counters.writes_waiting, writes as u64);
        Counters::add(&self.counters.bytes_waiting, bytes as u64);
        // A writer that gathers is only disturbed for a full batch.
        if was_empty || waiting.queued_writes >= self.limits.batch_writes_max {
            self.work.notify_one();
        }
        Ok(Place { sequence: waiting.last_sequence, token: 0 })
    }

    /// The place of what was submitted last, for one more waiter.
    pub(crate) fn barrier(&self) -> Place {
        let sequence = self.waiting.lock().last_sequence;
        Place { sequence, token: self.barriers.fetch_add(1, Ordering::Relaxed) + 1 }
    }

    pub(crate) fn stop(&self) {
        self.waiting.lock().is_stopped = true;
        self.work.notify_one();
    }

    /// Takes the next batch, if anything waits.
    pub(crate) fn try_next(&self) -> Option<Batch> {
        self.waiting.lock().take(self.limits.batch_writes_max)
    }

    /// Waits for the next batch; nothing once the queue is stopped and empty.
    ///
    /// `last_taken` is when the previous batch was taken. All that waits now came after it, so
    /// gathering until `batch_wait_max` past it keeps no stage longer than that.
    pub(crate) fn wait_next(&self, last_taken: Option<Instant>) -> Option<Batch> {
        let mut waiting = self.waiting.lock();
        let is_busy = waiting.queued_writes >= BATCH_BUSY_WRITES;
        while waiting.stages.is_empty() {
            if waiting.is_stopped {
                return None;
            }
            self.work.wait(&mut waiting);
        }
        if let Some(until) = last_taken.and_then(|at| at.checked_add(self.limits.batch_wait_max))
            && is_busy
        {
            while waiting.queued_writes < self.limits.batch_writes_max && !waiting.is_stopped {
                if self.work.wait_until(&mut waiting, until).timed_out() {
                    break;
                }
            }
        }
        waiting.take(self.limits.batch_writes_max)
    }

    /// Waits until a stage comes or the queue is stopped. Whether neither has happened for a while;
    /// room that a burst took is given back then.
    pub(crate) fn is_quiet(&self) -> bool {
        let mut waiting = self.waiting.lock();
        let is_empty = |waiting: &mut Waiting| waiting.stages.is_empty() && !waiting.is_stopped;
        if self.work.wait_while_for(&mut waiting, is_empty, self.limits.lull).timed_out() {
            waiting.stages = VecDeque::new();
            return true;
        }
        false
    }

    /// Records how the stages of a batch came out and wakes who waits for them.
    pub(crate) fn decide(&self, batch: &Batch, results: Vec<Result<(), StoreError>>) {
        self.count(batch, &results);
        {
            let mut waiting = self.waiting.lock();
            waiting.writes -= batch.writes;
            waiting.bytes -= batch.bytes;
        }
        Counters::sub(&self.counters.writes_waiting, batch.writes as u64);
        Counters::sub(&self.counters.bytes_waiting, batch.bytes as u64);
        let mut outcomes = self.outcomes.lock();
        let first = self.watermark.load(Ordering::Relaxed) + 1;
        let last = first + batch.stages.len() as u64 - 1;
        let mut results = results.into_iter();
        for sequence in first..=last {
            let result = results.next().unwrap_or_else(|| Err(no_result()));
            if let Err(error) = result
                && !outcomes.abandoned.contains(&sequence)
            {
                outcomes.failures.insert(sequence, error);
            }
        }
        outcomes.abandoned = outcomes.abandoned.split_off(&(last + 1));
        self.failures.store(outcomes.failures.len(), Ordering::Relaxed);
        // Release: who sees the watermark sees the failures below it.
        self.watermark.store(last, Ordering::Release);
        let later = outcomes.wakers.split_off(&Place { sequence: last + 1, token: 0 });
        let woken = std::mem::replace(&mut outcomes.wakers, later);
        drop(outcomes);
        woken.into_values().for_each(Waker::wake);
    }

    /// Ends the queue: fails what is left and wakes who waits for the end.
    pub(crate) fn close(&self, result: Result<(), StoreError>) {
        let rest = {
            let mut waiting = self.waiting.lock();
            waiting.is_stopped = true;
            let stages: Vec<Stage> = waiting.stages.drain(..).collect();
            waiting.queued_writes = 0;
            let (writes, bytes) = (waiting.writes, waiting.bytes);
            let undecided = waiting.last_sequence - self.watermark.load(Ordering::Acquire);
            (stages, writes, bytes, undecided)
        };
        let (mut stages, writes, bytes, undecided) = rest;
        // A batch lost with a panicking backend has numbers but no stages here any more.
        let undecided = usize::try_from(undecided).unwrap_or(usize::MAX);
        stages.resize(undecided, Stage::new());
        if undecided > 0 {
            let failed = vec![Err(StoreError::Stopped); undecided];
            self.decide(&Batch { stages, writes, bytes }, failed);
        }
        let mut outcomes = self.outcomes.lock();
        outcomes.closed.get_or_insert(result);
        let woken = std::mem::take(&mut outcomes.close_wakers);
        drop(outcomes);
        woken.into_iter().for_each(Waker::wake);
    }

    pub(crate) fn poll_closed(&self, waker: &Waker) -> Poll<Result<(), StoreError>> {
        let mut outcomes = self.outcomes.lock();
        match &outcomes.closed {
            Some(result) => Poll::Ready(result.clone()),
            None => {
                outcomes.close_wakers.retain(|known| !known.will_wake(waker));
                outcomes.close_wakers.push(waker.clone());
                Poll::Pending
            }
        }
    }

    pub(crate) fn is_decided(&self, place: Place) -> bool {
        self.watermark.load(Ordering::Acquire) >= place.sequence
    }

    /// The outcome, which is then forgotten here.
    pub(crate) fn take(&self, place: Place) -> Option<Result<(), StoreError>> {
        if !self.is_decided(place) {
            return None;
        }
        if place.token != 0 || self.failures.load(Ordering::Relaxed) == 0 {
            return Some(Ok(()));
        }
        let mut outcomes = self.outcomes.lock();
        let failure = outcomes.failures.remove(&place.sequence);
        self.failures.store(outcomes.failures.len(), Ordering::Relaxed);
        Some(failure.map_or(Ok(()), Err))
    }

    pub(crate) fn poll(&self, place: Place, waker: &Waker) -> Poll<Result<(), StoreError>> {
        if !self.is_decided(place) {
            let mut outcomes = self.outcomes.lock();
            // The watermark moves under this lock: asked again here, no wake-up is missed.
            if !self.is_decided(place) {
                outcomes.wakers.insert(place, waker.clone());
                return Poll::Pending;
            }
        }
        self.take(place).map_or(Poll::Pending, Poll::Ready)
    }

    pub(crate) fn abandon(&self, place: Place) {
        if self.is_decided(place) {
            drop(self.take(place));
            return;
        }
        let mut outcomes = self.outcomes.lock();
        outcomes.wakers.remove(&place);
        if self.is_decided(place) {
            drop(outcomes);
            drop(self.take(place));
        } else if place.token == 0 {
            outcomes.abandoned.insert(place.sequence);
        }
    }

    #[cfg(test)]
    pub(crate) fn remembered(&self) -> (usize, usize, usize) {
        let outcomes = self.outcomes.lock();
        (outcomes.failures.len(), outcomes.abandoned.len(), outcomes.wakers.len())
    }

    fn count(&self, batch: &Batch, results: &[Result<(), StoreError>]) {
        let counters = &self.counters;
        Counters::add(&counters.batches, 1);
        Counters::add(&counters.batch_writes, batch.writes as u64);
        for (stage, result) in batch.stages.iter().zip(results) {
            if result.is_ok() {
                Counters::add(&counters.stages_committed, 1);
                Counters::add(&counters.writes_committed, stage.len() as u64);
            } else {
                Counters::add(&counters.stages_failed, 1);
            }
        }
    }
}

impl Waiting {
    /// As many stages as fit into `writes_max`, and at least one.
    fn take(&mut self, writes_max: usize) -> Option<Batch> {
        let mut batch = Batch { stages: Vec::new(), writes: 0, bytes: 0 };
        while let Some(stage) = self.stages.front() {
            if !batch.stages.is_empty() && batch.writes + stage.len() > writes_max {
                break;
            }
            batch.writes += stage.len();
            batch.bytes += stage.bytes_len();
            batch.stages.extend(self.stages.pop_front());
        }
        self.queued_writes -= batch.writes;
        (!batch.stages.is_empty()).then_some(batch)
    }
}

fn no_result() -> StoreError {
    StoreError::Unreachable("the backend gave no result".into())
}
