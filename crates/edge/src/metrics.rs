//! What the edge counts.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use stentor_engine::metrics;

metrics! {
    /// Counters of connections and bytes.
    pub struct Metrics as "stentor_edge" {
        accepted: Counter = "Connections accepted";
        turned_away: Counter = "Connections turned away by a limit or a block";
        open: Gauge = "Connections open now";
        handshakes_failed: Counter = "TLS handshakes that failed";
        faults: Counter = "Streams that ended with an error of ours";
        paused: Counter = "Pauses in reading from clients that sent faster than they may";
        bytes_in: Counter = "Plaintext bytes read";
        bytes_out: Counter = "Plaintext bytes written";
    }
}

metrics! {
    /// Counters of federation.
    pub struct FederationMetrics as "stentor_federation" {
        connections: Gauge = "Connections that other servers have open";
        turned_away: Counter = "Connections turned away by a limit";
        handshakes_failed: Counter = "TLS handshakes that failed";
        opened: Counter = "Streams to other servers that stood";
        accepted: Counter = "Domain pairs that other servers were authorized for";
        refused: Counter = "Streams that ended before their domain was proven";
        failed: Family<Vec<(&'static str, &'static str)>, Counter> = "Attempts to reach a domain that failed";
        queued: Counter = "Stanzas queued for other servers";
        resumed: Counter = "Streams that went on for broken ones";
        stanzas_out: Counter = "Stanzas sent to other servers";
        stanzas_in: Counter = "Stanzas that came from other servers";
    }
}

metrics! {
    /// Counters of components.
    pub struct ComponentMetrics as "stentor_component" {
        streams: Family<Vec<(&'static str, String)>, Gauge> = "Streams of components that stand";
        admitted: Counter = "Streams of components that were admitted";
        refused: Counter = "Streams of components that were refused";
        queued: Counter = "Stanzas queued for components";
        returned: Counter = "Stanzas for components that went back";
        stanzas_out: Counter = "Stanzas sent to components";
        stanzas_in: Counter = "Stanzas that came from components";
    }
}

impl FederationMetrics {
    /// The attempts that failed by this cause.
    pub(crate) fn failed_by(&self, cause: &'static str) -> Counter {
        self.failed.get_or_create(&vec![("cause", cause)]).clone()
    }
}

impl ComponentMetrics {
    /// The streams of one component.
    pub(crate) fn streams_of(&self, domain: &str) -> Gauge {
        self.streams.get_or_create(&vec![("component", domain.to_owned())]).clone()
    }
}
