//! Commands about the server as a whole.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::command::{AdminError, Command};
use crate::limits::STATUS_DOMAINS;
use crate::{Cx, Nothing, Wish};

/// Tells how the server is.
#[derive(Debug)]
pub struct Status;

/// Copies the database, in use or not.
#[derive(Debug)]
pub struct Backup;

/// Reads the configuration again.
#[derive(Debug)]
pub struct Reload;

/// Stops the server in good order.
#[derive(Debug)]
pub struct Stop;

/// How the server is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The release.
    pub version: String,
    /// Whether a server runs on the data folder; if not, the figures are of the folder alone.
    pub running: bool,
    /// Seconds since it started; zero if it does not run.
    pub uptime_secs: i64,
    /// The first of its domains, by name.
    pub domains: Vec<String>,
    /// All its domains.
    pub domains_count: usize,
    /// Accounts on all of them.
    pub accounts: u64,
    /// Sessions now.
    pub sessions: i64,
    /// What was counted since the start, by name.
    pub counted: BTreeMap<String, u64>,
    /// What the store counted since the start, and what waits for it, by name.
    pub store: BTreeMap<String, u64>,
}

/// A file to make.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Destination {
    /// Its whole path; there must be no such file.
    pub path: PathBuf,
}

/// What came of reading the configuration again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reloaded {
    /// The domains now.
    pub domains: Vec<String>,
    /// Keys that were changed and follow at the next start only.
    pub need_restart: Vec<String>,
    /// What is worth saying.
    pub warnings: Vec<String>,
}

impl Command for Status {
    const NAME: &'static str = "status";
    const SUMMARY: &'static str = "Tell how the server is.";
    type Input = Nothing;
    type Output = State;

    async fn run(cx: Cx, _: Nothing) -> Result<State, AdminError> {
        let engine = &cx.engine;
        let mut domains: Vec<String> =
            engine.hosts.load().iter().map(|h| h.domain.to_string()).collect();
        domains.sort_unstable();
        let mut accounts = 0;
        for domain in &domains {
            accounts += engine.stores.accounts.count(domain).await?;
        }
        let domains_count = domains.len();
        domains.truncate(STATUS_DOMAINS);
        let metrics = &engine.metrics;
        let counted = [
            ("messages_in", &metrics.messages_in),
            ("presences_in", &metrics.presences_in),
            ("iqs_in", &metrics.iqs_in),
            ("offline_stored", &metrics.offline_stored),
            ("offline_delivered", &metrics.offline_delivered),
            ("offline_rejected", &metrics.offline_rejected),
            ("offline_expired", &metrics.offline_expired),
            ("offline_discarded", &metrics.offline_discarded),
            ("sign_ins", &metrics.sign_ins),
            ("sign_ins_failed", &metrics.sign_ins_failed),
        ];
        let running = cx.wishes.is_some();
        let uptime_secs = (engine.clock.unix_ms() - engine.started_ms) / 1_000;
        let store = engine.stores.writer.counters().all();
        Ok(State {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            running,
            uptime_secs: if running { uptime_secs } else { 0 },
            domains,
            domains_count,
            accounts,
            sessions: metrics.sessions.get(),
            counted: counted.map(|(name, counter)| (name.to_owned(), counter.get())).into(),
            store: store.map(|(name, value)| (name.to_owned(), value)).into(),
        })
    }
}

impl Command for Backup {
    const NAME: &'static str = "backup";
    const SUMMARY: &'static str = "Copy the database to a file, while it is in use.";
    type Input = Destination;
    type Output = Destination;

    async fn run(cx: Cx, input: Destination) -> Result<Destination, AdminError> {
        if !input.path.is_absolute() {
            return Err(AdminError::Refused("name the file by its whole path".into()));
        }
        (cx.back_up)(input.path.clone()).await.map_err(AdminError::Refused)?;
        tracing::info!(event = "backup", path = %input.path.display(), "The database was copied.");
        Ok(input)
    }
}

impl Command for Reload {
    const NAME: &'static str = "reload";
    const SUMMARY: &'static str = "Read the configuration again; mistakes change nothing.";
    type Input = Nothing;
    type Output = Reloaded;

    async fn run(cx: Cx, _: Nothing) -> Result<Reloaded, AdminError> {
        let (answer, told) = oneshot::channel();
        wish(&cx, Wish::Reload(answer)).await?;
        told.await.map_err(|_| AdminError::NotRunning)?.map_err(AdminError::Refused)
    }
}

impl Command for Stop {
    const NAME: &'static str = "stop";
    const SUMMARY: &'static str = "Stop the server in good order.";
    type Input = Nothing;
    type Output = Nothing;

    async fn run(cx: Cx, _: Nothing) -> Result<Nothing, AdminError> {
        wish(&cx, Wish::Stop).await?;
        Ok(Nothing {})
    }
}

async fn wish(cx: &Cx, wish: Wish) -> Result<(), AdminError> {
    cx.running()?.send(wish).await.map_err(|_| AdminError::NotRunning)
}
