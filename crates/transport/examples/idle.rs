//! How much memory an idle TLS connection costs the server.
//!
//! `cargo run --release -p stentor-transport --example idle -- 5000` opens that many connections
//! from a child process, lets each say something, and prints the growth of the resident set
//! divided by their number: sockets' kernel memory aside, tasks and TLS included.

#![allow(clippy::print_stdout, missing_docs)]

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::task::{Context, Poll};

use stentor_transport::{
    Certificates, Conn, ConnectorSettings, Listener, Roots, TlsAcceptor, TlsConnector, TlsSettings,
    Trust, VersionMin, dev_ca, dial,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadBuf};
use tokio::sync::mpsc;

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn main() -> Outcome<()> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Runtime::new()?;
    match arguments.as_slice() {
        [mode, authority, addr, count] if mode == "client" => {
            runtime.block_on(visit(Path::new(authority), addr.parse()?, count.parse()?))
        }
        [] => runtime.block_on(serve(1_000)),
        [count] => runtime.block_on(serve(count.parse()?)),
        _ => Err("usage: idle [CONNECTIONS]".into()),
    }
}

async fn serve(count: u64) -> Outcome<()> {
    let dir = tempfile::tempdir()?;
    let ca = dev_ca::open(dir.path(), &[])?;
    let (certificates, _) = Certificates::load(vec![ca.identity()])?;
    let acceptor = Arc::new(TlsAcceptor::new(Arc::new(certificates), TlsSettings::default()));
    let listener = Listener::bind("127.0.0.1:0".parse()?)?;
    let (done, mut ready) = mpsc::channel(64);

    // The first visitors fill thread-local buffers and the allocator's arenas.
    let mut warm = child(&ca.authority, listener.addr(), WARM_UP)?;
    accept(&listener, &acceptor, &done, &mut ready, WARM_UP).await?;
    let before = resident_bytes()?;
    let mut visitors = child(&ca.authority, listener.addr(), count)?;
    accept(&listener, &acceptor, &done, &mut ready, count).await?;
    let after = resident_bytes()?;
    let size = size_of::<Conn>();
    println!("{count} idle connections: {} bytes each", after.saturating_sub(before) / count);
    println!("size_of::<Conn>() = {size}");
    for child in [&mut warm, &mut visitors] {
        child.kill()?;
        child.wait()?;
    }
    Ok(())
}

fn child(authority: &Path, addr: SocketAddr, count: u64) -> io::Result<Child> {
    Command::new(std::env::current_exe()?)
        .arg("client")
        .arg(authority)
        .args([addr.to_string(), count.to_string()])
        .stdin(Stdio::null())
        .spawn()
}

async fn accept(
    listener: &Listener,
    acceptor: &Arc<TlsAcceptor>,
    done: &mpsc::Sender<()>,
    ready: &mut mpsc::Receiver<()>,
    count: u64,
) -> Outcome<()> {
    for _ in 0..count {
        let (tcp, peer) = listener.accept().await;
        let (acceptor, done) = (Arc::clone(acceptor), done.clone());
        tokio::spawn(async move {
            let handshake = Box::pin(Conn::accept_tls(tcp, peer, &acceptor, b""));
            let Ok(mut conn) = handshake.await else { return };
            drop(acceptor);
            let Ok(()) = Box::pin(echo(&mut conn)).await else { return };
            drop(conn.take_tls_facts());
            if done.send(()).await.is_ok() {
                drop(done);
                park(&mut conn).await;
            }
        });
        ready.recv().await.ok_or("a connection failed")?;
    }
    Ok(())
}

async fn echo(conn: &mut Conn) -> io::Result<()> {
    let mut message = vec![0; MESSAGE.len()];
    conn.read_exact(&mut message).await?;
    conn.write_all(&message).await?;
    conn.flush().await
}

/// Waits until the visitor leaves, with a buffer only while something can be read.
async fn park(conn: &mut Conn) {
    while conn.readable().await.is_ok() {
        let read = |cx: &mut Context<'_>| {
            let mut buffer = [0; 512];
            Poll::Ready(conn.poll_read(cx, &mut ReadBuf::new(&mut buffer)))
        };
        if !matches!(std::future::poll_fn(read).await, Poll::Pending | Poll::Ready(Ok(1..))) {
            return;
        }
    }
}

async fn visit(authority: &Path, addr: SocketAddr, count: u64) -> Outcome<()> {
    let connector = TlsConnector::new(ConnectorSettings {
        trust: Trust::Roots(Roots::from_pem(&std::fs::read(authority)?)?),
        alpn: Vec::new(),
        identity: None,
        version_min: VersionMin::Tls13,
    })?;
    let mut conns = Vec::new();
    for _ in 0..count {
        let mut conn = dial(addr).await?;
        Box::pin(conn.connect_tls(&connector, "localhost", b"")).await?;
        conn.write_all(&MESSAGE).await?;
        conn.flush().await?;
        conn.read_exact(&mut [0; MESSAGE.len()]).await?;
        conns.push(conn);
    }
    std::future::pending().await
}

/// The resident set of this process, from `/proc`.
fn resident_bytes() -> Outcome<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib * 1_024)
}

const WARM_UP: u64 = 200;
const MESSAGE: [u8; 317] = [b'x'; 317];
