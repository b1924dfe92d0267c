//! Records that no honest library sends: written here by hand with the keys of a real session.

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider};
use rustls::{ClientConfig, ConnectionTrafficSecrets};
use std::sync::Arc;
use stentor_transport::Conn;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{Server, expect, root_store};

/// A client whose records are made by hand (RFC 8446 §5.2).
struct Forger {
    tcp: TcpStream,
    key: LessSafeKey,
    iv: [u8; 12],
    sequence: u64,
}

impl Forger {
    async fn meet(server: &Server) -> (Conn, Self) {
        let provider = CryptoProvider {
            cipher_suites: vec![cipher_suite::TLS13_AES_128_GCM_SHA256],
            ..default_provider()
        };
        let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(root_store())
            .with_no_client_auth();
        config.enable_secret_extraction = true;
        let (conn, client) = server.welcome(config).await;
        let (tcp, tls) = client.into_inner();
        let (sequence, secrets) = tls.dangerous_extract_secrets().unwrap().tx;
        let ConnectionTrafficSecrets::Aes128Gcm { key, iv } = secrets else {
            panic!("the suite is AES-128-GCM");
        };
        let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, key.as_ref()).unwrap());
        (conn, Self { tcp, key, iv: iv.as_ref().try_into().unwrap(), sequence })
    }

    async fn send(&mut self, content_type: u8, content: &[u8]) {
        let mut nonce = self.iv;
        for (byte, counter) in nonce[4..].iter_mut().zip(self.sequence.to_be_bytes()) {
            *byte ^= counter;
        }
        self.sequence += 1;
        let mut inner = content.to_vec();
        inner.push(content_type);
        let len = u16::try_from(inner.len() + 16).unwrap().to_be_bytes();
        let header = [23, 3, 3, len[0], len[1]];
        let nonce = Nonce::assume_unique_for_key(nonce);
        self.key.seal_in_place_append_tag(nonce, Aad::from(header), &mut inner).unwrap();
        self.tcp.write_all(&[&header[..], &inner].concat()).await.unwrap();
    }
}

const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;
const KEY_UPDATE: [u8; 5] = [24, 0, 0, 1, 0];

#[tokio::test]
async fn writes_while_a_handshake_message_of_the_peer_is_incomplete() {
    let server = Server::new();
    let (mut conn, mut forger) = Forger::meet(&server).await;
    forger.send(APPLICATION_DATA, b"before").await;
    forger.send(HANDSHAKE, &KEY_UPDATE[..2]).await;
    expect(&mut conn, b"before").await;
    conn.write_all(b"in between").await.unwrap();
    conn.flush().await.unwrap();
    forger.send(HANDSHAKE, &KEY_UPDATE[2..]).await;
    conn.write_all(b"after").await.unwrap();
    conn.shutdown().await.unwrap();
    assert!(forger.tcp.read(&mut [0; 512]).await.unwrap() > 0);
}

#[tokio::test]
async fn limits_a_handshake_message_that_does_not_end() {
    let server = Server::new();
    let (mut conn, mut forger) = Forger::meet(&server).await;
    let send = async {
        forger.send(HANDSHAKE, &[24, 0, 0xea, 0x60]).await;
        for _ in 0..5 {
            forger.send(HANDSHAKE, &[0; 8_192]).await;
        }
        forger
    };
    let mut buffer = [0; 16];
    let (error, _forger) = tokio::join!(conn.read(&mut buffer), send);
    assert_eq!(error.unwrap_err().kind(), std::io::ErrorKind::InvalidData);
    assert!(conn.read(&mut buffer).await.is_err());
    assert!(conn.write(b"x").await.is_err());
}

#[tokio::test]
async fn refuses_a_second_client_hello() {
    let server = Server::new();
    let (mut conn, mut forger) = Forger::meet(&server).await;
    forger.send(HANDSHAKE, &[1, 0, 0, 2, 3, 3]).await;
    assert_eq!(conn.read(&mut [0; 16]).await.unwrap_err().kind(), std::io::ErrorKind::InvalidData);
}

#[tokio::test]
async fn delivers_what_came_before_a_fault() {
    let server = Server::new();
    let (mut conn, mut forger) = Forger::meet(&server).await;
    forger.send(APPLICATION_DATA, b"sound").await;
    forger.sequence += 1;
    forger.send(APPLICATION_DATA, b"lost").await;
    expect(&mut conn, b"sound").await;
    assert!(conn.read(&mut [0; 16]).await.is_err());
}
