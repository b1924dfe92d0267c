//! Messages on their way to sessions that die with the process.

use rusqlite::{Connection, params};
use stentor_store::StoreError;

use crate::apply::run;
use crate::offline;
use crate::rows::{all, signed};

/// Adds a message.
pub(crate) fn put(
    db: &Connection,
    account: i64,
    number: u64,
    received_ms: i64,
    stanza: &[u8],
) -> Result<(), StoreError> {
    let sql = "INSERT INTO given (number, account, received_ms, stanza) VALUES (?1, ?2, ?3, ?4)";
    run(db, sql, params![signed(number), account, received_ms, stanza])
}

/// Drops a message.
pub(crate) fn remove(db: &Connection, number: u64) -> Result<(), StoreError> {
    run(db, "DELETE FROM given WHERE number = ?1", params![signed(number)])
}

/// Keeps all of them for later, in their order.
pub(crate) fn keep_all(db: &Connection) -> Result<(), StoreError> {
    let numbers: Vec<i64> = all(db, "SELECT number FROM given ORDER BY number", [], |r| r.get(0))?;
    let sql = "SELECT account, received_ms, stanza FROM given WHERE number = ?1";
    for number in &numbers {
        let found: Vec<(i64, i64, Vec<u8>)> =
            all(db, sql, [number], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        for (account, received_ms, stanza) in found {
            offline::store(db, account, received_ms, &stanza)?;
        }
    }
    if numbers.is_empty() { Ok(()) } else { run(db, "DELETE FROM given", []) }
}
