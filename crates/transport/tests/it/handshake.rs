//! Versions, suites, resumption and channel binding, each seen from both ends.

use std::sync::Arc;

use aws_lc_rs::digest;
use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider, kx_group};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::{ClientConfig, HandshakeKind, SupportedCipherSuite};
use stentor_transport::{Conn, TlsFacts, TlsSettings, TlsVersion, VersionMin};
use tokio::io::AsyncWriteExt;

use crate::support::{Authority, HOST, Server, client, client12, expect, root_store};

fn tls(conn: &Conn) -> &TlsFacts {
    conn.facts().tls.as_deref().unwrap()
}

fn client_with(
    suites: Vec<SupportedCipherSuite>,
    groups: Vec<&'static dyn SupportedKxGroup>,
) -> ClientConfig {
    let provider =
        CryptoProvider { cipher_suites: suites, kx_groups: groups, ..default_provider() };
    ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(root_store())
        .with_no_client_auth()
}

#[tokio::test]
async fn takes_the_newest_version_both_have() {
    let server = Server::new();
    let (conn, _client) = server.welcome(client()).await;
    assert_eq!(tls(&conn).version, TlsVersion::Tls13);
    assert_eq!(tls(&conn).sni.as_deref(), Some(HOST));
    let (conn, _client) = server.welcome(client12()).await;
    assert_eq!(tls(&conn).version, TlsVersion::Tls12);
    assert!(!tls(&conn).is_resumed);
}

#[tokio::test]
async fn refuses_tls12_where_13_is_required() {
    let settings = TlsSettings { version_min: VersionMin::Tls13, ..TlsSettings::default() };
    let server = Server::with(&[&[HOST]], settings);
    let (conn, client_result) = server.meet(client12(), HOST).await;
    assert!(conn.is_err());
    assert!(client_result.unwrap_err().to_string().contains("ProtocolVersion"));
    let (conn, _client) = server.welcome(client()).await;
    assert_eq!(tls(&conn).version, TlsVersion::Tls13);
}

#[tokio::test]
async fn accepts_each_strong_suite_alone() {
    let ecdsa = Server::new();
    let groups = default_provider().kx_groups;
    for (suite, name) in [
        (cipher_suite::TLS13_AES_128_GCM_SHA256, "TLS_AES_128_GCM_SHA256"),
        (cipher_suite::TLS13_AES_256_GCM_SHA384, "TLS_AES_256_GCM_SHA384"),
        (cipher_suite::TLS13_CHACHA20_POLY1305_SHA256, "TLS_CHACHA20_POLY1305_SHA256"),
        (
            cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
            "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        ),
        (
            cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
            "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        ),
        (
            cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
            "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        ),
    ] {
        let (conn, _client) = ecdsa.welcome(client_with(vec![suite], groups.clone())).await;
        assert_eq!(tls(&conn).cipher, name);
    }
}

#[tokio::test]
async fn takes_part_in_each_key_exchange() {
    let server = Server::new();
    let suites = default_provider().cipher_suites;
    for group in [kx_group::X25519MLKEM768, kx_group::X25519, kx_group::SECP256R1] {
        let (conn, _client) = server.welcome(client_with(suites.clone(), vec![group])).await;
        assert_eq!(tls(&conn).group, group.name().as_str());
    }
}

/// Talks once, so that the client has read its ticket, and closes.
async fn visit(server: &Server, config: ClientConfig) -> (TlsFacts, HandshakeKind) {
    let (mut conn, mut client) = server.welcome(config).await;
    conn.write_all(b"good night").await.unwrap();
    conn.flush().await.unwrap();
    expect(&mut client, b"good night").await;
    (tls(&conn).clone(), client.get_ref().1.handshake_kind().unwrap())
}

#[tokio::test]
async fn resumes_by_ticket_with_both_versions() {
    for config in [client(), client12()] {
        let server = Server::new();
        let (first, kind) = visit(&server, config.clone()).await;
        assert!(!first.is_resumed && kind == HandshakeKind::Full);
        let (second, kind) = visit(&server, config).await;
        assert!(second.is_resumed && kind == HandshakeKind::Resumed, "{kind:?}");
        assert_eq!(second.server_end_point, first.server_end_point);
        assert_ne!(second.exporter.unwrap_or([1; 32]), first.exporter.unwrap_or([2; 32]));
    }
}

#[tokio::test]
async fn does_not_resume_after_tickets_were_erased_or_the_certificate_renewed() {
    let server = Server::new();
    let config = client();
    visit(&server, config.clone()).await;
    server.certificates.erase_tickets();
    assert_eq!(visit(&server, config.clone()).await.1, HandshakeKind::Full);
    Authority::shared().issue(server.dir.path(), &[HOST]);
    server.certificates.reload().unwrap();
    assert_eq!(visit(&server, config.clone()).await.1, HandshakeKind::Full);
    assert_eq!(visit(&server, config).await.1, HandshakeKind::Resumed);
}

#[tokio::test]
async fn exports_the_same_binding_as_the_client() {
    let server = Server::new();
    let groups = default_provider().kx_groups;
    for suite in [
        cipher_suite::TLS13_AES_128_GCM_SHA256,
        cipher_suite::TLS13_AES_256_GCM_SHA384,
        cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
    ] {
        let config = client_with(vec![suite], groups.clone());
        let (conn, client) = server.welcome(config).await;
        let theirs = client
            .get_ref()
            .1
            .export_keying_material([0; 32], b"EXPORTER-Channel-Binding", Some(b""))
            .unwrap();
        assert_eq!(tls(&conn).exporter, Some(theirs));
    }
}

#[tokio::test]
async fn exports_the_same_binding_after_resumption_and_a_retried_hello() {
    let server = Server::new();
    // The client's first share is of a group that the server does not have.
    let config =
        client_with(default_provider().cipher_suites, vec![kx_group::MLKEM768, kx_group::X25519]);
    for kind in [HandshakeKind::FullWithHelloRetryRequest, HandshakeKind::Resumed] {
        let (mut conn, mut client) = server.welcome(config.clone()).await;
        assert_eq!(client.get_ref().1.handshake_kind(), Some(kind));
        conn.write_all(b"1").await.unwrap();
        expect(&mut client, b"1").await;
        let theirs = client
            .get_ref()
            .1
            .export_keying_material([0; 32], b"EXPORTER-Channel-Binding", Some(b""))
            .unwrap();
        assert_eq!(tls(&conn).exporter, Some(theirs));
    }
}

#[tokio::test]
async fn binds_tls12_to_the_certificate_only() {
    let server = Server::new();
    let (mut conn, client) = server.welcome(client12()).await;
    let leaf = client.get_ref().1.peer_certificates().unwrap()[0].clone();
    let hash = digest::digest(&digest::SHA256, &leaf);
    assert_eq!(tls(&conn).exporter, None);
    assert_eq!(tls(&conn).server_end_point.as_deref(), Some(hash.as_ref()));
    assert_eq!(tls(&conn).certificate.as_ref().map(|f| &f[..]), Some(hash.as_ref()));
    let mut facts = conn.take_tls_facts().unwrap();
    facts.forget_bindings();
    assert_eq!((facts.server_end_point, facts.exporter), (None, None));
}

#[tokio::test]
async fn gives_every_session_secrets_of_its_own() {
    let server = Server::new();
    let mut exporters = std::collections::HashSet::new();
    for _ in 0..20 {
        let (conn, _client) = server.welcome(client()).await;
        assert!(exporters.insert(tls(&conn).exporter.unwrap()));
    }
}
