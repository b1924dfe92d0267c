//! Who may connect: limits before anybody has signed in (XEP-0205 §4.1, §4.2).
//!
//! Who is one too many is told nothing: his connection is closed before a stream begins.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use parking_lot::Mutex;
use stentor_engine::pace::{Pace, Rate};

use crate::limits::SOURCES_MAX;
use crate::monotonic;

/// How many connections there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdmissionSettings {
    /// Over all listeners.
    pub connections_max: usize,
    /// From one source address; an IPv6 source is its /64.
    pub per_source_max: u32,
    /// Those of clients among them that have no session yet.
    pub per_source_before_sign_in_max: u32,
    /// New ones from one source within a minute; 0 for no limit.
    pub per_source_attempts_per_minute: u64,
}

impl Default for AdmissionSettings {
    fn default() -> Self {
        Self {
            connections_max: 1_000_000,
            per_source_max: 10_000,
            per_source_before_sign_in_max: 10_000,
            per_source_attempts_per_minute: 60_000,
        }
    }
}

/// Counts connections.
#[derive(Debug, Default)]
pub struct Admission {
    settings: AdmissionSettings,
    open: AtomicUsize,
    sources: Mutex<HashMap<IpAddr, Source, RandomState>>,
}

/// What is known of a source.
#[derive(Debug, Default)]
struct Source {
    open: u32,
    before_sign_in: u32,
    attempts: Pace,
    /// When its attempts count no more, in milliseconds.
    quiet_ms: u64,
}

/// The right to be connected. Dropping it gives it back.
#[derive(Debug)]
pub struct Permit {
    admission: Arc<Admission>,
    source: IpAddr,
    is_before_sign_in: bool,
}

impl Admission {
    /// An admission with these limits.
    #[must_use]
    pub fn new(settings: AdmissionSettings) -> Self {
        Self { settings, ..Self::default() }
    }

    /// Admits a connection from this source, or not.
    pub fn admit(self: &Arc<Self>, source: IpAddr) -> Option<Permit> {
        self.admit_at(source, monotonic::now().0)
    }

    fn admit_at(self: &Arc<Self>, source: IpAddr, now_ms: u64) -> Option<Permit> {
        let source = network(source);
        if self.open.fetch_add(1, Ordering::AcqRel) >= self.settings.connections_max {
            self.open.fetch_sub(1, Ordering::AcqRel);
            return None;
        }
        if !self.has_room(source, now_ms) {
            self.open.fetch_sub(1, Ordering::AcqRel);
            return None;
        }
        Some(Permit { admission: self.clone(), source, is_before_sign_in: false })
    }

    fn has_room(&self, source: IpAddr, now_ms: u64) -> bool {
        let mut sources = self.sources.lock();
        if sources.len() >= SOURCES_MAX && !sources.contains_key(&source) {
            sources.retain(|_, source| source.open > 0 || source.quiet_ms > now_ms);
            if sources.len() >= SOURCES_MAX {
                return false;
            }
        }
        let AdmissionSettings { per_source_max, per_source_attempts_per_minute, .. } =
            self.settings;
        let source = sources.entry(source).or_default();
        // Whole minutes' worth at once: attempts come in bursts.
        let rate = Rate::new(per_source_attempts_per_minute.div_ceil(60), 60);
        if source.attempts.wait_ms(rate, now_ms) > 0 || source.open >= per_source_max {
            return false;
        }
        source.attempts.take(rate, 1, now_ms);
        source.quiet_ms = now_ms.saturating_add(ATTEMPTS_MS);
        source.open += 1;
        true
    }

    /// Connections open now.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Acquire)
    }
}

impl Permit {
    /// The connection is a client's that has not signed in; none if there are too many of those.
    pub(crate) fn before_sign_in(mut self) -> Option<Self> {
        let max = self.admission.settings.per_source_before_sign_in_max;
        let has_room = self.with_source(|source| {
            let has_room = source.before_sign_in < max;
            source.before_sign_in += u32::from(has_room);
            has_room
        });
        self.is_before_sign_in = has_room;
        has_room.then_some(self)
    }

    /// The client has a session.
    pub(crate) fn signed_in(&mut self) {
        if std::mem::take(&mut self.is_before_sign_in) {
            self.with_source(|source| source.before_sign_in -= 1);
        }
    }

    fn with_source<T>(&self, act: impl FnOnce(&mut Source) -> T) -> T {
        act(self.admission.sources.lock().entry(self.source).or_default())
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.signed_in();
        self.admission.open.fetch_sub(1, Ordering::AcqRel);
        let has_limit = self.admission.settings.per_source_attempts_per_minute > 0;
        let mut sources = self.admission.sources.lock();
        if let Some(source) = sources.get_mut(&self.source) {
            source.open -= 1;
            // Its attempts are remembered, where they are limited, as long as there is room.
            if source.open == 0 && !has_limit {
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

/// After so many milliseconds without an attempt, none counts any more.
const ATTEMPTS_MS: u64 = 61_000;

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const TWO: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    fn admission(settings: AdmissionSettings) -> Arc<Admission> {
        Arc::new(Admission::new(settings))
    }

    #[test]
    fn counts_per_source_and_in_all_and_gives_back() {
        let admission = admission(AdmissionSettings {
            connections_max: 3,
            per_source_max: 2,
            ..AdmissionSettings::default()
        });
        let first = admission.admit(ONE).unwrap();
        let _second = admission.admit(ONE).unwrap();
        assert!(admission.admit(ONE).is_none(), "two from one source");
        let _third = admission.admit(TWO).unwrap();
        assert!(admission.admit(TWO).is_none(), "three in all");
        drop(first);
        assert!(admission.admit(TWO).is_some());
        assert_eq!(admission.open(), 2);
    }

    #[test]
    fn of_one_source_few_have_not_signed_in_and_others_have_their_own_share() {
        let admission = admission(AdmissionSettings {
            per_source_before_sign_in_max: 2,
            ..AdmissionSettings::default()
        });
        let connect = |source| admission.admit(source).and_then(Permit::before_sign_in);
        let mut first = connect(ONE).unwrap();
        let second = connect(ONE).unwrap();
        assert!(connect(ONE).is_none());
        assert!(connect(TWO).is_some());
        assert!(admission.admit(ONE).is_some(), "servers and components are not among them");
        first.signed_in();
        let third = connect(ONE).unwrap();
        assert!(connect(ONE).is_none());
        drop((second, third));
        assert!([connect(ONE), connect(ONE)].iter().all(Option::is_some));
        assert_eq!(admission.open(), 1);
    }

    #[test]
    fn of_one_source_so_many_connect_within_a_minute_and_trying_costs_nothing() {
        let admission = admission(AdmissionSettings {
            per_source_attempts_per_minute: 120,
            ..AdmissionSettings::default()
        });
        let connects = |source, ms| admission.admit_at(source, ms).is_some();
        let at_once = (0..1_000).filter(|_| connects(ONE, 0)).count();
        assert_eq!(at_once, 121, "those of a minute, and the one that makes them too many");
        assert!(connects(TWO, 0));
        assert!(connects(ONE, 1_000) && connects(ONE, 1_000) && !connects(ONE, 1_000));
        let at_once = (0..1_000).filter(|_| connects(ONE, 120_000)).count();
        assert_eq!(at_once, 121);
    }

    #[test]
    fn sources_that_have_been_quiet_make_room_for_others() {
        let admission = admission(AdmissionSettings::default());
        let source = |n: u32| IpAddr::V4(std::net::Ipv4Addr::from(n));
        let all = u32::try_from(SOURCES_MAX).unwrap();
        assert!((0..all).all(|n| admission.admit_at(source(n), 0).is_some()));
        assert!(admission.admit_at(source(all), 30_000).is_none());
        assert!(admission.admit_at(source(all), 120_000).is_some());
        assert_eq!(admission.sources.lock().len(), 1);
    }
}
