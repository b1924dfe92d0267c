//! What the engine counts.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// The engine's counters. Each increment is one atomic addition.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Sessions bound now.
    pub sessions: Gauge,
    /// Sessions without a stream, waiting to be resumed.
    pub sessions_detached: Gauge,
    /// Sessions that went on over another stream.
    pub resumptions: Counter,
    /// Attempts to resume a session that is not there.
    pub resumptions_failed: Counter,
    /// Sessions that nobody resumed in time.
    pub sessions_given_up: Counter,
    /// Messages that clients sent.
    pub messages_in: Counter,
    /// Presence stanzas that clients sent.
    pub presences_in: Counter,
    /// IQs that clients sent.
    pub iqs_in: Counter,
    /// Messages kept for accounts that were not there.
    pub offline_stored: Counter,
    /// Kept messages handed to a session.
    pub offline_delivered: Counter,
    /// Messages that could not be kept because the account's store was full.
    pub offline_rejected: Counter,
    /// Questions to archives that were answered.
    pub archive_queries: Counter,
    /// Archived messages sent in answer.
    pub archive_results: Counter,
    /// Archived messages that were taken back.
    pub archive_retracted: Counter,
    /// Items published on nodes of accounts.
    pub items_published: Counter,
    /// Messages and requests of strangers that were too many.
    pub strangers_refused: Counter,
    /// Stanzas that were never sent, because later ones said the same anew (XEP-0352).
    pub csi_stanzas_saved: Counter,
    /// Their bytes.
    pub csi_bytes_saved: Counter,
    /// Notifications that push services took.
    pub pushes_sent: Counter,
    /// Notifications that are tried again.
    pub pushes_retried: Counter,
    /// Registrations paused because their service does not answer.
    pub pushes_paused: Counter,
    /// Registrations removed because their service refuses.
    pub pushes_removed: Counter,
    /// Notifications that another one told as well.
    pub pushes_folded: Counter,
    /// Notifications that came too late to be sent.
    pub pushes_expired: Counter,
    /// Notifications put off because too many wait.
    pub pushes_put_off: Counter,
    /// Devices that wait to be told something.
    pub pushes_waiting: Gauge,
    /// Writes that the store refused.
    pub writes_refused: Counter,
    /// Failed sign-ins.
    pub sign_ins_failed: Counter,
    /// Successful sign-ins.
    pub sign_ins: Counter,
    /// Successful sign-ins by a token instead of a password.
    pub sign_ins_by_token: Counter,
    /// Tokens given out.
    pub tokens_issued: Counter,
}

impl Metrics {
    /// Lists them with their help texts.
    pub fn register(&self, registry: &mut Registry) {
        let r = registry.sub_registry_with_prefix("stentor");
        for (name, help, gauge) in self.gauges() {
            r.register(name, help, gauge.clone());
        }
        for (name, help, counter) in self.counters() {
            r.register(name, help, counter.clone());
        }
    }

    fn gauges(&self) -> [(&str, &str, &Gauge); 3] {
        [
            ("sessions", "Sessions bound now", &self.sessions),
            (
                "sessions_detached",
                "Sessions without a stream, waiting to be resumed",
                &self.sessions_detached,
            ),
            ("pushes_waiting", "Devices that wait to be told something", &self.pushes_waiting),
        ]
    }

    fn counters(&self) -> Vec<(&str, &str, &Counter)> {
        vec![
            ("resumptions", "Sessions that went on over another stream", &self.resumptions),
            (
                "resumptions_failed",
                "Attempts to resume a session that is not there",
                &self.resumptions_failed,
            ),
            ("sessions_given_up", "Sessions that nobody resumed in time", &self.sessions_given_up),
            ("messages_in", "Messages that clients sent", &self.messages_in),
            ("presences_in", "Presence stanzas that clients sent", &self.presences_in),
            ("iqs_in", "IQs that clients sent", &self.iqs_in),
            (
                "offline_stored",
                "Messages kept for accounts that were not there",
                &self.offline_stored,
            ),
            ("offline_delivered", "Kept messages handed to a session", &self.offline_delivered),
            (
                "offline_rejected",
                "Messages not kept because the account's store was full",
                &self.offline_rejected,
            ),
            ("archive_queries", "Questions to archives that were answered", &self.archive_queries),
            ("archive_results", "Archived messages sent in answer", &self.archive_results),
            (
                "archive_retracted",
                "Archived messages that were taken back",
                &self.archive_retracted,
            ),
            ("items_published", "Items published on nodes of accounts", &self.items_published),
            (
                "strangers_refused",
                "Messages and requests of strangers that were too many",
                &self.strangers_refused,
            ),
            (
                "csi_stanzas_saved",
                "Stanzas not sent to inactive clients, because later ones said the same anew",
                &self.csi_stanzas_saved,
            ),
            ("csi_bytes_saved", "Bytes of those stanzas", &self.csi_bytes_saved),
            ("pushes_sent", "Notifications that push services took", &self.pushes_sent),
            ("pushes_retried", "Notifications tried again", &self.pushes_retried),
            (
                "pushes_paused",
                "Registrations paused because their service does not answer",
                &self.pushes_paused,
            ),
            (
                "pushes_removed",
                "Registrations removed because their service refuses",
                &self.pushes_removed,
            ),
            ("pushes_folded", "Notifications that another one told as well", &self.pushes_folded),
            ("pushes_expired", "Notifications that came too late", &self.pushes_expired),
            ("pushes_put_off", "Notifications put off because too many wait", &self.pushes_put_off),
            ("writes_refused", "Writes that the store refused", &self.writes_refused),
            ("sign_ins", "Successful sign-ins", &self.sign_ins),
            ("sign_ins_by_token", "Successful sign-ins by a token", &self.sign_ins_by_token),
            ("tokens_issued", "Tokens given out", &self.tokens_issued),
            ("sign_ins_failed", "Failed sign-ins", &self.sign_ins_failed),
        ]
    }
}
