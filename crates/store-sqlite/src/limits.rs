//! Every maximum of the embedded store, with the reason for its size.

use std::time::Duration;

/// Threads that read, unless set otherwise: they mostly wait for the disk.
pub const READERS: usize = 4;
/// Reads waiting for a thread at which further ones fail with `Busy`.
pub const READS_WAITING_MAX: usize = 1_024;
/// How long a connection is not used before it gives back the memory of its page cache.
pub const LULL: Duration = Duration::from_secs(1);
/// Page cache of the writer.
pub const WRITER_CACHE_KIB: u32 = 16 << 10;
/// Page cache of each reader.
pub const READER_CACHE_KIB: u32 = 4 << 10;
/// Prepared statements kept for each connection: more than there are different ones.
pub const STATEMENTS_MAX: usize = 128;
/// How long a connection waits for another one's lock. Only checkpoints take any.
pub const LOCK_WAIT_MAX: Duration = Duration::from_secs(5);
/// How long emptying the log keeps commits waiting for readers before it gives up for now.
pub const EMPTYING_WAIT_MAX: Duration = Duration::from_millis(50);
/// How long after that it is tried again.
pub const EMPTYING_PAUSE: Duration = Duration::from_secs(1);
/// Pages written, by estimate, after which the log is moved into the file: 4 MiB.
pub const CHECKPOINT_PAGES: u64 = 1_000;
/// Pages in the log above which a checkpoint waits for readers, so that the log starts over:
/// 64 MiB.
pub const LOG_PAGES_MAX: i64 = 16_384;
/// Bytes to which the log file shrinks when it starts over.
pub const LOG_BYTES_KEPT: u32 = 64 << 20;

/// Archived entries that are appended before they are folded: 10 MiB of memory. The more there are,
/// the more of them go into one page together; with a few thousand accounts that write at once it
/// is a fourth of what 4,096 cost.
pub const FOLD_ENTRIES: usize = 65_536;
/// Into how many commits that brought nothing new folding is spread, so that none takes long. One
/// that brings entries folds twice as many.
pub const FOLD_STEPS: usize = 512;
/// Archived messages whose words are entered together: a few milliseconds of the writer's time. A
/// search reads the texts of those that wait.
pub const WORDED_MESSAGES: i64 = 1_024;
/// Messages up to which those with certain words are counted: each is looked at.
pub const COUNT_WORDED_MAX: usize = 200;
/// An archive with at least one in so many of all messages has a good part of them.
pub const GOOD_PART: i64 = 8;
/// Messages of all archives that a search by words looks at in the hope that a good part of them is
/// in the right one: some milliseconds.
pub const LOOKS_MAX: usize = 2_000;
/// Archived messages that are taken up together at the start.
pub const CATCH_UP_MESSAGES: i64 = 8_192;
/// Accounts whose last archived id the writer remembers: 16 MiB.
pub const ARCHIVE_OWNERS_MAX: usize = 100_000;
/// Accounts out of whose archives one step of expiry removes.
pub const EXPIRED_OWNERS_MAX: u32 = 64;
/// Words of a search; the others are ignored.
pub const QUERY_WORDS_MAX: usize = 16;
/// Bytes of a word by which it is found. Longer ones are no language.
pub const WORD_BYTES_MAX: usize = 64;
