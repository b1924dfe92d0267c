//! Changes of nodes as SQL.

use rusqlite::{Connection, params};
use stentor_jid::BareJid;
use stentor_store::{NodeChange, NodeItemRow, NodeParty, StoreError};

use crate::apply::run;
use crate::rows::{signed, value};

/// Makes one change.
pub(crate) fn change(
    db: &Connection,
    account: i64,
    node: &str,
    change: &NodeChange,
) -> Result<(), StoreError> {
    let id = || {
        let sql = "SELECT id FROM pubsub_nodes WHERE account = ?1 AND node = ?2";
        value::<i64>(db, sql, params![account, node])?.ok_or(StoreError::Conflict)
    };
    match change {
        NodeChange::Put { created_ms, config } => run(
            db,
            "INSERT INTO pubsub_nodes (account, node, created_ms, config) VALUES (?1, ?2, ?3, ?4) \
             ON CONFLICT (account, node) DO UPDATE SET config = excluded.config",
            params![account, node, created_ms, config],
        ),
        NodeChange::Remove => {
            let sql = "DELETE FROM pubsub_nodes WHERE account = ?1 AND node = ?2";
            run(db, sql, params![account, node])
        }
        NodeChange::PutItem(item) => put_item(db, id()?, item),
        NodeChange::RemoveItems(ids) => {
            let node = id()?;
            let sql = "DELETE FROM pubsub_items WHERE node = ?1 AND id = ?2";
            ids.iter().try_for_each(|item| run(db, sql, params![node, item]))
        }
        NodeChange::Purge => run(db, "DELETE FROM pubsub_items WHERE node = ?1", [id()?]),
        NodeChange::PutParty(party) => put_party(db, id()?, party),
        NodeChange::RemoveParty { jid, kind } => {
            let sql = "DELETE FROM pubsub_parties WHERE node = ?1 AND jid = ?2 AND kind = ?3";
            run(db, sql, params![id()?, jid.as_str(), kind.name()])
        }
    }
}

fn put_item(db: &Connection, node: i64, item: &NodeItemRow) -> Result<(), StoreError> {
    let NodeItemRow { id, seq, at_ms, publisher, payload } = item;
    let publisher = publisher.as_ref().map(BareJid::as_str);
    run(
        db,
        "INSERT OR REPLACE INTO pubsub_items (node, id, seq, at_ms, publisher, payload) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        params![node, id, signed(*seq), at_ms, publisher, payload],
    )
}

fn put_party(db: &Connection, node: i64, party: &NodeParty) -> Result<(), StoreError> {
    run(
        db,
        "INSERT OR REPLACE INTO pubsub_parties (node, jid, kind, value) VALUES (?1, ?2, ?3, ?4)",
        params![node, party.jid.as_str(), party.kind.name(), party.value],
    )
}
