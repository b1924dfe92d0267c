//! Putting the parts together: the only place that knows every crate.

use std::collections::BTreeMap;
use std::fs;
use std::io::{ErrorKind, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use stentor_admin::s2s::{self, ServerStreams};
use stentor_admin::{Cx, Wish};
use stentor_edge::s2s::{
    Discovery, Federation, FederationParts, Links, Policy, QueueFacts, S2sListener, StreamFacts,
};
use stentor_edge::{
    Admission, C2sListener, ComponentListener, ComponentSettings, Components, Kind, Offers, Shared,
};
use stentor_engine::credentials::Credentials;
use stentor_engine::{Clock, Engine, Host, Hosts};
use stentor_store::limits::PAGE_ROWS_MAX;
use stentor_store::{HostRow, StoreError, Stores};
use stentor_store_sqlite::{OpenError, Options, Sqlite};
use stentor_transport::{
    Certificates, ClientCerts, IdentityFiles, Listener, TlsAcceptor, TlsSettings, dev_ca,
};
use tokio::sync::mpsc;

use crate::config::files::{client_roots, server_roots, trust_anchors};
use crate::config::{Asked, Config, Listen, PortKind, TlsUse, ascii_name};

/// The open data folder and the engine over it.
pub(crate) struct Core {
    /// The database.
    pub store: Arc<Sqlite>,
    /// The engine.
    pub engine: Arc<Engine>,
}

/// The certificates, and where to find the authority if it is our own.
pub(crate) struct Trust {
    /// Shared by all ports.
    pub certificates: Arc<Certificates>,
    /// The file of the development authority.
    pub dev_authority: Option<PathBuf>,
}

struct SystemClock {
    begun: Instant,
}

impl Clock for SystemClock {
    fn unix_ms(&self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    }

    fn steady_ms(&self) -> i64 {
        i64::try_from(self.begun.elapsed().as_millis()).unwrap_or(i64::MAX)
    }
}

/// Opens the data folder and makes the engine.
///
/// # Errors
/// In words for the operator.
pub(crate) async fn core(config: &Config) -> anyhow::Result<Core> {
    let dir = &config.data_dir;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).with_context(|| {
        format!("the data folder `{}` cannot be made; name another by `--data`", dir.display())
    })?;
    let store = Arc::new(Sqlite::open(dir, &Options::default()).map_err(with_remedy)?);
    let secret = secret(&dir.join("secret"))?;
    let credentials = Credentials::new(&secret, config.iterations, config.guard.clone());
    let stores = store.stores();
    let rows = rows(&stores).await.context("the domains in the store cannot be read")?;
    let hosts = hosts(config, rows)?;
    let engine =
        Engine::new(stores, hosts, Arc::new(SystemClock { begun: Instant::now() }), credentials);
    Ok(Core { store, engine })
}

/// What the store says of domains.
async fn rows(stores: &Stores) -> Result<Vec<HostRow>, StoreError> {
    let mut rows: Vec<HostRow> = Vec::new();
    loop {
        let after = rows.last().map(|row| row.name.clone());
        let page = stores.hosts.list(after.as_deref(), PAGE_ROWS_MAX).await?;
        if page.is_empty() {
            return Ok(rows);
        }
        rows.extend(page);
    }
}

/// The domains with their profiles, those of the store with those of the configuration.
///
/// # Errors
/// A module refuses its options; the configuration was checked, so this is a change under way.
pub(crate) fn hosts(
    config: &Config,
    rows: impl IntoIterator<Item = HostRow>,
) -> anyhow::Result<Hosts> {
    let mut profiles = BTreeMap::new();
    for (name, entry) in &config.profiles {
        let built =
            stentor_modules::registry::profile(entry.settings.clone(), entry.modules.clone());
        let profile = built.map_err(|mistakes| anyhow::anyhow!(mistakes.join("; ")))?;
        profiles.insert(name.clone(), Arc::new(profile));
    }
    let gone = config.hosts.iter().filter(|h| h.is_gone).map(|h| h.name.as_str().into()).collect();
    let hosts = config.hosts.iter().filter(|h| !h.is_gone).filter_map(|entry| {
        let profile = profiles.get(&entry.profile)?.clone();
        Some(Host { domain: entry.name.as_str().into(), profile })
    });
    let hosts = Hosts::new(hosts).with_gone(gone);
    let components = known_components(config);
    let rows = rows.into_iter().filter(|row| components.find(&row.name).is_none());
    Ok(hosts.with_profiles(profiles).with_rows(rows))
}

/// Loads the configured certificates, or makes and loads those for development.
///
/// # Errors
/// A file is missing or wrong; the message names it with the remedy.
pub(crate) fn trust(config: &Config, engine: &Engine) -> anyhow::Result<Trust> {
    let (files, dev_authority) = identities(config, &engine.hosts.load())?;
    let (certificates, warnings) = Certificates::load(files)?;
    for warning in warnings {
        tracing::warn!(event = "certificate", file = %warning.file.display(), "{}", warning.text);
    }
    Ok(Trust { certificates: Arc::new(certificates), dev_authority })
}

/// The certificate files in force for these domains.
///
/// # Errors
/// Those for development cannot be made.
pub(crate) fn identities(
    config: &Config,
    hosts: &Hosts,
) -> anyhow::Result<(Vec<IdentityFiles>, Option<PathBuf>)> {
    let mut names: Vec<String> = hosts.iter().map(|h| ascii_name(&h.domain)).collect();
    names.sort_unstable();
    let named = config.certificates.iter().map(|c| c.files.clone());
    let found = config.certificate_folder.iter().flat_map(|(_, dir)| found(dir, &names));
    let files: Vec<IdentityFiles> = named.chain(found).collect();
    if !files.is_empty() {
        return Ok((files, None));
    }
    let ca = dev_ca::open(&config.data_dir.join("tls"), &names)?;
    Ok((vec![ca.identity()], Some(ca.authority)))
}

/// Certificates of domains in a folder, where they are there.
fn found(dir: &Path, names: &[String]) -> Vec<IdentityFiles> {
    let of = |name: &String| IdentityFiles {
        certificate: dir.join(name).join("fullchain.pem"),
        key: dir.join(name).join("privkey.pem"),
        names: vec![name.clone()],
    };
    names.iter().map(of).filter(|files| files.certificate.is_file()).collect()
}

/// What connections of all ports share.
///
/// # Errors
/// The authority for client certificates cannot be read.
pub(crate) fn shared(config: &Config, engine: &Arc<Engine>) -> anyhow::Result<Arc<Shared>> {
    let mut offers = Offers { client_roots: client_roots(config)?, ..Offers::default() };
    if let Some(mechanisms) = &config.mechanisms {
        offers.mechanisms.clone_from(mechanisms);
    }
    Ok(Arc::new(Shared {
        admission: Arc::new(Admission::new(config.admission)),
        rates: config.rates,
        offers,
        ..Shared::new(engine.clone())
    }))
}

/// Listens on an address.
///
/// # Errors
/// It cannot be had; with the remedy.
pub(crate) fn bind(address: SocketAddr) -> anyhow::Result<Listener> {
    match Listener::bind(address) {
        // The default takes IPv6 and IPv4; a machine without IPv6 still has the other.
        Err(error) if is_any_v6(address) && has_no_v6(&error.source) => {
            Ok(Listener::bind((Ipv4Addr::UNSPECIFIED, address.port()).into())?)
        }
        outcome => Ok(outcome?),
    }
}

fn is_any_v6(address: SocketAddr) -> bool {
    address.is_ipv6() && address.ip().is_unspecified()
}

fn has_no_v6(error: &std::io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error())
        || error.kind() == ErrorKind::AddrNotAvailable
}

/// The adapter of one port.
///
/// # Errors
/// The authority for client certificates cannot be read.
pub(crate) fn c2s(
    config: &Config,
    listen: &Listen,
    trust: &Trust,
    shared: &Arc<Shared>,
) -> anyhow::Result<Arc<C2sListener>> {
    let client_certs = match (config.client_certificates, client_roots(config)?) {
        (Asked::Off, _) => ClientCerts::Off,
        (Asked::Required, Some(roots)) => ClientCerts::Required(roots),
        (Asked::Optional | Asked::Required, _) => ClientCerts::Optional,
    };
    let alpn = match listen.kind.beginning() {
        Kind::StartTls => Vec::new(),
        Kind::DirectTls => vec![b"xmpp-client".to_vec()],
    };
    let settings = TlsSettings {
        alpn,
        client_certs,
        version_min: config.version_min,
        unknown_name: config.unknown_name,
    };
    let acceptor = (listen.tls != TlsUse::Off)
        .then(|| Arc::new(TlsAcceptor::new(trust.certificates.clone(), settings)));
    let mut stream = config.stream.clone();
    stream.name = config.hosts.first().map(|h| h.name.clone()).unwrap_or_default();
    Ok(Arc::new(C2sListener {
        kind: listen.kind.beginning(),
        settings: Arc::new(stream).into(),
        tls_required: listen.tls == TlsUse::Required,
        acceptor,
        shared: shared.clone(),
    }))
}

/// The ways to other servers; none where there are to be none.
///
/// # Errors
/// The authorities or the secret cannot be read.
pub(crate) fn federation(
    config: &Config,
    core: &Core,
    trust: &Trust,
) -> anyhow::Result<Option<Arc<Links>>> {
    let wanted = &config.federation;
    if !wanted.is_enabled {
        return Ok(None);
    }
    let parts = FederationParts {
        engine: core.engine.clone(),
        policy: wanted.policy.clone(),
        discovery: Discovery::new(wanted.dns, wanted.routes.clone(), trust_anchors(config)?),
        roots: server_roots(config)?,
        certificates: trust.certificates.clone(),
        version_min: config.version_min,
        secret: secret(&config.data_dir.join("secret"))?,
    };
    Ok(Some(Links::new(Federation::new(parts))))
}

/// The components, and with them all ways out of this server, which the engine is told of.
///
/// # Errors
/// A secret cannot be read.
pub(crate) fn components(
    config: &Config,
    core: &Core,
    links: Option<&Arc<Links>>,
) -> anyhow::Result<Arc<Components>> {
    let settings = component_settings(config)?;
    core.engine.replace_components(known_components(config));
    let others = links.map(Links::for_engine);
    let components = Components::new(core.engine.clone(), settings, others);
    core.engine.connect_links(components.for_engine());
    Ok(components)
}

/// How components attach themselves.
///
/// # Errors
/// A secret cannot be read.
pub(crate) fn component_settings(config: &Config) -> anyhow::Result<Vec<ComponentSettings>> {
    config.components.iter().map(|entry| Ok(entry.settings()?)).collect()
}

/// What components may do.
pub(crate) fn known_components(config: &Config) -> stentor_engine::Components {
    stentor_engine::Components::new(config.components.iter().map(|entry| entry.may.clone()))
}

/// The adapter of one port for components.
pub(crate) fn component(
    config: &Config,
    listen: &Listen,
    trust: &Trust,
    shared: &Arc<Shared>,
    components: &Arc<Components>,
) -> Arc<ComponentListener> {
    let settings = TlsSettings {
        version_min: config.version_min,
        unknown_name: config.unknown_name,
        ..TlsSettings::default()
    };
    let acceptor = (listen.kind == PortKind::ComponentTls)
        .then(|| Arc::new(TlsAcceptor::new(trust.certificates.clone(), settings)));
    let name = config.hosts.first().map(|h| h.name.clone()).unwrap_or_default();
    ComponentListener::new(acceptor, components.clone(), shared.clone(), name)
}

/// The adapter of one port for other servers.
pub(crate) fn s2s(
    config: &Config,
    listen: &Listen,
    trust: &Trust,
    links: &Arc<Links>,
) -> Arc<S2sListener> {
    let kind = listen.kind.beginning();
    let alpn = if kind == Kind::DirectTls { vec![b"xmpp-server".to_vec()] } else { Vec::new() };
    let settings = TlsSettings {
        alpn,
        // What it proves is judged where it counts; a server without one may dial back.
        client_certs: ClientCerts::Optional,
        version_min: config.version_min,
        unknown_name: config.unknown_name,
    };
    let acceptor = Arc::new(TlsAcceptor::new(trust.certificates.clone(), settings));
    let name = config.hosts.first().map(|h| h.name.clone()).unwrap_or_default();
    S2sListener::new(kind, Some(acceptor), links.clone(), name)
}

/// What administrators' commands run with.
#[must_use]
pub(crate) fn admin(
    core: &Core,
    links: Option<&Arc<Links>>,
    wishes: Option<mpsc::Sender<Wish>>,
) -> Cx {
    let s2s = links.map(|links| Arc::new(ToOthers(links.clone())) as Arc<dyn ServerStreams>);
    let store = core.store.clone();
    Cx {
        engine: core.engine.clone(),
        back_up: Arc::new(move |path| {
            let copying = store.back_up(path.clone());
            Box::pin(async move { copying.await.map_err(|error| no_copy(&path, &error)) })
        }),
        s2s,
        wishes,
    }
}

/// Streams with other servers as administrators see them.
struct ToOthers(Arc<Links>);

impl ServerStreams for ToOthers {
    fn streams(&self) -> Vec<s2s::Stream> {
        let row = |facts: &StreamFacts, pair| s2s::Stream {
            direction: if facts.is_outgoing { "out" } else { "in" }.to_owned(),
            pair: named(pair),
            peer: facts.peer,
            tls: facts.tls.to_owned(),
            cipher: facts.cipher.to_owned(),
            certificate: facts.certificate.to_owned(),
            how: facts.how.to_owned(),
            both_ways: facts.is_bidi,
            since_ms: facts.since_ms,
        };
        let rows = |facts: StreamFacts| {
            let pairs = facts.pairs.clone();
            pairs.into_iter().map(move |pair| row(&facts, pair))
        };
        self.0.streams().into_iter().flat_map(rows).collect()
    }

    fn waiting(&self) -> Vec<s2s::Waiting> {
        let waiting = |facts: QueueFacts| s2s::Waiting {
            pair: named(facts.pair),
            stanzas: facts.stanzas,
            bytes: facts.bytes,
            oldest_secs: facts.waited_ms / 1_000,
            trouble: facts.trouble.map(|condition| condition.name().to_owned()),
        };
        self.0.queues().into_iter().map(waiting).collect()
    }

    fn end(&self, domain: &str) -> usize {
        Policy::domain(domain).map_or(0, |domain| self.0.end_streams(&domain))
    }
}

fn named(pair: stentor_stream::s2s::Pair) -> s2s::Pair {
    s2s::Pair { local: pair.local, remote: pair.remote }
}

fn no_copy(path: &Path, error: &StoreError) -> String {
    let path = path.display();
    match error {
        StoreError::Conflict => format!("`{path}` exists already; name a file that does not"),
        StoreError::Full => format!("no room for a copy at `{path}`; name a file elsewhere"),
        error => format!("the database could not be copied to `{path}`: {error}"),
    }
}

/// Where the local socket is.
#[must_use]
pub(crate) fn socket_path(data_dir: &Path) -> PathBuf {
    data_dir.join("stentor.sock")
}

/// 32 random bytes that outlive restarts; made at the first start.
fn secret(path: &Path) -> anyhow::Result<Vec<u8>> {
    match fs::read(path) {
        Ok(secret) if secret.len() == SECRET_BYTES => Ok(secret),
        Ok(_) => anyhow::bail!("`{}` is damaged; delete it, and one is made", path.display()),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            make_secret(path).with_context(|| format!("`{}` cannot be made", path.display()))
        }
        Err(error) => Err(error).with_context(|| {
            format!("`{}` cannot be read; run as the user that owns it", path.display())
        }),
    }
}

fn make_secret(path: &Path) -> anyhow::Result<Vec<u8>> {
    let mut secret = vec![0; SECRET_BYTES];
    getrandom::fill(&mut secret).map_err(|e| anyhow::anyhow!("no randomness: {e}"))?;
    // Whole or not at all, whenever the power fails. The store's lock keeps others away.
    let part = path.with_extension("partial");
    let _ = fs::remove_file(&part);
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part)?;
    file.write_all(&secret)?;
    file.sync_all()?;
    fs::rename(&part, path)?;
    Ok(secret)
}

/// What is wrong with the store in one sentence, with what to do about it.
fn with_remedy(error: OpenError) -> anyhow::Error {
    match error {
        OpenError::Path { path, source } => {
            let remedy = match source.kind() {
                ErrorKind::PermissionDenied => "run as the user that owns it",
                ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "make room on its disk",
                _ => "name another data folder by `--data`",
            };
            anyhow::anyhow!("cannot use `{}`: {source}; {remedy}", path.display())
        }
        OpenError::Sqlite { file, source } => anyhow::anyhow!(
            "cannot open `{}`: {source}; see that its disk has room and is writable, or put a \
             backup in its place",
            file.display()
        ),
        // The command line asks for these, and their sentences are whole.
        error => error.into(),
    }
}

const SECRET_BYTES: usize = 32;

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn only_a_machine_without_ipv6_falls_back_to_ipv4() {
        for (error, expected) in [
            (io::Error::from_raw_os_error(rustix::io::Errno::AFNOSUPPORT.raw_os_error()), true),
            (io::Error::from_raw_os_error(rustix::io::Errno::ADDRNOTAVAIL.raw_os_error()), true),
            (io::Error::from_raw_os_error(rustix::io::Errno::ADDRINUSE.raw_os_error()), false),
        ] {
            assert_eq!(has_no_v6(&error), expected, "{error}");
        }
        for (address, expected) in
            [("[::]:5222", true), ("[::1]:5222", false), ("0.0.0.0:5222", false)]
        {
            assert_eq!(is_any_v6(address.parse().unwrap()), expected, "{address}");
        }
    }

    #[test]
    fn the_secret_is_made_once_and_damage_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        // What a cut-off attempt left.
        fs::write(path.with_extension("partial"), "x").unwrap();
        let made = secret(&path).unwrap();
        assert_eq!(made.len(), SECRET_BYTES);
        assert_eq!(secret(&path).unwrap(), made);
        fs::write(&path, &made[1..]).unwrap();
        assert!(secret(&path).unwrap_err().to_string().contains("is damaged"));
    }
}
