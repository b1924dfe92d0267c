//! Federation: streams from and to other servers.
//!
//! `links.rs` is what the engine pushes into, with a queue for each domain pair, whose way is in
//! `link.rs`; `outgoing.rs` is the task that connects, by `dial.rs`, and drains a queue;
//! `listener.rs` is a port, and `incoming.rs` the task of a stream that another server opened;
//! `standing.rs` lists both; `carrier.rs` is what both do with queues; `verify.rs` calls back
//! (XEP-0220). What a domain pair may do is authorized by the machines of `stentor_stream::s2s`;
//! what is believed of a certificate stands in `certificates.rs`, what DNS says of it in
//! `rfc7673_dane.rs`.

mod carrier;
mod certificates;
mod dial;
mod discovery;
mod facts;
mod failure;
#[cfg(test)]
mod fake_dns;
mod incoming;
mod link;
mod links;
mod listener;
mod lost;
mod outgoing;
mod policy;
pub(crate) mod pump;
mod queue;
mod resume;
mod rfc2782_srv;
mod rfc4035_anchors;
mod rfc7673_dane;
mod rfc8305_race;
mod standing;
mod throttle;
mod verify;
mod waiting;
mod xep0185_keys;
mod xep0368_direct_tls;

use std::sync::Arc;

use arc_swap::ArcSwap;
use stentor_engine::Engine;
use stentor_stanza::Stanza;
use stentor_stream::fault::Fault;
use stentor_stream::s2s::{IncomingSettings, OutgoingSettings, Silence, Tls};
use stentor_transport::{Certificates, LinkConnector, Roots, VersionMin};
use tokio::sync::{Semaphore, watch};

pub use self::discovery::{Discovery, Route};
pub use self::links::{Links, QueueFacts};
pub use self::listener::S2sListener;
pub use self::policy::{Lists, Policy, Terms};
pub use self::rfc4035_anchors::{BadAnchors, TrustAnchors};
use self::rfc7673_dane::Dane;
use self::standing::Standing;
pub use self::standing::StreamFacts;
use self::throttle::Throttle;
use self::xep0185_keys::Keys;
use self::xep0368_direct_tls::ALPN;
use crate::admission::Admission;
use crate::limits::{S2S_CONNECTING_MAX, S2S_VERIFICATIONS_MAX};
use crate::metrics::FederationMetrics;

/// What all streams between servers share.
pub struct Federation {
    pub(crate) engine: Arc<Engine>,
    pub(crate) policy: Policy,
    /// Whom we speak to now. Whoever has a stream is judged by it at the next stanza.
    lists: ArcSwap<Lists>,
    pub(crate) discovery: Discovery,
    pub(crate) roots: Roots,
    pub(crate) connectors: Connectors,
    pub(crate) keys: Keys,
    /// How many domains are looked for and connected to at once.
    pub(crate) connecting: Semaphore,
    /// How many keys are verified at once, each by a connection of its own.
    pub(crate) verifying: Semaphore,
    /// Connections of other servers.
    pub(crate) admission: Arc<Admission>,
    /// Streams that stand.
    pub(crate) standing: Arc<Standing>,
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
    /// Certificates that we show, each domain its own; a reload counts from the next stream on.
    pub certificates: Arc<Certificates>,
    /// Oldest version of TLS.
    pub version_min: VersionMin,
    /// The server's secret, for dialback keys.
    pub secret: Vec<u8>,
}

impl Federation {
    /// Federation out of its parts.
    #[must_use]
    pub fn new(parts: FederationParts) -> Arc<Self> {
        let admission = Arc::new(Admission::new(parts.policy.admission));
        Arc::new(Self {
            connectors: Connectors::new(&parts.certificates, parts.version_min),
            engine: parts.engine,
            lists: ArcSwap::from_pointee(parts.policy.lists.clone()),
            policy: parts.policy,
            discovery: parts.discovery,
            roots: parts.roots,
            keys: Keys::new(&parts.secret),
            connecting: Semaphore::new(S2S_CONNECTING_MAX),
            verifying: Semaphore::new(S2S_VERIFICATIONS_MAX),
            admission,
            standing: Arc::default(),
            throttle: Throttle::default(),
            stopping: watch::Sender::new(false),
            metrics: FederationMetrics::default(),
        })
    }

    /// Whether we speak to a domain, as far as the operator goes.
    pub(crate) fn allows(&self, domain: &str) -> bool {
        self.lists.load().allows(domain)
    }

    /// Whether another server may speak for a domain at all: nobody else does for one of ours.
    pub(crate) fn may_be(&self, domain: &str) -> bool {
        self.allows(domain) && !self.engine.is_local(domain)
    }

    /// Why a stanza of another server ends its stream, if it does: things have changed since its
    /// sender's domain was proven.
    pub(crate) fn ends_with(&self, stanza: &Stanza) -> Option<Fault> {
        let from = stanza.head.from.as_ref()?.domain();
        if self.engine.is_local(from) {
            // It has become one of ours, and nobody else may prove it now.
            return Some(IN_OUR_NAME);
        }
        (!self.allows(from)).then_some(UNWANTED)
    }

    pub(crate) fn outgoing_settings(&self, remote: &str, dane: &Dane) -> OutgoingSettings {
        let terms = self.policy.terms(remote);
        // RFC 7673 §4: who has records of its certificate has TLS.
        let is_tls_required = terms.tls_required || dane.has_records;
        OutgoingSettings {
            tls: if is_tls_required { Tls::Required } else { Tls::WhenOffered },
            may_dial_back: terms.allows_dialback,
            silence: self.silence(),
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

    pub(crate) fn incoming_settings(&self, name: String) -> IncomingSettings {
        IncomingSettings { name, silence: self.silence(), ..IncomingSettings::default() }
    }

    fn silence(&self) -> Silence {
        let silence_ms = self.policy.silence_ms;
        Silence { probe_ms: silence_ms, answer_wait_ms: silence_ms }
    }
}

/// TLS towards other servers: by STARTTLS, and from the first byte, which names the protocol
/// (XEP-0368).
pub(crate) struct Connectors {
    pub(crate) starttls: LinkConnector,
    pub(crate) direct: LinkConnector,
}

impl Connectors {
    fn new(certificates: &Arc<Certificates>, version_min: VersionMin) -> Self {
        let connector = |alpn| LinkConnector::new(certificates.clone(), alpn, version_min);
        Self { starttls: connector(Vec::new()), direct: connector(vec![ALPN.to_vec()]) }
    }
}

/// Whom the operator does not want.
const UNWANTED: Fault = Fault::Policy("This server does not speak to that domain");

/// Who speaks for a domain of ours and is not us.
const IN_OUR_NAME: Fault = Fault::Policy("This server does not speak to itself");
