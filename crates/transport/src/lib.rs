//! Sockets and TLS; no XMPP logic.
//!
//! A [`Conn`] is one TCP connection, plain or under TLS, polled with buffers that the caller lends:
//! while nothing happens it holds little more than its keys. [`Certificates`] are loaded once and
//! reloaded under running connections, a [`TlsAcceptor`] applies the settings of one kind of
//! listener to them, a [`TlsConnector`] is the other side. [`Listener`] accepts, and does not give
//! up when descriptors run out.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod client;
mod conn;
pub mod dev_ca;
mod facts;
pub mod limits;
mod listen;
#[cfg(feature = "testing")]
mod pipe;
mod socket;
mod tls;

pub use client::dial;
pub use conn::{Conn, Ending};
pub use facts::{Facts, TlsFacts, TlsVersion};
pub use listen::{ListenError, Listener};
#[cfg(feature = "testing")]
pub use pipe::{Pipe, Writes};
pub use rustls_pki_types::CertificateDer;
pub use tls::binding::server_end_point;
pub use tls::{
    Associated, Association, BadCertificate, CertNames, Certificates, ClientCerts,
    ConnectorSettings, Expiry, HandshakeError, IdentityFiles, LinkConnector, LoadError, Reason,
    Roots, TlsAcceptor, TlsConnector, TlsSettings, Trust, UnknownName, VersionMin, Warning,
    fingerprint,
};
