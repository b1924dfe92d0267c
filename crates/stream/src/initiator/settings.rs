//! What a connecting stream wants.

use std::fmt;

use stentor_sasl::Mechanism;
use stentor_xml::Limits;
use zeroize::Zeroizing;

use crate::limits;
use crate::sign_in::{BindRequest, UserAgent};

/// Where to sign in, as whom, and how.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The domain to sign in at.
    pub domain: String,
    /// Who we are.
    pub credentials: Credentials,
    /// The resource to ask for; none leaves the choice to the server.
    pub resource: Option<String>,
    /// Whether the stream must be encrypted.
    pub tls: TlsPolicy,
    /// The mechanisms that may be used; the strongest that the server offers is taken first.
    pub mechanisms: Vec<Mechanism>,
    /// How to sign in by XEP-0388 where the server offers it over TLS; none speaks RFC 6120 §6 only.
    pub extended: Option<Extended>,
    /// The language of what people write on this stream (RFC 6120 §4.7.4).
    pub lang: String,
    /// What the server may send.
    pub limits: Limits,
    /// The wait for the session, in milliseconds.
    pub sign_in_wait_ms: u64,
    /// The wait for the server's closing tag after ours, in milliseconds.
    pub close_wait_ms: u64,
}

impl Settings {
    /// Settings with defaults for everything else: TLS required, every mechanism allowed.
    #[must_use]
    pub fn new(domain: impl Into<String>, credentials: Credentials) -> Self {
        Self {
            domain: domain.into(),
            credentials,
            resource: None,
            tls: TlsPolicy::Required,
            mechanisms: ALL_MECHANISMS.to_vec(),
            extended: None,
            lang: "en".to_owned(),
            limits: Limits { frame_bytes_max: limits::SERVER_FRAME_BYTES_MAX, ..Limits::default() },
            sign_in_wait_ms: limits::SIGN_IN_WAIT_MS,
            close_wait_ms: limits::CLOSE_WAIT_MS,
        }
    }
}

/// What to say and to ask for with XEP-0388.
#[derive(Clone, Debug, Default)]
pub struct Extended {
    /// What the server is told about this client.
    pub user_agent: UserAgent,
    /// The resource to ask for (XEP-0386); none binds by RFC 6120 §7.
    pub bind: Option<BindRequest>,
    /// A token to come back with; the password is used if it is refused.
    pub token: Option<HeldToken>,
    /// Whether to ask for a new token (XEP-0484).
    pub wants_token: bool,
    /// Whether to sign in by the token right behind the header, before the features are known.
    pub pipelines: bool,
    /// The version of the features that pipelining counts on (XEP-0509).
    pub config_version: Option<String>,
    /// Whether to give the account keys of every hash that the server lists (XEP-0480).
    pub upgrades: bool,
}

/// A token of ours.
#[derive(Clone, PartialEq, Eq)]
pub struct HeldToken {
    /// What it is good for.
    pub mechanism: Mechanism,
    /// The secret.
    pub secret: String,
    /// How often it will have been used, this time included; none does not say.
    pub count: Option<u64>,
    /// Whether it shall be good no more.
    pub invalidates: bool,
}

impl fmt::Debug for HeldToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeldToken").field("mechanism", &self.mechanism).finish_non_exhaustive()
    }
}

/// Who we are.
#[derive(Clone)]
pub enum Credentials {
    /// A user and the password.
    Password {
        /// The localpart.
        username: String,
        /// What the user types.
        password: Zeroizing<String>,
    },
    /// The certificate that the TLS handshake shows; the address to act as where it names several.
    Certificate {
        /// A bare address.
        authzid: Option<String>,
    },
    /// Nobody in particular (XEP-0175).
    Anonymous,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Password { username, .. } => write!(f, "Password({username})"),
            Self::Certificate { authzid } => write!(f, "Certificate({authzid:?})"),
            Self::Anonymous => f.write_str("Anonymous"),
        }
    }
}

/// Whether a stream must be encrypted (RFC 7590 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsPolicy {
    /// Without TLS the stream ends.
    Required,
    /// TLS if the server offers it; for tests on the loopback interface.
    IfOffered,
    /// No TLS; for tests on the loopback interface.
    Never,
}

const ALL_MECHANISMS: &[Mechanism] = &[
    Mechanism::External,
    Mechanism::ScramSha512Plus,
    Mechanism::ScramSha256Plus,
    Mechanism::ScramSha1Plus,
    Mechanism::ScramSha512,
    Mechanism::ScramSha256,
    Mechanism::ScramSha1,
    Mechanism::Plain,
    Mechanism::Anonymous,
];
