//! The configuration: one TOML file, every key optional, checked whole.

mod document;
pub(crate) mod keys;
pub(crate) mod reader;
mod sections;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use stentor_edge::AdmissionSettings;
use stentor_engine::Settings as ProfileSettings;
use stentor_engine::guard::GuardSettings;
use stentor_sasl::Mechanism;
use stentor_stream::c2s::Settings as StreamSettings;
use stentor_transport::{IdentityFiles, UnknownName, VersionMin};

pub(crate) use document::reference;
use reader::{Mistake, Reader};
use toml::de::DeTable;

/// What the file says, or the defaults.
#[derive(Debug)]
pub(crate) struct Config {
    /// The data folder.
    pub data_dir: PathBuf,
    /// The ports.
    pub listeners: Vec<Listen>,
    /// The domains.
    pub hosts: Vec<HostEntry>,
    /// The profiles by name; `default` is always there.
    pub profiles: BTreeMap<String, ProfileEntry>,
    /// Certificates; none means that the server makes its own.
    pub certificates: Vec<IdentityFiles>,
    /// Whether clients are asked for certificates.
    pub client_certificates: Asked,
    /// Whose certificates sign clients in.
    pub client_authority: Option<PathBuf>,
    /// The oldest TLS version.
    pub version_min: VersionMin,
    /// What is done about unknown server names.
    pub unknown_name: UnknownName,
    /// Settings of streams.
    pub stream: StreamSettings,
    /// Limits of connections.
    pub admission: AdmissionSettings,
    /// SASL mechanisms in the order of preference; none means the default.
    pub mechanisms: Option<Vec<Mechanism>>,
    /// Iterations of new keys.
    pub iterations: u32,
    /// Limits of sign-in attempts.
    pub guard: GuardSettings,
    /// The log's filter.
    pub log_level: String,
    /// The log's form.
    pub log_format: LogFormat,
    /// Where metrics are served.
    pub metrics: Option<SocketAddr>,
}

/// One port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listen {
    /// How connections begin.
    pub kind: stentor_edge::Kind,
    /// Where.
    pub address: SocketAddr,
    /// Whether STARTTLS is offered and required.
    pub tls: TlsUse,
}

/// Whether a port for STARTTLS insists on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TlsUse {
    /// Nothing else is offered before.
    Required,
    /// Clients may do without.
    Optional,
    /// It is not offered.
    Off,
}

/// Whether clients are asked for certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// No.
    Off,
    /// They may show one.
    Optional,
    /// They must.
    Required,
}

/// The form of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// For machines, one object a line.
    Json,
}

/// One domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HostEntry {
    /// The prepared domain.
    pub name: String,
    /// The profile's name.
    pub profile: String,
    /// Whether it was served once and is not any more.
    pub is_gone: bool,
}

/// One profile.
#[derive(Clone, Debug, Default)]
pub(crate) struct ProfileEntry {
    /// What the engine decides by.
    pub settings: ProfileSettings,
    /// Options of modules.
    pub modules: BTreeMap<String, toml::Value>,
}

impl Config {
    /// Reads a file, or takes the defaults if there is none.
    ///
    /// # Errors
    /// Every mistake in it.
    pub(crate) fn load(path: Option<&Path>) -> Result<Self, Vec<Mistake>> {
        let text = match path {
            None => String::new(),
            Some(path) => std::fs::read_to_string(path).map_err(|error| {
                let path = path.display();
                let text = format!("`{path}` cannot be read: {error}; name another by `--config`");
                vec![Mistake { line: None, text }]
            })?,
        };
        Self::parse(&text)
    }

    /// Reads a text.
    ///
    /// # Errors
    /// Every mistake in it.
    pub(crate) fn parse(text: &str) -> Result<Self, Vec<Mistake>> {
        let mut reader = Reader::new(text);
        let (table, syntax) = DeTable::parse_recoverable(text);
        for error in syntax {
            reader.wrong(error.span().unwrap_or(0..0), error.message().to_owned());
        }
        if !reader.mistakes.is_empty() {
            return Err(reader.mistakes);
        }
        let config = sections::read(&mut reader, table.get_ref());
        reader.mistakes.extend(sections::check_modules(&config));
        if reader.mistakes.is_empty() { Ok(config) } else { Err(reader.mistakes) }
    }
}
