//! Running the server: start, signals, reload, a stop in good order.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use prometheus_client::registry::Registry;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sd_notify::NotifyState;
use stentor_admin::{Wish, metrics, socket};
use stentor_edge::Shared;
use stentor_engine::Close;
use stentor_transport::Listener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};

use crate::config::Config;
use crate::wire::{self, Core, Trust};
use crate::{cli, logging};

/// Runs until a signal or a command says stop.
///
/// # Errors
/// The server cannot start; in words for the operator.
pub(crate) fn run(config: Config, path: Option<PathBuf>) -> anyhow::Result<ExitCode> {
    let level = logging::start(&config);
    std::panic::set_hook(Box::new(|panic| {
        tracing::error!(event = "panic", place = ?panic.location().map(ToString::to_string), "A task of the server panicked; the others go on. Please report this.");
    }));
    let files = raise_open_files();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(serve(config, path, level, files));
    // What is left are tasks that hold nothing.
    runtime.shutdown_timeout(Duration::from_secs(1));
    outcome
}

async fn serve(
    config: Config,
    path: Option<PathBuf>,
    level: logging::Level,
    open_files: u64,
) -> anyhow::Result<ExitCode> {
    let core = wire::core(&config)?;
    let trust = wire::trust(&config)?;
    let shared = wire::shared(&config, &core.engine)?;
    let (stop, stopped) = watch::channel(false);
    let mut addresses = Vec::new();
    for listen in &config.listeners {
        let listener = Listener::bind(listen.address)?;
        addresses.push((listen.kind, listener.addr()));
        let c2s = wire::c2s(&config, listen, &trust, &shared)?;
        tokio::spawn(c2s.run(listener, stopped.clone()));
    }
    let (wish, mut wishes) = mpsc::channel(4);
    let socket_path = wire::socket_path(&config.data_dir);
    let socket = socket::bind(&socket_path)
        .with_context(|| format!("the socket `{}` cannot be made", socket_path.display()))?;
    tokio::spawn(socket::serve(socket, wire::admin(&core, Some(wish))));
    serve_metrics(&config, &core, &shared, &trust).await?;
    cli::announce(&start_text(&config, &addresses, &trust, open_files));
    notify(NotifyState::Ready);
    let mut signals = Signals::new()?;
    loop {
        match signals.next(&mut wishes).await {
            Next::Stop => break,
            Next::Reload(answer) => {
                notify(NotifyState::Reloading);
                let outcome = reload(path.as_deref(), &core, &trust, &level);
                match &outcome {
                    Ok(words) => tracing::info!(event = "reloaded", "{words}"),
                    Err(words) => tracing::error!(event = "not_reloaded", "{words}"),
                }
                if let Some(answer) = answer {
                    let _ = answer.send(outcome);
                }
                notify(NotifyState::Ready);
            }
        }
    }
    notify(NotifyState::Stopping);
    let _ = stop.send(true);
    drain(&core, &shared, &mut signals).await;
    let _ = std::fs::remove_file(&socket_path);
    core.store.stop().await?;
    tracing::info!(event = "stopped", "The server has stopped.");
    Ok(ExitCode::SUCCESS)
}

/// Ends every session, each with its last words, and waits for them, for a bounded time.
async fn drain(core: &Core, shared: &Shared, signals: &mut Signals) {
    tracing::info!(event = "stopping", "The server is stopping; streams are closed.");
    let sessions_gone = async {
        loop {
            core.engine.close_all(Close::Shutdown);
            if core.engine.metrics.sessions.get() == 0 && shared.admission.open() == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        () = sessions_gone => {}
        () = tokio::time::sleep(DRAIN_WAIT) => {
            tracing::warn!("Some streams took too long to close and are cut.");
        }
        () = signals.terminated() => {}
    }
}

/// Reads the configuration again. What is wrong with it changes nothing.
fn reload(
    path: Option<&Path>,
    core: &Core,
    trust: &Trust,
    level: &logging::Level,
) -> Result<String, String> {
    let config = Config::load(path).map_err(|mistakes| {
        let all: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
        format!("The configuration has mistakes; nothing was changed. {}", all.join("; "))
    })?;
    let hosts = wire::hosts(&config).map_err(|error| format!("{error:#}"))?;
    let (files, _) = wire::identities(&config).map_err(|error| format!("{error:#}"))?;
    let warnings = trust.certificates.reload_from(files).map_err(|error| error.to_string())?;
    let domains: Vec<String> = hosts.iter().map(|h| h.domain.to_string()).collect();
    core.engine.hosts.store(Arc::new(hosts));
    let _ = level.reload(logging::filter(&config.log_level));
    let mut words = format!(
        "Read the configuration again: domains ({}), profiles, certificates and the log level \
         follow; other changes need a restart.",
        domains.join(", ")
    );
    for warning in warnings {
        let _ = write!(words, " {}: {}.", warning.file.display(), warning.text);
    }
    Ok(words)
}

async fn serve_metrics(
    config: &Config,
    core: &Core,
    shared: &Arc<Shared>,
    trust: &Trust,
) -> anyhow::Result<()> {
    let Some(address) = config.metrics else { return Ok(()) };
    let listener = match tokio::net::TcpListener::bind(address).await {
        Ok(listener) => listener,
        Err(error) => {
            tracing::warn!(%address, %error, "Metrics are not served: the address cannot be had. Name another in `[metrics]`.");
            return Ok(());
        }
    };
    let mut registry = Registry::default();
    core.engine.metrics.register(&mut registry);
    shared.metrics.register(&mut registry);
    let (writer, certificates) = (core.engine.stores.writer.clone(), trust.certificates.clone());
    let extra: metrics::Extra = Arc::new(move |page| {
        for (name, value) in writer.counters().all() {
            let _ =
                writeln!(page, "# TYPE stentor_store_{name} gauge\nstentor_store_{name} {value}");
        }
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |d| i64::try_from(d.as_secs()).unwrap_or(i64::MAX));
        page.push_str("# TYPE stentor_certificate_seconds_left gauge\n");
        for expiry in certificates.expiries() {
            let name = expiry.names.first().map_or("", String::as_str);
            let left = expiry.not_after_secs - now;
            let _ = writeln!(page, "stentor_certificate_seconds_left{{name=\"{name}\"}} {left}");
        }
    });
    tokio::spawn(metrics::serve(listener, Arc::new(registry), extra));
    Ok(())
}

fn start_text(
    config: &Config,
    addresses: &[(stentor_edge::Kind, std::net::SocketAddr)],
    trust: &Trust,
    open_files: u64,
) -> String {
    let hosts: Vec<&str> = config.hosts.iter().map(|h| h.name.as_str()).collect();
    let mut text = format!("Stentor {} serves {}.\n", env!("CARGO_PKG_VERSION"), hosts.join(", "));
    for (kind, address) in addresses {
        let how = match kind {
            stentor_edge::Kind::StartTls => "clients, STARTTLS",
            stentor_edge::Kind::DirectTls => "clients, TLS from the first byte",
        };
        let _ = writeln!(text, "  listens on   {address} ({how})");
    }
    let _ = writeln!(text, "  data         {}", config.data_dir.display());
    if let Some(metrics) = config.metrics {
        let _ = writeln!(text, "  metrics      http://{metrics}/metrics");
    }
    let _ = writeln!(text, "  open files   at most {open_files}");
    let host = hosts.first().copied().unwrap_or("localhost");
    if let Some(authority) = &trust.dev_authority {
        let _ = write!(
            text,
            "\nNo certificate is configured, so this server made its own. Let a client trust the\n\
             authority that signed it, on this machine only:\n\n    {}\n\n\
             Clients that ask whether to trust the certificate may simply be told yes.\n",
            authority.display()
        );
    }
    let _ = write!(
        text,
        "\nMake an account:  stentor account add someone@{host}\n\
         Stop:             Ctrl-C\n\n"
    );
    text
}

/// Raises the limit of open files as far as it goes; each connection needs one.
fn raise_open_files() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let wanted = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, wanted) {
        tracing::warn!(%error, "The limit of open files could not be raised.");
    }
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

fn notify(state: NotifyState<'_>) {
    // Not under systemd there is nobody to tell.
    let _ = sd_notify::notify(&[state]);
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

type Told = tokio::sync::oneshot::Sender<Result<String, String>>;

enum Next {
    Stop,
    Reload(Option<Told>),
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self, wishes: &mut mpsc::Receiver<Wish>) -> Next {
        tokio::select! {
            _ = self.terminate.recv() => Next::Stop,
            _ = self.interrupt.recv() => Next::Stop,
            _ = self.hangup.recv() => Next::Reload(None),
            wish = wishes.recv() => match wish {
                Some(Wish::Reload(answer)) => Next::Reload(Some(answer)),
                Some(Wish::Stop) | None => Next::Stop,
            },
        }
    }

    async fn terminated(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// How long streams may take to close when the server stops.
const DRAIN_WAIT: Duration = Duration::from_secs(10);
