//! Kept messages.

use std::sync::Arc;

use rusqlite::{Connection, params};
use stentor_jid::BareJid;
use stentor_store::limits::{PAGE_BYTES_MAX, PAGE_ROWS_MAX};
use stentor_store::{
    Boxed, Counters, Domain, Export, Offline, OfflineBody, OfflinePage, OfflineRow, Owned, Stage,
    StoreError, Usage, Write,
};

use crate::apply::{change, run};
use crate::archive::View;
use crate::checksum::crc32;
use crate::open::Inner;
use crate::rows::{address, all, one, signed, unsigned, usage};

/// Kept messages in SQLite.
pub(crate) struct OfflineDb(pub(crate) Arc<Inner>);

impl Offline for OfflineDb {
    fn page(&self, owner: &BareJid, after: u64, limit: u32) -> Boxed<OfflinePage> {
        let inner = Arc::clone(&self.0);
        let owner = owner.clone();
        Box::pin(async move {
            let asked = owner.clone();
            let tail = Arc::clone(&inner.tail);
            let read = move |db: &Connection| {
                let waiting = tail.of(&asked);
                page(&View::of(db, &asked, &waiting)?, &asked, after, limit)
            };
            let page = inner.readers.read(read).await?;
            put_aside_all(&inner, &owner, &page.damaged);
            Ok(page)
        })
    }

    fn usage(&self, owner: &BareJid) -> Boxed<Usage> {
        let owner = owner.clone();
        self.0.readers.read(move |db| {
            let sql = "SELECT count(*), coalesce(sum(bytes), 0) FROM offline \
                       WHERE account = (SELECT id FROM accounts WHERE jid = ?1)";
            usage(db, sql, &owner)
        })
    }

    fn overdue(&self, host: &str, before_ms: i64, after: Option<&BareJid>) -> Boxed<Vec<BareJid>> {
        let host = host.to_owned();
        let after = after.map_or_else(String::new, ToString::to_string);
        self.0.readers.read(move |db| {
            // Ids grow with time: the first of each account, from the index, is its oldest.
            let sql = "SELECT a.jid FROM \
                       (SELECT account, min(id) AS first FROM offline GROUP BY account) AS w \
                       JOIN offline AS f ON f.id = w.first JOIN accounts AS a ON a.id = w.account \
                       WHERE a.host = ?1 AND f.received_ms < ?2 AND a.jid > ?3 \
                       ORDER BY a.jid LIMIT ?4";
            let asked = params![host, before_ms, after, PAGE_ROWS_MAX];
            let owners: Vec<String> = all(db, sql, asked, |row| row.get(0))?;
            owners.iter().map(|owner| address(owner)).collect()
        })
    }
}

impl Owned for OfflineDb {
    fn export(&self, owner: &BareJid, after: u64) -> Boxed<Export> {
        let (owner, tail) = (owner.clone(), Arc::clone(&self.0.tail));
        self.0.readers.read(move |db| {
            let waiting = tail.of(&owner);
            let page = page(&View::of(db, &owner, &waiting)?, &owner, after, PAGE_ROWS_MAX)?;
            let writes = page.messages.into_iter().map(|message| Write::StoreOffline {
                owner: owner.clone(),
                received_ms: message.received_ms,
                body: match message.archived {
                    Some(id) => OfflineBody::Archived(id),
                    None => OfflineBody::Bytes(message.stanza),
                },
            });
            Ok(Export { writes: writes.collect(), next: page.next })
        })
    }

    fn forget(&self, owner: &BareJid) -> Boxed<()> {
        self.0.forget(owner, Domain::Offline)
    }
}

/// Adds a message.
pub(crate) fn store(
    db: &Connection,
    account: i64,
    received_ms: i64,
    stanza: &[u8],
) -> Result<(), StoreError> {
    run(
        db,
        "INSERT INTO offline (account, received_ms, bytes, checksum, stanza) \
         VALUES (?1, ?2, ?3, ?4, ?5)",
        params![account, received_ms, stanza.len() as i64, crc32(stanza), stanza],
    )
}

/// Adds a message that the archive has.
pub(crate) fn store_archived(
    db: &Connection,
    account: i64,
    received_ms: i64,
    id: u64,
    bytes: i64,
) -> Result<(), StoreError> {
    let sql = "INSERT INTO offline (account, received_ms, bytes, archived) VALUES (?1, ?2, ?3, ?4)";
    run(db, sql, params![account, received_ms, bytes, signed(id)])
}

/// Drops messages up to an id.
pub(crate) fn drop_up_to(db: &Connection, account: i64, up_to: u64) -> Result<(), StoreError> {
    let sql = "DELETE FROM offline WHERE account = ?1 AND id <= ?2";
    run(db, sql, params![account, signed(up_to)])
}

/// Drops single messages.
pub(crate) fn drop_ids(db: &Connection, account: i64, ids: &[u64]) -> Result<(), StoreError> {
    let sql = "DELETE FROM offline WHERE account = ?1 AND id = ?2";
    ids.iter().try_for_each(|id| run(db, sql, params![account, signed(*id)]))
}

/// Lets the last `count` messages stand before others behind an id: those are written anew behind
/// them, for no id is used twice.
pub(crate) fn advance(
    db: &Connection,
    account: i64,
    behind: u64,
    count: u64,
) -> Result<(), StoreError> {
    let Some(before_last) = count.checked_sub(1) else { return Ok(()) };
    let sql = "SELECT id FROM offline WHERE account = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2";
    let first = one(db, sql, params![account, signed(before_last)], |row| row.get::<_, i64>(0))?;
    let Some(first) = first else { return Ok(()) };
    let copied = change(
        db,
        "INSERT INTO offline (account, received_ms, bytes, archived, checksum, stanza) \
         SELECT account, received_ms, bytes, archived, checksum, stanza FROM offline \
         WHERE account = ?1 AND id > ?2 AND id < ?3 ORDER BY id",
        params![account, signed(behind), first],
    );
    let sql = "DELETE FROM offline WHERE account = ?1 AND id > ?2 AND id < ?3";
    match copied {
        Ok(_) => run(db, sql, params![account, signed(behind), first]),
        // Pages that cannot be read cannot be copied either: nothing is lost, but the order.
        Err(StoreError::Corrupt(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Moves a message to the damaged ones.
pub(crate) fn put_aside(db: &Connection, account: i64, id: u64) -> Result<(), StoreError> {
    let copied = change(
        db,
        "INSERT OR REPLACE INTO offline_damaged (id, account, received_ms, stanza) \
         SELECT id, account, received_ms, coalesce(stanza, x'') FROM offline WHERE account = ?1 AND id = ?2",
        params![account, signed(id)],
    );
    match copied {
        Ok(_) => drop_ids(db, account, &[id]),
        // Pages that cannot be read cannot be copied either; the row stays and is skipped.
        Err(StoreError::Corrupt(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

fn page(
    archive: &View<'_>,
    owner: &BareJid,
    after: u64,
    limit: u32,
) -> Result<OfflinePage, StoreError> {
    let (db, limit) = (archive.db, limit.clamp(1, PAGE_ROWS_MAX));
    // Ids alone come from the index: one unreadable row does not hide those behind it.
    let sql = "SELECT id FROM offline WHERE account = (SELECT id FROM accounts WHERE jid = ?1) \
               AND id > ?2 ORDER BY id LIMIT ?3";
    let asked = params![owner.as_str(), signed(after), limit + 1];
    let ids: Vec<i64> = all(db, sql, asked, |row| row.get(0))?;
    let mut page = OfflinePage::default();
    let mut bytes = 0;
    let mut last = after;
    for id in ids {
        let taken = page.messages.len() + page.damaged.len();
        if bytes >= PAGE_BYTES_MAX || taken >= limit as usize {
            page.next = Some(last);
            break;
        }
        match message(archive, id) {
            Ok(message) => {
                bytes += message.stanza.len();
                page.messages.push(message);
            }
            Err(StoreError::Corrupt(_)) => page.damaged.push(unsigned(id)),
            Err(error) => return Err(error),
        }
        last = unsigned(id);
    }
    Ok(page)
}

fn message(archive: &View<'_>, id: i64) -> Result<OfflineRow, StoreError> {
    let sql = "SELECT received_ms, archived, checksum, stanza FROM offline WHERE id = ?1";
    let found = one(archive.db, sql, [id], |row| {
        let (archived, checksum): (Option<i64>, Option<u32>) = (row.get(1)?, row.get(2)?);
        Ok((row.get(0)?, archived.map(unsigned), checksum, row.get::<_, Option<Vec<u8>>>(3)?))
    })?;
    let (received_ms, archived, checksum, stanza) =
        found.ok_or_else(|| StoreError::Corrupt("a kept message is in the index alone".into()))?;
    let stanza = match (archived, stanza) {
        (Some(archived), _) => archive.message(archived)?,
        (None, Some(stanza)) if checksum == Some(crc32(&stanza)) => stanza,
        (None, _) => {
            return Err(StoreError::Corrupt("the checksum of a kept message is wrong".into()));
        }
    };
    Ok(OfflineRow { id: unsigned(id), received_ms, archived, stanza })
}

fn put_aside_all(inner: &Inner, owner: &BareJid, ids: &[u64]) {
    if ids.is_empty() {
        return;
    }
    Counters::add(&inner.writer.counters().rows_damaged, ids.len() as u64);
    tracing::error!(event = "damaged", %owner, ?ids, "damaged offline messages put aside");
    let aside = ids.iter().map(|id| Write::PutAsideOffline { owner: owner.clone(), id: *id });
    // Nobody waits: if it fails, the next page finds them again.
    drop(inner.writer.submit(aside.collect::<Stage>()));
}
