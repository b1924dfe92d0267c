//! Private documents.

use std::sync::Arc;

use rusqlite::{Connection, params};
use stentor_jid::BareJid;
use stentor_store::limits::{PAGE_BYTES_MAX, PAGE_ROWS_MAX};
use stentor_store::{Boxed, Domain, Export, Owned, Private, PrivateRow, StoreError, Usage, Write};

use crate::apply::run;
use crate::error::store_error;
use crate::open::Inner;
use crate::rows::{all, signed, unsigned, usage, value};

/// Private documents in SQLite.
pub(crate) struct PrivateDb(pub(crate) Arc<Inner>);

impl Private for PrivateDb {
    fn load(&self, owner: &BareJid, ns: &str, name: &str) -> Boxed<Option<Vec<u8>>> {
        let (owner, ns, name) = (owner.clone(), ns.to_owned(), name.to_owned());
        self.0.readers.read(move |db| {
            let sql = "SELECT xml FROM private \
                       WHERE account = (SELECT id FROM accounts WHERE jid = ?1) \
                       AND ns = ?2 AND name = ?3";
            value(db, sql, [owner.as_str(), &ns, &name])
        })
    }

    fn list(&self, owner: &BareJid) -> Boxed<Vec<PrivateRow>> {
        let owner = owner.clone();
        self.0.readers.read(move |db| {
            let sql = "SELECT ns, name, length(xml) FROM private \
                       WHERE account = (SELECT id FROM accounts WHERE jid = ?1) ORDER BY ns, name";
            all(db, sql, [owner.as_str()], |row| {
                let bytes = unsigned(row.get(2)?);
                Ok(PrivateRow { ns: row.get(0)?, name: row.get(1)?, bytes })
            })
        })
    }

    fn usage(&self, owner: &BareJid) -> Boxed<Usage> {
        let owner = owner.clone();
        self.0.readers.read(move |db| {
            let sql = "SELECT count(*), coalesce(sum(length(xml)), 0) FROM private \
                       WHERE account = (SELECT id FROM accounts WHERE jid = ?1)";
            usage(db, sql, &owner)
        })
    }
}

impl Owned for PrivateDb {
    fn export(&self, owner: &BareJid, after: u64) -> Boxed<Export> {
        let owner = owner.clone();
        self.0.readers.read(move |db| export(db, &owner, after))
    }

    fn forget(&self, owner: &BareJid) -> Boxed<()> {
        self.0.forget(owner, Domain::Private)
    }
}

/// Adds or replaces a document.
pub(crate) fn put(
    db: &Connection,
    account: i64,
    ns: &str,
    name: &str,
    xml: &[u8],
) -> Result<(), StoreError> {
    run(
        db,
        "INSERT INTO private (account, ns, name, xml) VALUES (?1, ?2, ?3, ?4) \
         ON CONFLICT (account, ns, name) DO UPDATE SET xml = excluded.xml",
        params![account, ns, name, xml],
    )
}

fn export(db: &Connection, owner: &BareJid, after: u64) -> Result<Export, StoreError> {
    let sql = "SELECT id, ns, name, xml FROM private \
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
        let write = document(owner, row).map_err(store_error)?;
        bytes += write.bytes_len();
        export.writes.push(write);
        last = unsigned(row.get(0).map_err(store_error)?);
    }
    Ok(export)
}

fn document(owner: &BareJid, row: &rusqlite::Row<'_>) -> rusqlite::Result<Write> {
    let owner = owner.clone();
    Ok(Write::PutPrivate { owner, ns: row.get(1)?, name: row.get(2)?, xml: row.get(3)? })
}
