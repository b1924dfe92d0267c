//! How fast somebody may send: a bucket that is refilled steadily and lets bursts through.
//!
//! Pure bookkeeping: the time is an argument. Nobody is refused anything. Who was too fast is told
//! how long to wait before the next, so that what passes has the rate, smoothly and for ever.

use std::sync::atomic::{AtomicU64, Ordering};

/// A rate, with room for bursts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rate {
    per_sec: u64,
    burst_ns: u64,
}

/// What somebody has taken of a rate.
#[derive(Debug, Default)]
pub struct Pace {
    /// When nothing of it counts any more, in nanoseconds of the caller's clock.
    free_ns: AtomicU64,
}

impl Rate {
    /// So many a second, and at once as many as `burst_secs` seconds bring; no limit for 0 a
    /// second.
    #[must_use]
    pub const fn new(per_sec: u64, burst_secs: u64) -> Self {
        Self { per_sec, burst_ns: burst_secs.saturating_mul(NANOS_PER_SEC) }
    }
}

impl Pace {
    /// How many milliseconds to wait before more is taken, at this time in milliseconds of a clock
    /// that never goes back.
    pub fn wait_ms(&self, rate: Rate, now_ms: u64) -> u64 {
        self.take(rate, 0, now_ms)
    }

    /// Takes so many, and returns the wait before more is taken.
    pub fn take(&self, rate: Rate, count: u64, now_ms: u64) -> u64 {
        if rate.per_sec == 0 {
            return 0;
        }
        let cost_ns = count.saturating_mul(NANOS_PER_SEC) / rate.per_sec;
        let now_ns = now_ms.saturating_mul(NANOS_PER_MILLI);
        let next = |free_ns: u64| free_ns.max(now_ns).saturating_add(cost_ns);
        let before = self
            .free_ns
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |free_ns| Some(next(free_ns)))
            .unwrap_or_else(|unchanged| unchanged);
        let owed_ns = next(before) - now_ns;
        owed_ns.saturating_sub(rate.burst_ns).div_ceil(NANOS_PER_MILLI)
    }
}

const NANOS_PER_SEC: u64 = 1_000_000_000;
const NANOS_PER_MILLI: u64 = 1_000_000;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_burst_passes_and_then_the_rate() {
        let (pace, rate) = (Pace::default(), Rate::new(10, 2));
        let waits: Vec<u64> = (0..22).map(|_| pace.take(rate, 1, 5)).collect();
        assert_eq!(waits[..20], [0; 20]);
        assert_eq!(waits[20..], [100, 200]);
        assert_eq!(pace.take(rate, 1, 205), 100);
    }

    #[test]
    fn who_is_quiet_for_a_while_may_burst_again_and_saves_up_no_more() {
        let (pace, rate) = (Pace::default(), Rate::new(1_000, 1));
        assert_eq!(pace.take(rate, 1_000, 0), 0);
        assert_eq!(pace.take(rate, 500, 0), 500);
        assert_eq!(pace.take(rate, 1_000, 60_000), 0);
        assert_eq!(pace.take(rate, 1, 60_000), 1);
    }

    #[test]
    fn without_a_rate_nobody_waits_and_nothing_overflows() {
        let pace = Pace::default();
        assert_eq!(pace.take(Rate::default(), u64::MAX, 7), 0);
        assert!(pace.take(Rate::new(1, 1), u64::MAX, u64::MAX) < u64::MAX);
    }

    proptest! {
        #[test]
        fn prop_who_waits_as_told_gets_the_rate_and_one_burst(
            counts in prop::collection::vec(1_u64..5_000, 1..200),
            per_sec in 1_u64..100_000,
            burst_secs in 1_u64..20,
        ) {
            let (pace, rate) = (Pace::default(), Rate::new(per_sec, burst_secs));
            let (mut now_ms, mut taken) = (0, 0);
            for count in &counts {
                now_ms += pace.take(rate, *count, now_ms);
                taken += count;
            }
            // One millisecond and one unit of what was divided for each.
            let rounding_ms = counts.len() as u64 * 2;
            let least_ms = (taken * 1_000 / per_sec).saturating_sub(burst_secs * 1_000);
            prop_assert!(now_ms + rounding_ms >= least_ms);
            prop_assert!(now_ms <= least_ms + rounding_ms);
        }
    }
}
