//! What the edge counts.

use prometheus_client::metrics::counter::Counter;
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
        r.register("bytes_in", "Plaintext bytes read", self.bytes_in.clone());
        r.register("bytes_out", "Plaintext bytes written", self.bytes_out.clone());
    }
}

/// Counters of federation.
#[derive(Debug, Default)]
pub struct FederationMetrics {
    /// Streams that we opened and that stand.
    pub opened: Counter,
    /// Domain pairs authorized on streams that others opened.
    pub accepted: Counter,
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
        for (name, help, counter) in [
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
