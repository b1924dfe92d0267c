//! Client connections over real sockets, plain and under TLS.

#![allow(clippy::unwrap_used, clippy::missing_panics_doc)]

use std::net::SocketAddr;
use std::sync::Arc;

use stentor_edge::{C2sListener, Kind, Shared, accept};
use stentor_engine::Close;
use stentor_jid::BareJid;
use stentor_sasl::{Hash, ScramKeys};
use stentor_store::{KeyHash, KeyRow, Write};
use stentor_stream::c2s::Settings;
use stentor_stream::fault::{Fault, StreamCondition};
use stentor_stream::initiator::Extended;
use stentor_testkit::{Login, TcpClient, Tls, World};
use stentor_transport::{
    Certificates, ConnectorSettings, Listener, Roots, TlsAcceptor, TlsConnector, TlsSettings,
    Trust, VersionMin, dev_ca,
};
use tokio::sync::watch;

struct Server {
    world: World,
    shared: Arc<Shared>,
    plain: SocketAddr,
    starttls: SocketAddr,
    direct: SocketAddr,
    connector: TlsConnector,
    _folder: tempfile::TempDir,
    _stop: watch::Sender<bool>,
}

impl Server {
    async fn start() -> Self {
        let world = World::new();
        for name in ["juliet@capulet.example", "romeo@montague.example"] {
            let jid = BareJid::new(name).unwrap();
            world.engine.create_account(&jid, "secret".to_owned()).await.unwrap();
        }
        let folder = tempfile::tempdir().unwrap();
        let hosts = ["capulet.example".to_owned(), "montague.example".to_owned()];
        let ca = dev_ca::open(folder.path(), &hosts).unwrap();
        let (certificates, _) = Certificates::load(vec![ca.identity()]).unwrap();
        let acceptor = Arc::new(TlsAcceptor::new(Arc::new(certificates), TlsSettings::default()));
        let roots = Roots::from_pem(&std::fs::read(&ca.authority).unwrap()).unwrap();
        let connector = TlsConnector::new(ConnectorSettings {
            trust: Trust::Roots(roots),
            alpn: Vec::new(),
            identity: None,
            version_min: VersionMin::default(),
        })
        .unwrap();
        let shared = Arc::new(Shared::new(world.engine.clone()));
        let (stop, stopped) = watch::channel(false);
        let listen = |kind, acceptor: Option<Arc<TlsAcceptor>>, tls_required| {
            let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
            let addr = listener.addr();
            let c2s = Arc::new(C2sListener {
                kind,
                settings: Arc::new(Settings::default()).into(),
                tls_required,
                acceptor,
                shared: shared.clone(),
            });
            tokio::spawn(accept(c2s, listener, stopped.clone()));
            addr
        };
        let plain = listen(Kind::StartTls, None, false);
        let starttls = listen(Kind::StartTls, Some(acceptor.clone()), true);
        let direct = listen(Kind::DirectTls, Some(acceptor), true);
        Self { world, shared, plain, starttls, direct, connector, _folder: folder, _stop: stop }
    }

    async fn login<'a>(&'a self, addr: SocketAddr, jid: &'a str, tls: Tls<'a>) -> TcpClient {
        TcpClient::connect(Login { addr, jid, password: "secret", tls }).await.unwrap()
    }
}

async fn ping(client: &mut TcpClient) {
    client.send("<iq type='get' id='p'><ping xmlns='urn:xmpp:ping'/></iq>").await.unwrap();
    client.wait_for(|s| s.head.id.as_deref() == Some("p")).await.unwrap();
}

#[tokio::test]
async fn two_people_chat_over_each_kind_of_port() {
    let server = Server::start().await;
    let ports = [
        (server.plain, Tls::Off),
        (server.starttls, Tls::Start(&server.connector)),
        (server.direct, Tls::Direct(&server.connector)),
    ];
    for (addr, tls) in ports {
        let mut juliet = server.login(addr, "juliet@capulet.example/balcony", tls).await;
        let mut romeo = server.login(addr, "romeo@montague.example/orchard", tls).await;
        romeo.send("<presence/>").await.unwrap();
        romeo.wait_for(stentor_stanza_is_presence).await.unwrap();
        juliet
            .send("<message type='chat' to='romeo@montague.example'><body>Hello</body></message>")
            .await
            .unwrap();
        let hello = romeo.receive().await.unwrap();
        assert_eq!(hello.head.from.as_ref().unwrap().as_str(), "juliet@capulet.example/balcony");
        juliet.close().await;
        romeo.close().await;
    }
    assert_eq!(server.shared.metrics.accepted.get(), 6);
}

fn stentor_stanza_is_presence(stanza: &stentor_stanza::Stanza) -> bool {
    stanza.presence_type().is_some()
}

#[tokio::test]
async fn tls_1_3_gives_channel_binding_and_is_used() {
    let server = Server::start().await;
    let tls = Tls::Direct(&server.connector);
    let client = server.login(server.direct, "juliet@capulet.example/a", tls).await;
    assert!(client.facts().tls.as_ref().unwrap().exporter.is_some());
}

#[tokio::test]
async fn a_wrong_password_is_refused_and_counted() {
    let server = Server::start().await;
    let login = Login {
        addr: server.plain,
        jid: "juliet@capulet.example/a",
        password: "wrong",
        tls: Tls::Off,
    };
    assert!(TcpClient::connect(login).await.is_err());
    assert!(server.world.engine.metrics.sign_ins_failed.get() > 0);
}

#[tokio::test]
async fn messages_of_a_burst_arrive_in_order() {
    let server = Server::start().await;
    let tls = Tls::Start(&server.connector);
    let mut juliet = server.login(server.starttls, "juliet@capulet.example/a", tls).await;
    let mut romeo = server.login(server.starttls, "romeo@montague.example/b", tls).await;
    romeo.send("<presence/>").await.unwrap();
    ping(&mut romeo).await;
    let sending = async {
        for n in 0..1_000 {
            let body = if n % 7 == 0 { "x".repeat(20_000) } else { "x".to_owned() };
            let message = format!(
                "<message type='chat' id='{n}' to='romeo@montague.example'><body>{body}</body></message>"
            );
            juliet.send(&message).await.unwrap();
        }
    };
    let receiving = async {
        for n in 0..1_000 {
            let message = romeo.wait_for(|s| s.message_type().is_some()).await.unwrap();
            assert_eq!(message.head.id.as_deref(), Some(n.to_string().as_str()));
        }
    };
    tokio::join!(sending, receiving);
}

#[tokio::test]
async fn what_a_dead_client_did_not_take_is_kept_and_delivered_once() {
    let server = Server::start().await;
    let mut juliet = server.login(server.plain, "juliet@capulet.example/a", Tls::Off).await;
    let first = "<message type='chat' id='1' to='romeo@montague.example'><body>x</body></message>";
    juliet.send(first).await.unwrap();
    ping(&mut juliet).await;
    for resource in ["romeo@montague.example/1", "romeo@montague.example/2"] {
        let mut romeo = server.login(server.plain, resource, Tls::Off).await;
        romeo.send("<presence/>").await.unwrap();
        ping(&mut romeo).await;
        romeo.send("<iq type='get' id='q'><ping xmlns='urn:xmpp:ping'/></iq>").await.unwrap();
        let mut messages = 0;
        loop {
            let stanza = romeo.receive().await.unwrap();
            messages += usize::from(stanza.message_type().is_some());
            if stanza.head.id.as_deref() == Some("q") {
                break;
            }
        }
        let _ = messages;
        romeo.close().await;
    }
    let stored =
        server.world.engine.stores.offline.usage(&BareJid::new("romeo@montague.example").unwrap());
    server.world.engine.stores.writer.barrier().await.unwrap();
    assert_eq!(stored.await.unwrap().count, 0);
}

#[tokio::test]
async fn a_stopping_server_says_so() {
    let server = Server::start().await;
    let mut juliet = server.login(server.plain, "juliet@capulet.example/a", Tls::Off).await;
    server.world.engine.close_all(Close::Shutdown);
    let fault = juliet.receive().await.unwrap_err().unwrap();
    assert!(matches!(fault, Fault::ByPeer(e) if e.condition == StreamCondition::SystemShutdown));
}

#[tokio::test]
async fn rubbish_ends_one_stream_and_no_other() {
    let server = Server::start().await;
    let mut juliet = server.login(server.plain, "juliet@capulet.example/a", Tls::Off).await;
    let mut romeo = server.login(server.plain, "romeo@montague.example/b", Tls::Off).await;
    juliet.send_raw(b"<message to='romeo@montague.example'><body>x</message>").await.unwrap();
    let fault = juliet.receive().await.unwrap_err().unwrap();
    assert!(matches!(fault, Fault::ByPeer(e) if e.condition == StreamCondition::NotWellFormed));
    ping(&mut romeo).await;
    server.login(server.plain, "juliet@capulet.example/a", Tls::Off).await;
}

/// An account that came from elsewhere, with keys of the weakest hash only (XEP-0388 §2.1,
/// XEP-0480): it gets in by what it has, and has all of them afterwards.
#[tokio::test]
async fn an_account_with_old_keys_signs_in_and_gets_the_others() {
    let server = Server::start().await;
    let stores = server.world.stores();
    let old = BareJid::new("old@capulet.example").unwrap();
    let keys = ScramKeys::derive(Hash::Sha1, "secret", b"salt of old", 4_096).unwrap();
    let row = KeyRow {
        hash: KeyHash::Sha1,
        iterations: keys.iterations,
        salt: keys.salt,
        stored_key: keys.stored_key,
        server_key: keys.server_key,
    };
    let create = Write::CreateAccount { owner: old.clone(), created_ms: 0, keys: vec![row] };
    stores.writer.submit(create).await.unwrap();
    let tls = Tls::Direct(&server.connector);
    let login =
        Login { addr: server.direct, jid: "old@capulet.example/a", password: "secret", tls };
    // The old profile offers nothing that cannot work either.
    TcpClient::connect(login.clone()).await.unwrap().close().await;
    assert_eq!(stores.accounts.hashes(&old).await, Ok(vec![KeyHash::Sha1]));

    let extended = Extended { upgrades: true, ..Extended::default() };
    TcpClient::connect_with(login.clone(), Some(extended)).await.unwrap().close().await;
    let all = stores.accounts.hashes(&old).await;
    assert_eq!(all, Ok(KeyHash::ALL.to_vec()));
    TcpClient::connect(login).await.unwrap().close().await;
}
