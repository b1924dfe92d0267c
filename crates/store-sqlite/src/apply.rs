//! One write as SQL.

use rusqlite::{Connection, OptionalExtension, params};
use stentor_jid::BareJid;
use stentor_store::{Domain, HostRow, KeyRow, StoreError, Write};

use crate::error::store_error;
use crate::{offline, roster};

/// Applies one write inside the transaction of its batch.
pub(crate) fn apply(db: &Connection, write: &Write) -> Result<(), StoreError> {
    let owner = match write {
        Write::CreateAccount { owner, created_ms, keys } => {
            return create_account(db, owner, *created_ms, keys);
        }
        Write::PutHost(host) => return put_host(db, host).map_err(store_error),
        Write::RemoveHost { name } => {
            return run(db, "DELETE FROM hosts WHERE name = ?1", params![name]);
        }
        write => write.owner(),
    };
    let account = account(db, owner)?;
    match write {
        Write::CreateAccount { .. } | Write::PutHost(_) | Write::RemoveHost { .. } => Ok(()),
        Write::SetKeys { keys, .. } => set_keys(db, account, keys),
        Write::SetSuspended { is_suspended, .. } => run(
            db,
            "UPDATE accounts SET is_suspended = ?2 WHERE id = ?1",
            params![account, is_suspended],
        ),
        // All that the account owns refers to it and goes with it.
        Write::DeleteAccount { .. } => {
            run(db, "DELETE FROM accounts WHERE id = ?1", params![account])
        }
        Write::PutRoster { item, version, .. } => roster::put(db, account, item, *version),
        Write::RemoveRoster { contact, version, .. } => {
            roster::remove(db, account, contact, *version)
        }
        Write::ForgetRosterBefore { version, .. } => roster::forget_before(db, account, *version),
        Write::PutRequest { from, stanza, .. } => run(
            db,
            "INSERT INTO roster_requests (account, contact, stanza) VALUES (?1, ?2, ?3) \
             ON CONFLICT (account, contact) DO UPDATE SET stanza = excluded.stanza",
            params![account, from.as_str(), stanza],
        ),
        Write::RemoveRequest { from, .. } => run(
            db,
            "DELETE FROM roster_requests WHERE account = ?1 AND contact = ?2",
            params![account, from.as_str()],
        ),
        Write::StoreOffline { received_ms, stanza, .. } => {
            offline::store(db, account, *received_ms, stanza)
        }
        Write::DropOffline { up_to, .. } => offline::drop_up_to(db, account, *up_to),
        Write::DropOfflineIds { ids, .. } => offline::drop_ids(db, account, ids),
        Write::PutAsideOffline { id, .. } => offline::put_aside(db, account, *id),
        Write::PutPrivate { ns, name, xml, .. } => run(
            db,
            "INSERT INTO private (account, ns, name, xml) VALUES (?1, ?2, ?3, ?4) \
             ON CONFLICT (account, ns, name) DO UPDATE SET xml = excluded.xml",
            params![account, ns, name, xml],
        ),
        Write::PutVcard { xml, .. } => run(
            db,
            "INSERT OR REPLACE INTO vcards (account, xml) VALUES (?1, ?2)",
            params![account, xml],
        ),
        Write::PutLast { last, .. } => run(
            db,
            "INSERT OR REPLACE INTO last_logouts (account, at_ms, status) VALUES (?1, ?2, ?3)",
            params![account, last.at_ms, last.status],
        ),
        Write::Forget { domain, .. } => forget(db, account, *domain),
    }
}

/// Runs one statement; how many rows it changed does not matter.
pub(crate) fn run(
    db: &Connection,
    sql: &str,
    params: impl rusqlite::Params,
) -> Result<(), StoreError> {
    change(db, sql, params).map(drop)
}

/// Runs one statement and says how many rows it changed.
pub(crate) fn change(
    db: &Connection,
    sql: &str,
    params: impl rusqlite::Params,
) -> Result<usize, StoreError> {
    db.prepare_cached(sql).and_then(|mut statement| statement.execute(params)).map_err(store_error)
}

fn account(db: &Connection, owner: Option<&BareJid>) -> Result<i64, StoreError> {
    let owner = owner.ok_or(StoreError::NoAccount)?;
    db.prepare_cached("SELECT id FROM accounts WHERE jid = ?1")
        .and_then(|mut query| query.query_row([owner.as_str()], |row| row.get(0)).optional())
        .map_err(store_error)?
        .ok_or(StoreError::NoAccount)
}

fn create_account(
    db: &Connection,
    owner: &BareJid,
    created_ms: i64,
    keys: &[KeyRow],
) -> Result<(), StoreError> {
    run(
        db,
        "INSERT INTO accounts (jid, host, created_ms) VALUES (?1, ?2, ?3)",
        params![owner.as_str(), owner.domain(), created_ms],
    )?;
    insert_keys(db, db.last_insert_rowid(), keys)
}

fn set_keys(db: &Connection, account: i64, keys: &[KeyRow]) -> Result<(), StoreError> {
    run(db, "DELETE FROM keys WHERE account = ?1", params![account])?;
    insert_keys(db, account, keys)
}

fn insert_keys(db: &Connection, account: i64, keys: &[KeyRow]) -> Result<(), StoreError> {
    for key in keys {
        run(
            db,
            "INSERT INTO keys (account, hash, iterations, salt, stored_key, server_key) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![
                account,
                key.hash.name(),
                key.iterations,
                key.salt,
                key.stored_key,
                key.server_key
            ],
        )?;
    }
    Ok(())
}

fn put_host(db: &Connection, host: &HostRow) -> rusqlite::Result<()> {
    db.prepare_cached(
        "INSERT OR REPLACE INTO hosts (name, profile, is_enabled, created_ms) \
         VALUES (?1, ?2, ?3, ?4)",
    )?
    .execute(params![host.name, host.profile, host.is_enabled, host.created_ms])
    .map(drop)
}

fn forget(db: &Connection, account: i64, domain: Domain) -> Result<(), StoreError> {
    let statements: &[&str] = match domain {
        Domain::Roster => &[
            "DELETE FROM roster_items WHERE account = ?1",
            "DELETE FROM roster_removed WHERE account = ?1",
            "DELETE FROM roster_requests WHERE account = ?1",
            "DELETE FROM rosters WHERE account = ?1",
        ],
        Domain::Offline => &[
            "DELETE FROM offline WHERE account = ?1",
            "DELETE FROM offline_damaged WHERE account = ?1",
        ],
        Domain::Private => &["DELETE FROM private WHERE account = ?1"],
        Domain::Vcard => &["DELETE FROM vcards WHERE account = ?1"],
        Domain::Last => &["DELETE FROM last_logouts WHERE account = ?1"],
    };
    statements.iter().try_for_each(|sql| run(db, sql, params![account]))
}
