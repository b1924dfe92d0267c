//! What is on its way to a socket.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::time::Duration;

use stentor_engine::{Fate, Item, Since};
use stentor_stanza::Stanza;
use stentor_transport::Conn;
use tokio::io::ReadBuf;

use crate::limits::LINGER_WAIT_MS;

/// Bytes for the socket, and what is due when they have left.
#[derive(Default)]
pub(crate) struct Out {
    pub(crate) bytes: Vec<u8>,
    /// How much of `bytes` the socket has taken.
    pub(crate) taken: usize,
    /// Bytes that left before those in `bytes`.
    left: u64,
    /// Stanzas that go elsewhere if they do not leave, and where each ends in the stream of bytes.
    pub(crate) items: VecDeque<(u64, Stanza, Fate, Since)>,
}

impl Out {
    /// Bytes that the socket has not taken.
    pub(crate) fn waiting(&self) -> usize {
        self.bytes.len() - self.taken
    }

    /// Where the last byte stands in the stream of all bytes.
    pub(crate) fn end(&self) -> u64 {
        self.left + self.bytes.len() as u64
    }

    /// The socket has everything that was taken: what had a fate until then is forgotten.
    pub(crate) fn settle(&mut self) {
        let gone = self.left + self.taken as u64;
        while self.items.front().is_some_and(|(end, ..)| *end <= gone) {
            self.items.pop_front();
        }
        if self.waiting() == 0 {
            self.left = gone;
            self.taken = 0;
            // An idle connection keeps no buffer.
            self.bytes = Vec::new();
            if self.items.is_empty() {
                self.items = VecDeque::new();
            }
        }
    }

    /// Stanzas whose bytes have not left, to be routed again.
    pub(crate) fn unwritten(&mut self) -> Vec<Item> {
        let gone = self.left + self.taken as u64;
        let items = std::mem::take(&mut self.items);
        let unwritten = items.into_iter().filter(|(end, ..)| *end > gone);
        unwritten.map(|(_, stanza, fate, since)| Item::Stanza(stanza, fate, since)).collect()
    }
}

/// Lets the last bytes leave, for a bounded time, and ends the connection. Whether they left.
pub(crate) async fn linger(mut conn: Conn, bytes: Vec<u8>) -> bool {
    let last = async {
        write_all(&mut conn, &bytes).await?;
        std::future::poll_fn(|cx| conn.poll_shutdown(cx)).await
    };
    let wait = Duration::from_millis(LINGER_WAIT_MS);
    matches!(tokio::time::timeout(wait, last).await, Ok(Ok(())))
}

/// The same, and whether the peer then closed in order: one that is gone, or that leaves behind what
/// it was sent, resets the connection.
pub(crate) async fn linger_until_closed(mut conn: Conn, bytes: Vec<u8>) -> bool {
    let last = async {
        write_all(&mut conn, &bytes).await?;
        std::future::poll_fn(|cx| conn.poll_shutdown(cx)).await?;
        let mut rest = [0; 512];
        loop {
            let mut buf = ReadBuf::new(&mut rest);
            match std::future::poll_fn(|cx| conn.poll_read(cx, &mut buf)).await {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                // TLS was not ended before TCP was, as with many clients.
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    };
    let wait = Duration::from_millis(LINGER_WAIT_MS);
    matches!(tokio::time::timeout(wait, last).await, Ok(Ok(())))
}

pub(crate) async fn write_all(conn: &mut Conn, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let len = std::future::poll_fn(|cx| conn.poll_write(cx, bytes)).await?;
        bytes = &bytes[len..];
    }
    std::future::poll_fn(|cx| conn.poll_flush(cx)).await
}
