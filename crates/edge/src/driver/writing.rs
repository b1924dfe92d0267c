//! What leaves by the connection.

use std::task::{Context, Poll};

use super::Driver;

impl Driver {
    /// Whether it is about to write the next part of a long stanza.
    pub(super) fn is_amid(&self) -> bool {
        self.conn.is_some() && self.out.is_amid()
    }

    /// Writes what waits; of a long stanza one part, before others have their turn. Whether it did.
    pub(super) fn write(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(conn) = &mut self.conn else { return false };
        let shared = &self.link.listener.shared;
        let mut moved = false;
        let outcome = loop {
            if self.out.waiting() == 0 {
                self.out.shed();
                if moved && self.out.is_amid() {
                    cx.waker().wake_by_ref();
                } else if self.out.poll_turn(&shared.turns, cx).is_ready() && self.out.go_on() {
                    continue;
                }
                break match conn.poll_flush(cx) {
                    Poll::Ready(Err(error)) => Err(error),
                    Poll::Ready(Ok(())) | Poll::Pending => Ok(()),
                };
            }
            match conn.poll_write(cx, &self.out.bytes[self.out.taken..]) {
                Poll::Pending => {
                    self.out.leave_turn();
                    break Ok(());
                }
                Poll::Ready(Err(error)) => break Err(error),
                Poll::Ready(Ok(len)) => {
                    moved = true;
                    shared.metrics.bytes_out.inc_by(len as u64);
                    self.out.taken += len;
                }
            }
        };
        self.out.shed();
        if conn.pending_len() == 0 {
            self.out.settle();
        }
        if outcome.is_err() {
            self.lost(cx);
            return true;
        }
        moved
    }
}
