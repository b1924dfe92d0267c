//! XEP-0198: Stream Management, version 1.6.3.
//!
//! Streams of other servers that broke and may go on over another one.
//! Implements: §5, at the end of who was connected to: what a stream carried is kept for a while,
//! and taken from one that only looks alive.
//! Left out: `location`. What is kept does not outlive the process.
//! Status: complete

use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;
use parking_lot::Mutex;
use stentor_stream::Millis;
use stentor_stream::fault::{Fault, StreamCondition, Wait};
use stentor_stream::s2s::{Pair, Tally};
use tokio::sync::Notify;

use super::link::Link;
use super::links::Links;
use super::queue::Doubt;
use crate::limits::{S2S_RESUMABLE_MAX, S2S_RESUME_SECS, S2S_TAKE_OVER_WAIT_MS};
use crate::monotonic;

/// Streams that may be resumed, by their ids.
#[derive(Default)]
pub(crate) struct Resumable {
    streams: Mutex<HashMap<String, Entry>>,
    /// Told when a stream has let go.
    parted: Notify,
}

struct Entry {
    /// Whose stanzas it carried.
    pairs: Vec<Pair>,
    /// Told when another stream wants to go on for it.
    wanted: Arc<Notify>,
    /// What it left; none while it serves.
    left: Option<Left>,
}

/// What a broken stream left.
pub(crate) struct Left {
    /// What it carried; all that came has been handled.
    pub(crate) tally: Tally,
    /// The queues that it drained (XEP-0288), held for whoever goes on.
    pub(crate) back: Vec<(Arc<Link>, u64)>,
    /// When nobody goes on any more.
    pub(crate) until: Millis,
}

impl Left {
    pub(crate) fn new(tally: Tally, back: Vec<(Arc<Link>, u64)>) -> Self {
        let until = monotonic::now().plus(u64::from(S2S_RESUME_SECS) * 1_000);
        Self { tally, back, until }
    }
}

/// How a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The connection broke, or the other server was silent: another stream may go on.
    Broken,
    /// By a close, or by an error of ours.
    Orderly,
    /// By an error of the peer's that says that it is going.
    Leaving,
    /// By an error of the peer's that may be about what it was sent.
    Blamed,
}

impl End {
    /// An error that one side has told the other ends a stream for good (RFC 6120 §4.9.1.1).
    pub(crate) fn of(fault: Option<&Fault>) -> Self {
        match fault {
            Some(Fault::ByPeer(error)) if is_about_itself(error.condition) => Self::Leaving,
            Some(Fault::Lost | Fault::Replaced | Fault::Timeout(Wait::Answer)) => Self::Broken,
            Some(Fault::ByPeer(_)) => Self::Blamed,
            _ => Self::Orderly,
        }
    }

    /// What this means for what was sent on a stream and not acknowledged; `is_counted` if the peer
    /// counts (XEP-0198), without which the socket has said what it took.
    pub(crate) fn doubt(self, is_counted: bool) -> Doubt {
        match self {
            _ if !is_counted => Doubt::None,
            Self::Blamed => Doubt::Blamed,
            Self::Broken | Self::Orderly | Self::Leaving => Doubt::Arrived,
        }
    }

    /// Whether the peer may be gone.
    pub(crate) fn may_be_gone(self) -> bool {
        matches!(self, Self::Broken | Self::Leaving)
    }
}

impl Resumable {
    /// Whether one more stream may be resumable.
    pub(crate) fn has_room(&self) -> bool {
        self.streams.lock().len() < S2S_RESUMABLE_MAX
    }

    /// A stream with this id serves; the answer is told when another wants to go on for it.
    pub(crate) fn enter(&self, id: String, pairs: Vec<Pair>) -> Arc<Notify> {
        let wanted = Arc::new(Notify::new());
        let entry = Entry { pairs, wanted: wanted.clone(), left: None };
        self.streams.lock().insert(id, entry);
        wanted
    }

    /// A stream ended in order: nobody goes on for it.
    pub(crate) fn forget(&self, id: &str) {
        self.streams.lock().remove(id);
    }

    /// Takes what a stream left, also from one that only looks alive. None if it is unknown, or
    /// was of others than `pairs`.
    pub(crate) async fn claim(&self, id: &str, pairs: &[Pair]) -> Option<Left> {
        let waiting = async {
            loop {
                let parted = self.parted.notified();
                {
                    let mut streams = self.streams.lock();
                    let entry = streams.get(id)?;
                    if !entry.pairs.iter().any(|pair| pairs.contains(pair)) {
                        return None;
                    }
                    if entry.left.is_some() {
                        return streams.remove(id).and_then(|entry| entry.left);
                    }
                    entry.wanted.notify_one();
                }
                parted.await;
            }
        };
        tokio::time::timeout(Duration::from_millis(S2S_TAKE_OVER_WAIT_MS), waiting).await.ok()?
    }

    /// Whether a stream of the pair may be resumed: it broke, or nobody has noticed yet.
    pub(crate) fn is_awaited(&self, pair: &Pair) -> bool {
        self.streams.lock().values().any(|entry| entry.pairs.contains(pair))
    }

    /// Gives up the broken streams of these pairs: the peer has begun anew.
    pub(crate) fn give_up(&self, pairs: &[Pair]) {
        let is_over =
            |entry: &Entry| entry.left.is_some() && entry.pairs.iter().any(|p| pairs.contains(p));
        let over: Vec<Entry> = {
            let mut streams = self.streams.lock();
            streams.extract_if(|_, entry| is_over(entry)).map(|(_, entry)| entry).collect()
        };
        for (link, taker) in over.into_iter().filter_map(|entry| entry.left).flat_map(|l| l.back) {
            link.queue.restore(taker, Doubt::Arrived);
            link.leave(taker);
        }
    }
}

impl Links {
    /// A stream broke: what it left is kept for a while for whoever goes on.
    pub(crate) fn park(self: &Arc<Self>, id: String, left: Left) {
        {
            let mut streams = self.resumable.streams.lock();
            let Some(entry) = streams.get_mut(&id) else {
                drop(streams);
                return self.let_go(left);
            };
            entry.left = Some(left);
        }
        self.resumable.parted.notify_waiters();
        let links = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(u64::from(S2S_RESUME_SECS))).await;
            let left = {
                let mut streams = links.resumable.streams.lock();
                let now = monotonic::now();
                let left = streams.get(&id).and_then(|entry| entry.left.as_ref());
                if left.is_some_and(|left| left.until <= now) {
                    streams.remove(&id).and_then(|entry| entry.left)
                } else {
                    None
                }
            };
            left.into_iter().for_each(|left| links.let_go(left));
        });
    }

    /// What a stream had for its peer goes another way.
    fn let_go(self: &Arc<Self>, left: Left) {
        for (link, taker) in left.back {
            self.return_queue(&link, taker, Doubt::Arrived);
        }
    }

    /// Stops draining a queue: what its stream has no word of goes another way, as in
    /// [`Links::restore`].
    pub(crate) fn return_queue(self: &Arc<Self>, link: &Arc<Link>, taker: u64, doubt: Doubt) {
        self.restore(link, taker, doubt);
        if link.leave(taker) && !link.queue.is_empty() {
            self.ensure_taker(link);
        }
    }
}

/// Whether a peer that ends a stream by this speaks of itself or the connection.
const fn is_about_itself(condition: StreamCondition) -> bool {
    matches!(
        condition,
        StreamCondition::Conflict
            | StreamCondition::ConnectionTimeout
            | StreamCondition::HostGone
            | StreamCondition::RemoteConnectionFailed
            | StreamCondition::Reset
            | StreamCondition::ResourceConstraint
            | StreamCondition::SeeOtherHost
            | StreamCondition::SystemShutdown
    )
}
