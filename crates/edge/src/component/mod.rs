//! Components (XEP-0114): services of their own that attach themselves by a shared secret.
//!
//! `attached.rs` is one component and its streams, `lane.rs` what waits for one of them,
//! `listener.rs` the task of a stream. [`Components`] is where the engine finds them: whatever is
//! for none of them goes to other servers.

mod asked;
mod attached;
mod lane;
mod listener;
mod shown;

use std::sync::Arc;

use hashbrown::HashMap;
use parking_lot::Mutex;
use stentor_engine::{Engine, Kept, Links, Pressure};
use stentor_jid::Jid;
use stentor_stanza::{Condition, Stanza, StanzaError};
use stentor_stream::fault::Fault;
use zeroize::Zeroizing;

use self::attached::Attached;
pub use self::listener::ComponentListener;
use crate::limits::COMPONENT_QUEUE_BYTES_MAX;
use crate::metrics::ComponentMetrics;

/// How one component attaches itself. What it may do is known to the engine.
#[derive(Clone)]
pub struct ComponentSettings {
    /// The domain that it speaks for, as in addresses.
    pub domain: String,
    /// What it must know.
    pub secret: Zeroizing<String>,
    /// Streams that it may have at once.
    pub streams_max: usize,
    /// What becomes of one stream more.
    pub on_conflict: OnConflict,
    /// Bytes that may wait for each of its streams.
    pub queue_bytes_max: usize,
    /// Bytes of the largest stanza that it may send.
    pub stanza_bytes_max: usize,
}

/// What becomes of a stream that is one too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnConflict {
    /// It is refused.
    Refuse,
    /// It takes the place of the oldest.
    Replace,
}

impl Default for ComponentSettings {
    fn default() -> Self {
        Self {
            domain: String::new(),
            secret: Zeroizing::new(String::new()),
            streams_max: 1,
            on_conflict: OnConflict::Refuse,
            queue_bytes_max: COMPONENT_QUEUE_BYTES_MAX,
            stanza_bytes_max: stentor_stream::limits::S2S_FRAME_BYTES_MAX,
        }
    }
}

impl std::fmt::Debug for ComponentSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ComponentSettings").field("domain", &self.domain).finish_non_exhaustive()
    }
}

/// The components of this server, and the ways to everyone else.
pub struct Components {
    pub(crate) engine: Arc<Engine>,
    attached: Mutex<HashMap<String, Arc<Attached>>>,
    /// The ways to other servers; none where there are to be none.
    others: Option<Arc<dyn Links>>,
    /// What is counted.
    pub metrics: ComponentMetrics,
}

impl Components {
    /// These components; `others` are the ways to other servers.
    #[must_use]
    pub fn new(
        engine: Arc<Engine>,
        settings: Vec<ComponentSettings>,
        others: Option<Arc<dyn Links>>,
    ) -> Arc<Self> {
        let metrics = ComponentMetrics::default();
        let components = Self { engine, attached: Mutex::default(), others, metrics };
        components.replace(settings);
        Arc::new(components)
    }

    /// Takes other settings over. Streams of components that are not among them, or have another
    /// secret, end.
    pub fn replace(&self, settings: Vec<ComponentSettings>) {
        let mut attached = self.attached.lock();
        let mut former = std::mem::take(&mut *attached);
        for settings in settings.into_iter().map(Arc::new) {
            let component = match former.remove(&settings.domain) {
                Some(component) => {
                    component.set(settings.clone());
                    component
                }
                None => Arc::new(Attached::new(settings.clone())),
            };
            attached.insert(settings.domain.clone(), component);
        }
        former.values().for_each(|component| component.remove());
    }

    /// Ends every stream of every component.
    pub fn close_all(&self, fault: &Fault) {
        self.attached.lock().values().for_each(|component| component.close(fault));
    }

    /// How many streams a component has, and the bytes that wait for them; none if there may be no
    /// such component.
    #[must_use]
    pub fn load_of(&self, domain: &str) -> Option<(usize, usize)> {
        self.find(domain).map(|component| (component.streams(), component.waiting_bytes()))
    }

    fn find(&self, domain: &str) -> Option<Arc<Attached>> {
        self.attached.lock().get(domain).cloned()
    }

    fn send(&self, stanza: Stanza) -> Result<Pressure, StanzaError> {
        let component = stanza.head.to.as_ref().and_then(|to| self.find(to.domain()));
        match (component, &self.others) {
            (Some(component), _) => {
                let pushed = component.push(stanza);
                let counter =
                    if pushed.is_ok() { &self.metrics.queued } else { &self.metrics.returned };
                counter.inc();
                pushed
            }
            (None, Some(others)) => others.push(stanza),
            (None, None) => Err(StanzaError::new(Condition::RemoteServerNotFound)),
        }
    }

    /// These ways as the engine wants them.
    #[must_use]
    pub fn for_engine(self: &Arc<Self>) -> Arc<dyn Links> {
        Arc::new(Way(self.clone()))
    }
}

struct Way(Arc<Components>);

impl Links for Way {
    fn push(&self, stanza: Stanza) -> Result<Pressure, StanzaError> {
        self.0.send(stanza)
    }

    /// What is for a component waits in memory.
    fn may_keep(&self, to: &Jid) -> bool {
        let others = self.0.others.as_ref().filter(|_| self.0.find(to.domain()).is_none());
        others.is_some_and(|others| others.may_keep(to))
    }

    fn push_kept(&self, stanza: Stanza, kept: Kept) -> Result<Pressure, StanzaError> {
        match &self.0.others {
            Some(others) => others.push_kept(stanza, kept),
            None => Err(StanzaError::new(Condition::RemoteServerNotFound)),
        }
    }
}
