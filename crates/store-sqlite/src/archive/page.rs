//! Pages, and single entries.

use rusqlite::params;
use stentor_jid::Jid;
use stentor_store::limits::{COUNT_ROWS_MAX, PAGE_BYTES_MAX, PAGE_ROWS_MAX, REFERENCE_ROWS_MAX};
use stentor_store::{
    ArchiveFilter, ArchiveMark, ArchiveRange, ArchiveReference, ArchiveRow, ArchiveSlice, Edge,
    ReferenceId, StoreError, Usage,
};

use crate::archive::select::{ALL_IDS, Ids, Key, Selection, View, Way};
use crate::archive::tail::Entry;
use crate::archive::{RETRACTED, SENT, module_flags};
use crate::checksum::crc32;
use crate::rows::{all, one, signed, unsigned, value};

impl View<'_> {
    /// A page; nothing if an id or an index is unknown.
    pub(super) fn page(
        &self,
        filter: &ArchiveFilter,
        range: ArchiveRange,
    ) -> Result<Option<ArchiveSlice>, StoreError> {
        if filter.ids.len() > PAGE_ROWS_MAX as usize {
            return Ok(None);
        }
        let Some(selection) = Selection::of(*self, filter)? else { return Ok(None) };
        let Some((way, mut ids)) = self.edge(&selection, range.from)? else { return Ok(None) };
        let limit = range.limit.min(PAGE_ROWS_MAX) as usize;
        let mut slice = ArchiveSlice::default();
        let (mut last, mut bytes) = (None, 0);
        // Damaged entries fill no page: the next ones take their place.
        while !slice.is_complete && slice.rows.len() <= limit {
            let room = limit - slice.rows.len();
            let keys = selection.keys(way, ids, room + 1)?;
            slice.is_complete = keys.len() <= room;
            for key in keys.into_iter().take(room) {
                if bytes >= PAGE_BYTES_MAX {
                    slice.is_complete = false;
                    break;
                }
                match self.row(key) {
                    Ok(row) => {
                        bytes += row.body.len();
                        slice.rows.push(row);
                    }
                    Err(StoreError::Corrupt(_)) => slice.damaged.push(unsigned(key.id)),
                    Err(error) => return Err(error),
                }
                last = Some(key.id);
            }
            if slice.rows.len() == limit || bytes >= PAGE_BYTES_MAX {
                break;
            }
            match (way, last) {
                (Way::Up, Some(last)) => ids.0 = last.saturating_add(1),
                (Way::Down, Some(last)) => ids.1 = last.saturating_sub(1),
                (_, None) => break,
            }
        }
        if way == Way::Down {
            slice.rows.reverse();
        }
        self.number(&selection, range.from, &mut slice)?;
        Ok(Some(slice))
    }

    /// The direction and the ids of a page; nothing if the place where it begins is unknown.
    fn edge(
        &self,
        selection: &Selection<'_>,
        from: Edge,
    ) -> Result<Option<(Way, Ids)>, StoreError> {
        let is_known = match from {
            Edge::After(id) | Edge::Before(id) => self.key(id)?.is_some(),
            Edge::First | Edge::Last | Edge::Index(_) => true,
        };
        if !is_known {
            return Ok(None);
        }
        Ok(match from {
            Edge::First => Some((Way::Up, ALL_IDS)),
            Edge::After(id) => Some((Way::Up, (signed(id).saturating_add(1), i64::MAX))),
            Edge::Last => Some((Way::Down, ALL_IDS)),
            Edge::Before(id) => Some((Way::Down, (i64::MIN, signed(id).saturating_sub(1)))),
            Edge::Index(0) => Some((Way::Up, ALL_IDS)),
            Edge::Index(index) if index > COUNT_ROWS_MAX => None,
            Edge::Index(index) => {
                let before = usize::try_from(index).unwrap_or(usize::MAX);
                let keys = selection.keys(Way::Up, ALL_IDS, before.saturating_add(1))?;
                keys.get(before).map(|key| (Way::Up, (key.id, i64::MAX)))
            }
        })
    }

    /// Counts what matches, and where in it a page stands.
    fn number(
        &self,
        selection: &Selection<'_>,
        from: Edge,
        slice: &mut ArchiveSlice,
    ) -> Result<(), StoreError> {
        let max = usize::try_from(COUNT_ROWS_MAX).unwrap_or(usize::MAX);
        let number = |count: usize| count as u64;
        slice.count = if *selection.filter == ArchiveFilter::default() {
            Some(self.usage()?.count)
        } else {
            selection.count(ALL_IDS, max)?.map(number)
        };
        let Some(first) = slice.rows.first().map(|row| signed(row.id)) else { return Ok(()) };
        let rows = slice.rows.len() as u64;
        slice.first_index = match (from, slice.count) {
            _ if !slice.damaged.is_empty() => None,
            (Edge::First, _) => Some(0),
            (Edge::Index(index), _) => Some(index),
            (Edge::Last, Some(count)) => Some(count.saturating_sub(rows)),
            _ => selection.count((i64::MIN, first.saturating_sub(1)), max)?.map(number),
        };
        if let (None, Some(count)) = (slice.first_index, slice.count) {
            let behind = selection.count((first, i64::MAX), max)?.map(number);
            slice.first_index = behind.map(|behind| count.saturating_sub(behind));
        }
        Ok(())
    }

    /// Entries by their ids, and the ids of those that are damaged.
    pub(super) fn by_ids(&self, ids: &[u64]) -> Result<(Vec<ArchiveRow>, Vec<u64>), StoreError> {
        let mut ids = ids.to_vec();
        ids.truncate(PAGE_ROWS_MAX as usize);
        ids.sort_unstable();
        ids.dedup();
        let (mut rows, mut damaged) = (Vec::new(), Vec::new());
        for id in ids {
            let Some(key) = self.key(id)? else { continue };
            match self.row(key) {
                Ok(row) => rows.push(row),
                Err(StoreError::Corrupt(_)) => damaged.push(id),
                Err(error) => return Err(error),
            }
        }
        Ok((rows, damaged))
    }

    /// The newest entry with a contact that has an id of its sender or of a room.
    pub(super) fn find(&self, asked: &ArchiveReference) -> Result<Option<ArchiveRow>, StoreError> {
        let (column, text) = match &asked.id {
            ReferenceId::Origin(text) => ("origin", text),
            ReferenceId::Stanza(text) => ("stanza", text),
        };
        let sum = crc32(text.as_bytes());
        let sent = if asked.is_sent { SENT } else { 0 };
        let is_it = |entry: &&Entry| {
            let of_entry = match asked.id {
                ReferenceId::Origin(_) => entry.origin,
                ReferenceId::Stanza(_) => entry.stanza,
            };
            of_entry == Some(sum)
                && entry.flags & SENT == sent
                && entry.peer.bare_str() == asked.peer.as_str()
        };
        for entry in self.tail.iter().rev().filter(is_it) {
            if self.is_called(entry.message, &asked.id)? {
                return self.key(unsigned(entry.id))?.map(|key| self.row(key)).transpose();
            }
        }
        let sql = format!(
            "SELECT id, message, flags FROM (SELECT id, message, flags, {column} \
             FROM archive_by_peer WHERE archive = ?1 AND peer = ?2 ORDER BY id DESC LIMIT ?3) \
             WHERE {column} = ?4 AND flags & 1 = ?5"
        );
        let params = params![self.archive, asked.peer.as_str(), REFERENCE_ROWS_MAX, sum, sent];
        let keys = all(self.db, &sql, params, |row| {
            Ok(Key { id: row.get(0)?, message: row.get(1)?, flags: row.get(2)? })
        })?;
        for key in keys {
            if self.is_called(key.message, &asked.id)? {
                return self.row(key).map(Some);
            }
        }
        Ok(None)
    }

    /// The first and the last entry.
    pub(super) fn bounds(&self) -> Result<Option<(ArchiveMark, ArchiveMark)>, StoreError> {
        let end = |sql: &str| {
            one(self.db, sql, [self.archive], |row| {
                Ok(ArchiveMark { id: unsigned(row.get(0)?), at_ms: row.get(1)? })
            })
        };
        let mark = |entry: &Entry| ArchiveMark { id: unsigned(entry.id), at_ms: entry.at_ms };
        let first =
            end("SELECT id, at_ms FROM archive_entries WHERE archive = ?1 ORDER BY id LIMIT 1")?;
        let last = end(
            "SELECT id, at_ms FROM archive_entries WHERE archive = ?1 ORDER BY id DESC LIMIT 1",
        )?;
        let first = first.or_else(|| self.tail.first().map(mark));
        Ok(first.zip(self.tail.last().map(mark).or(last)))
    }

    /// How many entries there are, and the bytes of their messages.
    pub(super) fn usage(&self) -> Result<Usage, StoreError> {
        let sql = "SELECT entries, bytes FROM archives WHERE id = ?1";
        let found: Option<(i64, i64)> =
            one(self.db, sql, [self.archive], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let (count, bytes) = found.unwrap_or_default();
        let tail: i64 = self.tail.iter().map(|entry| entry.bytes).sum();
        Ok(Usage { count: unsigned(count) + self.tail.len() as u64, bytes: unsigned(bytes + tail) })
    }

    /// Reads an entry with its message.
    pub(super) fn row(&self, key: Key) -> Result<ArchiveRow, StoreError> {
        let sql = "SELECT at_ms, iif(archive1 = ?2 AND id1 = ?3, peer1, peer2), checksum, body \
                   FROM archive_messages WHERE id = ?1";
        let found = one(self.db, sql, [key.message, self.archive, key.id], |row| {
            let (at_ms, peer): (i64, Option<String>) = (row.get(0)?, row.get(1)?);
            Ok((at_ms, peer, row.get::<_, u32>(2)?, row.get::<_, Vec<u8>>(3)?))
        })?;
        let damaged = |what: &str| StoreError::Corrupt(format!("archived message: {what}").into());
        let (at_ms, peer, checksum, body) = found.ok_or_else(|| damaged("it is gone"))?;
        let peer = peer.and_then(|peer| Jid::new(&peer).ok()).ok_or_else(|| damaged("address"))?;
        if crc32(&body) != checksum {
            return Err(damaged("checksum"));
        }
        Ok(ArchiveRow {
            id: unsigned(key.id),
            at_ms,
            peer,
            is_sent: key.flags & SENT != 0,
            is_retracted: key.flags & RETRACTED != 0,
            flags: module_flags(key.flags),
            body,
        })
    }

    fn is_called(&self, message: i64, id: &ReferenceId) -> Result<bool, StoreError> {
        let (sql, text) = match id {
            ReferenceId::Origin(text) => {
                ("SELECT origin_id FROM archive_messages WHERE id = ?1", text)
            }
            ReferenceId::Stanza(text) => {
                ("SELECT stanza_id FROM archive_messages WHERE id = ?1", text)
            }
        };
        let found: Option<Option<String>> = value(self.db, sql, [message])?;
        Ok(found.flatten().as_ref() == Some(text))
    }
}
