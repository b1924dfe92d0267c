//! The command line. Commands talk to a running server over its local socket, and work on the data
//! folder when none runs.

mod args;
mod ask;
mod import;
mod prompt;
mod words;

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use serde_json::json;
use stentor_admin::Nothing;
use stentor_admin::accounts::{
    Account as Named, Add, Credentials, Delete, SetPassword, Show, Suspend, Unlock, Unsuspend,
};
use stentor_admin::archive;
use stentor_admin::devices::{ListDevices, RevokeDevice, Which};
use stentor_admin::domains::{AddDomain, NamedDomain, NewDomain, RemoveDomain};
use stentor_admin::guard::{Address, LiftBlock, ListBlocked};
use stentor_admin::reports::{self, DropReport, ShowReport};
use stentor_admin::s2s::{EndStreams, ListStreams, Other, With};
use stentor_admin::server::{Backup, Destination, Reload, Status, Stop};

use crate::config::{Config, Mistakes, Sources, Variable};
use crate::run;
use args::{Account, Archive, Blocked, Cli, Device, Domain, Report, Reported, S2s, Verb};
use ask::Office;

/// Reads the command line and does what it says.
pub(crate) fn main() -> ExitCode {
    let cli = Cli::parse();
    let as_json = cli.json;
    dispatch(cli).unwrap_or_else(|error| {
        match error.downcast_ref::<Mistakes>() {
            Some(mistakes) if as_json => {
                let all: Vec<String> = mistakes.lines().collect();
                say(&format!("{}\n", json!({ "mistakes": all })));
            }
            Some(mistakes) => {
                mistakes.lines().for_each(|line| complain(&line));
                let count = mistakes.all.len();
                let all = if count == 1 { "1 mistake".into() } else { format!("{count} mistakes") };
                complain(&format!("{all} to mend; nothing was started or changed"));
            }
            None if as_json => {
                say(&format!("{}\n", json!({ "code": "failed", "error": format!("{error:#}") })));
            }
            None => complain(&format!("{error:#}")),
        }
        ExitCode::FAILURE
    })
}

fn dispatch(cli: Cli) -> anyhow::Result<ExitCode> {
    let sources = Sources {
        file: cli.config.map(std::path::absolute).transpose()?,
        data_dir: cli.data.map(std::path::absolute).transpose()?,
        variables: Variable::all(),
    };
    let as_json = cli.json;
    let text = match cli.command.unwrap_or(Verb::Run) {
        Verb::Run => return run::run(sources),
        Verb::Check { strict } => return check(&sources, strict, as_json),
        Verb::Modules if as_json => words::modules_json(),
        Verb::Modules => words::modules(),
        Verb::Reference => crate::config::reference(),
        Verb::Version if as_json => words::version_json(),
        Verb::Version => words::version(),
        Verb::Account(account) => return self::account(&Office::open(&sources, as_json)?, account),
        Verb::Domain(domain) => return self::domain(&Office::open(&sources, as_json)?, domain),
        Verb::Device(device) => return self::device(&Office::open(&sources, as_json)?, device),
        Verb::Report(report) => return self::report(&Office::open(&sources, as_json)?, report),
        Verb::S2s(s2s) => return self::s2s(&Office::open(&sources, as_json)?, s2s),
        verb => return administer(&Office::open(&sources, as_json)?, verb),
    };
    say(&text);
    Ok(ExitCode::SUCCESS)
}

fn account(office: &Office, account: Account) -> anyhow::Result<ExitCode> {
    let named = |address: args::Address| Named { jid: address.jid };
    match account {
        Account::Add(credentials) => {
            let input = with_password(credentials, true)?;
            office.change::<Add>(input, words::added)
        }
        Account::Password(credentials) => {
            let input = with_password(credentials, true)?;
            office.change::<SetPassword>(input, |a| format!("Set the password of {}.\n", a.jid))
        }
        Account::Import { file } => office.import(import::read(&file)?),
        Account::List { domain } => office.list_accounts(domain.as_deref()),
        Account::Show(address) => office.look::<Show>(named(address), words::shown),
        Account::Delete(address) => office.change::<Delete>(named(address), |account| {
            format!("Deleted {} and everything it owned.\n", account.jid)
        }),
        Account::Suspend(address) => office.change::<Suspend>(named(address), |account| {
            format!("Suspended {}. It keeps all it owns.\n", account.jid)
        }),
        Account::Unsuspend(address) => office.change::<Unsuspend>(named(address), |account| {
            format!("{} may sign in again.\n", account.jid)
        }),
        Account::Unlock(address) => office.look::<Unlock>(named(address), words::unlocked),
    }
}

fn domain(office: &Office, domain: Domain) -> anyhow::Result<ExitCode> {
    match domain {
        Domain::Add { name, profile } => {
            office.change::<AddDomain>(NewDomain { name, profile }, words::domain_added)
        }
        Domain::List => office.list_domains(),
        Domain::Remove { name } => {
            office.change::<RemoveDomain>(NamedDomain { name }, words::domain_removed)
        }
    }
}

fn device(office: &Office, device: Device) -> anyhow::Result<ExitCode> {
    match device {
        Device::List(address) => {
            office.look::<ListDevices>(Named { jid: address.jid }, words::devices)
        }
        Device::Revoke { jid, device } => {
            office.change::<RevokeDevice>(Which { jid, device }, words::revoked)
        }
    }
}

fn s2s(office: &Office, s2s: S2s) -> anyhow::Result<ExitCode> {
    match s2s {
        S2s::List { domain } => office.look::<ListStreams>(With { domain }, words::streams),
        S2s::Close { domain } => office.look::<EndStreams>(Other { domain }, words::streams_ended),
    }
}

fn report(office: &Office, report: Report) -> anyhow::Result<ExitCode> {
    let which = |Reported { by, id }| reports::Which { by, id };
    match report {
        Report::List => office.list_reports(),
        Report::Show(reported) => office.look::<ShowReport>(which(reported), words::report),
        Report::Drop(reported) => office.look::<DropReport>(which(reported), |dropped| {
            format!("Dropped report {} of {}.\n", dropped.id, dropped.by)
        }),
    }
}

fn administer(office: &Office, verb: Verb) -> anyhow::Result<ExitCode> {
    let nothing = Nothing {};
    match verb {
        Verb::Backup { dest } => {
            let input = Destination { path: std::path::absolute(dest)? };
            office.look::<Backup>(input, |made| {
                format!("Copied the database to {}.\n", made.path.display())
            })
        }
        Verb::Archive(Archive::Show(address)) => {
            office.look::<archive::Show>(archive::Whose { jid: address.jid }, words::archive)
        }
        Verb::Archive(Archive::Purge { jid, keep_days }) => {
            let which = archive::Which { jid, keep_days };
            office.change::<archive::Purge>(which, |held| {
                format!("Removed messages. {}", words::archive(held))
            })
        }
        Verb::Blocked(Blocked::List) => office.look::<ListBlocked>(nothing, words::blocked),
        Verb::Blocked(Blocked::Lift { address }) => {
            office.look::<LiftBlock>(Address { address }, words::lifted)
        }
        Verb::Reload => office.look::<Reload>(nothing, words::reloaded),
        Verb::Stop => office.look::<Stop>(nothing, |_| "The server is stopping.\n".to_owned()),
        _ => office.look::<Status>(nothing, words::status),
    }
}

fn with_password(credentials: args::Credentials, is_new: bool) -> anyhow::Result<Credentials> {
    let jid = credentials.jid;
    let password = match (credentials.password, credentials.password_stdin) {
        (Some(password), _) => password,
        (None, true) => prompt::first_line()?,
        (None, false) => prompt::password(&jid, is_new)?,
    };
    Ok(Credentials { jid, password })
}

fn check(sources: &Sources, is_strict: bool, as_json: bool) -> anyhow::Result<ExitCode> {
    let (config, warnings) = Config::load_checked(sources)?;
    if as_json {
        say(&format!("{}\n", json!({ "mistakes": [], "warnings": warnings })));
    } else {
        warnings.iter().for_each(|warning| complain(&format!("warning: {warning}")));
        say(&words::sound(&config));
    }
    let failed = is_strict && !warnings.is_empty();
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Prints an answer. Who closed the pipe does not want it.
fn say(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

fn complain(text: &str) {
    let _ = writeln!(std::io::stderr(), "stentor: {text}");
}
