//! Which accounts are in memory: a sharded map that hands out `Arc`s, never guards.
//!
//! Permitted lock order, for the whole engine: a shard of this map, or an account's state (two of
//! them only in `locks.rs`); then a resource's presence; then an outbox. A shard and an account's
//! state are held together only while the shard forgets idle accounts, shard first. No lock is held
//! across an await.

use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use parking_lot::Mutex;
use stentor_jid::BareJid;

use crate::account::Account;
use crate::limits::IDLE_ACCOUNTS_MAX;

/// The accounts in memory.
pub struct Directory {
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
    clock: AtomicU64,
}

#[derive(Default)]
struct Shard {
    accounts: HashMap<BareJid, Arc<Account>, RandomState>,
    /// Grows whenever an account is forgotten: a view loaded before that may be out of date.
    forgotten: u64,
    /// What of that is known to be readable: all that was staged for those accounts is committed.
    readable: u64,
    /// Accounts added since idle ones were last looked for.
    added: usize,
}

/// Proof of when a load began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LoadMark {
    forgotten: u64,
    /// Whether all that was staged for accounts before they were forgotten is committed.
    pub(crate) is_readable: bool,
}

impl Default for Directory {
    fn default() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::default(),
            clock: AtomicU64::new(0),
        }
    }
}

impl Directory {
    /// The account, if it is in memory.
    pub fn find(&self, jid: &str) -> Option<Arc<Account>> {
        let account = self.shard(jid).lock().accounts.get(jid).cloned()?;
        account.touched.store(self.clock.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
        Some(account)
    }

    /// Marks the time at which a view begins to be read from the store.
    pub(crate) fn mark(&self, jid: &str) -> LoadMark {
        let shard = self.shard(jid).lock();
        LoadMark { forgotten: shard.forgotten, is_readable: shard.readable == shard.forgotten }
    }

    /// Notes that what was staged before the mark is committed.
    pub(crate) fn note_readable(&self, jid: &str, mark: LoadMark) {
        let mut shard = self.shard(jid).lock();
        shard.readable = shard.readable.max(mark.forgotten);
    }

    /// Takes a view in, unless somebody was faster (then theirs is returned) or an account was
    /// forgotten meanwhile (then none: read again).
    pub(crate) fn insert(&self, account: Arc<Account>, mark: LoadMark) -> Option<Arc<Account>> {
        let mut shard = self.shard(account.jid.as_str()).lock();
        if let Some(there) = shard.accounts.get(account.jid.as_str()) {
            return Some(there.clone());
        }
        if shard.forgotten != mark.forgotten {
            return None;
        }
        account.touched.store(self.clock.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
        shard.accounts.insert(account.jid.clone(), account.clone());
        shard.added += 1;
        if shard.added > SHARD_IDLE_MAX {
            shard.forget_idle(self.clock.load(Ordering::Relaxed));
        }
        Some(account)
    }

    /// Forgets an account at once: it was deleted, or its one session ended.
    pub(crate) fn remove(&self, jid: &str) -> Option<Arc<Account>> {
        let mut shard = self.shard(jid).lock();
        shard.forgotten += 1;
        shard.accounts.remove(jid)
    }

    /// Shows every account in memory. One shard is locked meanwhile: be short.
    pub(crate) fn for_each(&self, mut show: impl FnMut(&Account)) {
        for shard in &self.shards {
            shard.lock().accounts.values().for_each(|account| show(account));
        }
    }

    /// All accounts that have a session.
    pub fn online(&self) -> Vec<Arc<Account>> {
        let mut online = Vec::new();
        for shard in &self.shards {
            let accounts: Vec<_> = shard.lock().accounts.values().cloned().collect();
            online.extend(accounts.into_iter().filter(|a| !a.lock().resources().is_empty()));
        }
        online
    }

    fn shard(&self, jid: &str) -> &Mutex<Shard> {
        let hash = self.hasher.hash_one(jid);
        // The map inside takes other bits of its own hash.
        let index = usize::try_from(hash >> 58).unwrap_or(0);
        &self.shards[index % SHARDS]
    }
}

impl Shard {
    /// Drops the accounts without sessions that nobody holds and that were not asked for of late.
    fn forget_idle(&mut self, now: u64) {
        let horizon = now.saturating_sub(IDLE_TICKS);
        let before = self.accounts.len();
        self.accounts.retain(|_, account| {
            let is_shared = Arc::strong_count(account) > 1;
            let is_recent = account.touched.load(Ordering::Relaxed) > horizon;
            is_shared || is_recent || !account.is_idle()
        });
        if self.accounts.len() != before {
            self.forgotten += 1;
        }
        self.added = 0;
    }
}

const SHARDS: usize = 64;
const SHARD_IDLE_MAX: usize = IDLE_ACCOUNTS_MAX / SHARDS;
/// Look-ups after which an account that was not asked for may be forgotten.
const IDLE_TICKS: u64 = 1_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::AccountState;

    fn account(n: usize) -> Arc<Account> {
        let jid = BareJid::new(&format!("user{n}@capulet.example")).unwrap();
        Arc::new(Account::new(jid, false, AccountState::default()))
    }

    #[test]
    fn the_first_of_two_loads_wins() {
        let directory = Directory::default();
        let (first, second) = (account(1), account(1));
        let mark = directory.mark(first.jid.as_str());
        assert!(Arc::ptr_eq(&directory.insert(first.clone(), mark).unwrap(), &first));
        assert!(Arc::ptr_eq(&directory.insert(second, mark).unwrap(), &first));
    }

    #[test]
    fn a_view_read_before_a_removal_is_refused() {
        let directory = Directory::default();
        let stale = account(1);
        let mark = directory.mark(stale.jid.as_str());
        directory.remove(stale.jid.as_str());
        assert!(directory.insert(stale, mark).is_none());
    }

    #[test]
    fn what_was_staged_for_the_forgotten_is_waited_for_once() {
        let directory = Directory::default();
        let account = account(1);
        let jid = account.jid.as_str();
        assert!(directory.mark(jid).is_readable, "nothing was forgotten");
        directory.remove(jid);
        let mark = directory.mark(jid);
        directory.remove(jid);
        directory.note_readable(jid, mark);
        assert!(!directory.mark(jid).is_readable, "another was forgotten meanwhile");
        directory.note_readable(jid, directory.mark(jid));
        assert!(directory.mark(jid).is_readable);
    }

    #[test]
    fn idle_accounts_are_bounded_and_held_ones_stay() {
        let directory = Directory::default();
        let held = account(0);
        let mark = directory.mark(held.jid.as_str());
        directory.insert(held.clone(), mark).unwrap();
        for n in 1..IDLE_ACCOUNTS_MAX * 4 {
            let next = account(n);
            loop {
                let mark = directory.mark(next.jid.as_str());
                if directory.insert(next.clone(), mark).is_some() {
                    break;
                }
            }
        }
        let kept: usize = directory.shards.iter().map(|s| s.lock().accounts.len()).sum();
        let ticks = usize::try_from(IDLE_TICKS).unwrap();
        assert!(kept <= IDLE_ACCOUNTS_MAX * 2 + ticks, "{kept}");
        assert!(directory.find(held.jid.as_str()).is_some());
    }
}
