//! The maxima of the edge.

/// Bytes read from a socket at a time, into a buffer of the thread.
pub const READ_BYTES_MAX: usize = 16 * 1024;

/// Bytes of stanzas written out ahead of what the socket has taken.
pub const OUT_BYTES_MAX: usize = 64 * 1024;

/// Rounds of a connection's loop before it lets others run.
pub const ROUNDS_MAX: usize = 32;

/// Milliseconds that a TLS handshake may take.
pub const HANDSHAKE_WAIT_MS: u64 = 10_000;

/// Milliseconds that the last bytes of an ended stream may take to leave.
pub const LINGER_WAIT_MS: u64 = 2_000;

/// Source addresses whose connections are counted.
pub const SOURCES_MAX: usize = 262_144;
