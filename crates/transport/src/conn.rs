//! One TCP connection, plain or under TLS, that holds almost nothing while it is idle.
//!
//! The caller lends the buffer to read into; ciphertext passes through a buffer of the thread. What
//! stays with a connection is the beginning of an unfinished record, plaintext that the caller had
//! no room for, and ciphertext that the socket did not take: all bounded by [`crate::limits`], all
//! without memory when empty.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustls::Error;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::facts::{Facts, TlsFacts};
use crate::limits::{PARTIAL_BYTES_MAX, PENDING_BYTES_MAX, READ_BYTES_MAX, WRITE_BYTES_MAX};
use crate::socket::Socket;
use crate::tls::handshake;
use crate::tls::session::Session;
use crate::tls::{HandshakeError, TlsAcceptor, TlsConnector};

/// A connection. To be polled by one task at a time: it remembers one waker per direction.
pub struct Conn {
    socket: Socket,
    session: Option<Box<Session>>,
    facts: Facts,
    ending: Option<Ending>,
}

/// How the peer's bytes came to their end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The peer said so: `close_notify` under TLS, end of the TCP stream without it.
    Clean,
    /// TCP ended without `close_notify`: the last bytes may be missing (RFC 8446 §6.1).
    Truncated,
}

impl Conn {
    /// Takes a socket as it is.
    pub fn plain(tcp: TcpStream, peer: SocketAddr) -> Self {
        Self::over(Socket::Tcp(tcp), peer)
    }

    /// Takes an end of a connection in memory. It cannot be secured.
    #[cfg(feature = "testing")]
    pub fn piped(pipe: crate::pipe::Pipe, peer: SocketAddr) -> Self {
        Self::over(Socket::Pipe(pipe), peer)
    }

    fn over(socket: Socket, peer: SocketAddr) -> Self {
        Self { socket, session: None, facts: Facts { peer, tls: None }, ending: None }
    }

    /// Takes a socket on which TLS starts at once (XEP-0368).
    ///
    /// `leftover` is what was read from the socket already. The caller sets the time limit, and
    /// boxes the future: it is large and short-lived.
    ///
    /// # Errors
    /// If the handshake fails; the peer has been sent an alert.
    pub async fn accept_tls(
        tcp: TcpStream,
        peer: SocketAddr,
        acceptor: &TlsAcceptor,
        leftover: &[u8],
    ) -> Result<Self, HandshakeError> {
        let mut conn = Self::plain(tcp, peer);
        conn.start_tls(acceptor, leftover, None).await?;
        Ok(conn)
    }

    /// Secures a plain connection, as server (RFC 6120 §5.4.3).
    ///
    /// `leftover` is what arrived after the end of the plain text and was read already. Without a
    /// server name from the peer, `host_hint` chooses the certificate: the domain it named before.
    ///
    /// # Errors
    /// If the handshake fails, the peer has been sent an alert and the connection is of no more
    /// use; or if the connection is under TLS already.
    pub async fn start_tls(
        &mut self,
        acceptor: &TlsAcceptor,
        leftover: &[u8],
        host_hint: Option<&str>,
    ) -> Result<(), HandshakeError> {
        let tcp = self.plain_tcp()?;
        let (session, facts) = handshake::accept(tcp, acceptor, leftover, host_hint).await?;
        self.secure(session, facts);
        Ok(())
    }

    /// Secures a plain connection, as client. `server_name` is an A-label; it is sent as SNI.
    ///
    /// # Errors
    /// As [`Conn::start_tls`].
    pub async fn connect_tls(
        &mut self,
        connector: &TlsConnector,
        server_name: &str,
        leftover: &[u8],
    ) -> Result<(), HandshakeError> {
        let tcp = self.plain_tcp()?;
        let (session, facts) = connector.connect(tcp, server_name, leftover).await?;
        self.secure(session, facts);
        Ok(())
    }

    /// What is known of the connection.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Hands all TLS facts over, for a caller that keeps what it needs in less space.
    pub fn take_tls_facts(&mut self) -> Option<Box<TlsFacts>> {
        self.facts.tls.take()
    }

    /// How the peer's bytes ended, once [`Conn::poll_read`] has returned 0.
    pub fn ending(&self) -> Option<Ending> {
        self.ending
    }

    /// Ciphertext that is accepted but not yet with the socket, in bytes.
    pub fn pending_len(&self) -> usize {
        self.session.as_ref().map_or(0, |session| session.pending.len())
    }

    /// Waits until [`Conn::poll_read`] has something to do, without holding a buffer.
    ///
    /// May wake for nothing, as when half a record arrived.
    pub fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.ending.is_some() || self.session.as_ref().is_some_and(|s| s.has_news()) {
            return Poll::Ready(Ok(()));
        }
        self.socket.poll_read_ready(cx)
    }

    /// [`Conn::poll_readable`] as a future.
    ///
    /// # Errors
    /// If the socket fails.
    pub async fn readable(&mut self) -> io::Result<()> {
        std::future::poll_fn(|cx| self.poll_readable(cx)).await
    }

    /// Appends plaintext to `buf`; 0 means that the peer sends no more ([`Conn::ending`]).
    ///
    /// # Errors
    /// If the socket fails or TLS is violated (`InvalidData`; the peer is sent an alert).
    pub fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<usize>> {
        if buf.remaining() == 0 {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidInput, "no room")));
        }
        loop {
            if let Some(session) = &mut self.session {
                let len = deliver(session, buf);
                if len > 0 {
                    return Poll::Ready(Ok(len));
                }
                if let Some(error) = &session.failure {
                    return Poll::Ready(Err(invalid(Error::clone(error))));
                }
                if session.is_peer_closed {
                    self.ending = Some(Ending::Clean);
                }
            }
            if self.ending.is_some() {
                return Poll::Ready(Ok(0));
            }
            // A peer that makes us answer but does not read is not read from either.
            if self.pending_len() > PENDING_BYTES_MAX {
                ready!(self.poll_flush(cx))?;
            }
            let result = match &mut self.session {
                None => ready!(poll_read_plain(&mut self.socket, cx, buf)),
                Some(session) => ready!(poll_read_tls(&mut self.socket, cx, session, buf)),
            };
            match result {
                Ok(Taken::End(ending)) => self.ending = Some(ending),
                Ok(Taken::Bytes(0)) => {}
                Ok(Taken::Bytes(len)) => return Poll::Ready(Ok(len)),
                Err(e) => {
                    // The alert, if there is one, is worth an attempt and no more.
                    let _ = self.poll_flush(cx);
                    return Poll::Ready(Err(e));
                }
            }
            // Answers of TLS itself, such as key updates. If they have to wait, the waker is set.
            if self.pending_len() > 0
                && let Poll::Ready(Err(e)) = self.poll_flush(cx)
            {
                return Poll::Ready(Err(e));
            }
        }
    }

    /// Takes some of `plaintext`, at most [`WRITE_BYTES_MAX`] bytes under TLS.
    ///
    /// Under TLS what is taken may wait here for the socket: [`Conn::poll_flush`] sends it. `Pending`
    /// while too much waits already ([`PENDING_BYTES_MAX`]).
    ///
    /// # Errors
    /// If the socket fails, or after [`Conn::poll_shutdown`].
    pub fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        plaintext: &[u8],
    ) -> Poll<io::Result<usize>> {
        if plaintext.is_empty() {
            return Poll::Ready(Ok(0));
        }
        if self.session.is_none() {
            return self.poll_write_plain(cx, plaintext);
        }
        if self.pending_len() > 0
            && let Poll::Pending = self.poll_flush(cx)?
            && self.pending_len() >= PENDING_BYTES_MAX
        {
            return Poll::Pending;
        }
        let Some(session) = &mut self.session else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        if session.failure.is_some() || session.is_close_sent {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let taken = &plaintext[..plaintext.len().min(WRITE_BYTES_MAX)];
        SCRATCH.with_borrow_mut(|scratch| {
            scratch.sealed.clear();
            session.encrypt(taken, &mut scratch.sealed).map_err(invalid)?;
            send_or_keep(&self.socket, session, &scratch.sealed)?;
            Poll::Ready(Ok(taken.len()))
        })
    }

    /// Completes when the socket has taken everything.
    ///
    /// # Errors
    /// If the socket fails.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(session) = &mut self.session else {
            return Poll::Ready(Ok(()));
        };
        while !session.pending.is_empty() {
            ready!(self.socket.poll_write_ready(cx))?;
            match self.socket.try_write(session.pending.as_slice()) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(len) => session.pending.advance(len),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) => return Poll::Ready(Err(e)),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Ends our direction: `close_notify` under TLS, then the end of the TCP stream.
    ///
    /// What the peer still sends can be read.
    ///
    /// # Errors
    /// If the socket fails.
    pub fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(session) = &mut self.session {
            let mut out = Vec::new();
            session.close_notify(&mut out).map_err(invalid)?;
            session.pending.push(&out);
        }
        ready!(self.poll_flush(cx))?;
        self.socket.poll_shutdown(cx)
    }

    /// Gives up what the peer has not got: once it is dropped, the connection ends by a reset, and
    /// nothing of that arrives later.
    pub fn abort(&mut self) {
        if let Some(tcp) = self.socket.tcp() {
            // If it fails, the kernel goes on trying for a while.
            let _ = SockRef::from(&*tcp).set_linger(Some(Duration::ZERO));
        }
    }

    fn plain_tcp(&mut self) -> Result<&mut TcpStream, HandshakeError> {
        if self.session.is_some() {
            return Err(HandshakeError::refused("the connection is under TLS already"));
        }
        self.socket.tcp().ok_or(HandshakeError::refused("there is no TLS in memory"))
    }

    fn secure(&mut self, mut session: Session, facts: TlsFacts) {
        session.partial.shrink_to_fit();
        self.session = Some(Box::new(session));
        self.facts.tls = Some(Box::new(facts));
    }

    fn poll_write_plain(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.socket.poll_write_ready(cx))?;
            match self.socket.try_write(bytes) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result),
            }
        }
    }
}

impl std::fmt::Debug for Conn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Conn").field("facts", &self.facts).finish_non_exhaustive()
    }
}

impl AsyncRead for Conn {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        Conn::poll_read(self.get_mut(), cx, buf).map_ok(drop)
    }
}

impl AsyncWrite for Conn {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Conn::poll_write(self.get_mut(), cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Conn::poll_flush(self.get_mut(), cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Conn::poll_shutdown(self.get_mut(), cx)
    }
}

/// What one look at the socket brought.
enum Taken {
    Bytes(usize),
    End(Ending),
}

/// Buffers of a thread, borrowed for the length of one call.
#[derive(Default)]
struct Scratch {
    /// Ciphertext received: an unfinished record and what was read after it.
    received: Vec<u8>,
    /// Ciphertext to be sent.
    sealed: Vec<u8>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// Moves plaintext that was kept to the caller.
fn deliver(session: &mut Session, buf: &mut ReadBuf<'_>) -> usize {
    let len = session.plain.len().min(buf.remaining());
    if len > 0 {
        buf.put_slice(&session.plain.as_slice()[..len]);
        session.plain.advance(len);
    }
    len
}

fn poll_read_plain(
    socket: &mut Socket,
    cx: &mut Context<'_>,
    buf: &mut ReadBuf<'_>,
) -> Poll<io::Result<Taken>> {
    let before = buf.filled().len();
    ready!(socket.poll_read(cx, buf))?;
    Poll::Ready(Ok(match buf.filled().len() - before {
        0 => Taken::End(Ending::Clean),
        len => Taken::Bytes(len),
    }))
}

fn poll_read_tls(
    socket: &mut Socket,
    cx: &mut Context<'_>,
    session: &mut Session,
    buf: &mut ReadBuf<'_>,
) -> Poll<io::Result<Taken>> {
    SCRATCH.with_borrow_mut(|Scratch { received, sealed }| {
        let kept = session.partial.len();
        if kept > PARTIAL_BYTES_MAX {
            let error = Error::General("oversized handshake message".to_owned());
            session.failure = Some(Box::new(error.clone()));
            return Poll::Ready(Err(invalid(error)));
        }
        received.resize(PARTIAL_BYTES_MAX + READ_BYTES_MAX, 0);
        // A small buffer gets small reads, so that little plaintext has to be kept for it.
        let wanted = buf.remaining().clamp(READ_BYTES_MIN, READ_BYTES_MAX);
        let mut ciphertext = ReadBuf::new(&mut received[kept..kept + wanted]);
        ready!(socket.poll_read(cx, &mut ciphertext))?;
        let len = ciphertext.filled().len();
        if len == 0 {
            return Poll::Ready(Ok(Taken::End(Ending::Truncated)));
        }
        received[..kept].copy_from_slice(&session.partial);
        sealed.clear();
        let result = decrypt(session, &mut received[..kept + len], sealed, buf);
        session.pending.push(sealed);
        Poll::Ready(result)
    })
}

/// Hands the plaintext of `input` to the caller, and keeps what does not fit.
fn decrypt(
    session: &mut Session,
    input: &mut [u8],
    sealed: &mut Vec<u8>,
    buf: &mut ReadBuf<'_>,
) -> io::Result<Taken> {
    let before = buf.filled().len();
    let mut overflow = Vec::new();
    let result = session.receive(input, sealed, &mut |bytes| {
        let (fits, rest) = bytes.split_at(bytes.len().min(buf.remaining()));
        buf.put_slice(fits);
        overflow.extend_from_slice(rest);
    });
    session.plain.push(&overflow);
    match (buf.filled().len() - before, result) {
        (0, Err(e)) => Err(invalid(e)),
        // What was sound before a fault is still delivered; the next read meets the fault.
        (len, _) => Ok(Taken::Bytes(len)),
    }
}

/// Sends as much as the socket takes now, after what waits already; keeps the rest.
fn send_or_keep(socket: &Socket, session: &mut Session, mut sealed: &[u8]) -> io::Result<()> {
    while session.pending.is_empty() && !sealed.is_empty() {
        match socket.try_write(sealed) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(len) => sealed = &sealed[len..],
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
            Err(e) => return Err(e),
        }
    }
    if !sealed.is_empty() {
        session.pending.push(sealed);
    }
    Ok(())
}

fn invalid(error: Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// Least that is asked of the socket at once, however little room the caller has.
const READ_BYTES_MIN: usize = 1_024;
