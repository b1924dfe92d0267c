//! TLS: certificates, handshakes, channel binding and the record layer.
//!
//! RFC 7590 and RFC 9325 say what an XMPP server offers: TLS 1.2 and 1.3, forward secrecy and
//! authenticated encryption only, no compression, no early data. All use of rustls is below this
//! module.

mod acceptor;
pub(crate) mod binding;
mod certificates;
mod connector;
pub(crate) mod handshake;
mod identity;
mod link_connector;
mod peer_cert;
mod provider;
mod rfc6698_tlsa;
pub(crate) mod session;
mod tickets;

pub use acceptor::{TlsAcceptor, TlsSettings, UnknownName};
pub use certificates::{Certificates, Expiry};
pub use connector::{ConnectorSettings, TlsConnector, Trust};
pub use handshake::HandshakeError;
pub use identity::{IdentityFiles, LoadError, Reason, Warning};
pub use link_connector::LinkConnector;
pub use peer_cert::{BadCertificate, CertNames, ClientCerts, Roots, fingerprint};
pub use provider::VersionMin;
pub use rfc6698_tlsa::{Associated, Association};

pub(crate) use certificates::now_secs;
