//! Rosters, their history, and pending requests.

use std::sync::Arc;

use rusqlite::{Connection, Row, params};
use stentor_jid::BareJid;
use stentor_store::limits::ROSTER_TOMBSTONES_MAX;
use stentor_store::{
    Boxed, Counters, Domain, Export, Owned, RequestRow, Roster, RosterChange, RosterChanges,
    RosterData, RosterRow, StoreError, Subscription, Write,
};

use crate::apply::{change, run};
use crate::open::Inner;
use crate::rows::{address, all, one, signed, unsigned, value};

/// Rosters in SQLite.
pub(crate) struct RosterDb(pub(crate) Arc<Inner>);

/// What a query gave, and how many of its rows could not be read.
struct Found<T> {
    rows: T,
    damaged: u64,
}

impl Roster for RosterDb {
    fn load(&self, owner: &BareJid) -> Boxed<RosterData> {
        self.read(owner, load)
    }

    fn item(&self, owner: &BareJid, contact: &BareJid) -> Boxed<Option<RosterRow>> {
        let contact = contact.clone();
        self.read(owner, move |db, owner| {
            let sql = ITEMS.to_owned() + " AND contact = ?2";
            let found = items(db, &sql, params![owner.as_str(), contact.as_str()])?;
            let row = found.rows.into_iter().next().map(|(_, row)| row);
            Ok(Found { rows: row, damaged: found.damaged })
        })
    }

    fn changes(&self, owner: &BareJid, since: u64) -> Boxed<RosterChanges> {
        self.read(owner, move |db, owner| changes(db, owner, since))
    }
}

impl Owned for RosterDb {
    fn export(&self, owner: &BareJid, after: u64) -> Boxed<Export> {
        self.read(owner, move |db, owner| {
            if after > 0 {
                return Ok(Found { rows: Export::default(), damaged: 0 });
            }
            export(db, owner)
        })
    }

    fn forget(&self, owner: &BareJid) -> Boxed<()> {
        self.0.forget(owner, Domain::Roster)
    }
}

impl RosterDb {
    fn read<T, F>(&self, owner: &BareJid, read: F) -> Boxed<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection, &BareJid) -> Result<Found<T>, StoreError> + Send + 'static,
    {
        let inner = Arc::clone(&self.0);
        let owner = owner.clone();
        Box::pin(async move {
            let asked = owner.clone();
            let found = inner.readers.read(move |db| read(db, &asked)).await?;
            if found.damaged > 0 {
                Counters::add(&inner.writer.counters().rows_damaged, found.damaged);
                tracing::error!(event = "damaged", %owner, rows = found.damaged, "damaged roster rows skipped");
            }
            Ok(found.rows)
        })
    }
}

/// Adds or replaces an item.
pub(crate) fn put(
    db: &Connection,
    account: i64,
    item: &RosterRow,
    version: u64,
) -> Result<(), StoreError> {
    raise_version(db, account, version)?;
    let groups = serde_json::to_string(&item.groups)
        .map_err(|error| StoreError::Corrupt(error.to_string().into()))?;
    run(
        db,
        "INSERT OR REPLACE INTO roster_items \
         (account, contact, version, name, subscription, is_asking, is_approved, groups) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        params![
            account,
            item.contact.as_str(),
            signed(version),
            item.name,
            item.subscription.name(),
            item.is_asking,
            item.is_approved,
            groups
        ],
    )?;
    let sql = "DELETE FROM roster_removed WHERE account = ?1 AND contact = ?2";
    run(db, sql, params![account, item.contact.as_str()])
}

/// Removes an item and remembers that.
pub(crate) fn remove(
    db: &Connection,
    account: i64,
    contact: &BareJid,
    version: u64,
) -> Result<(), StoreError> {
    raise_version(db, account, version)?;
    let sql = "DELETE FROM roster_items WHERE account = ?1 AND contact = ?2";
    run(db, sql, params![account, contact.as_str()])?;
    run(
        db,
        "INSERT OR REPLACE INTO roster_removed (account, contact, version) VALUES (?1, ?2, ?3)",
        params![account, contact.as_str(), signed(version)],
    )?;
    // The first one too many, and those of the same version or before it, make room.
    let sql = "SELECT version FROM roster_removed WHERE account = ?1 \
               ORDER BY version DESC LIMIT 1 OFFSET ?2";
    match value(db, sql, params![account, ROSTER_TOMBSTONES_MAX])? {
        Some(oldest) => forget_before(db, account, unsigned(oldest)),
        None => Ok(()),
    }
}

/// Forgets removals up to a version, which then is the oldest that can be brought up to date.
pub(crate) fn forget_before(db: &Connection, account: i64, version: u64) -> Result<(), StoreError> {
    let version = signed(version);
    let sql = "DELETE FROM roster_removed WHERE account = ?1 AND version <= ?2";
    run(db, sql, params![account, version])?;
    run(
        db,
        "INSERT INTO rosters (account, version, floor) VALUES (?1, ?2, ?2) \
         ON CONFLICT (account) DO UPDATE SET \
         version = max(version, excluded.version), floor = max(floor, excluded.floor)",
        params![account, version],
    )
}

/// Removes all items and requests. The version goes on, or a client could take the next roster for
/// a later state of the one it knows.
pub(crate) fn forget(db: &Connection, account: i64) -> Result<(), StoreError> {
    for sql in [
        "DELETE FROM roster_items WHERE account = ?1",
        "DELETE FROM roster_removed WHERE account = ?1",
        "DELETE FROM roster_requests WHERE account = ?1",
        "UPDATE rosters SET version = version + 1, floor = version + 1 WHERE account = ?1",
    ] {
        run(db, sql, params![account])?;
    }
    Ok(())
}

/// Keeps a pending request, in the place of an earlier one if there is one.
pub(crate) fn put_request(
    db: &Connection,
    account: i64,
    from: &BareJid,
    stanza: &[u8],
) -> Result<(), StoreError> {
    run(
        db,
        "INSERT INTO roster_requests (account, contact, stanza) VALUES (?1, ?2, ?3) \
         ON CONFLICT (account, contact) DO UPDATE SET stanza = excluded.stanza",
        params![account, from.as_str(), stanza],
    )
}

/// Drops a pending request.
pub(crate) fn remove_request(
    db: &Connection,
    account: i64,
    from: &BareJid,
) -> Result<(), StoreError> {
    let sql = "DELETE FROM roster_requests WHERE account = ?1 AND contact = ?2";
    run(db, sql, params![account, from.as_str()])
}

fn raise_version(db: &Connection, account: i64, version: u64) -> Result<(), StoreError> {
    let version = i64::try_from(version).map_err(|_| StoreError::Conflict)?;
    // A roster's history starts with its first change.
    let raised = change(
        db,
        "INSERT INTO rosters (account, version, floor) VALUES (?1, ?2, max(?2 - 1, 0)) \
         ON CONFLICT (account) DO UPDATE SET version = excluded.version \
         WHERE excluded.version >= rosters.version",
        params![account, version],
    )?;
    if raised == 1 { Ok(()) } else { Err(StoreError::Conflict) }
}

fn load(db: &Connection, owner: &BareJid) -> Result<Found<RosterData>, StoreError> {
    let (version, _) = versions(db, owner)?;
    let sql = ITEMS.to_owned() + " ORDER BY contact";
    let items = items(db, &sql, [owner.as_str()])?;
    let requests = requests(db, owner)?;
    let damaged = items.damaged + requests.damaged;
    let items = items.rows.into_iter().map(|(_, row)| row).collect();
    Ok(Found { rows: RosterData { version, items, requests: requests.rows }, damaged })
}

fn changes(
    db: &Connection,
    owner: &BareJid,
    since: u64,
) -> Result<Found<RosterChanges>, StoreError> {
    let (version, floor) = versions(db, owner)?;
    if since < floor || since > version {
        return Ok(Found { rows: RosterChanges::Unknown, damaged: 0 });
    }
    let Found { rows: changes, damaged } = history(db, owner, since)?;
    Ok(Found { rows: RosterChanges::Since { changes, version }, damaged })
}

fn export(db: &Connection, owner: &BareJid) -> Result<Found<Export>, StoreError> {
    let sql = "SELECT floor FROM rosters \
               WHERE account = (SELECT id FROM accounts WHERE jid = ?1)";
    let floor: Option<i64> = value(db, sql, [owner.as_str()])?;
    let Found { rows: history, mut damaged } = history(db, owner, 0)?;
    let mut writes: Vec<Write> = history
        .into_iter()
        .map(|(version, change)| match change {
            RosterChange::Put(item) => Write::PutRoster { owner: owner.clone(), item, version },
            RosterChange::Removed(contact) => {
                Write::RemoveRoster { owner: owner.clone(), contact, version }
            }
        })
        .collect();
    writes.extend(
        floor.map(|floor| Write::ForgetRosterBefore {
            owner: owner.clone(),
            version: unsigned(floor),
        }),
    );
    let requests = requests(db, owner)?;
    damaged += requests.damaged;
    writes.extend(requests.rows.into_iter().map(|request| Write::PutRequest {
        owner: owner.clone(),
        from: request.from,
        stanza: request.stanza,
    }));
    Ok(Found { rows: Export { writes, next: None }, damaged })
}

fn versions(db: &Connection, owner: &BareJid) -> Result<(u64, u64), StoreError> {
    // The moment of creation lies above every version that a deleted namesake had.
    let sql = "SELECT coalesce(version, max(created_ms, 0)), coalesce(floor, max(created_ms, 0)) \
               FROM accounts LEFT JOIN rosters ON account = id WHERE jid = ?1";
    let found =
        one(db, sql, [owner.as_str()], |row| Ok((unsigned(row.get(0)?), unsigned(row.get(1)?))))?;
    Ok(found.unwrap_or_default())
}

fn history(
    db: &Connection,
    owner: &BareJid,
    since: u64,
) -> Result<Found<Vec<(u64, RosterChange)>>, StoreError> {
    let asked = params![owner.as_str(), signed(since)];
    let sql = ITEMS.to_owned() + " AND version > ?2";
    let found = items(db, &sql, asked)?;
    let mut damaged = found.damaged;
    let mut history: Vec<_> =
        found.rows.into_iter().map(|(version, row)| (version, RosterChange::Put(row))).collect();
    let sql = "SELECT version, contact FROM roster_removed \
               WHERE account = (SELECT id FROM accounts WHERE jid = ?1) AND version > ?2";
    let removed = all(db, sql, asked, |row| Ok((row.get(0)?, row.get::<_, String>(1)?)))?;
    for (version, contact) in removed {
        match address(&contact) {
            Ok(contact) => history.push((unsigned(version), RosterChange::Removed(contact))),
            Err(_) => damaged += 1,
        }
    }
    history.sort_by_key(|(version, _)| *version);
    Ok(Found { rows: history, damaged })
}

fn items(
    db: &Connection,
    sql: &str,
    params: impl rusqlite::Params,
) -> Result<Found<Vec<(u64, RosterRow)>>, StoreError> {
    let read = all(db, sql, params, |row| Ok(item(row)))?;
    Ok(split(read))
}

fn item(row: &Row<'_>) -> Result<(u64, RosterRow), StoreError> {
    let field = |error: rusqlite::Error| StoreError::Corrupt(error.to_string().into());
    let contact: String = row.get(0).map_err(field)?;
    let version = unsigned(row.get(1).map_err(field)?);
    let subscription: String = row.get(3).map_err(field)?;
    let groups: String = row.get(6).map_err(field)?;
    let item = RosterRow {
        contact: address(&contact)?,
        name: row.get(2).map_err(field)?,
        subscription: Subscription::from_name(&subscription)
            .ok_or_else(|| StoreError::Corrupt("subscription".into()))?,
        is_asking: row.get(4).map_err(field)?,
        is_approved: row.get(5).map_err(field)?,
        groups: serde_json::from_str(&groups)
            .map_err(|error| StoreError::Corrupt(error.to_string().into()))?,
    };
    Ok((version, item))
}

fn requests(db: &Connection, owner: &BareJid) -> Result<Found<Vec<RequestRow>>, StoreError> {
    let sql = "SELECT contact, stanza FROM roster_requests \
               WHERE account = (SELECT id FROM accounts WHERE jid = ?1) ORDER BY id";
    let rows = all(db, sql, [owner.as_str()], |row| Ok((row.get::<_, String>(0)?, row.get(1)?)))?;
    let read = rows
        .into_iter()
        .map(|(from, stanza)| Ok(RequestRow { from: address(&from)?, stanza }))
        .collect();
    Ok(split(read))
}

fn split<T>(read: Vec<Result<T, StoreError>>) -> Found<Vec<T>> {
    let count = read.len();
    let rows: Vec<T> = read.into_iter().flatten().collect();
    let damaged = (count - rows.len()) as u64;
    Found { rows, damaged }
}

const ITEMS: &str = "SELECT contact, version, name, subscription, is_asking, is_approved, groups \
                     FROM roster_items \
                     WHERE account = (SELECT id FROM accounts WHERE jid = ?1)";
