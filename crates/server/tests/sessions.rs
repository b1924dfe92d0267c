//! What sessions notice of reloads, of administrators and of a stop, and what outlives it.

#![allow(clippy::unwrap_used)]

mod support;

use rustix::process::Signal;
use stentor_stanza::Kind;
use stentor_stream::fault::Fault;
use stentor_stream::initiator::{Extended, HeldToken};
use stentor_stream::sign_in::{BindRequest, UserAgent};
use stentor_testkit::{Login, TcpClient, Tls};
use stentor_transport::{ConnectorSettings, Roots, TlsConnector, Trust, VersionMin};
use support::{Place, Said, Server};

/// Trusts the authority that the server made.
fn connector(place: &Place) -> TlsConnector {
    let pem = std::fs::read(place.data().join("tls/ca.pem")).unwrap();
    TlsConnector::new(ConnectorSettings {
        trust: Trust::Roots(Roots::from_pem(&pem).unwrap()),
        alpn: Vec::new(),
        identity: None,
        version_min: VersionMin::default(),
    })
    .unwrap()
}

async fn sign_in(place: &Place, server: &Server, jid: &str) -> Result<TcpClient, String> {
    let connector = connector(place);
    let tls = Tls::Direct(&connector);
    TcpClient::connect(Login { addr: server.ports[1], jid, password: "secret", tls }).await
}

fn condition(fault: &Fault) -> &'static str {
    fault.condition().name()
}

fn add(place: &Place, jid: &str) {
    assert_eq!(place.run(&format!("account add {jid} --password secret")).code, 0);
}

#[tokio::test]
async fn a_stop_tells_sessions_and_keeps_what_they_have_not_received() {
    let place = Place::new();
    let server = place.start();
    add(&place, "juliet@localhost");
    add(&place, "romeo@localhost");
    let mut juliet = sign_in(&place, &server, "juliet@localhost/balcony").await.unwrap();
    let message = "<message to='romeo@localhost' type='chat'><body>Wherefore?</body></message>";
    juliet.send(message).await.unwrap();
    // An answer comes after the commit of what was before it.
    juliet.send("<iq type='get' id='1'><ping xmlns='urn:xmpp:ping'/></iq>").await.unwrap();
    juliet.wait_for(|stanza| matches!(stanza.head.kind, Kind::Iq(_))).await.unwrap();
    server.signal(Signal::TERM);
    let fault = juliet.wait_for(|_| false).await.err().flatten().unwrap();
    assert_eq!(condition(&fault), "system-shutdown");
    drop(juliet);
    let (status, log) = server.ended();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(!log.contains("Wherefore"), "the log has a body: {log}");
    let server = place.start();
    let mut romeo = sign_in(&place, &server, "romeo@localhost/orchard").await.unwrap();
    romeo.send("<presence/>").await.unwrap();
    let kept = romeo.wait_for(|stanza| matches!(stanza.head.kind, Kind::Message(_))).await.unwrap();
    assert!(String::from_utf8(kept.to_bytes()).unwrap().contains("Wherefore?"));
}

#[tokio::test]
async fn a_reload_shows_new_certificates_and_disturbs_no_session() {
    let place = Place::new();
    let server = place.start();
    add(&place, "juliet@localhost");
    let shown = |client: &TcpClient| {
        client.facts().tls.as_ref().unwrap().server_end_point.as_deref().unwrap().to_vec()
    };
    let mut before = sign_in(&place, &server, "juliet@localhost/before").await.unwrap();
    place.configure("[[host]]\nname = 'localhost'\n[[host]]\nname = 'capulet.example'");
    assert_eq!(place.run("reload").code, 0);
    let after = sign_in(&place, &server, "juliet@localhost/after").await.unwrap();
    assert_ne!(shown(&before), shown(&after));
    before.send("<iq type='get' id='1'><ping xmlns='urn:xmpp:ping'/></iq>").await.unwrap();
    before.wait_for(|stanza| matches!(stanza.head.kind, Kind::Iq(_))).await.unwrap();
    let status = place.run("status").out;
    assert!(status.contains("\nsessions                 2\n"), "{status}");
    // The new domain is served at once.
    add(&place, "nurse@capulet.example");
    sign_in(&place, &server, "nurse@capulet.example/house").await.unwrap();
}

#[tokio::test]
async fn a_suspended_account_is_out_at_once_and_back_when_that_is_lifted() {
    let place = Place::new();
    let server = place.start();
    add(&place, "tybalt@localhost");
    let mut tybalt = sign_in(&place, &server, "tybalt@localhost/street").await.unwrap();
    assert_eq!(place.run("account suspend tybalt@localhost").code, 0);
    let fault = tybalt.wait_for(|_| false).await.err().flatten().unwrap();
    assert_eq!(condition(&fault), "policy-violation");
    assert!(sign_in(&place, &server, "tybalt@localhost/street").await.is_err());
    assert_eq!(place.run("account unsuspend tybalt@localhost").code, 0);
    sign_in(&place, &server, "tybalt@localhost/street").await.unwrap();
}

#[tokio::test]
async fn guessers_are_blocked_listed_and_let_in_again() {
    let place = Place::new();
    place.configure("[sign_in]\nsource_failures_max = 2\ndelay_after = 1000");
    let mut server = place.start();
    add(&place, "juliet@localhost");
    let connector = connector(&place);
    let guess = async || {
        let tls = Tls::Direct(&connector);
        let (addr, jid) = (server.ports[1], "juliet@localhost/x");
        TcpClient::connect(Login { addr, jid, password: "wrong", tls }).await.is_err()
    };
    assert!(guess().await);
    assert!(guess().await);
    server.log_until("event=\"source_blocked\"");
    assert!(sign_in(&place, &server, "juliet@localhost/balcony").await.is_err());
    let list = place.run("blocked list").out;
    assert!(list.starts_with("127.0.0.1  for "), "{list}");
    assert_eq!(place.run("blocked lift 127.0.0.1").out, "127.0.0.1 may try again.\n");
    sign_in(&place, &server, "juliet@localhost/balcony").await.unwrap();
}

/// Signs in as a device that tells its id, by a token if it has one.
async fn sign_in_by(
    place: &Place,
    server: &Server,
    password: &str,
    token: Option<HeldToken>,
) -> Result<TcpClient, String> {
    let connector = connector(place);
    let tls = Tls::Direct(&connector);
    let jid = "juliet@localhost/unused";
    let login = Login { addr: server.ports[1], jid, password, tls };
    let extended = Extended {
        user_agent: UserAgent {
            id: Some("d4565fa7-4d72-4749-b3d3-740edbf87770".into()),
            software: Some("Awesome".into()),
            device: Some("Kiva's Phone".into()),
        },
        bind: Some(BindRequest { tag: Some("Awesome".into()), wishes: Vec::new() }),
        pipelines: token.is_some(),
        wants_token: token.is_none(),
        token,
        ..Extended::default()
    };
    TcpClient::connect_with(login, Some(extended)).await
}

fn held(client: &TcpClient, count: u64) -> HeldToken {
    let (mechanism, issued) = client.token.clone().unwrap();
    HeldToken { mechanism, secret: issued.token, count: Some(count), invalidates: false }
}

#[tokio::test]
async fn a_device_comes_back_by_its_token_until_that_is_taken_back() {
    let place = Place::new();
    let server = place.start();
    add(&place, "juliet@localhost");
    let first = sign_in_by(&place, &server, "secret", None).await.unwrap();
    let jid = first.jid.to_string();
    assert!(jid.starts_with("juliet@localhost/Awesome/"), "{jid}");
    let token = held(&first, 1);
    assert_eq!(token.mechanism.name(), "HT-SHA-256-EXPR");
    first.close().await;
    // The token outlives the server, and the resource is the same.
    server.signal(Signal::KILL);
    let _ = server.ended();
    let mut server = place.start();
    let mut back = sign_in_by(&place, &server, "unknown", Some(token.clone())).await.unwrap();
    assert_eq!(back.jid.to_string(), jid);
    server.log_until("mechanism=\"HT-SHA-256-EXPR\"");
    let replayed = sign_in_by(&place, &server, "unknown", Some(token)).await;
    assert!(replayed.is_err(), "the count was seen");

    let list = place.run("device list juliet@localhost").out;
    let (key, rest) = list.split_once("  Awesome, Kiva's Phone  last seen: ").unwrap();
    assert!(rest.ends_with("  signs in by: password, token  sessions: 1\n"), "{list}");
    let revoked = place.run(&format!("device revoke juliet@localhost {key}"));
    let words = format!(
        "Took back the access of {key} to juliet@localhost; sessions ended: 1.\n\
         It knows the password: change that to keep it out.\n"
    );
    assert_eq!(revoked, Said::done(&words));
    let fault = back.wait_for(|_| false).await.err().flatten().unwrap();
    assert_eq!(condition(&fault), "reset");
    let again = HeldToken { count: Some(2), ..held(&first_token(&place, &server).await, 1) };
    assert_eq!(place.run("account password juliet@localhost --password other").code, 0);
    assert!(sign_in_by(&place, &server, "secret", Some(again)).await.is_err());
    let none = place.run("device list juliet@localhost");
    assert_eq!(none, Said::done("There are none.\n"));
}

/// Signs in with the password for another token.
async fn first_token(place: &Place, server: &Server) -> TcpClient {
    sign_in_by(place, server, "secret", None).await.unwrap()
}
