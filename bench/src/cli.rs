//! The command line of the load generator.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};
use stentor_sasl::Mechanism;

use crate::fleet::TlsUse;
use crate::relay;
use crate::scenario::{
    archive, bounds, chat, idle, kills, login, muc, ping, presence, slow, soak, storm,
};
use crate::target::Target;

/// Puts load on an XMPP server and tells what that cost.
#[derive(Debug, Parser)]
#[command(name = "stentor-bench", version, after_help = EXAMPLES, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    scenario: Scenario,
}

/// What all scenarios take.
#[derive(Debug, Args)]
#[command(next_help_heading = "Server")]
pub struct Common {
    /// The address of a running server; without one, Stentor is started for the run.
    #[arg(long, global = true, value_name = "ADDRESS")]
    pub server: Option<SocketAddr>,
    /// The binary to start; by default the one beside this.
    #[arg(long, global = true, value_name = "PATH", conflicts_with = "server")]
    pub stentor: Option<PathBuf>,
    /// Where the started server keeps its data, for another run with the same accounts.
    #[arg(long, global = true, value_name = "DIR", conflicts_with = "server")]
    pub data: Option<PathBuf>,
    /// More lines for the configuration of the started server.
    #[arg(long, global = true, value_name = "TOML", conflicts_with = "server")]
    pub configure: Option<String>,
    /// The processor for the started server.
    #[arg(long, global = true, value_name = "CPU")]
    pub server_cpu: Option<usize>,
    /// The processor for the load generator.
    #[arg(long, global = true, value_name = "CPU")]
    pub own_cpu: Option<usize>,
    /// What to call the server in the report.
    #[arg(long, global = true)]
    pub name: Option<String>,
    /// The process of the running server; by default whoever listens on the address.
    #[arg(long, global = true)]
    pub pid: Option<u32>,
    /// The domain of the accounts.
    #[arg(long, global = true, default_value = "localhost")]
    pub domain: String,
    /// The accounts are this and a number from 0.
    #[arg(long, global = true, default_value = "bench")]
    pub prefix: String,
    /// The password of all of them.
    #[arg(long, global = true, default_value = "bench-secret")]
    pub password: String,
    /// A command for the shell that makes accounts at the running server: on its standard input
    /// come lines of `name domain password`.
    #[arg(long, global = true, value_name = "COMMAND", requires = "server")]
    pub account_hook: Option<String>,
    /// How TLS is done.
    #[arg(long, global = true, value_enum, default_value_t = TlsUse::Off)]
    pub tls: TlsUse,
    /// The mechanism to sign in by.
    #[arg(long, global = true, value_parser = mechanism, default_value = "SCRAM-SHA-1")]
    pub mechanism: Mechanism,
    /// Print one JSON object instead of lines.
    #[arg(long, global = true, help_heading = "Output")]
    pub json: bool,
    /// Append the figures to this table, with the date and the commit.
    #[arg(long, global = true, value_name = "FILE", help_heading = "Output")]
    pub history: Option<PathBuf>,
    /// Say nothing while it runs.
    #[arg(long, global = true, help_heading = "Output")]
    pub quiet: bool,
}

#[derive(Debug, Subcommand)]
enum Scenario {
    /// Pairs of clients that send each other messages.
    Chat(chat::Options),
    /// Clients that sign in and leave, over and over.
    Login(login::Options),
    /// Clients that do nothing: how much memory each takes.
    Idle(idle::Options),
    /// Clients that ping the server.
    Ping(ping::Options),
    /// Clients that tell their contacts about their presence.
    Presence(presence::Options),
    /// Rooms in which everybody hears everybody.
    Muc(muc::Options),
    /// Clients that page through their archive (XEP-0313).
    Archive(archive::Options),
    /// All clients lose their connections at once and come back.
    Storm(storm::Options),
    /// The server is killed under load, over and over: nothing acknowledged may be lost or doubled.
    Kills(kills::Options),
    /// Pairs that chat beside clients that stopped reading.
    Slow(slow::Options),
    /// Troubles of every kind beside honest clients: what the server takes, against stated bounds.
    Bounds(bounds::Options),
    /// Mixed traffic for an hour: memory, open files and threads end as they began.
    Soak(soak::Options),
    /// Serve as the machine's limit: pass bytes on between pairs of sockets.
    Relay {
        /// Where to listen.
        #[arg(long, default_value = "127.0.0.1:0")]
        listen: SocketAddr,
        /// Write each piece of this size alone.
        #[arg(long)]
        message_bytes: Option<usize>,
    },
}

/// A bare relay instead of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Relay {
    /// What was read at once is written at once.
    Batched,
    /// One write for each message.
    Each,
}

/// Runs what the command line says.
#[must_use]
pub fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<()> {
    let Cli { common, scenario } = cli;
    if let Scenario::Relay { listen, message_bytes } = scenario {
        return relay::serve(listen, message_bytes);
    }
    let mut target = Target::new(common)?;
    let report = match scenario {
        Scenario::Chat(options) => chat::run(&mut target, &options)?,
        Scenario::Login(options) => login::run(&mut target, &options)?,
        Scenario::Idle(options) => idle::run(&mut target, &options)?,
        Scenario::Ping(options) => ping::run(&mut target, &options)?,
        Scenario::Presence(options) => presence::run(&mut target, &options)?,
        Scenario::Muc(options) => muc::run(&mut target, &options)?,
        Scenario::Archive(options) => archive::run(&mut target, &options)?,
        Scenario::Storm(options) => storm::run(&mut target, &options)?,
        Scenario::Kills(options) => kills::run(&mut target, &options)?,
        Scenario::Slow(options) => slow::run(&mut target, &options)?,
        Scenario::Soak(options) => soak::run(&mut target, &options)?,
        // It has a report for each trouble.
        Scenario::Bounds(options) => return bounds::run(&mut target, &options),
        Scenario::Relay { .. } => return Ok(()),
    };
    target.tell(&report)
}

fn mechanism(name: &str) -> Result<Mechanism, String> {
    Mechanism::from_name(&name.to_uppercase())
        .ok_or_else(|| "not a mechanism: PLAIN, SCRAM-SHA-1, SCRAM-SHA-256, SCRAM-SHA-512".into())
}

/// Says something to the operator.
#[allow(clippy::print_stderr, reason = "the terminal is where it belongs")]
pub(crate) fn complain(text: &str) {
    eprintln!("stentor-bench: {text}");
}

const EXAMPLES: &str = "\
Examples:
  stentor-bench chat                        50 pairs, as fast as they can, with a Stentor of its own
  stentor-bench chat --relay batched        the same bytes through a bare relay
  stentor-bench idle --sessions 10000 --tls direct
  stentor-bench login --tls start --server 192.0.2.1:5222 --domain capulet.example --prefix load

Absolute figures are of one machine at one time. Compare ratios, measured in one sitting, with the
relay as the yardstick, and more than once.";

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn no_option_of_a_scenario_hides_a_common_one() {
        let cli = Cli::command();
        let common: Vec<_> = cli.get_arguments().map(|arg| arg.get_id().clone()).collect();
        assert!(common.len() > 10);
        for scenario in cli.get_subcommands() {
            for option in scenario.get_arguments() {
                assert!(!common.contains(option.get_id()), "{} {option}", scenario.get_name());
            }
        }
        cli.debug_assert();
    }
}
