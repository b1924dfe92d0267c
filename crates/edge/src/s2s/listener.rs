//! Ports for other servers.

use std::net::SocketAddr;
use std::sync::Arc;

use stentor_stream::s2s::IncomingSettings;
use stentor_transport::{Conn, TlsAcceptor};
use tokio::net::TcpStream;

use super::incoming::Stream;
use super::links::Links;
use crate::accept::{Serve, open};
use crate::admission::Permit;
use crate::c2s::Kind;
use crate::limits::S2S_HANDSHAKE_WAIT_MS;

/// A listening port for other servers.
pub struct S2sListener {
    kind: Kind,
    pub(super) acceptor: Option<Arc<TlsAcceptor>>,
    pub(super) links: Arc<Links>,
    pub(super) settings: Arc<IncomingSettings>,
}

impl S2sListener {
    /// A port whose connections begin in this way. `name` is told to servers that ask for no
    /// domain of ours.
    #[must_use]
    pub fn new(
        kind: Kind,
        acceptor: Option<Arc<TlsAcceptor>>,
        links: Arc<Links>,
        name: String,
    ) -> Arc<Self> {
        let settings = Arc::new(links.federation.incoming_settings(name));
        Arc::new(Self { kind, acceptor, links, settings })
    }
}

impl Serve for S2sListener {
    fn admit(&self, peer: SocketAddr) -> Option<Permit> {
        let federation = &self.links.federation;
        let permit = federation.admission.admit(peer.ip());
        if permit.is_none() {
            federation.metrics.turned_away.inc();
        }
        permit
    }

    fn serve(self: Arc<Self>, tcp: TcpStream, peer: SocketAddr, permit: Permit) {
        let metrics = &self.links.federation.metrics;
        metrics.connections.inc();
        let connections = metrics.connections.clone();
        tokio::spawn(async move {
            if let Some(conn) = self.connection(tcp, peer).await {
                let mut stream = Stream::new(self, conn, peer);
                let outcome = stream.turn().await;
                stream.finish(outcome.err()).await;
            }
            connections.dec();
            drop(permit);
        });
    }
}

impl S2sListener {
    /// The connection, with TLS if that comes first.
    async fn connection(&self, tcp: TcpStream, peer: SocketAddr) -> Option<Conn> {
        let acceptor = self.acceptor.as_deref().filter(|_| self.kind == Kind::DirectTls);
        let opened = open(tcp, peer, acceptor, S2S_HANDSHAKE_WAIT_MS).await;
        opened
            .inspect_err(|error| {
                self.links.federation.metrics.handshakes_failed.inc();
                tracing::info!(event = "tls_failed", %peer, error, "A TLS handshake with a server failed.");
            })
            .ok()
    }
}
