//! A store of messages that waits, or fails, when told.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use stentor_jid::BareJid;
use stentor_store::{Boxed, Export, Offline, OfflinePage, Owned, StoreError, Stores, Usage};
use tokio::sync::Semaphore;

/// The switch of such a store.
pub(crate) struct Switch {
    /// Reads that fail before one succeeds.
    pub(crate) failures: AtomicU32,
    /// Reads that may go on.
    pub(crate) gate: Semaphore,
}

struct Slow(Arc<dyn Offline>, Arc<Switch>);

/// Puts the switch in front of the messages of these stores. The gate is open.
pub(crate) fn switched(stores: &Stores) -> (Stores, Arc<Switch>) {
    let gate = Semaphore::new(Semaphore::MAX_PERMITS);
    let switch = Arc::new(Switch { failures: AtomicU32::new(0), gate });
    let offline = Arc::new(Slow(stores.offline.clone(), switch.clone()));
    (Stores { offline, ..stores.clone() }, switch)
}

impl Switch {
    pub(crate) fn close_gate(&self) {
        self.gate.forget_permits(Semaphore::MAX_PERMITS);
    }
}

impl Offline for Slow {
    fn page(&self, owner: &BareJid, after: u64, limit: u32) -> Boxed<OfflinePage> {
        let page = self.0.page(owner, after, limit);
        let switch = self.1.clone();
        Box::pin(async move {
            switch.gate.acquire().await.unwrap().forget();
            let left = |n: u32| n.checked_sub(1);
            if switch.failures.fetch_update(Ordering::AcqRel, Ordering::Acquire, left).is_ok() {
                return Err(StoreError::Busy);
            }
            page.await
        })
    }

    fn usage(&self, owner: &BareJid) -> Boxed<Usage> {
        self.0.usage(owner)
    }

    fn overdue(&self, host: &str, before_ms: i64, after: Option<&BareJid>) -> Boxed<Vec<BareJid>> {
        self.0.overdue(host, before_ms, after)
    }
}

impl Owned for Slow {
    fn export(&self, owner: &BareJid, after: u64) -> Boxed<Export> {
        self.0.export(owner, after)
    }

    fn forget(&self, owner: &BareJid) -> Boxed<()> {
        self.0.forget(owner)
    }
}
