//! Who may connect: limits before anybody has signed in.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use parking_lot::Mutex;

use crate::limits::SOURCES_MAX;

/// How many connections there may be.
#[derive(Clone, Copy, Debug)]
pub struct AdmissionSettings {
    /// Over all listeners.
    pub connections_max: usize,
    /// From one source address; an IPv6 source is its /64.
    pub per_source_max: u32,
}

impl Default for AdmissionSettings {
    fn default() -> Self {
        Self { connections_max: 1_000_000, per_source_max: 10_000 }
    }
}

/// Counts connections.
#[derive(Debug, Default)]
pub struct Admission {
    settings: AdmissionSettings,
    open: AtomicUsize,
    sources: Mutex<HashMap<IpAddr, u32, RandomState>>,
}

/// The right to be connected. Dropping it gives it back.
#[derive(Debug)]
pub struct Permit {
    admission: Arc<Admission>,
    source: IpAddr,
}

impl Admission {
    /// An admission with these limits.
    #[must_use]
    pub fn new(settings: AdmissionSettings) -> Self {
        Self { settings, ..Self::default() }
    }

    /// Admits a connection from this source, or not.
    pub fn admit(self: &Arc<Self>, source: IpAddr) -> Option<Permit> {
        let source = network(source);
        if self.open.fetch_add(1, Ordering::AcqRel) >= self.settings.connections_max {
            self.open.fetch_sub(1, Ordering::AcqRel);
            return None;
        }
        let mut sources = self.sources.lock();
        let is_new = !sources.contains_key(&source);
        let is_crowded = is_new && sources.len() >= SOURCES_MAX;
        let count = sources.get(&source).copied().unwrap_or(0);
        if is_crowded || count >= self.settings.per_source_max {
            drop(sources);
            self.open.fetch_sub(1, Ordering::AcqRel);
            return None;
        }
        sources.insert(source, count + 1);
        drop(sources);
        Some(Permit { admission: self.clone(), source })
    }

    /// Connections open now.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Acquire)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.admission.open.fetch_sub(1, Ordering::AcqRel);
        let mut sources = self.admission.sources.lock();
        if let Some(count) = sources.get_mut(&self.source) {
            *count -= 1;
            if *count == 0 {
                sources.remove(&self.source);
            }
        }
    }
}

fn network(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_per_source_and_in_all_and_gives_back() {
        let settings = AdmissionSettings { connections_max: 3, per_source_max: 2 };
        let admission = Arc::new(Admission::new(settings));
        let (one, two) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        let first = admission.admit(one).unwrap();
        let _second = admission.admit(one).unwrap();
        assert!(admission.admit(one).is_none(), "two from one source");
        let _third = admission.admit(two).unwrap();
        assert!(admission.admit(two).is_none(), "three in all");
        drop(first);
        assert!(admission.admit(two).is_some());
        assert_eq!(admission.open(), 2);
    }
}
