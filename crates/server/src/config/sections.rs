//! Reading each section of the file.

use std::collections::BTreeMap;
use std::net::{Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use stentor_edge::{AdmissionSettings, Kind};
use stentor_engine::guard::GuardSettings;
use stentor_engine::host::{Delivery, ResourceConflict};
use stentor_jid::prep_domain;
use stentor_sasl::Mechanism;
use stentor_stream::c2s::{Idle, Settings as StreamSettings};
use stentor_transport::{IdentityFiles, UnknownName, VersionMin};
use stentor_xml::Limits;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::reader::{Key, Mistake, Reader, Section};
use super::{Asked, Config, HostEntry, Listen, LogFormat, ProfileEntry, TlsUse, keys};

type Value<'t> = Option<&'t Spanned<DeValue<'t>>>;

/// Reads the whole file. Mistakes are left with the reader.
pub(super) fn read<'t>(reader: &mut Reader<'_>, root: &'t DeTable<'t>) -> Config {
    let value = |name: &str| root.get(name);
    let data_dir = data_dir(reader, value(keys::DATA_DIR.name));
    let listeners = listeners(reader, value("listen"));
    let profiles = profiles(reader, value("profile"));
    let hosts = hosts(reader, value("host"), &profiles);
    let certificates = certificates(reader, value("certificate"));
    let mut config = Config {
        data_dir,
        listeners,
        hosts,
        profiles,
        certificates,
        client_certificates: Asked::Off,
        client_authority: None,
        version_min: VersionMin::default(),
        unknown_name: UnknownName::default(),
        stream: StreamSettings::default(),
        admission: AdmissionSettings::default(),
        mechanisms: None,
        iterations: 0,
        guard: GuardSettings::default(),
        log_level: String::new(),
        log_format: LogFormat::Text,
        metrics: None,
    };
    tls(reader, value("tls"), &mut config);
    limits(reader, value("limits"), &mut config);
    sign_in(reader, value("sign_in"), &mut config);
    log(reader, value("log"), &mut config);
    metrics(reader, value("metrics"), &mut config);
    for key in root.keys().filter(|k| !TOP.contains(&&**k.get_ref())) {
        let name = key.get_ref();
        let known = TOP.join("`, `");
        reader
            .wrong(key.span(), format!("there is no section or key `{name}`; there are `{known}`"));
    }
    config
}

const TOP: &[&str] = &[
    "data_dir",
    "listen",
    "host",
    "profile",
    "certificate",
    "tls",
    "limits",
    "sign_in",
    "log",
    "metrics",
];

fn data_dir(reader: &mut Reader<'_>, value: Value<'_>) -> PathBuf {
    match value.map(|v| (v.span(), v.get_ref())) {
        Some((_, DeValue::String(path))) => PathBuf::from(&**path),
        Some((span, _)) => {
            reader.wrong(span, "`data_dir` must be a path in quotes");
            PathBuf::new()
        }
        None => default_data_dir(),
    }
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
        .unwrap_or_else(|| PathBuf::from("."))
        .join("stentor")
}

fn listeners(reader: &mut Reader<'_>, value: Value<'_>) -> Vec<Listen> {
    let tables = reader.array("listen", value);
    let mut listeners: Vec<Listen> = Vec::new();
    for table in tables {
        let mut s = reader.section("listen", Some(table));
        let kinds = [("c2s", Kind::StartTls), ("c2s-tls", Kind::DirectTls)];
        let kind = s.choice(&keys::LISTEN_KIND, &kinds, Kind::StartTls);
        let port = if kind == Kind::StartTls { 5222 } else { 5223 };
        let address = address(&mut s, &keys::LISTEN_ADDRESS).unwrap_or(any(port));
        let uses =
            [("required", TlsUse::Required), ("optional", TlsUse::Optional), ("off", TlsUse::Off)];
        let tls = s.choice(&keys::LISTEN_TLS, &uses, TlsUse::Required);
        let allow = s.truth(&keys::LISTEN_ALLOW_PLAIN, false);
        if tls != TlsUse::Required && kind == Kind::DirectTls {
            s.wrong(
                table.span(),
                "a port of kind `c2s-tls` cannot do without TLS: leave out `tls`",
            );
        } else if tls != TlsUse::Required && !address.ip().is_loopback() && !allow {
            s.wrong(
                table.span(),
                format!(
                    "`{address}` is not on the loopback interface: passwords and messages would \
                     cross the network in clear. Leave out `tls`, or set \
                     `allow_plaintext_beyond_loopback = true` if a proxy does TLS"
                ),
            );
        }
        if address.port() != 0 && listeners.iter().any(|l| l.address == address) {
            s.wrong(table.span(), format!("two ports listen on `{address}`"));
        }
        s.finish();
        listeners.push(Listen { kind, address, tls });
    }
    if value.is_none() {
        listeners = vec![
            Listen { kind: Kind::StartTls, address: any(5222), tls: TlsUse::Required },
            Listen { kind: Kind::DirectTls, address: any(5223), tls: TlsUse::Required },
        ];
    }
    listeners
}

fn any(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))
}

fn address(s: &mut Section<'_, '_, '_>, key: &'static Key) -> Option<SocketAddr> {
    let (span, text) = s.text(key)?;
    match text.parse() {
        Ok(address) => Some(address),
        Err(_) => {
            s.wrong(
                span,
                format!(
                    "`{text}` is no address with a port: write `127.0.0.1:5222` or `[::1]:5222`"
                ),
            );
            None
        }
    }
}

fn profiles(reader: &mut Reader<'_>, value: Value<'_>) -> BTreeMap<String, ProfileEntry> {
    let mut profiles = BTreeMap::from([("default".to_owned(), ProfileEntry::default())]);
    let Some(value) = value else { return profiles };
    let DeValue::Table(tables) = value.get_ref() else {
        reader.wrong(
            value.span(),
            "`profile` must be a table of profiles: write `[profile.default]`",
        );
        return profiles;
    };
    for (name, table) in tables {
        let mut entry = ProfileEntry::default();
        let settings = &mut entry.settings;
        let mut s = reader.section(&format!("profile.{}", name.get_ref()), Some(table));
        let rules = [("most-available", Delivery::MostAvailable), ("all", Delivery::All)];
        settings.delivery = s.choice(&keys::DELIVERY, &rules, settings.delivery);
        let conflicts = [
            ("rename", ResourceConflict::Rename),
            ("replace", ResourceConflict::Replace),
            ("refuse", ResourceConflict::Refuse),
        ];
        settings.resource_conflict =
            s.choice(&keys::RESOURCE_CONFLICT, &conflicts, settings.resource_conflict);
        settings.sessions_max =
            size(s.number(&keys::SESSIONS_MAX, 1..=10_000, settings.sessions_max as u64));
        settings.unknown_account_silent = s.truth(&keys::UNKNOWN_ACCOUNT_SILENT, false);
        settings.is_anonymous = s.truth(&keys::ANONYMOUS, false);
        settings.roster_items_max =
            size(s.number(&keys::ROSTER_ITEMS_MAX, 0..=100_000, settings.roster_items_max as u64));
        entry.modules = modules(&mut s);
        s.finish();
        profiles.insert(name.get_ref().to_string(), entry);
    }
    profiles
}

fn modules(s: &mut Section<'_, '_, '_>) -> BTreeMap<String, toml::Value> {
    let Some(value) = s.value(&keys::MODULES) else { return BTreeMap::new() };
    let DeValue::Table(tables) = value.get_ref() else {
        s.wrong(
            value.span(),
            "`modules` must be a table: write `[profile.default.modules.offline]`",
        );
        return BTreeMap::new();
    };
    let owned = |value: &Spanned<DeValue<'_>>| value.clone().into_deserializer_value();
    tables
        .iter()
        .filter_map(|(name, value)| Some((name.get_ref().to_string(), owned(value)?)))
        .collect()
}

trait IntoOwnedValue {
    fn into_deserializer_value(self) -> Option<toml::Value>;
}

impl IntoOwnedValue for Spanned<DeValue<'_>> {
    fn into_deserializer_value(self) -> Option<toml::Value> {
        use serde::Deserialize as _;
        toml::Value::deserialize(toml::de::ValueDeserializer::from(self)).ok()
    }
}

fn hosts(
    reader: &mut Reader<'_>,
    value: Value<'_>,
    profiles: &BTreeMap<String, ProfileEntry>,
) -> Vec<HostEntry> {
    let tables = reader.array("host", value);
    let mut hosts: Vec<HostEntry> = Vec::new();
    for table in tables {
        let mut s = reader.section("host", Some(table));
        let name = s.text(&keys::HOST_NAME);
        let profile = s.text(&keys::HOST_PROFILE);
        let is_gone = s.truth(&keys::HOST_GONE, false);
        if let Some((span, profile)) = &profile
            && !profiles.contains_key(profile)
        {
            s.wrong(
                span.clone(),
                format!("there is no profile `{profile}`: write `[profile.{profile}]`"),
            );
        }
        match name {
            None => s.wrong(table.span(), "a `[[host]]` needs a `name`"),
            Some((span, name)) => match prep_domain(&name) {
                Err(error) => s.wrong(span, format!("`{name}` is no domain: {error}")),
                Ok(prepared) if hosts.iter().any(|h| h.name == prepared) => {
                    s.wrong(span, format!("`{name}` stands there twice"));
                }
                Ok(prepared) => hosts.push(HostEntry {
                    name: prepared.into_owned(),
                    profile: profile.map_or_else(|| "default".to_owned(), |(_, p)| p),
                    is_gone,
                }),
            },
        }
        s.finish();
    }
    if value.is_none() {
        hosts.push(HostEntry {
            name: "localhost".into(),
            profile: "default".into(),
            is_gone: false,
        });
    }
    hosts
}

fn certificates(reader: &mut Reader<'_>, value: Value<'_>) -> Vec<IdentityFiles> {
    let tables = reader.array("certificate", value);
    let mut certificates = Vec::new();
    for table in tables {
        let mut s = reader.section("certificate", Some(table));
        let (chain, key) = (s.text(&keys::CHAIN), s.text(&keys::KEY));
        let names = s.texts(&keys::NAMES).into_iter().map(|(_, name)| name).collect();
        match (chain, key) {
            (Some((_, chain)), Some((_, key))) => certificates.push(IdentityFiles {
                certificate: chain.into(),
                key: key.into(),
                names,
            }),
            _ => s.wrong(table.span(), "a `[[certificate]]` needs both `chain` and `key`"),
        }
        s.finish();
    }
    certificates
}

fn tls(reader: &mut Reader<'_>, value: Value<'_>, config: &mut Config) {
    let mut s = reader.section("tls", value);
    let asked = [("off", Asked::Off), ("optional", Asked::Optional), ("required", Asked::Required)];
    config.client_certificates = s.choice(&keys::CLIENT_CERTIFICATES, &asked, Asked::Off);
    config.client_authority = s.text(&keys::CLIENT_AUTHORITY).map(|(_, path)| path.into());
    let versions = [("1.2", VersionMin::Tls12), ("1.3", VersionMin::Tls13)];
    config.version_min = s.choice(&keys::VERSION_MIN, &versions, VersionMin::default());
    let names = [("default", UnknownName::Default), ("refuse", UnknownName::Refuse)];
    config.unknown_name = s.choice(&keys::UNKNOWN_NAME, &names, UnknownName::default());
    if config.client_certificates != Asked::Off && config.client_authority.is_none() {
        let span = value.map_or(0..0, Spanned::span);
        s.wrong(
            span,
            "`client_certificates` needs `client_authority`: a PEM file with the authorities",
        );
    }
    s.finish();
}

fn limits(reader: &mut Reader<'_>, value: Value<'_>, config: &mut Config) {
    let mut s = reader.section("limits", value);
    let stream = &mut config.stream;
    let bytes = s.number(
        &keys::STANZA_BYTES_MAX,
        10_000..=16 * 1024 * 1024,
        stream.limits.frame_bytes_max as u64,
    );
    stream.limits = Limits { frame_bytes_max: size(bytes), ..stream.limits };
    config.admission.connections_max = size(s.number(
        &keys::CONNECTIONS_MAX,
        1..=10_000_000,
        config.admission.connections_max as u64,
    ));
    let per_source = u64::from(config.admission.per_source_max);
    config.admission.per_source_max =
        small(s.number(&keys::CONNECTIONS_PER_SOURCE_MAX, 1..=1_000_000, per_source));
    let millis = |secs: u64| secs * 1_000;
    stream.header_wait_ms =
        millis(s.number(&keys::HEADER_WAIT_SECS, 1..=3_600, stream.header_wait_ms / 1_000));
    stream.sign_in_wait_ms =
        millis(s.number(&keys::SIGN_IN_WAIT_SECS, 1..=3_600, stream.sign_in_wait_ms / 1_000));
    stream.idle = Idle {
        after_ms: millis(s.number(&keys::IDLE_SECS, 0..=86_400, 300)),
        answer_wait_ms: millis(s.number(&keys::ANSWER_WAIT_SECS, 1..=3_600, 30)),
        keepalive_ms: millis(s.number(&keys::KEEPALIVE_SECS, 0..=86_400, 0)),
        ..stream.idle
    };
    s.finish();
}

fn sign_in(reader: &mut Reader<'_>, value: Value<'_>, config: &mut Config) {
    let mut s = reader.section("sign_in", value);
    let names = s.texts(&keys::MECHANISMS);
    let mut mechanisms = Vec::new();
    for (span, name) in names {
        match Mechanism::from_name(&name) {
            Some(mechanism) => mechanisms.push(mechanism),
            None => {
                let known: Vec<_> = Mechanism::ALL.iter().map(|m| m.name()).collect();
                s.wrong(
                    span,
                    format!("there is no mechanism `{name}`; there are {}", known.join(", ")),
                );
            }
        }
    }
    config.mechanisms = (!mechanisms.is_empty()).then_some(mechanisms);
    config.iterations = small(s.number(&keys::ITERATIONS, 4_096..=1_000_000, 10_000));
    let secs = Duration::from_secs;
    config.guard = GuardSettings {
        source_failures_max: small(s.number(&keys::SOURCE_FAILURES_MAX, 1..=1_000_000, 10)),
        source_window: secs(s.number(&keys::SOURCE_BLOCK_SECS, 1..=604_800, 600)),
        account_failures_max: small(s.number(&keys::ACCOUNT_FAILURES_MAX, 1..=1_000_000, 20)),
        account_window: secs(s.number(&keys::ACCOUNT_LOCK_SECS, 1..=604_800, 3_600)),
        delay_after: small(s.number(&keys::DELAY_AFTER, 1..=1_000_000, 5)),
    };
    s.finish();
}

fn log(reader: &mut Reader<'_>, value: Value<'_>, config: &mut Config) {
    let mut s = reader.section("log", value);
    config.log_level = "info".to_owned();
    if let Some((span, level)) = s.text(&keys::LOG_LEVEL) {
        match level.parse::<tracing_subscriber::EnvFilter>() {
            Ok(_) => config.log_level = level,
            Err(error) => s.wrong(span, format!("`{level}` is no level or filter: {error}")),
        }
    }
    let formats = [("text", LogFormat::Text), ("json", LogFormat::Json)];
    config.log_format = s.choice(&keys::LOG_FORMAT, &formats, LogFormat::Text);
    s.finish();
}

fn metrics(reader: &mut Reader<'_>, value: Value<'_>, config: &mut Config) {
    let mut s = reader.section("metrics", value);
    let default = SocketAddr::from(([127, 0, 0, 1], 5280));
    config.metrics = match s.text(&keys::METRICS_ADDRESS) {
        None => Some(default),
        Some((_, text)) if text.is_empty() => None,
        Some((span, text)) => match text.parse::<SocketAddr>() {
            Ok(address) if address.ip().is_loopback() => Some(address),
            Ok(_) => {
                s.wrong(span, format!("`{text}` is not on the loopback interface: metrics tell who talks; use a proxy"));
                None
            }
            Err(_) => {
                s.wrong(
                    span,
                    format!("`{text}` is no address with a port: write `127.0.0.1:5280`"),
                );
                None
            }
        },
    };
    s.finish();
}

/// Builds each profile once, to hear what its modules say of their options.
pub(super) fn check_modules(config: &Config) -> Vec<Mistake> {
    let mut mistakes = Vec::new();
    for (name, profile) in &config.profiles {
        let built =
            stentor_modules::registry::profile(profile.settings.clone(), profile.modules.clone());
        for text in built.err().unwrap_or_default() {
            mistakes.push(Mistake { line: None, text: format!("profile `{name}`, module {text}") });
        }
    }
    mistakes
}

fn size(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn small(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
