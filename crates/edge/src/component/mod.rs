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
use std::time::Duration;

use hashbrown::HashMap;
use parking_lot::Mutex;
use stentor_engine::{Engine, Kept, Links, Pressure};
use stentor_jid::Jid;
use stentor_payload::xep0203_delay;
use stentor_stanza::{Condition, Stanza, StanzaError};
use stentor_store::Write;
use stentor_stream::fault::Fault;
use zeroize::Zeroizing;

use self::attached::Attached;
use self::lane::Parcel;
pub use self::listener::ComponentListener;
use crate::limits::{COMPONENT_QUEUE_BYTES_MAX, COMPONENT_RETURN_WAIT_MS};
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
    /// Milliseconds from the start in which it comes back to what an earlier process left for it.
    pub return_wait_ms: u64,
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
            return_wait_ms: COMPONENT_RETURN_WAIT_MS,
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
        drop(attached);
        former.values().for_each(|component| self.send_back(component.remove()));
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

    fn addressee(&self, stanza: &Stanza) -> Option<Arc<Attached>> {
        stanza.head.to.as_ref().and_then(|to| self.find(to.domain()))
    }

    fn others(&self) -> Result<&Arc<dyn Links>, StanzaError> {
        self.others.as_ref().ok_or(StanzaError::new(Condition::RemoteServerNotFound))
    }

    fn push(&self, component: &Attached, parcel: Parcel) -> Result<Pressure, StanzaError> {
        let pushed = component.push(parcel);
        let counter = if pushed.is_ok() { &self.metrics.queued } else { &self.metrics.returned };
        counter.inc();
        pushed
    }

    /// Waits with what an earlier process left for a component until that comes, for a bounded time.
    fn wait_with(
        self: &Arc<Self>,
        component: Arc<Attached>,
        mut stanza: Stanza,
        kept: Kept,
    ) -> Result<Pressure, StanzaError> {
        let from = stanza.head.from.as_ref().map(|from| from.domain().to_owned());
        if let (Some(from), Some(_)) = (from, stanza.message_type())
            && !stanza.has_child(xep0203_delay::NS, "delay")
        {
            stanza.append(|w| xep0203_delay::write(w, &from, kept.since_ms));
        }
        if component.wait_with(Parcel { stanza, kept: Some(kept.number) })? {
            let wait = Duration::from_millis(component.settings().return_wait_ms);
            let components = self.clone();
            tokio::spawn(async move {
                tokio::time::sleep(wait).await;
                components.send_back(component.give_up());
            });
        }
        Ok(Pressure::Low)
    }

    /// Returns what a component does not get any more.
    fn send_back(&self, parcels: Vec<Parcel>) {
        let error = StanzaError::new(Condition::RemoteServerTimeout);
        for parcel in &parcels {
            self.metrics.returned.inc();
            self.engine.bounce(&parcel.stanza, &error);
        }
        self.drop_kept(parcels.into_iter().filter_map(|parcel| parcel.kept).collect());
    }

    /// Drops from the store what has another fate now.
    fn drop_kept(&self, numbers: Vec<u64>) {
        if !numbers.is_empty() {
            // If it fails, it is sent once more after a restart.
            drop(self.engine.stores.writer.submit(Write::DropUnderway { numbers }));
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
        match self.0.addressee(&stanza) {
            Some(component) => self.0.push(&component, Parcel { stanza, kept: None }),
            None => self.0.others()?.push(stanza),
        }
    }

    /// What is for a component that is away comes back at once.
    fn may_keep(&self, to: &Jid) -> bool {
        match self.0.find(to.domain()) {
            Some(component) => component.streams() > 0,
            None => self.0.others.as_ref().is_some_and(|others| others.may_keep(to)),
        }
    }

    fn push_kept(&self, stanza: Stanza, kept: Kept) -> Result<Pressure, StanzaError> {
        match self.0.addressee(&stanza) {
            Some(component) => self.0.push(&component, Parcel { stanza, kept: Some(kept.number) }),
            None => self.0.others()?.push_kept(stanza, kept),
        }
    }

    fn push_restored(&self, stanza: Stanza, kept: Kept) -> Result<Pressure, StanzaError> {
        match self.0.addressee(&stanza) {
            Some(component) => self.0.wait_with(component, stanza, kept),
            None => self.0.others()?.push_restored(stanza, kept),
        }
    }
}
