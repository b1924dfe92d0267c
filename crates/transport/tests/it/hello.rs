//! First bytes that are no good handshake: each is answered by the alert that says so.

use stentor_transport::{Conn, HandshakeError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{Server, sockets};

/// A `ClientHello` as an old client sends it (RFC 5246 §7.4.1.2).
fn client_hello(version: [u8; 2], suites: &[[u8; 2]]) -> Vec<u8> {
    let mut extensions = Vec::new();
    if version >= [3, 3] {
        // signature_algorithms, new in TLS 1.2: rsa_pkcs1_sha1 and ecdsa_secp256r1_sha256.
        extensions.extend([0, 13, 0, 6, 0, 4, 2, 1, 4, 3]);
    }
    // supported_groups: secp256r1.
    extensions.extend([0, 10, 0, 4, 0, 2, 0, 23]);
    // ec_point_formats: uncompressed.
    extensions.extend([0, 11, 0, 2, 1, 0]);
    let mut body = version.to_vec();
    body.extend([7; 32]);
    body.push(0);
    body.extend(u16::try_from(suites.len() * 2).unwrap().to_be_bytes());
    body.extend(suites.iter().flatten());
    body.extend([1, 0]);
    body.extend(u16::try_from(extensions.len()).unwrap().to_be_bytes());
    body.extend(extensions);
    let mut message = vec![1, 0];
    message.extend(u16::try_from(body.len()).unwrap().to_be_bytes());
    message.extend(body);
    let mut record = vec![22, 3, 1];
    record.extend(u16::try_from(message.len()).unwrap().to_be_bytes());
    record.extend(message);
    record
}

/// Sends bytes, ends the stream if asked, and reads all that comes back.
async fn answer(bytes: &[u8], ends: bool) -> (HandshakeError, Vec<u8>) {
    let server = Server::new();
    let (side, mut client) = sockets().await;
    client.write_all(bytes).await.unwrap();
    if ends {
        client.shutdown().await.unwrap();
    }
    let mut answer = Vec::new();
    let (conn, read) = tokio::join!(server.accept(side), client.read_to_end(&mut answer));
    read.unwrap();
    (conn.unwrap_err(), answer)
}

const HANDSHAKE_FAILURE: u8 = 40;
const DECODE_ERROR: u8 = 50;
const PROTOCOL_VERSION: u8 = 70;

#[tokio::test]
async fn refuses_weak_suites() {
    let weak = [
        [0x00, 0x05], // RSA, RC4
        [0x00, 0x0a], // RSA, 3DES
        [0x00, 0x2f], // RSA, AES-128-CBC
        [0x00, 0x9c], // RSA, AES-128-GCM: no forward secrecy
        [0x00, 0x01], // NULL
        [0x00, 0x18], // anonymous
        [0xc0, 0x09], // ECDHE-ECDSA, AES-128-CBC-SHA1
        [0xc0, 0x23], // ECDHE-ECDSA, AES-128-CBC-SHA256
    ];
    let (error, alert) = answer(&client_hello([3, 3], &weak), false).await;
    let HandshakeError::Refused { alert: told, .. } = error else { panic!("{error}") };
    assert_eq!(told, Some(HANDSHAKE_FAILURE));
    assert_eq!(alert, [21, 3, 3, 0, 2, 2, HANDSHAKE_FAILURE]);
    for suite in weak {
        let (_, alert) = answer(&client_hello([3, 3], &[suite]), false).await;
        assert_eq!(alert.last(), Some(&HANDSHAKE_FAILURE), "{suite:?}");
    }
}

#[tokio::test]
async fn refuses_old_versions() {
    for version in [[3, 0], [3, 1], [3, 2]] {
        let (_, alert) = answer(&client_hello(version, &[[0xc0, 0x2b]]), false).await;
        assert_eq!(alert, [21, 3, 3, 0, 2, 2, PROTOCOL_VERSION], "{version:?}");
    }
}

#[tokio::test]
async fn answers_the_same_hello_with_a_strong_suite() {
    // The counterpart without which the refusals above would prove nothing.
    let (error, bytes) = answer(&client_hello([3, 3], &[[0xc0, 0x2b]]), true).await;
    assert!(matches!(error, HandshakeError::Io(_)), "{error}");
    assert_eq!(bytes[0], 22, "a ServerHello, not an alert");
}

#[tokio::test]
async fn answers_garbage_with_an_alert() {
    for garbage in [&b"GET / HTTP/1.1\r\nHost: capulet.example\r\n\r\n"[..], &[0xff; 600]] {
        let (error, alert) = answer(garbage, false).await;
        assert!(
            matches!(error, HandshakeError::Refused { alert: Some(DECODE_ERROR), .. }),
            "{error}"
        );
        assert_eq!(alert, [21, 3, 3, 0, 2, 2, DECODE_ERROR]);
    }
}

#[tokio::test]
async fn gives_up_when_the_peer_does() {
    let hello = client_hello([3, 3], &[[0xc0, 0x2b]]);
    for len in [0, 1, 5, 40, hello.len() - 1] {
        let (error, bytes) = answer(&hello[..len], true).await;
        assert!(matches!(error, HandshakeError::Io(_)), "{error}");
        assert!(bytes.is_empty());
    }
}

#[tokio::test]
async fn gives_up_on_a_hello_without_end() {
    let server = Server::new();
    let ((tcp, peer), mut client) = sockets().await;
    // One handshake message of 60,000 bytes, in records that never complete it.
    let mut fragment = vec![22, 3, 1, 0x10, 0];
    fragment.extend(vec![0; 0x1000]);
    fragment[5..9].copy_from_slice(&[1, 0, 0xea, 0x60]);
    for _ in 0..6 {
        client.write_all(&fragment).await.unwrap();
    }
    let error = Conn::accept_tls(tcp, peer, &server.acceptor, b"").await.unwrap_err();
    assert!(matches!(error, HandshakeError::TooBig(_)), "{error}");
}
