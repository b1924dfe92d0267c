//! Every maximum of storage, with the reason for its size.

use std::time::Duration;

/// Writes of one transaction, unless a single stage holds more: a stage is never split. When a
/// disk is slow to flush, many share one flush; they take some twenty milliseconds themselves.
pub const BATCH_WRITES_MAX: usize = 2_048;
/// How long a busy writer gathers stages for its next transaction.
pub const BATCH_WAIT_MAX: Duration = Duration::from_millis(2);
/// A batch of this many writes makes the writer busy, so that it gathers before the next one.
/// Below it, waiting would cost more latency than it saves in flushes.
pub const BATCH_BUSY_WRITES: usize = 32;

/// How long nothing comes before the writer gives back the memory that it keeps for what may come.
pub const LULL: Duration = Duration::from_secs(1);

/// Writes staged and not committed at which [`Writer::has_room`](crate::Writer::has_room) says no:
/// half a second of work for a disk that commits 16,000 rows a second.
pub const STAGED_WRITES_MAX: usize = 8_192;
/// Bytes staged and not committed at which [`Writer::has_room`](crate::Writer::has_room) says no.
pub const STAGED_BYTES_MAX: usize = 64 << 20;
/// How often the writes and bytes that wait must fit into those two; with more,
/// [`Writer::is_pressed`](crate::Writer::is_pressed) says yes. What is left is for those who cannot
/// wait.
pub const STAGED_PRESSED_SHARE: usize = 2;
/// How often those two may be exceeded by passes that asked for room at the same time. Beyond it
/// a stage is refused with [`StoreError::Busy`](crate::StoreError::Busy).
pub const STAGED_OVERSHOOT: usize = 2;

/// Rows of one page of any list, whatever the caller asks for.
pub const PAGE_ROWS_MAX: u32 = 500;
/// Bytes after which a page of stored stanzas or documents ends early, though never before its
/// first row. 100 messages of the stanza limit at one login must not be in memory at once.
pub const PAGE_BYTES_MAX: usize = 1 << 20;

/// Archived messages up to which those that match a filter are counted, and up to which a page
/// begins by index: reading their keys takes as long as reading the page.
pub const COUNT_ROWS_MAX: u64 = 1_000;
/// Archived messages with one contact among which the one that a sender's id names is looked for.
/// Reading their keys takes some ten milliseconds.
pub const REFERENCE_ROWS_MAX: u32 = 100_000;
/// Archived messages that one write removes, when it removes old ones: some milliseconds of the
/// writer's time.
pub const ARCHIVE_STEP_ROWS: u32 = 500;

/// Removed roster items remembered for each account, so that an older client hears of the removal
/// (RFC 6121 §2.6.3) without getting the whole roster.
pub const ROSTER_TOMBSTONES_MAX: u32 = 128;
