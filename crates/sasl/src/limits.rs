//! The sizes that bound an exchange.

/// Most bytes in one message of an exchange, base64 of the stream removed.
///
/// Messages of SCRAM with names of full length stay below, unless most characters of a name have to
/// be escaped.
pub const MESSAGE_BYTES_MAX: usize = 8192;

/// Most bytes of UTF-8 in a user name or in a password.
///
/// RFC 4616 §2 asks for 255 at least; a localpart may have 1,023 (RFC 7622 §3.3.1).
pub const PART_BYTES_MAX: usize = 1023;

/// Most bytes of UTF-8 in an authorization identity: a bare JID, two parts and the `@`.
pub const AUTHZID_BYTES_MAX: usize = 2 * PART_BYTES_MAX + 1;

/// Most characters of trace data in ANONYMOUS (RFC 4505 §2).
pub const TRACE_CHARS_MAX: usize = 255;

/// Fewest characters of a nonce that this side contributes.
///
/// Sixteen of base64 carry 96 bits.
pub const NONCE_CHARS_MIN: usize = 16;

/// Fewest iterations that our client accepts from a server and that a server should announce
/// (RFC 5802 §5.1, RFC 7677 §3).
pub const ITERATIONS_MIN: u32 = 4096;

/// Most iterations that our client computes for a server: about a second with SHA-512.
///
/// RFC 5802 §9 warns of servers that keep a client busy with a big count.
pub const ITERATIONS_MAX: u32 = 2_000_000;

/// Bytes of a salt that this server makes up, for accounts and for names without an account alike.
pub const SALT_BYTES: usize = 16;
