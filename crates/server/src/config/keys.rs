//! Every key of the configuration file, with its default and its meaning.

use stentor_edge::OnConflict;
use stentor_engine::host::{Delivery, ResourceConflict};
use stentor_engine::{Access, PresenceAccess};
use stentor_transport::{UnknownName as UnknownServerName, VersionMin};

use super::key::Change::{Reload, Restart};
use super::key::Key;
use super::key::Kind::{Address, Number, Path, Tables, Text, Texts, Truth, Word};
use super::words::words;
use super::{Asked, LogFormat as Format, PortKind, TlsUse};

/// A section of the file: its heading, a sentence about it, its keys.
pub(crate) struct SectionDoc {
    /// The heading as it stands in the file.
    pub heading: &'static str,
    /// What the section is about.
    pub about: &'static str,
    /// Its keys in the order of the reference page.
    pub keys: &'static [&'static Key],
}

macro_rules! sections {
    ($($heading:literal, $about:literal => {
        $($ident:ident = $name:literal, $kind:expr, $default:literal, $change:expr, $help:literal;)*
    })*) => {
        /// All sections in the order of the reference page.
        pub(crate) const ALL: &[SectionDoc] = &[
            $(SectionDoc { heading: $heading, about: $about, keys: &[$(&$ident),*] }),*
        ];

        $($(
            #[doc = $help]
            pub(super) const $ident: Key =
                Key { name: $name, kind: $kind, default: $default, change: $change, help: $help };
        )*)*
    };
}

const UP_TO_AN_HOUR: super::key::Kind = Number(1, 3_600, "seconds");
const UP_TO_A_DAY: super::key::Kind = Number(0, 86_400, "seconds");
const UP_TO_A_WEEK: super::key::Kind = Number(1, 604_800, "seconds");

sections! {
    "(top of the file)",
    "What concerns the whole server." => {
        DATA_DIR = "data_dir", Path, "\"…/stentor\"", Restart,
            "The folder of the database, the certificates and the local socket. By default `$STENTOR_DATA`, else `/var/lib/stentor` for root where that is a folder, else `stentor` in the user's data folder, or in the current one without a home.";
    }

    "[[listen]]",
    "A port. Without any there are four: `c2s` on `[::]:5222`, `c2s-tls` on `[::]:5223`, \
        `s2s` on `[::]:5269` and `s2s-tls` on `[::]:5270`. Where there are components and no \
        port for them, there is one more: `component` on `127.0.0.1:5347`." => {
        LISTEN_KIND = "kind", Word(words::<PortKind>), "\"c2s\"", Restart,
            "`c2s`: clients, in clear until STARTTLS. `c2s-tls`: clients, TLS from the first byte (XEP-0368). `s2s`, `s2s-tls`: the same for other servers. `component`: components, in clear. `component-tls`: components, TLS from the first byte.";
        LISTEN_ADDRESS = "address", Address("[::]:5222"), "\"[::]:5222\"", Restart,
            "Where; `[::]` takes IPv4 as well. The default port is 5222 for `c2s`, 5223 for `c2s-tls`, 5269 for `s2s`, 5270 for `s2s-tls`, 5348 for `component-tls`; `component` has `127.0.0.1:5347`.";
        LISTEN_TLS = "tls", Word(words::<TlsUse>), "\"required\"", Restart,
            "Whether a port of kind `c2s` insists on STARTTLS. Anything but `required`, and a port of kind `component`, only on the loopback interface.";
        LISTEN_ALLOW_PLAIN = "allow_plaintext_beyond_loopback", Truth, "false", Restart,
            "Lifts that restriction, for a port behind a TLS proxy.";
    }

    "[[host]]",
    "A domain of this server. Without any there is one: `localhost`." => {
        HOST_NAME = "name", Text, "none", Reload,
            "The domain as in addresses; must be there.";
        HOST_PROFILE = "profile", Text, "\"default\"", Reload,
            "Its profile.";
        HOST_GONE = "gone", Truth, "false", Reload,
            "Whether the domain was served once and is not any more: clients are told `host-gone`.";
    }

    "[profile.NAME]",
    "Settings for the domains that name this profile. The options of modules stand in \
        `[profile.NAME.modules.MODULE]`; `enabled = false` switches a module off." => {
        DELIVERY = "delivery", Word(words::<Delivery>), "\"most-available\"", Reload,
            "Which devices get a message to an account: those of the highest priority, or all of non-negative priority, which is then shown as 0.";
        RESOURCE_CONFLICT = "resource_conflict", Word(words::<ResourceConflict>), "\"rename\"", Reload,
            "When a client wishes a resource that is in use: it gets another, the older session ends, or it is refused.";
        SESSIONS_MAX = "sessions_max", Number(1, 10_000, "sessions"), "50", Reload,
            "Sessions of one account at once.";
        UNKNOWN_ACCOUNT_SILENT = "unknown_account_silent", Truth, "false", Reload,
            "Whether messages to accounts that do not exist vanish instead of coming back.";
        ANONYMOUS = "anonymous", Truth, "false", Reload,
            "Whether visitors sign in without an account (SASL ANONYMOUS), and nobody else does.";
        ROSTER_ITEMS_MAX = "roster_items_max", Number(0, 100_000, "contacts"), "5000", Reload,
            "Contacts in one roster.";
        RESUME_SECS = "resume_secs", UP_TO_A_DAY, "600", Reload,
            "Seconds for which a session whose connection broke may be resumed (XEP-0198); clients may ask for less, and 0 lets none be.";
        MODULES = "modules", Tables, "{}", Reload,
            "Options of modules, each in a table of its own.";
    }

    "[[certificate]]",
    "A certificate for the names that stand in it. Without any, the server makes a \
        development authority and a certificate of its own in the data folder." => {
        CHAIN = "chain", Path, "none", Reload,
            "PEM file with the certificate and its intermediates, leaf first; must be there.";
        KEY = "key", Path, "none", Reload,
            "PEM file with the private key; must be there, may be the same file.";
        NAMES = "names", Texts, "[]", Reload,
            "Further server names for which this certificate is shown.";
    }

    "[tls]",
    "TLS on all ports." => {
        CERTIFICATE_FOLDER = "certificate_folder", Path, "none", Reload,
            "A folder in which a domain may have a folder of its name (as in DNS) with `fullchain.pem` and `privkey.pem`, as certbot's `live` is: for domains that come by `stentor domain add`.";
        CLIENT_CERTIFICATES = "client_certificates", Word(words::<Asked>), "\"off\"", Restart,
            "Whether clients are asked for a certificate.";
        CLIENT_AUTHORITY = "client_authority", Path, "none", Restart,
            "PEM file with the authorities whose certificates sign clients in by EXTERNAL.";
        VERSION_MIN = "version_min", Word(words::<VersionMin>), "\"1.2\"", Restart,
            "The oldest TLS version.";
        UNKNOWN_NAME = "unknown_name", Word(words::<UnknownServerName>), "\"default\"", Restart,
            "For a server name without a certificate: `default` shows the first certificate, `refuse` sends the alert unrecognized_name.";
    }

    "[federation]",
    "Other servers." => {
        FEDERATION_ENABLED = "enabled", Truth, "true", Restart,
            "Whether this server speaks to others at all.";
        FEDERATION_ALLOW = "allow", Texts, "[]", Reload,
            "Only these domains and those below them; everyone if there are none.";
        FEDERATION_BLOCK = "block", Texts, "[]", Reload,
            "Never these domains, nor those below them. A stream of theirs ends with the next stanza.";
        FEDERATION_TLS = "tls_required", Truth, "true", Restart,
            "Whether nothing goes without TLS.";
        FEDERATION_DIALBACK = "dialback", Truth, "true", Restart,
            "Whether a call back (XEP-0220) may stand in for a certificate that proves the domain. Without it only valid certificates are believed.";
        FEDERATION_AUTHORITY = "authority", Path, "none", Restart,
            "PEM file with the authorities of other servers' certificates. By default those that the system trusts.";
        FEDERATION_IDLE_SECS = "idle_secs", UP_TO_A_WEEK, "600", Restart,
            "Silence after which a stream that this server opened is closed.";
        FEDERATION_SILENCE_SECS = "silence_secs", UP_TO_AN_HOUR, "120", Restart,
            "How long a server that counts stanzas (XEP-0198) may be silent before it is asked whether it is there; how long it has to answer; and how long a server that cannot be reached is sought before its users are shown as gone.";
        FEDERATION_CONNECT_WAIT_SECS = "connect_wait_secs", UP_TO_AN_HOUR, "10", Restart,
            "What one address has to take a connection.";
        FEDERATION_ATTEMPTS = "attempts_per_minute", Number(1, 600, "attempts"), "60", Restart,
            "How often one other domain is called within any minute, whatever becomes of its streams. After attempts that fail it is called more seldom.";
        FEDERATION_HOLD_SECS = "hold_secs", UP_TO_A_DAY, "1800", Restart,
            "How long messages wait for a server that cannot be reached before they come back with an error; 0 to return them at once. All else is answered at once.";
        FEDERATION_BYTES_PER_SEC = "bytes_per_sec", Number(0, 1_000_000_000, "bytes"), "0", Restart,
            "What is read from one other domain in a second on the average; 0 for as much as comes.";
        FEDERATION_CONNECTIONS_MAX = "connections_max", Number(1, 1_000_000, "connections"), "10000", Restart,
            "Connections that other servers may have open to this one.";
        FEDERATION_PER_SOURCE_MAX = "connections_per_source_max", Number(1, 1_000_000, "connections"), "1000", Restart,
            "The same from one address; an IPv6 source is its /64.";
        FEDERATION_DNS = "dns", Address("192.0.2.53:53"), "none", Restart,
            "A DNS server to ask instead of those of the system.";
        FEDERATION_DNSSEC = "dnssec", Truth, "false", Restart,
            "Whether answers of DNS are validated (DNSSEC), and TLSA records decide which certificate another server has (DANE, RFC 7673). The DNS server must pass signatures on; answers with wrong ones make a domain unusable.";
        FEDERATION_TRUST_ANCHOR = "trust_anchor", Path, "none", Restart,
            "File with the DNSKEY records that validation begins at, one a line as in a zone file. By default the keys of the root zone.";
    }

    "[[peer]]",
    "What is asked of one other domain and those below it, instead of what stands in \
        `[federation]`; the longest name that fits counts." => {
        PEER_DOMAIN = "domain", Text, "none", Restart,
            "The other domain; must be there.";
        PEER_TLS = "tls_required", Truth, "true", Restart,
            "Whether nothing goes to it or comes from it without TLS.";
        PEER_DIALBACK = "dialback", Truth, "true", Restart,
            "Whether a call back may stand in for a certificate that proves the domain.";
        PEER_BYTES_PER_SEC = "bytes_per_sec", Number(0, 1_000_000_000, "bytes"), "0", Restart,
            "What is read from it in a second on the average; 0 for as much as comes.";
    }

    "[[route]]",
    "Where another domain's server is, whatever DNS says: for private networks." => {
        ROUTE_DOMAIN = "domain", Text, "none", Restart,
            "The other domain, or `*` for all without a route of their own; must be there.";
        ROUTE_HOST = "host", Text, "none", Restart,
            "The name or address of its server; must be there.";
        ROUTE_PORT = "port", Number(1, 65_535, "port"), "5269", Restart,
            "Its port.";
        ROUTE_DIRECT_TLS = "direct_tls", Truth, "false", Restart,
            "Whether TLS comes first there (XEP-0368).";
    }

    "[[component]]",
    "A service of its own that attaches itself to this server and speaks for a domain \
        (XEP-0114), such as a gateway: see [the manual](manual/components.md)." => {
        COMPONENT_DOMAIN = "domain", Text, "none", Reload,
            "The domain that it speaks for, with any name before the `@`; must be there, and may be no `[[host]]`.";
        COMPONENT_SECRET = "secret", Text, "none", Reload,
            "What it must know; this or `secret_file` must be there.";
        COMPONENT_SECRET_FILE = "secret_file", Path, "none", Reload,
            "A file with one line, the secret.";
        COMPONENT_NAME = "name", Text, "none", Reload,
            "A name for people, in lists of services.";
        COMPONENT_HOSTS = "hosts", Texts, "[]", Reload,
            "The domains of this server that list it among their services. By default those that its own is below.";
        COMPONENT_FEDERATE = "federate", Truth, "false", Reload,
            "Whether it and other servers may speak to each other.";
        COMPONENT_CONNECTIONS_MAX = "connections_max", Number(1, 64, "connections"), "1", Reload,
            "Connections at once; several share the senders, each of whom keeps to one.";
        COMPONENT_ON_CONFLICT = "on_conflict", Word(words::<OnConflict>), "\"refuse\"", Reload,
            "What becomes of one connection more: it is refused, or it takes the place of the oldest.";
        COMPONENT_QUEUE_BYTES_MAX = "queue_bytes_max", Number(16_384, 1_073_741_824, "bytes"), "4194304", Reload,
            "What may wait for one connection; what is more comes back to its senders.";
        COMPONENT_STANZA_BYTES_MAX = "stanza_bytes_max", Number(10_000, 16_777_216, "bytes"), "524288", Reload,
            "One stanza of the component.";
        COMPONENT_ROSTER_ACCESS = "roster_access", Word(words::<Access>), "\"none\"", Reload,
            "What it may do with the rosters of the accounts of its `hosts` (XEP-0356).";
        COMPONENT_ROSTER_PUSH = "roster_push", Truth, "true", Reload,
            "Whether it is told of changes of rosters that it may read.";
        COMPONENT_MESSAGE_ACCESS = "message_access", Truth, "false", Reload,
            "Whether it sends messages in the name of these accounts and domains (XEP-0356).";
        COMPONENT_IQ_ACCESS = "iq_access", Texts, "[]", Reload,
            "The IQs that it sends in the name of these accounts, each a namespace with `get`, `set` or `both` behind it (XEP-0356).";
        COMPONENT_PRESENCE_ACCESS = "presence_access", Word(words::<PresenceAccess>), "\"none\"", Reload,
            "Whose presence it gets: that of these accounts, or with `roster` that of their contacts as well, which needs `roster_access` (XEP-0356).";
        COMPONENT_DELEGATE = "delegate", Texts, "[]", Reload,
            "The namespaces of IQs that it answers in the place of the server, each with the attributes behind it that the payload must have (XEP-0355).";
    }

    "[limits]",
    "Sizes, numbers and waits." => {
        STANZA_BYTES_MAX = "stanza_bytes_max", Number(10_000, 16_777_216, "bytes"), "262144", Restart,
            "One stanza after sign-in.";
        STANZA_BYTES_BEFORE_SIGN_IN_MAX = "stanza_bytes_before_sign_in_max", Number(10_000, 1_048_576, "bytes"), "16384", Restart,
            "One element before sign-in.";
        CONNECTIONS_MAX = "connections_max", Number(1, 10_000_000, "connections"), "1000000", Restart,
            "Connections in all.";
        CONNECTIONS_PER_SOURCE_MAX = "connections_per_source_max", Number(1, 1_000_000, "connections"), "10000", Restart,
            "Connections from one address (IPv6: one /64).";
        CONNECTIONS_BEFORE_SIGN_IN_PER_SOURCE_MAX = "connections_before_sign_in_per_source_max", Number(1, 1_000_000, "connections"), "10000", Restart,
            "Those of clients among them that have no session yet.";
        CONNECTIONS_PER_SOURCE_PER_MINUTE = "connections_per_source_per_minute", Number(0, 1_000_000, "connections"), "60000", Restart,
            "New connections from one address in a minute, for long, and as many at once; 0 for no limit. More are turned away.";
        STANZAS_PER_SEC = "stanzas_per_sec", Number(0, 1_000_000_000, "stanzas"), "20000", Restart,
            "What one client may send for long; 0 for no limit. Who is faster is read more slowly, and nothing is refused.";
        BYTES_PER_SEC = "bytes_per_sec", Number(0, 1_000_000_000_000, "bytes"), "20971520", Restart,
            "The same in bytes.";
        ACCOUNT_STANZAS_PER_SEC = "account_stanzas_per_sec", Number(0, 1_000_000_000, "stanzas"), "40000", Restart,
            "What all clients of one account may send together for long; 0 for no limit.";
        ACCOUNT_BYTES_PER_SEC = "account_bytes_per_sec", Number(0, 1_000_000_000_000, "bytes"), "41943040", Restart,
            "The same in bytes.";
        ADMINISTRATOR_STANZAS_PER_SEC = "administrator_stanzas_per_sec", Number(0, 1_000_000_000, "stanzas"), "20000", Restart,
            "What one client of an administrator may send for long, in place of these four; 0 for no limit. Administrators are those at `xmpp:` in `admin` of the module `contact`.";
        ADMINISTRATOR_BYTES_PER_SEC = "administrator_bytes_per_sec", Number(0, 1_000_000_000_000, "bytes"), "20971520", Restart,
            "The same in bytes.";
        BURST_SECS = "burst_secs", UP_TO_AN_HOUR, "5", Restart,
            "Who was quiet may send at once what these rates bring in so many seconds.";
        HEADER_WAIT_SECS = "header_wait_secs", UP_TO_AN_HOUR, "30", Restart,
            "Until a connection must have opened a stream.";
        SIGN_IN_WAIT_SECS = "sign_in_wait_secs", UP_TO_AN_HOUR, "60", Restart,
            "Until a connection must have a session.";
        IDLE_SECS = "idle_secs", UP_TO_A_DAY, "300", Restart,
            "Silence of a client after which it is asked whether it is there; 0 never asks.";
        ANSWER_WAIT_SECS = "answer_wait_secs", UP_TO_AN_HOUR, "30", Restart,
            "What it then has for any sign of life; after half of it, it is pinged.";
        KEEPALIVE_SECS = "keepalive_secs", UP_TO_A_DAY, "0", Restart,
            "Silence of ours after which a space is sent; 0 never sends one.";
    }

    "[sign_in]",
    "Passwords and attempts to guess them." => {
        MECHANISMS = "mechanisms", Texts, "all", Restart,
            "The SASL mechanisms offered, most wanted first. By default EXTERNAL, SCRAM with SHA-512, SHA-256 and SHA-1, each with and without channel binding, and PLAIN.";
        ITERATIONS = "iterations", Number(4_096, 1_000_000, "iterations"), "10000", Restart,
            "Of newly derived keys.";
        RETRIES_MAX = "retries_max", Number(2, 5, "attempts"), "3", Restart,
            "Further attempts on one stream after a failed sign-in, before it is closed (RFC 6120 §6.4.5).";
        SOURCE_FAILURES_MAX = "source_failures_max", Number(1, 1_000_000, "failures"), "10", Restart,
            "Failed sign-ins of one address before it is blocked.";
        SOURCE_BLOCK_SECS = "source_block_secs", UP_TO_A_WEEK, "600", Restart,
            "In which they are counted, and how long the block lasts.";
        ACCOUNT_FAILURES_MAX = "account_failures_max", Number(1, 1_000_000, "failures"), "20", Restart,
            "Failed sign-ins to one account before passwords are refused.";
        ACCOUNT_LOCK_SECS = "account_lock_secs", UP_TO_A_WEEK, "3600", Restart,
            "In which they are counted, and how long the lock lasts.";
        DELAY_AFTER = "delay_after", Number(1, 1_000_000, "failures"), "5", Restart,
            "Failed sign-ins of one address, or to one account, within a minute after which answers are delayed by 1, 2, 4, … seconds.";
    }

    "[log]",
    "What is logged, to standard error. Passwords and bodies never are." => {
        LOG_LEVEL = "level", Text, "\"info\"", Reload,
            "`error`, `warn`, `info`, `debug` or `trace`, or a filter such as `info,stentor_edge=debug`.";
        LOG_FORMAT = "format", Word(words::<Format>), "\"text\"", Restart,
            "For people, or one JSON object a line.";
    }

    "[metrics]",
    "The page for Prometheus, at `/metrics`." => {
        METRICS_ADDRESS = "address", Address("127.0.0.1:5280"), "\"127.0.0.1:5280\"", Restart,
            "Where; empty for nowhere. Only on the loopback interface.";
        METRICS_ALLOW = "allow_beyond_loopback", Truth, "false", Restart,
            "Lifts that restriction, for an address that only the monitoring reaches: the page has no password.";
    }
}
