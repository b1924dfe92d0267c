//! Servers on loopback that speak to each other, for the tests of federation.

#![allow(clippy::unwrap_used, dead_code, unreachable_pub)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use stentor_edge::s2s::{
    Discovery, Federation, FederationParts, Links, Policy, Route, S2sListener,
};
use stentor_edge::{Kind, accept};
use stentor_engine::credentials::Credentials;
use stentor_engine::guard::GuardSettings;
use stentor_engine::{
    Clock, Engine, Handling, Host, Hosts, Item, Session, Settings as ProfileSettings,
};
use stentor_jid::BareJid;
use stentor_stanza::Stanza;
use stentor_store::{Stores, Write};
use stentor_store_sqlite::{Options, Sqlite};
use stentor_transport::{
    Certificates, ClientCerts, Listener, Roots, TlsAcceptor, TlsSettings, VersionMin, dev_ca,
};
use stentor_xml::Frame;
use tokio::sync::watch;

pub mod log;
pub mod peer;

/// How long anything may take; generous, for it only bounds failures.
pub const PATIENCE: Duration = Duration::from_secs(30);

struct Noon(AtomicI64);

impl Clock for Noon {
    fn unix_ms(&self) -> i64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

/// One server with one domain and the account `user`.
pub struct Server {
    pub domain: &'static str,
    pub engine: Arc<Engine>,
    pub links: Arc<Links>,
    pub ca: dev_ca::DevCa,
    listener: Option<Listener>,
    pub addr: SocketAddr,
    _folder: tempfile::TempDir,
}

/// What a server is told about the others.
#[derive(Default)]
pub struct Plan {
    /// The authorities that it believes, in PEM.
    pub authorities: Vec<u8>,
    pub policy: Policy,
    pub routes: Vec<Route>,
    pub dns: Option<SocketAddr>,
    /// What an earlier process left; otherwise there is nothing.
    pub stores: Option<Stores>,
    /// Options of its modules, as in the configuration.
    pub options: &'static str,
}

/// A server that has a port and a certificate, and knows nobody yet.
pub struct Half {
    pub domain: &'static str,
    pub ca: dev_ca::DevCa,
    pub listener: Listener,
    folder: tempfile::TempDir,
}

impl Half {
    pub fn new(domain: &'static str) -> Self {
        Self::named(domain, &[])
    }

    /// One whose certificate names others as well.
    pub fn named(domain: &'static str, others: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let names: Vec<String> = [domain].iter().chain(others).map(ToString::to_string).collect();
        let ca = dev_ca::open(folder.path(), &names).unwrap();
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        Self { domain, ca, listener, folder }
    }

    pub fn authority(&self) -> Vec<u8> {
        std::fs::read(&self.ca.authority).unwrap()
    }

    pub fn route(&self) -> Route {
        route(self.domain, self.listener.addr())
    }

    pub async fn join(self, plan: Plan) -> Server {
        let tables: BTreeMap<String, toml::Value> = toml::from_str(plan.options).unwrap();
        let profile = stentor_modules::registry::profile(ProfileSettings::default(), tables);
        let host = Host { domain: self.domain.into(), profile: Arc::new(profile.unwrap()) };
        let fresh = || Sqlite::in_memory(&Options::default()).unwrap().stores();
        let stores = plan.stores.unwrap_or_else(fresh);
        let owner = BareJid::new(&format!("user@{}", self.domain)).unwrap();
        if stores.accounts.load(&owner).await.unwrap().is_none() {
            let create = Write::CreateAccount { owner, created_ms: 0, keys: Vec::new() };
            stores.writer.submit(create).await.unwrap();
        }
        let credentials = Credentials::new(b"secret", 4_096, GuardSettings::default());
        let clock = Arc::new(Noon(AtomicI64::new(1_767_323_045_000)));
        let engine = Engine::new(stores, Hosts::new([host]), clock, credentials);
        let mut authorities = plan.authorities;
        if authorities.is_empty() {
            authorities = self.authority();
        }
        let mut identity = self.ca.identity();
        identity.names = vec![self.domain.to_owned()];
        let (certificates, _) = Certificates::load(vec![identity]).unwrap();
        let federation = Federation::new(FederationParts {
            engine: engine.clone(),
            policy: plan.policy,
            discovery: Discovery::new(plan.dns, plan.routes, None),
            roots: Roots::from_pem(&authorities).unwrap(),
            certificates: Arc::new(certificates),
            version_min: VersionMin::default(),
            secret: self.domain.as_bytes().to_vec(),
        });
        let links = Links::new(federation);
        engine.connect_links(links.for_engine());
        let Self { domain, ca, listener, folder } = self;
        let addr = listener.addr();
        Server { domain, engine, links, ca, listener: Some(listener), addr, _folder: folder }
    }
}

/// A way to an address by STARTTLS.
pub fn route(domain: &str, addr: SocketAddr) -> Route {
    let host = addr.ip().to_string();
    Route { domain: domain.into(), host, port: addr.port(), is_direct_tls: false }
}

impl Server {
    pub fn serve(&mut self, stop: &watch::Receiver<bool>) {
        let (certificates, _) = Certificates::load(vec![self.ca.identity()]).unwrap();
        let settings =
            TlsSettings { client_certs: ClientCerts::Optional, ..TlsSettings::default() };
        let acceptor = Arc::new(TlsAcceptor::new(Arc::new(certificates), settings));
        let (links, name) = (self.links.clone(), self.domain.to_owned());
        let s2s = S2sListener::new(Kind::StartTls, Some(acceptor), links, name);
        tokio::spawn(accept(s2s, self.listener.take().unwrap(), stop.clone()));
    }

    /// Waits until nothing waits for others, nor for a word of theirs.
    pub async fn settled(&self) {
        let settled = async {
            while self.links.waiting_bytes() > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let settled = tokio::time::timeout(PATIENCE, settled).await;
        assert!(settled.is_ok(), "{}: {} bytes wait", self.domain, self.links.waiting_bytes());
    }

    pub async fn user(&self) -> User {
        let jid = BareJid::new(&format!("user@{}", self.domain)).unwrap();
        let session = self.engine.bind(&jid, Some("here")).await.unwrap();
        let mut user = User { session };
        user.say("<presence/>").await;
        user.hear().await;
        user
    }
}

/// A signed-in user.
pub struct User {
    session: Arc<Session>,
}

impl User {
    /// Counts stanzas from now on (XEP-0198).
    pub async fn count(&mut self) {
        assert!(self.session.enable_sm(false, None).await.is_none());
    }

    pub async fn say(&mut self, xml: &str) {
        let stanza = Stanza::from_frame(Frame::parse(xml.as_bytes()).unwrap()).unwrap();
        if let Handling::Later(rest) = self.session.handle(stanza) {
            rest.await;
        }
    }

    pub async fn hear(&mut self) -> Stanza {
        let outbox = &self.session.resource.outbox;
        let wait = async {
            loop {
                std::future::poll_fn(|cx| outbox.poll_ready(cx)).await;
                if let Some(Item::Stanza(stanza, ..)) = outbox.pop() {
                    return stanza;
                }
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.unwrap()
    }

    /// The next message.
    pub async fn hear_message(&mut self) -> Stanza {
        loop {
            let stanza = self.hear().await;
            if stanza.message_type().is_some() {
                return stanza;
            }
        }
    }

    /// Whether anything has come that was not heard.
    pub fn has_heard_all(&self) -> bool {
        self.session.resource.outbox.pop().is_none()
    }
}

/// Two servers that know each other.
pub struct Pair {
    pub one: Server,
    pub two: Server,
    _stop: watch::Sender<bool>,
}

/// Two servers; a policy each, and whether they believe the other's authority.
pub async fn pair(one: (bool, Policy), two: (bool, Policy)) -> Pair {
    let (first, second) = (Half::new("one.example"), Half::new("two.example"));
    let plan = |(trusts, policy): (bool, Policy), other: &Half| Plan {
        authorities: if trusts { other.authority() } else { Vec::new() },
        policy,
        routes: vec![other.route()],
        ..Plan::default()
    };
    let (plan_one, plan_two) = (plan(one, &second), plan(two, &first));
    let (mut one, mut two) = (first.join(plan_one).await, second.join(plan_two).await);
    let (stop, stopped) = watch::channel(false);
    one.serve(&stopped);
    two.serve(&stopped);
    Pair { one, two, _stop: stop }
}

/// One server that serves, with what keeps it.
pub async fn alone(half: Half, plan: Plan) -> (Server, watch::Sender<bool>) {
    let mut server = half.join(plan).await;
    let (stop, stopped) = watch::channel(false);
    server.serve(&stopped);
    (server, stop)
}
