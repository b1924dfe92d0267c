//! Federation: streams from and to other servers.
//!
//! `links.rs` is what the engine pushes into, one queue for each domain pair; `outgoing.rs` is the
//! task that connects and drains a queue; `incoming.rs` is the task of a stream that another server
//! opened; `verify.rs` calls back (XEP-0220). What a domain pair may do is authorized by the
//! machines of `stentor_stream::s2s`; what is believed of a certificate stands in
//! `certificates.rs`.

mod certificates;
mod discovery;
mod facts;
mod incoming;
mod links;
mod outgoing;
mod policy;
pub(crate) mod pump;
mod queue;
mod throttle;
mod verify;
mod xep0185_keys;
mod xep0368_direct_tls;

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use hashbrown::HashMap;
use stentor_engine::Engine;
use stentor_stream::s2s::{IncomingSettings, OutgoingSettings, Tls};
use stentor_transport::{
    ConnectorSettings, IdentityFiles, LoadError, Roots, TlsConnector, Trust, VersionMin,
};
use tokio::sync::{Semaphore, watch};

pub use self::discovery::{Discovery, Route};
pub use self::incoming::S2sListener;
pub use self::links::Links;
pub use self::policy::{Policy, Terms};
use self::throttle::Throttle;
use self::xep0185_keys::Keys;
use self::xep0368_direct_tls::ALPN;
use crate::admission::Admission;
use crate::limits::S2S_VERIFICATIONS_MAX;
use crate::metrics::FederationMetrics;

/// What all streams between servers share.
pub struct Federation {
    pub(crate) engine: Arc<Engine>,
    pub(crate) policy: Policy,
    pub(crate) discovery: Discovery,
    pub(crate) roots: Roots,
    pub(crate) connectors: Connectors,
    pub(crate) keys: Keys,
    /// How many keys are verified at once, each by a connection of its own.
    pub(crate) verifying: Semaphore,
    /// Connections of other servers.
    pub(crate) admission: Arc<Admission>,
    /// Streams to other servers that stand.
    pub(crate) standing: AtomicUsize,
    pub(crate) throttle: Throttle,
    stopping: watch::Sender<bool>,
    /// What is counted.
    pub metrics: FederationMetrics,
}

/// What federation is made of.
pub struct FederationParts {
    /// The engine.
    pub engine: Arc<Engine>,
    /// Whom we speak to, and how.
    pub policy: Policy,
    /// Where domains are.
    pub discovery: Discovery,
    /// Authorities of other servers' certificates.
    pub roots: Roots,
    /// Certificates that we show, with the names that they are for.
    pub identities: Vec<IdentityFiles>,
    /// Oldest version of TLS.
    pub version_min: VersionMin,
    /// The server's secret, for dialback keys.
    pub secret: Vec<u8>,
}

impl Federation {
    /// Federation out of its parts.
    ///
    /// # Errors
    /// A certificate cannot be loaded.
    pub fn new(parts: FederationParts) -> Result<Arc<Self>, LoadError> {
        let admission = Arc::new(Admission::new(parts.policy.admission));
        Ok(Arc::new(Self {
            connectors: Connectors::new(&parts.identities, parts.version_min)?,
            engine: parts.engine,
            policy: parts.policy,
            discovery: parts.discovery,
            roots: parts.roots,
            keys: Keys::new(&parts.secret),
            verifying: Semaphore::new(S2S_VERIFICATIONS_MAX),
            admission,
            standing: AtomicUsize::new(0),
            throttle: Throttle::default(),
            stopping: watch::Sender::new(false),
            metrics: FederationMetrics::default(),
        }))
    }

    pub(crate) fn outgoing_settings(&self, remote: &str) -> OutgoingSettings {
        let terms = self.policy.terms(remote);
        OutgoingSettings {
            tls: if terms.tls_required { Tls::Required } else { Tls::WhenOffered },
            may_dial_back: terms.allows_dialback,
            ..OutgoingSettings::default()
        }
    }

    /// Tells all streams to end.
    pub(crate) fn stop(&self) {
        self.stopping.send_replace(true);
    }

    /// Whether streams are to end, and how to wait for that.
    pub(crate) fn stopping(&self) -> watch::Receiver<bool> {
        self.stopping.subscribe()
    }

    pub(crate) fn incoming_settings(name: String) -> IncomingSettings {
        IncomingSettings { name, ..IncomingSettings::default() }
    }
}

/// TLS towards other servers, with the certificate of the domain that speaks.
pub(crate) struct Connectors {
    by_name: HashMap<String, Arc<Both>>,
    default: Arc<Both>,
}

/// A connector for STARTTLS and one for TLS from the first byte, which names the protocol
/// (XEP-0368).
pub(crate) struct Both {
    pub(crate) starttls: TlsConnector,
    pub(crate) direct: TlsConnector,
}

impl Connectors {
    fn new(identities: &[IdentityFiles], version_min: VersionMin) -> Result<Self, LoadError> {
        let both = |identity: Option<&IdentityFiles>| -> Result<Arc<Both>, LoadError> {
            let connector = |alpn: Vec<Vec<u8>>| {
                TlsConnector::new(ConnectorSettings {
                    // What the certificate proves is judged afterwards: dialback may do without.
                    trust: Trust::JudgedLater,
                    alpn,
                    identity: identity.cloned(),
                    version_min,
                })
            };
            let direct = connector(vec![ALPN.to_vec()])?;
            Ok(Arc::new(Both { starttls: connector(Vec::new())?, direct }))
        };
        let mut by_name = HashMap::new();
        for identity in identities {
            let connector = both(Some(identity))?;
            for name in &identity.names {
                by_name.entry(name.clone()).or_insert_with(|| connector.clone());
            }
        }
        let default = both(identities.first())?;
        Ok(Self { by_name, default })
    }

    /// The connectors of a domain of ours.
    pub(crate) fn of(&self, domain: &str) -> &Arc<Both> {
        self.by_name.get(domain).unwrap_or(&self.default)
    }
}
