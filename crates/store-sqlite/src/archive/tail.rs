//! What is committed and not folded yet, in memory for readers.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::RwLock;
use stentor_jid::{BareJid, Jid};

use crate::rows::unsigned;

/// The entries that are not folded yet, by account.
///
/// A reader takes them before its view of the database begins. Whatever was folded in between is
/// then in that view, and known by `archives.folded`; whatever came later is missing from both. So
/// a read shows the archive as it was at one moment.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    published: RwLock<Published>,
    len: AtomicUsize,
    last_id: AtomicU64,
}

#[derive(Debug, Default)]
struct Published {
    entries: HashMap<BareJid, Arc<Vec<Entry>>>,
    /// The last message of any account.
    last_message: i64,
}

/// What the tail has of one account at one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Waiting {
    /// The entries, oldest first.
    pub(crate) entries: Arc<Vec<Entry>>,
    /// The last message of any account that was committed.
    pub(crate) last_message: i64,
}

/// An entry without its message.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) archive: i64,
    pub(crate) id: i64,
    /// The row of its message.
    pub(crate) message: i64,
    pub(crate) at_ms: i64,
    pub(crate) flags: i64,
    pub(crate) peer: Jid,
    /// CRC-32 of the ids that its sender and a room gave it.
    pub(crate) origin: Option<u32>,
    pub(crate) stanza: Option<u32>,
    /// Bytes of its message.
    pub(crate) bytes: i64,
}

impl Tail {
    /// The entries of an account.
    pub(crate) fn of(&self, owner: &BareJid) -> Waiting {
        let published = self.published.read();
        let entries = published.entries.get(owner).cloned().unwrap_or_default();
        Waiting { entries, last_message: published.last_message }
    }

    /// How many entries there are.
    pub(crate) fn len(&self) -> usize {
        self.len.load(Ordering::Acquire)
    }

    /// The largest id of any account, ever.
    pub(crate) fn last_id(&self) -> u64 {
        self.last_id.load(Ordering::Acquire)
    }

    /// Accounts with entries here, in the order of their archives.
    pub(crate) fn owners(&self) -> Vec<BareJid> {
        let published = self.published.read();
        let entries = &published.entries;
        let archive = |entries: &Vec<Entry>| entries.first().map_or(0, |entry| entry.archive);
        let mut owners: Vec<(i64, BareJid)> =
            entries.iter().map(|(owner, of_owner)| (archive(of_owner), owner.clone())).collect();
        owners.sort_unstable();
        owners.into_iter().map(|(_, owner)| owner).collect()
    }

    /// Accounts of which something here is older than `before_ms`.
    pub(crate) fn older_than(&self, before_ms: i64, host: Option<&str>) -> Vec<BareJid> {
        let is_old = |(owner, entries): &(&BareJid, &Arc<Vec<Entry>>)| {
            host.is_none_or(|host| owner.domain() == host)
                && entries.first().is_some_and(|entry| entry.at_ms < before_ms)
        };
        self.published
            .read()
            .entries
            .iter()
            .filter(is_old)
            .map(|(owner, _)| owner.clone())
            .collect()
    }

    /// Notes that an id was used.
    pub(crate) fn saw(&self, id: i64) {
        self.last_id.fetch_max(unsigned(id), Ordering::AcqRel);
    }

    /// Takes out what was folded, up to a message for each account, and adds what is new, up to
    /// `last_message`.
    pub(crate) fn publish(
        &self,
        folded: &[(BareJid, i64)],
        new: Vec<(BareJid, Entry)>,
        last_message: i64,
    ) {
        let mut published = self.published.write();
        published.last_message = last_message;
        let entries = &mut published.entries;
        for (owner, up_to) in folded {
            let Some(of_owner) = entries.get_mut(owner) else { continue };
            let done = of_owner.partition_point(|entry| entry.message <= *up_to);
            self.len.fetch_sub(done, Ordering::AcqRel);
            if done == of_owner.len() {
                entries.remove(owner);
            } else {
                Arc::make_mut(of_owner).drain(..done);
            }
        }
        self.len.fetch_add(new.len(), Ordering::AcqRel);
        for (owner, entry) in new {
            Arc::make_mut(entries.entry(owner).or_default()).push(entry);
        }
    }
}
