//! What the edge counts.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Counters of connections and bytes.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Connections accepted.
    pub accepted: Counter,
    /// Connections turned away by a limit or a block.
    pub turned_away: Counter,
    /// Connections open now.
    pub open: Gauge,
    /// Handshakes that failed.
    pub handshakes_failed: Counter,
    /// Streams that ended with an error of ours.
    pub faults: Counter,
    /// Pauses of clients that sent faster than they may.
    pub paused: Counter,
    /// Plaintext bytes read.
    pub bytes_in: Counter,
    /// Plaintext bytes written.
    pub bytes_out: Counter,
}

impl Metrics {
    /// Lists them with their help texts.
    pub fn register(&self, registry: &mut Registry) {
        let r = registry.sub_registry_with_prefix("stentor_edge");
        r.register("accepted", "Connections accepted", self.accepted.clone());
        r.register(
            "turned_away",
            "Connections turned away by a limit or a block",
            self.turned_away.clone(),
        );
        r.register("open", "Connections open now", self.open.clone());
        r.register(
            "handshakes_failed",
            "TLS handshakes that failed",
            self.handshakes_failed.clone(),
        );
        r.register("faults", "Streams that ended with an error of ours", self.faults.clone());
        r.register(
            "paused",
            "Pauses in reading from clients that sent faster than they may",
            self.paused.clone(),
        );
        r.register("bytes_in", "Plaintext bytes read", self.bytes_in.clone());
        r.register("bytes_out", "Plaintext bytes written", self.bytes_out.clone());
    }
}

/// Counters of federation.
#[derive(Debug, Default)]
pub struct FederationMetrics {
    /// Connections that other servers have open to us.
    pub connections: Gauge,
    /// Connections of other servers turned away by a limit.
    pub turned_away: Counter,
    /// Handshakes with other servers that failed.
    pub handshakes_failed: Counter,
    /// Streams that we opened and that stand.
    pub opened: Counter,
    /// Domain pairs authorized on streams that others opened.
    pub accepted: Counter,
    /// Streams of others that ended before their domain was proven.
    pub refused: Counter,
    /// Domains that could not be reached.
    pub failed: Counter,
    /// Stanzas queued for other servers.
    pub queued: Counter,
    /// Stanzas sent to other servers.
    pub stanzas_out: Counter,
    /// Stanzas that came from other servers.
    pub stanzas_in: Counter,
}

impl FederationMetrics {
    /// Lists them with their help texts.
    pub fn register(&self, registry: &mut Registry) {
        let r = registry.sub_registry_with_prefix("stentor_federation");
        let help = "Connections that other servers have open";
        r.register("connections", help, self.connections.clone());
        for (name, help, counter) in [
            ("turned_away", "Connections turned away by a limit", &self.turned_away),
            ("handshakes_failed", "TLS handshakes that failed", &self.handshakes_failed),
            ("refused", "Streams that ended before their domain was proven", &self.refused),
            ("opened", "Streams to other servers that stood", &self.opened),
            ("accepted", "Domain pairs that other servers were authorized for", &self.accepted),
            ("failed", "Attempts to reach a domain that failed", &self.failed),
            ("queued", "Stanzas queued for other servers", &self.queued),
            ("stanzas_out", "Stanzas sent to other servers", &self.stanzas_out),
            ("stanzas_in", "Stanzas that came from other servers", &self.stanzas_in),
        ] {
            r.register(name, help, counter.clone());
        }
    }
}

/// Counters of components.
#[derive(Debug, Default)]
pub struct ComponentMetrics {
    /// Streams that stand, by the domain of the component.
    pub streams: Family<Vec<(&'static str, String)>, Gauge>,
    /// Streams that were admitted.
    pub admitted: Counter,
    /// Streams that were refused: no such component, a wrong secret, or one stream too many.
    pub refused: Counter,
    /// Stanzas queued for components.
    pub queued: Counter,
    /// Stanzas for components that went back, because they were away or did not keep up.
    pub returned: Counter,
    /// Stanzas sent to components.
    pub stanzas_out: Counter,
    /// Stanzas that came from components.
    pub stanzas_in: Counter,
}

impl ComponentMetrics {
    /// Lists them with their help texts.
    pub fn register(&self, registry: &mut Registry) {
        let r = registry.sub_registry_with_prefix("stentor_component");
        r.register("streams", "Streams of components that stand", self.streams.clone());
        for (name, help, counter) in [
            ("admitted", "Streams of components that were admitted", &self.admitted),
            ("refused", "Streams of components that were refused", &self.refused),
            ("queued", "Stanzas queued for components", &self.queued),
            ("returned", "Stanzas for components that went back", &self.returned),
            ("stanzas_out", "Stanzas sent to components", &self.stanzas_out),
            ("stanzas_in", "Stanzas that came from components", &self.stanzas_in),
        ] {
            r.register(name, help, counter.clone());
        }
    }

    /// The streams of one component.
    pub(crate) fn streams_of(&self, domain: &str) -> Gauge {
        self.streams.get_or_create(&vec![("component", domain.to_owned())]).clone()
    }
}
