//! What the engine counts.

use prometheus_client::encoding::{EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;

/// Declares what a crate counts: the name of each as it is shown, its kind and its help text.
#[macro_export]
macro_rules! metrics {
    ($(#[$about:meta])* pub struct $Metrics:ident as $prefix:literal {
        $($name:ident: $Kind:ty = $help:literal;)*
    }) => {
        $(#[$about])*
        #[derive(Debug, Default)]
        pub struct $Metrics {
            $(#[doc = $help] pub $name: $Kind,)*
        }

        impl $Metrics {
            /// Lists them with their help texts.
            pub fn register(&self, registry: &mut ::prometheus_client::registry::Registry) {
                let listed = registry.sub_registry_with_prefix($prefix);
                $(listed.register(stringify!($name), $help, self.$name.clone());)*
            }
        }
    };
}

/// How long something took, in seconds, by whom it was asked of. The names are few: whoever counts
/// sees to that.
#[derive(Clone, Debug)]
pub struct Latencies(Family<Service, Histogram, fn() -> Histogram>);

/// Who was asked.
type Service = [(&'static str, String); 1];

impl Default for Latencies {
    fn default() -> Self {
        Self(Family::new_with_constructor(|| Histogram::new(LATENCY_SECS)))
    }
}

impl Latencies {
    /// Notes one.
    pub fn note(&self, service: &str, secs: f64) {
        self.0.get_or_create(&[("service", service.to_owned())]).observe(secs);
    }
}

impl EncodeMetric for Latencies {
    fn encode(&self, encoder: MetricEncoder<'_>) -> Result<(), std::fmt::Error> {
        self.0.encode(encoder)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

/// Upper bounds of what is counted together: from one server of ours to another, and up to the time
/// for which an answer is waited for.
const LATENCY_SECS: [f64; 10] = [0.005, 0.02, 0.05, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 60.0];

/// Why something failed: the name of a condition, of which there are few.
pub type Reason = [(&'static str, &'static str); 1];

metrics! {
    /// The engine's counters. Each increment is one atomic addition.
    pub struct Metrics as "stentor" {
        sessions: Gauge = "Sessions bound now";
        sessions_detached: Gauge = "Sessions without a stream, waiting to be resumed";
        resumptions: Counter = "Sessions that went on over another stream";
        resumptions_failed: Counter = "Attempts to resume a session that is not there";
        sessions_given_up: Counter = "Sessions that nobody resumed in time";
        messages_in: Counter = "Messages that clients sent";
        presences_in: Counter = "Presence stanzas that clients sent";
        iqs_in: Counter = "IQs that clients sent";
        offline_stored: Counter = "Messages kept for accounts that were not there";
        offline_delivered: Counter = "Kept messages handed to a session";
        offline_rejected: Counter = "Messages not kept because the account's store was full";
        offline_expired: Counter = "Kept messages removed because they were too old";
        offline_discarded: Counter = "Kept messages removed because nobody wants them any more";
        archive_queries: Counter = "Questions to archives that were answered";
        archive_results: Counter = "Archived messages sent in answer";
        archive_retracted: Counter = "Archived messages that were taken back";
        items_published: Counter = "Items published on nodes of accounts";
        strangers_refused: Counter = "Messages and requests of strangers that were too many";
        floods_refused: Counter = "Messages refused because their sender sent too many within a minute";
        csi_stanzas_saved: Counter = "Stanzas not sent to inactive clients, because later ones said the same anew";
        csi_bytes_saved: Counter = "Bytes of those stanzas";
        pushes_tried: Counter = "Notifications that were published, each attempt for itself";
        pushes_failed: Family<Reason, Counter> = "Notifications that came to nothing, by what was answered";
        pushes_sent: Counter = "Notifications that push services took";
        pushes_retried: Counter = "Notifications tried again";
        pushes_paused: Counter = "Registrations paused because their service does not answer";
        pushes_removed: Counter = "Registrations removed because their service refuses";
        pushes_folded: Counter = "Notifications that another one told as well";
        pushes_expired: Counter = "Notifications that came too late";
        pushes_held: Counter = "Notifications that waited because the device was told too often";
        pushes_throttled: Gauge = "Devices that wait because too much is on its way to their service, or the server has too much to do";
        pushes_pressed: Gauge = "1 while the server has so much to do that notifications wait";
        pushes_oldest_secs: Gauge = "Seconds that the device has waited which has waited longest to be told something";
        pushes_registered: Gauge = "Devices that are told something; counted anew every hour";
        pushes_secs: Latencies = "Seconds until a push service answered, by service";
        pushes_services_silent: Counter = "Services left alone because they do not answer";
        pushes_put_off: Counter = "Notifications put off because too many wait";
        pushes_waiting: Gauge = "Devices that wait to be told something";
        writes_refused: Counter = "Writes that the store refused";
        sign_ins_failed: Counter = "Failed sign-ins";
        sign_ins: Counter = "Successful sign-ins";
        sign_ins_by_token: Counter = "Successful sign-ins by a token";
        tokens_issued: Counter = "Tokens given out";
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::registry::Registry;

    use super::*;

    #[test]
    fn how_long_services_take_is_told_of_each() {
        let (metrics, mut registry) = (Metrics::default(), Registry::default());
        metrics.register(&mut registry);
        metrics.pushes_secs.note("push.example", 0.2);
        metrics.pushes_secs.note("push.example", 100.0);
        metrics.pushes_secs.note("other", 0.0);
        let mut page = String::new();
        prometheus_client::encoding::text::encode(&mut page, &registry).unwrap();
        for line in [
            "# TYPE stentor_pushes_secs histogram",
            "stentor_pushes_secs_bucket{le=\"0.1\",service=\"push.example\"} 0",
            "stentor_pushes_secs_bucket{le=\"0.3\",service=\"push.example\"} 1",
            "stentor_pushes_secs_bucket{le=\"+Inf\",service=\"push.example\"} 2",
            "stentor_pushes_secs_count{service=\"other\"} 1",
        ] {
            assert!(page.lines().any(|l| l == line), "{line} is not in\n{page}");
        }
    }
}
