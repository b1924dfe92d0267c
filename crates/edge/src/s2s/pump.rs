//! A connection between servers as bytes: what is to be written, what has been read, what to wait
//! for.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use stentor_stanza::Stanza;
use stentor_stream::Millis;
use stentor_transport::{Conn, Facts};
use tokio::io::ReadBuf;
use tokio::time::{Instant, Sleep};

use crate::limits::{LINGER_WAIT_MS, OUT_BYTES_MAX, READ_BYTES_MAX};
use crate::monotonic;
use crate::out::write_all;

/// A connection with its buffers.
pub(crate) struct Pump {
    pub(crate) conn: Conn,
    /// Bytes for the peer.
    pub(crate) out: Vec<u8>,
    taken: usize,
    /// Bytes that the socket has taken in all.
    pub(crate) written: u64,
    buffer: Box<[u8]>,
    filled: usize,
    used: usize,
    is_eof: bool,
    /// Bytes read so far.
    pub(crate) read_bytes: u64,
    timer: Pin<Box<Sleep>>,
    /// What went through it.
    pub(crate) counts: Counts,
}

/// Stanzas of one stream, for the log.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) presences_out: u64,
    pub(crate) others_out: u64,
    pub(crate) presences_in: u64,
    pub(crate) others_in: u64,
}

/// The version of TLS and the cipher suite, for the log.
pub(crate) fn encryption(facts: &Facts) -> (&'static str, &'static str) {
    facts.tls.as_ref().map_or(("none", "none"), |tls| (tls.version.as_str(), tls.cipher))
}

impl Counts {
    pub(crate) fn note_out(&mut self, stanza: &Stanza) {
        let is_presence = stanza.presence_type().is_some();
        *(if is_presence { &mut self.presences_out } else { &mut self.others_out }) += 1;
    }

    pub(crate) fn note_in(&mut self, stanza: &Stanza) {
        let is_presence = stanza.presence_type().is_some();
        *(if is_presence { &mut self.presences_in } else { &mut self.others_in }) += 1;
    }
}

/// What woke a connection up.
pub(crate) enum Wake<T> {
    /// The socket has bytes, took bytes, or has ended; look at [`Pump::input`] and
    /// [`Pump::is_eof`].
    Socket,
    /// What else was waited for.
    Other(T),
    /// The time has come.
    Timer,
}

impl Pump {
    pub(crate) fn new(conn: Conn) -> Self {
        Self {
            conn,
            out: Vec::new(),
            taken: 0,
            written: 0,
            buffer: vec![0; READ_BYTES_MAX].into_boxed_slice(),
            filled: 0,
            used: 0,
            is_eof: false,
            read_bytes: 0,
            timer: Box::pin(tokio::time::sleep(std::time::Duration::ZERO)),
            counts: Counts::default(),
        }
    }

    /// What has been read and not been used.
    pub(crate) fn input(&self) -> &[u8] {
        &self.buffer[self.used..self.filled]
    }

    /// Lets a machine use the input; whether it used any of it.
    pub(crate) fn feed(&mut self, take: impl FnOnce(&mut &[u8])) -> bool {
        let mut rest = self.input();
        let before = rest.len();
        if before == 0 {
            return false;
        }
        take(&mut rest);
        let left = rest.len();
        self.used = self.filled - left;
        left != before
    }

    /// Takes what has been read and not been used.
    pub(crate) fn take_input(&mut self) -> Vec<u8> {
        let input = self.input().to_vec();
        self.used = self.filled;
        input
    }

    /// Whether the peer has sent its last byte and all has been used.
    pub(crate) fn is_eof(&self) -> bool {
        self.is_eof && self.input().is_empty()
    }

    /// Bytes that the socket has not taken.
    pub(crate) fn waiting(&self) -> usize {
        self.out.len() - self.taken
    }

    /// Where the last byte stands among all that were ever to be written.
    pub(crate) fn end(&self) -> u64 {
        self.written + self.waiting() as u64
    }

    /// Whether more may be written behind what waits.
    pub(crate) fn has_room(&self) -> bool {
        self.waiting() < OUT_BYTES_MAX
    }

    /// Waits for the socket, for `other`, or until `due`.
    ///
    /// # Errors
    /// The connection broke.
    pub(crate) async fn wait<T>(
        &mut self,
        due: Option<Millis>,
        may_read: bool,
        mut other: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> io::Result<Wake<T>> {
        if let Some(due) = due {
            let wait = due.0.saturating_sub(monotonic::now().0);
            self.timer.as_mut().reset(Instant::now() + std::time::Duration::from_millis(wait));
        }
        poll_fn(|cx| {
            if self.poll_write(cx)? | (may_read && self.poll_read(cx)?) {
                return Poll::Ready(Ok(Wake::Socket));
            }
            if let Poll::Ready(other) = other(cx) {
                return Poll::Ready(Ok(Wake::Other(other)));
            }
            if due.is_some() && self.timer.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Ok(Wake::Timer));
            }
            Poll::Pending
        })
        .await
    }

    /// Writes everything that waits.
    ///
    /// # Errors
    /// The connection broke.
    pub(crate) async fn flush(&mut self) -> io::Result<()> {
        let out = std::mem::take(&mut self.out);
        let taken = std::mem::take(&mut self.taken);
        write_all(&mut self.conn, &out[taken..]).await?;
        self.written += (out.len() - taken) as u64;
        Ok(())
    }

    /// Writes the last bytes, for a bounded time: whoever does not take them holds nothing up.
    ///
    /// # Errors
    /// The connection broke, or the time is over.
    pub(crate) async fn flush_last(&mut self) -> io::Result<()> {
        let wait = std::time::Duration::from_millis(LINGER_WAIT_MS);
        let flushed = tokio::time::timeout(wait, self.flush()).await;
        flushed.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    /// Whether all that was waiting has been written by this call.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> io::Result<bool> {
        let mut moved = false;
        while self.taken < self.out.len() {
            match self.conn.poll_write(cx, &self.out[self.taken..]) {
                Poll::Ready(len) => {
                    let len = len?;
                    self.taken += len;
                    self.written += len as u64;
                }
                Poll::Pending => return Ok(moved),
            }
            moved = true;
        }
        if moved {
            self.out.clear();
            self.taken = 0;
        }
        match self.conn.poll_flush(cx) {
            Poll::Ready(flushed) => flushed?,
            Poll::Pending => {}
        }
        Ok(moved)
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> io::Result<bool> {
        if self.is_eof || !self.input().is_empty() {
            return Ok(false);
        }
        let mut buffer = ReadBuf::new(&mut self.buffer);
        match self.conn.poll_read(cx, &mut buffer) {
            Poll::Pending => Ok(false),
            Poll::Ready(len) => {
                let len = len?;
                self.used = 0;
                self.filled = buffer.filled().len();
                self.is_eof = len == 0;
                self.read_bytes += len as u64;
                Ok(true)
            }
        }
    }
}
