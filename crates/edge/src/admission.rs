//! Who may connect: limits before anybody has signed in (XEP-0205 §4.1, §4.2).
//!
//! Who is one too many is told nothing: his connection is closed before a stream begins.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use parking_lot::Mutex;
use stentor_engine::pace::{Pace, Rate};

use crate::limits::QUIET_SOURCES_MAX;
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
    sources: Mutex<Sources>,
}

/// What is known of sources: of those with connections, which are as many as there may be
/// connections, and of a bounded number of others, whose attempts are remembered.
#[derive(Debug, Default)]
struct Sources {
    by_address: HashMap<IpAddr, Source, RandomState>,
    /// Those that had no connection when they came here, each once, longest ago first.
    quiet: VecDeque<IpAddr>,
}

/// What is known of a source.
#[derive(Debug, Default)]
struct Source {
    open: u32,
    before_sign_in: u32,
    attempts: Pace,
    /// Whether it stands among the quiet ones.
    is_listed: bool,
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

    fn has_room(&self, address: IpAddr, now_ms: u64) -> bool {
        let AdmissionSettings { per_source_max, per_source_attempts_per_minute, .. } =
            self.settings;
        let mut sources = self.sources.lock();
        let source = sources.by_address.entry(address).or_default();
        // Whole minutes' worth at once: attempts come in bursts.
        let rate = Rate::new(per_source_attempts_per_minute.div_ceil(60), 60);
        if source.attempts.wait_ms(rate, now_ms) > 0 || source.open >= per_source_max {
            sources.rest(address);
            return false;
        }
        source.attempts.take(rate, 1, now_ms);
        source.open += 1;
        true
    }

    /// Connections open now.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Acquire)
    }
}

impl Sources {
    /// A source may have no connection left: its attempts are remembered until too many others
    /// came to rest after it.
    fn rest(&mut self, address: IpAddr) {
        let Some(source) = self.by_address.get_mut(&address) else { return };
        if source.open > 0 || std::mem::replace(&mut source.is_listed, true) {
            return;
        }
        self.quiet.push_back(address);
        while self.quiet.len() > QUIET_SOURCES_MAX {
            let Some(oldest) = self.quiet.pop_front() else { return };
            let Some(source) = self.by_address.get_mut(&oldest) else { continue };
            source.is_listed = false;
            if source.open == 0 {
                self.by_address.remove(&oldest);
            }
        }
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
        act(self.admission.sources.lock().by_address.entry(self.source).or_default())
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.signed_in();
        self.admission.open.fetch_sub(1, Ordering::AcqRel);
        let has_limit = self.admission.settings.per_source_attempts_per_minute > 0;
        let mut sources = self.admission.sources.lock();
        if let Some(source) = sources.by_address.get_mut(&self.source) {
            source.open -= 1;
            if source.open == 0 && !has_limit && !source.is_listed {
                sources.by_address.remove(&self.source);
            } else {
                sources.rest(self.source);
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
    fn the_longest_quiet_are_forgotten_and_nobody_is_refused_for_their_number() {
        let admission = admission(AdmissionSettings {
            per_source_attempts_per_minute: 60,
            ..AdmissionSettings::default()
        });
        let source = |n: usize| IpAddr::V4(std::net::Ipv4Addr::from(u32::try_from(n).unwrap()));
        let connects = |n: usize| admission.admit_at(source(n), 0).is_some();
        let exhausts = |n: usize| while connects(n) {};
        let _kept = admission.admit_at(ONE, 0).unwrap();
        exhausts(0);
        exhausts(1);
        assert!((2..QUIET_SOURCES_MAX).all(connects));
        assert!(!connects(0) && !connects(1), "all are remembered");
        assert!(connects(QUIET_SOURCES_MAX), "one more");
        assert!(connects(0), "the first was forgotten, and is the latest now");
        assert!(connects(1), "so the second was");
        exhausts(1);
        assert!(!connects(1));
        let sources = admission.sources.lock();
        assert_eq!(sources.quiet.len(), QUIET_SOURCES_MAX);
        assert_eq!(sources.by_address.len(), QUIET_SOURCES_MAX + 1, "and one that is connected");
    }
}
