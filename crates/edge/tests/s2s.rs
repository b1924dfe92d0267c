//! Two servers on loopback: certificates, dialback, messages both ways, and what must not be.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use stentor_edge::s2s::{
    Discovery, Federation, FederationParts, Links, Policy, Route, S2sListener,
};
use stentor_edge::{Admission, Kind, Metrics, Offers, Shared, accept};
use stentor_engine::credentials::Credentials;
use stentor_engine::guard::GuardSettings;
use stentor_engine::{
    Clock, Engine, Handling, Host, Hosts, Item, Session, Settings as ProfileSettings,
};
use stentor_jid::BareJid;
use stentor_stanza::{Condition, Stanza};
use stentor_store::Write;
use stentor_store_sqlite::{Options, Sqlite};
use stentor_transport::{
    Certificates, ClientCerts, Listener, Roots, TlsAcceptor, TlsSettings, VersionMin, dev_ca,
};
use stentor_xml::Frame;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;

struct Noon(AtomicI64);

impl Clock for Noon {
    fn unix_ms(&self) -> i64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

/// One server with one domain and the account `user`.
struct Server {
    domain: &'static str,
    engine: Arc<Engine>,
    links: Arc<Links>,
    ca: dev_ca::DevCa,
    listener: Option<Listener>,
    addr: SocketAddr,
    _folder: tempfile::TempDir,
}

/// What a server is told about the other.
struct Plan {
    /// Whether it believes the other's authority.
    trusts: bool,
    policy: Policy,
}

impl Default for Plan {
    fn default() -> Self {
        Self { trusts: true, policy: Policy::default() }
    }
}

struct Half {
    domain: &'static str,
    ca: dev_ca::DevCa,
    listener: Listener,
    folder: tempfile::TempDir,
}

impl Half {
    fn new(domain: &'static str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ca = dev_ca::open(folder.path(), &[domain.to_owned()]).unwrap();
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        Self { domain, ca, listener, folder }
    }

    async fn join(self, other: (&str, SocketAddr, &[u8]), plan: Plan) -> Server {
        let profile =
            stentor_modules::registry::profile(ProfileSettings::default(), BTreeMap::new());
        let host = Host { domain: self.domain.into(), profile: Arc::new(profile.unwrap()) };
        let stores = Sqlite::in_memory(&Options::default()).unwrap().stores();
        let owner = BareJid::new(&format!("user@{}", self.domain)).unwrap();
        let create = Write::CreateAccount { owner, created_ms: 0, keys: Vec::new() };
        stores.writer.submit(create).await.unwrap();
        let credentials = Credentials::new(b"secret", 4_096, GuardSettings::default());
        let clock = Arc::new(Noon(AtomicI64::new(1_767_323_045_000)));
        let engine = Engine::new(stores, Hosts::new([host]), clock, credentials);
        let authority = std::fs::read(&self.ca.authority).unwrap();
        let route = Route {
            domain: other.0.into(),
            host: other.1.ip().to_string(),
            port: other.1.port(),
            is_direct_tls: false,
        };
        let mut identity = self.ca.identity();
        identity.names = vec![self.domain.to_owned()];
        let federation = Federation::new(FederationParts {
            engine: engine.clone(),
            policy: plan.policy,
            discovery: Discovery::new(None, vec![route]),
            roots: Roots::from_pem(if plan.trusts { other.2 } else { &authority }).unwrap(),
            identities: vec![identity],
            version_min: VersionMin::default(),
            secret: self.domain.as_bytes().to_vec(),
        });
        let links = Links::new(federation.unwrap());
        engine.connect_links(links.for_engine());
        let Self { domain, ca, listener, folder } = self;
        let addr = listener.addr();
        Server { domain, engine, links, ca, listener: Some(listener), addr, _folder: folder }
    }
}

impl Server {
    fn serve(&mut self, stop: &watch::Receiver<bool>) {
        let (certificates, _) = Certificates::load(vec![self.ca.identity()]).unwrap();
        let settings =
            TlsSettings { client_certs: ClientCerts::Optional, ..TlsSettings::default() };
        let acceptor = Arc::new(TlsAcceptor::new(Arc::new(certificates), settings));
        let shared = Arc::new(Shared {
            engine: self.engine.clone(),
            admission: Arc::new(Admission::default()),
            metrics: Metrics::default(),
            offers: Offers::default(),
        });
        let (links, name) = (self.links.clone(), self.domain.to_owned());
        let s2s = S2sListener::new(Kind::StartTls, Some(acceptor), links, shared, name);
        tokio::spawn(accept(s2s, self.listener.take().unwrap(), stop.clone()));
    }

    async fn user(&self) -> User {
        let jid = BareJid::new(&format!("user@{}", self.domain)).unwrap();
        let session = self.engine.bind(&jid, Some("here")).await.unwrap();
        let mut user = User { session };
        user.say("<presence/>").await;
        user.hear().await;
        user
    }
}

struct User {
    session: Arc<Session>,
}

impl User {
    async fn say(&mut self, xml: &str) {
        let stanza = Stanza::from_frame(Frame::parse(xml.as_bytes()).unwrap()).unwrap();
        if let Handling::Later(rest) = self.session.handle(stanza) {
            rest.await;
        }
    }

    async fn hear(&mut self) -> Stanza {
        let outbox = &self.session.resource.outbox;
        let wait = async {
            loop {
                std::future::poll_fn(|cx| outbox.poll_ready(cx)).await;
                if let Some(Item::Stanza(stanza, ..)) = outbox.pop() {
                    return stanza;
                }
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(60), wait).await.unwrap()
    }

    /// The next message.
    async fn hear_message(&mut self) -> Stanza {
        loop {
            let stanza = self.hear().await;
            if stanza.message_type().is_some() {
                return stanza;
            }
        }
    }
}

struct Pair {
    one: Server,
    two: Server,
    _stop: watch::Sender<bool>,
}

async fn pair(one: Plan, two: Plan) -> Pair {
    let (first, second) = (Half::new("one.example"), Half::new("two.example"));
    let (a, b) = (first.listener.addr(), second.listener.addr());
    let authority = |half: &Half| std::fs::read(&half.ca.authority).unwrap();
    let (ca_one, ca_two) = (authority(&first), authority(&second));
    let mut one = first.join(("two.example", b, &ca_two), one).await;
    let mut two = second.join(("one.example", a, &ca_one), two).await;
    let (stop, stopped) = watch::channel(false);
    one.serve(&stopped);
    two.serve(&stopped);
    Pair { one, two, _stop: stop }
}

async fn chat(pair: &Pair) {
    let (mut here, mut there) = (pair.one.user().await, pair.two.user().await);
    here.say("<message to='user@two.example' type='chat'><body>to</body></message>").await;
    let message = there.hear_message().await;
    assert_eq!(message.head.from.as_ref().unwrap().as_str(), "user@one.example/here");
    there.say("<message to='user@one.example/here' type='chat'><body>fro</body></message>").await;
    let answer = here.hear_message().await;
    assert_eq!(answer.head.from.as_ref().unwrap().as_str(), "user@two.example/here");
    assert!(answer.error().is_none(), "{:?}", answer.error());
}

#[tokio::test]
async fn servers_with_good_certificates_talk_both_ways() {
    let pair = pair(Plan::default(), Plan::default()).await;
    chat(&pair).await;
    // One stream carries both directions (XEP-0288).
    assert_eq!(pair.one.links.open() + pair.two.links.open(), 2);
    assert_eq!(pair.two.links.waiting_bytes(), 0);
}

#[tokio::test]
async fn without_certificates_they_call_back() {
    let doubtful = || Plan { trusts: false, ..Plan::default() };
    let pair = pair(doubtful(), doubtful()).await;
    chat(&pair).await;
}

#[tokio::test]
async fn who_insists_on_certificates_is_not_reached_without() {
    let strict = Policy { allows_dialback: false, ..Policy::default() };
    let pair =
        pair(Plan { trusts: true, policy: strict.clone() }, Plan { trusts: false, policy: strict })
            .await;
    let mut here = pair.one.user().await;
    here.say("<message to='user@two.example' id='1'><body>x</body></message>").await;
    let error = here.hear_message().await.error().unwrap();
    assert_eq!(error.condition, Condition::RemoteServerTimeout);
}

#[tokio::test]
async fn messages_wait_in_order_while_it_connects() {
    let pair = pair(Plan::default(), Plan::default()).await;
    let (mut here, mut there) = (pair.one.user().await, pair.two.user().await);
    for n in 0..50 {
        here.say(&format!("<message to='user@two.example' type='chat' id='{n}'><body/></message>"))
            .await;
    }
    for n in 0..50 {
        let message = there.hear_message().await;
        assert_eq!(message.head.id.as_deref(), Some(n.to_string().as_str()));
    }
}

#[tokio::test]
async fn blocked_domains_are_refused_at_once_and_absent_servers_after_an_attempt() {
    let policy = Policy { block: vec!["two.example".into()], ..Policy::default() };
    let pair = pair(Plan { trusts: true, policy }, Plan::default()).await;
    let mut here = pair.one.user().await;
    here.say("<message to='user@two.example' id='1'><body>x</body></message>").await;
    let error = here.hear_message().await.error().unwrap();
    assert_eq!(error.condition, Condition::NotAllowed);
    // The other side is refused as well.
    let mut there = pair.two.user().await;
    there.say("<message to='user@one.example' id='2'><body>x</body></message>").await;
    let error = there.hear_message().await.error().unwrap();
    assert_eq!(error.condition, Condition::RemoteServerTimeout);
    // Nobody listens there.
    let half = Half::new("three.example");
    let lonely = half.join(
        ("two.example", "127.0.0.1:1".parse().unwrap(), b""),
        Plan { trusts: false, policy: Policy::default() },
    );
    let lonely = lonely.await;
    let mut user = lonely.user().await;
    for _ in 0..2 {
        // The second time nobody is asked again so soon.
        user.say("<message to='user@two.example' id='3'><body>x</body></message>").await;
        let error = user.hear_message().await.error().unwrap();
        assert_eq!(error.condition, Condition::RemoteServerTimeout);
    }
}

/// What a peer types that has no certificate and no domain.
async fn type_at(addr: SocketAddr, text: &str) -> String {
    let mut tcp = TcpStream::connect(addr).await.unwrap();
    tcp.write_all(text.as_bytes()).await.unwrap();
    let mut heard = Vec::new();
    let read = tcp.read_to_end(&mut heard);
    let _ = tokio::time::timeout(std::time::Duration::from_secs(30), read).await;
    String::from_utf8_lossy(&heard).into_owned()
}

#[tokio::test]
async fn strangers_get_the_error_that_they_deserve() {
    let pair = pair(Plan::default(), Plan::default()).await;
    let header = |to: &str| {
        format!(
            "<?xml version='1.0'?><stream:stream xmlns='jabber:server' \
             xmlns:db='jabber:server:dialback' xmlns:stream='http://etherx.jabber.org/streams' \
             from='evil.example' to='{to}' version='1.0'>"
        )
    };
    for (text, condition) in [
        (header("nowhere.example"), "host-unknown"),
        (
            header("one.example") + "<message from='a@evil.example' to='user@one.example'/>",
            "not-authorized",
        ),
        (
            header("one.example") + "<db:result from='two.example' to='one.example' type='valid'/>",
            "policy-violation",
        ),
        (header("one.example") + "<rubbish", ""),
        ("<x/>".to_owned(), "invalid-namespace"),
    ] {
        let closing = if condition.is_empty() { "</stream:stream>" } else { "" };
        let heard = type_at(pair.one.addr, &(text.clone() + closing)).await;
        let expected = if condition.is_empty() { "not-well-formed" } else { condition };
        assert!(heard.contains(&format!("<{expected} ")), "{text}: {heard}");
    }
    // Dialback in clear is refused where TLS is required, and the stream lives on.
    let mut tcp = TcpStream::connect(pair.one.addr).await.unwrap();
    let text =
        header("one.example") + "<db:result from='evil.example' to='one.example'>key</db:result>";
    tcp.write_all(text.as_bytes()).await.unwrap();
    let mut heard = String::new();
    let mut bytes = [0; 1024];
    while !heard.contains("</db:result>") {
        let len = tcp.read(&mut bytes).await.unwrap();
        assert!(len > 0, "{heard}");
        heard.push_str(std::str::from_utf8(&bytes[..len]).unwrap());
    }
    assert!(heard.contains("<policy-violation "), "{heard}");
}
