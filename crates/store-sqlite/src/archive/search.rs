//! Entries by their words.

use rusqlite::{Connection, params};
use stentor_jid::Jid;
use stentor_store::StoreError;

use crate::archive::select::{Ids, Key, Selection, View, Way};
use crate::archive::tail::Entry;
use crate::archive::words::Wanted;
use crate::error::store_error;
use crate::rows::{one, value};

/// Up to `limit` folded entries that hold all words and match otherwise.
///
/// The index is in the order of messages, which for one archive is that of ids.
pub(super) fn keys(
    selection: &Selection<'_>,
    wanted: &Wanted,
    way: Way,
    ids: Ids,
    limit: usize,
) -> Result<Vec<Key>, StoreError> {
    let mut keys = Vec::new();
    if wanted.is_empty() || ids.0 > ids.1 || limit == 0 {
        return Ok(keys);
    }
    let view = &selection.view;
    let Some((first, last)) = messages_within(view, ids)? else { return Ok(keys) };
    let order = if way == Way::Up { "ASC" } else { "DESC" };
    let sql = format!(
        "SELECT m.id, m.at_ms, m.archive1, m.id1, m.peer1, m.flags1, m.archive2, m.id2, m.peer2, \
         m.flags2 FROM archive_words CROSS JOIN archive_messages AS m ON m.id = archive_words.rowid \
         WHERE archive_words MATCH ?1 AND archive_words.rowid BETWEEN ?2 AND ?3 \
         ORDER BY archive_words.rowid {order}"
    );
    let with = selection.filter.with.as_ref().map(Jid::bare_str);
    let expression = wanted.expression(view.archive, with);
    let mut query = view.db.prepare_cached(&sql).map_err(store_error)?;
    let mut rows = query.query(params![expression, first, last]).map_err(store_error)?;
    while let Some(row) = rows.next().map_err(store_error)? {
        let (message, at_ms) = (row.get(0).map_err(store_error)?, row.get(1).map_err(store_error)?);
        // A message to oneself may have both entries in one archive.
        let columns = if way == Way::Up { [2, 6] } else { [6, 2] };
        for column in columns {
            let found = entry_at(row, column).map_err(store_error)?;
            let Some((id, peer, flags)) = found.filter(|(of, ..)| *of == view.archive).map(tail_of)
            else {
                continue;
            };
            if ids.0 <= id && id <= ids.1 && selection.may_match(id, at_ms, flags, &peer) {
                keys.push(Key { id, message, flags });
            }
        }
        if keys.len() >= limit {
            keys.truncate(limit);
            break;
        }
    }
    Ok(keys)
}

/// Whether the text of a message holds all words.
pub(super) fn holds(db: &Connection, message: i64, wanted: &Wanted) -> Result<bool, StoreError> {
    let sql = "SELECT text FROM archive_messages WHERE id = ?1";
    let text: Option<Option<String>> = value(db, sql, [message])?;
    Ok(text.flatten().is_some_and(|text| wanted.are_in(&text)))
}

/// A folded entry with what filters look at; nothing if its address is damaged.
pub(super) fn entry(view: &View<'_>, key: Key) -> Result<Option<Entry>, StoreError> {
    let sql = "SELECT at_ms, iif(archive1 = ?2 AND id1 = ?3, peer1, peer2) \
               FROM archive_messages WHERE id = ?1";
    let found: Option<(i64, Option<String>)> =
        one(view.db, sql, [key.message, view.archive, key.id], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
    let Some((at_ms, Some(peer))) = found else { return Ok(None) };
    let Ok(peer) = Jid::new(&peer) else { return Ok(None) };
    Ok(Some(Entry {
        archive: view.archive,
        id: key.id,
        message: key.message,
        at_ms,
        flags: key.flags,
        peer,
        origin: None,
        stanza: None,
        bytes: 0,
    }))
}

/// The rows of messages between which those of some entries lie; nothing without any entry.
fn messages_within(view: &View<'_>, ids: Ids) -> Result<Option<(i64, i64)>, StoreError> {
    // A tombstone may stand in a later row than its neighbours, and has no words.
    let sql = "SELECT message FROM archive_entries WHERE archive = ?1 AND id BETWEEN ?2 AND ?3 \
               AND flags & 2 = 0 ORDER BY id ASC LIMIT 1";
    let asked = params![view.archive, ids.0, ids.1];
    let first: Option<i64> = value(view.db, sql, asked)?;
    let sql = "SELECT message FROM archive_entries WHERE archive = ?1 AND id BETWEEN ?2 AND ?3 \
               AND flags & 2 = 0 ORDER BY id DESC LIMIT 1";
    let last = value(view.db, sql, asked)?;
    Ok(first.zip(last))
}

type Found = (i64, i64, String, i64);

fn entry_at(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Option<Found>> {
    let Some(archive) = row.get(column)? else { return Ok(None) };
    Ok(Some((archive, row.get(column + 1)?, row.get(column + 2)?, row.get(column + 3)?)))
}

fn tail_of((_, id, peer, flags): Found) -> (i64, String, i64) {
    (id, peer, flags)
}
