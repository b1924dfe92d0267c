//! What sessions notice of reloads, of administrators and of a stop, and what outlives it.

#![allow(clippy::unwrap_used)]

mod support;

use rustix::process::Signal;
use stentor_stanza::Kind;
use stentor_stream::fault::Fault;
use stentor_testkit::{Login, TcpClient, Tls};
use stentor_transport::{ConnectorSettings, Roots, TlsConnector, Trust, VersionMin};
use support::{Place, Server};

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
