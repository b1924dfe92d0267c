//! Components over sockets: what they send and get, their absence, their return, and those that
//! misbehave (XEP-0114).

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use stentor_edge::{ComponentListener, ComponentSettings, Components, OnConflict, Shared, accept};
use stentor_engine::credentials::Credentials;
use stentor_engine::guard::GuardSettings;
use stentor_engine::{
    Clock, Component, Engine, Handling, Host, Hosts, Inbound, Item, Links, Pressure, Session,
    Settings,
};
use stentor_jid::BareJid;
use stentor_stanza::{Condition, ErrorType, Stanza, StanzaError};
use stentor_store::{UnderwayRow, Write};
use stentor_store_sqlite::{Options, Sqlite};
use stentor_stream::component::handshake;
use stentor_stream::fault::Fault;
use stentor_transport::{Certificates, Listener, TlsAcceptor, TlsSettings, dev_ca};
use stentor_xml::Frame;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use zeroize::Zeroizing;

struct Noon(AtomicI64);

impl Clock for Noon {
    fn unix_ms(&self) -> i64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

/// Other servers, as far as components see them.
struct Abroad(mpsc::Sender<Stanza>);

impl Links for Abroad {
    fn push(&self, stanza: Stanza) -> Result<Pressure, StanzaError> {
        self.0.try_send(stanza).map_err(|_| StanzaError::new(Condition::InternalServerError))?;
        Ok(Pressure::Low)
    }
}

/// `capulet.example` with the accounts `juliet` and `nurse`, and a port for components.
struct Server {
    engine: Arc<Engine>,
    components: Arc<Components>,
    abroad: mpsc::Receiver<Stanza>,
    addr: SocketAddr,
    _stop: watch::Sender<bool>,
}

const IRC: &str = "irc.capulet.example";
const BOT: &str = "bot.capulet.example";
const SECRET: &str = "Mercutio";
const HEADER: &str = "<stream:stream xmlns='jabber:component:accept' \
                      xmlns:stream='http://etherx.jabber.org/streams'";

fn settings(domain: &str) -> ComponentSettings {
    ComponentSettings {
        domain: domain.into(),
        secret: Zeroizing::new(SECRET.into()),
        ..ComponentSettings::default()
    }
}

impl Server {
    async fn new() -> Self {
        Self::with(vec![settings(IRC), settings(BOT)], None).await
    }

    async fn with(settings: Vec<ComponentSettings>, acceptor: Option<Arc<TlsAcceptor>>) -> Self {
        let profile = stentor_modules::registry::profile(Settings::default(), BTreeMap::new());
        let host = Host { domain: "capulet.example".into(), profile: Arc::new(profile.unwrap()) };
        let stores = Sqlite::in_memory(&Options::default()).unwrap().stores();
        for name in ["juliet", "nurse"] {
            let owner = BareJid::new(&format!("{name}@capulet.example")).unwrap();
            let create = Write::CreateAccount { owner, created_ms: 0, keys: Vec::new() };
            stores.writer.submit(create).await.unwrap();
        }
        let credentials = Credentials::new(b"secret", 4_096, GuardSettings::default());
        let clock = Arc::new(Noon(AtomicI64::new(1_767_323_045_000)));
        let engine = Engine::new(stores, Hosts::new([host]), clock, credentials);
        let known = settings.iter().map(|s| Component {
            domain: s.domain.clone(),
            name: Some(s.domain.split('.').next().unwrap().to_uppercase()),
            may_federate: s.domain == IRC,
            ..Component::default()
        });
        engine.components.store(Arc::new(stentor_engine::Components::new(known)));
        let (away, abroad) = mpsc::channel(1_024);
        let others: Arc<dyn Links> = Arc::new(Abroad(away));
        let components = Components::new(engine.clone(), settings, Some(others));
        engine.connect_links(components.for_engine());
        let shared = Arc::new(Shared::new(engine.clone()));
        let name = "capulet.example".to_owned();
        let port = ComponentListener::new(acceptor, components.clone(), shared, name);
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let addr = listener.addr();
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(accept(port, listener, stopped));
        Self { engine, components, abroad, addr, _stop: stop }
    }

    async fn user(&self, name: &str) -> User {
        let jid = BareJid::new(&format!("{name}@capulet.example")).unwrap();
        let session = self.engine.bind(&jid, Some("here")).await.unwrap();
        let mut user = User { session };
        user.say("<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>").await;
        user.say("<presence/>").await;
        while user.hear().await.presence_type().is_none() {}
        user
    }

    async fn irc(&self) -> Peer {
        Peer::admitted(self.addr, IRC).await
    }

    /// Waits until no stream of a component stands.
    async fn is_away(&self, domain: &str) {
        while self.components.load_of(domain).unwrap().0 > 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
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
        tokio::time::timeout(PATIENCE, wait).await.unwrap()
    }

    /// The next stanza that is no roster push, in words: `message chat FROM`.
    async fn hears(&mut self) -> String {
        loop {
            let stanza = self.hear().await;
            if stanza.iq_type().is_none_or(|kind| !kind.is_request()) {
                return words(&stanza);
            }
        }
    }

    async fn error(&mut self) -> StanzaError {
        loop {
            if let Some(error) = self.hear().await.error() {
                return error;
            }
        }
    }
}

fn words(stanza: &Stanza) -> String {
    let head = &stanza.head;
    let from = head.from.as_ref().map_or("-", |jid| jid.as_str());
    format!("{} {} {from}", head.kind.name(), head.kind.type_name().unwrap_or("-"))
}

/// A component, typing.
struct Peer {
    tcp: TcpStream,
    heard: String,
}

impl Peer {
    async fn connect(addr: SocketAddr) -> Self {
        Self { tcp: TcpStream::connect(addr).await.unwrap(), heard: String::new() }
    }

    async fn shake(addr: SocketAddr, domain: &str, secret: &str) -> Self {
        let mut peer = Self::connect(addr).await;
        peer.say(&format!("{HEADER} to='{domain}'>")).await;
        let header = peer.until("'>").await;
        let id = header.split(" id='").nth(1).unwrap().split('\'').next().unwrap();
        peer.say(&format!("<handshake>{}</handshake>", handshake(id, secret))).await;
        peer
    }

    async fn admitted(addr: SocketAddr, domain: &str) -> Self {
        let mut peer = Self::shake(addr, domain, SECRET).await;
        assert_eq!(peer.until(">").await, "<handshake/>");
        peer
    }

    async fn say(&mut self, xml: &str) {
        self.tcp.write_all(xml.as_bytes()).await.unwrap();
    }

    /// What comes up to and with `end`.
    async fn until(&mut self, end: &str) -> String {
        loop {
            if let Some(at) = self.heard.find(end) {
                return self.heard.drain(..at + end.len()).collect();
            }
            let mut bytes = [0; 4_096];
            let len = tokio::time::timeout(PATIENCE, self.tcp.read(&mut bytes)).await;
            let len = len.unwrap_or_else(|_| panic!("no {end} in {}", self.heard)).unwrap();
            assert!(len > 0, "the stream ended before {end}: {}", self.heard);
            self.heard.push_str(std::str::from_utf8(&bytes[..len]).unwrap());
        }
    }

    /// All that comes until the server closes.
    async fn rest(mut self) -> String {
        let mut rest = Vec::new();
        tokio::time::timeout(PATIENCE, self.tcp.read_to_end(&mut rest)).await.unwrap().unwrap();
        self.heard + std::str::from_utf8(&rest).unwrap()
    }
}

const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_user_and_a_component_talk_whatever_address_it_uses() {
    let server = Server::new().await;
    let (mut juliet, mut irc) = (server.user("juliet").await, server.irc().await);
    for address in ["irc.capulet.example", "#verona@irc.capulet.example", "a@irc.capulet.example/b"]
    {
        juliet.say(&format!("<message to='{address}' type='chat'><body>O</body></message>")).await;
        let message = irc.until("</message>").await;
        assert!(message.contains(&format!("to='{address}'")), "{message}");
        assert!(message.contains("from='juliet@capulet.example/here'"), "{message}");
        let reply = format!(
            "<message from='{address}' to='juliet@capulet.example' type='chat'>\
                             <body>Ay</body></message>"
        );
        irc.say(&reply).await;
        assert_eq!(juliet.hears().await, format!("message chat {address}"));
    }
    juliet.say("<iq to='irc.capulet.example' type='get' id='v'><query xmlns='jabber:iq:version'/></iq>").await;
    irc.until("</iq>").await;
    irc.say(
        "<iq from='irc.capulet.example' to='juliet@capulet.example/here' type='result' id='v'/>",
    )
    .await;
    assert_eq!(juliet.hears().await, "iq result irc.capulet.example");
    // And it may ask the server, as others may.
    irc.say(
        "<iq from='irc.capulet.example' to='capulet.example' type='get' id='p'>\
             <ping xmlns='urn:xmpp:ping'/></iq>",
    )
    .await;
    assert!(irc.until("/>").await.contains("type='result'"));
    assert_eq!(server.components.metrics.stanzas_in.get(), 5);
}

#[tokio::test]
async fn subscriptions_presence_and_probes_are_those_of_any_contact() {
    let server = Server::new().await;
    let (mut juliet, mut irc) = (server.user("juliet").await, server.irc().await);
    juliet.say("<presence to='nick@irc.capulet.example' type='subscribe'/>").await;
    let ask = irc.until("/>").await;
    assert!(ask.contains("type='subscribe'") && ask.contains("from='juliet@capulet.example'"));
    irc.say("<presence from='nick@irc.capulet.example' to='juliet@capulet.example' type='subscribed'/>\
             <presence from='nick@irc.capulet.example' to='juliet@capulet.example' type='subscribe'/>\
             <presence from='nick@irc.capulet.example/irc' to='juliet@capulet.example'/>").await;
    assert_eq!(juliet.hears().await, "presence subscribed nick@irc.capulet.example");
    assert_eq!(juliet.hears().await, "presence subscribe nick@irc.capulet.example");
    assert_eq!(juliet.hears().await, "presence - nick@irc.capulet.example/irc");
    juliet.say("<presence to='nick@irc.capulet.example' type='subscribed'/>").await;
    assert!(irc.until("/>").await.contains("type='subscribed'"));
    assert!(irc.until("/>").await.contains("from='juliet@capulet.example/here'"), "her presence");
    // RFC 6121 §4.3: she probes when she comes, and the component may.
    irc.say("<presence from='nick@irc.capulet.example' to='juliet@capulet.example' type='probe'/>")
        .await;
    assert!(irc.until("/>").await.contains("from='juliet@capulet.example/here'"));
    juliet.say("<presence type='unavailable'/>").await;
    assert!(irc.until("/>").await.contains("type='unavailable'"));
    juliet.say("<presence/>").await;
    let (presence, probe) = (irc.until("/>").await, irc.until("/>").await);
    assert!(!presence.contains("type="), "{presence}");
    assert!(probe.contains("type='probe'"), "{probe}");
}

#[tokio::test]
async fn one_that_goes_away_is_seen_to_go_and_routed_at_once_when_it_is_back() {
    let server = Server::new().await;
    let (mut juliet, mut irc) = (server.user("juliet").await, server.irc().await);
    irc.say(
        "<presence from='#verona@irc.capulet.example/romeo' to='juliet@capulet.example/here'/>\
             <presence from='#verona@irc.capulet.example/tybalt' to='juliet@capulet.example/here'/>\
             <presence from='#verona@irc.capulet.example/tybalt' type='unavailable' \
             to='juliet@capulet.example/here'/>",
    )
    .await;
    for expected in ["- romeo", "- tybalt", "unavailable tybalt"] {
        let (kind, nick) = expected.split_once(' ').unwrap();
        let expected = format!("presence {kind} #verona@irc.capulet.example/{nick}");
        assert_eq!(juliet.hears().await, expected);
    }
    drop(irc);
    assert_eq!(juliet.hears().await, "presence unavailable #verona@irc.capulet.example/romeo");
    server.is_away(IRC).await;
    for stanza in [
        "<message to='a@irc.capulet.example' id='1' type='chat'><body>x</body></message>",
        "<iq to='irc.capulet.example' id='2' type='get'><ping xmlns='urn:xmpp:ping'/></iq>",
        "<presence to='#verona@irc.capulet.example/j'/>",
    ] {
        juliet.say(stanza).await;
        let error = juliet.error().await;
        assert_eq!(error.condition, Condition::RemoteServerTimeout, "{stanza}");
        assert_eq!(error.kind, ErrorType::Wait, "{stanza}");
    }
    let mut irc = server.irc().await;
    juliet.say("<message to='a@irc.capulet.example' id='3'><body>again</body></message>").await;
    assert!(irc.until("</message>").await.contains("again"));
}

#[tokio::test]
async fn strangers_get_the_error_that_they_deserve() {
    let server = Server::new().await;
    let mut unknown = Peer::connect(server.addr).await;
    unknown.say(&format!("{HEADER} to='news.capulet.example'>")).await;
    let heard = unknown.until("</stream:stream>").await;
    assert!(
        heard.contains("<host-unknown ") && heard.contains("from='capulet.example'"),
        "{heard}"
    );
    let mut false_one = Peer::shake(server.addr, IRC, "Tybalt").await;
    assert!(false_one.until("</stream:stream>").await.contains("<not-authorized "));
    // A domain of ours is nobody else's.
    let mut host = Peer::connect(server.addr).await;
    host.say(&format!("{HEADER} to='capulet.example'>")).await;
    assert!(host.until("</stream:stream>").await.contains("<host-unknown "));
    let mut irc = server.irc().await;
    let mut second = Peer::shake(server.addr, IRC, SECRET).await;
    assert!(second.until("</stream:stream>").await.contains("<conflict "));
    irc.say("<message from='juliet@capulet.example' to='nurse@capulet.example'><body>x</body></message>").await;
    assert!(irc.until("</stream:stream>").await.contains("<invalid-from "));
}

#[tokio::test]
async fn a_newcomer_takes_the_place_of_the_old_one_where_that_is_wanted() {
    let replaces = ComponentSettings { on_conflict: OnConflict::Replace, ..settings(IRC) };
    let server = Server::with(vec![replaces], None).await;
    let mut juliet = server.user("juliet").await;
    let mut old = server.irc().await;
    let mut new = server.irc().await;
    assert!(old.until("</stream:stream>").await.contains("<conflict "));
    drop(old);
    while server.components.load_of(IRC).unwrap().0 > 1 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    juliet.say("<message to='a@irc.capulet.example'><body>x</body></message>").await;
    new.until("</message>").await;
}

#[tokio::test]
async fn several_streams_share_the_senders_and_none_is_lost_when_one_breaks() {
    let several = ComponentSettings { streams_max: 3, ..settings(IRC) };
    let server = Server::with(vec![several], None).await;
    // What each stream gets, as `(stream, sender, number)`.
    let (told, mut got) = mpsc::channel(1_024);
    let mut streams = Vec::new();
    for stream in 0..3 {
        let (mut peer, told) = (server.irc().await, told.clone());
        streams.push(tokio::spawn(async move {
            loop {
                let text = peer.until("</message>").await;
                let id = text.split(" id='").nth(1).unwrap().split('\'').next().unwrap();
                let (from, number) = id.split_once('-').unwrap();
                let (from, number) = (from.parse::<usize>(), number.parse::<usize>());
                told.send((stream, from.unwrap(), number.unwrap())).await.unwrap();
            }
        }));
    }
    let inbound = Arc::new(Inbound::new(server.engine.clone()));
    let send = |from: usize, number: usize| {
        let head = format!("from='u{from}@far.example' to='a@{IRC}' id='{from}-{number}'");
        let xml = format!("<message {head}><body>x</body></message>");
        drop(inbound.handle(Stanza::parse(xml.as_bytes()).unwrap()));
    };
    for from in 0..60 {
        (0..3).for_each(|number| send(from, number));
    }
    let mut by_sender: BTreeMap<usize, Vec<(usize, usize)>> = BTreeMap::new();
    for _ in 0..180 {
        let (stream, from, number) = got.recv().await.unwrap();
        by_sender.entry(from).or_default().push((stream, number));
    }
    for (from, got) in &by_sender {
        let stream = got[0].0;
        assert_eq!(*got, [(stream, 0), (stream, 1), (stream, 2)], "sender {from}");
    }
    for stream in 0..3 {
        let share = by_sender.values().filter(|got| got[0].0 == stream).count();
        assert!(share >= 5, "stream {stream} has {share} of 60 senders");
    }
    streams.remove(0).abort();
    while server.components.load_of(IRC).unwrap().0 > 2 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    (0..60).for_each(|from| send(from, 3));
    for _ in 0..60 {
        let (stream, from, number) = got.recv().await.unwrap();
        assert_eq!(number, 3);
        // Only those of the one that broke have moved.
        let before = by_sender[&from][0].0;
        assert!(stream == before || before == 0, "sender {from}: {before} to {stream}");
    }
}

#[tokio::test]
async fn one_that_reads_nothing_costs_its_bound_and_nobody_else_anything() {
    let small = ComponentSettings { queue_bytes_max: 64 * 1024, ..settings(IRC) };
    let server = Server::with(vec![small, settings(BOT)], None).await;
    let (mut juliet, mut nurse) = (server.user("juliet").await, server.user("nurse").await);
    let deaf = server.irc().await;
    let mut bot = Peer::admitted(server.addr, BOT).await;
    let inbound = Arc::new(Inbound::new(server.engine.clone()));
    let body = "x".repeat(16 * 1024);
    let flood = format!(
        "<message from='a@far.example/r' to='a@{IRC}' id='f'><body>{body}</body></message>"
    );
    let flood = Stanza::parse(flood.as_bytes()).unwrap();
    let mut sent = 0;
    while server.components.metrics.returned.get() == 0 {
        drop(inbound.handle(flood.clone()));
        sent += 1;
        assert!(sent < 100_000, "nothing bounds it");
        let (_, waiting) = server.components.load_of(IRC).unwrap();
        assert!(waiting <= 64 * 1024, "{waiting}");
        tokio::task::yield_now().await;
    }
    // Those who send to it hear of it; those who do not, see nothing.
    juliet.say(&format!("<message to='a@{IRC}' id='1'><body>{body}</body></message>")).await;
    assert_eq!(juliet.error().await.condition, Condition::ResourceConstraint);
    nurse.say("<message to='juliet@capulet.example' type='chat'><body>Anon</body></message>").await;
    while juliet.hear().await.message_type().is_none() {}
    nurse.say("<message to='bot.capulet.example' type='chat'><body>news?</body></message>").await;
    assert!(bot.until("</message>").await.contains("news?"));
    drop(deaf);
    server.is_away(IRC).await;
    assert_eq!(server.components.load_of(IRC), Some((0, 0)));
}

#[tokio::test]
async fn other_servers_reach_those_that_may_be_reached() {
    let mut server = Server::new().await;
    let inbound = Arc::new(Inbound::new(server.engine.clone()));
    let (mut irc, mut bot) = (server.irc().await, Peer::admitted(server.addr, BOT).await);
    let comes = |to: &str| {
        let xml = format!("<message from='romeo@far.example/x' to='{to}' id='1'><body/></message>");
        drop(inbound.handle(Stanza::parse(xml.as_bytes()).unwrap()));
    };
    comes("a@irc.capulet.example");
    assert!(irc.until("</message>").await.contains("romeo@far.example/x"));
    comes("a@bot.capulet.example");
    let error = server.abroad.recv().await.unwrap();
    assert_eq!(error.error().unwrap().condition, Condition::ItemNotFound);
    let leaves = |from: &str| {
        format!("<message from='{from}' to='romeo@far.example' id='2'><body/></message>")
    };
    irc.say(&leaves("a@irc.capulet.example")).await;
    assert_eq!(words(&server.abroad.recv().await.unwrap()), "message - a@irc.capulet.example");
    bot.say(&leaves("bot.capulet.example")).await;
    assert!(bot.until("</message>").await.contains("<not-allowed "));
    // Components speak to each other.
    bot.say("<message from='bot.capulet.example' to='x@irc.capulet.example'><body>psst</body></message>").await;
    assert!(irc.until("</message>").await.contains("psst"));
    assert!(server.engine.federates(IRC) && !server.engine.federates(BOT));
}

#[tokio::test]
async fn the_domain_lists_its_components() {
    let server = Server::new().await;
    let mut juliet = server.user("juliet").await;
    juliet
        .say(
            "<iq to='capulet.example' type='get' id='d'>\
                <query xmlns='http://jabber.org/protocol/disco#items'/></iq>",
        )
        .await;
    let reply = String::from_utf8(juliet.hear().await.to_bytes()).unwrap();
    for item in [
        "<item jid='bot.capulet.example' name='BOT'/>",
        "<item jid='irc.capulet.example' name='IRC'/>",
    ] {
        assert!(reply.contains(item), "{reply}");
    }
}

#[tokio::test]
async fn tls_may_come_first() {
    let folder = tempfile::tempdir().unwrap();
    let ca = dev_ca::open(folder.path(), &["capulet.example".to_owned()]).unwrap();
    let (certificates, _) = Certificates::load(vec![ca.identity()]).unwrap();
    let acceptor = TlsAcceptor::new(Arc::new(certificates), TlsSettings::default());
    let server = Server::with(vec![settings(IRC)], Some(Arc::new(acceptor))).await;
    // In clear nobody gets anywhere.
    let mut clear = Peer::connect(server.addr).await;
    clear.say(&format!("{HEADER} to='{IRC}'>")).await;
    let mut heard = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, clear.tcp.read_to_end(&mut heard)).await.unwrap();
    assert!(!heard.starts_with(b"<"), "{heard:?}");
    let connector = stentor_transport::TlsConnector::new(stentor_transport::ConnectorSettings {
        trust: stentor_transport::Trust::JudgedLater,
        alpn: Vec::new(),
        identity: None,
        version_min: stentor_transport::VersionMin::default(),
    })
    .unwrap();
    let mut conn = stentor_transport::dial(server.addr).await.unwrap();
    conn.connect_tls(&connector, "capulet.example", &[]).await.unwrap();
    let header = format!("{HEADER} to='{IRC}'>");
    let mut rest = header.as_bytes();
    while !rest.is_empty() {
        let len = poll_fn(|cx| conn.poll_write(cx, rest)).await.unwrap();
        rest = &rest[len..];
    }
    poll_fn(|cx| conn.poll_flush(cx)).await.unwrap();
    let mut room = vec![0; 4_096];
    let mut buffer = tokio::io::ReadBuf::new(&mut room);
    poll_fn(|cx| conn.poll_read(cx, &mut buffer)).await.unwrap();
    let heard = String::from_utf8_lossy(buffer.filled());
    assert!(heard.contains("from='irc.capulet.example'"), "{heard}");
}

#[tokio::test]
async fn a_reload_ends_what_is_no_longer_wanted() {
    let server = Server::new().await;
    let (irc, bot) = (server.irc().await, Peer::admitted(server.addr, BOT).await);
    let other = ComponentSettings { secret: Zeroizing::new("Benvolio".into()), ..settings(BOT) };
    server.components.replace(vec![other]);
    assert!(irc.rest().await.contains("<host-gone "));
    assert!(bot.rest().await.contains("<policy-violation "));
    assert_eq!(server.components.load_of(IRC), None);
    let mut bot = Peer::shake(server.addr, BOT, "Benvolio").await;
    bot.until("<handshake/>").await;
    server.components.close_all(&Fault::Shutdown);
    assert!(bot.rest().await.contains("<system-shutdown "));
}

/// Numbers of what is in the store until it has arrived.
async fn kept(server: &Server) -> Vec<u64> {
    server.engine.stores.writer.barrier().await.unwrap();
    let page = server.engine.stores.underway.page(0, 100).await.unwrap();
    page.stanzas.iter().map(|row| row.number).collect()
}

#[tokio::test]
async fn what_an_earlier_process_left_begins_the_first_stream_or_comes_back() {
    let hasty = ComponentSettings { return_wait_ms: 20, ..settings(BOT) };
    let server = Server::with(vec![settings(IRC), hasty], None).await;
    let mut juliet = server.user("juliet").await;
    for (number, to) in [(1, IRC), (2, BOT), (3, IRC)] {
        let addresses = format!("from='juliet@capulet.example/here' to='{to}'");
        let xml = format!("<message {addresses} type='chat' id='left-{number}'><body/></message>");
        let row = UnderwayRow { number, since_ms: 0, stanza: xml.into_bytes().into() };
        server.engine.stores.writer.submit(Write::PutUnderway(row)).await.unwrap();
    }
    assert_eq!(server.engine.restore_underway().await, Ok(3));
    let error = juliet.error().await;
    assert_eq!((error.condition, error.kind), (Condition::RemoteServerTimeout, ErrorType::Wait));
    assert_eq!(kept(&server).await, [1, 3], "the other may still come");
    let mut irc = server.irc().await;
    juliet.say("<message to='irc.capulet.example' type='chat' id='new'><body/></message>").await;
    for id in ["left-1", "left-3", "new"] {
        let message = irc.until("</message>").await;
        assert!(message.contains(&format!("id='{id}'")), "{message}");
        assert_eq!(message.contains("stamp='1970-01-01T00:00:00"), id != "new", "{message}");
    }
    while !kept(&server).await.is_empty() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
