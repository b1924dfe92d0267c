//! The ordered writer: stages in, transactions out.
//!
//! One thread owns the backend. It takes what waits, commits it as one transaction and moves the
//! watermark; what arrives meanwhile is the next transaction. While little arrives each stage is
//! committed at once. Once [`BATCH_BUSY_WRITES`](crate::limits::BATCH_BUSY_WRITES) wait at the end
//! of a commit, the writer gathers until [`BATCH_WAIT_MAX`] after it took the previous batch. That, and
//! how long a store has refused, are the only reasons for this crate to read a clock.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::limits::{BATCH_WAIT_MAX, BATCH_WRITES_MAX, LULL, STAGED_BYTES_MAX, STAGED_WRITES_MAX};
use crate::outage::Told;
use crate::queue::{Batch, Queue};
use crate::{Boxed, Counters, Stage, StoreError, Ticket};

/// The way into a store. Clones share one queue; the last one to go stops the writer.
#[derive(Clone)]
pub struct Writer {
    shared: Arc<Shared>,
}

/// Where committed stages go.
pub trait Backend: Send + 'static {
    /// Commits stages in order, if it can in one transaction, and reports on each.
    ///
    /// A stage that fails leaves nothing behind and does not fail its neighbours. `Ok` means that
    /// the stage survives a crash of the process and of the machine.
    fn commit(&mut self, stages: &[Stage]) -> Vec<Result<(), StoreError>>;

    /// Nothing has come for a while: memory that only makes the next commit faster is given back.
    fn rest(&mut self) {}

    /// Called once, after the last commit.
    ///
    /// # Errors
    ///
    /// Whatever kept it from an orderly end; nothing committed is lost by it.
    fn close(&mut self) -> Result<(), StoreError> {
        Ok(())
    }
}

/// How much may wait and how much goes into one transaction.
#[derive(Clone, Copy, Debug)]
pub struct WriterLimits {
    /// Writes waiting at which `has_room` says no.
    pub staged_writes_max: usize,
    /// Bytes waiting at which `has_room` says no.
    pub staged_bytes_max: usize,
    /// Writes of one transaction, unless a single stage holds more.
    pub batch_writes_max: usize,
    /// How long a busy writer gathers.
    pub batch_wait_max: Duration,
    /// How long nothing comes before [`Backend::rest`] is called.
    pub lull: Duration,
}

struct Shared {
    queue: Arc<Queue>,
    home: Home,
}

enum Home {
    /// The backend lives in a thread of its own.
    Thread(Mutex<Option<JoinHandle<()>>>),
    /// The backend is used by whoever submits.
    Caller(Mutex<Box<dyn Backend>>),
    /// The backend is used by whoever says that it is time.
    Stepped(Mutex<Box<dyn Backend>>),
}

/// Closes the queue even if the backend panics, so that no ticket waits for ever.
struct CloseOnExit<'a> {
    queue: &'a Queue,
    result: Result<(), StoreError>,
}

impl Writer {
    /// Starts the writer's thread.
    ///
    /// # Errors
    ///
    /// The system refuses another thread.
    pub fn spawn(backend: impl Backend, limits: WriterLimits) -> io::Result<Self> {
        let queue = Arc::new(Queue::new(limits));
        let theirs = Arc::clone(&queue);
        let thread = thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || run(&theirs, Told::new(backend)))?;
        let home = Home::Thread(Mutex::new(Some(thread)));
        Ok(Self { shared: Arc::new(Shared { queue, home }) })
    }

    /// A writer without a thread: each stage is committed before `submit` returns.
    ///
    /// For simulations and tests under a virtual clock, where a commit must take no time.
    pub fn inline(backend: impl Backend, limits: WriterLimits) -> Self {
        let queue = Arc::new(Queue::new(limits));
        let home = Home::Caller(Mutex::new(Box::new(Told::new(backend))));
        Self { shared: Arc::new(Shared { queue, home }) }
    }

    /// A writer without a thread: what waits is committed by [`Writer::step`] alone.
    ///
    /// For simulations in which a process ends between a submission and its commit.
    pub fn stepped(backend: impl Backend, limits: WriterLimits) -> Self {
        let queue = Arc::new(Queue::new(limits));
        let home = Home::Stepped(Mutex::new(Box::new(Told::new(backend))));
        Self { shared: Arc::new(Shared { queue, home }) }
    }

    /// Commits the next transaction of a writer that was made by [`Writer::stepped`]. Whether
    /// anything waited.
    pub fn step(&self) -> bool {
        let Home::Stepped(backend) = &self.shared.home else { return false };
        let mut backend = backend.lock();
        let batch = self.shared.queue.try_next();
        if let Some(batch) = &batch {
            commit(&self.shared.queue, backend.as_mut(), batch);
        }
        batch.is_some()
    }

    /// Whether a stage may be submitted. If not, the request is refused with `wait` before
    /// anybody has seen its effect.
    pub fn has_room(&self) -> bool {
        self.shared.queue.has_room()
    }

    /// Whether so much waits that whoever can wait should, for [`Writer::barrier`] at the longest:
    /// then there is room again for those who cannot.
    pub fn is_pressed(&self) -> bool {
        self.shared.queue.is_pressed()
    }

    /// Takes a stage for the next transaction and never waits.
    ///
    /// Stages commit in the order of these calls. An empty stage is done at once. The ticket fails
    /// at once with [`StoreError::Busy`] far above the limits that
    /// [`has_room`](Self::has_room) announces, and with [`StoreError::Stopped`] after
    /// [`stop`](Self::stop).
    pub fn submit(&self, stage: impl Into<Stage>) -> Ticket {
        let stage = stage.into();
        if stage.is_empty() {
            return Ticket::done();
        }
        let place = match self.shared.queue.push(stage) {
            Ok(place) => place,
            Err(error) => return Ticket::failed(error),
        };
        if let Home::Caller(backend) = &self.shared.home {
            let mut backend = backend.lock();
            while let Some(batch) = self.shared.queue.try_next() {
                commit(&self.shared.queue, backend.as_mut(), &batch);
            }
        }
        Ticket::waiting(Arc::clone(&self.shared.queue), place)
    }

    /// A ticket that is done once everything submitted so far is decided, whatever came of it.
    pub fn barrier(&self) -> Ticket {
        Ticket::waiting(Arc::clone(&self.shared.queue), self.shared.queue.barrier())
    }

    /// Refuses further stages, commits those that wait, closes the backend, and is ready then.
    ///
    /// # Errors
    ///
    /// What [`Backend::close`] reports.
    pub fn stop(&self) -> Boxed<()> {
        self.shared.queue.stop();
        while self.step() {}
        if let Home::Caller(backend) | Home::Stepped(backend) = &self.shared.home {
            let mut backend = backend.lock();
            let result = backend.close();
            self.shared.queue.close(result);
        }
        let queue = Arc::clone(&self.shared.queue);
        Box::pin(async move { poll_fn(|cx| queue.poll_closed(cx.waker())).await })
    }

    /// Failures, dropped tickets and wakers that are still remembered.
    #[cfg(test)]
    pub(crate) fn remembered(&self) -> (usize, usize, usize) {
        self.shared.queue.remembered()
    }

    /// What the writer has counted.
    pub fn counters(&self) -> &Counters {
        &self.shared.queue.counters
    }
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").field("counters", self.counters()).finish_non_exhaustive()
    }
}

impl Default for WriterLimits {
    fn default() -> Self {
        Self {
            staged_writes_max: STAGED_WRITES_MAX,
            staged_bytes_max: STAGED_BYTES_MAX,
            batch_writes_max: BATCH_WRITES_MAX,
            batch_wait_max: BATCH_WAIT_MAX,
            lull: LULL,
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.queue.stop();
        if let Home::Thread(thread) = &self.home
            && let Some(thread) = thread.lock().take()
            && thread.thread().id() != thread::current().id()
        {
            // Waiting here means that a file is closed once its owner is gone. A panic of the
            // thread has already failed every ticket. The thread itself gets here if a waker that
            // it calls drops the last writer.
            drop(thread.join());
        }
    }
}

impl Drop for CloseOnExit<'_> {
    fn drop(&mut self) {
        self.queue.close(self.result.clone());
    }
}

fn run(queue: &Queue, mut backend: impl Backend) {
    let panicked = Err(StoreError::Unreachable("the writer panicked".into()));
    let mut exit = CloseOnExit { queue, result: panicked };
    let mut last_taken = None;
    while let Some(batch) = queue.wait_next(last_taken) {
        last_taken = Some(Instant::now());
        commit(queue, &mut backend, &batch);
        if queue.is_quiet() {
            backend.rest();
        }
    }
    exit.result = backend.close();
}

fn commit(queue: &Queue, backend: &mut dyn Backend, batch: &Batch) {
    queue.decide(batch, backend.commit(&batch.stages));
}
