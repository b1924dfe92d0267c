//! Putting the parts together: the only place that knows every crate.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use serde_json::Value;
use stentor_admin::{Host as AdminHost, Wish};
use stentor_edge::{Admission, C2sListener, Kind, Metrics, Offers, Shared};
use stentor_engine::credentials::Credentials;
use stentor_engine::{Clock, Engine, Host, Hosts};
use stentor_store_sqlite::{Options, Sqlite};
use stentor_transport::{
    Certificates, ClientCerts, IdentityFiles, Roots, TlsAcceptor, TlsSettings, dev_ca,
};
use tokio::sync::mpsc;

use crate::config::{Asked, Config, Listen, TlsUse};

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

struct SystemClock;

impl Clock for SystemClock {
    fn unix_ms(&self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    }
}

/// Opens the data folder and makes the engine.
///
/// # Errors
/// In words for the operator.
pub(crate) fn core(config: &Config) -> anyhow::Result<Core> {
    let dir = &config.data_dir;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .with_context(|| format!("the data folder `{}` cannot be made", dir.display()))?;
    let store = Arc::new(Sqlite::open(dir, &Options::default())?);
    let secret = secret(&dir.join("secret"))?;
    let credentials = Credentials::new(&secret, config.iterations, config.guard.clone());
    let hosts = hosts(config)?;
    let engine = Engine::new(store.stores(), hosts, Arc::new(SystemClock), credentials);
    Ok(Core { store, engine })
}

/// The domains with their profiles.
///
/// # Errors
/// A module refuses its options; the configuration was checked, so this is a change under way.
pub(crate) fn hosts(config: &Config) -> anyhow::Result<Hosts> {
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
    Ok(Hosts::new(hosts).with_gone(gone))
}

/// Loads the configured certificates, or makes and loads those for development.
///
/// # Errors
/// A file is missing or wrong; the message names it with the remedy.
pub(crate) fn trust(config: &Config) -> anyhow::Result<Trust> {
    let (files, dev_authority) = identities(config)?;
    let (certificates, warnings) = Certificates::load(files)?;
    for warning in warnings {
        tracing::warn!(event = "certificate", file = %warning.file.display(), "{}", warning.text);
    }
    Ok(Trust { certificates: Arc::new(certificates), dev_authority })
}

/// The certificate files in force.
///
/// # Errors
/// Those for development cannot be made.
pub(crate) fn identities(config: &Config) -> anyhow::Result<(Vec<IdentityFiles>, Option<PathBuf>)> {
    if !config.certificates.is_empty() {
        return Ok((config.certificates.clone(), None));
    }
    let names: Vec<String> = config.hosts.iter().map(|h| h.name.clone()).collect();
    let ca = dev_ca::open(&config.data_dir.join("tls"), &names)?;
    Ok((vec![ca.identity()], Some(ca.authority)))
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
        engine: engine.clone(),
        admission: Arc::new(Admission::new(config.admission)),
        metrics: Metrics::default(),
        offers,
    }))
}

fn client_roots(config: &Config) -> anyhow::Result<Option<Roots>> {
    let Some(path) = &config.client_authority else { return Ok(None) };
    let pem = fs::read(path).with_context(|| format!("`{}` cannot be read", path.display()))?;
    let roots =
        Roots::from_pem(&pem).map_err(|error| anyhow::anyhow!("`{}`: {error}", path.display()))?;
    Ok(Some(roots))
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
    let alpn = match listen.kind {
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
    if let [only] = &config.hosts[..] {
        stream.default_host = Some(only.name.clone());
    }
    stream.name = config.hosts.first().map(|h| h.name.clone()).unwrap_or_default();
    Ok(Arc::new(C2sListener {
        kind: listen.kind,
        settings: Arc::new(stream),
        tls_required: listen.tls == TlsUse::Required,
        acceptor,
        shared: shared.clone(),
    }))
}

/// What administrators' commands run with.
#[must_use]
pub(crate) fn admin(core: &Core, wishes: Option<mpsc::Sender<Wish>>) -> AdminHost {
    let store = core.store.clone();
    AdminHost {
        engine: core.engine.clone(),
        back_up: Arc::new(move |path| {
            let copying = store.back_up(path);
            Box::pin(async move { copying.await.map_err(|error| error.to_string()) })
        }),
        wishes,
    }
}

/// Does a command without a running server.
///
/// # Errors
/// The data folder cannot be opened.
pub(crate) async fn offline(
    config: &Config,
    command: &str,
    input: Value,
) -> anyhow::Result<Result<Value, String>> {
    let core = core(config)?;
    let outcome = stentor_admin::run(admin(&core, None), command, input).await;
    core.store.stop().await?;
    Ok(outcome.map_err(|error| error.to_string()))
}

/// Checks what the configuration names: certificates and their keys. Returns warnings.
///
/// # Errors
/// A file cannot be used; the message names it with the remedy.
pub(crate) fn check_files(config: &Config) -> anyhow::Result<Vec<String>> {
    let _ = client_roots(config)?;
    if config.certificates.is_empty() {
        return Ok(Vec::new());
    }
    let (_, warnings) = Certificates::load(config.certificates.clone())?;
    Ok(warnings.iter().map(|w| format!("{}: {}", w.file.display(), w.text)).collect())
}

/// Where the local socket is.
#[must_use]
pub(crate) fn socket_path(data_dir: &Path) -> PathBuf {
    data_dir.join("stentor.sock")
}

/// 32 random bytes that outlive restarts; made at the first start.
fn secret(path: &Path) -> anyhow::Result<Vec<u8>> {
    let mut secret = Vec::new();
    match fs::File::open(path) {
        Ok(mut file) => {
            file.read_to_end(&mut secret)?;
            anyhow::ensure!(
                secret.len() == SECRET_BYTES,
                "`{}` is damaged: delete it, and one is made",
                path.display()
            );
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            secret.resize(SECRET_BYTES, 0);
            getrandom::fill(&mut secret).map_err(|e| anyhow::anyhow!("no randomness: {e}"))?;
            let mut file =
                fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
            file.write_all(&secret)?;
            file.sync_all()?;
        }
        Err(error) => {
            return Err(error).with_context(|| format!("`{}` cannot be read", path.display()));
        }
    }
    Ok(secret)
}

const SECRET_BYTES: usize = 32;
