//! What a component's stream is told by the operator.

use std::fmt;

use stentor_xml::Limits;
use zeroize::Zeroizing;

use crate::limits;

/// Settings that all components' streams share.
#[derive(Clone, Debug)]
pub struct Settings {
    /// A name of this server, told to a peer whose domain is not one of a component.
    pub name: String,
    /// What may be sent before the handshake.
    pub limits_before_auth: Limits,
    /// The wait for the stream header, in milliseconds.
    pub header_wait_ms: u64,
    /// The wait for the handshake, in milliseconds since the connection came in.
    pub handshake_wait_ms: u64,
    /// The wait for the peer's closing tag after ours, in milliseconds.
    pub close_wait_ms: u64,
    /// The silence of ours after which we send a space, in milliseconds; zero never does. A
    /// connection that broke unnoticed is found by it.
    pub keepalive_ms: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            name: String::new(),
            limits_before_auth: Limits {
                frame_bytes_max: limits::FRAME_BYTES_BEFORE_AUTH_MAX,
                ..Limits::default()
            },
            header_wait_ms: limits::HEADER_WAIT_MS,
            handshake_wait_ms: limits::SIGN_IN_WAIT_MS,
            close_wait_ms: limits::CLOSE_WAIT_MS,
            keepalive_ms: limits::COMPONENT_KEEPALIVE_MS,
        }
    }
}

/// What is known of the component of a domain.
#[derive(Clone, PartialEq, Eq)]
pub struct Offer {
    /// What it must know.
    pub secret: Zeroizing<String>,
    /// The largest first-level element that it may send, in bytes.
    pub frame_bytes_max: usize,
}

impl fmt::Debug for Offer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Offer")
            .field("frame_bytes_max", &self.frame_bytes_max)
            .finish_non_exhaustive()
    }
}
