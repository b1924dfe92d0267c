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

/// Archived entries that wait to be sorted in: some 20 ms of the writer's time at once, and 1 MiB
/// of memory. More would save little; fewer, and each is a page of its own.
pub const FOLD_ENTRIES: usize = 4_096;
/// Accounts whose last archived id the writer remembers: 16 MiB.
pub const ARCHIVE_OWNERS_MAX: usize = 100_000;
/// Accounts out of whose archives one step of expiry removes.
pub const EXPIRED_OWNERS_MAX: u32 = 64;
/// Words of a search; the others are ignored.
pub const QUERY_WORDS_MAX: usize = 16;
/// Bytes of a word by which it is found. Longer ones are no language.
pub const WORD_BYTES_MAX: usize = 64;
