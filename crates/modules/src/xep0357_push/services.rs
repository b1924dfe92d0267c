//! The services: how much is on its way to each, and which do not answer. A slow one takes the places
//! that are its own, and holds up no other.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use hashbrown::{HashMap, HashSet};
use parking_lot::Mutex;
use stentor_jid::Jid;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::limits::{PUSH_SERVICES_MAX, PUSH_SERVICES_NAMED_MAX};

/// All that something was sent to of late.
pub(super) struct Services {
    under_way_max: usize,
    table: Mutex<HashMap<Jid, Arc<Service>>>,
    /// The first few, by their domains.
    named: Mutex<HashSet<String>>,
}

/// One of them.
pub(super) struct Service {
    /// What it is called where something is measured.
    name: String,
    /// Places for whatever comes.
    usual: Arc<Semaphore>,
    /// As many again for what somebody waits for.
    urgent: Arc<Semaphore>,
    answers: AtomicU64,
    silent_until_ms: AtomicI64,
}

/// A place on the way to a service, until it is dropped.
pub(super) struct Pass {
    _permit: OwnedSemaphorePermit,
}

impl Services {
    pub(super) fn new(under_way_max: usize) -> Self {
        Self { under_way_max, table: Mutex::default(), named: Mutex::default() }
    }

    /// The service of this address.
    pub(super) fn find(&self, service: &Jid, now_ms: i64) -> Arc<Service> {
        let mut table = self.table.lock();
        if let Some(known) = table.get(service) {
            return known.clone();
        }
        if table.len() >= PUSH_SERVICES_MAX {
            table.retain(|_, s| Arc::strong_count(s) > 1 || s.is_silent(now_ms));
        }
        let new = Arc::new(Service::new(self.name(service), self.under_way_max));
        // Beyond the maximum each device is alone with its service.
        if table.len() < PUSH_SERVICES_MAX {
            table.insert(service.clone(), new.clone());
        }
        new
    }
}

impl Services {
    fn name(&self, service: &Jid) -> String {
        let (mut named, domain) = (self.named.lock(), service.domain());
        if !named.contains(domain) {
            if named.len() >= PUSH_SERVICES_NAMED_MAX {
                return OTHER.to_owned();
            }
            named.insert(domain.to_owned());
        }
        domain.to_owned()
    }
}

impl Service {
    fn new(name: String, places: usize) -> Self {
        Self {
            name,
            usual: Arc::new(Semaphore::new(places)),
            urgent: Arc::new(Semaphore::new(places)),
            answers: AtomicU64::new(0),
            silent_until_ms: AtomicI64::new(0),
        }
    }

    /// What it is called where something is measured.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// A place, if there is one now.
    pub(super) fn try_enter(&self, is_high: bool) -> Option<Pass> {
        let try_one = |places: &Arc<Semaphore>| places.clone().try_acquire_owned().ok();
        let permit = try_one(&self.usual).or_else(|| is_high.then(|| try_one(&self.urgent))?);
        permit.map(|permit| Pass { _permit: permit })
    }

    /// A place, as soon as there is one; whoever came first is first.
    pub(super) async fn enter(&self, is_high: bool) -> Option<Pass> {
        let usual = self.usual.clone().acquire_owned();
        let permit = if is_high {
            tokio::select! {
                permit = self.urgent.clone().acquire_owned() => permit,
                permit = usual => permit,
            }
        } else {
            usual.await
        };
        // They are never closed.
        permit.ok().map(|permit| Pass { _permit: permit })
    }

    /// It answered, whatever it said.
    pub(super) fn note_answer(&self) {
        self.answers.fetch_add(1, Ordering::AcqRel);
        self.silent_until_ms.store(0, Ordering::Release);
    }

    /// How often it has answered.
    pub(super) fn answers(&self) -> u64 {
        self.answers.load(Ordering::Acquire)
    }

    /// Nothing is sent to it for a time; false if that was so already.
    pub(super) fn silence(&self, until_ms: i64, now_ms: i64) -> bool {
        self.silent_until_ms.swap(until_ms, Ordering::AcqRel) <= now_ms
    }

    /// Until when it is left alone; 0 if it is not.
    pub(super) fn silent_until_ms(&self) -> i64 {
        self.silent_until_ms.load(Ordering::Acquire)
    }

    fn is_silent(&self, now_ms: i64) -> bool {
        self.silent_until_ms() > now_ms
    }
}

/// What those are called that have no names of their own.
const OTHER: &str = "other";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_services_have_names_where_something_is_measured() {
        let services = Services::new(1);
        let name = |n: usize| {
            let service = Jid::new(&format!("push{n}.example/a")).unwrap();
            services.find(&service, 0).name().to_owned()
        };
        assert_eq!((name(0).as_str(), name(1).as_str()), ("push0.example", "push1.example"));
        for n in 2..PUSH_SERVICES_NAMED_MAX {
            assert_eq!(name(n), format!("push{n}.example"));
        }
        assert_eq!(name(PUSH_SERVICES_NAMED_MAX), "other");
        assert_eq!(name(0), "push0.example");
    }

    #[test]
    fn what_somebody_waits_for_has_places_of_its_own() {
        let service = Service::new(String::new(), 2);
        let low: Vec<_> = (0..2).map(|_| service.try_enter(false).unwrap()).collect();
        assert!(service.try_enter(false).is_none());
        let high: Vec<_> = (0..2).map(|_| service.try_enter(true).unwrap()).collect();
        assert!(service.try_enter(true).is_none(), "it is bounded as well");
        drop(high);
        assert!(service.try_enter(false).is_none(), "and takes nobody else's places");
        drop(low);
        assert!(service.try_enter(false).is_some());
    }

    #[tokio::test]
    async fn whoever_waits_gets_the_next_place() {
        let service = Arc::new(Service::new(String::new(), 1));
        let first = service.try_enter(false);
        let waiting = tokio::spawn({
            let service = service.clone();
            async move { service.enter(false).await.is_some() }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(first);
        assert!(waiting.await.unwrap());
    }

    #[test]
    fn a_silent_service_is_one_until_it_answers() {
        let service = Service::new(String::new(), 1);
        assert!(service.silence(5_000, 0) && !service.silence(6_000, 0));
        assert!(service.is_silent(5_999) && !service.is_silent(6_000));
        service.note_answer();
        assert!(!service.is_silent(0));
    }

    #[test]
    fn the_table_is_bounded() {
        let services = Services::new(1);
        let jid = |n: usize| Jid::new(&format!("push{n}.example")).unwrap();
        let held = services.find(&jid(0), 0);
        let _place = held.try_enter(false);
        for n in 1..PUSH_SERVICES_MAX + 10 {
            services.find(&jid(n), 0);
        }
        assert!(services.table.lock().len() <= PUSH_SERVICES_MAX);
        assert!(services.find(&jid(0), 0).try_enter(false).is_none(), "what is in use stays");
    }
}
