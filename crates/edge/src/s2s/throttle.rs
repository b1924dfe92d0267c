//! How much is read from each other domain: so many bytes a second on the average, over all its
//! streams together.

use hashbrown::HashMap;
use parking_lot::Mutex;
use stentor_stream::Millis;

use crate::limits::S2S_PAIRS_MAX;

/// What each domain has read from it, as far as it is limited.
#[derive(Default)]
pub(crate) struct Throttle(Mutex<Buckets>);

#[derive(Default)]
struct Buckets {
    by_domain: HashMap<String, Bucket>,
    /// That of all domains for which there is no room.
    others: Bucket,
    /// When those that owe nothing were last looked for.
    swept: Millis,
}

/// When what was read so far has been paid for.
#[derive(Clone, Copy, Default)]
struct Bucket {
    paid_at: Millis,
}

impl Throttle {
    /// Charges a domain for what was read. When more may be read: at once as long as no more than
    /// one second's worth is owed. Domains beyond the maximum have one rate together.
    pub(crate) fn charge(&self, domain: &str, bytes: u64, per_sec: u64, now: Millis) -> Millis {
        if per_sec == 0 {
            return now;
        }
        let mut buckets = self.0.lock();
        let bucket = buckets.of(domain, now);
        let cost = bytes.saturating_mul(1_000) / per_sec;
        bucket.paid_at = bucket.paid_at.max(now).plus(cost);
        Millis(bucket.paid_at.0.saturating_sub(1_000).max(now.0))
    }

    /// Charges somebody for one thing of which there may be so many a second and `burst` at once;
    /// false, and nothing is charged, if that is too many.
    pub(crate) fn admits(&self, who: &str, per_sec: u64, burst: u64, now: Millis) -> bool {
        let mut buckets = self.0.lock();
        let bucket = buckets.of(who, now);
        let cost = 1_000 / per_sec.max(1);
        let paid_at = bucket.paid_at.max(now).plus(cost);
        let may = paid_at.0.saturating_sub(now.0) <= burst.saturating_mul(cost);
        if may {
            bucket.paid_at = paid_at;
        }
        may
    }
}

impl Buckets {
    fn of(&mut self, domain: &str, now: Millis) -> &mut Bucket {
        if !self.by_domain.contains_key(domain) {
            if self.by_domain.len() >= S2S_PAIRS_MAX && now >= self.swept.plus(SWEEP_MS) {
                self.swept = now;
                self.by_domain.retain(|_, bucket| bucket.paid_at > now);
            }
            if self.by_domain.len() >= S2S_PAIRS_MAX {
                return &mut self.others;
            }
            self.by_domain.insert(domain.to_owned(), Bucket { paid_at: now });
        }
        self.by_domain.get_mut(domain).unwrap_or(&mut self.others)
    }
}

/// So often all of them are looked at, while there are too many.
const SWEEP_MS: u64 = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_admitted_and_then_the_rate() {
        let throttle = Throttle::default();
        let admitted =
            |at: u64| (0..50).filter(|_| throttle.admits("a", 10, 20, Millis(at))).count();
        assert_eq!(admitted(5_000), 20);
        assert_eq!(admitted(5_000), 0, "who was refused pays nothing");
        assert_eq!(admitted(6_000), 10);
        assert_eq!(admitted(60_000), 20, "and no more is saved up");
        assert!(throttle.admits("b", 10, 20, Millis(5_000)));
    }

    #[test]
    fn too_many_that_owe_share_one_rate() {
        let throttle = Throttle::default();
        let now = Millis(10_000);
        let charge = |n: usize, now| throttle.charge(&format!("d{n}.example"), 2_000, 1_000, now);
        (0..S2S_PAIRS_MAX).for_each(|n| assert_eq!(charge(n, now), Millis(11_000)));
        assert_eq!(charge(S2S_PAIRS_MAX, now), Millis(11_000));
        assert_eq!(charge(S2S_PAIRS_MAX + 1, now), Millis(13_000), "together with the one before");
        assert_eq!(throttle.0.lock().by_domain.len(), S2S_PAIRS_MAX);
        // Once they have paid there is room again.
        assert_eq!(charge(S2S_PAIRS_MAX + 2, Millis(60_000)), Millis(61_000));
        assert_eq!(throttle.0.lock().by_domain.len(), 1);
    }

    #[test]
    fn a_second_may_be_owed_and_domains_pay_for_themselves() {
        let throttle = Throttle::default();
        let now = Millis(10_000);
        assert_eq!(throttle.charge("a.example", 1_000, 1_000, now), now);
        assert_eq!(throttle.charge("a.example", 500, 1_000, now), Millis(10_500));
        assert_eq!(throttle.charge("b.example", 1_000, 1_000, now), now);
        assert_eq!(throttle.charge("a.example", 0, 1_000, Millis(10_500)), Millis(10_500));
        assert_eq!(throttle.charge("a.example", u64::MAX, 0, now), now, "no limit");
        let later = Millis(60_000);
        assert_eq!(throttle.charge("a.example", 1_000, 1_000, later), later);
    }
}
