//! What a certificate says and whether a chain is to be believed.
//!
//! During the handshake only possession of the key is checked where the caller wants to judge for
//! itself (an error there would end the connection, and with it every weaker way to authenticate).
//! [`Roots::judge`] then decides about the chain, [`CertNames`] says for whom it speaks.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::digest;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore,
    SignatureScheme,
};
use x509_parser::asn1_rs::Any;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::tls::provider::{provider, signature_algorithms};

/// Authorities that chains are judged against.
#[derive(Clone)]
pub struct Roots {
    pub(crate) store: Arc<RootCertStore>,
    /// The same as they came: records of DNS may name one of them (RFC 6698 §2.1.1).
    pub(crate) certificates: Arc<[CertificateDer<'static>]>,
}

impl Roots {
    /// Reads the authorities of a PEM bundle.
    ///
    /// # Errors
    /// If the text holds no certificate or one that is not usable as an authority.
    pub fn from_pem(pem: &[u8]) -> Result<Self, BadCertificate> {
        let (mut store, mut certificates) = (RootCertStore::empty(), Vec::new());
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|e| BadCertificate(e.to_string()))?;
            store.add(certificate.clone()).map_err(|e| BadCertificate(e.to_string()))?;
            certificates.push(certificate);
        }
        if store.is_empty() {
            return Err(BadCertificate("no certificate found".to_owned()));
        }
        Ok(Self::of(store, certificates))
    }

    /// The authorities that the system trusts; none of them is believed where it has none.
    #[must_use]
    pub fn of_system() -> Self {
        let mut store = RootCertStore::empty();
        let found = rustls_native_certs::load_native_certs();
        store.add_parsable_certificates(found.certs.iter().cloned());
        Self::of(store, found.certs)
    }

    pub(crate) fn of(store: RootCertStore, certificates: Vec<CertificateDer<'static>>) -> Self {
        Self { store: Arc::new(store), certificates: certificates.into() }
    }

    /// Whether a chain, leaf first, leads to one of these authorities at `now_secs` (Unix time).
    ///
    /// The extended key usages `clientAuth` and `serverAuth` are both accepted: public authorities
    /// stopped issuing the first, and a server that connects to us has the second.
    ///
    /// # Errors
    /// The reason, in words for the log.
    pub fn judge(&self, chain: &[CertificateDer<'_>], now_secs: u64) -> Result<(), BadCertificate> {
        self.verify(chain, at(now_secs)).map_err(|e| BadCertificate(e.to_string()))
    }

    /// Whether a leaf is for this DNS name, by its `dNSName` entries with wildcards (RFC 6125).
    ///
    /// # Errors
    /// The reason, in words for the log.
    pub fn judge_name(leaf: &CertificateDer<'_>, name: &str) -> Result<(), BadCertificate> {
        let name = ServerName::try_from(name).map_err(|e| BadCertificate(e.to_string()))?;
        ParsedCertificate::try_from(leaf)
            .and_then(|parsed| verify_server_name(&parsed, &name))
            .map_err(|e| BadCertificate(e.to_string()))
    }

    fn verify(&self, chain: &[CertificateDer<'_>], now: UnixTime) -> Result<(), Error> {
        let Some((leaf, intermediates)) = chain.split_first() else {
            return Err(Error::NoCertificatesPresented);
        };
        let parsed = ParsedCertificate::try_from(leaf)?;
        let as_server = verify_server_cert_signed_by_trust_anchor(
            &parsed,
            &self.store,
            intermediates,
            now,
            signature_algorithms().all,
        );
        match as_server {
            Err(Error::InvalidCertificate(
                CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. },
            )) => self.verify_as_client(leaf, intermediates, now),
            other => other,
        }
    }

    fn verify_as_client(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        WebPkiClientVerifier::builder_with_provider(Arc::clone(&self.store), provider())
            .build()
            .map_err(|e| Error::General(e.to_string()))?
            .verify_client_cert(leaf, intermediates, now)
            .map(drop)
    }
}

impl fmt::Debug for Roots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Roots({})", self.store.len())
    }
}

/// Whom a certificate speaks for, from its subject alternative names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertNames {
    /// `id-on-xmppAddr` (RFC 6120 §13.7.1.4): addresses, unprepared.
    pub xmpp_addrs: Vec<String>,
    /// `id-on-dnsSRV` (RFC 4985), as in `_xmpp-server.example`.
    pub srv_ids: Vec<String>,
    /// `dNSName`, wildcards included, in lower case.
    pub dns_names: Vec<String>,
}

impl CertNames {
    /// Reads the names of one certificate (DER).
    ///
    /// # Errors
    /// If it does not parse. A certificate without such names gives empty lists.
    pub fn of(certificate: &[u8]) -> Result<Self, BadCertificate> {
        let (_, parsed) = X509Certificate::from_der(certificate)
            .map_err(|e| BadCertificate(format!("does not parse: {e}")))?;
        let extension =
            parsed.subject_alternative_name().map_err(|e| BadCertificate(e.to_string()))?;
        let mut names = Self::default();
        for name in extension.iter().flat_map(|e| &e.value.general_names) {
            match name {
                GeneralName::DNSName(dns) => names.dns_names.push(dns.to_ascii_lowercase()),
                GeneralName::OtherName(oid, value) => {
                    let list = match oid.to_id_string().as_str() {
                        ID_ON_XMPP_ADDR => &mut names.xmpp_addrs,
                        ID_ON_DNS_SRV => &mut names.srv_ids,
                        _ => continue,
                    };
                    list.extend(other_name_text(value));
                }
                _ => {}
            }
        }
        Ok(names)
    }
}

/// A certificate or chain that is refused, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadCertificate(pub String);

/// SHA-256 of a certificate (DER): what people compare and policies pin.
pub fn fingerprint(certificate: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, certificate).as_ref());
    out
}

/// Whether and how a listener asks its peers for certificates.
#[derive(Clone, Debug, Default)]
pub enum ClientCerts {
    /// Not at all.
    #[default]
    Off,
    /// Asked for. None is fine, any chain is taken; possession of its key is proven and the chain
    /// is left to [`Roots::judge`].
    Optional,
    /// Without a certificate that leads to one of these the handshake ends with the alert that
    /// says why. No session resumption, so that a revoked certificate is noticed at once.
    Required(Roots),
}

/// Applies [`ClientCerts`] within the handshake.
#[derive(Debug)]
pub(crate) struct ClientVerifier {
    roots: Option<Roots>,
    subjects: Vec<DistinguishedName>,
}

impl ClientVerifier {
    pub(crate) fn optional() -> Self {
        Self { roots: None, subjects: Vec::new() }
    }

    pub(crate) fn required(roots: Roots) -> Self {
        Self { subjects: roots.store.subjects(), roots: Some(roots) }
    }
}

impl ClientCertVerifier for ClientVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.roots.is_some()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.subjects
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if let Some(roots) = &self.roots {
            let chain: Vec<_> = [end_entity].into_iter().chain(intermediates).cloned().collect();
            roots.verify(&chain, now)?;
        }
        Ok(ClientCertVerified::assertion())
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

/// The text inside `[0] EXPLICIT`, be it UTF8String or IA5String.
fn other_name_text(value: &[u8]) -> Option<String> {
    let (_, wrapper) = Any::from_der(value).ok()?;
    let (_, inner) = Any::from_der(wrapper.data).ok()?;
    std::str::from_utf8(inner.data).ok().map(str::to_owned)
}

fn at(secs: u64) -> UnixTime {
    UnixTime::since_unix_epoch(std::time::Duration::from_secs(secs))
}

const ID_ON_XMPP_ADDR: &str = "1.3.6.1.5.5.7.8.5";
const ID_ON_DNS_SRV: &str = "1.3.6.1.5.5.7.8.7";
