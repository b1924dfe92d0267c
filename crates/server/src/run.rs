//! Running the server: start, what happens meanwhile, a stop in good order.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use prometheus_client::registry::Registry;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sd_notify::NotifyState;
use stentor_admin::{facts, metrics, socket};
use stentor_edge::{Components, Shared, accept};
use stentor_engine::Engine;
use stentor_stream::fault::Fault;
use tokio::net::TcpListener;
use tokio::net::UnixListener;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;

use crate::config::{Config, Sources, files};
use crate::greeting::{self, Port};
use crate::reload::Reloader;
use crate::signals::{Next, Signals};
use crate::wire::{self, Core, Trust};
use crate::{logging, memory, panics};

/// Runs until a signal or a command says stop.
///
/// # Errors
/// The server cannot start; in words for the operator.
pub(crate) fn run(sources: Sources) -> anyhow::Result<ExitCode> {
    let (config, warnings) = Config::load_checked(&sources)?;
    let level = logging::start(&config);
    panics::log();
    for warning in warnings {
        tracing::warn!(event = "configuration", "{warning}");
    }
    raise_open_files();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(Server::start_and_serve(config, sources, level));
    // What is left are tasks that hold nothing.
    runtime.shutdown_timeout(Duration::from_millis(500));
    outcome
}

/// A server that has started.
struct Server {
    reloader: Reloader,
    shared: Arc<Shared>,
    signals: Signals,
    /// Tells listeners to stop.
    stop: watch::Sender<bool>,
    /// Whatever serves; ends with the server.
    tasks: JoinSet<()>,
}

impl Server {
    async fn start_and_serve(
        config: Config,
        sources: Sources,
        level: logging::Level,
    ) -> anyhow::Result<ExitCode> {
        let socket_path = wire::socket_path(&config.data_dir);
        let mut server = Self::start(config, sources, level).await?;
        server.tasks.spawn(memory::give_back());
        notify(&[NotifyState::Ready]);
        server.serve().await;
        notify(&[NotifyState::Stopping]);
        let is_orderly = server.stop().await;
        let _ = std::fs::remove_file(&socket_path);
        Ok(if is_orderly { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    async fn start(
        config: Config,
        sources: Sources,
        level: logging::Level,
    ) -> anyhow::Result<Self> {
        // Before anybody can know that the server runs.
        let (wish, wishes) = mpsc::channel(WISHES_MAX);
        let signals = Signals::new(wishes)?;
        let core = wire::core(&config).await?;
        restore(&core.engine).await?;
        let trust = wire::trust(&config, &core.engine)?;
        let shared = wire::shared(&config, &core.engine)?;
        let (stop, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        let mut ports = Vec::new();
        let links = wire::federation(&config, &core, &trust)?;
        let components = wire::components(&config, &core, links.as_ref())?;
        send_what_was_left(&core.engine).await?;
        core.engine.start(announce_lost(core.engine.clone()));
        // Before any port: whoever sees one takes it that commands reach the server as well.
        let socket = bind_socket(&config)?;
        tasks.spawn(socket::serve(socket, wire::admin(&core, links.as_ref(), Some(wish))));
        for listen in &config.listeners {
            if listen.kind.is_s2s() && links.is_none() {
                continue;
            }
            let listener = wire::bind(listen.address)?;
            ports.push(Port { kind: listen.kind, address: listener.addr() });
            if listen.kind.is_component() {
                let port = wire::component(&config, listen, &trust, &shared, &components);
                tasks.spawn(accept(port, listener, stopped.clone()));
                continue;
            }
            match links.as_ref().filter(|_| listen.kind.is_s2s()) {
                Some(links) => {
                    let s2s = wire::s2s(&config, listen, &trust, links);
                    tasks.spawn(accept(s2s, listener, stopped.clone()));
                }
                None => {
                    let c2s = wire::c2s(&config, listen, &trust, &shared)?;
                    tasks.spawn(accept(c2s, listener, stopped.clone()));
                }
            }
        }
        let due = Arc::new(Notify::new());
        tasks.spawn(chores(core.engine.clone(), due.clone()));
        let mut registry = Registry::default();
        core.engine.metrics.register(&mut registry);
        shared.metrics.register(&mut registry);
        components.metrics.register(&mut registry);
        if let Some(links) = &links {
            links.register(&mut registry);
        }
        let metrics = serve_metrics(&config, registry, &core, &trust, &mut tasks).await?;
        greeting::greet(&config, &sources, &ports, metrics, &trust);
        let reloader =
            Reloader { started: config, sources, core, components, links, trust, level, due };
        Ok(Self { reloader, shared, signals, stop, tasks })
    }

    /// Until something says stop.
    async fn serve(&mut self) {
        // A stalled runtime does not get here, and the service manager starts another.
        let watchdog = sd_notify::watchdog_enabled();
        let mut beat = tokio::time::interval(watchdog.map_or(DAY, |within| within / 2));
        let mut day = tokio::time::interval(DAY);
        day.tick().await;
        loop {
            tokio::select! {
                next = self.signals.next() => match next {
                    Next::Stop => return,
                    Next::Certificates(answer) => {
                        let _ = answer.send(self.reloader.reload_certificates());
                    }
                    Next::Reload(answer) => {
                        notify_reloading();
                        let outcome = self.reloader.reload();
                        if let Some(answer) = answer {
                            let _ = answer.send(outcome);
                        }
                        notify(&[NotifyState::Ready]);
                    }
                },
                _ = beat.tick() => if watchdog.is_some() {
                    notify(&[NotifyState::Watchdog]);
                },
                _ = day.tick() => self.reloader.look_at_certificates(),
            }
        }
    }

    /// Stops accepting, ends every session with its last words, commits what waits. Tells whether
    /// it could do so undisturbed.
    async fn stop(mut self) -> bool {
        tracing::info!(event = "stopping", "The server is stopping; streams are closed.");
        let _ = self.stop.send(true);
        let core = &self.reloader.core;
        let orderly = async {
            let drained = drain(core, &self.reloader.components, &self.shared);
            if tokio::time::timeout(DRAIN_WAIT, drained).await.is_err() {
                tracing::warn!(event = "cut", "Some streams took too long to close and are cut.");
            }
            // Behind the sessions: others are told that their users have gone.
            if let Some(links) = &self.reloader.links {
                links.drain().await;
            }
            if let Err(error) = core.store.stop().await {
                tracing::error!(event = "store_failed", %error, "The store did not stop in good order.");
            }
        };
        let is_orderly = tokio::select! {
            () = orderly => true,
            () = self.signals.terminated() => false,
        };
        self.tasks.shutdown().await;
        if is_orderly {
            tracing::info!(event = "stopped", "The server has stopped.");
        } else {
            tracing::warn!(event = "stopped", "The server stops at once, as it was told twice.");
        }
        is_orderly
    }
}

/// The socket by which commands reach the server.
fn bind_socket(config: &Config) -> anyhow::Result<UnixListener> {
    let path = wire::socket_path(&config.data_dir);
    socket::bind(&path).with_context(|| {
        let remedy = match path.as_os_str().len() {
            0..=SOCKET_PATH_BYTES_MAX => "see that the server's user may write there",
            _ => "its path is too long: name a shorter data folder",
        };
        format!("the socket `{}` cannot be made; {remedy}", path.display())
    })
}

/// Ends every session, also those that begin meanwhile. Connections without one get a short while
/// for what they have to say.
async fn drain(core: &Core, components: &Components, shared: &Shared) {
    let mut looks_left = LINGER_LOOKS;
    while shared.admission.open() > 0 && looks_left > 0 {
        core.engine.leave_all();
        let metrics = &core.engine.metrics;
        // Those that wait to be resumed wait for the next process.
        if metrics.sessions.get() == metrics.sessions_detached.get() {
            looks_left -= 1;
            // They have heard that every session is gone.
            components.close_all(&Fault::Shutdown);
        }
        tokio::time::sleep(DRAIN_LOOK).await;
    }
}

/// Sends what the last run did not bring to other servers.
async fn send_what_was_left(engine: &Arc<Engine>) -> anyhow::Result<()> {
    let restored = engine.restore_underway().await;
    let stanzas = restored.context("what was under way to other servers cannot be read")?;
    if stanzas > 0 {
        tracing::info!(event = "underway", stanzas, "Stanzas of the last run leave.");
    }
    Ok(())
}

/// Removes what has expired: now, every hour, and when other settings may have made more of it due.
async fn chores(engine: Arc<Engine>, due: Arc<Notify>) {
    let mut hour = tokio::time::interval(HOUR);
    hour.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = hour.tick() => {}
            () = due.notified() => {}
        }
        engine.do_chores().await;
    }
}

/// Takes in what the last process left.
async fn restore(engine: &Arc<Engine>) -> anyhow::Result<()> {
    let last = engine.stores.archive.last_id().await;
    engine.skip_ids(last.context("the archive cannot be read")?);
    let restored = engine.restore_sessions().await;
    let sessions = restored.context("the sessions of the last run cannot be read")?;
    if sessions > 0 {
        tracing::info!(event = "restored", sessions, "Sessions wait to be resumed.");
    }
    Ok(())
}

/// Tells of sessions that died with the last process.
async fn announce_lost(engine: Arc<Engine>) {
    match engine.announce_lost().await {
        Ok(0) => {}
        Ok(sessions) => {
            tracing::info!(
                event = "announced_lost",
                sessions,
                "Sessions died with the last process."
            );
        }
        Err(error) => {
            tracing::error!(event = "store_failed", %error, "Not all are told which sessions died with the last process.");
        }
    }
}

async fn serve_metrics(
    config: &Config,
    mut registry: Registry,
    core: &Core,
    trust: &Trust,
    tasks: &mut JoinSet<()>,
) -> anyhow::Result<Option<std::net::SocketAddr>> {
    let Some(address) = config.metrics else { return Ok(None) };
    let listener = match TcpListener::bind(address).await {
        Ok(listener) => listener,
        Err(error) if config.is_set("metrics.address") => {
            let remedy = "choose another `address` in `[metrics]`";
            return Err(error).with_context(|| format!("no metrics on `{address}`; {remedy}"));
        }
        // Several servers for development on one machine.
        Err(error) => {
            tracing::warn!(event = "no_metrics", %address, %error, "Metrics are not served: name another `address` in `[metrics]`.");
            return Ok(None);
        }
    };
    let address = listener.local_addr()?;
    let certificates = trust.certificates.clone();
    let expiries: facts::Expiries = Arc::new(move || {
        let now = files::unix_secs();
        let expiries = certificates.expiries().into_iter();
        let named = expiries.map(|expiry| {
            let name = expiry.names.into_iter().next();
            let name = name.unwrap_or_else(|| expiry.file.display().to_string());
            (name, expiry.not_after_secs.saturating_sub(now))
        });
        named.collect()
    });
    facts::register(&mut registry, core.engine.stores.writer.clone(), expiries);
    tasks.spawn(metrics::serve(listener, Arc::new(registry)));
    Ok(Some(address))
}

/// Raises the limit of open files as far as it goes; each connection needs one.
fn raise_open_files() {
    let maximum = getrlimit(Resource::Nofile).maximum;
    // No process gets infinitely many, and asking for it is refused.
    let wanted = Rlimit { current: maximum.or(Some(OPEN_FILES_WANTED)), maximum };
    if let Err(error) = setrlimit(Resource::Nofile, wanted) {
        tracing::warn!(event = "open_files", %error, "The limit of open files could not be raised.");
    }
}

/// Tells the service manager, if there is one.
fn notify(states: &[NotifyState<'_>]) {
    let _ = sd_notify::notify(states);
}

fn notify_reloading() {
    // Without the time the service manager takes the reload for failed.
    if let Ok(now) = NotifyState::monotonic_usec_now() {
        notify(&[NotifyState::Reloading, now]);
    }
}

/// Wishes of commands that wait to be looked at.
const WISHES_MAX: usize = 4;

/// Bytes of the path of a socket that Linux takes.
const SOCKET_PATH_BYTES_MAX: usize = 107;

/// How long streams may take to close when the server stops.
const DRAIN_WAIT: Duration = Duration::from_secs(10);

/// How often it is looked whether they have.
const DRAIN_LOOK: Duration = Duration::from_millis(20);

/// How often it is looked for connections without a session before they are cut: 2 seconds.
const LINGER_LOOKS: u32 = 100;

const HOUR: Duration = Duration::from_secs(3_600);

const DAY: Duration = Duration::from_secs(86_400);

const OPEN_FILES_WANTED: u64 = 1_048_576;
