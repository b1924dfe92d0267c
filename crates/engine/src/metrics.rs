//! What the engine counts.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

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
        pushes_throttled: Gauge = "Devices that wait because too much is on its way to their service";
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
