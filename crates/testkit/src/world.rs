//! The world: one engine, any number of clients.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use stentor_engine::credentials::Credentials;
use stentor_engine::guard::GuardSettings;
use stentor_engine::sign_in::{BindWish, SignIn};
use stentor_engine::{
    Clock, Engine, Fate, Handling, Host, Hosts, Item, Session, Settings, backlog,
};
use stentor_jid::BareJid;
use stentor_payload::xep0352_csi::ClientState;
use stentor_sasl::Mechanism;
use stentor_stanza::{BadStanza, Stanza};
use stentor_store::{Boxed, StoreError, Stores, Write};
use stentor_store_sqlite::{Options, Sqlite};
use stentor_xml::Frame;

/// An engine with its store, and a clock that moves only when told.
pub struct World {
    /// The engine.
    pub engine: Arc<Engine>,
    stores: Stores,
    clock: Arc<Stopped>,
    settings: Settings,
    modules: String,
}

/// A bound session, seen from its client.
pub struct Client {
    session: Arc<Session>,
    /// Taken from the outbox, not yet looked at.
    received: Vec<Stanza>,
    /// Stored messages were taken, and not yet the mark behind them.
    is_amid_stored: bool,
}

struct Stopped(AtomicI64);

impl Clock for Stopped {
    fn unix_ms(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl World {
    /// A world with the domains `capulet.example` and `montague.example` and default settings.
    #[must_use]
    pub fn new() -> Self {
        Self::with(Settings::default(), "")
    }

    /// The same with these settings, and module options as in the configuration file.
    #[must_use]
    pub fn with(settings: Settings, modules: &str) -> Self {
        let store = Sqlite::in_memory_inline(&Options::default()).unwrap();
        Self::over(store.stores(), settings, modules)
    }

    /// The same with a store whose writer has a thread of its own, as in the server.
    #[must_use]
    pub fn with_writer_thread() -> Self {
        let store = Sqlite::in_memory(&Options::default()).unwrap();
        Self::over(store.stores(), Settings::default(), "")
    }

    /// The same over stores of the test's own making.
    #[must_use]
    pub fn over(stores: Stores, settings: Settings, modules: &str) -> Self {
        let clock = Arc::new(Stopped(AtomicI64::new(START_MS)));
        let engine = engine(&stores, &clock, settings.clone(), modules);
        Self { engine, stores, clock, settings, modules: modules.to_owned() }
    }

    /// Makes an account. Its password is of no importance here.
    pub async fn add_account(&self, jid: &str) {
        let owner = BareJid::new(jid).unwrap();
        let created_ms = self.clock.unix_ms();
        let create = Write::CreateAccount { owner, created_ms, keys: Vec::new() };
        self.stores.writer.submit(create).await.unwrap();
    }

    /// Binds a session for a full address.
    pub async fn connect(&self, jid: &str) -> Client {
        let (bare, resource) = jid.split_once('/').unwrap();
        let bare = BareJid::new(bare).unwrap();
        let session = self.engine.bind(&bare, Some(resource)).await.unwrap();
        Client { session, received: Vec::new(), is_amid_stored: false }
    }

    /// Signs a client in by its id within XEP-0388, with a password, and binds a resource.
    ///
    /// The device has the name of the id; `wishes` are elements that go with the resource.
    pub async fn sign_in(&self, jid: &str, client: &str, wishes: &[&str]) -> Client {
        let wishes = wishes.iter().map(|xml| Frame::parse(xml.as_bytes()).unwrap()).collect();
        let wish = SignIn {
            account: BareJid::new(jid).unwrap(),
            mechanism: Mechanism::ScramSha256,
            proven: self.engine.moment(),
            client: Some(client.to_owned()),
            software: Some("Tests".into()),
            device: Some(client.to_owned()),
            bind: Some(BindWish { tag: Some("Tests".into()), wishes }),
            wants_token: None,
            resume: None,
            enable: None,
            has_invalidated: false,
        };
        let session = self.engine.sign_in(wish).await.unwrap().session.unwrap();
        Client { session, received: Vec::new(), is_amid_stored: false }
    }

    /// What the engine reads and writes.
    #[must_use]
    pub fn stores(&self) -> &Stores {
        &self.stores
    }

    /// Moves the clock.
    pub fn advance(&self, seconds: i64) {
        self.clock.0.fetch_add(seconds * 1_000, Ordering::Relaxed);
    }

    /// Throws the engine away, as a crash would, and starts another over the same store. What the former
    /// one did beside its sessions ends.
    pub fn restart(&mut self) {
        self.engine.abandon_all();
        self.engine = engine(&self.stores, &self.clock, self.settings.clone(), &self.modules);
    }

    /// Reads other module options while the engine runs, as a reload of the configuration does.
    pub fn reload(&mut self, modules: &str) {
        modules.clone_into(&mut self.modules);
        self.engine.replace_hosts(hosts(self.settings.clone(), modules));
    }
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

impl Client {
    /// Sends one element, and waits until the engine has dealt with it.
    pub async fn send(&mut self, xml: &str) {
        let frame = Frame::parse(xml.as_bytes()).unwrap_or_else(|e| panic!("{e}: {xml}"));
        match Stanza::from_frame(frame) {
            Ok(stanza) => {
                if let Handling::Later(rest) = self.session.handle(stanza) {
                    rest.await;
                }
                // What the engine does beside that gets its turn.
                for _ in 0..BESIDE_TURNS {
                    tokio::task::yield_now().await;
                }
                while self.session.is_busy() {
                    tokio::time::sleep(A_MOMENT).await;
                }
            }
            Err(BadStanza::Refused(mut refusal)) => {
                refusal.head.from = Some(self.session.resource.jid.clone().into());
                self.session.reply(refusal.reply());
            }
            Err(BadStanza::Dropped(_)) => {}
            Err(BadStanza::NotAStanza) => panic!("not a stanza: {xml}"),
        }
    }

    /// Says whether somebody looks at the client (XEP-0352).
    pub fn indicate(&self, state: ClientState) {
        self.session.indicate(state);
    }

    /// The next stanza that has come in.
    pub fn receive(&mut self) -> Option<Stanza> {
        self.take();
        if self.received.is_empty() { None } else { Some(self.received.remove(0)) }
    }

    /// The first stanza that fits, whatever came before it.
    pub fn find(&mut self, fits: impl FnMut(&Stanza) -> bool) -> Option<Stanza> {
        self.take();
        let at = self.received.iter().position(fits)?;
        Some(self.received.remove(at))
    }

    /// All that has come in.
    pub fn receive_all(&mut self) -> Vec<Stanza> {
        self.take();
        std::mem::take(&mut self.received)
    }

    /// The next `count` stanzas, and a few more where stored messages would be torn apart: broken
    /// off among those, they come again.
    pub fn receive_up_to(&mut self, count: usize) -> Vec<Stanza> {
        while (self.received.len() < count || self.is_amid_stored) && self.take_one() {}
        std::mem::take(&mut self.received)
    }

    /// Its full address.
    #[must_use]
    pub fn jid(&self) -> String {
        self.session.resource.jid.to_string()
    }

    /// The session behind it.
    #[must_use]
    pub fn session(&self) -> &Arc<Session> {
        &self.session
    }

    /// Ends as if the connection broke. What has not been received is given back.
    pub async fn cut(self) {
        self.session.end(Vec::new()).await;
    }

    fn take(&mut self) {
        while self.take_one() {}
    }

    fn take_one(&mut self) -> bool {
        let Some(item) = self.session.resource.outbox.pop() else { return false };
        match item {
            Item::Stanza(stanza, fate, _) => {
                let is_message = stanza.message_type().is_some();
                self.is_amid_stored |= is_message && matches!(fate, Fate::Forget);
                self.received.push(stanza);
            }
            Item::Stored(stored) => {
                self.is_amid_stored = false;
                backlog::written(&self.session.engine, &self.session.account, stored);
            }
        }
        true
    }
}

fn engine(stores: &Stores, clock: &Arc<Stopped>, settings: Settings, modules: &str) -> Arc<Engine> {
    let credentials = Credentials::new(b"secret", 4_096, GuardSettings::default());
    let hosts = hosts(settings, modules);
    let engine = Engine::new(stores.clone(), hosts, clock.clone(), credentials);
    // The clock stands still, so ids would be used again after a restart.
    engine.skip_ids(wait(stores.archive.last_id()).unwrap());
    engine
}

fn hosts(settings: Settings, modules: &str) -> Hosts {
    let tables: BTreeMap<String, toml::Value> = toml::from_str(modules).unwrap();
    let profile = stentor_modules::registry::profile(settings, tables)
        .unwrap_or_else(|mistakes| panic!("{mistakes:#?}"));
    let profile = Arc::new(profile);
    let hosts = ["capulet.example", "montague.example"]
        .map(|domain| Host { domain: domain.into(), profile: profile.clone() });
    Hosts::new(hosts).with_profiles([("default".to_owned(), profile)].into())
}

/// Waits for the store where nothing can be awaited.
fn wait<T>(mut reading: Boxed<T>) -> Result<T, StoreError> {
    let mut cx = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(read) = reading.as_mut().poll(&mut cx) {
            return read;
        }
        std::thread::yield_now();
    }
}

/// Turns that work beside the sessions' own gets after each stanza.
const BESIDE_TURNS: usize = 16;

/// Between looks at what goes on.
const A_MOMENT: Duration = Duration::from_millis(1);
/// 2026-01-02T03:04:05Z.
const START_MS: i64 = 1_767_323_045_000;
