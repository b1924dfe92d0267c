//! Every maximum of a stream machine, with its default where an operator may change it.

/// Default for the largest first-level element after sign-in, in bytes.
///
/// RFC 6120 §13.12 demands at least 10,000.
pub const FRAME_BYTES_MAX: usize = 262_144;

/// Default for the largest first-level element before sign-in, in bytes.
///
/// Enough for a registration form (XEP-0077) and for any SASL message.
pub const FRAME_BYTES_BEFORE_AUTH_MAX: usize = 16_384;

/// Default for the largest first-level element of an authenticated server, in bytes.
pub const S2S_FRAME_BYTES_MAX: usize = 524_288;

/// How many stanzas leave before the peer is asked at once whether it has them (XEP-0198).
pub const ACK_ASK_AFTER: u32 = 16;

/// The wait before it is asked about fewer, in milliseconds.
pub const ACK_ASK_WAIT_MS: u64 = 500;

/// The longest id of a session to be resumed that is looked for, in bytes (XEP-0198 §5).
pub const SM_ID_BYTES_MAX: usize = 4_000;

/// Default silence of ours after which a component is sent a space, in milliseconds.
pub const COMPONENT_KEEPALIVE_MS: u64 = 60_000;

/// Domain pairs of one stream between servers, authorized or asked for.
pub const DIALBACKS_MAX: usize = 64;

/// Domain pairs of one stream that may be refused before it ends. Each may have cost a call back.
pub const DIALBACK_REFUSALS_MAX: u8 = 16;

/// The longest dialback key that is read, in bytes; XEP-0185 makes keys of 64.
pub const DIALBACK_KEY_BYTES_MAX: usize = 512;

/// Default for how often a client may try again after a failed sign-in (RFC 6120 §6.4.5: 2 to 5).
pub const AUTH_RETRIES_MAX: u8 = 3;

/// Default for how often a client may try again after a refused resource (RFC 6120 §7.7.3: 5 to
/// 10).
pub const BIND_RETRIES_MAX: u8 = 5;

/// How many registration IQs one stream may send before sign-in (XEP-0077).
pub const STREAM_IQS_MAX: u8 = 10;

/// How many bytes of its own a machine gathers before it reads no further input.
///
/// A peer that sends many refused stanzas and reads none of the answers stops here.
pub const OUTPUT_BYTES_MAX: usize = 16_384;

/// The longest `xml:lang` that is remembered, in bytes (RFC 5646 needs 35 for registered tags).
pub const LANG_BYTES_MAX: usize = 64;

/// Default wait for the first stream header, in milliseconds.
pub const HEADER_WAIT_MS: u64 = 30_000;

/// Default wait for a bound session since the connection came in, in milliseconds.
pub const SIGN_IN_WAIT_MS: u64 = 60_000;

/// Milliseconds until the domain of another server is proven, both ways: with STARTTLS that takes seven
/// round trips.
pub const S2S_SIGN_IN_WAIT_MS: u64 = 120_000;

/// Default wait for the peer's closing tag after ours, in milliseconds (RFC 6120 §4.4).
pub const CLOSE_WAIT_MS: u64 = 1_500;

/// Default silence after which a client is asked whether it is there, in milliseconds.
pub const IDLE_MS: u64 = 300_000;

/// Default wait for any sign of life after a client was asked, in milliseconds.
pub const ANSWER_WAIT_MS: u64 = 30_000;

/// Default for the largest first-level element that a connecting stream takes from its server, in
/// bytes: archives and avatars come in one piece.
pub const SERVER_FRAME_BYTES_MAX: usize = 4_194_304;

/// The longest id of a client installation, in bytes; a UUID has 36 (XEP-0388 §2.3).
pub const CLIENT_ID_BYTES_MAX: usize = 128;

/// The most that is kept of what a client says of its software, or of its device, in bytes.
pub const CLIENT_TEXT_BYTES_MAX: usize = 256;

/// Silence of another server after which it is asked for a sign of life, in milliseconds.
pub const S2S_PROBE_AFTER_MS: u64 = 120_000;

/// Milliseconds in which another server must answer what it has handled, or send anything else.
pub const S2S_ANSWER_WAIT_MS: u64 = 120_000;

/// Bytes of the name of a SASL mechanism (RFC 4422 §3.1).
pub const MECHANISM_NAME_BYTES_MAX: usize = 20;
