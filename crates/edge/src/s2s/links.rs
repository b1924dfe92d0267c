//! The ways to other servers, as the engine sees them: one queue for each domain pair.

use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;
use parking_lot::Mutex;
use stentor_engine::{Kept, Pressure};
use stentor_jid::Jid;
use stentor_stanza::{Condition, Kind, MessageType, PresenceType, Stanza, StanzaError};
use stentor_stream::Millis;
use stentor_stream::s2s::Pair;

use super::Federation;
use super::facts::Facts;
use super::failure::Failure;
use super::link::Link;
use super::lost::spread;
use super::outgoing;
use super::policy::{Lists, Policy};
use super::queue::{All, Doubt, Queue};
use super::resume::Resumable;
use super::standing::StreamFacts;
use super::throttle::Throttle;
use super::waiting::Waiting;
use crate::limits::{
    S2S_DRAIN_WAIT_MS, S2S_NEW_DOMAINS_BURST, S2S_NEW_DOMAINS_PER_SEC, S2S_PAIRS_MAX,
    S2S_PRESENCE_HOLD_MS,
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

/// What waits for one domain pair, for a stream or for a word of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueFacts {
    /// Whose it is; `local` is ours.
    pub pair: Pair,
    /// How many stanzas.
    pub stanzas: usize,
    /// How many bytes.
    pub bytes: usize,
    /// How long the oldest waits, in milliseconds.
    pub waited_ms: u64,
    /// What senders are told, if the last attempt failed.
    pub trouble: Option<Condition>,
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
            if stanza.presence_type() == Some(PresenceType::Probe) {
                // Whoever comes now sees its users once it is called again.
                self.federation.engine.note_missed(&stanza);
                self.look_after(&link);
            }
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
    /// Until `goes_on_until` a broken stream may be resumed, also if another drains the queue by now:
    /// the peer may have something to send.
    pub(crate) fn give_up(
        &self,
        link: &Link,
        taker: u64,
        failure: &Failure,
        goes_on_until: Option<Millis>,
    ) -> Option<u64> {
        let now = monotonic::now();
        let condition = failure.condition();
        self.federation.metrics.failed_by(failure.cause()).inc();
        let is_passing = failure.is_passing();
        let back_off_ms = self.federation.policy.back_off_ms;
        let goes_on_by = goes_on_until.filter(|by| *by > now);
        let left = |by: Millis| by.0.saturating_sub(now.0).max(1);
        let Some(back_off_ms) = link.failed(taker, condition, is_passing, back_off_ms) else {
            return goes_on_by.map(|by| spread(back_off_ms).min(left(by)));
        };
        let until = |w: &Waiting| w.since.plus(self.hold_ms(&w.stanza));
        let stays = |w: &Waiting| is_passing && self.may_wait(&w.stanza) && until(w) > now;
        for stanza in link.queue.drain(stays) {
            self.federation.engine.bounce(&stanza, &StanzaError::new(condition));
        }
        link.queue.forget_outdated();
        let held = link.queue.first(until);
        let Some(by) = held.into_iter().chain(goes_on_by).max() else {
            link.leave(taker);
            return None;
        };
        Some(back_off_ms.min(left(by)).max(1))
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
    /// tells somebody by name, is told at once; a message is what store and forward is for (RFC 6120
    /// §10.4). How somebody is, as all contacts are told, is of use as long as it is so: nobody
    /// there asks for it when the way is free again.
    fn may_wait(&self, stanza: &Stanza) -> bool {
        match stanza.head.kind {
            Kind::Message(kind) => {
                matches!(kind, MessageType::Chat | MessageType::Normal)
                    && self.federation.policy.hold_ms > 0
            }
            Kind::Presence(kind) => {
                matches!(kind, PresenceType::Available | PresenceType::Unavailable)
                    && !stanza.head.is_directed
            }
            Kind::Iq(_) => false,
        }
    }

    /// How many milliseconds it waits.
    fn hold_ms(&self, stanza: &Stanza) -> u64 {
        let hold_ms = self.federation.policy.hold_ms;
        match stanza.head.kind {
            Kind::Presence(_) => hold_ms.max(S2S_PRESENCE_HOLD_MS),
            _ => hold_ms,
        }
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
        self.links.lock().values().filter(|link| link.is_taken()).count()
    }

    /// How many streams to others stand.
    fn standing(&self) -> usize {
        self.federation.standing.count(true)
    }

    /// The streams that stand, the oldest first.
    #[must_use]
    pub fn streams(&self) -> Vec<StreamFacts> {
        self.federation.standing.all()
    }

    /// Ends the streams with a domain in good order; how many that are. What waits for it takes
    /// another.
    pub fn end_streams(&self, remote: &str) -> usize {
        self.federation.standing.end(remote)
    }

    /// What waits, for each pair for which something does.
    #[must_use]
    pub fn queues(&self) -> Vec<QueueFacts> {
        let links: Vec<_> = self.links.lock().values().cloned().collect();
        let now = monotonic::now();
        let queues = links.iter().filter_map(|link| {
            let (stanzas, bytes) = link.queue.size();
            let waited_ms = link.queue.oldest().map(|since| now.0.saturating_sub(since.0))?;
            let trouble = link.trouble().map(|trouble| trouble.condition);
            Some(QueueFacts { pair: link.pair.clone(), stanzas, bytes, waited_ms, trouble })
        });
        queues.collect()
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

fn pair_of(stanza: &Stanza) -> Option<Pair> {
    let (from, to) = (stanza.head.from.as_ref()?, stanza.head.to.as_ref()?);
    let domain = |jid: &stentor_jid::Jid| Policy::domain(jid.domain());
    Some(Pair { local: domain(from)?, remote: domain(to)? })
}

/// The operator does not want it.
fn blocked() -> StanzaError {
    StanzaError::new(Condition::NotAllowed).with_text("This server does not speak to that domain.")
}
