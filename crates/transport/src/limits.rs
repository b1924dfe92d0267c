//! Every maximum of this crate, in one place.
//!
//! Times are in seconds unless the name says otherwise, sizes in bytes.

/// Largest TLS record on the wire: header, 2^14 bytes and the 2,048 that RFC 5246 §6.2.3 allows.
pub const RECORD_BYTES_MAX: usize = 5 + 16_384 + 2_048;

/// Most ciphertext of an unfinished record that an established connection keeps.
///
/// One record more than this means a handshake message that no established peer has reason to
/// send.
pub const PARTIAL_BYTES_MAX: usize = RECORD_BYTES_MAX;

/// Most bytes taken from a socket at once.
pub const READ_BYTES_MAX: usize = 16_384;

/// Most plaintext encrypted by one write.
pub const WRITE_BYTES_MAX: usize = 16_384;

/// A write is refused while this much ciphertext waits for the socket.
///
/// The buffer may exceed it by one write ([`WRITE_BYTES_MAX`] and its record overhead).
pub const PENDING_BYTES_MAX: usize = 16_384;

/// Most bytes a peer may send before its `ClientHello` is complete.
pub const CLIENT_HELLO_BYTES_MAX: usize = 20_480;

/// Most bytes that an unfinished flight of the handshake may hold (a long client chain).
pub const HANDSHAKE_BYTES_MAX: usize = 81_920;

/// Most bytes read and thrown away after an alert, so that closing does not reset the connection
/// before the peer saw the alert.
pub const DRAIN_BYTES_MAX: usize = 65_536;

/// Smallest RSA key that a certificate of ours may have (RFC 9325 §4.2).
pub const RSA_BITS_MIN: usize = 2_048;

/// How long one ticket key issues tickets. It opens them for as long again, then it is erased.
pub const TICKET_KEY_SECS: u64 = 12 * 3_600;

/// How long after its issue a resumption ticket can be used at most.
pub const TICKET_LIFETIME_SECS: u32 = 24 * 3_600;

/// Sessions that a connector remembers for resumption.
pub const CLIENT_SESSIONS_MAX: usize = 256;

/// Certificates in a chain that is read from a file.
pub const CHAIN_LEN_MAX: usize = 10;

/// Largest certificate or key file.
pub const PEM_BYTES_MAX: u64 = 1 << 20;

/// Connections that the kernel holds for a listener until they are accepted.
pub const BACKLOG: i32 = 1_024;

/// First pause after the process ran out of descriptors or memory while accepting, in
/// milliseconds; doubled at each failure in a row.
pub const ACCEPT_PAUSE_MIN_MILLIS: u64 = 50;

/// Longest pause between two attempts to accept, in milliseconds.
pub const ACCEPT_PAUSE_MAX_MILLIS: u64 = 1_000;

/// Silence after which the kernel probes a peer.
pub const KEEPALIVE_IDLE_SECS: u64 = 300;

/// Pause between two probes.
pub const KEEPALIVE_INTERVAL_SECS: u64 = 60;

/// Unanswered probes after which the kernel gives a connection up.
pub const KEEPALIVE_PROBES: u32 = 4;

/// Life of a development certificate authority.
pub const DEV_CA_DAYS: u64 = 3_650;

/// Life of a development certificate; browsers refuse more than 398.
pub const DEV_LEAF_DAYS: u64 = 397;

/// A development certificate is renewed when it has fewer days than this left.
pub const DEV_RENEW_DAYS: u64 = 30;
