//! Every key of the configuration file, with its default and its meaning.

use super::reader::Key;

/// A section of the file: its heading, a sentence about it, its keys.
pub(crate) struct SectionDoc {
    /// The heading as it stands in the file.
    pub heading: &'static str,
    /// What the section is about.
    pub about: &'static str,
    /// Its keys in the order of the reference page.
    pub keys: &'static [&'static Key],
}

/// All sections in the order of the reference page.
pub(crate) const ALL: &[SectionDoc] = &[
    SectionDoc {
        heading: "(top of the file)",
        about: "What concerns the whole server.",
        keys: &[&DATA_DIR],
    },
    SectionDoc {
        heading: "[[listen]]",
        about: "A port. Without any there are two: `c2s` on `[::]:5222`, `c2s-tls` on `[::]:5223`. \
                A change needs a restart.",
        keys: &[&LISTEN_KIND, &LISTEN_ADDRESS, &LISTEN_TLS, &LISTEN_ALLOW_PLAIN],
    },
    SectionDoc {
        heading: "[[host]]",
        about: "A domain of this server. Without any there is one: `localhost`.",
        keys: &[&HOST_NAME, &HOST_PROFILE, &HOST_GONE],
    },
    SectionDoc {
        heading: "[profile.NAME]",
        about: "Settings for the domains that name this profile. The options of modules stand in \
                `[profile.NAME.modules.MODULE]`; `enabled = false` switches a module off.",
        keys: &[
            &DELIVERY,
            &RESOURCE_CONFLICT,
            &SESSIONS_MAX,
            &UNKNOWN_ACCOUNT_SILENT,
            &ANONYMOUS,
            &ROSTER_ITEMS_MAX,
            &MODULES,
        ],
    },
    SectionDoc {
        heading: "[[certificate]]",
        about: "A certificate for the names that stand in it. Without any, the server makes a \
                development authority and a certificate of its own in the data folder.",
        keys: &[&CHAIN, &KEY, &NAMES],
    },
    SectionDoc {
        heading: "[tls]",
        about: "TLS on all ports. A change needs a restart.",
        keys: &[&CLIENT_CERTIFICATES, &CLIENT_AUTHORITY, &VERSION_MIN, &UNKNOWN_NAME],
    },
    SectionDoc {
        heading: "[limits]",
        about: "Sizes, numbers and waits. A change needs a restart.",
        keys: &[
            &STANZA_BYTES_MAX,
            &CONNECTIONS_MAX,
            &CONNECTIONS_PER_SOURCE_MAX,
            &HEADER_WAIT_SECS,
            &SIGN_IN_WAIT_SECS,
            &IDLE_SECS,
            &ANSWER_WAIT_SECS,
            &KEEPALIVE_SECS,
        ],
    },
    SectionDoc {
        heading: "[sign_in]",
        about: "Passwords and attempts to guess them. A change needs a restart.",
        keys: &[
            &MECHANISMS,
            &ITERATIONS,
            &SOURCE_FAILURES_MAX,
            &SOURCE_BLOCK_SECS,
            &ACCOUNT_FAILURES_MAX,
            &ACCOUNT_LOCK_SECS,
            &DELAY_AFTER,
        ],
    },
    SectionDoc {
        heading: "[log]",
        about: "What is logged, to standard error. Passwords and bodies never are.",
        keys: &[&LOG_LEVEL, &LOG_FORMAT],
    },
    SectionDoc {
        heading: "[metrics]",
        about: "The page for Prometheus, at `/metrics`. A change needs a restart.",
        keys: &[&METRICS_ADDRESS],
    },
];

macro_rules! keys {
    ($($ident:ident = $name:literal, $default:literal, $help:literal;)*) => {
        $(#[doc = $help] pub(super) const $ident: Key = Key { name: $name, default: $default, help: $help };)*
    };
}

keys! {
    DATA_DIR = "data_dir", "\"…/stentor\"", "The folder of the database, the certificates and the local socket. By default `$STENTOR_DATA`, else `/var/lib/stentor` for root, else `stentor` in the user's data folder. A change needs a restart.";
    LISTEN_KIND = "kind", "\"c2s\"", "`c2s`: clients, in clear until STARTTLS. `c2s-tls`: clients, TLS from the first byte (XEP-0368).";
    LISTEN_ADDRESS = "address", "\"[::]:5222\"", "Address and port; `[::]` takes IPv4 as well. For `c2s-tls` the default port is 5223.";
    LISTEN_TLS = "tls", "\"required\"", "`required`, `optional` or `off`, for `c2s`. Anything but `required` only on the loopback interface.";
    LISTEN_ALLOW_PLAIN = "allow_plaintext_beyond_loopback", "false", "Lifts that restriction, for a port behind a TLS proxy.";
    HOST_NAME = "name", "\"localhost\"", "The domain as in addresses.";
    HOST_PROFILE = "profile", "\"default\"", "Its profile.";
    HOST_GONE = "gone", "false", "Whether the domain was served once and is not any more: clients are told `host-gone`.";
    DELIVERY = "delivery", "\"most-available\"", "Which devices get a message to an account: `most-available` (those of the highest priority) or `all` (all of non-negative priority).";
    RESOURCE_CONFLICT = "resource_conflict", "\"rename\"", "When a client wishes a resource that is in use: `rename` (it gets another), `replace` (the older session ends) or `refuse`.";
    SESSIONS_MAX = "sessions_max", "50", "Sessions of one account at once, 1 to 10000.";
    UNKNOWN_ACCOUNT_SILENT = "unknown_account_silent", "false", "Whether messages to accounts that do not exist vanish instead of coming back.";
    ANONYMOUS = "anonymous", "false", "Whether visitors sign in without an account (SASL ANONYMOUS), and nobody else does.";
    ROSTER_ITEMS_MAX = "roster_items_max", "5000", "Contacts in one roster, 0 to 100000.";
    MODULES = "modules", "{}", "Options of modules, each in a table of its own.";
    CHAIN = "chain", "\"…\"", "PEM file with the certificate and its intermediates, leaf first.";
    KEY = "key", "\"…\"", "PEM file with the private key.";
    NAMES = "names", "[]", "Further names for which this certificate is shown.";
    CLIENT_CERTIFICATES = "client_certificates", "\"off\"", "`off`, `optional` or `required`: whether clients are asked for a certificate.";
    CLIENT_AUTHORITY = "client_authority", "\"…\"", "PEM file with the authorities whose certificates sign clients in by EXTERNAL.";
    VERSION_MIN = "version_min", "\"1.2\"", "The oldest TLS version: `1.2` or `1.3`.";
    UNKNOWN_NAME = "unknown_name", "\"default\"", "For a server name without a certificate: `default` shows the first certificate, `refuse` sends the alert unrecognized_name.";
    STANZA_BYTES_MAX = "stanza_bytes_max", "262144", "Bytes of one stanza after sign-in, 10000 to 16777216.";
    CONNECTIONS_MAX = "connections_max", "1000000", "Connections in all, 1 to 10000000.";
    CONNECTIONS_PER_SOURCE_MAX = "connections_per_source_max", "10000", "Connections from one address (IPv6: one /64), 1 to 1000000.";
    HEADER_WAIT_SECS = "header_wait_secs", "30", "Seconds until a connection must have opened a stream, 1 to 3600.";
    SIGN_IN_WAIT_SECS = "sign_in_wait_secs", "60", "Seconds until a connection must have a session, 1 to 3600.";
    IDLE_SECS = "idle_secs", "300", "Seconds of a client's silence after which it is pinged, 0 (never) to 86400.";
    ANSWER_WAIT_SECS = "answer_wait_secs", "30", "Seconds that it then has for any sign of life, 1 to 3600.";
    KEEPALIVE_SECS = "keepalive_secs", "0", "Seconds of our own silence after which a space is sent, 0 (never) to 86400.";
    MECHANISMS = "mechanisms", "[\"…\"]", "The SASL mechanisms offered, most wanted first. By default EXTERNAL, SCRAM with SHA-512, SHA-256 and SHA-1, each with and without channel binding, and PLAIN.";
    ITERATIONS = "iterations", "10000", "Iterations of newly derived keys, 4096 to 1000000.";
    SOURCE_FAILURES_MAX = "source_failures_max", "10", "Failed sign-ins of one address before it is blocked, 1 to 1000000.";
    SOURCE_BLOCK_SECS = "source_block_secs", "600", "Seconds in which they are counted, and seconds of the block, 1 to 604800.";
    ACCOUNT_FAILURES_MAX = "account_failures_max", "20", "Failed sign-ins to one account before passwords are refused, 1 to 1000000.";
    ACCOUNT_LOCK_SECS = "account_lock_secs", "3600", "Seconds in which they are counted, and seconds of the lock, 1 to 604800.";
    DELAY_AFTER = "delay_after", "5", "Failed sign-ins of one address after which answers are delayed by 1, 2, 4, … seconds, 1 to 1000000.";
    LOG_LEVEL = "level", "\"info\"", "`error`, `warn`, `info`, `debug` or `trace`, or a filter such as `info,stentor_edge=debug`.";
    LOG_FORMAT = "format", "\"text\"", "`text` or `json`. A change needs a restart.";
    METRICS_ADDRESS = "address", "\"127.0.0.1:5280\"", "Address and port; empty for none.";
}
