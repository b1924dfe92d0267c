//! The client side of TLS between servers: with the current certificate of the domain that speaks.

use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::sign::SingleCertAndKey;

use crate::tls::certificates::{Certificates, Table};
use crate::tls::connector::{TlsConnector, Trust, config};
use crate::tls::identity::Identity;
use crate::tls::provider::VersionMin;

/// Makes TLS connections to other servers with the certificates of a [`Certificates`].
///
/// Any certificate of theirs is taken: the caller looks at it ([`Trust::JudgedLater`]). Follows a
/// reload of ours from the next handshake on.
pub struct LinkConnector {
    certificates: Arc<Certificates>,
    alpn: Vec<Vec<u8>>,
    version_min: VersionMin,
    built: ArcSwap<Built>,
}

/// Connectors for one generation of certificates; same order as its identities.
struct Built {
    table: Arc<Table>,
    connectors: Vec<Arc<TlsConnector>>,
}

impl LinkConnector {
    /// Makes a connector that offers these protocols by ALPN; none with STARTTLS.
    #[must_use]
    pub fn new(
        certificates: Arc<Certificates>,
        alpn: Vec<Vec<u8>>,
        version_min: VersionMin,
    ) -> Self {
        let built = Built::new(certificates.table(), &alpn, version_min);
        Self { built: ArcSwap::from_pointee(built), certificates, alpn, version_min }
    }

    /// The connector for a domain of ours (A-labels): it shows the certificate for that name, else
    /// the default one.
    #[must_use]
    pub fn of(&self, name: &str) -> Arc<TlsConnector> {
        let table = self.certificates.table();
        let mut built = self.built.load_full();
        if !Arc::ptr_eq(&built.table, &table) {
            built = Arc::new(Built::new(table, &self.alpn, self.version_min));
            self.built.store(Arc::clone(&built));
        }
        let index = built.table.find(name).unwrap_or(0);
        Arc::clone(&built.connectors[index])
    }
}

impl std::fmt::Debug for LinkConnector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LinkConnector").field("alpn", &self.alpn).finish_non_exhaustive()
    }
}

impl Built {
    fn new(table: Arc<Table>, alpn: &[Vec<u8>], version_min: VersionMin) -> Self {
        let connector = |identity: &Arc<Identity>| {
            let shown = SingleCertAndKey::from(Arc::clone(&identity.key));
            let config = config(Trust::JudgedLater, Some(shown), alpn.to_vec(), version_min);
            Arc::new(TlsConnector::from(config))
        };
        Self { connectors: table.identities.iter().map(connector).collect(), table }
    }
}
