//! Accounts and their keys.

use std::sync::Arc;

use rusqlite::{Connection, Row, params};
use stentor_jid::BareJid;
use stentor_store::limits::PAGE_ROWS_MAX;
use stentor_store::{
    AccountRow, Accounts, Boxed, Export, KeyHash, KeyRow, Owned, StoreError, Write,
};

use crate::error::store_error;
use crate::open::Inner;
use crate::rows::{address, all, one, unsigned, value};

/// Accounts in SQLite.
pub(crate) struct AccountsDb(pub(crate) Arc<Inner>);

impl Accounts for AccountsDb {
    fn load(&self, owner: &BareJid) -> Boxed<Option<AccountRow>> {
        let owner = owner.clone();
        self.0.readers.read(move |db| load(db, &owner))
    }

    fn keys(&self, owner: &BareJid, hash: KeyHash) -> Boxed<Option<KeyRow>> {
        let owner = owner.clone();
        self.0.readers.read(move |db| keys(db, &owner, hash))
    }

    fn hashes(&self, owner: &BareJid) -> Boxed<Vec<KeyHash>> {
        let owner = owner.clone();
        self.0.readers.read(move |db| hashes(db, &owner))
    }

    fn list(&self, host: &str, after: Option<&BareJid>, limit: u32) -> Boxed<Vec<AccountRow>> {
        let host = host.to_owned();
        let after = after.map_or_else(String::new, |after| after.as_str().to_owned());
        self.0.readers.read(move |db| list(db, &host, &after, limit.min(PAGE_ROWS_MAX)))
    }

    fn count(&self, host: &str) -> Boxed<u64> {
        let host = host.to_owned();
        self.0.readers.read(move |db| {
            let count = value(db, "SELECT count(*) FROM accounts WHERE host = ?1", [&host])?;
            Ok(unsigned(count.unwrap_or_default()))
        })
    }
}

impl Owned for AccountsDb {
    fn export(&self, owner: &BareJid, after: u64) -> Boxed<Export> {
        let owner = owner.clone();
        self.0.readers.read(move |db| {
            if after > 0 {
                return Ok(Export::default());
            }
            Ok(Export { writes: export(db, &owner)?, next: None })
        })
    }

    fn forget(&self, owner: &BareJid) -> Boxed<()> {
        self.0.commit(Write::DeleteAccount { owner: owner.clone() })
    }
}

fn load(db: &Connection, owner: &BareJid) -> Result<Option<AccountRow>, StoreError> {
    let sql = "SELECT created_ms, is_suspended FROM accounts WHERE jid = ?1";
    one(db, sql, [owner.as_str()], |row| {
        Ok(AccountRow { owner: owner.clone(), created_ms: row.get(0)?, is_suspended: row.get(1)? })
    })
}

fn list(
    db: &Connection,
    host: &str,
    after: &str,
    limit: u32,
) -> Result<Vec<AccountRow>, StoreError> {
    let sql = "SELECT jid, created_ms, is_suspended FROM accounts \
               WHERE host = ?1 AND jid > ?2 ORDER BY jid LIMIT ?3";
    let rows = all(db, sql, params![host, after, limit], |row| Ok(account(row)))?;
    let count = rows.len();
    let rows: Vec<AccountRow> = rows.into_iter().flatten().collect();
    if rows.len() < count {
        tracing::error!(
            event = "damaged",
            host,
            rows = count - rows.len(),
            "damaged account rows skipped"
        );
    }
    Ok(rows)
}

fn account(row: &Row<'_>) -> Result<AccountRow, StoreError> {
    let jid: String = row.get(0).map_err(store_error)?;
    let created_ms = row.get(1).map_err(store_error)?;
    let is_suspended = row.get(2).map_err(store_error)?;
    Ok(AccountRow { owner: address(&jid)?, created_ms, is_suspended })
}

fn keys(db: &Connection, owner: &BareJid, hash: KeyHash) -> Result<Option<KeyRow>, StoreError> {
    let sql = "SELECT iterations, salt, stored_key, server_key FROM keys \
               WHERE account = (SELECT id FROM accounts WHERE jid = ?1) AND hash = ?2";
    one(db, sql, [owner.as_str(), hash.name()], |row| {
        Ok(KeyRow {
            hash,
            iterations: row.get(0)?,
            salt: row.get(1)?,
            stored_key: row.get(2)?,
            server_key: row.get(3)?,
        })
    })
}

fn hashes(db: &Connection, owner: &BareJid) -> Result<Vec<KeyHash>, StoreError> {
    let sql = "SELECT hash FROM keys WHERE account = (SELECT id FROM accounts WHERE jid = ?1)";
    let names = all(db, sql, [owner.as_str()], |row| row.get::<_, String>(0))?;
    Ok(KeyHash::ALL.into_iter().filter(|hash| names.iter().any(|n| n == hash.name())).collect())
}

fn export(db: &Connection, owner: &BareJid) -> Result<Vec<Write>, StoreError> {
    let Some(account) = load(db, owner)? else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for hash in KeyHash::ALL {
        found.extend(keys(db, owner, hash)?);
    }
    let owner = account.owner;
    let created_ms = account.created_ms;
    let mut writes = vec![Write::CreateAccount { owner: owner.clone(), created_ms, keys: found }];
    if account.is_suspended {
        writes.push(Write::SetSuspended { owner, is_suspended: true });
    }
    Ok(writes)
}
