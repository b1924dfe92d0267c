//! What can be said on the command line.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// An XMPP server: what it acknowledged is on disk.
#[derive(Debug, Parser)]
#[command(name = "stentor", version, after_help = EXAMPLES, max_term_width = 100)]
pub(crate) struct Cli {
    /// The configuration file; without one, a development server on `localhost`.
    #[arg(long, global = true, value_name = "FILE", env = "STENTOR_CONFIG")]
    pub config: Option<PathBuf>,
    /// The data folder; wins over the one of the configuration.
    #[arg(long, global = true, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Print answers as JSON, for programs.
    #[arg(long, global = true)]
    pub json: bool,
    /// What to do; without it, run the server.
    #[command(subcommand)]
    pub command: Option<Verb>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Run the server, in the foreground.
    #[command(long_about = RUN)]
    Run,
    /// Make, list, change and delete accounts.
    #[command(subcommand, after_help = ACCOUNT_EXAMPLES)]
    Account(Account),
    /// Add, list and remove domains, while the server runs or not.
    #[command(subcommand, after_help = DOMAIN_EXAMPLES)]
    Domain(Domain),
    /// List the devices that have access to an account, or take it back.
    #[command(subcommand, after_help = DEVICE_EXAMPLES)]
    Device(Device),
    /// Check the configuration and the files it names, and tell all mistakes at once.
    #[command(long_about = CHECK)]
    Check {
        /// Fail for warnings as well, such as a certificate that expires soon.
        #[arg(long)]
        strict: bool,
    },
    /// Copy the database to a new file, while the server runs or not.
    #[command(long_about = BACKUP)]
    Backup {
        /// The file to make; it must not exist.
        dest: PathBuf,
    },
    /// Tell how the server is: sessions, accounts, uptime, what the store does.
    Status,
    /// Look after the archives of messages.
    #[command(subcommand, after_help = ARCHIVE_EXAMPLES)]
    Archive(Archive),
    /// List addresses blocked for failed sign-ins, or lift a block.
    #[command(subcommand)]
    Blocked(Blocked),
    /// List streams between servers and what waits for one, or end those with a domain.
    #[command(subcommand, after_help = S2S_EXAMPLES)]
    S2s(S2s),
    /// List, show and drop what users reported about addresses that they blocked.
    #[command(subcommand, after_help = REPORT_EXAMPLES)]
    Report(Report),
    /// Let the running server read its configuration again.
    #[command(long_about = RELOAD)]
    Reload,
    /// Stop the running server in good order, as SIGTERM does.
    Stop,
    /// List the modules with their extensions and options.
    Modules,
    /// Print the reference of the configuration file, in Markdown.
    Reference,
    /// Print the release.
    Version,
}

/// What to do about accounts.
#[derive(Debug, Subcommand)]
pub(crate) enum Account {
    /// Make an account. A password that is not given is asked for.
    Add(Credentials),
    /// Make many accounts, of a file with one `name@domain password` a line; `-` reads standard
    /// input. Accounts that exist stay as they are.
    Import {
        /// The file.
        file: PathBuf,
    },
    /// List accounts, of one domain or of all.
    List {
        /// The domain.
        domain: Option<String>,
    },
    /// Show one account, with the messages that wait for it.
    Show(Address),
    /// Set an account's password; its sessions and tokens end.
    Password(Credentials),
    /// Delete an account with everything it owns. It cannot be undone.
    #[command(alias = "remove")]
    Delete(Address),
    /// Keep an account from signing in, and end its sessions. Nothing of it is lost.
    Suspend(Address),
    /// Lift a suspension.
    #[command(alias = "resume")]
    Unsuspend(Address),
    /// Forget the failed sign-ins that locked an account.
    Unlock(Address),
}

/// What to do about domains.
#[derive(Debug, Subcommand)]
pub(crate) enum Domain {
    /// Serve another domain, from now on and after every restart.
    Add {
        /// The domain.
        name: String,
        /// Its profile in the configuration.
        #[arg(long, default_value = "default")]
        profile: String,
    },
    /// List the domains, those of the configuration as well.
    List,
    /// Serve a domain no longer; its sessions end. Its accounts stay, and come back with it.
    Remove {
        /// The domain.
        name: String,
    },
}

/// What to do about devices.
#[derive(Debug, Subcommand)]
pub(crate) enum Device {
    /// List the devices that have access to an account, those seen last first.
    List(Address),
    /// Take back a device's tokens and end its sessions.
    Revoke {
        /// The address of the account: `name@domain`.
        jid: String,
        /// The device, as the list names it.
        device: String,
    },
}

/// What to do about streams between servers.
#[derive(Debug, Subcommand)]
pub(crate) enum S2s {
    /// List streams with other servers, and what waits for one.
    List {
        /// The other domain; all of them if none is named.
        domain: Option<String>,
    },
    /// End the streams with another domain in good order. What waits for it takes a new one.
    Close {
        /// The other domain.
        domain: String,
    },
}

/// What to do about reports.
#[derive(Debug, Subcommand)]
pub(crate) enum Report {
    /// List the reports that wait, by account and time.
    List,
    /// Show a report with the messages that were kept with it.
    Show(Reported),
    /// Drop a report that was dealt with.
    Drop(Reported),
}

/// Which report.
#[derive(Debug, Args)]
pub(crate) struct Reported {
    /// The address of the account that reported: `name@domain`.
    pub by: String,
    /// The report, as the list names it.
    pub id: u64,
}

/// Whose account.
#[derive(Debug, Args)]
pub(crate) struct Address {
    /// The address: `name@domain`.
    pub jid: String,
}

/// Whose account, and the password.
#[derive(Args)]
pub(crate) struct Credentials {
    /// The address: `name@domain`.
    pub jid: String,
    /// The password. Others on this machine may see it while the command runs.
    #[arg(long, conflicts_with = "password_stdin")]
    pub password: Option<String>,
    /// Read the password from the first line of standard input.
    #[arg(long)]
    pub password_stdin: bool,
}

/// What to do about an archive.
#[derive(Debug, Subcommand)]
pub(crate) enum Archive {
    /// Tell how many messages it holds.
    Show(Address),
    /// Remove messages from it. It cannot be undone. Messages that wait for delivery stay.
    Purge {
        /// The address: `name@domain`.
        jid: String,
        /// Keep messages younger than this many days.
        #[arg(long, value_name = "DAYS")]
        keep_days: Option<u32>,
    },
}

/// What to do about blocked addresses.
#[derive(Debug, Subcommand)]
pub(crate) enum Blocked {
    /// List blocked addresses.
    List,
    /// Lift the block of an address.
    Lift {
        /// The IP address.
        address: IpAddr,
    },
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("jid", &self.jid).finish_non_exhaustive()
    }
}

const EXAMPLES: &str = "\
Examples:
  stentor                                       run a development server on localhost
  stentor account add juliet@localhost          make an account; asks for the password
  stentor --config /etc/stentor.toml check      tell every mistake in a configuration
  stentor backup /var/backups/stentor.db        copy the database while it is in use

Commands talk to the running server over the socket in its data folder, and work on the folder
itself where no server runs. Use the same `--config` or `--data` as the server.

Exit codes: 0 done; 1 not done, the reason is on standard error; 2 the command line is wrong.";

const RUN: &str = "\
Run the server, in the foreground. This is also what happens without a command.

Without a configuration it is a server for development: the domain is localhost, the data folder
is made, and so are a certificate authority and a certificate. The first lines tell where it
listens and what to do next.

Signals: SIGTERM and SIGINT stop it in good order, a second one at once. SIGHUP reads the
configuration again.";

const CHECK: &str = "\
Check the configuration and the files it names, and tell all mistakes at once, each as
FILE:LINE:COLUMN with the reason and what would be right. Nothing is changed.

Exit codes: 0 sound, warnings are on standard error; 1 mistakes, or warnings with --strict.";

const BACKUP: &str = "\
Copy the database to a new file, while the server runs or not. The copy holds everything that was
acknowledged before, is checked, and appears under its name only when it is complete.

To restore it: stop the server, move the database with its -wal and -shm files away, put the copy
in its place as `stentor.db`, and start the server.";

const RELOAD: &str = "\
Let the running server read its configuration again, as SIGHUP does. Domains, profiles, modules,
certificates and the log level follow at once; what needs a restart is named. A configuration with
mistakes changes nothing.";

const ARCHIVE_EXAMPLES: &str = "\
Examples:
  stentor archive show juliet@capulet.example
  stentor archive purge juliet@capulet.example --keep-days 365";

const ACCOUNT_EXAMPLES: &str = "\
Examples:
  stentor account add juliet@capulet.example
  pwgen 20 1 | stentor account password juliet@capulet.example --password-stdin
  stentor account import accounts.txt
  stentor account list capulet.example
  stentor account suspend tybalt@capulet.example";

const S2S_EXAMPLES: &str = "\
Examples:
  stentor s2s list
  stentor s2s list montague.example
  stentor s2s close montague.example

A domain that is to be spoken to no longer stands under `block` in `[federation]`.";

const REPORT_EXAMPLES: &str = "\
Examples:
  stentor report list
  stentor report show juliet@capulet.example 1767323045000000
  stentor report drop juliet@capulet.example 1767323045000000";

const DOMAIN_EXAMPLES: &str = "\
Examples:
  stentor domain add montague.example
  stentor domain add guests.montague.example --profile visitors
  stentor domain remove montague.example

Domains of the configuration are removed there. A certificate for a new domain is found by its name
in `certificate_folder`, or is one that names it already.";

const DEVICE_EXAMPLES: &str = "\
Examples:
  stentor device list juliet@capulet.example
  stentor device revoke juliet@capulet.example bzrefxmi4uij2tp8

A device that knows the password can come back: change that as well, by `stentor account password`.";
