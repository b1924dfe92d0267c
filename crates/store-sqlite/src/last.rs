//! The last logout.

use std::sync::Arc;

use rusqlite::{Connection, params};
use stentor_jid::BareJid;
use stentor_store::{Boxed, Domain, Export, Last, LastRow, Owned, StoreError, Write};

use crate::apply::run;
use crate::open::Inner;
use crate::rows::one;

/// Last logouts in SQLite.
pub(crate) struct LastDb(pub(crate) Arc<Inner>);

impl Last for LastDb {
    fn load(&self, owner: &BareJid) -> Boxed<Option<LastRow>> {
        let owner = owner.clone();
        self.0.readers.read(move |db| load(db, &owner))
    }
}

impl Owned for LastDb {
    fn export(&self, owner: &BareJid, after: u64) -> Boxed<Export> {
        let owner = owner.clone();
        self.0.readers.read(move |db| {
            let last = if after == 0 { load(db, &owner)? } else { None };
            let writes = last.into_iter().map(|last| Write::PutLast { owner: owner.clone(), last });
            Ok(Export { writes: writes.collect(), next: None })
        })
    }

    fn forget(&self, owner: &BareJid) -> Boxed<()> {
        self.0.forget(owner, Domain::Last)
    }
}

/// Sets the last logout.
pub(crate) fn put(db: &Connection, account: i64, last: &LastRow) -> Result<(), StoreError> {
    let sql = "INSERT OR REPLACE INTO last_logouts (account, at_ms, status) VALUES (?1, ?2, ?3)";
    run(db, sql, params![account, last.at_ms, last.status])
}

fn load(db: &Connection, owner: &BareJid) -> Result<Option<LastRow>, StoreError> {
    let sql = "SELECT at_ms, status FROM last_logouts \
               WHERE account = (SELECT id FROM accounts WHERE jid = ?1)";
    one(db, sql, [owner.as_str()], |row| Ok(LastRow { at_ms: row.get(0)?, status: row.get(1)? }))
}
