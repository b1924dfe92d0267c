//! Reading rows: the steps that all domains share.

use rusqlite::types::FromSql;
use rusqlite::{Connection, OptionalExtension, Params, Row};
use stentor_jid::BareJid;
use stentor_store::{StoreError, Usage};

use crate::error::store_error;

/// Runs a query and maps every row.
pub(crate) fn all<T>(
    db: &Connection,
    sql: &str,
    params: impl Params,
    map: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<Vec<T>, StoreError> {
    db.prepare_cached(sql)
        .and_then(|mut query| query.query_map(params, map)?.collect())
        .map_err(store_error)
}

/// Runs a query and maps its row, if there is one.
pub(crate) fn one<T>(
    db: &Connection,
    sql: &str,
    params: impl Params,
    map: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<Option<T>, StoreError> {
    db.prepare_cached(sql)
        .and_then(|mut query| query.query_row(params, map).optional())
        .map_err(store_error)
}

/// Runs a query for a single value.
pub(crate) fn value<T: FromSql>(
    db: &Connection,
    sql: &str,
    params: impl Params,
) -> Result<Option<T>, StoreError> {
    one(db, sql, params, |row| row.get(0))
}

/// Runs a query for a count and a sum of bytes.
pub(crate) fn usage(db: &Connection, sql: &str, owner: &BareJid) -> Result<Usage, StoreError> {
    let found = one(db, sql, [owner.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let (count, bytes) = found.unwrap_or_default();
    Ok(Usage { count: unsigned(count), bytes: unsigned(bytes) })
}

/// Reads a stored address.
pub(crate) fn address(text: &str) -> Result<BareJid, StoreError> {
    BareJid::new(text).map_err(|error| StoreError::Corrupt(format!("address: {error}").into()))
}

/// A number for SQLite, whose integers are signed; what does not fit becomes the largest.
pub(crate) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A number from SQLite that we never wrote negative.
pub(crate) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
