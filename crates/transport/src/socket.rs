//! What is under a connection: a socket, or for tests a pipe in memory.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

#[cfg(feature = "testing")]
use crate::pipe::Pipe;

/// A stream of bytes in both directions.
pub(crate) enum Socket {
    Tcp(TcpStream),
    #[cfg(feature = "testing")]
    Pipe(Pipe),
}

impl Socket {
    /// The TCP connection; none if it is something else.
    pub(crate) fn tcp(&mut self) -> Option<&mut TcpStream> {
        match self {
            Self::Tcp(tcp) => Some(tcp),
            #[cfg(feature = "testing")]
            Self::Pipe(_) => None,
        }
    }

    pub(crate) fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(tcp) => tcp.poll_read_ready(cx),
            #[cfg(feature = "testing")]
            Self::Pipe(pipe) => pipe.poll_read_ready(cx),
        }
    }

    pub(crate) fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(tcp) => tcp.poll_write_ready(cx),
            #[cfg(feature = "testing")]
            Self::Pipe(pipe) => pipe.poll_write_ready(cx),
        }
    }

    /// Writes what it takes now; `WouldBlock` if that is nothing.
    pub(crate) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(tcp) => tcp.try_write(bytes),
            #[cfg(feature = "testing")]
            Self::Pipe(pipe) => pipe.try_write(bytes),
        }
    }

    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(tcp) => Pin::new(tcp).poll_read(cx, buf),
            #[cfg(feature = "testing")]
            Self::Pipe(pipe) => pipe.poll_read(cx, buf),
        }
    }

    pub(crate) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(tcp) => Pin::new(tcp).poll_shutdown(cx),
            #[cfg(feature = "testing")]
            Self::Pipe(pipe) => {
                pipe.shut_down();
                Poll::Ready(Ok(()))
            }
        }
    }
}
