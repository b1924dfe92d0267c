//! Durations in buckets whose width grows with their size: any number of them in 15 KiB, each
//! known to three percent.

use std::time::Duration;

/// How often durations occurred.
#[derive(Clone)]
pub struct Histogram {
    counts: Box<[u64]>,
    total: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; BUCKETS].into_boxed_slice(), total: 0 }
    }
}

impl Histogram {
    /// Counts a duration.
    pub fn record(&mut self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.counts[bucket(nanos)] += 1;
        self.total += 1;
    }

    /// How many were counted.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.total
    }

    /// Whether none was counted.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// The duration that this share of all does not exceed. Zero if there are none.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Duration {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "in range")]
        let wanted = (self.total as f64 * share).ceil() as u64;
        let mut sum = 0;
        for (index, count) in self.counts.iter().enumerate() {
            sum += count;
            if sum >= wanted.max(1) {
                return Duration::from_nanos(top(index));
            }
        }
        Duration::ZERO
    }
}

/// Values below 32 have a bucket each; above, each power of two has 32.
fn bucket(nanos: u64) -> usize {
    let exponent = (u64::BITS - nanos.leading_zeros()).saturating_sub(STEP_BITS + 1);
    (exponent as usize) * STEPS + usize::try_from(nanos >> exponent).unwrap_or(0)
}

/// The largest value of a bucket.
fn top(index: usize) -> u64 {
    if index < 2 * STEPS {
        return index as u64;
    }
    let exponent = index / STEPS - 1;
    let step = (index % STEPS + STEPS) as u128;
    u64::try_from(((step + 1) << exponent) - 1).unwrap_or(u64::MAX)
}

const STEP_BITS: u32 = 5;
const STEPS: usize = 1 << STEP_BITS;
const BUCKETS: usize = (u64::BITS as usize - STEP_BITS as usize + 1) * STEPS;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_in_a_bucket_that_ends_at_most_a_thirty_second_above_it() {
        let around = |bit: u32| [(1_u64 << bit) - 1, 1 << bit, (1 << bit) + 1, (3 << bit) / 2];
        for nanos in (0..63).flat_map(around).chain([u64::MAX]) {
            let top = top(bucket(nanos));
            assert!(top >= nanos && top - nanos <= nanos / 32, "{nanos} {top}");
        }
    }

    #[test]
    fn quantiles_are_those_of_the_values() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile(0.5), Duration::ZERO);
        (1..=1_000).for_each(|n| histogram.record(Duration::from_micros(n)));
        for (share, micros) in [(0.5, 500), (0.99, 990), (0.999, 999), (1.0, 1_000)] {
            let found = histogram.quantile(share).as_micros();
            assert!((micros..=micros * 33 / 32 + 1).contains(&found), "{share}: {found}");
        }
    }
}
