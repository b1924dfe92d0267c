//! Nodes and what is published on them.

mod change;
mod export;

use std::sync::Arc;

use rusqlite::{Connection, Row, params};
use stentor_jid::{BareJid, Jid};
use stentor_store::{
    Boxed, Domain, Export, NodeItemMark, NodeItemRow, NodeParty, NodeRow, Owned, PartyKind, Pubsub,
    StoreError,
};

pub(crate) use self::change::change;
use crate::open::Inner;
use crate::rows::{address, all, unsigned};

/// Nodes in SQLite.
pub(crate) struct PubsubDb(pub(crate) Arc<Inner>);

impl Pubsub for PubsubDb {
    fn nodes(&self, owner: &BareJid) -> Boxed<Vec<NodeRow>> {
        let owner = owner.clone();
        self.0.readers.read(move |db| nodes(db, &owner))
    }

    fn items(&self, owner: &BareJid, node: &str, ids: &[&str]) -> Boxed<Vec<NodeItemRow>> {
        let (owner, node, ids) = (owner.clone(), node.to_owned(), json(ids));
        self.0.readers.read(move |db| {
            let sql = "SELECT pubsub_items.id, seq, at_ms, publisher, payload FROM pubsub_items \
                       JOIN pubsub_nodes ON pubsub_nodes.id = pubsub_items.node \
                       JOIN accounts ON accounts.id = pubsub_nodes.account \
                       WHERE accounts.jid = ?1 AND pubsub_nodes.node = ?2 \
                       AND pubsub_items.id IN (SELECT value FROM json_each(?3)) ORDER BY seq";
            let rows = all(db, sql, params![owner.as_str(), node, ids?], |row| item(row, 0))?;
            rows.into_iter()
                .map(|(row, publisher)| with_publisher(row, publisher.as_deref()))
                .collect()
        })
    }

    fn having(&self, owners: &[BareJid], nodes: &[&str]) -> Boxed<Vec<BareJid>> {
        let owners: Vec<&str> = owners.iter().map(BareJid::as_str).collect();
        let (owners, nodes) = (json(&owners), json(nodes));
        self.0.readers.read(move |db| {
            let sql = "SELECT DISTINCT accounts.jid FROM accounts \
                       JOIN pubsub_nodes ON pubsub_nodes.account = accounts.id \
                       WHERE accounts.jid IN (SELECT value FROM json_each(?1)) \
                       AND node IN (SELECT value FROM json_each(?2)) ORDER BY accounts.jid";
            let jids = all(db, sql, params![owners?, nodes?], |row| row.get::<_, String>(0))?;
            jids.iter().map(|jid| address(jid)).collect()
        })
    }
}

impl Owned for PubsubDb {
    fn export(&self, owner: &BareJid, after: u64) -> Boxed<Export> {
        let owner = owner.clone();
        self.0.readers.read(move |db| export::export(db, &owner, after))
    }

    fn forget(&self, owner: &BareJid) -> Boxed<()> {
        self.0.forget(owner, Domain::Pubsub)
    }
}

/// A list as SQLite takes it apart again.
fn json(texts: &[&str]) -> Result<String, StoreError> {
    serde_json::to_string(texts).map_err(|error| StoreError::Corrupt(error.to_string().into()))
}

fn nodes(db: &Connection, owner: &BareJid) -> Result<Vec<NodeRow>, StoreError> {
    let sql = "SELECT id, node, created_ms, config FROM pubsub_nodes \
               WHERE account = (SELECT id FROM accounts WHERE jid = ?1) ORDER BY node";
    let rows = all(db, sql, [owner.as_str()], |row| {
        let node = NodeRow {
            node: row.get(1)?,
            created_ms: row.get(2)?,
            config: row.get(3)?,
            parties: Vec::new(),
            items: Vec::new(),
        };
        Ok((row.get::<_, i64>(0)?, node))
    })?;
    let fill =
        |(id, node)| Ok(NodeRow { parties: parties(db, id)?, items: marks(db, id)?, ..node });
    rows.into_iter().map(fill).collect()
}

/// Who has a part in a node.
fn parties(db: &Connection, node: i64) -> Result<Vec<NodeParty>, StoreError> {
    let sql = "SELECT jid, kind, value FROM pubsub_parties WHERE node = ?1 ORDER BY jid, kind";
    let rows = all(db, sql, [node], |row| {
        Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get(2)?))
    })?;
    let read = |(jid, kind, value): (String, String, String)| {
        let jid = Jid::new(&jid).map_err(|_| damaged("a party's address"))?;
        let kind = PartyKind::from_name(&kind).ok_or_else(|| damaged("a party's kind"))?;
        Ok(NodeParty { jid, kind, value })
    };
    rows.into_iter().map(read).collect()
}

fn marks(db: &Connection, node: i64) -> Result<Vec<NodeItemMark>, StoreError> {
    let sql = "SELECT id, seq, at_ms, publisher, length(payload) FROM pubsub_items \
               WHERE node = ?1 ORDER BY seq";
    let rows = all(db, sql, [node], |row| {
        let mark = NodeItemMark {
            id: row.get(0)?,
            seq: unsigned(row.get(1)?),
            at_ms: row.get(2)?,
            publisher: None,
            bytes: unsigned(row.get(4)?),
        };
        Ok((mark, row.get::<_, Option<String>>(3)?))
    })?;
    let read = |(mark, publisher): (NodeItemMark, Option<String>)| {
        Ok(NodeItemMark { publisher: publisher.as_deref().map(address).transpose()?, ..mark })
    };
    rows.into_iter().map(read).collect()
}

/// An item whose columns begin at `first`, and its publisher as it stands there.
fn item(row: &Row<'_>, first: usize) -> rusqlite::Result<(NodeItemRow, Option<String>)> {
    let item = NodeItemRow {
        id: row.get(first)?,
        seq: unsigned(row.get(first + 1)?),
        at_ms: row.get(first + 2)?,
        publisher: None,
        payload: row.get(first + 4)?,
    };
    Ok((item, row.get(first + 3)?))
}

fn with_publisher(item: NodeItemRow, publisher: Option<&str>) -> Result<NodeItemRow, StoreError> {
    Ok(NodeItemRow { publisher: publisher.map(address).transpose()?, ..item })
}

fn damaged(what: &'static str) -> StoreError {
    StoreError::Corrupt(what.into())
}
