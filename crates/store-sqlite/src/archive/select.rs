//! Which entries match: keys in order, by the index that serves a filter best.

use rusqlite::types::Value;
use rusqlite::{Connection, params, params_from_iter};
use stentor_jid::BareJid;
use stentor_store::{ArchiveFilter, StoreError};

use crate::archive::search;
use crate::archive::tail::{Entry, Waiting};
use crate::archive::words::Wanted;
use crate::archive::{RETRACTED, stored_flags};
use crate::limits::COUNT_WORDED_MAX;
use crate::rows::{all, one, signed, value};

/// An entry that matches, and the row of its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) id: i64,
    pub(super) message: i64,
    pub(super) flags: i64,
}

/// The way through the entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// From the oldest on.
    Up,
    /// From the newest back.
    Down,
}

/// Ids from the first to the second, both included.
pub(super) type Ids = (i64, i64);

/// SQLite counts from 1.
const NO_ARCHIVE: i64 = 0;

/// Every id.
pub(super) const ALL_IDS: Ids = (i64::MIN, i64::MAX);

/// One archive as one read sees it.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) db: &'a Connection,
    pub(super) archive: i64,
    /// How far later entries may lie back in time behind earlier ones.
    pub(super) back_ms: i64,
    /// What is not folded, oldest first.
    pub(super) tail: &'a [Entry],
    /// The last message that was committed when the tail was taken.
    last_message: i64,
}

/// The entries of one archive that match a filter.
pub(super) struct Selection<'a> {
    pub(super) view: View<'a>,
    pub(super) filter: &'a ArchiveFilter,
    plan: Plan,
    /// All folded ones that match have ids in here.
    ids: Ids,
    /// What matches of what is behind those of the plan, oldest first.
    tail: Vec<Key>,
}

enum Plan {
    /// Every entry in the order of ids.
    Entries,
    /// Those with one contact.
    Peer,
    /// Those with certain words.
    Words(Wanted),
    /// These of the folded ones, oldest first.
    Known(Vec<Key>),
}

impl<'a> View<'a> {
    /// The archive of an account; one that holds nothing if there is none.
    ///
    /// `waiting` is what the tail had of the account before the database's view began.
    pub(crate) fn of(
        db: &'a Connection,
        owner: &BareJid,
        waiting: &'a Waiting,
    ) -> Result<Self, StoreError> {
        let sql = "SELECT v.id, v.back_ms, v.folded FROM accounts AS a \
                   JOIN archives AS v ON v.account = a.id WHERE a.jid = ?1";
        let found =
            one(db, sql, [owner.as_str()], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        let last_message = waiting.last_message;
        let Some((archive, back_ms, folded)) = found else {
            return Ok(Self { db, archive: NO_ARCHIVE, back_ms: 0, tail: &[], last_message });
        };
        // A former archive of the same account comes first.
        let is_past = |entry: &Entry| entry.message <= folded || entry.archive != archive;
        let past = waiting.entries.partition_point(is_past);
        let tail = waiting.entries.get(past..).unwrap_or_default();
        Ok(Self { db, archive, back_ms, tail, last_message })
    }

    /// The stanza of an entry, for who keeps no copy.
    pub(crate) fn message(&self, id: u64) -> Result<Vec<u8>, StoreError> {
        let gone = || StoreError::Corrupt("a kept message is not in the archive".into());
        let key = match self.key(id)? {
            Some(key) => key,
            None => self.late_key(id)?.ok_or_else(gone)?,
        };
        self.row(key).map(|row| row.body)
    }

    /// An entry that was committed after the tail was taken and before the database's view began:
    /// what refers to it is in that view already.
    fn late_key(&self, id: u64) -> Result<Option<Key>, StoreError> {
        let sql = "SELECT ?2, id, iif(archive1 = ?1 AND id1 = ?2, flags1, flags2) \
                   FROM archive_messages WHERE id > ?3 \
                   AND (archive1 = ?1 AND id1 = ?2 OR archive2 = ?1 AND id2 = ?2)";
        one(self.db, sql, [self.archive, signed(id), self.last_message], Key::read)
    }

    /// An entry by its id.
    pub(super) fn key(&self, id: u64) -> Result<Option<Key>, StoreError> {
        let id = signed(id);
        if let Ok(at) = self.tail.binary_search_by_key(&id, |entry| entry.id) {
            return Ok(self.tail.get(at).map(Key::of));
        }
        let sql = "SELECT id, message, flags FROM archive_entries WHERE archive = ?1 AND id = ?2";
        one(self.db, sql, [self.archive, id], Key::read)
    }
}

impl Key {
    fn of(entry: &Entry) -> Self {
        Self { id: entry.id, message: entry.message, flags: entry.flags }
    }

    fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self { id: row.get(0)?, message: row.get(1)?, flags: row.get(2)? })
    }
}

impl<'a> Selection<'a> {
    /// Prepares a filter. Nothing if it names an entry that does not exist.
    pub(super) fn of(
        view: View<'a>,
        filter: &'a ArchiveFilter,
    ) -> Result<Option<Self>, StoreError> {
        for id in [filter.after_id, filter.before_id].into_iter().flatten() {
            if view.key(id)?.is_none() {
                return Ok(None);
            }
        }
        let plan = match &filter.text {
            _ if !filter.ids.is_empty() => Plan::Known(Vec::new()),
            Some(text) => Plan::Words(Wanted::of(text)),
            None if filter.with.is_some() => Plan::Peer,
            None => Plan::Entries,
        };
        let ids = (
            filter.after_id.map_or(i64::MIN, |after| signed(after).saturating_add(1)),
            filter.before_id.map_or(i64::MAX, |before| signed(before).saturating_sub(1)),
        );
        let mut selection = Self { view, filter, plan, ids, tail: Vec::new() };
        if !filter.ids.is_empty() {
            return selection.look_up().map(|found| found.then_some(selection));
        }
        selection.narrow_by_time()?;
        selection.tail = match &selection.plan {
            Plan::Words(wanted) => search::not_entered(&selection, wanted)?,
            _ => selection.matching(view.tail)?,
        };
        Ok(Some(selection))
    }

    /// Up to `limit` keys within `ids`.
    pub(super) fn keys(&self, way: Way, ids: Ids, limit: usize) -> Result<Vec<Key>, StoreError> {
        let tail = self.tail.iter().filter(|key| ids.0 <= key.id && key.id <= ids.1).copied();
        let mut keys = match way {
            Way::Up => self.folded(way, ids, limit)?,
            Way::Down => tail.clone().rev().take(limit).collect(),
        };
        // What is folded has lower ids than what is not.
        let rest = limit - keys.len();
        match way {
            Way::Up => keys.extend(tail.take(rest)),
            Way::Down if rest > 0 => keys.extend(self.folded(way, ids, rest)?),
            Way::Down => {}
        }
        Ok(keys)
    }

    /// How many keys there are within `ids`; nothing if there are more than `max`.
    pub(super) fn count(&self, ids: Ids, max: usize) -> Result<Option<usize>, StoreError> {
        let max = if self.filter.text.is_some() { max.min(COUNT_WORDED_MAX) } else { max };
        let tail = self.tail.iter().filter(|key| ids.0 <= key.id && key.id <= ids.1).count();
        let folded = match &self.plan {
            Plan::Entries | Plan::Peer => {
                let sql = format!("SELECT count(*) FROM (SELECT 1 {} LIMIT ?7)", self.matches());
                let asked = params_from_iter(self.asked(ids, max + 1));
                let count: Option<i64> = value(self.view.db, &sql, asked)?;
                usize::try_from(count.unwrap_or(0)).unwrap_or(0)
            }
            Plan::Words(_) | Plan::Known(_) => self.folded(Way::Up, ids, max + 1)?.len(),
        };
        Ok(Some(tail + folded).filter(|count| *count <= max))
    }

    fn folded(&self, way: Way, ids: Ids, limit: usize) -> Result<Vec<Key>, StoreError> {
        let within = (ids.0.max(self.ids.0), ids.1.min(self.ids.1));
        match &self.plan {
            Plan::Entries | Plan::Peer => {
                let order = if way == Way::Up { "ASC" } else { "DESC" };
                let matches = self.matches();
                let sql =
                    format!("SELECT id, message, flags {matches} ORDER BY id {order} LIMIT ?7");
                let asked = params_from_iter(self.asked(ids, limit));
                all(self.view.db, &sql, asked, Key::read)
            }
            Plan::Words(wanted) => search::keys(self, wanted, way, within, limit),
            Plan::Known(known) => {
                let keys = known.iter().filter(|key| within.0 <= key.id && key.id <= within.1);
                Ok(match way {
                    Way::Up => keys.take(limit).copied().collect(),
                    Way::Down => keys.rev().take(limit).copied().collect(),
                })
            }
        }
    }

    /// The condition on folded entries, for the values of [`Self::asked`].
    fn matches(&self) -> &'static str {
        match self.plan {
            Plan::Peer if self.filter.with.as_ref().is_some_and(|with| with.is_full()) => {
                "FROM archive_by_peer WHERE archive = ?1 AND id BETWEEN ?2 AND ?3 \
                 AND at_ms BETWEEN ?4 AND ?5 AND flags & ?6 = 0 AND peer = ?8 AND resource = ?9"
            }
            Plan::Peer => {
                "FROM archive_by_peer WHERE archive = ?1 AND id BETWEEN ?2 AND ?3 \
                 AND at_ms BETWEEN ?4 AND ?5 AND flags & ?6 = 0 AND peer = ?8"
            }
            Plan::Entries | Plan::Words(_) | Plan::Known(_) => {
                "FROM archive_entries WHERE archive = ?1 AND id BETWEEN ?2 AND ?3 \
                 AND at_ms BETWEEN ?4 AND ?5 AND flags & ?6 = 0"
            }
        }
    }

    fn asked(&self, ids: Ids, limit: usize) -> Vec<Value> {
        let mut asked = vec![
            self.view.archive.into(),
            ids.0.max(self.ids.0).into(),
            ids.1.min(self.ids.1).into(),
            self.filter.start_ms.unwrap_or(i64::MIN).into(),
            self.filter.end_ms.unwrap_or(i64::MAX).into(),
            stored_flags(self.filter.without_flags).into(),
            i64::try_from(limit).unwrap_or(i64::MAX).into(),
        ];
        if let (Plan::Peer, Some(with)) = (&self.plan, &self.filter.with) {
            asked.push(with.bare_str().to_owned().into());
            asked.extend(with.resource().map(|resource| resource.to_owned().into()));
        }
        asked
    }

    /// Looks up the ids of the filter. Says whether they all exist.
    fn look_up(&mut self) -> Result<bool, StoreError> {
        let (mut ids, mut known, mut tail) = (self.filter.ids.clone(), Vec::new(), Vec::new());
        ids.sort_unstable();
        ids.dedup();
        for id in ids {
            let Some(key) = self.view.key(id)? else { return Ok(false) };
            match self.view.tail.binary_search_by_key(&key.id, |entry| entry.id) {
                Ok(at) => tail.extend(self.view.tail.get(at).cloned()),
                Err(_) => known.extend(search::entry(&self.view, key)?),
            }
        }
        let known = self.matching(&known)?;
        self.tail = self.matching(&tail)?;
        self.plan = Plan::Known(known);
        Ok(true)
    }

    /// Those of some entries that match.
    fn matching(&self, entries: &[Entry]) -> Result<Vec<Key>, StoreError> {
        let wanted = self.filter.text.as_deref().map(Wanted::of);
        let mut keys = Vec::new();
        for entry in entries {
            if !self.may_match(entry.id, entry.at_ms, entry.flags, entry.peer.as_str()) {
                continue;
            }
            if let Some(wanted) = &wanted {
                // The text of a tombstone is gone.
                let is_text = entry.flags & RETRACTED == 0 && !wanted.is_empty();
                if !is_text || !search::holds(self.view.db, entry.message, wanted)? {
                    continue;
                }
            }
            keys.push(Key::of(entry));
        }
        Ok(keys)
    }

    /// Whether an entry matches, its text aside.
    pub(super) fn may_match(&self, id: i64, at_ms: i64, flags: i64, peer: &str) -> bool {
        let filter = self.filter;
        let is_with = filter.with.as_ref().is_none_or(|with| match with.is_full() {
            true => with.as_str() == peer,
            false => peer.split('/').next() == Some(with.as_str()),
        });
        let (after, before) = (filter.after_id.map(signed), filter.before_id.map(signed));
        is_with
            && after.is_none_or(|after| id > after)
            && before.is_none_or(|before| id < before)
            && filter.start_ms.is_none_or(|start| at_ms >= start)
            && filter.end_ms.is_none_or(|end| at_ms <= end)
            && flags & stored_flags(filter.without_flags) == 0
    }

    /// Finds ids between which everything lies that was taken within the filter's times.
    ///
    /// Times grow with ids, but for what a clock was set back by, and that is known. Where an entry
    /// is so much too old, all before it are too old, and where one is so much too new, all behind
    /// it are too new.
    fn narrow_by_time(&mut self) -> Result<(), StoreError> {
        if self.filter.start_ms.is_none() && self.filter.end_ms.is_none() {
            return Ok(());
        }
        let back = self.view.back_ms;
        let (Some(first), Some(last)) = (self.end(Way::Up)?, self.end(Way::Down)?) else {
            return Ok(());
        };
        let ids = (first, last.saturating_add(1));
        if let Some(start) = self.filter.start_ms {
            let first = self.first_that(ids, |at_ms| at_ms >= start.saturating_sub(back))?;
            self.ids.0 = self.ids.0.max(first);
        }
        if let Some(end) = self.filter.end_ms {
            let first = self.first_that(ids, |at_ms| at_ms > end.saturating_add(back))?;
            // The index of words has what is not folded, too.
            let tail = self.view.tail.iter().rev().find(|entry| entry.at_ms <= end);
            let last = tail.map_or(first.saturating_sub(1), |entry| entry.id);
            self.ids.1 = self.ids.1.min(last);
        }
        Ok(())
    }

    /// The first id of which the time holds, if it held of all behind it.
    fn first_that(
        &self,
        (mut low, mut high): Ids,
        holds: impl Fn(i64) -> bool,
    ) -> Result<i64, StoreError> {
        while low < high {
            // Ids are never negative.
            let middle = low + (high - low) / 2;
            match self.at_or_behind(middle)? {
                Some((id, at_ms)) if !holds(at_ms) => low = id.saturating_add(1),
                _ => high = middle,
            }
        }
        Ok(low)
    }

    /// The first or the last folded id.
    fn end(&self, way: Way) -> Result<Option<i64>, StoreError> {
        let sql = match way {
            Way::Up => "SELECT id FROM archive_entries WHERE archive = ?1 ORDER BY id LIMIT 1",
            Way::Down => {
                "SELECT id FROM archive_entries WHERE archive = ?1 ORDER BY id DESC LIMIT 1"
            }
        };
        value(self.view.db, sql, [self.view.archive])
    }

    /// The first folded entry from an id on, and its time.
    fn at_or_behind(&self, id: i64) -> Result<Option<(i64, i64)>, StoreError> {
        let sql = "SELECT id, at_ms FROM archive_entries WHERE archive = ?1 AND id >= ?2 \
                   ORDER BY id LIMIT 1";
        one(self.view.db, sql, params![self.view.archive, id], |row| Ok((row.get(0)?, row.get(1)?)))
    }
}
