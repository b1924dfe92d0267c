//! What a client stream is told by its operator and its connection.

use std::fmt;

use stentor_sasl::{Bindings, Mechanism};
use stentor_xml::Limits;

use crate::feature::ExtraFeature;
use crate::limits;
use crate::sign_in::ExtendedOffer;

/// Settings that all client streams of a listener share.
#[derive(Clone, Debug)]
pub struct Settings {
    /// A name of this server, told to a client whose domain is missing or unknown
    /// (RFC 6120 §4.9.1.3); may be empty.
    pub name: String,
    /// The domain meant by a header without `to`; none refuses such a header, unless the TLS
    /// handshake named a domain.
    pub default_host: Option<String>,
    /// What a client may send before sign-in.
    pub limits_before_auth: Limits,
    /// What a client may send after sign-in.
    pub limits: Limits,
    /// How often it may try again after a failed sign-in.
    pub auth_retries_max: u8,
    /// How often it may try again after a refused resource.
    pub bind_retries_max: u8,
    /// The wait for the first stream header, in milliseconds.
    pub header_wait_ms: u64,
    /// The wait for a bound session, in milliseconds since the connection came in.
    pub sign_in_wait_ms: u64,
    /// The wait for the client's closing tag after ours, in milliseconds.
    pub close_wait_ms: u64,
    /// What is done about clients that are silent.
    pub idle: Idle,
}

impl Default for Settings {
    fn default() -> Self {
        let limits = Limits { frame_bytes_max: limits::FRAME_BYTES_MAX, ..Limits::default() };
        Self {
            name: String::new(),
            default_host: None,
            limits_before_auth: Limits {
                frame_bytes_max: limits::FRAME_BYTES_BEFORE_AUTH_MAX,
                ..Limits::default()
            },
            limits,
            auth_retries_max: limits::AUTH_RETRIES_MAX,
            bind_retries_max: limits::BIND_RETRIES_MAX,
            header_wait_ms: limits::HEADER_WAIT_MS,
            sign_in_wait_ms: limits::SIGN_IN_WAIT_MS,
            close_wait_ms: limits::CLOSE_WAIT_MS,
            idle: Idle::default(),
        }
    }
}

/// What is done about a bound client that is silent (RFC 6120 §4.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Idle {
    /// The silence of the client after which it is asked, in milliseconds; zero never asks.
    pub after_ms: u64,
    /// The wait for any sign of life after it was asked, in milliseconds.
    pub answer_wait_ms: u64,
    /// How it is asked.
    pub probe: Probe,
    /// The silence of ours after which we send a space, so that middleboxes keep the connection,
    /// in milliseconds; zero never does.
    pub keepalive_ms: u64,
}

impl Default for Idle {
    fn default() -> Self {
        Self {
            after_ms: limits::IDLE_MS,
            answer_wait_ms: limits::ANSWER_WAIT_MS,
            probe: Probe::Question,
            keepalive_ms: 0,
        }
    }
}

/// How a silent client is asked whether it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// By a question that must be answered: how many stanzas it has had (XEP-0198) or what it is
    /// (XEP-0092), and then a ping (XEP-0199). No sign of life afterwards ends the stream.
    Question,
    /// By a space, which nobody answers: only TCP will notice that the client is gone.
    Whitespace,
}

/// What the shell knows when a connection comes in.
pub struct ConnInfo {
    /// The handshake, if TLS came first (XEP-0368).
    pub tls: Option<TlsInfo>,
    /// Makes stream ids and nonces.
    pub tokens: Tokens,
}

impl fmt::Debug for ConnInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnInfo").field("tls", &self.tls).finish_non_exhaustive()
    }
}

/// Makes a new unguessable text at each call: at least 128 random bits in printable ASCII without
/// a comma, such as base64.
pub type Tokens = Box<dyn FnMut() -> String + Send>;

/// What the TLS handshake told.
#[derive(Clone, Debug, Default)]
pub struct TlsInfo {
    /// Channel binding data of the connection.
    pub bindings: Bindings,
    /// Whether the client showed a certificate that may sign it in (RFC 6120 §6.3.4).
    pub client_cert: bool,
    /// The domain that the client asked the handshake for.
    pub sni: Option<String>,
}

/// What a domain offers to its clients.
#[derive(Clone, Debug, Default)]
pub struct HostOffer {
    /// The domain in its canonical form.
    pub domain: String,
    /// The mechanisms in the order of preference; those that a connection cannot use are left out
    /// of its list.
    pub mechanisms: Vec<Mechanism>,
    /// Whether there is a certificate, so that STARTTLS can be offered.
    pub starttls: bool,
    /// Whether nothing but STARTTLS is offered before TLS.
    pub tls_required: bool,
    /// Whether strangers may register (XEP-0077).
    pub registration: bool,
    /// Whether rosters have versions (RFC 6121 §2.6).
    pub roster_versions: bool,
    /// Whether subscriptions may be approved before they are asked for (RFC 6121 §3.4).
    pub pre_approval: bool,
    /// What XEP-0388 offers over TLS beside the mechanisms; none where only RFC 6120 §6 is spoken.
    pub extended: Option<ExtendedOffer>,
    /// Whether there is stream management (XEP-0198).
    pub management: bool,
    /// Features that code outside this crate answers for.
    pub features: Vec<ExtraFeature>,
}
