//! Taking the nodes of an account along: first the nodes with those who have a part in them, then
//! the items.

use rusqlite::{Connection, params};
use stentor_jid::BareJid;
use stentor_store::limits::{PAGE_BYTES_MAX, PAGE_ROWS_MAX};
use stentor_store::{Export, NodeChange, StoreError, Write};

use super::{item, parties, with_publisher};
use crate::error::store_error;
use crate::rows::{signed, unsigned};

/// One page. Rows of items count from [`ITEMS`] on.
pub(super) fn export(db: &Connection, owner: &BareJid, after: u64) -> Result<Export, StoreError> {
    match after.checked_sub(ITEMS) {
        Some(row) => items(db, owner, row),
        None => nodes(db, owner, after),
    }
}

fn nodes(db: &Connection, owner: &BareJid, after: u64) -> Result<Export, StoreError> {
    let sql = "SELECT id, node, created_ms, config FROM pubsub_nodes \
               WHERE account = (SELECT id FROM accounts WHERE jid = ?1) AND id > ?2 ORDER BY id";
    let mut page = Page::after(after);
    let mut query = db.prepare_cached(sql).map_err(store_error)?;
    let mut rows = query.query(params![owner.as_str(), signed(after)]).map_err(store_error)?;
    while let Some(row) = rows.next().map_err(store_error)? {
        if page.is_full() {
            return Ok(page.go_on());
        }
        let id: i64 = row.get(0).map_err(store_error)?;
        let node: String = row.get(1).map_err(store_error)?;
        let created_ms = row.get(2).map_err(store_error)?;
        let config = row.get(3).map_err(store_error)?;
        page.push(owner, &node, NodeChange::Put { created_ms, config });
        for party in parties(db, id)? {
            page.push(owner, &node, NodeChange::PutParty(party));
        }
        page.last = unsigned(id);
    }
    page.last = ITEMS;
    Ok(page.go_on())
}

fn items(db: &Connection, owner: &BareJid, after: u64) -> Result<Export, StoreError> {
    let sql = "SELECT row, pubsub_nodes.node, pubsub_items.id, seq, at_ms, publisher, payload \
               FROM pubsub_items JOIN pubsub_nodes ON pubsub_nodes.id = pubsub_items.node \
               WHERE account = (SELECT id FROM accounts WHERE jid = ?1) AND row > ?2 ORDER BY row";
    let mut page = Page::after(ITEMS.saturating_add(after));
    let mut query = db.prepare_cached(sql).map_err(store_error)?;
    let mut rows = query.query(params![owner.as_str(), signed(after)]).map_err(store_error)?;
    while let Some(row) = rows.next().map_err(store_error)? {
        if page.is_full() {
            return Ok(page.go_on());
        }
        let node: String = row.get(1).map_err(store_error)?;
        let (item, publisher) = item(row, 2).map_err(store_error)?;
        page.push(owner, &node, NodeChange::PutItem(with_publisher(item, publisher.as_deref())?));
        page.last = ITEMS.saturating_add(unsigned(row.get(0).map_err(store_error)?));
    }
    Ok(page.export)
}

/// A page as it grows.
struct Page {
    export: Export,
    bytes: usize,
    last: u64,
}

impl Page {
    fn after(last: u64) -> Self {
        Self { export: Export::default(), bytes: 0, last }
    }

    fn is_full(&self) -> bool {
        self.bytes >= PAGE_BYTES_MAX || self.export.writes.len() >= PAGE_ROWS_MAX as usize
    }

    fn push(&mut self, owner: &BareJid, node: &str, change: NodeChange) {
        let write = Write::Node { owner: owner.clone(), node: node.to_owned(), change };
        self.bytes += write.bytes_len();
        self.export.writes.push(write);
    }

    fn go_on(mut self) -> Export {
        self.export.next = Some(self.last);
        self.export
    }
}

/// Beyond every row of a node: an export goes on with the items there.
const ITEMS: u64 = 1 << 62;
