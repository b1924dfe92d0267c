//! The promise that a stage will be on disk.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::StoreError;
use crate::queue::{Place, Queue};

/// Ready once the stage it was given for is committed, or has failed.
///
/// A ticket is a number and a reference count. Dropping it gives up the answer, never the write.
/// Ready tickets stay ready: asking again gives the same answer.
#[derive(Debug)]
#[must_use = "what is not on disk must not be acknowledged"]
pub struct Ticket {
    state: State,
}

#[derive(Debug)]
enum State {
    Waiting { queue: Arc<Queue>, place: Place },
    Decided(Result<(), StoreError>),
}

impl Ticket {
    /// A ticket for something that needs no commit.
    pub fn done() -> Self {
        Self { state: State::Decided(Ok(())) }
    }

    /// A ticket for something that was refused.
    pub fn failed(error: StoreError) -> Self {
        Self { state: State::Decided(Err(error)) }
    }

    pub(crate) fn waiting(queue: Arc<Queue>, place: Place) -> Self {
        Self { state: State::Waiting { queue, place } }
    }

    /// Whether the answer is there.
    pub fn is_done(&self) -> bool {
        match &self.state {
            State::Waiting { queue, place } => queue.is_decided(*place),
            State::Decided(_) => true,
        }
    }

    /// The answer, if it is there.
    pub fn outcome(&mut self) -> Option<Result<(), StoreError>> {
        if let State::Waiting { queue, place } = &self.state {
            let result = queue.take(*place)?;
            self.state = State::Decided(result);
        }
        match &self.state {
            State::Waiting { .. } => None,
            State::Decided(result) => Some(result.clone()),
        }
    }
}

impl Future for Ticket {
    type Output = Result<(), StoreError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let State::Waiting { queue, place } = &self.state {
            match queue.poll(*place, cx.waker()) {
                Poll::Ready(result) => self.state = State::Decided(result),
                Poll::Pending => return Poll::Pending,
            }
        }
        self.outcome().map_or(Poll::Pending, Poll::Ready)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let State::Waiting { queue, place } = &self.state {
            queue.abandon(*place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_is_small() {
        assert!(size_of::<Ticket>() <= 32, "{}", size_of::<Ticket>());
    }

    #[test]
    fn what_needs_no_commit_is_done_at_once() {
        let mut ticket = Ticket::done();
        assert!(ticket.is_done());
        assert_eq!(ticket.outcome(), Some(Ok(())));
        assert_eq!(ticket.outcome(), Some(Ok(())));
        assert_eq!(Ticket::failed(StoreError::Busy).outcome(), Some(Err(StoreError::Busy)));
    }
}
