//! Entering appended messages by account, contact and word.

use rusqlite::types::Type;
use rusqlite::{Connection, Row, TransactionBehavior, params};
use stentor_jid::Jid;
use stentor_store::StoreError;

use crate::apply::run;
use crate::archive::tail::Entry;
use crate::archive::words::{self, Holders};
use crate::checksum::crc32;
use crate::error::store_error;
use crate::limits::CATCH_UP_MESSAGES;
use crate::rows::all;

/// Where a process begins.
pub(super) struct Found {
    /// The row of the last message.
    pub(super) last_message: i64,
    /// Up to which message words are entered.
    pub(super) worded: i64,
    /// The last id of all.
    pub(super) last_id: i64,
}

/// Enters entries. Those of one archive must be its next ones.
pub(super) fn fold(db: &Connection, mut entries: Vec<Entry>) -> Result<(), StoreError> {
    entries.sort_unstable_by_key(|entry| (entry.archive, entry.id));
    enter(db, &entries)?;
    for of_one in entries.chunk_by(|a, b| a.archive == b.archive) {
        count(db, of_one)?;
    }
    entries.sort_unstable_by(|a, b| {
        (a.archive, a.peer.bare_str(), a.id).cmp(&(b.archive, b.peer.bare_str(), b.id))
    });
    enter_by_peer(db, &entries)
}

/// Notes that messages up to one are folded into every archive.
pub(super) fn note_round(db: &Connection, folded: i64, last_id: i64) -> Result<(), StoreError> {
    let sql = "UPDATE archive_state SET folded = max(folded, ?1), last_id = max(last_id, ?2)";
    run(db, sql, params![folded, last_id])
}

/// Enters the words of messages up to one.
pub(super) fn enter_words(db: &Connection, up_to: i64) -> Result<(), StoreError> {
    let sql = "SELECT id, text, archive1, peer1, archive2, peer2 FROM archive_messages \
               WHERE id > (SELECT worded FROM archive_state) AND id <= ?1 AND text IS NOT NULL \
               ORDER BY id";
    let mut query = db.prepare_cached(sql).map_err(store_error)?;
    let mut rows = query.query([up_to]).map_err(store_error)?;
    while let Some(row) = rows.next().map_err(store_error)? {
        let message = row.get(0).map_err(store_error)?;
        let holders = holder_at(row, 2).and_then(|first| Ok([first, holder_at(row, 4)?]));
        match holders.and_then(|holders| Ok((holders, row.get::<_, String>(1)?))) {
            Ok((holders, text)) => words::enter(db, message, &text, bare(&holders))?,
            Err(error) => tracing::error!(event = "damaged", %error, "an archived text is damaged"),
        }
    }
    run(db, "UPDATE archive_state SET worded = max(worded, ?1)", [up_to])
}

/// Folds what a process left, and enters the words of what was kept while words were not entered.
pub(super) fn catch_up(db: &mut Connection, searches_text: bool) -> Result<Found, StoreError> {
    let sql = "SELECT coalesce(max(id), 0) FROM archive_messages";
    let last = db.query_row(sql, [], |row| row.get::<_, i64>(0)).map_err(store_error)?;
    loop {
        let step =
            db.transaction_with_behavior(TransactionBehavior::Immediate).map_err(store_error)?;
        let sql = "SELECT folded, worded, last_id FROM archive_state";
        let (folded, worded, last_id): (i64, i64, i64) = step
            .query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .map_err(store_error)?;
        if folded < last {
            let (entries, last_id, up_to) = appended(&step, folded)?;
            fold(&step, entries)?;
            note_round(&step, up_to.unwrap_or(last), last_id)?;
        } else if searches_text && worded < last {
            enter_words(&step, worded.saturating_add(CATCH_UP_MESSAGES).min(last))?;
        } else {
            return Ok(Found { last_message: folded.max(last), worded, last_id });
        }
        step.commit().map_err(store_error)?;
    }
}

/// Of the next messages: the entries that are not folded, the last id, and the last of them.
type Appended = (Vec<Entry>, i64, Option<i64>);

fn appended(db: &Connection, folded: i64) -> Result<Appended, StoreError> {
    let sql = "SELECT id, at_ms, archive1, id1, peer1, flags1, archive2, id2, peer2, flags2, \
               origin_id, stanza_id, length(body), \
               (SELECT folded FROM archives WHERE archives.id = archive1), \
               (SELECT folded FROM archives WHERE archives.id = archive2) \
               FROM archive_messages WHERE id > ?1 ORDER BY id LIMIT ?2";
    let pairs = all(db, sql, params![folded, CATCH_UP_MESSAGES], |row| {
        let message: i64 = row.get(0)?;
        let pair = [(2, 13), (6, 14)].map(|(column, folded)| {
            let found = entry_at(row, column).and_then(|entry| Ok((entry, row.get(folded)?)));
            found.unwrap_or_else(|error| {
                // The others must be found all the same.
                tracing::error!(event = "damaged", message, %error, "an archived message is damaged");
                (None, None)
            })
        });
        Ok((message, pair))
    })?;
    let last = pairs.last().map(|(message, _)| *message);
    let (mut entries, mut last_id) = (Vec::new(), 0);
    for (entry, folded) in pairs.into_iter().flat_map(|(_, pair)| pair) {
        let (Some(entry), Some(folded)): (_, Option<i64>) = (entry, folded) else { continue };
        last_id = last_id.max(entry.id);
        if entry.message > folded {
            entries.push(entry);
        }
    }
    Ok((entries, last_id, last))
}

fn entry_at(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Entry>> {
    let Some(archive) = row.get(column)? else { return Ok(None) };
    let peer: String = row.get(column + 2)?;
    let peer = Jid::new(&peer).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(column + 2, Type::Text, error.into())
    })?;
    let sum = |id: Option<String>| id.map(|id| crc32(id.as_bytes()));
    Ok(Some(Entry {
        archive,
        id: row.get(column + 1)?,
        message: row.get(0)?,
        at_ms: row.get(1)?,
        flags: row.get(column + 3)?,
        peer,
        origin: sum(row.get(10)?),
        stanza: sum(row.get(11)?),
        bytes: row.get(12)?,
    }))
}

fn enter(db: &Connection, entries: &[Entry]) -> Result<(), StoreError> {
    let sql = "INSERT INTO archive_entries (archive, id, at_ms, flags, message) \
               VALUES (?1, ?2, ?3, ?4, ?5)";
    let mut insert = db.prepare_cached(sql).map_err(store_error)?;
    for e in entries {
        insert
            .execute(params![e.archive, e.id, e.at_ms, e.flags, e.message])
            .map_err(store_error)?;
    }
    Ok(())
}

fn enter_by_peer(db: &Connection, entries: &[Entry]) -> Result<(), StoreError> {
    let sql = "INSERT INTO archive_by_peer (archive, peer, id, resource, at_ms, flags, origin, \
               stanza, message) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
    let mut insert = db.prepare_cached(sql).map_err(store_error)?;
    for e in entries {
        let (peer, resource) = (e.peer.bare_str(), e.peer.resource());
        insert
            .execute(params![
                e.archive, peer, e.id, resource, e.at_ms, e.flags, e.origin, e.stanza, e.message
            ])
            .map_err(store_error)?;
    }
    Ok(())
}

/// Counts the new entries of one archive.
fn count(db: &Connection, entries: &[Entry]) -> Result<(), StoreError> {
    let (Some(first), Some(last)) = (entries.first(), entries.last()) else { return Ok(()) };
    let bytes: i64 = entries.iter().map(|entry| entry.bytes).sum();
    let (mut newest, mut oldest, mut back) = (first.at_ms, first.at_ms, 0);
    for entry in entries {
        newest = newest.max(entry.at_ms);
        oldest = oldest.min(entry.at_ms);
        back = back.max(newest.saturating_sub(entry.at_ms));
    }
    // What lies behind the latest of before lies behind all of before.
    let sql = "SELECT newest_ms FROM archives WHERE id = ?1";
    let before: Option<i64> = crate::rows::value(db, sql, [first.archive])?;
    let back = back.max(before.map_or(0, |before| before.saturating_sub(oldest)));
    run(
        db,
        "UPDATE archives SET oldest_ms = iif(entries = 0, ?2, oldest_ms), \
         newest_ms = max(newest_ms, ?3), back_ms = max(back_ms, ?4), entries = entries + ?5, \
         bytes = bytes + ?6, folded = max(folded, ?7) WHERE id = ?1",
        params![
            first.archive,
            first.at_ms,
            newest,
            back,
            entries.len() as i64,
            bytes,
            last.message
        ],
    )
}

/// Reads an archive and the address beside it.
pub(super) fn holder_at(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<(i64, String)>> {
    let Some(archive) = row.get(column)? else { return Ok(None) };
    Ok(Some((archive, row.get(column + 1)?)))
}

/// The same with bare addresses.
pub(super) fn bare(found: &[Option<(i64, String)>; 2]) -> Holders<'_> {
    found.each_ref().map(|holder| {
        holder.as_ref().map(|(archive, peer)| {
            (*archive, peer.split_once('/').map_or(peer.as_str(), |(bare, _)| bare))
        })
    })
}
