//! Stanzas under way to other servers.

use std::sync::Arc;

use rusqlite::{Connection, params};
use stentor_store::limits::{PAGE_BYTES_MAX, PAGE_ROWS_MAX};
use stentor_store::{Boxed, StoreError, Underway, UnderwayPage, UnderwayRow};

use crate::apply::run;
use crate::error::store_error;
use crate::open::Inner;
use crate::rows::{signed, unsigned, value};

/// Stanzas under way in SQLite.
pub(crate) struct UnderwayDb(pub(crate) Arc<Inner>);

impl Underway for UnderwayDb {
    fn page(&self, after: u64, limit: u32) -> Boxed<UnderwayPage> {
        self.0.readers.read(move |db| page(db, after, limit.clamp(1, PAGE_ROWS_MAX)))
    }

    fn last_number(&self) -> Boxed<u64> {
        self.0.readers.read(|db| {
            let sql = "SELECT coalesce(max(number), 0) FROM underway";
            Ok(unsigned(value(db, sql, [])?.unwrap_or_default()))
        })
    }
}

/// Adds a stanza.
pub(crate) fn put(db: &Connection, row: &UnderwayRow) -> Result<(), StoreError> {
    let sql = "INSERT INTO underway (number, since_ms, stanza) VALUES (?1, ?2, ?3)";
    run(db, sql, params![signed(row.number), row.since_ms, &row.stanza[..]])
}

/// Drops stanzas.
pub(crate) fn remove(db: &Connection, numbers: &[u64]) -> Result<(), StoreError> {
    let sql = "DELETE FROM underway WHERE number = ?1";
    numbers.iter().try_for_each(|number| run(db, sql, params![signed(*number)]))
}

fn page(db: &Connection, after: u64, limit: u32) -> Result<UnderwayPage, StoreError> {
    let sql = "SELECT number, since_ms, stanza FROM underway WHERE number > ?1 ORDER BY number";
    let mut query = db.prepare_cached(sql).map_err(store_error)?;
    let mut rows = query.query([signed(after)]).map_err(store_error)?;
    let (mut page, mut bytes) = (UnderwayPage::default(), 0);
    while let Some(row) = rows.next().map_err(store_error)? {
        if bytes >= PAGE_BYTES_MAX || page.stanzas.len() >= limit as usize {
            page.next = page.stanzas.last().map(|row| row.number);
            break;
        }
        let stanza: Vec<u8> = row.get(2).map_err(store_error)?;
        bytes += stanza.len();
        let number: i64 = row.get(0).map_err(store_error)?;
        let since_ms = row.get(1).map_err(store_error)?;
        page.stanzas.push(UnderwayRow {
            number: unsigned(number),
            since_ms,
            stanza: stanza.into(),
        });
    }
    Ok(page)
}
