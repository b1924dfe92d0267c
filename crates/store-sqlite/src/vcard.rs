//! vCards.

use std::sync::Arc;

use rusqlite::{Connection, params};
use stentor_jid::BareJid;
use stentor_store::{Boxed, Domain, Export, Owned, StoreError, Vcard, Write};

use crate::apply::run;
use crate::open::Inner;
use crate::rows::value;

/// vCards in SQLite.
pub(crate) struct VcardDb(pub(crate) Arc<Inner>);

impl Vcard for VcardDb {
    fn load(&self, owner: &BareJid) -> Boxed<Option<Vec<u8>>> {
        let owner = owner.clone();
        self.0.readers.read(move |db| load(db, &owner))
    }
}

impl Owned for VcardDb {
    fn export(&self, owner: &BareJid, after: u64) -> Boxed<Export> {
        let owner = owner.clone();
        self.0.readers.read(move |db| {
            let xml = if after == 0 { load(db, &owner)? } else { None };
            let writes = xml.into_iter().map(|xml| Write::PutVcard { owner: owner.clone(), xml });
            Ok(Export { writes: writes.collect(), next: None })
        })
    }

    fn forget(&self, owner: &BareJid) -> Boxed<()> {
        self.0.forget(owner, Domain::Vcard)
    }
}

/// Adds or replaces a vCard.
pub(crate) fn put(db: &Connection, account: i64, xml: &[u8]) -> Result<(), StoreError> {
    let sql = "INSERT OR REPLACE INTO vcards (account, xml) VALUES (?1, ?2)";
    run(db, sql, params![account, xml])
}

fn load(db: &Connection, owner: &BareJid) -> Result<Option<Vec<u8>>, StoreError> {
    let sql = "SELECT xml FROM vcards WHERE account = (SELECT id FROM accounts WHERE jid = ?1)";
    value(db, sql, [owner.as_str()])
}
