//! The configuration: one TOML file, every key optional, checked whole.

mod components;
mod document;
mod environment;
mod federation;
pub(crate) mod files;
mod hosts;
mod key;
mod keys;
mod listeners;
mod place;
mod plainly;
mod profiles;
mod reader;
mod sections;
#[cfg(test)]
mod tests;
mod words;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use stentor_edge::{AdmissionSettings, Rates};
use stentor_engine::Settings as ProfileSettings;
use stentor_engine::guard::GuardSettings;
use stentor_sasl::Mechanism;
use stentor_stream::c2s::Settings as StreamSettings;
use stentor_transport::{IdentityFiles, UnknownName, VersionMin};

use toml::de::DeTable;
use zeroize::Zeroizing;

pub(crate) use document::reference;
pub(crate) use environment::Variable;
pub(crate) use place::{Mistake, Mistakes, Place};
use reader::Reader;

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
    pub certificates: Vec<CertificateEntry>,
    /// A folder with a certificate for each domain.
    pub certificate_folder: Option<(Place, PathBuf)>,
    /// Other servers.
    pub federation: Federation,
    /// The components that may attach themselves.
    pub components: Vec<ComponentEntry>,
    /// Whether clients are asked for certificates.
    pub client_certificates: Asked,
    /// Whose certificates sign clients in.
    pub client_authority: Option<(Place, PathBuf)>,
    /// The oldest TLS version.
    pub version_min: VersionMin,
    /// What is done about unknown server names.
    pub unknown_name: UnknownName,
    /// Settings of streams.
    pub stream: StreamSettings,
    /// Limits of connections.
    pub admission: AdmissionSettings,
    /// How fast clients may send.
    pub rates: Rates,
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
    /// What was set of keys that a reload leaves alone, by their paths.
    pub fixed: BTreeMap<String, String>,
}

/// Where a configuration comes from.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sources {
    /// The file; none takes the defaults.
    pub file: Option<PathBuf>,
    /// A data folder that wins over the file's.
    pub data_dir: Option<PathBuf>,
    /// Variables that win over keys of the file.
    pub variables: Vec<Variable>,
}

/// One port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listen {
    /// Who connects, and how.
    pub kind: PortKind,
    /// Where.
    pub address: SocketAddr,
    /// Whether STARTTLS is offered and required.
    pub tls: TlsUse,
}

/// Who connects to a port, and how connections begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PortKind {
    /// Clients, in clear until STARTTLS.
    C2s,
    /// Clients, by a TLS handshake.
    C2sTls,
    /// Servers, in clear until STARTTLS.
    S2s,
    /// Servers, by a TLS handshake.
    S2sTls,
    /// Components, in clear.
    Component,
    /// Components, by a TLS handshake.
    ComponentTls,
}

impl PortKind {
    /// How connections begin.
    pub(crate) const fn beginning(self) -> stentor_edge::Kind {
        match self {
            Self::C2s | Self::S2s | Self::Component => stentor_edge::Kind::StartTls,
            Self::C2sTls | Self::S2sTls | Self::ComponentTls => stentor_edge::Kind::DirectTls,
        }
    }

    /// Whether other servers connect there.
    pub(crate) const fn is_s2s(self) -> bool {
        matches!(self, Self::S2s | Self::S2sTls)
    }

    /// Whether components connect there.
    pub(crate) const fn is_component(self) -> bool {
        matches!(self, Self::Component | Self::ComponentTls)
    }

    /// The port that people expect (RFC 6120 §14.7, XEP-0368); for components there is a habit.
    pub(crate) const fn default_port(self) -> u16 {
        match self {
            Self::C2s => 5222,
            Self::C2sTls => 5223,
            Self::S2s => 5269,
            Self::S2sTls => 5270,
            Self::Component => 5347,
            Self::ComponentTls => 5348,
        }
    }
}

/// Other servers.
#[derive(Clone, Debug)]
pub(crate) struct Federation {
    /// Whether there are any for us.
    pub is_enabled: bool,
    /// Whom we speak to, and how.
    pub policy: stentor_edge::s2s::Policy,
    /// Authorities of their certificates; none takes the system's.
    pub authority: Option<(Place, PathBuf)>,
    /// The DNS server to ask; none asks the system's.
    pub dns: Option<SocketAddr>,
    /// Whether its answers are validated.
    pub is_validating: bool,
    /// The keys that this begins at; none takes those of the root zone.
    pub trust_anchor: Option<(Place, PathBuf)>,
    /// Where domains are, whatever DNS says.
    pub routes: Vec<stentor_edge::s2s::Route>,
}

/// A component that may attach itself.
#[derive(Clone, Debug)]
pub(crate) struct ComponentEntry {
    /// What it may do.
    pub may: stentor_engine::Component,
    /// How it attaches itself, but for the secret.
    pub settings: stentor_edge::ComponentSettings,
    /// What it must know.
    pub secret: Secret,
}

/// Where a secret is.
#[derive(Clone)]
pub(crate) enum Secret {
    /// In the configuration.
    Written(Zeroizing<String>),
    /// In a file of its own.
    File(Place, PathBuf),
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Written(_) => f.write_str("Written"),
            Self::File(_, path) => f.debug_tuple("File").field(path).finish(),
        }
    }
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

/// One certificate.
#[derive(Clone, Debug)]
pub(crate) struct CertificateEntry {
    /// Its files.
    pub files: IdentityFiles,
    /// Where `chain` stands.
    pub chain: Place,
    /// Where `key` stands.
    pub key: Place,
}

/// One profile.
#[derive(Clone, Debug, Default)]
pub(crate) struct ProfileEntry {
    /// What the engine decides by.
    pub settings: ProfileSettings,
    /// Options of modules.
    pub modules: BTreeMap<String, toml::Value>,
}

/// A domain as in certificates and DNS.
pub(crate) fn ascii_name(domain: &str) -> String {
    idna::domain_to_ascii(domain).unwrap_or_else(|_| domain.to_owned())
}

impl std::error::Error for Mistakes {}

impl Config {
    /// Reads the file and the variables, or takes the defaults.
    ///
    /// # Errors
    /// Every mistake in them.
    pub(crate) fn load(sources: &Sources) -> Result<Self, Mistakes> {
        Self::load_with(sources, |_| Vec::new())
    }

    /// The data folder, whatever else is wrong; none if that is not known.
    pub(crate) fn data_dir(sources: &Sources) -> Option<PathBuf> {
        if sources.data_dir.is_some() {
            return sources.data_dir.clone();
        }
        let text = sources.file.as_ref().map_or(Ok(String::new()), std::fs::read_to_string);
        let folder = sources.file.as_deref().and_then(Path::parent).unwrap_or(Path::new(""));
        let (config, mistakes) = Self::parse(&text.ok()?, &sources.variables, folder).ok()?;
        let is_known = !mistakes.iter().any(|m| m.text.contains("`data_dir`"));
        is_known.then_some(config.data_dir)
    }

    /// The same as [`Config::load`], and checks the files that it names. Returns warnings besides.
    ///
    /// # Errors
    /// Every mistake in them.
    pub(crate) fn load_checked(sources: &Sources) -> Result<(Self, Vec<String>), Mistakes> {
        let mut warnings = Vec::new();
        let config = Self::load_with(sources, |config| {
            let (mistakes, told) = files::check(config);
            warnings = told;
            mistakes
        })?;
        Ok((config, warnings))
    }

    fn load_with(
        sources: &Sources,
        check: impl FnOnce(&Self) -> Vec<Mistake>,
    ) -> Result<Self, Mistakes> {
        let text = match &sources.file {
            None => String::new(),
            Some(file) => std::fs::read_to_string(file).map_err(|error| {
                let file = file.display();
                let text = format!("`{file}` cannot be read: {error}; name another by `--config`");
                Mistakes::new(None, vec![Mistake { place: Place::Whole, text }])
            })?,
        };
        let folder = sources.file.as_deref().and_then(Path::parent).unwrap_or(Path::new(""));
        let (mut config, mut mistakes) = Self::parse(&text, &sources.variables, folder)
            .map_err(|mistakes| Mistakes::new(sources.file.clone(), mistakes))?;
        if let Some(data_dir) = &sources.data_dir {
            config.data_dir.clone_from(data_dir);
        }
        mistakes.extend(check(&config));
        if mistakes.is_empty() {
            Ok(config)
        } else {
            Err(Mistakes::new(sources.file.clone(), mistakes))
        }
    }

    /// Reads a text and variables. What is wrong has its default in the configuration.
    ///
    /// # Errors
    /// The text is no TOML.
    fn parse(
        text: &str,
        variables: &[Variable],
        folder: &Path,
    ) -> Result<(Self, Vec<Mistake>), Vec<Mistake>> {
        let mut reader = Reader::new(text, variables, folder);
        let (table, syntax) = DeTable::parse_recoverable(text);
        for error in syntax {
            reader.wrong(&error.span().unwrap_or(0..0), error.message().to_owned());
        }
        if !reader.mistakes.is_empty() {
            return Err(reader.mistakes);
        }
        let mut root = table.into_inner();
        for index in environment::overlay(&mut root, variables, reader.variables_begin()) {
            let begin = reader.variables_begin() + index;
            reader.wrong(
                &(begin..begin + 1),
                "no key can be set by this name; lists of tables are set in the file",
            );
        }
        let config = sections::read(&mut reader, &root);
        Ok((config, reader.mistakes))
    }

    /// Whether a key that a reload leaves alone was set.
    pub(crate) fn is_set(&self, path: &str) -> bool {
        self.fixed.contains_key(path)
    }

    /// The keys whose values differ and that a reload leaves alone.
    pub(crate) fn fixed_changes(&self, new: &Self) -> Vec<String> {
        let all: std::collections::BTreeSet<_> =
            self.fixed.keys().chain(new.fixed.keys()).collect();
        let changed = all.into_iter().filter(|key| self.fixed.get(*key) != new.fixed.get(*key));
        changed.map(|key| key.trim_start_matches("top.").to_owned()).collect()
    }
}
