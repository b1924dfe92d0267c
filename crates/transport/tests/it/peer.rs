//! Our own client side against our own server side.

use stentor_transport::{
    CertNames, ClientCerts, Conn, ConnectorSettings, HandshakeError, IdentityFiles, Listener,
    TlsConnector, TlsSettings, Trust, VersionMin, dial, fingerprint,
};
use tokio::io::AsyncWriteExt;

use crate::support::{Accepted, Authority, HOST, Server, expect};

fn settings(trust: Trust) -> ConnectorSettings {
    ConnectorSettings { trust, alpn: Vec::new(), identity: None, version_min: VersionMin::Tls12 }
}

async fn meet(
    server: &Server,
    connector: &TlsConnector,
    name: &str,
) -> (Accepted, Result<Conn, HandshakeError>) {
    let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let serve = async {
        let side = listener.accept().await;
        server.accept(side).await
    };
    let connect = async {
        let mut conn = dial(listener.addr()).await.unwrap();
        conn.connect_tls(connector, name, b"").await.map(|()| conn)
    };
    tokio::join!(serve, connect)
}

#[tokio::test]
async fn has_the_same_binding_data_at_both_ends_also_when_resumed() {
    let server = Server::new();
    let connector = TlsConnector::new(settings(Trust::Roots(Authority::shared().roots()))).unwrap();
    for round in 0..2 {
        let (ours, theirs) = meet(&server, &connector, HOST).await;
        let (mut ours, mut theirs) = (ours.unwrap(), theirs.unwrap());
        ours.write_all(b"the ticket comes before this").await.unwrap();
        expect(&mut theirs, b"the ticket comes before this").await;
        theirs.write_all(b"thanks").await.unwrap();
        expect(&mut ours, b"thanks").await;
        let a = ours.facts().tls.as_deref().unwrap();
        let b = theirs.facts().tls.as_deref().unwrap();
        assert!(a.exporter.is_some());
        assert_eq!(a.exporter, b.exporter);
        assert_eq!(a.server_end_point, b.server_end_point);
        assert_eq!(a.certificate, b.certificate);
        assert_eq!((a.is_resumed, b.is_resumed), (round == 1, round == 1));
        assert_eq!(CertNames::of(&b.server_certs[0]).unwrap().dns_names, [HOST]);
    }
}

#[tokio::test]
async fn refuses_what_it_does_not_trust() {
    let server = Server::new();
    let roots = Authority::shared().roots();
    let stranger = Authority::new("Mantua CA").roots();
    for (trust, name) in [
        (Trust::Roots(roots), "montague.example"),
        (Trust::Roots(stranger), HOST),
        (Trust::Pinned([0; 32]), HOST),
    ] {
        let connector = TlsConnector::new(settings(trust)).unwrap();
        let (ours, theirs) = meet(&server, &connector, name).await;
        assert!(
            matches!(theirs, Err(HandshakeError::Refused { alert: Some(_), .. })),
            "{theirs:?}"
        );
        assert!(matches!(ours, Err(HandshakeError::PeerAlert { .. })), "{ours:?}");
    }
}

#[tokio::test]
async fn takes_a_pinned_certificate_and_any_to_be_judged_later() {
    let server = Server::new();
    let connector = TlsConnector::new(settings(Trust::JudgedLater)).unwrap();
    let (_ours, theirs) = meet(&server, &connector, "verona.example").await;
    let chain = theirs.unwrap().facts().tls.as_ref().unwrap().server_certs.clone();
    let connector = TlsConnector::new(settings(Trust::Pinned(fingerprint(&chain[0])))).unwrap();
    let (_ours, theirs) = meet(&server, &connector, "verona.example").await;
    theirs.unwrap();
}

#[tokio::test]
async fn presents_its_identity() {
    let client_certs = ClientCerts::Required(Authority::shared().roots());
    let server = Server::with(&[&[HOST]], TlsSettings { client_certs, ..TlsSettings::default() });
    let identity: IdentityFiles =
        Authority::shared().issue(server.dir.path(), &["montague.example"]);
    let connector = TlsConnector::new(ConnectorSettings {
        identity: Some(identity),
        ..settings(Trust::Roots(Authority::shared().roots()))
    })
    .unwrap();
    let (ours, _theirs) = meet(&server, &connector, HOST).await;
    let ours = ours.unwrap();
    let certs = &ours.facts().tls.as_ref().unwrap().client_certs;
    assert_eq!(CertNames::of(&certs[0]).unwrap().dns_names, ["montague.example"]);
}
