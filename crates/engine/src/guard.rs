//! Who may try to sign in: failures per account and per source, with temporary lock-outs.
//!
//! Pure bookkeeping: the time is an argument.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use parking_lot::Mutex;
use stentor_jid::BareJid;

use crate::tally::Tally;

/// Limits of sign-in attempts.
#[derive(Clone, Debug)]
pub struct GuardSettings {
    /// Failures of one source, over any accounts, before it is blocked.
    pub source_failures_max: u32,
    /// The window in which they are counted, and how long the block lasts.
    pub source_window: Duration,
    /// Failures on one account, from any source, before passwords are refused.
    pub account_failures_max: u32,
    /// The window in which they are counted, and how long the lock lasts.
    pub account_window: Duration,
    /// Failures of one source, or on one account, within a minute after which answers are delayed: 1,
    /// 2, 4, … seconds; a few more, and passwords are not even checked until the minute is over.
    pub delay_after: u32,
}

impl Default for GuardSettings {
    fn default() -> Self {
        Self {
            source_failures_max: 10,
            source_window: Duration::from_secs(600),
            account_failures_max: 20,
            account_window: Duration::from_secs(3_600),
            delay_after: 5,
        }
    }
}

/// The tables of failures.
#[derive(Debug, Default)]
pub struct Guard {
    settings: GuardSettings,
    /// Failures of the last minute.
    recent: Mutex<Tally<IpAddr>>,
    recent_on: Mutex<Tally<BareJid>>,
    sources: Mutex<Tally<IpAddr>>,
    accounts: Mutex<Tally<BareJid>>,
}

impl Guard {
    /// A guard with nothing noted.
    #[must_use]
    pub fn new(settings: GuardSettings) -> Self {
        Self { settings, ..Self::default() }
    }

    /// Whether this source is blocked.
    pub fn is_blocked(&self, source: IpAddr, now_ms: i64) -> bool {
        self.sources.lock().count(&network(source), now_ms) >= self.settings.source_failures_max
    }

    /// Whether passwords for this account are refused for now.
    pub fn is_locked(&self, account: &BareJid, now_ms: i64) -> bool {
        self.accounts.lock().count(account, now_ms) >= self.settings.account_failures_max
    }

    /// How long the answer to this source, about this account, should wait.
    pub fn delay(&self, source: IpAddr, account: Option<&BareJid>, now_ms: i64) -> Duration {
        match self.recent_failures(source, account, now_ms).checked_sub(self.settings.delay_after) {
            None => Duration::ZERO,
            Some(over) => Duration::from_secs(1 << over.min(DELAY_DOUBLINGS_MAX)),
        }
    }

    /// Whether this source tries too often, or too often is tried to sign in to this account, for
    /// passwords to be checked.
    pub fn is_hasty(&self, source: IpAddr, account: Option<&BareJid>, now_ms: i64) -> bool {
        let max = self.settings.delay_after.saturating_add(DELAYED_ANSWERS_MAX);
        self.recent_failures(source, account, now_ms) >= max
    }

    fn recent_failures(&self, source: IpAddr, account: Option<&BareJid>, now_ms: i64) -> u32 {
        let of_source = self.recent.lock().count(&network(source), now_ms);
        let on_account = account.map(|account| self.recent_on.lock().count(account, now_ms));
        of_source.max(on_account.unwrap_or(0))
    }

    /// Notes a failure. Returns whether the source, and whether the account, is locked by it.
    pub fn failed(
        &self,
        source: Option<IpAddr>,
        account: Option<&BareJid>,
        now_ms: i64,
    ) -> (bool, bool) {
        let source_locked = source.is_some_and(|source| {
            self.recent.lock().add(network(source), RECENT, u32::MAX, now_ms);
            let count = self.sources.lock().add(
                network(source),
                self.settings.source_window,
                self.settings.source_failures_max,
                now_ms,
            );
            count == self.settings.source_failures_max
        });
        let account_locked = account.is_some_and(|account| {
            self.recent_on.lock().add(account.clone(), RECENT, u32::MAX, now_ms);
            let count = self.accounts.lock().add(
                account.clone(),
                self.settings.account_window,
                self.settings.account_failures_max,
                now_ms,
            );
            count == self.settings.account_failures_max
        });
        (source_locked, account_locked)
    }

    /// Forgets the failures on an account: it was signed in to, or an operator says so.
    pub fn forgive_account(&self, account: &BareJid) -> bool {
        self.recent_on.lock().forget(account);
        self.accounts.lock().forget(account)
    }

    /// Lifts the block of a source.
    pub fn forgive_source(&self, source: IpAddr) -> bool {
        self.recent.lock().forget(&network(source));
        self.sources.lock().forget(&network(source))
    }

    /// The blocked sources and when each block ends.
    pub fn blocked(&self, now_ms: i64) -> Vec<(IpAddr, i64)> {
        let max = self.settings.source_failures_max;
        self.sources.lock().at_least(max, now_ms)
    }
}

/// An IPv6 customer has a whole /64, and counts once.
fn network(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

/// The window in which attempts are counted for delays.
const RECENT: Duration = Duration::from_secs(60);
/// Delayed answers before passwords are not checked any more.
const DELAYED_ANSWERS_MAX: u32 = 4;
/// The longest delay is 2 to this many seconds.
const DELAY_DOUBLINGS_MAX: u32 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_source_is_blocked_for_its_time_and_others_are_not() {
        let guard = Guard::default();
        for n in 1..=10 {
            assert!(!guard.is_blocked(ip("192.0.2.1"), 0));
            assert_eq!(guard.failed(Some(ip("192.0.2.1")), None, 0).0, n == 10);
        }
        assert!(guard.is_blocked(ip("192.0.2.1"), 599_999));
        assert!(!guard.is_blocked(ip("192.0.2.2"), 0));
        assert_eq!(guard.blocked(0).len(), 1);
        assert!(!guard.is_blocked(ip("192.0.2.1"), 600_000));
    }

    #[test]
    fn an_ipv6_source_is_its_64() {
        let guard = Guard::default();
        for _ in 0..10 {
            guard.failed(Some(ip("2001:db8:1:2:3::1")), None, 0);
        }
        assert!(guard.is_blocked(ip("2001:db8:1:2:ffff::9"), 1));
        assert!(!guard.is_blocked(ip("2001:db8:1:3::1"), 1));
        assert!(guard.forgive_source(ip("2001:db8:1:2::")));
        assert!(!guard.is_blocked(ip("2001:db8:1:2::1"), 1));
    }

    #[test]
    fn an_account_is_locked_from_any_source_and_unlocks_by_itself() {
        let guard = Guard::default();
        let juliet = BareJid::new("juliet@capulet.example").unwrap();
        for n in 0..20 {
            assert!(!guard.is_locked(&juliet, n));
            guard.failed(None, Some(&juliet), n);
        }
        assert!(guard.is_locked(&juliet, 20));
        assert!(!guard.is_locked(&juliet, 3_600_019));
        guard.failed(None, Some(&juliet), 3_600_020);
        assert!(!guard.is_locked(&juliet, 3_600_021), "a new window begins at one");
    }

    #[test]
    fn delays_double_up_to_a_bound() {
        let guard = Guard::default();
        let source = ip("192.0.2.1");
        let seconds: Vec<u64> = (0..12)
            .map(|_| {
                guard.failed(Some(source), None, 0);
                guard.delay(source, None, 0).as_secs()
            })
            .collect();
        assert_eq!(seconds, [0, 0, 0, 0, 1, 2, 4, 8, 16, 16, 16, 16]);
    }

    #[test]
    fn who_tries_too_often_is_not_heard_until_the_minute_is_over() {
        let guard = Guard::default();
        let source = ip("192.0.2.1");
        for _ in 0..9 {
            assert!(!guard.is_hasty(source, None, 0));
            guard.failed(Some(source), None, 0);
        }
        assert!(guard.is_hasty(source, None, 59_999));
        assert!(!guard.is_hasty(ip("192.0.2.2"), None, 0));
        assert!(!guard.is_hasty(source, None, 60_000));
    }

    #[test]
    fn guesses_at_one_account_from_many_sources_wait_as_well() {
        let guard = Guard::default();
        let juliet = BareJid::new("juliet@capulet.example").unwrap();
        let romeo = BareJid::new("romeo@montague.example").unwrap();
        let sources = (1..=9).map(|n| ip(&format!("192.0.2.{n}")));
        let seconds: Vec<u64> = sources
            .map(|source| {
                assert!(!guard.is_hasty(source, Some(&juliet), 0));
                guard.failed(Some(source), Some(&juliet), 0);
                guard.delay(source, Some(&juliet), 0).as_secs()
            })
            .collect();
        assert_eq!(seconds, [0, 0, 0, 0, 1, 2, 4, 8, 16]);
        let other = ip("192.0.2.10");
        assert!(guard.is_hasty(other, Some(&juliet), 59_999));
        assert!(!guard.is_hasty(other, Some(&romeo), 0));
        assert!(!guard.is_hasty(other, Some(&juliet), 60_000));
        guard.forgive_account(&juliet);
        assert!(!guard.is_hasty(other, Some(&juliet), 0));
    }
}
