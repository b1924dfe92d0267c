//! Entries by their words.

use rusqlite::{Connection, params};
use stentor_jid::Jid;
use stentor_store::StoreError;

use crate::archive::RETRACTED;
use crate::archive::select::{Ids, Key, Selection, View, Way};
use crate::archive::tail::Entry;
use crate::archive::words::{self, Wanted};
use crate::error::store_error;
use crate::limits::{GOOD_PART, LOOKS_MAX};
use crate::rows::{one, value};

/// Up to `limit` entries of the index that hold all words and match otherwise.
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
    let Some(mut messages) = messages_within(&selection.view, ids)? else { return Ok(keys) };
    if selection.filter.with.is_none() && has_good_part(&selection.view)? {
        let looks = Looks { way, ids, limit, max: LOOKS_MAX };
        let expression = wanted.expression(None);
        match look(selection, &expression, messages, looks, &mut keys)? {
            None => return Ok(keys),
            Some(last) if way == Way::Up => messages.0 = last.saturating_add(1),
            Some(last) => messages.1 = last.saturating_sub(1),
        }
    }
    let archive = selection.view.archive;
    let holder = match &selection.filter.with {
        Some(with) => words::holder_with(archive, with.bare_str()),
        None => words::holder(archive),
    };
    let looks = Looks { way, ids, limit, max: usize::MAX };
    look(selection, &wanted.expression(Some(&holder)), messages, looks, &mut keys)?;
    Ok(keys)
}

/// How to go through what the index finds.
#[derive(Clone, Copy)]
struct Looks {
    way: Way,
    ids: Ids,
    /// Keys wanted.
    limit: usize,
    /// Messages looked at before it is given up.
    max: usize,
}

/// Adds the keys of messages that an expression finds until there are enough. Returns the last
/// message looked at if it was given up.
fn look(
    selection: &Selection<'_>,
    expression: &str,
    messages: (i64, i64),
    looks: Looks,
    keys: &mut Vec<Key>,
) -> Result<Option<i64>, StoreError> {
    let order = if looks.way == Way::Up { "ASC" } else { "DESC" };
    let sql = format!(
        "SELECT m.id, m.at_ms, m.archive1, m.id1, m.peer1, m.flags1, m.archive2, m.id2, m.peer2, \
         m.flags2 FROM archive_words CROSS JOIN archive_messages AS m ON m.id = archive_words.rowid \
         WHERE archive_words MATCH ?1 AND archive_words.rowid BETWEEN ?2 AND ?3 \
         ORDER BY archive_words.rowid {order}"
    );
    let mut query = selection.view.db.prepare_cached(&sql).map_err(store_error)?;
    let asked = params![expression, messages.0, messages.1];
    let mut rows = query.query(asked).map_err(store_error)?;
    let mut looked = 0;
    while let Some(row) = rows.next().map_err(store_error)? {
        let mut found = own_keys(selection, row).map_err(store_error)?;
        if looks.way == Way::Down {
            found.reverse();
        }
        let within = |key: &Key| looks.ids.0 <= key.id && key.id <= looks.ids.1;
        keys.extend(found.into_iter().flatten().filter(within));
        if keys.len() >= looks.limit {
            keys.truncate(looks.limit);
            return Ok(None);
        }
        looked += 1;
        if looked >= looks.max {
            return Ok(Some(row.get(0).map_err(store_error)?));
        }
    }
    Ok(None)
}

/// The entries that hold all words and match otherwise, of messages that are not in the index yet.
pub(super) fn not_entered(
    selection: &Selection<'_>,
    wanted: &Wanted,
) -> Result<Vec<Key>, StoreError> {
    let mut keys = Vec::new();
    if wanted.is_empty() {
        return Ok(keys);
    }
    let sql = "SELECT id, at_ms, archive1, id1, peer1, flags1, archive2, id2, peer2, flags2, text \
               FROM archive_messages WHERE id > (SELECT worded FROM archive_state) \
               AND (archive1 = ?1 OR archive2 = ?1) AND text IS NOT NULL ORDER BY id";
    let mut query = selection.view.db.prepare_cached(sql).map_err(store_error)?;
    let mut rows = query.query([selection.view.archive]).map_err(store_error)?;
    while let Some(row) = rows.next().map_err(store_error)? {
        let found = own_keys(selection, row).map_err(store_error)?;
        let text: String = row.get(10).map_err(store_error)?;
        if found.iter().any(Option::is_some) && wanted.are_in(&text) {
            keys.extend(found.into_iter().flatten());
        }
    }
    Ok(keys)
}

/// The entries of a message in the archive that match, words aside: two if it went to oneself.
fn own_keys(
    selection: &Selection<'_>,
    row: &rusqlite::Row<'_>,
) -> rusqlite::Result<[Option<Key>; 2]> {
    let (message, at_ms) = (row.get(0)?, row.get(1)?);
    let key = |column: usize| -> rusqlite::Result<Option<Key>> {
        if row.get::<_, Option<i64>>(column)? != Some(selection.view.archive) {
            return Ok(None);
        }
        let (id, flags) = (row.get(column + 1)?, row.get(column + 3)?);
        let peer: String = row.get(column + 2)?;
        let matches = selection.may_match(id, at_ms, flags, &peer);
        Ok(matches.then_some(Key { id, message, flags }))
    };
    Ok([key(2)?, key(6)?])
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

/// Whether a good part of all messages is in this archive.
///
/// To narrow a search down to an archive, SQLite walks through all that it has. Looking at each
/// message with the words costs less then, unless those are mostly others' words.
fn has_good_part(view: &View<'_>) -> Result<bool, StoreError> {
    let sql = "SELECT v.entries * ?2 >= \
               s.worded - coalesce((SELECT min(id) FROM archive_messages), 0) \
               FROM archives AS v JOIN archive_state AS s WHERE v.id = ?1";
    let has: Option<bool> = value(view.db, sql, params![view.archive, GOOD_PART])?;
    Ok(has == Some(true))
}

/// The rows of messages between which those of some entries lie; nothing without any entry.
fn messages_within(view: &View<'_>, ids: Ids) -> Result<Option<(i64, i64)>, StoreError> {
    let mut tail = view.tail.iter().filter(|entry| ids.0 <= entry.id && entry.id <= ids.1);
    let (next, end) = (tail.clone().next(), tail.next_back());
    let message = |entry: &Entry| entry.message;
    let folded = |order: &str| -> Result<Option<i64>, StoreError> {
        // A tombstone may stand in a later row than its neighbours, and has no words.
        let sql = format!(
            "SELECT message FROM archive_entries WHERE archive = ?1 AND id BETWEEN ?2 AND ?3 \
             AND flags & {RETRACTED} = 0 ORDER BY id {order} LIMIT 1"
        );
        value(view.db, &sql, params![view.archive, ids.0, ids.1])
    };
    let first = match ids.0 {
        i64::MIN => Some(i64::MIN),
        _ => folded("ASC")?.or(next.map(message)),
    };
    let last = match (ids.1, end) {
        (i64::MAX, _) => Some(i64::MAX),
        (_, Some(end)) => Some(end.message),
        (_, None) => folded("DESC")?,
    };
    Ok(first.zip(last))
}
