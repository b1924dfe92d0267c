//! One write as SQL.

use rusqlite::{Connection, OptionalExtension, params};
use stentor_jid::BareJid;
use stentor_store::{Domain, KeyRow, OfflineBody, Stage, StoreError, Write};

use crate::archive::Archiver;
use crate::error::store_error;
use crate::rows::signed;
use crate::{
    data, given, hosts, last, offline, private, pubsub, roster, sessions, underway, vcard,
};

/// Applies the writes of a stage inside the transaction of its batch. Asked for each, in order,
/// `is_needless` says whether to leave it out.
pub(crate) fn apply_stage(
    db: &Connection,
    archiver: &mut Archiver,
    stage: &Stage,
    mut is_needless: impl FnMut() -> bool,
) -> Result<(), StoreError> {
    let mut shared = None;
    for (index, write) in stage.writes().iter().enumerate() {
        match write {
            _ if is_needless() => {}
            // Came with the one before it.
            Write::PutArchive { .. } if shared == Some(index) => {}
            Write::PutArchive { .. } => shared = archiver.put(db, stage.writes(), index)?,
            _ => apply(db, archiver, write)?,
        }
    }
    Ok(())
}

fn apply(db: &Connection, archiver: &mut Archiver, write: &Write) -> Result<(), StoreError> {
    let of = |owner| account(db, owner);
    match write {
        Write::CreateAccount { owner, created_ms, keys } => {
            create_account(db, archiver, owner, *created_ms, keys)
        }
        Write::SetKeys { owner, keys } => set_keys(db, of(owner)?, keys),
        Write::PutKeys { owner, keys } => put_keys(db, of(owner)?, keys),
        Write::SetSuspended { owner, is_suspended } => {
            let sql = "UPDATE accounts SET is_suspended = ?2 WHERE id = ?1";
            run(db, sql, params![of(owner)?, is_suspended])
        }
        // All that the account owns refers to it and goes with it, but for what is archived.
        Write::DeleteAccount { owner } => {
            archiver.leave(db, owner)?;
            run(db, "DELETE FROM accounts WHERE id = ?1", params![of(owner)?])?;
            archiver.sweep(db)
        }
        Write::PutRoster { owner, item, version } => roster::put(db, of(owner)?, item, *version),
        Write::RemoveRoster { owner, contact, version } => {
            roster::remove(db, of(owner)?, contact, *version)
        }
        Write::ForgetRosterBefore { owner, version } => {
            roster::forget_before(db, of(owner)?, *version)
        }
        Write::PutRequest { owner, from, stanza } => {
            roster::put_request(db, of(owner)?, from, stanza)
        }
        Write::RemoveRequest { owner, from } => roster::remove_request(db, of(owner)?, from),
        Write::StoreOffline { owner, received_ms, body } => {
            store_offline(db, archiver, owner, *received_ms, body)
        }
        Write::DropOffline { owner, up_to } => offline::drop_up_to(db, of(owner)?, *up_to),
        Write::DropOfflineIds { owner, ids } => offline::drop_ids(db, of(owner)?, ids),
        Write::AdvanceOffline { owner, behind, count } => {
            offline::advance(db, of(owner)?, *behind, *count)
        }
        Write::Give { owner, number, received_ms, stanza } => {
            given::put(db, of(owner)?, *number, *received_ms, stanza)
        }
        Write::DropGiven { number } => given::remove(db, *number),
        Write::KeepGiven => given::keep_all(db),
        Write::PutAsideOffline { owner, id } => offline::put_aside(db, of(owner)?, *id),
        Write::PutArchive { .. } => Ok(()),
        Write::RetractArchive { owner, id, tombstone } => {
            archiver.retract(db, owner, of(owner)?, *id, tombstone)
        }
        Write::DropArchive { owner, what } => archiver.drop_entries(db, owner, of(owner)?, what),
        Write::SweepArchives => archiver.sweep(db),
        Write::PutAsideArchive { owner, id } => archiver.put_aside(db, owner, of(owner)?, *id),
        Write::PutPrivate { owner, ns, name, xml } => private::put(db, of(owner)?, ns, name, xml),
        Write::PutVcard { owner, xml } => vcard::put(db, of(owner)?, xml),
        Write::PutLast { owner, last } => last::put(db, of(owner)?, last),
        Write::PutData { owner, kind, key, value } => data::put(db, of(owner)?, kind, key, value),
        Write::RemoveData { owner, kind, key } => data::remove(db, of(owner)?, kind, key),
        Write::ClearData { owner, kind } => data::clear(db, of(owner)?, kind),
        Write::Node { owner, node, change } => pubsub::change(db, of(owner)?, node, change),
        Write::Forget { owner, domain: Domain::Archive } => {
            archiver.abandon_archive(db, owner, of(owner)?)?;
            archiver.sweep(db)
        }
        Write::Forget { owner, domain } => forget(db, of(owner)?, *domain),
        Write::Session { session, change } => sessions::change(db, *session, change),
        Write::ExpireSessions { now_ms } => sessions::expire(db, *now_ms),
        Write::PutUnderway(row) => underway::put(db, row),
        Write::DropUnderway { numbers } => underway::remove(db, numbers),
        Write::PutHost(host) => hosts::put(db, host),
        Write::RemoveHost { name } => run(db, "DELETE FROM hosts WHERE name = ?1", params![name]),
    }
}

fn store_offline(
    db: &Connection,
    archiver: &mut Archiver,
    owner: &BareJid,
    received_ms: i64,
    body: &OfflineBody,
) -> Result<(), StoreError> {
    let account = account(db, owner)?;
    match body {
        OfflineBody::Bytes(stanza) => offline::store(db, account, received_ms, stanza),
        OfflineBody::Archived(id) => {
            let bytes = archiver.bytes_of(db, account, owner, signed(*id))?;
            let bytes = bytes.ok_or(StoreError::Conflict)?;
            offline::store_archived(db, account, received_ms, *id, bytes)
        }
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

/// The row of an account.
pub(crate) fn account(db: &Connection, owner: &BareJid) -> Result<i64, StoreError> {
    db.prepare_cached("SELECT id FROM accounts WHERE jid = ?1")
        .and_then(|mut query| query.query_row([owner.as_str()], |row| row.get(0)).optional())
        .map_err(store_error)?
        .ok_or(StoreError::NoAccount)
}

fn create_account(
    db: &Connection,
    archiver: &mut Archiver,
    owner: &BareJid,
    created_ms: i64,
    keys: &[KeyRow],
) -> Result<(), StoreError> {
    archiver.forget(owner);
    run(
        db,
        "INSERT INTO accounts (jid, host, created_ms) VALUES (?1, ?2, ?3)",
        params![owner.as_str(), owner.domain(), created_ms],
    )?;
    insert_keys(db, db.last_insert_rowid(), keys)
}

fn put_keys(db: &Connection, account: i64, keys: &KeyRow) -> Result<(), StoreError> {
    let sql = "DELETE FROM keys WHERE account = ?1 AND hash = ?2";
    run(db, sql, params![account, keys.hash.name()])?;
    insert_keys(db, account, std::slice::from_ref(keys))
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

fn forget(db: &Connection, account: i64, domain: Domain) -> Result<(), StoreError> {
    let statements: &[&str] = match domain {
        Domain::Roster => return roster::forget(db, account),
        Domain::Offline => &[
            "DELETE FROM offline WHERE account = ?1",
            "DELETE FROM offline_damaged WHERE account = ?1",
            "DELETE FROM given WHERE account = ?1",
        ],
        Domain::Archive => &[],
        Domain::Private => &["DELETE FROM private WHERE account = ?1"],
        Domain::Vcard => &["DELETE FROM vcards WHERE account = ?1"],
        Domain::Last => &["DELETE FROM last_logouts WHERE account = ?1"],
        Domain::Data => &["DELETE FROM data WHERE account = ?1"],
        Domain::Pubsub => &["DELETE FROM pubsub_nodes WHERE account = ?1"],
    };
    statements.iter().try_for_each(|sql| run(db, sql, params![account]))
}
