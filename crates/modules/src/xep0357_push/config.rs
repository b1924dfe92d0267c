//! What the operator chooses about push notifications.

use serde::Deserialize;
use stentor_engine::{OptionDoc, Wish};

use crate::limits::PUSH_UNDER_WAY_MAX;

/// What the operator chose.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Config {
    pub(super) with_sender: bool,
    pub(super) with_body: bool,
    pub(super) stand_in: String,
    pub(super) rooms: Wish,
    pub(super) beside_active: bool,
    pub(super) inactive_secs: u64,
    pub(super) grace_secs: u64,
    pub(super) per_minute: u32,
    pub(super) registrations_max: usize,
    pub(super) services: Vec<String>,
    pub(super) tries_max: u32,
    pub(super) retry_secs: u64,
    pub(super) pause_secs: u64,
    pub(super) keep_secs: u64,
    pub(super) under_way_max: usize,
    pub(super) late_ms_max: u64,
    pub(super) tell_removed: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            with_sender: false,
            with_body: false,
            stand_in: "New message".to_owned(),
            rooms: Wish::OnMention,
            beside_active: false,
            inactive_secs: 0,
            grace_secs: 5,
            per_minute: 20,
            registrations_max: 20,
            services: Vec::new(),
            tries_max: 6,
            retry_secs: 5,
            pause_secs: 3_600,
            keep_secs: 28 * 24 * 3_600,
            under_way_max: 256,
            late_ms_max: 100,
            tell_removed: true,
        }
    }
}

impl Config {
    /// Refuses what makes no sense.
    pub(super) fn check(&self) -> Result<(), String> {
        for (name, value) in [
            ("per_minute", u64::from(self.per_minute)),
            ("tries_max", u64::from(self.tries_max)),
            ("retry_secs", self.retry_secs),
            ("keep_secs", self.keep_secs),
        ] {
            if value == 0 {
                return Err(format!("`{name}` is 0; at least 1 is needed"));
            }
        }
        if !(1..=PUSH_UNDER_WAY_MAX).contains(&self.under_way_max) {
            let max = self.under_way_max;
            return Err(format!(
                "`under_way_max` is {max}; 1 to {PUSH_UNDER_WAY_MAX} are possible"
            ));
        }
        Ok(())
    }

    /// Whether this service may be told.
    pub(super) fn allows(&self, domain: &str) -> bool {
        self.services.is_empty() || self.services.iter().any(|service| service == domain)
    }
}

/// The rows of the reference page.
pub(super) const OPTIONS: &[OptionDoc] = &[
    OptionDoc {
        key: "with_sender",
        default: "false",
        help: "Whether a push service is told who wrote.",
    },
    OptionDoc {
        key: "with_body",
        default: "false",
        help: "Whether it is told the first 100 characters of what was written, unless that is \
               encrypted or a spoiler.",
    },
    OptionDoc {
        key: "stand_in",
        default: "'New message'",
        help: "What stands in place of a body that is not told: some services alert nobody without \
               one. Empty for nothing.",
    },
    OptionDoc {
        key: "rooms",
        default: "'on-mention'",
        help: "Which messages of rooms are told where a user has not chosen: `always`, \
               `on-mention` or `never`.",
    },
    OptionDoc {
        key: "beside_active",
        default: "false",
        help: "Whether other devices are told of a message that an active client of the account \
               has.",
    },
    OptionDoc {
        key: "inactive_secs",
        default: "0",
        help: "Seconds for which a client that has become inactive still counts as active.",
    },
    OptionDoc {
        key: "grace_secs",
        default: "5",
        help: "Seconds that a client has to acknowledge a message before others are told.",
    },
    OptionDoc {
        key: "per_minute",
        default: "20",
        help: "Notifications to a user in a minute, to each device; further ones become one. Calls \
               and mentions are counted by themselves, so that they pass.",
    },
    OptionDoc {
        key: "registrations_max",
        default: "20",
        help: "Services and nodes that one account may enable; beyond, `resource-constraint`.",
    },
    OptionDoc {
        key: "services",
        default: "[]",
        help: "Domains of the services that may be enabled; others are `not-allowed`, and told \
               nothing any more. Empty for all.",
    },
    OptionDoc {
        key: "tries_max",
        default: "6",
        help: "Attempts for one notification before its device is paused.",
    },
    OptionDoc {
        key: "retry_secs",
        default: "5",
        help: "Seconds before the second attempt; twice as long before each next one, and each \
               time up to half as much more or less.",
    },
    OptionDoc {
        key: "pause_secs",
        default: "3600",
        help: "Seconds for which a service that does not answer is left alone.",
    },
    OptionDoc {
        key: "keep_secs",
        default: "2419200",
        help: "Seconds for which it is of use to tell a device of a message; a call is of use for \
               30.",
    },
    OptionDoc {
        key: "under_way_max",
        default: "256",
        help: "Notifications on their way to one service before further ones wait; calls, mentions \
               and messages of people have as many places again of their own.",
    },
    OptionDoc {
        key: "late_ms_max",
        default: "100",
        help: "Milliseconds that the server's own timers may be late. While they go on being later it \
               has too much to do, and only calls, mentions and messages of people are told. 0 for \
               however late.",
    },
    OptionDoc {
        key: "tell_removed",
        default: "true",
        help: "Whether the clients of a user who are there are told when a device is told nothing \
               any more because its service refuses.",
    },
];
