//! What the server says when it has started: to the log, and to the person who started it.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::SocketAddr;

use crate::config::{Config, LogFormat, PortKind, Sources};
use crate::wire::Trust;

/// A port that is open.
pub(crate) struct Port {
    /// Who connects, and how.
    pub kind: PortKind,
    /// Where.
    pub address: SocketAddr,
}

/// Tells that the server has started, and what to do next.
pub(crate) fn greet(
    config: &Config,
    sources: &Sources,
    ports: &[Port],
    metrics: Option<SocketAddr>,
    trust: &Trust,
) {
    let open_files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    for port in ports {
        let kind = words(port.kind);
        tracing::info!(event = "listening", address = %port.address, "Listening for {kind}.");
    }
    tracing::info!(
        event = "started",
        version = env!("CARGO_PKG_VERSION"),
        domains = config.hosts.iter().filter(|h| !h.is_gone).count(),
        data_dir = %config.data_dir.display(),
        metrics = metrics.map(tracing::field::display),
        open_files,
        "The server has started."
    );
    // For people: not in a log for machines, and not in the journal of a server that was set up.
    let is_watched = rustix::termios::isatty(std::io::stderr()) || sources.file.is_none();
    if config.log_format == LogFormat::Text && is_watched {
        let text = text(config, sources, ports, metrics, trust);
        let _ = std::io::stderr().write_all(text.as_bytes());
    }
}

fn text(
    config: &Config,
    sources: &Sources,
    ports: &[Port],
    metrics: Option<SocketAddr>,
    trust: &Trust,
) -> String {
    let hosts: Vec<&str> =
        config.hosts.iter().filter(|h| !h.is_gone).map(|h| h.name.as_str()).collect();
    let mut text =
        format!("\nStentor {} serves {}.\n", env!("CARGO_PKG_VERSION"), hosts.join(", "));
    for port in ports {
        let _ = writeln!(text, "  listens on  {} for {}", port.address, words(port.kind));
    }
    let _ = writeln!(text, "  data        {}", config.data_dir.display());
    if let Some(metrics) = metrics {
        let _ = writeln!(text, "  metrics     http://{metrics}/metrics");
    }
    let _ = writeln!(text, "  stop        Ctrl-C");
    if let Some(host) = hosts.first() {
        let stentor = invocation(sources);
        let _ = write!(
            text,
            "\nMake two accounts, in another terminal, and sign in as each with a client:\n\
             \x20 {stentor} account add juliet@{host}\n\
             \x20 {stentor} account add romeo@{host}\n"
        );
    }
    if let Some(authority) = &trust.dev_authority {
        let _ = write!(
            text,
            "\nNo certificate is configured, so the server made one, signed by an authority of its \
             own:\n\
             \x20 {ca}\n\
             Clients that ask whether to trust it (Gajim, Psi, Profanity) may be told yes. Others \
             take the file:\n\
             \x20 this machine     sudo cp {ca} /usr/local/share/ca-certificates/stentor.crt\n\
             \x20                  sudo update-ca-certificates\n\
             \x20 Node             NODE_EXTRA_CA_CERTS={ca}\n\
             \x20 Python, Go       SSL_CERT_FILE={ca}\n",
            ca = authority.display()
        );
    }
    text.push('\n');
    text
}

/// The command line by which this server is reached.
fn invocation(sources: &Sources) -> String {
    let first = std::env::args_os().next();
    let mut words = first.map_or_else(|| "stentor".into(), |word| word.display().to_string());
    if let Some(file) = &sources.file {
        let _ = write!(words, " --config {}", file.display());
    }
    if let Some(dir) = &sources.data_dir {
        let _ = write!(words, " --data {}", dir.display());
    }
    words
}

fn words(kind: PortKind) -> &'static str {
    match kind {
        PortKind::C2s => "clients (STARTTLS)",
        PortKind::C2sTls => "clients (TLS from the first byte)",
        PortKind::S2s => "servers (STARTTLS)",
        PortKind::S2sTls => "servers (TLS from the first byte)",
        PortKind::Component => "components",
        PortKind::ComponentTls => "components (TLS from the first byte)",
    }
}
