//! What is known of a connection once it stands.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls_pki_types::CertificateDer;
use zeroize::Zeroize;

/// Facts about a connection.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The other end, as the socket sees it.
    pub peer: SocketAddr,
    /// What TLS negotiated; `None` on a plain connection.
    pub tls: Option<Box<TlsFacts>>,
}

/// What a TLS handshake negotiated.
#[derive(Clone)]
pub struct TlsFacts {
    /// Protocol version.
    pub version: TlsVersion,
    /// Cipher suite by its name in the TLS registry, as in `TLS_AES_128_GCM_SHA256`.
    pub cipher: &'static str,
    /// Key exchange group, as in `X25519MLKEM768`; `None` where a resumption had none.
    pub group: Option<&'static str>,
    /// The protocol chosen by ALPN.
    pub alpn: Option<Vec<u8>>,
    /// The server name the client asked for.
    pub sni: Option<String>,
    /// Whether an earlier session was resumed.
    pub is_resumed: bool,
    /// Channel binding `tls-exporter` (RFC 9266); TLS 1.3 only.
    pub exporter: Option<[u8; 32]>,
    /// Channel binding `tls-server-end-point` (RFC 5929 §4).
    pub server_end_point: Option<Arc<[u8]>>,
    /// SHA-256 of the certificate the server presented.
    pub certificate: Option<[u8; 32]>,
    /// The chain the client presented, leaf first; possession of its key is proven, its origin not.
    pub client_certs: Vec<CertificateDer<'static>>,
    /// On connections that we dialled: the chain the server presented, leaf first.
    pub server_certs: Vec<CertificateDer<'static>>,
}

impl TlsFacts {
    /// Drops what only authentication needs: binding data and certificates.
    pub fn forget_bindings(&mut self) {
        self.exporter.zeroize();
        self.exporter = None;
        self.server_end_point = None;
        self.client_certs = Vec::new();
        self.server_certs = Vec::new();
    }
}

impl std::fmt::Debug for TlsFacts {
    /// Without the binding data, which is as good as a secret while authentication runs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TlsFacts")
            .field("version", &self.version)
            .field("cipher", &self.cipher)
            .field("group", &self.group)
            .field("alpn", &self.alpn.as_deref().map(String::from_utf8_lossy))
            .field("sni", &self.sni)
            .field("is_resumed", &self.is_resumed)
            .field("client_certs", &self.client_certs.len())
            .finish_non_exhaustive()
    }
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// TLS 1.2 (RFC 5246).
    Tls12,
    /// TLS 1.3 (RFC 8446).
    Tls13,
}

impl TlsVersion {
    /// The version as people write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tls12 => "TLS 1.2",
            Self::Tls13 => "TLS 1.3",
        }
    }
}
