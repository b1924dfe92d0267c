//! Accepting connections on a port, whatever is spoken there.

use std::net::SocketAddr;
use std::sync::Arc;

use stentor_transport::Listener;
use tokio::net::TcpStream;
use tokio::sync::watch;

use crate::admission::Permit;
use crate::c2s::Shared;

/// What serves the connections of a port.
pub trait Serve: Send + Sync + 'static {
    /// What all ports share.
    fn shared(&self) -> &Arc<Shared>;

    /// Serves one connection to its end.
    fn serve(
        self: Arc<Self>,
        tcp: TcpStream,
        peer: SocketAddr,
        permit: Permit,
    ) -> impl Future<Output = ()> + Send;
}

/// Accepts connections until `stop` changes. Each gets a task, which ends with its stream.
pub async fn accept<S: Serve>(server: Arc<S>, listener: Listener, mut stop: watch::Receiver<bool>) {
    loop {
        let (tcp, peer) = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.changed() => return,
        };
        admit(&server, tcp, peer);
    }
}

fn admit<S: Serve>(server: &Arc<S>, tcp: TcpStream, peer: SocketAddr) {
    let shared = server.shared().clone();
    let engine = &shared.engine;
    let is_blocked = engine.credentials.guard.is_blocked(peer.ip(), engine.clock.unix_ms());
    let permit = (!is_blocked).then(|| shared.admission.admit(peer.ip())).flatten();
    let Some(permit) = permit else {
        shared.metrics.turned_away.inc();
        tracing::debug!(%peer, is_blocked, "A connection was turned away.");
        return;
    };
    shared.metrics.accepted.inc();
    let server = server.clone();
    tokio::spawn(async move {
        shared.metrics.open.inc();
        server.serve(tcp, peer, permit).await;
        shared.metrics.open.dec();
    });
}
