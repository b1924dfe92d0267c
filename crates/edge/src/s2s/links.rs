//! The ways to other servers, as the engine sees them: one queue for each domain pair.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hashbrown::HashMap;
use parking_lot::Mutex;
use stentor_engine::{Kept, Pressure};
use stentor_jid::Jid;
use stentor_stanza::{Condition, Kind, MessageType, Stanza, StanzaError};
use stentor_stream::Millis;
use stentor_stream::s2s::Pair;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use super::Federation;
use super::facts::Facts;
use super::failure::Failure;
use super::lost::spread;
use super::outgoing;
use super::policy::{Lists, Policy};
use super::queue::{All, Doubt, Queue, Waiting};
use super::resume::Resumable;
use super::throttle::Throttle;
use crate::limits::{
    S2S_BACK_OFF_MAX_MS, S2S_DRAIN_WAIT_MS, S2S_NEW_DOMAINS_BURST, S2S_NEW_DOMAINS_PER_SEC,
    S2S_PAIRS_MAX,
};
use crate::monotonic;

/// The ways to other servers.
pub struct Links {
    pub(crate) federation: Arc<Federation>,
    links: Mutex<HashMap<Pair, Arc<Link>>>,
    /// What all queues have in common.
    all: Arc<All>,
    /// How many domains that nobody has spoken to each account speaks to.
    newcomers: Throttle,
    /// Streams of others that may go on.
    pub(crate) resumable: Resumable,
}

/// The way for one domain pair.
pub(crate) struct Link {
    pub(crate) pair: Pair,
    pub(crate) queue: Queue,
    state: Mutex<State>,
    /// Told when trouble is over.
    reached: Notify,
    /// Told when an attempt has come to something.
    tried: Notify,
}

#[derive(Default)]
struct State {
    taker: Option<u64>,
    takers: u64,
    failure: Option<Trouble>,
    /// Whether its taker has a stream.
    is_standing: bool,
    /// Whether a stream broke or the peer said that it goes, and none has stood since.
    is_doubtful: bool,
    /// Whether somebody sees to it that its domain is not lost for good.
    is_sought: bool,
}

/// Why nobody answered the last time, since when, and until when nobody is asked again.
#[derive(Clone, Copy)]
pub(crate) struct Trouble {
    condition: Condition,
    /// Whether messages wait for another attempt.
    is_passing: bool,
    pub(crate) since: Millis,
    pub(crate) until: Millis,
    back_off_ms: u64,
}

impl Links {
    /// The ways of this federation; none is open yet.
    #[must_use]
    pub fn new(federation: Arc<Federation>) -> Arc<Self> {
        let all = Arc::new(All::new(federation.engine.stores.writer.clone()));
        let links = Mutex::default();
        let (newcomers, resumable) = (Throttle::default(), Resumable::default());
        Arc::new(Self { federation, links, all, newcomers, resumable })
    }

    /// Says anew whom we speak to. What waits for others comes back; their streams end at the next
    /// stanza, and nobody else notices.
    pub fn replace_lists(&self, lists: Lists) {
        self.federation.lists.store(Arc::new(lists));
        let links: Vec<_> = self.links.lock().values().cloned().collect();
        for link in links.iter().filter(|link| !self.federation.allows(&link.pair.remote)) {
            for stanza in link.queue.drain(|_| false) {
                self.federation.engine.bounce(&stanza, &blocked());
            }
        }
    }

    /// Queues a stanza for its domain, and connects where nobody is connected.
    fn send(self: &Arc<Self>, stanza: Stanza, kept: Option<Kept>) -> Result<Pressure, StanzaError> {
        let pair = pair_of(&stanza).ok_or(StanzaError::new(Condition::RemoteServerNotFound))?;
        if !self.federation.allows(&pair.remote) {
            return Err(blocked());
        }
        let now = monotonic::now();
        let link = self.link(pair, stanza.head.from.as_ref(), now)?;
        if let Some(trouble) = link.trouble().filter(|trouble| trouble.until > now)
            && !(trouble.is_passing && self.may_wait(&stanza))
        {
            return Err(StanzaError::new(trouble.condition));
        }
        let unix_ms = self.federation.engine.clock.unix_ms();
        let pushed = link.queue.push(Waiting::new(stanza, kept, now, unix_ms));
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

    /// The link of a pair; a new one is on the account of its `sender`, if it has one.
    fn link(
        &self,
        pair: Pair,
        sender: Option<&Jid>,
        now: Millis,
    ) -> Result<Arc<Link>, StanzaError> {
        let mut links = self.links.lock();
        if let Some(link) = links.get(&pair) {
            return Ok(link.clone());
        }
        let (rate, burst) = (S2S_NEW_DOMAINS_PER_SEC, S2S_NEW_DOMAINS_BURST);
        if let Some(sender) = sender.filter(|jid| jid.local().is_some())
            && !self.newcomers.admits(sender.to_bare().as_str(), rate, burst, now)
        {
            return Err(StanzaError::new(Condition::ResourceConstraint));
        }
        if links.len() >= S2S_PAIRS_MAX {
            links.retain(|_, link| !link.is_spare());
        }
        if links.len() >= S2S_PAIRS_MAX {
            // Better to ask a domain again too soon than to reach no other.
            links.retain(|_, link| !link.is_idle());
        }
        if links.len() >= S2S_PAIRS_MAX {
            return Err(StanzaError::new(Condition::ResourceConstraint));
        }
        let queue = Queue::new(self.all.clone());
        let link = Arc::new(Link::new(pair.clone(), queue));
        links.insert(pair, link.clone());
        Ok(link)
    }

    /// The link of a pair, if there is one.
    pub(crate) fn find(&self, pair: &Pair) -> Option<Arc<Link>> {
        self.links.lock().get(pair).cloned()
    }

    /// As [`Links::look_after`], when a stream of the peer's has ended, perhaps with the peer.
    pub(crate) fn look_after_pair(self: &Arc<Self>, pair: &Pair, may_be_gone: bool) {
        if let Ok(link) = self.link(pair.clone(), None, monotonic::now()) {
            if may_be_gone {
                link.doubt();
            }
            self.look_after(&link);
        }
    }

    /// The link of a pair, for a stream of the peer's on which stanzas may go back (XEP-0288).
    pub(crate) fn for_bidi(&self, pair: &Pair) -> Option<(Arc<Link>, u64)> {
        let link = self.link(pair.clone(), None, monotonic::now()).ok()?;
        let taker = link.take_over(true)?;
        Some((link, taker))
    }

    /// Returns with an error what does not wait for another attempt. How long until then, in
    /// milliseconds, if something does.
    ///
    /// Until `goes_on_until` a broken stream may be resumed: the peer may have something to send.
    pub(crate) fn give_up(
        &self,
        link: &Link,
        taker: u64,
        failure: &Failure,
        goes_on_until: Option<Millis>,
    ) -> Option<u64> {
        let (now, hold_ms) = (monotonic::now(), self.federation.policy.hold_ms);
        let condition = failure.condition();
        self.federation.metrics.failed.inc();
        let is_passing = failure.is_passing();
        let back_off_ms = self.federation.policy.back_off_ms;
        let back_off_ms = link.failed(taker, condition, is_passing, back_off_ms)?;
        let stays =
            |w: &Waiting| is_passing && self.may_wait(&w.stanza) && w.since.plus(hold_ms).0 > now.0;
        for stanza in link.queue.drain(stays) {
            self.federation.engine.bounce(&stanza, &StanzaError::new(condition));
        }
        let held = link.queue.oldest().map(|oldest| oldest.plus(hold_ms));
        let Some(by) = held.into_iter().chain(goes_on_until.filter(|by| *by > now)).max() else {
            link.leave(taker);
            return None;
        };
        let left = by.0.saturating_sub(now.0);
        Some(back_off_ms.min(left).max(1))
    }

    /// Puts what a stream has no word of back into its queue, as far as it is still so. The one stanza
    /// that the peer does not bear goes back to its sender.
    pub(crate) fn restore(&self, link: &Link, taker: u64, doubt: Doubt) {
        if let Some(guilty) = link.queue.restore(taker, doubt) {
            let error = StanzaError::new(Condition::PolicyViolation)
                .with_text("The other server ends its stream because of this.");
            self.federation.engine.bounce(&guilty, &error);
        }
    }

    /// Returns everything that waits and is not in the store: this process takes it to its domain no
    /// more.
    pub(crate) fn return_all(&self, link: &Link) {
        for stanza in link.queue.drain(|waiting| waiting.kept.is_some()) {
            let error = StanzaError::new(Condition::RemoteServerTimeout);
            self.federation.engine.bounce(&stanza, &error);
        }
    }

    /// Whether a stanza waits for a server that cannot be reached. Who asks something, or
    /// announces it, is told at once; a message is what store and forward is for (RFC 6120 §10.4).
    fn may_wait(&self, stanza: &Stanza) -> bool {
        let Kind::Message(kind) = stanza.head.kind else { return false };
        matches!(kind, MessageType::Chat | MessageType::Normal)
            && self.federation.policy.hold_ms > 0
    }

    /// Ends all streams when what waits for servers that can be reached has been sent, and waits for
    /// that for as long as a stop may take.
    pub async fn drain(&self) {
        self.federation.stop();
        let wait = Duration::from_millis(S2S_DRAIN_WAIT_MS);
        let ended = async {
            while self.federation.admission.open() + self.standing() + self.open() > 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let _ = tokio::time::timeout(wait, ended).await;
    }

    /// Lists what is counted, with help texts.
    pub fn register(self: &Arc<Self>, registry: &mut prometheus_client::registry::Registry) {
        self.federation.metrics.register(registry);
        registry.register_collector(Box::new(Facts(self.clone())));
    }

    /// How many ways are open or being opened.
    #[must_use]
    pub fn open(&self) -> usize {
        self.links.lock().values().filter(|link| link.state.lock().taker.is_some()).count()
    }

    /// How many streams to others stand.
    fn standing(&self) -> usize {
        self.federation.standing.load(Ordering::Relaxed)
    }

    /// How many streams went on for broken ones.
    #[must_use]
    pub fn resumed(&self) -> u64 {
        self.federation.metrics.resumed.get()
    }

    /// Bytes waiting for other servers.
    #[must_use]
    pub fn waiting_bytes(&self) -> usize {
        self.all.bytes()
    }
}

impl Links {
    /// Stanzas for other servers that are in the store until they have arrived.
    #[must_use]
    pub fn kept(&self) -> usize {
        self.all.kept()
    }
}

/// What the engine is given.
pub(crate) struct Way(pub(crate) Arc<Links>);

impl stentor_engine::Links for Way {
    fn push(&self, stanza: Stanza) -> Result<Pressure, StanzaError> {
        self.0.send(stanza, None)
    }

    fn may_keep(&self, _to: &Jid) -> bool {
        true
    }

    fn push_kept(&self, stanza: Stanza, kept: Kept) -> Result<Pressure, StanzaError> {
        self.0.send(stanza, Some(kept))
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
    fn new(pair: Pair, queue: Queue) -> Self {
        let (state, reached, tried) = (Mutex::default(), Notify::new(), Notify::new());
        Self { pair, queue, state, reached, tried }
    }

    /// Becomes the one that drains the queue. One that has a stream already (`is_ready`) takes it
    /// from another that has none yet, or of which nothing is under way: what comes later must not
    /// overtake it (RFC 6120 §10.1). It is given back by [`Link::leave`].
    fn take_over(&self, is_ready: bool) -> Option<u64> {
        let mut state = self.state.lock();
        if let Some(taker) = state.taker
            && (!is_ready || (state.is_standing && self.queue.unacked(taker) > 0))
        {
            return None;
        }
        state.takers += 1;
        state.taker = Some(state.takers);
        let taker = state.taker;
        drop(state);
        if is_ready {
            self.succeeded();
        }
        taker
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
            state.is_standing = false;
        }
        was_mine
    }

    /// Notes that a stream stands: the next failure waits briefly again.
    pub(crate) fn succeeded(&self) {
        self.state.lock().is_standing = true;
        self.reached();
    }

    /// Notes that the peer is there.
    pub(crate) fn reached(&self) {
        let mut state = self.state.lock();
        state.is_doubtful = false;
        if state.failure.take().is_some() {
            self.reached.notify_waiters();
        }
        drop(state);
        self.tried.notify_waiters();
    }

    /// Notes how a stream ended: the peer may be gone.
    pub(crate) fn doubt(&self) {
        self.state.lock().is_doubtful = true;
        self.tried.notify_waiters();
    }

    /// Whether the peer may be gone: it has not been heard of since a stream ended, or an attempt
    /// failed.
    pub(crate) fn is_in_doubt(&self) -> bool {
        let state = self.state.lock();
        state.is_doubtful || state.failure.is_some()
    }

    /// Waits until trouble is over.
    pub(crate) fn until_reached(&self) -> Notified<'_> {
        self.reached.notified()
    }

    /// Waits until the next attempt has come to something.
    pub(crate) fn until_tried(&self) -> Notified<'_> {
        self.tried.notified()
    }

    /// Whether somebody drains the queue over a stream.
    pub(crate) fn is_standing(&self) -> bool {
        self.state.lock().is_standing
    }

    /// Becomes the one that sees to it that the domain is not lost for good; false if there is one.
    pub(crate) fn begin_seeking(&self) -> bool {
        !std::mem::replace(&mut self.state.lock().is_sought, true)
    }

    pub(crate) fn end_seeking(&self) {
        self.state.lock().is_sought = false;
    }

    /// Why the peer cannot be reached, if that is so.
    pub(crate) fn trouble(&self) -> Option<Trouble> {
        self.state.lock().failure
    }

    /// Notes a failure; how long nobody is asked again. None if another took over.
    fn failed(
        &self,
        taker: u64,
        condition: Condition,
        is_passing: bool,
        back_off_ms: u64,
    ) -> Option<u64> {
        let mut state = self.state.lock();
        if state.taker != Some(taker) {
            return None;
        }
        let back_off_ms = state.failure.map_or(back_off_ms, |before| {
            before.back_off_ms.saturating_mul(2).min(S2S_BACK_OFF_MAX_MS)
        });
        let (wait_ms, now) = (spread(back_off_ms), monotonic::now());
        let (since, until) = (state.failure.map_or(now, |before| before.since), now.plus(wait_ms));
        state.failure = Some(Trouble { condition, is_passing, since, until, back_off_ms });
        state.is_standing = false;
        drop(state);
        self.tried.notify_waiters();
        Some(wait_ms)
    }

    fn is_spare(&self) -> bool {
        let is_waiting = self.trouble().is_some_and(|f| f.until > monotonic::now());
        !is_waiting && self.is_idle()
    }

    fn is_idle(&self) -> bool {
        self.state.lock().taker.is_none() && self.queue.is_empty()
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

#[cfg(test)]
mod tests {
    use stentor_stanza::{Head, Kind, MessageType};

    use super::*;

    fn link() -> Link {
        let pair = Pair { local: "one.example".into(), remote: "two.example".into() };
        Link::new(pair, Queue::default())
    }

    #[test]
    fn each_failure_waits_twice_as_long_until_a_stream_stood() {
        let link = link();
        let fail = || {
            let taker = link.take_over(false).unwrap();
            let wait = link.failed(taker, Condition::RemoteServerTimeout, true, 5_000).unwrap();
            link.leave(taker);
            wait
        };
        let waits: Vec<u64> = (0..8).map(|_| fail()).collect();
        let expected = [5_000, 10_000, 20_000, 40_000, 80_000, 160_000, 300_000, 300_000];
        for (wait, least) in waits.iter().zip(expected) {
            assert!((least..=least + least / 4).contains(wait), "{waits:?}");
        }
        assert!(waits.iter().zip(expected).any(|(wait, least)| *wait != least), "{waits:?}");
        link.succeeded();
        assert!(fail() <= 6_250);
    }

    #[test]
    fn who_has_a_stream_takes_the_queue_from_who_seeks_one() {
        let link = link();
        let seeker = link.take_over(false).unwrap();
        assert_eq!(link.take_over(false), None);
        let ready = link.take_over(true).unwrap();
        assert!(link.is_taken_by(ready) && !link.is_taken_by(seeker));
        assert_eq!(link.failed(seeker, Condition::RemoteServerTimeout, true, 1), None);
        assert!(!link.leave(seeker) && link.leave(ready));
    }

    // RFC 6120 §10.1.
    #[test]
    fn nobody_takes_the_queue_while_something_is_under_way() {
        let link = link();
        let first = link.take_over(true).unwrap();
        let head = Head::new(Kind::Message(MessageType::Chat));
        link.queue.push(Waiting::new(Stanza::empty(head), None, Millis(0), 0)).unwrap();
        let waiting = link.queue.pop(first).unwrap();
        link.queue.note_sent(first, 1, waiting);
        assert_eq!(link.take_over(true), None);
        link.queue.acked(first, 1);
        assert!(link.take_over(true).is_some());
    }
}
