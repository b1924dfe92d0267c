//! Reading each section of the file. Mistakes are left with the reader.

use std::path::PathBuf;
use std::time::Duration;

use stentor_edge::{AdmissionSettings, Rates};
use stentor_engine::guard::GuardSettings;
use stentor_engine::pace::Rate;
use stentor_sasl::Mechanism;
use stentor_stream::c2s::{Idle, Settings as StreamSettings};
use stentor_transport::{UnknownName, VersionMin};
use stentor_xml::Limits;
use toml::Spanned;
use toml::de::DeTable;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use super::reader::{Reader, Value};
use super::{Asked, Config, LogFormat, components, federation, hosts, keys, listeners, profiles};

/// Reads the whole file.
pub(super) fn read<'t>(reader: &mut Reader<'_>, root: &'t DeTable<'t>) -> Config {
    let value = |name: &str| root.get(name);
    let metrics = metrics(reader, value("metrics"));
    let profiles = profiles::read(reader, value("profile"));
    let hosts = hosts::read(reader, value("host"), &profiles);
    let components = components::read(reader, value("component"), &hosts);
    let listeners = listeners::read(reader, value("listen"), metrics, !components.is_empty());
    let certificates = hosts::certificates(reader, value("certificate"));
    let federation = federation::read(reader, value("federation"), value("route"), value("peer"));
    let mut config = Config {
        data_dir: data_dir(reader, root),
        listeners,
        hosts,
        profiles,
        certificates,
        certificate_folder: None,
        federation,
        components,
        client_certificates: Asked::Off,
        client_authority: None,
        version_min: VersionMin::default(),
        unknown_name: UnknownName::default(),
        stream: StreamSettings::default(),
        admission: AdmissionSettings::default(),
        rates: Rates::default(),
        mechanisms: None,
        iterations: 0,
        guard: GuardSettings::default(),
        log_level: String::new(),
        log_format: LogFormat::Text,
        metrics,
        fixed: std::collections::BTreeMap::new(),
    };
    tls(reader, value("tls"), &mut config);
    limits(reader, value("limits"), &mut config);
    sign_in(reader, value("sign_in"), &mut config);
    log(reader, value("log"), &mut config);
    reader.unknown("the file", root, TOP);
    config.fixed = std::mem::take(&mut reader.fixed);
    config
}

const TOP: &[&str] = &[
    "data_dir",
    "listen",
    "host",
    "profile",
    "certificate",
    "tls",
    "federation",
    "route",
    "component",
    "peer",
    "limits",
    "sign_in",
    "log",
    "metrics",
];

fn data_dir<'t>(reader: &mut Reader<'_>, root: &'t DeTable<'t>) -> PathBuf {
    let set = reader.top(root).path(&keys::DATA_DIR);
    set.map_or_else(default_data_dir, |(_, path)| path)
}

fn default_data_dir() -> PathBuf {
    let env = |name| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    if let Some(dir) = env("STENTOR_DATA") {
        return dir;
    }
    let system = PathBuf::from("/var/lib/stentor");
    if rustix::process::geteuid().is_root() && system.is_dir() {
        return system;
    }
    env("XDG_DATA_HOME")
        .or_else(|| env("HOME").map(|home| home.join(".local/share")))
        .or_else(|| std::env::current_dir().ok())
        .unwrap_or_else(|| PathBuf::from("."))
        .join("stentor")
}

fn tls<'t>(reader: &mut Reader<'_>, value: Option<&'t Value<'t>>, config: &mut Config) {
    let mut s = reader.section("tls", value);
    config.client_certificates = s.word::<Asked>(&keys::CLIENT_CERTIFICATES);
    config.client_authority = s.path(&keys::CLIENT_AUTHORITY).map(|(span, path)| {
        let place = s.place(&span);
        (place, path)
    });
    config.certificate_folder = s.path(&keys::CERTIFICATE_FOLDER).map(|(span, path)| {
        let place = s.place(&span);
        (place, path)
    });
    config.version_min = s.word(&keys::VERSION_MIN);
    config.unknown_name = s.word(&keys::UNKNOWN_NAME);
    if config.client_certificates != Asked::Off && config.client_authority.is_none() {
        let span = value.map_or(0..0, Spanned::span);
        s.wrong(
            &span,
            "`client_certificates` needs `client_authority`: a PEM file with the authorities",
        );
    }
    s.finish();
}

fn limits<'t>(reader: &mut Reader<'_>, value: Option<&'t Value<'t>>, config: &mut Config) {
    let mut s = reader.section("limits", value);
    let stream = &mut config.stream;
    let bytes = size(s.number(&keys::STANZA_BYTES_MAX));
    stream.limits = Limits { frame_bytes_max: bytes, ..stream.limits };
    let bytes = size(s.number(&keys::STANZA_BYTES_BEFORE_SIGN_IN_MAX));
    stream.limits_before_auth = Limits { frame_bytes_max: bytes, ..stream.limits_before_auth };
    config.admission = AdmissionSettings {
        connections_max: size(s.number(&keys::CONNECTIONS_MAX)),
        per_source_max: small(s.number(&keys::CONNECTIONS_PER_SOURCE_MAX)),
        per_source_before_sign_in_max: small(
            s.number(&keys::CONNECTIONS_BEFORE_SIGN_IN_PER_SOURCE_MAX),
        ),
        per_source_attempts_per_minute: s.number(&keys::CONNECTIONS_PER_SOURCE_PER_MINUTE),
    };
    let burst_secs = s.number(&keys::BURST_SECS);
    let rate = |per_sec: u64| Rate::new(per_sec, burst_secs);
    config.rates = Rates {
        stanzas: rate(s.number(&keys::STANZAS_PER_SEC)),
        bytes: rate(s.number(&keys::BYTES_PER_SEC)),
        account_stanzas: rate(s.number(&keys::ACCOUNT_STANZAS_PER_SEC)),
        account_bytes: rate(s.number(&keys::ACCOUNT_BYTES_PER_SEC)),
        administrator_stanzas: rate(s.number(&keys::ADMINISTRATOR_STANZAS_PER_SEC)),
        administrator_bytes: rate(s.number(&keys::ADMINISTRATOR_BYTES_PER_SEC)),
    };
    let millis = |secs: u64| secs * 1_000;
    stream.header_wait_ms = millis(s.number(&keys::HEADER_WAIT_SECS));
    stream.sign_in_wait_ms = millis(s.number(&keys::SIGN_IN_WAIT_SECS));
    stream.idle = Idle {
        after_ms: millis(s.number(&keys::IDLE_SECS)),
        answer_wait_ms: millis(s.number(&keys::ANSWER_WAIT_SECS)),
        keepalive_ms: millis(s.number(&keys::KEEPALIVE_SECS)),
        ..stream.idle
    };
    s.finish();
}

fn sign_in<'t>(reader: &mut Reader<'_>, value: Option<&'t Value<'t>>, config: &mut Config) {
    let mut s = reader.section("sign_in", value);
    let names = s.texts(&keys::MECHANISMS);
    let mut mechanisms = Vec::new();
    for (span, name) in names {
        match Mechanism::from_name(&name) {
            Some(Mechanism::Anonymous) => s.wrong(
                &span,
                "`ANONYMOUS` is not among them: set `anonymous = true` in the profile of a domain",
            ),
            Some(mechanism) if mechanisms.contains(&mechanism) => {
                s.wrong(&span, format!("`{name}` stands there twice"));
            }
            Some(mechanism) => mechanisms.push(mechanism),
            None => {
                let known: Vec<_> = Mechanism::ALL.iter().map(|m| m.name()).collect();
                let known = known.join(", ");
                s.wrong(&span, format!("there is no mechanism `{name}`; there are {known}"));
            }
        }
    }
    config.mechanisms = (!mechanisms.is_empty()).then_some(mechanisms);
    config.iterations = small(s.number(&keys::ITERATIONS));
    config.stream.auth_retries_max = u8::try_from(s.number(&keys::RETRIES_MAX)).unwrap_or(u8::MAX);
    let secs = Duration::from_secs;
    config.guard = GuardSettings {
        source_failures_max: small(s.number(&keys::SOURCE_FAILURES_MAX)),
        source_window: secs(s.number(&keys::SOURCE_BLOCK_SECS)),
        account_failures_max: small(s.number(&keys::ACCOUNT_FAILURES_MAX)),
        account_window: secs(s.number(&keys::ACCOUNT_LOCK_SECS)),
        delay_after: small(s.number(&keys::DELAY_AFTER)),
    };
    s.finish();
}

fn log<'t>(reader: &mut Reader<'_>, value: Option<&'t Value<'t>>, config: &mut Config) {
    let mut s = reader.section("log", value);
    config.log_level = "info".to_owned();
    if let Some((span, level)) = s.text(&keys::LOG_LEVEL) {
        if is_filter(&level) {
            config.log_level = level;
        } else {
            s.wrong(
                &span,
                format!(
                    "`{level}` is no level or filter: write `info`, `debug`, or \
                     `info,stentor_edge=debug`"
                ),
            );
        }
    }
    config.log_format = s.word(&keys::LOG_FORMAT);
    s.finish();
}

/// Whether it says what is to be logged. A word alone that is no level names crates, of which only
/// ours are meant so: else a level that is misspelt would leave the log empty.
fn is_filter(text: &str) -> bool {
    let is_known = |word: &str| {
        let is_level = word.parse::<LevelFilter>().is_ok();
        is_level || word.contains(['=', '[', ':']) || word.starts_with("stentor")
    };
    text.parse::<EnvFilter>().is_ok() && text.split(',').all(|word| is_known(word.trim()))
}

fn metrics<'t>(
    reader: &mut Reader<'_>,
    value: Option<&'t Value<'t>>,
) -> Option<std::net::SocketAddr> {
    let mut s = reader.section("metrics", value);
    let is_allowed = s.truth(&keys::METRICS_ALLOW);
    let address = match s.text(&keys::METRICS_ADDRESS) {
        None => keys::METRICS_ADDRESS.default.trim_matches('"').parse().ok(),
        Some((_, text)) if text.is_empty() => None,
        Some(_) => match s.address(&keys::METRICS_ADDRESS) {
            Some((span, address)) if !address.ip().is_loopback() && !is_allowed => {
                s.wrong(
                    &span,
                    format!(
                        "`{address}` is not on the loopback interface, and the page has no \
                         password: use a proxy, or set `allow_beyond_loopback = true` if only the \
                         monitoring reaches it"
                    ),
                );
                None
            }
            address => address.map(|(_, address)| address),
        },
    };
    s.finish();
    address
}

pub(super) fn size(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

pub(super) fn small(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
