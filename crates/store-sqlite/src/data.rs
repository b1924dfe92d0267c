//! Small data of accounts.

use std::borrow::Cow;
use std::sync::Arc;

use rusqlite::{Connection, params};
use stentor_jid::BareJid;
use stentor_store::limits::{PAGE_BYTES_MAX, PAGE_ROWS_MAX};
use stentor_store::{Boxed, Data, DataRow, Domain, Export, Owned, StoreError, Usage, Write};

use crate::apply::run;
use crate::error::store_error;
use crate::open::Inner;
use crate::rows::{address, all, one, signed, unsigned, value};

/// Small data in SQLite.
pub(crate) struct DataDb(pub(crate) Arc<Inner>);

impl Data for DataDb {
    fn of_kinds(&self, owner: &BareJid, kinds: &[&'static str]) -> Boxed<Vec<DataRow>> {
        let (owner, kinds) = (owner.clone(), kinds.to_vec());
        self.0.readers.read(move |db| {
            let sql = "SELECT kind, key, value FROM data \
                       WHERE account = (SELECT id FROM accounts WHERE jid = ?1) \
                       ORDER BY kind, key";
            let rows = all(db, sql, [owner.as_str()], |row| {
                let kind: String = row.get(0)?;
                let Some(kind) = kinds.iter().find(|k| **k == kind) else { return Ok(None) };
                let kind = Cow::Borrowed(*kind);
                Ok(Some(DataRow { kind, key: row.get(1)?, value: row.get(2)? }))
            })?;
            Ok(rows.into_iter().flatten().collect())
        })
    }

    fn load(&self, owner: &BareJid, kind: &'static str, key: &str) -> Boxed<Option<Vec<u8>>> {
        let (owner, key) = (owner.clone(), key.to_owned());
        self.0.readers.read(move |db| {
            let sql = "SELECT value FROM data \
                       WHERE account = (SELECT id FROM accounts WHERE jid = ?1) \
                       AND kind = ?2 AND key = ?3";
            value(db, sql, [owner.as_str(), kind, &key])
        })
    }

    fn everyones(
        &self,
        kind: &'static str,
        after: Option<(BareJid, String)>,
    ) -> Boxed<Vec<(BareJid, DataRow)>> {
        self.0.readers.read(move |db| {
            let (owner, key) = after
                .map_or_else(Default::default, |(owner, key)| (owner.as_str().to_owned(), key));
            let sql = "SELECT accounts.jid, key, value FROM data \
                       JOIN accounts ON accounts.id = data.account \
                       WHERE kind = ?1 AND (accounts.jid, key) > (?2, ?3) \
                       ORDER BY accounts.jid, key LIMIT ?4";
            let rows = all(db, sql, params![kind, owner, key, PAGE_ROWS_MAX], |row| {
                let data = DataRow { kind: kind.into(), key: row.get(1)?, value: row.get(2)? };
                Ok((row.get::<_, String>(0)?, data))
            })?;
            rows.into_iter().map(|(owner, row)| Ok((address(&owner)?, row))).collect()
        })
    }

    fn usage(&self, owner: &BareJid, kind: &'static str) -> Boxed<Usage> {
        let owner = owner.clone();
        self.0.readers.read(move |db| {
            let sql = "SELECT count(*), coalesce(sum(length(value)), 0) FROM data \
                       WHERE account = (SELECT id FROM accounts WHERE jid = ?1) AND kind = ?2";
            let found = one(db, sql, [owner.as_str(), kind], |row| Ok((row.get(0)?, row.get(1)?)))?;
            let (count, bytes) = found.unwrap_or_default();
            Ok(Usage { count: unsigned(count), bytes: unsigned(bytes) })
        })
    }
}

impl Owned for DataDb {
    fn export(&self, owner: &BareJid, after: u64) -> Boxed<Export> {
        let owner = owner.clone();
        self.0.readers.read(move |db| export(db, &owner, after))
    }

    fn forget(&self, owner: &BareJid) -> Boxed<()> {
        self.0.forget(owner, Domain::Data)
    }
}

/// Adds or replaces a row.
pub(crate) fn put(
    db: &Connection,
    account: i64,
    kind: &str,
    key: &str,
    value: &[u8],
) -> Result<(), StoreError> {
    run(
        db,
        "INSERT INTO data (account, kind, key, value) VALUES (?1, ?2, ?3, ?4) \
         ON CONFLICT (account, kind, key) DO UPDATE SET value = excluded.value",
        params![account, kind, key, value],
    )
}

/// Removes a row, if it is there.
pub(crate) fn remove(
    db: &Connection,
    account: i64,
    kind: &str,
    key: &str,
) -> Result<(), StoreError> {
    let sql = "DELETE FROM data WHERE account = ?1 AND kind = ?2 AND key = ?3";
    run(db, sql, params![account, kind, key])
}

/// Removes all rows of a kind.
pub(crate) fn clear(db: &Connection, account: i64, kind: &str) -> Result<(), StoreError> {
    run(db, "DELETE FROM data WHERE account = ?1 AND kind = ?2", params![account, kind])
}

fn export(db: &Connection, owner: &BareJid, after: u64) -> Result<Export, StoreError> {
    let sql = "SELECT id, kind, key, value FROM data \
               WHERE account = (SELECT id FROM accounts WHERE jid = ?1) AND id > ?2 ORDER BY id";
    let mut export = Export::default();
    let mut bytes = 0;
    let mut query = db.prepare_cached(sql).map_err(store_error)?;
    let mut rows = query.query(params![owner.as_str(), signed(after)]).map_err(store_error)?;
    let mut last = after;
    while let Some(row) = rows.next().map_err(store_error)? {
        if bytes >= PAGE_BYTES_MAX || export.writes.len() >= PAGE_ROWS_MAX as usize {
            export.next = Some(last);
            break;
        }
        let write = put_of(owner, row).map_err(store_error)?;
        bytes += write.bytes_len();
        export.writes.push(write);
        last = unsigned(row.get(0).map_err(store_error)?);
    }
    Ok(export)
}

fn put_of(owner: &BareJid, row: &rusqlite::Row<'_>) -> rusqlite::Result<Write> {
    let kind = Cow::Owned(row.get(1)?);
    Ok(Write::PutData { owner: owner.clone(), kind, key: row.get(2)?, value: row.get(3)? })
}
