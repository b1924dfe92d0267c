//! A connection in memory, for simulations under a virtual clock.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;
use tokio::io::ReadBuf;

/// One end of a connection in memory. Dropping it breaks the connection.
#[derive(Debug)]
pub struct Pipe {
    inbound: Arc<Mutex<Lane>>,
    outbound: Arc<Mutex<Lane>>,
}

/// One direction.
#[derive(Debug, Default)]
struct Lane {
    bytes: VecDeque<u8>,
    bytes_max: usize,
    /// Nothing more comes in.
    is_shut: bool,
    /// One of the ends has gone.
    is_broken: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
    /// Writes that brought something.
    writes: usize,
}

/// Counts what the other end of a connection writes.
#[derive(Debug)]
pub struct Writes(Arc<Mutex<Lane>>);

impl Writes {
    /// How many writes there were so far.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.lock().writes
    }
}

impl Pipe {
    /// Both ends of a connection that holds so many bytes in each direction.
    #[must_use]
    pub fn pair(bytes_max: usize) -> (Self, Self) {
        let lane = || Arc::new(Mutex::new(Lane { bytes_max, ..Lane::default() }));
        let (there, back) = (lane(), lane());
        let left = Self { inbound: back.clone(), outbound: there.clone() };
        (left, Self { inbound: there, outbound: back })
    }

    /// The writes of the other end.
    #[must_use]
    pub fn writes(&self) -> Writes {
        Writes(self.inbound.clone())
    }

    /// Ready when something can be read, or the end is known.
    ///
    /// # Errors
    /// None; the connection's end is read as such.
    pub fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut lane = self.inbound.lock();
        if !lane.bytes.is_empty() || lane.is_shut || lane.is_broken {
            return Poll::Ready(Ok(()));
        }
        lane.reader = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Reads what is there; nothing at the end.
    ///
    /// # Errors
    /// `ConnectionReset` once the other end has gone and all that it wrote was read.
    pub fn poll_read(&self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.poll_read_ready(cx)?.is_pending() {
            return Poll::Pending;
        }
        let mut lane = self.inbound.lock();
        if lane.bytes.is_empty() && !lane.is_shut {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let count = lane.bytes.len().min(buf.remaining());
        let taken: Vec<u8> = lane.bytes.drain(..count).collect();
        buf.put_slice(&taken);
        if lane.bytes.is_empty() {
            // An idle connection holds no buffer, as a socket's is not the process's.
            lane.bytes = VecDeque::new();
        }
        wake(&mut lane.writer);
        Poll::Ready(Ok(()))
    }

    /// Ready when something can be written, or nothing ever again.
    ///
    /// # Errors
    /// None; writing tells.
    pub fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut lane = self.outbound.lock();
        if lane.bytes.len() < lane.bytes_max || lane.is_shut || lane.is_broken {
            return Poll::Ready(Ok(()));
        }
        lane.writer = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Writes what there is room for.
    ///
    /// # Errors
    /// `WouldBlock` if there is none, `BrokenPipe` once an end has gone.
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut lane = self.outbound.lock();
        if lane.is_shut || lane.is_broken {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let count = bytes.len().min(lane.bytes_max.saturating_sub(lane.bytes.len()));
        if count == 0 && !bytes.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        lane.bytes.extend(&bytes[..count]);
        lane.writes += usize::from(count > 0);
        wake(&mut lane.reader);
        Ok(count)
    }

    /// Says that nothing more will be written.
    pub fn shut_down(&self) {
        let mut lane = self.outbound.lock();
        lane.is_shut = true;
        wake(&mut lane.reader);
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        for lane in [&self.inbound, &self.outbound] {
            let mut lane = lane.lock();
            lane.is_broken = true;
            wake(&mut lane.reader);
            wake(&mut lane.writer);
        }
    }
}

fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pipe: &Pipe) -> Poll<Result<Vec<u8>, io::ErrorKind>> {
        let mut space = [0; 16];
        let mut buf = ReadBuf::new(&mut space);
        let mut cx = Context::from_waker(Waker::noop());
        pipe.poll_read(&mut cx, &mut buf).map(|result| match result {
            Ok(()) => Ok(buf.filled().to_vec()),
            Err(error) => Err(error.kind()),
        })
    }

    #[test]
    fn carries_bytes_both_ways_and_holds_no_more_than_it_may() {
        let (left, right) = Pipe::pair(4);
        assert!(read(&right).is_pending());
        assert_eq!(left.try_write(b"abcdef").unwrap(), 4);
        assert_eq!(left.try_write(b"ef").unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert_eq!(right.try_write(b"x").unwrap(), 1);
        assert_eq!((right.writes().count(), left.writes().count()), (1, 1));
        assert_eq!(read(&right), Poll::Ready(Ok(b"abcd".to_vec())));
        assert_eq!(left.try_write(b"ef").unwrap(), 2);
        assert_eq!(read(&left), Poll::Ready(Ok(b"x".to_vec())));
    }

    #[test]
    fn an_orderly_end_is_read_as_one_and_a_broken_pipe_is_an_error() {
        let (left, right) = Pipe::pair(4);
        left.try_write(b"ab").unwrap();
        left.shut_down();
        assert_eq!(read(&right), Poll::Ready(Ok(b"ab".to_vec())));
        assert_eq!(read(&right), Poll::Ready(Ok(Vec::new())));
        drop(right);
        assert_eq!(read(&left), Poll::Ready(Err(io::ErrorKind::ConnectionReset)));
        assert_eq!(left.try_write(b"c").unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
