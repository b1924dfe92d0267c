//! The command line. Commands talk to a running server over its local socket, and work on the data
//! folder when none runs.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use serde_json::{Value, json};
use stentor_admin::socket;

use crate::config::Config;
use crate::{logging, prompt, run, wire};

/// An XMPP server that loses nothing it acknowledged.
#[derive(Parser)]
#[command(name = "stentor", version, after_help = EXAMPLES)]
struct Cli {
    /// The configuration file; without one, a development server on `localhost`.
    #[arg(long, global = true, value_name = "FILE", env = "STENTOR_CONFIG")]
    config: Option<PathBuf>,
    /// Print answers as JSON.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Run the server (also what happens without a command).
    Run,
    /// Make, list, change and delete accounts.
    #[command(subcommand)]
    Account(Account),
    /// Check the configuration and tell all its mistakes.
    Check,
    /// Copy the database to a file, while the server runs or not.
    Backup {
        /// The file to make; it must not exist.
        path: PathBuf,
    },
    /// Tell how the server is.
    Status,
    /// List addresses blocked for failed sign-ins, or lift a block.
    #[command(subcommand)]
    Blocked(Blocked),
    /// Let the running server read its configuration again.
    Reload,
    /// Stop the running server in good order.
    Stop,
    /// List the modules with their extensions and options.
    Modules,
    /// Print the reference of the configuration file, in Markdown.
    #[command(hide = true)]
    Reference,
}

#[derive(Subcommand)]
enum Account {
    /// Make an account. Without a password given, it is asked for.
    Add(Credentials),
    /// List accounts, of one domain or of all.
    List {
        /// The domain.
        host: Option<String>,
    },
    /// Set an account's password; its sessions go on.
    Password(Credentials),
    /// Delete an account with everything it owns.
    #[command(alias = "remove")]
    Delete {
        /// The address: `name@domain`.
        jid: String,
    },
    /// Keep an account from signing in, and end its sessions. Nothing of it is lost.
    Suspend {
        /// The address.
        jid: String,
    },
    /// Lift a suspension.
    Resume {
        /// The address.
        jid: String,
    },
    /// Forget an account's failed sign-ins, which locked it.
    Unlock {
        /// The address.
        jid: String,
    },
}

#[derive(clap::Args)]
struct Credentials {
    /// The address: `name@domain`.
    jid: String,
    /// The password. Others on this machine may see it while the command runs.
    #[arg(long, conflicts_with = "password_stdin")]
    password: Option<String>,
    /// Read the password from the first line of standard input.
    #[arg(long)]
    password_stdin: bool,
}

#[derive(Subcommand)]
enum Blocked {
    /// List blocked addresses.
    List,
    /// Lift the block of an address.
    Lift {
        /// The IP address.
        address: String,
    },
}

const EXAMPLES: &str = "\
Examples:
  stentor                                       run a development server on localhost
  stentor account add juliet@localhost          make an account; asks for the password
  stentor --config /etc/stentor.toml check      tell every mistake in a configuration
  stentor backup /var/backups/stentor.db        copy the database while it is in use

Exit codes: 0 done, 1 not done (the reason is on standard error), 2 the command line is wrong.";

/// Reads the command line and does what it says.
pub(crate) fn main() -> ExitCode {
    let cli = Cli::parse();
    match dispatch(cli) {
        Ok(code) => code,
        Err(error) => {
            complain(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn dispatch(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        Some(Command::Modules) => {
            say(&modules());
            return Ok(ExitCode::SUCCESS);
        }
        Some(Command::Reference) => {
            say(&crate::config::reference());
            return Ok(ExitCode::SUCCESS);
        }
        _ => {}
    }
    let config = match Config::load(cli.config.as_deref()) {
        Ok(config) => config,
        Err(mistakes) => {
            let name =
                cli.config.as_ref().map_or_else(String::new, |p| format!("{}: ", p.display()));
            for mistake in &mistakes {
                complain(&format!("{name}{mistake}"));
            }
            complain(&format!("{} to mend; nothing was started or changed", count(mistakes.len())));
            return Ok(ExitCode::FAILURE);
        }
    };
    let (command, input) = match cli.command {
        None | Some(Command::Run) => return run::run(config, cli.config),
        Some(Command::Check) => return check(&config),
        Some(Command::Account(account)) => account_command(account)?,
        Some(Command::Backup { path }) => {
            let path = std::path::absolute(path)?;
            ("backup", json!({ "path": path }))
        }
        Some(Command::Status) => ("status", json!({})),
        Some(Command::Blocked(Blocked::List)) => ("blocked-list", json!({})),
        Some(Command::Blocked(Blocked::Lift { address })) => {
            ("blocked-lift", json!({ "address": address }))
        }
        Some(Command::Reload) => ("reload", json!({})),
        Some(Command::Stop) => ("stop", json!({})),
        Some(Command::Modules | Command::Reference) => return Ok(ExitCode::SUCCESS),
    };
    administer(&config, command, input, cli.json)
}

fn account_command(account: Account) -> anyhow::Result<(&'static str, Value)> {
    Ok(match account {
        Account::Add(credentials) => ("account-add", with_password(credentials)?),
        Account::Password(credentials) => ("account-password", with_password(credentials)?),
        Account::List { host } => ("account-list", json!({ "host": host })),
        Account::Delete { jid } => ("account-delete", json!({ "jid": jid })),
        Account::Suspend { jid } => ("account-suspend", json!({ "jid": jid })),
        Account::Resume { jid } => ("account-resume", json!({ "jid": jid })),
        Account::Unlock { jid } => ("account-unlock", json!({ "jid": jid })),
    })
}

fn with_password(credentials: Credentials) -> anyhow::Result<Value> {
    let password = match (credentials.password, credentials.password_stdin) {
        (Some(password), _) => password,
        (None, true) => prompt::first_line()?,
        (None, false) => prompt::password(&format!("Password for {}: ", credentials.jid))?,
    };
    Ok(json!({ "jid": credentials.jid, "password": password }))
}

/// Asks the running server, or does it here.
fn administer(
    config: &Config,
    command: &str,
    input: Value,
    as_json: bool,
) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let answer = runtime.block_on(async {
        let path = wire::socket_path(&config.data_dir);
        match socket::ask(&path, command, &input).await {
            Ok(answer) => anyhow::Ok(answer),
            Err(_) => wire::offline(config, command, input).await,
        }
    })?;
    match answer {
        Ok(value) if as_json => say(&format!("{value}\n")),
        Ok(value) => say(&words(command, &value)),
        Err(error) => {
            complain(&error);
            return Ok(ExitCode::FAILURE);
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn check(config: &Config) -> anyhow::Result<ExitCode> {
    let warnings = wire::check_files(config)?;
    for warning in &warnings {
        complain(&format!("warning: {warning}"));
    }
    let (hosts, ports) = (config.hosts.len(), config.listeners.len());
    say(&format!("The configuration is sound: {hosts} domains, {ports} ports.\n"));
    Ok(ExitCode::SUCCESS)
}

fn words(command: &str, value: &Value) -> String {
    let text = |key: &str| match &value[key] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    match command {
        "account-add" => {
            format!("Made {jid}. Sign in with any XMPP client as {jid}.\n", jid = text("jid"))
        }
        "account-password" => format!("Set the password of {}.\n", text("jid")),
        "account-delete" => format!("Deleted {} and everything it owned.\n", text("jid")),
        "account-list" => rows(value, |row| {
            let suspended = if row["suspended"] == true { "  suspended" } else { "" };
            format!("{}  sessions: {}{suspended}", plain(&row["jid"]), row["sessions"])
        }),
        "blocked-list" => rows(value, |row| {
            format!("{}  for {} seconds", plain(&row["address"]), row["left_secs"])
        }),
        "reload" => format!("{}\n", text("told")),
        "stop" => "The server is stopping.\n".to_owned(),
        "backup" => format!("Copied the database to {}.\n", text("path")),
        _ => value.as_object().map_or_else(String::new, |fields| {
            fields.iter().map(|(key, field)| format!("{key}: {}\n", plain(field))).collect()
        }),
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn rows(value: &Value, line: impl Fn(&Value) -> String) -> String {
    match value.as_array().filter(|rows| !rows.is_empty()) {
        None => "There are none.\n".to_owned(),
        Some(rows) => rows.iter().map(|row| line(row) + "\n").collect(),
    }
}

fn modules() -> String {
    let mut text = String::new();
    for spec in stentor_modules::registry::ALL.iter().map(|f| f.spec) {
        let xeps: Vec<String> = spec.xeps.iter().map(|x| format!("XEP-{:04}", x.number)).collect();
        let xeps = if xeps.is_empty() { String::new() } else { format!(" ({})", xeps.join(", ")) };
        text.push_str(&format!("{}{xeps}\n", spec.name));
        for option in spec.options {
            text.push_str(&format!(
                "    {} = {}\n        {}\n",
                option.key, option.default, option.help
            ));
        }
    }
    text
}

fn count(mistakes: usize) -> String {
    if mistakes == 1 { "1 mistake".to_owned() } else { format!("{mistakes} mistakes") }
}

/// Prints an answer. Who closed the pipe does not want it.
fn say(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

fn complain(text: &str) {
    let _ = writeln!(std::io::stderr(), "stentor: {text}");
}

/// Prints the start-up text, which is for people and not part of the log.
pub(crate) fn announce(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
    logging::flush();
}
