//! What both sides of SCRAM share (RFC 5802, RFC 7677).

pub(crate) mod message;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::limits::NONCE_CHARS_MIN;

/// Spells 144 bits of the system's randomness as a nonce of 24 characters.
#[must_use]
pub fn nonce(random: [u8; 18]) -> String {
    to_base64(&random)
}

/// Whether a nonce is fit to be contributed by this side.
pub(crate) fn is_own_nonce(nonce: &str) -> bool {
    nonce.len() >= NONCE_CHARS_MIN && message::is_nonce(nonce)
}

pub(crate) fn to_base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Decodes base64 with padding and zero padding bits, as RFC 5802 §7 writes it.
pub(crate) fn from_base64(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

/// The value of `c=`: the GS2 header as sent, and the data if the channel is bound.
pub(crate) fn channel_binding(gs2_header: &str, data: &[u8]) -> String {
    to_base64(&[gs2_header.as_bytes(), data].concat())
}
