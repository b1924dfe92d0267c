//! Client connections over TCP: STARTTLS (RFC 6120 §5) and TLS from the first byte (XEP-0368).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use stentor_engine::Engine;
use stentor_stream::c2s::Settings;
use stentor_transport::{Conn, TlsAcceptor};
use tokio::net::TcpStream;

use crate::accept::Serve;
use crate::admission::{Admission, Permit};
use crate::asks::Offers;
use crate::driver::{Driver, Link, Rates};
use crate::limits::HANDSHAKE_WAIT_MS;
use crate::metrics::Metrics;
use crate::turns::Turns;

/// How a port begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// In clear; TLS by STARTTLS.
    StartTls,
    /// By a TLS handshake.
    DirectTls,
}

/// What all connections of all listeners share.
pub struct Shared {
    /// The engine.
    pub engine: Arc<Engine>,
    /// Who may connect.
    pub admission: Arc<Admission>,
    /// How fast clients may send.
    pub rates: Rates,
    /// What is counted.
    pub metrics: Metrics,
    /// What each domain offers.
    pub offers: Offers,
    /// Who may write parts of long stanzas.
    pub turns: Turns,
}

impl Shared {
    /// What listeners share where limits and offers are as they are without a configuration.
    #[must_use]
    pub fn new(engine: Arc<Engine>) -> Self {
        Self {
            engine,
            admission: Arc::default(),
            rates: Rates::default(),
            metrics: Metrics::default(),
            offers: Offers::default(),
            turns: Turns::default(),
        }
    }

    /// The right to connect, unless the peer's address is blocked or a limit has been reached.
    pub(crate) fn admit(&self, peer: SocketAddr) -> Option<Permit> {
        self.admit_as(peer, Some)
    }

    /// The same, where a limit of `kind` has not been reached either.
    fn admit_as(
        &self,
        peer: SocketAddr,
        kind: impl FnOnce(Permit) -> Option<Permit>,
    ) -> Option<Permit> {
        let guard = &self.engine.credentials.guard;
        let is_blocked = guard.is_blocked(peer.ip(), self.engine.clock.unix_ms());
        let permit = (!is_blocked).then(|| self.admission.admit(peer.ip())).flatten();
        let permit = permit.and_then(kind);
        let metrics = &self.metrics;
        let counter = if permit.is_some() { &metrics.accepted } else { &metrics.turned_away };
        counter.inc();
        permit
    }
}

/// A listening port for clients.
pub struct C2sListener {
    /// How connections begin.
    pub kind: Kind,
    /// Settings of its streams. The domain meant by a header that names none is found by
    /// [`C2sListener::stream_settings`].
    pub settings: ArcSwap<Settings>,
    /// Whether nothing but TLS is offered before TLS.
    pub tls_required: bool,
    /// Certificates; none on a port without TLS.
    pub acceptor: Option<Arc<TlsAcceptor>>,
    /// What listeners share.
    pub shared: Arc<Shared>,
}

impl Serve for C2sListener {
    fn admit(&self, peer: SocketAddr) -> Option<Permit> {
        self.shared.admit_as(peer, Permit::before_sign_in)
    }

    fn serve(self: Arc<Self>, tcp: TcpStream, peer: SocketAddr, permit: Permit) {
        let link = Link::new(self, peer, permit);
        // The driver is the task: a future around it would keep room for it a second time.
        if link.listener.acceptor.is_some() && link.listener.kind == Kind::DirectTls {
            tokio::spawn(async move {
                if let Some(conn) = shake_hands(tcp, &link).await {
                    tokio::spawn(Driver::new(conn, link));
                }
            });
        } else {
            tokio::spawn(Driver::new(Conn::plain(tcp, peer), link));
        }
    }
}

impl C2sListener {
    /// A port where nothing is encrypted, with streams as they are without a configuration.
    #[must_use]
    pub fn in_clear(shared: Arc<Shared>) -> Self {
        Self {
            kind: Kind::StartTls,
            settings: Arc::new(Settings::default()).into(),
            tls_required: false,
            acceptor: None,
            shared,
        }
    }

    /// Settings for a new stream: a header without `to` means the only domain, while there is only
    /// one. Domains come and go, so it is looked at each time, and made anew when that has changed.
    pub(crate) fn stream_settings(&self) -> Arc<Settings> {
        let settings = self.settings.load_full();
        let hosts = self.shared.engine.hosts.load();
        let only = hosts.only().map(|host| &*host.domain);
        if settings.default_host.as_deref() == only {
            return settings;
        }
        let default_host = only.map(str::to_owned);
        let settings = Arc::new(Settings { default_host, ..Settings::clone(&settings) });
        self.settings.store(settings.clone());
        settings
    }
}

/// TLS from the first byte, for as long as a handshake may take.
async fn shake_hands(tcp: TcpStream, link: &Link) -> Option<Conn> {
    let (listener, peer) = (&link.listener, link.peer);
    let acceptor = listener.acceptor.as_ref()?;
    let wait = Duration::from_millis(HANDSHAKE_WAIT_MS);
    match tokio::time::timeout(wait, Conn::accept_tls(tcp, peer, acceptor, &[])).await {
        Ok(Ok(conn)) => return Some(conn),
        Ok(Err(error)) => {
            tracing::info!(event = "tls_failed", %peer, %error, "A TLS handshake failed.");
        }
        Err(_) => {
            tracing::info!(event = "tls_failed", %peer, "A TLS handshake took too long.");
        }
    }
    listener.shared.metrics.handshakes_failed.inc();
    None
}
