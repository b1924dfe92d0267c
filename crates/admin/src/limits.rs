//! The maxima of administration.

/// Bytes of one request or answer on the local socket.
pub const LINE_BYTES_MAX: usize = 1024 * 1024;

/// Connections to the local socket at once.
pub const CALLERS_MAX: usize = 16;

/// Seconds that a caller may take to send a request.
pub const CALLER_WAIT_SECS: u64 = 30;

/// Connections to the metrics page at once.
pub const READERS_MAX: usize = 16;

/// Accounts in one page of a list.
pub const PAGE_ROWS: u32 = 500;
