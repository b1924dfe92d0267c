//! The server side of TLS: settings of a listener applied to the current certificates.

use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::server::NoServerSessionStorage;
use rustls::sign::SingleCertAndKey;

use crate::tls::binding::ExporterTap;
use crate::tls::certificates::{Certificates, Table};
use crate::tls::identity::Identity;
use crate::tls::peer_cert::{ClientCerts, ClientVerifier};
use crate::tls::provider::{VersionMin, provider};
use crate::tls::tickets::{NoTickets, Tickets};

/// What a listener asks of TLS.
#[derive(Clone, Debug, Default)]
pub struct TlsSettings {
    /// Protocols of this port by ALPN name, most wanted first, as in `xmpp-client` (XEP-0368).
    ///
    /// A peer that offers ALPN without any of these is refused with `no_application_protocol`; one
    /// that offers none at all is let in. Empty, as for STARTTLS: ALPN plays no part.
    pub alpn: Vec<Vec<u8>>,
    /// Whether clients are asked for certificates.
    pub client_certs: ClientCerts,
    /// Oldest version accepted.
    pub version_min: VersionMin,
    /// What happens when the peer names a server for which there is no certificate.
    pub unknown_name: UnknownName,
}

/// How a server name without a certificate is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnknownName {
    /// With the default certificate, which the peer will probably refuse.
    #[default]
    Default,
    /// With the alert `unrecognized_name` (RFC 6066 §3).
    Refuse,
}

/// Accepts TLS connections with the certificates of a [`Certificates`].
///
/// Follows their reload from the next handshake on.
pub struct TlsAcceptor {
    certificates: Arc<Certificates>,
    settings: TlsSettings,
    built: ArcSwap<Built>,
}

/// The settings applied to one generation of certificates; same order as its identities.
struct Built {
    table: Arc<Table>,
    configs: Vec<Arc<ServerConfig>>,
}

/// The certificate for one handshake. Kept until its end: channel binding needs it.
pub(crate) struct Choice {
    pub(crate) identity: Arc<Identity>,
    pub(crate) config: Arc<ServerConfig>,
}

impl TlsAcceptor {
    /// Makes an acceptor for one kind of listener.
    pub fn new(certificates: Arc<Certificates>, settings: TlsSettings) -> Self {
        let built = Built::new(certificates.table(), &certificates, &settings);
        Self { built: ArcSwap::from_pointee(built), certificates, settings }
    }

    /// The certificates behind this acceptor.
    pub fn certificates(&self) -> &Arc<Certificates> {
        &self.certificates
    }

    /// The certificate for a server name; `None` if it is to be refused.
    pub(crate) fn choose(&self, name: Option<&str>) -> Option<Choice> {
        let table = self.certificates.table();
        let mut built = self.built.load_full();
        if !Arc::ptr_eq(&built.table, &table) {
            built = Arc::new(Built::new(table, &self.certificates, &self.settings));
            self.built.store(Arc::clone(&built));
        }
        let index = match name {
            None => 0,
            Some(name) => match (built.table.find(name), self.settings.unknown_name) {
                (Some(index), _) => index,
                (None, UnknownName::Default) => 0,
                (None, UnknownName::Refuse) => return None,
            },
        };
        let identity = Arc::clone(built.table.identities.get(index)?);
        Some(Choice { identity, config: Arc::clone(built.configs.get(index)?) })
    }
}

impl std::fmt::Debug for TlsAcceptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TlsAcceptor").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Built {
    fn new(table: Arc<Table>, certificates: &Certificates, settings: &TlsSettings) -> Self {
        let config = |identity: &Arc<Identity>| Arc::new(config(identity, certificates, settings));
        Self { configs: table.identities.iter().map(config).collect(), table }
    }
}

fn config(
    identity: &Identity,
    certificates: &Certificates,
    settings: &TlsSettings,
) -> ServerConfig {
    let builder = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(settings.version_min.versions())
        .expect("the provider has suites and groups for both versions");
    let builder = match &settings.client_certs {
        ClientCerts::Off => builder.with_no_client_auth(),
        ClientCerts::Optional => {
            builder.with_client_cert_verifier(Arc::new(ClientVerifier::optional()))
        }
        ClientCerts::Required(roots) => {
            builder.with_client_cert_verifier(Arc::new(ClientVerifier::required(roots.clone())))
        }
    };
    let resolver = SingleCertAndKey::from(Arc::clone(&identity.key));
    let mut config = builder.with_cert_resolver(Arc::new(resolver));
    config.alpn_protocols.clone_from(&settings.alpn);
    config.key_log = Arc::new(ExporterTap);
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ticketer = match settings.client_certs {
        ClientCerts::Required(_) => Arc::new(NoTickets),
        _ => Arc::new(Tickets::new(Arc::clone(&certificates.tickets), identity.fingerprint)),
    };
    if matches!(settings.client_certs, ClientCerts::Required(_)) {
        config.send_tls13_tickets = 0;
    } else {
        // A client has one stream; a second ticket would be a second encryption for nothing.
        config.send_tls13_tickets = 1;
    }
    // Early data can be replayed, and a replayed SASL exchange or stanza is an attack (RFC 8446
    // appendix E.5).
    config.max_early_data_size = 0;
    config
}
