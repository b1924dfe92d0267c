//! What is on its way to a socket.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::task::{Context, Poll};
use std::time::Duration;

use stentor_engine::{Fate, Item, Since};
use stentor_stanza::Stanza;
use stentor_transport::Conn;
use tokio::io::ReadBuf;

use crate::limits::{LINGER_WAIT_MS, PART_BYTES_MAX};
use crate::turns::{Turn, Turns};

/// Bytes for the socket, and what is due when they have left.
#[derive(Default)]
pub(crate) struct Out {
    /// To be added to only where [`Out::is_whole`].
    pub(crate) bytes: Vec<u8>,
    /// How much of `bytes` the socket has taken.
    pub(crate) taken: usize,
    /// Bytes that left before those in `bytes`.
    left: u64,
    /// Stanzas that go elsewhere if they do not leave, and where each ends in the stream of bytes.
    pub(crate) items: VecDeque<(u64, Stanza, Fate, Since)>,
    /// The last stanza in `bytes`, if it is not wholly there.
    long: Option<Box<Long>>,
}

/// A long stanza, of which there is one copy however many get it: a connection has a part of it at a
/// time, as the socket takes it.
struct Long {
    stanza: Stanza,
    /// Its fate, where it has one beyond the wire.
    fate: Option<(Fate, Since)>,
    /// How much of it has been put into the bytes.
    len: usize,
    /// What stands behind it.
    behind: &'static str,
    turn: Turn,
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

    /// Whether the last stanza is wholly in the bytes, so that something may stand behind it.
    pub(crate) fn is_whole(&self) -> bool {
        self.long.is_none()
    }

    /// Whether the next part of a long stanza may be added.
    pub(crate) fn is_amid(&self) -> bool {
        self.long.is_some() && self.waiting() == 0
    }

    /// Puts a stanza behind the bytes, with what stands behind it. A long one comes in parts, by
    /// [`Out::go_on`]. What has a fate is remembered until it has left; without `behind` the stream
    /// takes no stanzas any more, and it never leaves.
    pub(crate) fn put(
        &mut self,
        stanza: Stanza,
        fate: Option<(Fate, Since)>,
        behind: Option<&'static str>,
    ) {
        let Some(behind) = behind else {
            let kept = fate.map(|(fate, since)| (u64::MAX, stanza, fate, since));
            return self.items.extend(kept);
        };
        if stanza.bytes_len() > PART_BYTES_MAX * 2 {
            self.long = Some(Box::new(Long { stanza, fate, len: 0, behind, turn: Turn::None }));
            self.go_on();
            return;
        }
        stanza.write(&mut self.bytes);
        self.put_behind(stanza, fate, behind);
    }

    fn put_behind(&mut self, stanza: Stanza, fate: Option<(Fate, Since)>, behind: &'static str) {
        if let Some((fate, since)) = fate {
            self.items.push_back((self.end(), stanza, fate, since));
        }
        self.bytes.extend_from_slice(behind.as_bytes());
    }

    /// Ready when the next part of a long stanza may be added, or there is none.
    pub(crate) fn poll_turn(&mut self, turns: &Turns, cx: &mut Context<'_>) -> Poll<()> {
        self.long.as_mut().map_or(Poll::Ready(()), |long| long.turn.poll(turns, cx))
    }

    /// Others may go on with theirs.
    pub(crate) fn leave_turn(&mut self) {
        if let Some(long) = &mut self.long {
            long.turn = Turn::None;
        }
    }

    /// Adds the next part of a long stanza, if there is one and nothing else waits. Whether it did.
    pub(crate) fn go_on(&mut self) -> bool {
        self.is_amid() && self.add_part(PART_BYTES_MAX)
    }

    /// Adds all that is left of a long stanza.
    pub(crate) fn complete(&mut self) {
        self.add_part(usize::MAX);
    }

    fn add_part(&mut self, bytes_max: usize) -> bool {
        let Some(mut long) = self.long.take() else { return false };
        let before = self.bytes.len();
        let is_end = long.stanza.write_part(long.len, bytes_max, &mut self.bytes);
        long.len += self.bytes.len() - before;
        if is_end {
            let Long { stanza, fate, behind, .. } = *long;
            self.put_behind(stanza, fate, behind);
        } else {
            self.long = Some(long);
        }
        true
    }

    /// Lets go of bytes that were taken, though others wait behind them: of a client that never
    /// quite catches up they would all be kept.
    pub(crate) fn shed(&mut self) {
        if self.taken >= self.waiting().max(PART_BYTES_MAX) {
            self.bytes.drain(..self.taken);
            self.left += self.taken as u64;
            self.taken = 0;
        }
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
        self.complete();
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

#[cfg(test)]
mod tests {
    use stentor_stanza::{Head, Kind, MessageType};

    use super::*;
    use crate::limits::OUT_BYTES_MAX;

    fn message(bytes: usize) -> Stanza {
        Stanza::build(Head::new(Kind::Message(MessageType::Chat)), |w| {
            w.open("body", "jabber:client").text(&"x".repeat(bytes)).close();
        })
    }

    #[test]
    fn a_long_stanza_waits_in_parts_and_arrives_whole() {
        let (long, mut out, mut sent) = (message(200_000), Out::default(), Vec::new());
        out.put(message(10), None, Some(""));
        out.put(long.clone(), Some((Fate::Reroute, None)), Some("<r/>"));
        while out.waiting() > 0 {
            assert!(out.bytes.capacity() <= 3 * PART_BYTES_MAX, "{}", out.bytes.capacity());
            assert_eq!(out.is_whole(), out.bytes.ends_with(b"<r/>"));
            // The socket takes a little at a time.
            let len = out.waiting().min(5_000);
            sent.extend_from_slice(&out.bytes[out.taken..][..len]);
            out.taken += len;
            out.settle();
            out.go_on();
        }
        let mut expected = message(10).to_bytes();
        expected.extend(long.to_bytes());
        expected.extend_from_slice(b"<r/>");
        assert!(sent == expected, "{} bytes of {}", sent.len(), expected.len());
        assert!(out.unwritten().is_empty() && out.bytes.capacity() == 0);
    }

    #[test]
    fn who_never_quite_catches_up_has_no_more_bytes_kept_than_wait() {
        let mut out = Out::default();
        for _ in 0..2_000 {
            while out.waiting() < OUT_BYTES_MAX {
                out.put(message(1_000), Some((Fate::Reroute, None)), Some(""));
            }
            out.taken += 4_000;
            out.shed();
            out.settle();
            assert!(out.bytes.len() <= 3 * OUT_BYTES_MAX && out.items.len() <= 2 * 64);
        }
        assert_eq!(out.left + out.taken as u64, 8_000_000);
    }

    #[test]
    fn a_long_stanza_that_did_not_leave_wholly_is_unwritten() {
        let mut out = Out::default();
        out.put(message(200_000), Some((Fate::Reroute, None)), Some(""));
        out.taken = out.waiting();
        out.settle();
        assert!(out.go_on() && !out.is_whole());
        assert_eq!(out.unwritten().len(), 1);
        assert!(
            out.is_whole() && out.bytes.ends_with(b"</message>"),
            "the stream goes on behind it"
        );
    }
}
