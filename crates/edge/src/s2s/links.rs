//! The ways to other servers, as the engine sees them: one queue for each domain pair.

use std::sync::Arc;

use hashbrown::HashMap;
use parking_lot::Mutex;
use stentor_engine::Pressure;
use stentor_stanza::{Condition, Stanza, StanzaError};
use stentor_stream::Millis;
use stentor_stream::s2s::Pair;

use super::outgoing;
use super::queue::Queue;
use super::{Federation, policy::Policy};
use crate::limits::{S2S_BACK_OFF_MAX_MS, S2S_BACK_OFF_MIN_MS, S2S_PAIRS_MAX};
use crate::monotonic;

/// The ways to other servers.
pub struct Links {
    pub(crate) federation: Arc<Federation>,
    links: Mutex<HashMap<Pair, Arc<Link>>>,
}

/// The way for one domain pair.
pub(crate) struct Link {
    pub(crate) pair: Pair,
    pub(crate) queue: Queue,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    taker: Option<u64>,
    takers: u64,
    failure: Option<Failure>,
}

/// Why nobody answered the last time, and until when nobody is asked again.
#[derive(Clone, Copy)]
struct Failure {
    condition: Condition,
    until: Millis,
    back_off_ms: u64,
}

impl Links {
    /// The ways of this federation; none is open yet.
    #[must_use]
    pub fn new(federation: Arc<Federation>) -> Arc<Self> {
        Arc::new(Self { federation, links: Mutex::default() })
    }

    /// Queues a stanza for its domain, and connects where nobody is connected.
    fn send(self: &Arc<Self>, stanza: Stanza) -> Result<Pressure, StanzaError> {
        let pair = pair_of(&stanza).ok_or(StanzaError::new(Condition::RemoteServerNotFound))?;
        if !self.federation.policy.allows(&pair.remote) {
            return Err(blocked());
        }
        let link = self.link(pair)?;
        let (is_idle, failure) = {
            let state = link.state.lock();
            (state.taker.is_none(), state.failure)
        };
        if is_idle && let Some(failure) = failure.filter(|f| f.until > monotonic::now()) {
            return Err(StanzaError::new(failure.condition));
        }
        let pushed = link.queue.push(stanza);
        let pressure = pushed.ok_or(StanzaError::new(Condition::ResourceConstraint))?;
        self.federation.metrics.queued.inc();
        self.ensure_taker(&link);
        Ok(pressure)
    }

    /// Sees to it that somebody drains the queue.
    pub(crate) fn ensure_taker(self: &Arc<Self>, link: &Arc<Link>) {
        if let Some(taker) = link.take_over(false) {
            tokio::spawn(outgoing::run(self.clone(), link.clone(), taker));
        }
    }

    fn link(&self, pair: Pair) -> Result<Arc<Link>, StanzaError> {
        let mut links = self.links.lock();
        if let Some(link) = links.get(&pair) {
            return Ok(link.clone());
        }
        if links.len() >= S2S_PAIRS_MAX {
            links.retain(|_, link| !link.is_spare());
            if links.len() >= S2S_PAIRS_MAX {
                return Err(StanzaError::new(Condition::ResourceConstraint));
            }
        }
        let state = Mutex::default();
        let link = Arc::new(Link { pair: pair.clone(), queue: Queue::default(), state });
        links.insert(pair, link.clone());
        Ok(link)
    }

    /// The link of a pair, for a stream of the peer's on which stanzas may go back (XEP-0288).
    pub(crate) fn for_bidi(&self, pair: &Pair) -> Option<(Arc<Link>, u64)> {
        let link = self.link(pair.clone()).ok()?;
        let taker = link.take_over(true)?;
        Some((link, taker))
    }

    /// Returns everything that waits for a pair, with this error.
    pub(crate) fn give_up(&self, link: &Link, taker: u64, condition: Condition) {
        link.failed(taker, condition);
        self.federation.metrics.failed.inc();
        for stanza in link.queue.drain() {
            self.federation.engine.bounce(&stanza, &StanzaError::new(condition));
        }
    }

    /// How many ways are open or being opened.
    #[must_use]
    pub fn open(&self) -> usize {
        self.links.lock().values().filter(|link| link.state.lock().taker.is_some()).count()
    }

    /// Bytes waiting for other servers.
    #[must_use]
    pub fn waiting_bytes(&self) -> usize {
        self.links.lock().values().map(|link| link.queue.bytes()).sum()
    }
}

/// What the engine is given.
pub(crate) struct Way(pub(crate) Arc<Links>);

impl stentor_engine::Links for Way {
    fn push(&self, stanza: Stanza) -> Result<Pressure, StanzaError> {
        self.0.send(stanza)
    }
}

impl Links {
    /// These ways as the engine wants them.
    #[must_use]
    pub fn for_engine(self: &Arc<Self>) -> Arc<dyn stentor_engine::Links> {
        Arc::new(Way(self.clone()))
    }
}

impl Link {
    /// Becomes the one that drains the queue. One that has a stream already (`is_ready`) takes it
    /// from another that may have none yet; it is given back by [`Link::leave`].
    fn take_over(&self, is_ready: bool) -> Option<u64> {
        let mut state = self.state.lock();
        if state.taker.is_some() && !is_ready {
            return None;
        }
        state.takers += 1;
        state.taker = Some(state.takers);
        state.failure = None;
        Some(state.takers)
    }

    /// Whether this taker still is the one.
    pub(crate) fn is_taken_by(&self, taker: u64) -> bool {
        self.state.lock().taker == Some(taker)
    }

    /// Stops draining; true if that leaves nobody.
    pub(crate) fn leave(&self, taker: u64) -> bool {
        let mut state = self.state.lock();
        let was_mine = state.taker == Some(taker);
        if was_mine {
            state.taker = None;
        }
        was_mine
    }

    /// Notes that a stream stands: the next failure waits briefly again.
    pub(crate) fn succeeded(&self) {
        self.state.lock().failure = None;
    }

    fn failed(&self, taker: u64, condition: Condition) {
        let mut state = self.state.lock();
        if state.taker != Some(taker) {
            return;
        }
        state.taker = None;
        let back_off_ms = state.failure.map_or(S2S_BACK_OFF_MIN_MS, |f| {
            f.back_off_ms.saturating_mul(2).min(S2S_BACK_OFF_MAX_MS)
        });
        let until = monotonic::now().plus(back_off_ms);
        state.failure = Some(Failure { condition, until, back_off_ms });
    }

    fn is_spare(&self) -> bool {
        let state = self.state.lock();
        let is_waiting = state.failure.is_some_and(|f| f.until > monotonic::now());
        state.taker.is_none() && !is_waiting && self.queue.is_empty()
    }
}

fn pair_of(stanza: &Stanza) -> Option<Pair> {
    let (from, to) = (stanza.head.from.as_ref()?, stanza.head.to.as_ref()?);
    let domain = |jid: &stentor_jid::Jid| Policy::domain(jid.domain());
    Some(Pair { local: domain(from)?, remote: domain(to)? })
}

/// The operator does not want it.
fn blocked() -> StanzaError {
    StanzaError::new(Condition::NotAllowed).with_text("This server does not speak to that domain.")
}
