//! Which certificate and protocol a client gets, also while certificates change.

use rustls::ClientConfig;
use std::sync::Arc;
use stentor_transport::{
    ClientCerts, Conn, HandshakeError, IdentityFiles, LinkConnector, TlsAcceptor, TlsSettings,
    UnknownName, VersionMin, dial, fingerprint,
};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use crate::support::{Authority, HOST, Server, client, connect, expect, sockets};

/// The names of the certificate that a client of this name gets.
async fn shown(server: &Server, name: &str) -> Vec<String> {
    let (conn, client) = server.meet(client(), name).await;
    let client = client.unwrap();
    let leaf = &client.get_ref().1.peer_certificates().unwrap()[0];
    let facts = conn.unwrap().facts().tls.clone().unwrap();
    assert_eq!(facts.certificate, Some(fingerprint(leaf)));
    stentor_transport::CertNames::of(leaf).unwrap().dns_names
}

#[tokio::test]
async fn chooses_by_exact_name_before_wildcard() {
    let server = Server::with(
        &[&[HOST], &["*.montague.example"], &["chat.montague.example", "montague.example"]],
        TlsSettings::default(),
    );
    assert_eq!(shown(&server, HOST).await, [HOST]);
    assert_eq!(shown(&server, "Any.montague.example").await, ["*.montague.example"]);
    assert_eq!(shown(&server, "chat.montague.example").await[0], "chat.montague.example");
    assert!(server.certificates.has_name("x.montague.example"));
    assert!(!server.certificates.has_name("x.y.montague.example"));
}

#[tokio::test]
async fn answers_an_unknown_name_with_the_default_or_an_alert() {
    let server = Server::new();
    let (conn, client_result) = server.meet(client(), "verona.example").await;
    assert!(client_result.unwrap_err().to_string().contains("not valid for name"));
    assert!(matches!(conn, Err(HandshakeError::PeerAlert { code: 42..=49, .. })), "{conn:?}");

    let settings = TlsSettings { unknown_name: UnknownName::Refuse, ..TlsSettings::default() };
    let server = Server::with(&[&[HOST]], settings);
    let (conn, client_result) = server.meet(client(), "verona.example").await;
    assert!(client_result.unwrap_err().to_string().contains("UnrecognisedName"));
    assert!(matches!(conn, Err(HandshakeError::UnknownName(name)) if name == "verona.example"));
}

fn nameless() -> ClientConfig {
    let mut config = client();
    config.enable_sni = false;
    config
}

#[tokio::test]
async fn lets_the_stream_header_choose_where_there_is_no_server_name() {
    let lists: [&[&str]; 2] = [&[HOST], &["montague.example"]];
    let server = Server::with(&lists, TlsSettings::default());
    for (hint, name) in [(Some("montague.example"), "montague.example"), (None, HOST)] {
        let ((tcp, peer), client) = sockets().await;
        let mut conn = Conn::plain(tcp, peer);
        let (done, client) = tokio::join!(
            conn.start_tls(&server.acceptor, b"", hint),
            connect(nameless(), name, client)
        );
        done.unwrap();
        client.unwrap();
        assert_eq!(conn.facts().tls.as_ref().unwrap().sni, None);
    }
    // A server name outranks what the stream header said.
    let ((tcp, peer), peer_tcp) = sockets().await;
    let mut conn = Conn::plain(tcp, peer);
    let (done, met) = tokio::join!(
        conn.start_tls(&server.acceptor, b"", Some("montague.example")),
        connect(client(), HOST, peer_tcp)
    );
    done.unwrap();
    met.unwrap();
}

#[tokio::test]
async fn uses_a_certificate_for_the_names_it_is_configured_for() {
    let server = Server::new();
    let issue = |names| Authority::shared().issue(server.dir.path(), names);
    let own = issue(&[HOST]);
    let both = issue(&["verona.example", HOST]);
    let files = vec![own, IdentityFiles { names: vec!["Capulet.example".into()], ..both }];
    server.certificates.reload_from(files).unwrap();
    assert_eq!(shown(&server, HOST).await, ["verona.example", HOST]);
}

fn offering(protocols: &[&str]) -> ClientConfig {
    let mut config = client();
    config.alpn_protocols = protocols.iter().map(|p| p.as_bytes().to_vec()).collect();
    config
}

#[tokio::test]
async fn settles_the_protocol_by_alpn() {
    let alpn = vec![b"xmpp-client".to_vec()];
    let server = Server::with(&[&[HOST]], TlsSettings { alpn, ..TlsSettings::default() });
    let (conn, client_end) = server.welcome(offering(&["h2", "xmpp-client"])).await;
    assert_eq!(conn.facts().tls.as_ref().unwrap().alpn.as_deref(), Some(&b"xmpp-client"[..]));
    assert_eq!(client_end.get_ref().1.alpn_protocol(), Some(&b"xmpp-client"[..]));
    let (conn, _client) = server.welcome(offering(&[])).await;
    assert_eq!(conn.facts().tls.as_ref().unwrap().alpn, None);
    let (conn, refused) = server.meet(offering(&["http/1.1"]), HOST).await;
    assert!(matches!(conn, Err(HandshakeError::Refused { alert: Some(120), .. })), "{conn:?}");
    assert!(refused.unwrap_err().to_string().contains("NoApplicationProtocol"));
}

#[tokio::test]
async fn ignores_alpn_where_none_is_configured() {
    let server = Server::new();
    let (conn, _client) = server.welcome(offering(&["xmpp-client"])).await;
    assert_eq!(conn.facts().tls.as_ref().unwrap().alpn, None);
}

#[tokio::test]
async fn reload_changes_new_handshakes_and_leaves_sessions_alone() {
    let server = Server::new();
    let second = TlsAcceptor::new(Arc::clone(&server.certificates), TlsSettings::default());
    let (mut conn, mut old) = server.welcome(client()).await;
    let before = conn.facts().tls.as_ref().unwrap().certificate;

    Authority::shared().issue(server.dir.path(), &[HOST]);
    server.certificates.reload().unwrap();
    let (new_conn, _new) = server.welcome(client()).await;
    let after = new_conn.facts().tls.as_ref().unwrap().certificate;
    assert_ne!(before, after);
    let ((tcp, peer), client_tcp) = sockets().await;
    let (other, _) = tokio::join!(
        Conn::accept_tls(tcp, peer, &second, b""),
        connect(client(), HOST, client_tcp)
    );
    assert_eq!(other.unwrap().facts().tls.as_ref().unwrap().certificate, after);

    old.write_all(b"still here").await.unwrap();
    old.flush().await.unwrap();
    expect(&mut conn, b"still here").await;
}

#[tokio::test]
async fn a_failed_reload_keeps_what_was_there() {
    let server = Server::new();
    std::fs::write(server.dir.path().join(format!("{HOST}.pem")), "gone").unwrap();
    assert!(server.certificates.reload().is_err());
    server.welcome(client()).await;
}

/// The names of the certificate that a server is shown for a domain of ours.
async fn shown_by(links: &LinkConnector, domain: &str) -> Vec<String> {
    let settings = TlsSettings { client_certs: ClientCerts::Optional, ..TlsSettings::default() };
    let other = Server::with(&[&["other.example"]], settings);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (accepted, dialled) = tokio::join!(listener.accept(), dial(addr));
    let (accepted, mut conn) = (accepted.unwrap(), dialled.unwrap());
    let connector = links.of(domain);
    let (met, done) =
        tokio::join!(other.accept(accepted), conn.connect_tls(&connector, "other.example", b""));
    done.unwrap();
    let facts = met.unwrap().facts().tls.clone().unwrap();
    stentor_transport::CertNames::of(&facts.client_certs[0]).unwrap().dns_names
}

#[tokio::test]
async fn links_show_the_certificate_of_the_domain_that_speaks_also_after_a_reload() {
    let server = Server::with(&[&[HOST], &["montague.example"]], TlsSettings::default());
    let certificates = Arc::clone(&server.certificates);
    let links = LinkConnector::new(certificates, Vec::new(), VersionMin::default());
    assert_eq!(shown_by(&links, "montague.example").await, ["montague.example"]);
    assert_eq!(shown_by(&links, "unknown.example").await, [HOST]);
    let lists: [&[&str]; 2] = [&[HOST, "new.example"], &["added.example"]];
    let files = lists.map(|names| Authority::shared().issue(server.dir.path(), names));
    server.certificates.reload_from(files.to_vec()).unwrap();
    assert_eq!(shown_by(&links, "added.example").await, ["added.example"]);
    assert_eq!(shown_by(&links, "montague.example").await, [HOST, "new.example"]);
}
