//! Certificates of clients: asked for or not, proven, judged.

use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use stentor_transport::{ClientCerts, IdentityFiles, TlsSettings};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{Authority, HOST, Server, client, client12, expect, root_store};

const NOW: u64 = 1_800_000_000;

fn presenting(files: &IdentityFiles) -> ClientConfig {
    let chain = vec![CertificateDer::from_pem_file(&files.certificate).unwrap()];
    let key = PrivateKeyDer::from_pem_file(&files.key).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(root_store())
        .with_client_auth_cert(chain, key)
        .unwrap()
}

fn server(client_certs: ClientCerts) -> Server {
    Server::with(&[&[HOST]], TlsSettings { client_certs, ..TlsSettings::default() })
}

#[tokio::test]
async fn asks_for_none_by_default() {
    let server = server(ClientCerts::Off);
    let files = Authority::shared().issue(server.dir.path(), &["juliet.example"]);
    let (conn, _client) = server.welcome(presenting(&files)).await;
    assert!(conn.facts().tls.as_ref().unwrap().client_certs.is_empty());
}

#[tokio::test]
async fn takes_any_chain_where_optional_and_leaves_the_judgement() {
    let server = server(ClientCerts::Optional);
    let (conn, _client) = server.welcome(client()).await;
    assert!(conn.facts().tls.as_ref().unwrap().client_certs.is_empty());

    let stranger = Authority::new("Mantua CA");
    for (authority, is_good) in [(Authority::shared(), true), (&stranger, false)] {
        let files = authority.issue(server.dir.path(), &["juliet.example"]);
        let config = presenting(&files);
        for _ in 0..2 {
            let (mut conn, mut client) = server.welcome(config.clone()).await;
            conn.write_all(b"1").await.unwrap();
            expect(&mut client, b"1").await;
            // Resumed or not: the chain is there to be judged.
            let chain = &conn.facts().tls.as_ref().unwrap().client_certs;
            assert_eq!(Authority::shared().roots().judge(chain, NOW).is_ok(), is_good);
        }
    }
}

/// What a client is told: with TLS 1.3 it learns it only when it reads.
async fn told(server: &Server, config: ClientConfig) -> String {
    let (conn, client_end) = server.meet(config, HOST).await;
    assert!(conn.is_err());
    match client_end {
        Err(e) => e.to_string(),
        Ok(mut client_end) => client_end.read_u8().await.unwrap_err().to_string(),
    }
}

#[tokio::test]
async fn says_why_where_required() {
    let server = server(ClientCerts::Required(Authority::shared().roots()));
    assert!(told(&server, client()).await.contains("CertificateRequired"));
    assert!(told(&server, client12()).await.contains("received fatal alert"));
    let stranger = Authority::new("Mantua CA").issue(server.dir.path(), &["juliet.example"]);
    let text = told(&server, presenting(&stranger)).await;
    assert!(text.contains("UnknownCA") || text.contains("BadCertificate"), "{text}");
}

#[tokio::test]
async fn lets_a_good_chain_in_where_required_and_never_resumes_it() {
    let server = server(ClientCerts::Required(Authority::shared().roots()));
    let files = Authority::shared().issue(server.dir.path(), &["juliet.example"]);
    let config = presenting(&files);
    for _ in 0..2 {
        let (mut conn, mut client) = server.welcome(config.clone()).await;
        conn.write_all(b"1").await.unwrap();
        expect(&mut client, b"1").await;
        let tls = conn.facts().tls.as_ref().unwrap();
        assert!(!tls.is_resumed && tls.client_certs.len() == 1);
    }
}

#[tokio::test]
async fn refuses_an_expired_chain_where_required() {
    let server = server(ClientCerts::Required(Authority::shared().roots()));
    let files = Authority::shared().issue_with(server.dir.path(), &["juliet.example"], |params| {
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    });
    assert!(told(&server, presenting(&files)).await.contains("CertificateExpired"));
}

#[test]
fn judges_chains_at_a_given_time_and_for_either_usage() {
    use rcgen::ExtendedKeyUsagePurpose::{ClientAuth, CodeSigning, ServerAuth};

    let dir = tempfile::tempdir().unwrap();
    let roots = Authority::shared().roots();
    for (usages, is_good) in [
        (vec![], true),
        (vec![ServerAuth], true),
        (vec![ClientAuth], true),
        (vec![CodeSigning], false),
    ] {
        let files = Authority::shared().issue_with(dir.path(), &["montague.example"], |params| {
            params.not_before = rcgen::date_time_ymd(2020, 1, 1);
            params.not_after = rcgen::date_time_ymd(2030, 1, 1);
            params.extended_key_usages = usages.clone();
        });
        let chain = [CertificateDer::from_pem_file(&files.certificate).unwrap()];
        assert_eq!(roots.judge(&chain, NOW).is_ok(), is_good, "{usages:?}");
        assert!(roots.judge(&chain, 1_500_000_000).is_err());
        assert!(roots.judge(&chain, 2_000_000_000).is_err());
    }
    assert!(roots.judge(&[], NOW).is_err());
}
