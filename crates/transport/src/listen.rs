//! Listening sockets, and accepting when the system is short of everything.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream};

use crate::limits::{
    ACCEPT_PAUSE_MAX_MILLIS, ACCEPT_PAUSE_MIN_MILLIS, BACKLOG, KEEPALIVE_IDLE_SECS,
    KEEPALIVE_INTERVAL_SECS, KEEPALIVE_PROBES,
};

/// A listening TCP socket.
#[derive(Debug)]
pub struct Listener {
    tcp: TcpListener,
    addr: SocketAddr,
}

impl Listener {
    /// Listens on an address; `[::]` takes IPv4 as well.
    ///
    /// Must be called within the runtime.
    ///
    /// # Errors
    /// If the address cannot be had, with what to do about it.
    pub fn bind(addr: SocketAddr) -> Result<Self, ListenError> {
        let open = || {
            let tcp = TcpListener::from_std(socket(addr)?.into())?;
            let addr = tcp.local_addr()?;
            Ok(Self { tcp, addr })
        };
        open().map_err(|source| ListenError { addr, source })
    }

    /// The address in use, with the port that the system chose if 0 was asked for.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Waits for the next connection. An IPv4 address is one, also on a socket of IPv6.
    ///
    /// Does not fail: what concerns one connection is passed over, and while the process has no
    /// descriptors or memory left it waits, each time longer, and says so once.
    pub async fn accept(&self) -> (TcpStream, SocketAddr) {
        let mut pause = Pause::default();
        loop {
            match self.tcp.accept().await {
                Ok((tcp, peer)) => {
                    // A peer that is gone already shows when it is read from.
                    if tune(&tcp).is_ok() {
                        return (tcp, SocketAddr::new(peer.ip().to_canonical(), peer.port()));
                    }
                }
                Err(error) => {
                    let Some(length) = pause.after(&error) else { continue };
                    if pause.is_first() {
                        tracing::warn!(
                            event = "accept_failed", addr = %self.addr, %error,
                            "cannot accept connections; raise the limit of open files"
                        );
                    }
                    tokio::time::sleep(length).await;
                }
            }
        }
    }
}

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {addr}: {}", remedy(source))]
pub struct ListenError {
    /// The address asked for.
    pub addr: SocketAddr,
    /// What the system said.
    pub source: io::Error,
}

/// Settings of every connection, accepted or opened.
pub(crate) fn tune(tcp: &TcpStream) -> io::Result<()> {
    // Stanzas are small and written whole; waiting to fill a segment only delays them.
    tcp.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(KEEPALIVE_IDLE_SECS))
        .with_interval(Duration::from_secs(KEEPALIVE_INTERVAL_SECS))
        .with_retries(KEEPALIVE_PROBES);
    SockRef::from(tcp).set_tcp_keepalive(&keepalive)
}

fn socket(addr: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    if addr.is_ipv6() {
        socket.set_only_v6(!addr.ip().is_unspecified())?;
    }
    // A restarted server gets its port back while old connections linger in TIME_WAIT.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket)
}

fn remedy(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => "the port is in use; stop the other server or choose another \
                                     port"
            .to_owned(),
        io::ErrorKind::PermissionDenied => "not permitted; ports below 1024 need \
                                            CAP_NET_BIND_SERVICE or a socket from the service \
                                            manager"
            .to_owned(),
        io::ErrorKind::AddrNotAvailable => {
            "this machine does not have the address; check the configuration".to_owned()
        }
        _ => error.to_string(),
    }
}

/// How long to wait after failures to accept in a row.
#[derive(Debug, Default)]
struct Pause {
    failures: u32,
}

impl Pause {
    /// The pause after an error; `None` if it concerned one connection only.
    fn after(&mut self, error: &io::Error) -> Option<Duration> {
        let is_passing = matches!(
            error.kind(),
            io::ErrorKind::ConnectionAborted
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::ConnectionRefused
                | io::ErrorKind::Interrupted
        );
        if is_passing {
            return None;
        }
        let factor = 1_u64 << self.failures.min(16);
        self.failures = self.failures.saturating_add(1);
        let millis = ACCEPT_PAUSE_MIN_MILLIS.saturating_mul(factor).min(ACCEPT_PAUSE_MAX_MILLIS);
        Some(Duration::from_millis(millis))
    }

    fn is_first(&self) -> bool {
        self.failures == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_longer_each_time_descriptors_are_out() {
        let emfile = io::Error::from_raw_os_error(24);
        let mut pause = Pause::default();
        let millis: Vec<_> = (0..7).map(|_| pause.after(&emfile).unwrap().as_millis()).collect();
        assert_eq!(millis, [50, 100, 200, 400, 800, 1_000, 1_000]);
    }

    #[test]
    fn passes_over_connections_that_are_gone() {
        let mut pause = Pause::default();
        assert_eq!(pause.after(&io::ErrorKind::ConnectionAborted.into()), None);
        assert!(!pause.is_first());
    }

    #[tokio::test]
    async fn names_the_address_that_is_in_use() {
        let first = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let error = Listener::bind(first.addr()).unwrap_err();
        let text = error.to_string();
        assert!(text.contains(&first.addr().to_string()) && text.contains("in use"), "{text}");
    }

    #[tokio::test]
    async fn takes_both_address_families_on_the_unspecified_address() {
        let Ok(listener) = Listener::bind("[::]:0".parse().unwrap()) else {
            return; // No IPv6 on this machine.
        };
        let port = listener.addr().port();
        let client = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let (server, peer) = listener.accept().await;
        assert_eq!(peer, client.local_addr().unwrap());
        assert!(server.nodelay().unwrap());
    }
}
