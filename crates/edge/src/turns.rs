//! Turns at writing parts of long stanzas.
//!
//! Where thousands are sent the same long stanza, each of them could write a part of it, and whoever
//! has something else to do would have to wait for all of them. So few have their turn at a time,
//! until the stanza has left or their sockets are full.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

use crate::limits::LONG_WRITERS_MAX;

/// The turns of all connections that share them.
#[derive(Clone, Debug)]
pub struct Turns(Arc<Semaphore>);

/// The turn of one connection.
#[derive(Default)]
pub(crate) enum Turn {
    /// It has none and does not wait for one.
    #[default]
    None,
    /// It waits for one.
    Waiting(Waiting),
    /// It has one, until this is dropped.
    Held(#[expect(dead_code, reason = "held, not read")] OwnedSemaphorePermit),
}

type Waiting = Pin<Box<dyn Future<Output = Result<OwnedSemaphorePermit, AcquireError>> + Send>>;

impl Default for Turns {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(LONG_WRITERS_MAX)))
    }
}

impl Turn {
    /// Ready once it is this connection's turn, and as long as it is.
    pub(crate) fn poll(&mut self, turns: &Turns, cx: &mut Context<'_>) -> Poll<()> {
        if let Self::None = self {
            *self = Self::Waiting(Box::pin(turns.0.clone().acquire_owned()));
        }
        if let Self::Waiting(waiting) = self {
            match waiting.as_mut().poll(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(permit)) => *self = Self::Held(permit),
                // Nobody closes it; and if, nobody has to wait.
                Poll::Ready(Err(_)) => *self = Self::None,
            }
        }
        Poll::Ready(())
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    #[test]
    fn few_have_their_turn_at_a_time_and_the_next_when_one_is_done() {
        let (turns, mut cx) = (Turns::default(), Context::from_waker(Waker::noop()));
        let mut all: Vec<Turn> = (0..=LONG_WRITERS_MAX).map(|_| Turn::default()).collect();
        let ready = |all: &mut [Turn], cx: &mut Context<'_>| -> Vec<bool> {
            all.iter_mut().map(|turn| turn.poll(&turns, cx).is_ready()).collect()
        };
        let first = ready(&mut all, &mut cx);
        assert_eq!(first.iter().filter(|is_ready| **is_ready).count(), LONG_WRITERS_MAX);
        assert_eq!(ready(&mut all, &mut cx), first, "until it is over");
        all.remove(0);
        assert!(ready(&mut all, &mut cx).into_iter().all(|is_ready| is_ready));
    }
}
