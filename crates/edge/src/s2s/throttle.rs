//! How much is read from each other domain: so many bytes a second on the average, over all its
//! streams together.

use hashbrown::HashMap;
use parking_lot::Mutex;
use stentor_stream::Millis;

use crate::limits::S2S_PAIRS_MAX;

/// What each domain has read from it, as far as it is limited.
#[derive(Default)]
pub(crate) struct Throttle(Mutex<HashMap<String, Bucket>>);

/// When what was read so far has been paid for.
#[derive(Clone, Copy)]
struct Bucket {
    paid_at: Millis,
}

impl Throttle {
    /// Charges a domain for what was read. When more may be read: at once as long as no more than
    /// one second's worth is owed.
    pub(crate) fn charge(&self, domain: &str, bytes: u64, per_sec: u64, now: Millis) -> Millis {
        if per_sec == 0 {
            return now;
        }
        let mut buckets = self.0.lock();
        if !buckets.contains_key(domain) {
            if buckets.len() >= S2S_PAIRS_MAX {
                buckets.retain(|_, bucket| bucket.paid_at > now);
            }
            buckets.insert(domain.to_owned(), Bucket { paid_at: now });
        }
        let Some(bucket) = buckets.get_mut(domain) else { return now };
        let cost = bytes.saturating_mul(1_000) / per_sec;
        bucket.paid_at = bucket.paid_at.max(now).plus(cost);
        Millis(bucket.paid_at.0.saturating_sub(1_000).max(now.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
