//! The server: real streams, a real engine and a real store, in one process that can be killed.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use stentor_edge::{C2sListener, Driver, Link, Shared};
use stentor_engine::credentials::{Credentials, derive_all};
use stentor_engine::guard::GuardSettings;
use stentor_engine::{Clock, Engine, Host, Hosts, Settings};
use stentor_jid::BareJid;
use stentor_store::{KeyRow, Stage, Stores, Write};
use stentor_store_sqlite::{Options, Sqlite};
use stentor_transport::{Conn, Pipe};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;

use super::chance::Chance;

/// A process of the server, from its start to its end.
pub(super) struct Server {
    engine: Arc<Engine>,
    sqlite: Sqlite,
    listener: Arc<C2sListener>,
    connections: JoinSet<()>,
    committer: AbortHandle,
}

/// The disk: what a process leaves to the next.
pub(super) struct Disk(Sqlite);

impl Disk {
    /// A disk with these accounts.
    pub(super) async fn with_accounts(accounts: &[BareJid]) -> Self {
        let sqlite = Sqlite::in_memory_stepped(&Options::default()).unwrap();
        let stage: Stage = accounts
            .iter()
            .map(|owner| Write::CreateAccount {
                owner: owner.clone(),
                created_ms: START_MS,
                keys: keys(),
            })
            .collect();
        let writer = sqlite.stores().writer;
        let ticket = writer.submit(stage);
        while writer.step() {}
        ticket.await.unwrap();
        Self(sqlite)
    }

    pub(super) fn stores(&self) -> Stores {
        self.0.stores()
    }
}

impl Server {
    /// Starts a process.
    pub(super) async fn start(disk: Disk, clock: Arc<dyn Clock>, chance: &mut Chance) -> Self {
        let sqlite = disk.0.crashed(&Options::default()).unwrap();
        let stores = sqlite.stores();
        let committer = tokio::spawn(commit(stores.clone(), chance.fork())).abort_handle();
        let engine = engine(&stores, clock);
        engine.skip_ids(stores.archive.last_id().await.unwrap());
        engine.restore_sessions().await.unwrap();
        let shared = Arc::new(Shared::new(engine.clone()));
        let listener = Arc::new(C2sListener::in_clear(shared));
        Self { engine, sqlite, listener, connections: JoinSet::new(), committer }
    }

    /// Accepts a connection.
    pub(super) fn accept(&mut self, pipe: Pipe) {
        let peer = SocketAddr::from(([127, 0, 0, 1], 5222));
        let permit = self.listener.shared.admission.admit(peer.ip()).unwrap();
        let link = Link::new(self.listener.clone(), peer, permit);
        self.connections.spawn(Driver::new(Conn::piped(pipe, peer), link));
        while self.connections.try_join_next().is_some() {}
    }

    /// Ends the process in good order: streams are closed, and what waits is committed.
    pub(super) async fn stop(mut self) -> Disk {
        self.engine.leave_all();
        let closed = async { while self.connections.join_next().await.is_some() {} };
        drop(tokio::time::timeout(STOP_WAIT, closed).await);
        self.sqlite.stop().await.unwrap();
        self.kill().await
    }

    /// Ends the process at once: connections break, and what is not committed is lost.
    pub(super) async fn kill(mut self) -> Disk {
        self.committer.abort();
        // What a dropped connection leaves to be done touches nothing that is kept.
        self.connections.abort_all();
        while self.connections.join_next().await.is_some() {}
        self.engine.abandon_all();
        Disk(self.sqlite)
    }
}

/// Commits what waits, now and then; seldom while there is nothing to do.
async fn commit(stores: Stores, mut chance: Chance) {
    let mut slowest_ms = FASTEST_COMMIT_MS;
    loop {
        tokio::time::sleep(Duration::from_millis(chance.between(1, slowest_ms))).await;
        let has_worked = stores.writer.step();
        slowest_ms = if has_worked { FASTEST_COMMIT_MS } else { (slowest_ms * 2).min(200) };
    }
}

fn engine(stores: &Stores, clock: Arc<dyn Clock>) -> Arc<Engine> {
    let profile = stentor_modules::registry::profile(Settings::default(), BTreeMap::new());
    let profile = Arc::new(profile.unwrap());
    let hosts = DOMAINS.map(|domain| Host { domain: domain.into(), profile: profile.clone() });
    // Everybody signs in from one address, and often.
    let credentials = Credentials::new(b"secret", ITERATIONS, GuardSettings::default());
    Engine::new(stores.clone(), Hosts::new(hosts), clock, credentials)
}

/// Deriving them takes longer than the rest of a run.
fn keys() -> Vec<KeyRow> {
    static KEYS: OnceLock<Vec<KeyRow>> = OnceLock::new();
    KEYS.get_or_init(|| derive_all(PASSWORD, ITERATIONS).unwrap()).clone()
}

/// The time of a run: it passes only when everybody waits.
pub(super) struct Virtual {
    began: Instant,
}

impl Virtual {
    pub(super) fn begin() -> Self {
        Self { began: Instant::now() }
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }
}

impl Clock for Virtual {
    fn unix_ms(&self) -> i64 {
        START_MS + i64::try_from(self.elapsed().as_millis()).unwrap()
    }
}

/// The domains that the server has.
pub(super) const DOMAINS: [&str; 2] = ["capulet.example", "montague.example"];

/// How long streams may take to close when the server stops.
const STOP_WAIT: Duration = Duration::from_secs(10);

const FASTEST_COMMIT_MS: u64 = 15;

/// Everybody's password.
pub(super) const PASSWORD: &str = "secret";

/// The least that clients accept.
const ITERATIONS: u32 = 4_096;

/// 2026-01-02T03:04:05Z.
const START_MS: i64 = 1_767_323_045_000;
