//! Why another server could not be spoken to, and what its senders are told.

use stentor_stanza::Condition;
use stentor_stream::fault::StreamCondition;
use stentor_stream::s2s::Verdict;

use super::discovery::NotFound;

/// Why a domain could not be spoken to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// It has no server, or DNS does not say.
    #[error("{0}")]
    NotFound(NotFound),
    /// No address answered.
    #[error("no server answered: {0}")]
    Unreachable(String),
    /// The server's certificate is not good enough and the operator allows nothing less.
    #[error("its certificate is not believed: {0}")]
    Certificate(String),
    /// It has no TLS, without which nothing is said.
    #[error("it has no TLS")]
    NoTls,
    /// The server does not believe us.
    #[error("the server refused dialback: {0:?}")]
    Denied(Verdict),
    /// The stream ended before anything could be sent.
    #[error("the stream ended: {0}")]
    Ended(String, Option<StreamCondition>),
}

impl Failure {
    /// Whether it may be over soon, so that messages wait for it.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Self::NotFound(NotFound::NoAnswer) | Self::Unreachable(_) => true,
            Self::Ended(..) => self.condition() == Condition::RemoteServerTimeout,
            Self::NotFound(NotFound::NoServer | NotFound::Bogus)
            | Self::Certificate(_)
            | Self::NoTls
            | Self::Denied(_) => false,
        }
    }

    /// A word for metrics.
    pub(crate) fn cause(&self) -> &'static str {
        match self {
            Self::NotFound(NotFound::NoServer) => "not-found",
            Self::NotFound(NotFound::NoAnswer) => "no-dns",
            Self::NotFound(NotFound::Bogus) => "dnssec",
            Self::Unreachable(_) => "unreachable",
            Self::Certificate(_) => "certificate",
            Self::NoTls => "tls",
            Self::Denied(_) => "dialback",
            Self::Ended(..) => "ended",
        }
    }

    /// The error for senders.
    pub(crate) fn condition(&self) -> Condition {
        match self {
            // RFC 6120 §10.4.3: also where a name server does not answer for now.
            Self::NotFound(_) => Condition::RemoteServerNotFound,
            // RFC 6120 §8.3.3.16: also where TLS fails.
            Self::Unreachable(_) | Self::Certificate(_) | Self::NoTls => {
                Condition::RemoteServerTimeout
            }
            // XEP-0220 §2.1.1.
            Self::Denied(Verdict::Invalid) => Condition::InternalServerError,
            Self::Denied(_) => Condition::RemoteServerTimeout,
            Self::Ended(_, Some(StreamCondition::HostUnknown | StreamCondition::HostGone)) => {
                Condition::RemoteServerNotFound
            }
            Self::Ended(..) => Condition::RemoteServerTimeout,
        }
    }
}
