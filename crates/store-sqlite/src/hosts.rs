//! Hosts.

use std::sync::Arc;

use rusqlite::{Connection, Row, params};
use stentor_store::limits::PAGE_ROWS_MAX;
use stentor_store::{Boxed, HostRow, Hosts, StoreError};

use crate::apply::run;
use crate::open::Inner;
use crate::rows::{all, one, unsigned, value};

/// Hosts in SQLite.
pub(crate) struct HostsDb(pub(crate) Arc<Inner>);

impl Hosts for HostsDb {
    fn load(&self, name: &str) -> Boxed<Option<HostRow>> {
        let name = name.to_owned();
        self.0.readers.read(move |db| {
            let sql = "SELECT name, profile, is_enabled, created_ms FROM hosts WHERE name = ?1";
            one(db, sql, [name], host)
        })
    }

    fn list(&self, after: Option<&str>, limit: u32) -> Boxed<Vec<HostRow>> {
        let after = after.unwrap_or_default().to_owned();
        self.0.readers.read(move |db| {
            let limit = limit.min(PAGE_ROWS_MAX);
            let sql = "SELECT name, profile, is_enabled, created_ms FROM hosts \
                       WHERE name > ?1 ORDER BY name LIMIT ?2";
            all(db, sql, params![after, limit], host)
        })
    }

    fn count(&self) -> Boxed<u64> {
        self.0.readers.read(|db| {
            let count = value(db, "SELECT count(*) FROM hosts", [])?;
            Ok(unsigned(count.unwrap_or_default()))
        })
    }
}

/// Adds or replaces a host.
pub(crate) fn put(db: &Connection, host: &HostRow) -> Result<(), StoreError> {
    run(
        db,
        "INSERT OR REPLACE INTO hosts (name, profile, is_enabled, created_ms) \
         VALUES (?1, ?2, ?3, ?4)",
        params![host.name, host.profile, host.is_enabled, host.created_ms],
    )
}

fn host(row: &Row<'_>) -> rusqlite::Result<HostRow> {
    Ok(HostRow {
        name: row.get(0)?,
        profile: row.get(1)?,
        is_enabled: row.get(2)?,
        created_ms: row.get(3)?,
    })
}
