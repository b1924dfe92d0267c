//! The client side of TLS: for links to other servers, tests and load generation.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, UnbufferedClientConnection};
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::SingleCertAndKey;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError, SignatureScheme,
};
use tokio::net::TcpStream;

use crate::facts::TlsFacts;
use crate::limits::CLIENT_SESSIONS_MAX;
use crate::tls::binding::{ExporterTap, server_end_point};
use crate::tls::certificates::now_secs;
use crate::tls::handshake::{HandshakeError, complete, facts};
use crate::tls::identity::{Identity, IdentityFiles, LoadError};
use crate::tls::peer_cert::{Roots, fingerprint};
use crate::tls::provider::{VersionMin, provider, signature_algorithms};
use crate::tls::session::Session;

/// What a connector asks of TLS.
#[derive(Clone, Debug)]
pub struct ConnectorSettings {
    /// Which servers are believed.
    pub trust: Trust,
    /// Protocols offered by ALPN, as in `xmpp-client` (XEP-0368). None with STARTTLS.
    pub alpn: Vec<Vec<u8>>,
    /// The certificate to present when the server asks for one.
    pub identity: Option<IdentityFiles>,
    /// Oldest version accepted.
    pub version_min: VersionMin,
}

/// Which server certificates a connector accepts.
///
/// That the server has the key of its certificate is proven in every case.
#[derive(Clone, Debug)]
pub enum Trust {
    /// Chains to one of these authorities that name the server (RFC 6125).
    Roots(Roots),
    /// Exactly the certificate with this SHA-256, whatever it says.
    Pinned([u8; 32]),
    /// Any. The caller looks at [`TlsFacts::server_certs`] and decides, as dialback does.
    JudgedLater,
}

/// Makes TLS connections to servers.
#[derive(Debug)]
pub struct TlsConnector {
    config: Arc<ClientConfig>,
}

impl TlsConnector {
    /// Makes a connector.
    ///
    /// # Errors
    /// If the identity cannot be loaded.
    pub fn new(settings: ConnectorSettings) -> Result<Self, LoadError> {
        let shown = match &settings.identity {
            None => None,
            Some(files) => {
                let identity = Identity::load(files, now_secs(), &mut Vec::new())?;
                Some(SingleCertAndKey::from(identity.key))
            }
        };
        Ok(config(settings.trust, shown, settings.alpn, settings.version_min).into())
    }

    pub(crate) async fn connect(
        &self,
        tcp: &mut TcpStream,
        server_name: &str,
        leftover: &[u8],
    ) -> Result<(Session, TlsFacts), HandshakeError> {
        let name = ServerName::try_from(server_name.to_owned())
            .map_err(|e| HandshakeError::refused(format!("`{server_name}`: {e}")))?;
        let connection = UnbufferedClientConnection::new(Arc::clone(&self.config), name)
            .map_err(|e| HandshakeError::refused(e.to_string()))?;
        let mut session = Session::client(connection);
        let secret = complete(tcp, &mut session, leftover.to_vec()).await?;
        let mut facts = facts(&session, secret);
        facts.server_certs = std::mem::take(&mut facts.client_certs);
        facts.sni = Some(server_name.to_owned());
        if let Some(leaf) = facts.server_certs.first() {
            facts.certificate = Some(fingerprint(leaf));
            facts.server_end_point = server_end_point(leaf).map(Arc::from);
        }
        Ok((session, facts))
    }
}

impl From<ClientConfig> for TlsConnector {
    fn from(config: ClientConfig) -> Self {
        Self { config: Arc::new(config) }
    }
}

/// The settings of rustls for connections that show this certificate when they are asked.
pub(crate) fn config(
    trust: Trust,
    shown: Option<SingleCertAndKey>,
    alpn: Vec<Vec<u8>>,
    version_min: VersionMin,
) -> ClientConfig {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(version_min.versions())
        .expect("the provider has suites and groups for both versions");
    let builder = match trust {
        Trust::Roots(roots) => builder.with_root_certificates(roots.store),
        Trust::Pinned(pin) => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(ProofOnly { pin: Some(pin) })),
        Trust::JudgedLater => {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(ProofOnly { pin: None }))
        }
    };
    let mut config = match shown {
        None => builder.with_no_client_auth(),
        Some(shown) => builder.with_client_cert_resolver(Arc::new(shown)),
    };
    config.alpn_protocols = alpn;
    config.key_log = Arc::new(ExporterTap);
    config.resumption = Resumption::in_memory_sessions(CLIENT_SESSIONS_MAX);
    config
}

/// Checks the handshake signature, and the certificate only against a pin.
#[derive(Debug)]
struct ProofOnly {
    pin: Option<[u8; 32]>,
}

impl ServerCertVerifier for ProofOnly {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.pin.is_some_and(|pin| pin != fingerprint(end_entity)) {
            let reason = OtherError(Arc::new(PinMismatch));
            return Err(Error::InvalidCertificate(CertificateError::Other(reason)));
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, signature_algorithms())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, signature_algorithms())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        signature_algorithms().supported_schemes()
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the certificate is not the pinned one")]
struct PinMismatch;
