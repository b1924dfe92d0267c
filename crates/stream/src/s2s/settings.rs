//! What streams between servers are told by their operator.

use stentor_xml::Limits;

use super::Silence;
use crate::limits;

/// Settings of streams that other servers open.
#[derive(Clone, Debug)]
pub struct IncomingSettings {
    /// A name of this server, for a header that names no domain of ours.
    pub name: String,
    /// What a server may send before it is authenticated.
    pub limits_before_auth: Limits,
    /// What it may send afterwards.
    pub limits: Limits,
    /// The wait for the first stream header, in milliseconds.
    pub header_wait_ms: u64,
    /// The wait for the first authorized pair, in milliseconds since the connection came in.
    pub sign_in_wait_ms: u64,
    /// The wait for the peer's closing tag after ours, in milliseconds.
    pub close_wait_ms: u64,
    /// How silent a peer that counts stanzas may be (XEP-0198).
    pub silence: Silence,
}

impl Default for IncomingSettings {
    fn default() -> Self {
        let of = |frame_bytes_max| Limits { frame_bytes_max, ..Limits::default() };
        Self {
            name: String::new(),
            limits_before_auth: of(limits::FRAME_BYTES_BEFORE_AUTH_MAX),
            limits: of(limits::S2S_FRAME_BYTES_MAX),
            header_wait_ms: limits::HEADER_WAIT_MS,
            sign_in_wait_ms: limits::S2S_SIGN_IN_WAIT_MS,
            close_wait_ms: limits::CLOSE_WAIT_MS,
            silence: SILENCE,
        }
    }
}

/// Settings of a stream that we open.
#[derive(Clone, Debug)]
pub struct OutgoingSettings {
    /// What the other server may send.
    pub limits: Limits,
    /// When STARTTLS is used.
    pub tls: Tls,
    /// Whether we have a certificate to show, so that EXTERNAL can be tried.
    pub has_certificate: bool,
    /// Whether dialback may be used.
    pub may_dial_back: bool,
    /// Whether stanzas may come back on the same stream (XEP-0288).
    pub wants_bidi: bool,
    /// Whether stanzas are counted where the peer offers that (XEP-0198).
    pub wants_management: bool,
    /// How silent a peer that counts stanzas may be.
    pub silence: Silence,
    /// The wait for an authorized pair, in milliseconds since the connection was made.
    pub sign_in_wait_ms: u64,
    /// The wait for the peer's closing tag after ours, in milliseconds.
    pub close_wait_ms: u64,
}

impl Default for OutgoingSettings {
    fn default() -> Self {
        Self {
            limits: IncomingSettings::default().limits,
            tls: Tls::Required,
            has_certificate: true,
            may_dial_back: true,
            wants_bidi: true,
            wants_management: true,
            silence: SILENCE,
            sign_in_wait_ms: limits::S2S_SIGN_IN_WAIT_MS,
            close_wait_ms: limits::CLOSE_WAIT_MS,
        }
    }
}

const SILENCE: Silence =
    Silence { probe_ms: limits::S2S_PROBE_AFTER_MS, answer_wait_ms: limits::S2S_ANSWER_WAIT_MS };

/// When STARTTLS is used towards another server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    /// Never: the connection is private, or already encrypted.
    Never,
    /// When it is offered.
    WhenOffered,
    /// Always; a server that does not offer it is not spoken to.
    Required,
}
