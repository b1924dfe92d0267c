//! Accepting connections on a port, whatever is spoken there.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use stentor_transport::{Conn, Listener, TlsAcceptor};
use tokio::net::TcpStream;
use tokio::sync::watch;

use crate::admission::Permit;

/// What serves the connections of a port.
pub trait Serve: Send + Sync + 'static {
    /// The right of this peer to be served, or nothing: then it is counted as turned away.
    fn admit(&self, peer: SocketAddr) -> Option<Permit>;

    /// Serves one connection in a task of its own, which ends with it.
    fn serve(self: Arc<Self>, tcp: TcpStream, peer: SocketAddr, permit: Permit);
}

/// Accepts connections until `stop` changes.
pub async fn accept<S: Serve>(server: Arc<S>, listener: Listener, mut stop: watch::Receiver<bool>) {
    loop {
        let (tcp, peer) = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.changed() => return,
        };
        match server.admit(peer) {
            Some(permit) => server.clone().serve(tcp, peer, permit),
            None => tracing::debug!(event = "turned_away", %peer, "A connection was turned away."),
        }
    }
}

/// The connection as its stream begins; behind a TLS handshake, which may take so long, if there is an
/// acceptor.
///
/// # Errors
/// What the handshake failed by.
pub(crate) async fn open(
    tcp: TcpStream,
    peer: SocketAddr,
    acceptor: Option<&TlsAcceptor>,
    wait_ms: u64,
) -> Result<Conn, String> {
    let Some(acceptor) = acceptor else { return Ok(Conn::plain(tcp, peer)) };
    let handshake = Conn::accept_tls(tcp, peer, acceptor, &[]);
    match tokio::time::timeout(Duration::from_millis(wait_ms), handshake).await {
        Ok(conn) => conn.map_err(|error| error.to_string()),
        Err(_) => Err("it took too long".to_owned()),
    }
}
