//! The maxima of administration.

/// Bytes of one request or answer on the local socket.
pub const LINE_BYTES_MAX: usize = 1024 * 1024;

/// Connections to the local socket at once.
pub const CALLERS_MAX: usize = 16;

/// Seconds that a caller may take to send a request, or to take an answer.
pub const CALLER_WAIT_SECS: u64 = 30;

/// Seconds that the command line waits for an answer; a copy of a large database takes a while.
pub const ANSWER_WAIT_SECS: u64 = 3_600;

/// Connections to the metrics page at once.
pub const READERS_MAX: usize = 16;

/// Seconds that one request of the metrics page may take in all.
pub const READER_WAIT_SECS: u64 = 30;

/// Bytes of the head of a request to the metrics page.
pub const HEAD_BYTES_MAX: usize = 16 * 1024;

/// Accounts in one page of a list; with the longest addresses it fits into a line.
pub const PAGE_ROWS: u32 = 200;

/// Accounts in one batch of an import; with ordinary names and passwords it fits into a line.
pub const IMPORT_ROWS: usize = 500;

/// Accounts of a batch that are being made at a time.
pub const IMPORTS_IN_HAND: usize = 16;

/// Domains in one page of a list, by rows; with the longest names it fits into a line.
pub const DOMAIN_ROWS: usize = 500;

/// Reports in one page of a list; with the longest addresses it fits into a line.
pub const REPORT_ROWS: usize = 100;

/// Blocked addresses in a list.
pub const BLOCKED_ROWS: usize = 1_000;

/// Domains that a status names.
pub const STATUS_DOMAINS: usize = 50;

/// Pairs of domains for which streams stand that one answer lists, and those for which something
/// waits; with the longest names it fits into a line.
pub const S2S_ROWS: usize = 200;
