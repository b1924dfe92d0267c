//! Taking entries away: tombstones, single messages, old ones, whole archives.
//!
//! Whatever removes first folds what the account has not folded, and then deals with tables alone.

use std::collections::HashSet;

use rusqlite::{Connection, params};
use stentor_jid::BareJid;
use stentor_store::limits::ARCHIVE_STEP_ROWS;
use stentor_store::{ArchiveDrop, StoreError};

use crate::apply::run;
use crate::archive::fold::{bare, holder_at};
use crate::archive::words::{self, Holders};
use crate::archive::{Archiver, RETRACTED};
use crate::checksum::crc32;
use crate::limits::EXPIRED_OWNERS_MAX;
use crate::rows::{address, all, one, signed, value};

/// An archive that is not empty, and whose it is.
#[derive(Clone, Copy)]
struct Place {
    archive: i64,
    account: Option<i64>,
}

/// A message as far as removing one of its entries needs it.
struct Message {
    id: i64,
    text: Option<String>,
    holders: [Option<(i64, String)>; 2],
    ids: [Option<i64>; 2],
    bytes: i64,
}

impl Archiver {
    /// Puts a tombstone in the place of a message.
    pub(crate) fn retract(
        &mut self,
        db: &Connection,
        owner: &BareJid,
        account: i64,
        id: u64,
        tombstone: &[u8],
    ) -> Result<(), StoreError> {
        self.fold(db, owner)?;
        let (Some(place), id) = (place_of(db, account)?, signed(id)) else { return Ok(()) };
        let Some(message) = message_of(db, place.archive, id)? else { return Ok(()) };
        let (own, other) = message.slots(place.archive, id);
        take_out_words(db, &message, self.worded())?;
        let row = if message.ids[other].is_some() {
            // The other account keeps the message; ours gets a row of its own.
            message.clear(db, own, self.worded())?;
            let row = self.take_message();
            copy(db, row, &message, own, tombstone)?;
            let sql = "UPDATE archives SET folded = ?2 WHERE id = ?1";
            run(db, sql, [place.archive, row])?;
            row
        } else {
            let sql = "UPDATE archive_messages SET body = ?2, checksum = ?3, text = NULL \
                       WHERE id = ?1";
            run(db, sql, params![message.id, tombstone, crc32(tombstone)])?;
            message.id
        };
        let sql = "UPDATE archive_entries SET flags = flags | ?3, message = ?4 \
                   WHERE archive = ?1 AND id = ?2";
        run(db, sql, params![place.archive, id, RETRACTED, row])?;
        let sql = "UPDATE archive_by_peer SET flags = flags | ?3, message = ?4 \
                   WHERE archive = ?1 AND id = ?2 AND peer = ?5";
        run(db, sql, params![place.archive, id, RETRACTED, row, message.peer(own)])?;
        let sql = "UPDATE archives SET bytes = bytes + ?2 WHERE id = ?1";
        run(db, sql, params![place.archive, tombstone.len() as i64 - message.bytes])
    }

    /// Removes entries of an account.
    pub(crate) fn drop_entries(
        &mut self,
        db: &Connection,
        owner: &BareJid,
        account: i64,
        what: &ArchiveDrop,
    ) -> Result<(), StoreError> {
        self.fold(db, owner)?;
        let Some(place) = place_of(db, account)? else { return Ok(()) };
        match what {
            ArchiveDrop::Ids(ids) => {
                let ids: Vec<i64> = ids.iter().copied().map(signed).collect();
                remove(db, place, &ids, self.worded())?;
            }
            ArchiveDrop::Before(before_ms) => {
                let ids = oldest(db, place.archive, *before_ms, ARCHIVE_STEP_ROWS)?;
                remove(db, place, &ids, self.worded())?;
            }
            ArchiveDrop::All => return self.abandon_archive(db, owner, account),
        }
        note_oldest(db, place.archive)
    }

    /// Makes an archive one of a deleted account, whose messages go step by step.
    pub(crate) fn abandon_archive(
        &mut self,
        db: &Connection,
        owner: &BareJid,
        account: i64,
    ) -> Result<(), StoreError> {
        self.fold(db, owner)?;
        if let Some(place) = place_of(db, account)? {
            spare_offline(db, place, None)?;
            run(db, "DELETE FROM archive_damaged WHERE archive = ?1", [place.archive])?;
            run(db, "UPDATE archives SET account = NULL WHERE id = ?1", [place.archive])?;
        }
        self.forget(owner);
        Ok(())
    }

    /// Leaves the archive of an account that is about to be deleted to be swept.
    pub(crate) fn leave(&mut self, db: &Connection, owner: &BareJid) -> Result<(), StoreError> {
        self.fold(db, owner)?;
        self.forget(owner);
        Ok(())
    }

    /// Removes a part of what deleted accounts left.
    pub(crate) fn sweep(&mut self, db: &Connection) -> Result<(), StoreError> {
        let mut left = ARCHIVE_STEP_ROWS;
        while left > 0 {
            let sql = "SELECT id FROM archives WHERE account IS NULL LIMIT 1";
            let Some(archive) = value::<i64>(db, sql, [])? else { return Ok(()) };
            let ids = oldest(db, archive, i64::MAX, left)?;
            if ids.is_empty() {
                run(db, "DELETE FROM archives WHERE id = ?1", [archive])?;
            }
            remove(db, Place { archive, account: None }, &ids, self.worded())?;
            // An archive that is found empty is work as well.
            left -= u32::try_from(ids.len()).unwrap_or(left).clamp(1, left);
        }
        Ok(())
    }

    /// Moves an entry to the damaged ones.
    pub(crate) fn put_aside(
        &mut self,
        db: &Connection,
        owner: &BareJid,
        account: i64,
        id: u64,
    ) -> Result<(), StoreError> {
        self.fold(db, owner)?;
        let (Some(place), id) = (place_of(db, account)?, signed(id)) else { return Ok(()) };
        let sql = "INSERT OR REPLACE INTO archive_damaged (archive, id, at_ms, body) \
                   SELECT ?1, ?2, m.at_ms, m.body FROM archive_entries AS e \
                   JOIN archive_messages AS m ON m.id = e.message \
                   WHERE e.archive = ?1 AND e.id = ?2";
        let moved = run(db, sql, params![place.archive, id])
            .and_then(|()| remove(db, place, &[id], self.worded()))
            .and_then(|()| note_oldest(db, place.archive));
        match moved {
            // Pages that cannot be read cannot be copied either; the row stays and is skipped.
            Err(StoreError::Corrupt(_)) => Ok(()),
            other => other,
        }
    }
}

impl Message {
    /// Which of both entries an id means, and which is the other.
    fn slots(&self, archive: i64, id: i64) -> (usize, usize) {
        let is_first = self.holders[0].as_ref().is_some_and(|(of, _)| *of == archive)
            && self.ids[0] == Some(id);
        if is_first { (0, 1) } else { (1, 0) }
    }

    fn peer(&self, slot: usize) -> &str {
        bare(&self.holders)[slot].map_or("", |(_, peer)| peer)
    }

    /// Takes one entry from the row; the other stays. Its words are out of the index already.
    fn clear(&self, db: &Connection, own: usize, worded: i64) -> Result<(), StoreError> {
        let sql = match own {
            0 => {
                "UPDATE archive_messages SET archive1 = NULL, id1 = NULL, peer1 = NULL, \
                 flags1 = NULL WHERE id = ?1"
            }
            _ => {
                "UPDATE archive_messages SET archive2 = NULL, id2 = NULL, peer2 = NULL, \
                 flags2 = NULL WHERE id = ?1"
            }
        };
        run(db, sql, [self.id])?;
        let mut holders: Holders<'_> = bare(&self.holders);
        holders[own] = None;
        match &self.text {
            Some(text) if self.id <= worded => words::enter(db, self.id, text, holders),
            _ => Ok(()),
        }
    }
}

/// Accounts with entries older than `before_ms`, as many as one step is for, beside those known to
/// have some; and whether nothing of deleted accounts is left.
pub(super) fn due(
    db: &Connection,
    host: Option<&str>,
    before_ms: i64,
    known: Vec<BareJid>,
) -> Result<(Vec<BareJid>, bool), StoreError> {
    let sql = "SELECT v.id, a.jid FROM archives AS v JOIN accounts AS a ON a.id = v.account \
               WHERE v.oldest_ms < ?1 AND (?2 IS NULL OR a.host = ?2) \
               ORDER BY v.oldest_ms LIMIT ?3";
    let asked = params![before_ms, host, EXPIRED_OWNERS_MAX];
    let old = all(db, sql, asked, |row| Ok((row.get(0)?, row.get::<_, String>(1)?)))?;
    let mut owners = known;
    owners.truncate(EXPIRED_OWNERS_MAX as usize);
    let mut entries = 0;
    for (archive, owner) in old {
        if entries >= ARCHIVE_STEP_ROWS as usize {
            break;
        }
        entries += oldest(db, archive, before_ms, ARCHIVE_STEP_ROWS)?.len();
        let owner = address(&owner)?;
        if !owners.contains(&owner) {
            owners.push(owner);
        }
    }
    let left: Option<i64> = value(db, "SELECT id FROM archives WHERE account IS NULL LIMIT 1", [])?;
    Ok((owners, left.is_none()))
}

fn place_of(db: &Connection, account: i64) -> Result<Option<Place>, StoreError> {
    let archive = value(db, "SELECT id FROM archives WHERE account = ?1", [account])?;
    Ok(archive.map(|archive| Place { archive, account: Some(account) }))
}

fn message_of(db: &Connection, archive: i64, id: i64) -> Result<Option<Message>, StoreError> {
    let sql = "SELECT m.id, m.text, m.archive1, m.peer1, m.archive2, m.peer2, m.id1, m.id2, \
               length(m.body) FROM archive_entries AS e \
               JOIN archive_messages AS m ON m.id = e.message WHERE e.archive = ?1 AND e.id = ?2";
    one(db, sql, [archive, id], |row| {
        Ok(Message {
            id: row.get(0)?,
            text: row.get(1)?,
            holders: [holder_at(row, 2)?, holder_at(row, 4)?],
            ids: [row.get(6)?, row.get(7)?],
            bytes: row.get(8)?,
        })
    })
}

/// A new row for one entry of a message, with another body and no text.
fn copy(
    db: &Connection,
    row: i64,
    message: &Message,
    own: usize,
    body: &[u8],
) -> Result<(), StoreError> {
    let Some((archive, peer)) = &message.holders[own] else { return Ok(()) };
    let sql = "INSERT INTO archive_messages (id, at_ms, archive1, id1, peer1, flags1, origin_id, \
               stanza_id, checksum, body) \
               SELECT ?1, m.at_ms, ?3, ?4, ?5, e.flags, m.origin_id, m.stanza_id, ?6, ?7 \
               FROM archive_messages AS m JOIN archive_entries AS e \
               ON e.archive = ?3 AND e.id = ?4 WHERE m.id = ?2";
    run(db, sql, params![row, message.id, archive, message.ids[own], peer, crc32(body), body])
}

fn take_out_words(db: &Connection, message: &Message, worded: i64) -> Result<(), StoreError> {
    match &message.text {
        Some(text) if message.id <= worded => {
            words::take_out(db, message.id, text, bare(&message.holders))
        }
        _ => Ok(()),
    }
}

/// The first entries of an archive, as long as they are older than `before_ms`.
fn oldest(
    db: &Connection,
    archive: i64,
    before_ms: i64,
    limit: u32,
) -> Result<Vec<i64>, StoreError> {
    let sql = "SELECT id, at_ms FROM archive_entries WHERE archive = ?1 ORDER BY id LIMIT ?2";
    let found = all(db, sql, params![archive, limit], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let old = found.into_iter().take_while(|(_, at_ms): &(i64, i64)| *at_ms < before_ms);
    Ok(old.map(|(id, _)| id).collect())
}

/// Removes entries; unknown ids are ignored.
fn remove(db: &Connection, place: Place, ids: &[i64], worded: i64) -> Result<(), StoreError> {
    spare_offline(db, place, Some(ids))?;
    let (mut entries, mut bytes) = (0, 0);
    for id in ids {
        let Some(message) = message_of(db, place.archive, *id)? else { continue };
        let (own, other) = message.slots(place.archive, *id);
        take_out_words(db, &message, worded)?;
        if message.ids[other].is_some() {
            message.clear(db, own, worded)?;
        } else {
            run(db, "DELETE FROM archive_messages WHERE id = ?1", [message.id])?;
        }
        let sql = "DELETE FROM archive_entries WHERE archive = ?1 AND id = ?2";
        run(db, sql, params![place.archive, id])?;
        let sql = "DELETE FROM archive_by_peer WHERE archive = ?1 AND peer = ?2 AND id = ?3";
        run(db, sql, params![place.archive, message.peer(own), id])?;
        entries += 1;
        bytes += message.bytes;
    }
    let sql = "UPDATE archives SET entries = entries - ?2, bytes = bytes - ?3 WHERE id = ?1";
    run(db, sql, params![place.archive, entries, bytes])
}

/// Copies messages that wait offline into their rows there, before they leave the archive.
fn spare_offline(db: &Connection, place: Place, ids: Option<&[i64]>) -> Result<(), StoreError> {
    let Some(account) = place.account else { return Ok(()) };
    let sql = "SELECT id, archived FROM offline WHERE account = ?1 AND archived IS NOT NULL";
    let waiting: Vec<(i64, i64)> = all(db, sql, [account], |row| Ok((row.get(0)?, row.get(1)?)))?;
    if waiting.is_empty() {
        return Ok(());
    }
    let ids: Option<HashSet<i64>> = ids.map(|ids| ids.iter().copied().collect());
    for (row, id) in waiting {
        if ids.as_ref().is_none_or(|ids| ids.contains(&id)) {
            let sql = "UPDATE offline SET archived = NULL, (checksum, stanza) = \
                       (SELECT m.checksum, m.body FROM archive_entries AS e \
                       JOIN archive_messages AS m ON m.id = e.message \
                       WHERE e.archive = ?2 AND e.id = ?3) WHERE id = ?1";
            run(db, sql, params![row, place.archive, id])?;
        }
    }
    Ok(())
}

/// Notes the time of the first entry, for expiry.
fn note_oldest(db: &Connection, archive: i64) -> Result<(), StoreError> {
    let sql = "UPDATE archives SET oldest_ms = coalesce((SELECT at_ms FROM archive_entries \
               WHERE archive = ?1 ORDER BY id LIMIT 1), 9223372036854775807) WHERE id = ?1";
    run(db, sql, [archive])
}
