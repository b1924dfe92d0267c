//! What the writer counts for the metrics page.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Running figures of one writer, read at any time without a lock.
#[derive(Debug, Default)]
pub struct Counters {
    /// Batches handed to the backend. Written by the writer.
    pub batches: AtomicU64,
    /// Writes in those batches; divided by `batches` it is the mean batch size.
    pub batch_writes: AtomicU64,
    /// Stages committed. Written by the writer.
    pub stages_committed: AtomicU64,
    /// Writes of committed stages. Written by the writer.
    pub writes_committed: AtomicU64,
    /// Stages that the backend failed. Written by the writer.
    pub stages_failed: AtomicU64,
    /// Stages refused because too much was waiting. Written by `submit`.
    pub stages_refused: AtomicU64,
    /// Writes submitted and not decided yet.
    pub writes_waiting: AtomicU64,
    /// Bytes submitted and not decided yet.
    pub bytes_waiting: AtomicU64,
    /// Stored rows that could not be read and were skipped. Written by the backend's readers.
    pub rows_damaged: AtomicU64,
}

impl Counters {
    /// Adds to one counter.
    pub fn add(counter: &AtomicU64, n: u64) {
        counter.fetch_add(n, Relaxed);
    }

    /// Reads one counter.
    pub fn read(counter: &AtomicU64) -> u64 {
        counter.load(Relaxed)
    }

    /// All counters by name, for the metrics page.
    pub fn all(&self) -> [(&'static str, u64); 9] {
        [
            ("batches", &self.batches),
            ("batch_writes", &self.batch_writes),
            ("stages_committed", &self.stages_committed),
            ("writes_committed", &self.writes_committed),
            ("stages_failed", &self.stages_failed),
            ("stages_refused", &self.stages_refused),
            ("writes_waiting", &self.writes_waiting),
            ("bytes_waiting", &self.bytes_waiting),
            ("rows_damaged", &self.rows_damaged),
        ]
        .map(|(name, counter)| (name, Self::read(counter)))
    }

    pub(crate) fn sub(counter: &AtomicU64, n: u64) {
        counter.fetch_sub(n, Relaxed);
    }
}
