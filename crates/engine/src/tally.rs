//! How often something happened of late: counts in windows of time.
//!
//! Pure bookkeeping: the time is an argument. Bounded: when a table is full, the entries whose
//! window ended are dropped, and if that frees nothing the oldest half.

use std::hash::Hash;
use std::time::Duration;

use hashbrown::HashMap;

use crate::limits::TALLY_ENTRIES_MAX;

/// Counts by key.
#[derive(Debug)]
pub struct Tally<K>(HashMap<K, Count>);

#[derive(Clone, Copy, Debug)]
struct Count {
    count: u32,
    /// When the window ends.
    until_ms: i64,
}

impl<K> Default for Tally<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Eq + Hash + Clone> Tally<K> {
    /// The count of a key whose window has not ended.
    pub fn count(&self, key: &K, now_ms: i64) -> u32 {
        self.0.get(key).filter(|c| c.until_ms > now_ms).map_or(0, |c| c.count)
    }

    /// Counts once more and returns the count. The window begins with the first, and again when
    /// `max` is reached.
    pub fn add(&mut self, key: K, window: Duration, max: u32, now_ms: i64) -> u32 {
        if self.0.len() >= TALLY_ENTRIES_MAX && !self.0.contains_key(&key) {
            self.make_room(now_ms);
        }
        let until_ms = now_ms.saturating_add(i64::try_from(window.as_millis()).unwrap_or(i64::MAX));
        let entry = self.0.entry(key).or_insert(Count { count: 0, until_ms });
        if entry.until_ms <= now_ms {
            *entry = Count { count: 0, until_ms };
        }
        entry.count = entry.count.saturating_add(1);
        if entry.count == max {
            entry.until_ms = until_ms;
        }
        entry.count
    }

    /// When the window of a key ends that has been counted at least this often.
    pub fn full_until_ms(&self, key: &K, count: u32, now_ms: i64) -> Option<i64> {
        let entry = self.0.get(key).filter(|c| c.until_ms > now_ms && c.count >= count)?;
        Some(entry.until_ms)
    }

    /// Forgets a key; false if it was not counted.
    pub fn forget(&mut self, key: &K) -> bool {
        self.0.remove(key).is_some()
    }

    /// The keys counted at least this often, and when each window ends.
    #[must_use]
    pub fn at_least(&self, count: u32, now_ms: i64) -> Vec<(K, i64)> {
        let counted = self.0.iter().filter(|(_, c)| c.count >= count && c.until_ms > now_ms);
        counted.map(|(key, c)| (key.clone(), c.until_ms)).collect()
    }

    fn make_room(&mut self, now_ms: i64) {
        self.0.retain(|_, c| c.until_ms > now_ms);
        if self.0.len() >= TALLY_ENTRIES_MAX {
            let mut ends: Vec<i64> = self.0.values().map(|c| c.until_ms).collect();
            let (_, median, _) = ends.select_nth_unstable(TALLY_ENTRIES_MAX / 2);
            let median = *median;
            self.0.retain(|_, c| c.until_ms > median);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    #[test]
    fn a_window_begins_with_the_first_and_again_at_the_maximum() {
        let mut tally = Tally::default();
        assert_eq!(tally.add("a", HOUR, 3, 0), 1);
        assert_eq!(tally.add("a", HOUR, 3, 1_000), 2);
        assert_eq!(tally.add("b", HOUR, 3, 1_000), 1);
        assert_eq!(tally.count(&"a", 3_599_999), 2);
        assert_eq!(tally.count(&"a", 3_600_000), 0);
        assert_eq!(tally.add("a", HOUR, 3, 2_000), 3);
        assert_eq!(tally.at_least(3, 3_601_999), [("a", 3_602_000)]);
        assert_eq!(tally.full_until_ms(&"a", 3, 3_601_999), Some(3_602_000));
        assert_eq!(tally.full_until_ms(&"a", 4, 3_601_999), None);
        assert_eq!(tally.add("a", HOUR, 3, 3_602_000), 1);
        assert!(tally.forget(&"a") && !tally.forget(&"a"));
    }

    #[test]
    fn it_is_bounded() {
        let mut tally = Tally::default();
        for n in 0..TALLY_ENTRIES_MAX * 2 {
            tally.add(n, HOUR, u32::MAX, i64::try_from(n).unwrap());
        }
        assert!(tally.0.len() <= TALLY_ENTRIES_MAX);
        assert_eq!(tally.count(&(TALLY_ENTRIES_MAX * 2 - 1), 0), 1, "the newest stay");
    }
}
