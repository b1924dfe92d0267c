//! Every maximum of the embedded store, with the reason for its size.

use std::time::Duration;

/// Threads that read, unless set otherwise: they mostly wait for the disk.
pub const READERS: usize = 4;
/// Reads waiting for a thread at which further ones fail with `Busy`.
pub const READS_WAITING_MAX: usize = 1_024;
/// Page cache of the writer.
pub const WRITER_CACHE_KIB: u32 = 16 << 10;
/// Page cache of each reader.
pub const READER_CACHE_KIB: u32 = 4 << 10;
/// Prepared statements kept for each connection: more than there are different ones.
pub const STATEMENTS_MAX: usize = 128;
/// How long a connection waits for another one's lock. Only checkpoints take any.
pub const LOCK_WAIT_MAX: Duration = Duration::from_secs(5);
/// Pages written, by estimate, after which the log is moved into the file: 4 MiB.
pub const CHECKPOINT_PAGES: u64 = 1_000;
/// Pages in the log above which a checkpoint waits for readers, so that the log starts over:
/// 64 MiB.
pub const LOG_PAGES_MAX: i64 = 16_384;
/// Bytes to which the log file shrinks when it starts over.
pub const LOG_BYTES_KEPT: u32 = 64 << 20;
