//! Bytes in both directions: in pieces, in bulk, beyond what the peer takes, and at the end.

use std::io;
use std::task::Poll;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};
use std::sync::Arc;
use stentor_transport::limits::{PENDING_BYTES_MAX, READ_BYTES_MAX, WRITE_BYTES_MAX};
use stentor_transport::{Conn, Ending};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;

use crate::support::{HOST, Server, client, client12, connect, expect, sockets};

/// Runs a whole conversation as client, handing each byte to the socket by itself.
async fn whisper(config: ClientConfig, mut tcp: TcpStream, say: &[u8], hear: usize) -> Vec<u8> {
    let name = ServerName::try_from(HOST).unwrap();
    let mut tls = ClientConnection::new(Arc::new(config), name).unwrap();
    tls.writer_write(say);
    let mut heard = Vec::new();
    while heard.len() < hear {
        let mut out = Vec::new();
        while tls.wants_write() {
            tls.write_tls(&mut out).unwrap();
        }
        for byte in out {
            tcp.write_all(&[byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
        let mut chunk = [0; 4096];
        let len = tcp.read(&mut chunk).await.unwrap();
        assert_ne!(len, 0, "the server hung up");
        let mut rest = &chunk[..len];
        while !rest.is_empty() {
            tls.read_tls(&mut rest).unwrap();
            let state = tls.process_new_packets().unwrap();
            let start = heard.len();
            heard.resize(start + state.plaintext_bytes_to_read(), 0);
            io::Read::read_exact(&mut tls.reader(), &mut heard[start..]).unwrap();
        }
    }
    heard
}

trait WriterWrite {
    fn writer_write(&mut self, bytes: &[u8]);
}

impl WriterWrite for ClientConnection {
    fn writer_write(&mut self, bytes: &[u8]) {
        io::Write::write_all(&mut self.writer(), bytes).unwrap();
    }
}

#[tokio::test]
async fn reads_records_that_arrive_byte_by_byte() {
    for config in [client(), client12()] {
        let server = Server::new();
        let (side, tcp) = sockets().await;
        let serve = async {
            let mut conn = server.accept(side).await.unwrap();
            expect(&mut conn, b"wherefore art thou").await;
            conn.write_all(b"here").await.unwrap();
            conn.flush().await.unwrap();
            conn
        };
        let (_conn, heard) = tokio::join!(serve, whisper(config, tcp, b"wherefore art thou", 4));
        assert_eq!(heard, b"here");
    }
}

#[tokio::test]
async fn starts_tls_with_what_was_read_before() {
    for read_before in [0, 1, 4, 5, 100, usize::MAX] {
        let server = Server::new();
        let ((tcp, peer), client_tcp) = sockets().await;
        let mut conn = Conn::plain(tcp, peer);
        let serve = async {
            let mut leftover = vec![0; read_before.min(READ_BYTES_MAX)];
            if read_before == usize::MAX {
                let len = conn.read(&mut leftover).await.unwrap();
                leftover.truncate(len);
            } else {
                conn.read_exact(&mut leftover).await.unwrap();
            }
            conn.start_tls(&server.acceptor, &leftover, None).await.unwrap();
            expect(&mut conn, b"ay me").await;
        };
        let speak = async {
            let mut tls = connect(client(), HOST, client_tcp).await.unwrap();
            tls.write_all(b"ay me").await.unwrap();
            tls.flush().await.unwrap();
            tls
        };
        tokio::join!(serve, speak);
    }
}

#[tokio::test]
async fn refuses_to_start_tls_twice() {
    let server = Server::new();
    let (mut conn, _client) = server.welcome(client()).await;
    assert!(conn.start_tls(&server.acceptor, b"", None).await.is_err());
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| u8::try_from(i * 31 % 251).unwrap()).collect()
}

#[tokio::test]
async fn carries_bulk_both_ways_at_once() {
    let server = Server::new();
    for config in [client(), client12()] {
        let (conn, client) = server.welcome(config).await;
        let (mut conn_in, mut conn_out) = tokio::io::split(conn);
        let (mut client_in, mut client_out) = tokio::io::split(client);
        let down = pattern(3 << 20);
        let up = pattern((2 << 20) + 17);
        tokio::join!(
            async { conn_out.write_all(&down).await.and(conn_out.flush().await).unwrap() },
            async { client_out.write_all(&up).await.and(client_out.flush().await).unwrap() },
            expect(&mut conn_in, &up),
            expect(&mut client_in, &down),
        );
    }
}

#[tokio::test]
async fn delivers_to_small_buffers_without_loss() {
    let server = Server::new();
    let (mut conn, mut client) = server.welcome(client()).await;
    let sent = pattern(50_000);
    let serve = async {
        let mut all = Vec::new();
        while all.len() < sent.len() {
            let mut small = [0; 7];
            conn.readable().await.unwrap();
            let len = conn.read(&mut small).await.unwrap();
            all.extend_from_slice(&small[..len]);
        }
        assert!(all == sent);
    };
    tokio::join!(serve, async { client.write_all(&sent).await.and(client.flush().await).unwrap() });
}

#[tokio::test]
async fn holds_back_the_writer_when_the_peer_does_not_read() {
    let server = Server::new();
    let (mut conn, mut client) = server.welcome(client()).await;
    let block = pattern(100_000);
    let mut taken = 0;
    std::future::poll_fn(|cx| {
        loop {
            let most = PENDING_BYTES_MAX + WRITE_BYTES_MAX + 1_024;
            assert!(conn.pending_len() <= most, "{}", conn.pending_len());
            match conn.poll_write(cx, &block[taken % 50_000..]) {
                Poll::Ready(len) => taken += len.unwrap(),
                Poll::Pending => return Poll::Ready(()),
            }
        }
    })
    .await;
    assert!(conn.pending_len() > 0);
    let mut read = vec![0; taken];
    let (flushed, ()) = tokio::join!(conn.flush(), async {
        client.read_exact(&mut read).await.unwrap();
    });
    flushed.unwrap();
    assert_eq!(conn.pending_len(), 0);
}

#[tokio::test]
async fn follows_key_updates_of_the_peer() {
    let server = Server::new();
    let (mut conn, mut client) = server.welcome(client()).await;
    for _ in 0..3 {
        client.get_mut().1.refresh_traffic_keys().unwrap();
        client.write_all(b"new keys").await.unwrap();
        client.flush().await.unwrap();
        expect(&mut conn, b"new keys").await;
        // The peer asked for ours too: they come before this.
        conn.write_all(b"mine too").await.unwrap();
        conn.flush().await.unwrap();
        expect(&mut client, b"mine too").await;
    }
}

#[tokio::test]
async fn hears_close_notify_and_may_still_speak() {
    let server = Server::new();
    for config in [client(), client12()] {
        let (mut conn, mut client) = server.welcome(config).await;
        client.write_all(b"parting").await.unwrap();
        client.shutdown().await.unwrap();
        expect(&mut conn, b"parting").await;
        assert_eq!(conn.read(&mut [0; 16]).await.unwrap(), 0);
        assert_eq!(conn.ending(), Some(Ending::Clean));
        conn.readable().await.unwrap();
        conn.write_all(b"sweet sorrow").await.unwrap();
        conn.shutdown().await.unwrap();
        expect(&mut client, b"sweet sorrow").await;
        assert_eq!(client.read(&mut [0; 16]).await.unwrap(), 0);
    }
}

#[tokio::test]
async fn says_close_notify_once_and_may_still_listen() {
    let server = Server::new();
    let (mut conn, mut client) = server.welcome(client()).await;
    conn.shutdown().await.unwrap();
    conn.shutdown().await.unwrap();
    assert!(conn.write_all(b"too late").await.is_err());
    // tokio-rustls reports 0 for close_notify and an error for a bare end.
    assert_eq!(client.read(&mut [0; 16]).await.unwrap(), 0);
    client.write_all(b"one word more").await.unwrap();
    client.flush().await.unwrap();
    expect(&mut conn, b"one word more").await;
}

#[tokio::test]
async fn tells_a_cut_connection_from_a_closed_one() {
    let server = Server::new();
    let (mut conn, client) = server.welcome(client()).await;
    let (mut tcp, _) = client.into_inner();
    tcp.shutdown().await.unwrap();
    assert_eq!(conn.read(&mut [0; 16]).await.unwrap(), 0);
    assert_eq!(conn.ending(), Some(Ending::Truncated));

    let ((tcp, peer), mut plain) = sockets().await;
    let mut conn = Conn::plain(tcp, peer);
    plain.shutdown().await.unwrap();
    assert_eq!(conn.read(&mut [0; 16]).await.unwrap(), 0);
    assert_eq!(conn.ending(), Some(Ending::Clean));
}

#[tokio::test]
async fn reports_a_reset() {
    let server = Server::new();
    let (mut conn, client) = server.welcome(client()).await;
    socket2::SockRef::from(client.get_ref().0).set_linger(Some(std::time::Duration::ZERO)).unwrap();
    drop(client);
    let error = conn.read(&mut [0; 16]).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn answers_a_broken_record_with_an_alert() {
    let server = Server::new();
    let (mut conn, client) = server.welcome(client()).await;
    let (mut tcp, mut tls) = client.into_inner();
    tcp.write_all(&[23, 3, 3, 0, 20]).await.unwrap();
    tcp.write_all(&[0; 20]).await.unwrap();
    for _ in 0..2 {
        let error = conn.read(&mut [0; 16]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
    assert_eq!(conn.write(b"x").await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    drop(conn);
    let mut bytes = Vec::new();
    tcp.read_to_end(&mut bytes).await.unwrap();
    tls.read_tls(&mut &bytes[..]).unwrap();
    let told = tls.process_new_packets().unwrap_err().to_string();
    assert!(told.contains("BadRecordMac"), "{told}");
}

#[tokio::test]
async fn meets_garbage_after_its_own_close_notify_with_an_error() {
    let server = Server::new();
    let (mut conn, client) = server.welcome(client()).await;
    conn.shutdown().await.unwrap();
    let (mut tcp, _) = client.into_inner();
    tcp.write_all(&[23, 3, 3, 0, 20]).await.unwrap();
    tcp.write_all(&[0; 20]).await.unwrap();
    let error = conn.read(&mut [0; 16]).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
}

#[tokio::test]
async fn refuses_a_buffer_without_room() {
    let server = Server::new();
    let (mut conn, _client) = server.welcome(client()).await;
    let mut full = ReadBuf::new(&mut []);
    let error = std::future::poll_fn(|cx| conn.poll_read(cx, &mut full)).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
}

#[tokio::test]
async fn carries_plain_bytes() {
    let ((tcp, peer), mut other) = sockets().await;
    let mut conn = Conn::plain(tcp, peer);
    conn.write_all(b"<stream>").await.unwrap();
    expect(&mut other, b"<stream>").await;
    other.write_all(b"</stream>").await.unwrap();
    conn.readable().await.unwrap();
    expect(&mut conn, b"</stream>").await;
    assert!(conn.facts().tls.is_none());
    assert_eq!(conn.facts().peer, peer);
}
