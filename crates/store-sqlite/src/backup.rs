//! Copies of a database in use.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};
use stentor_store::StoreError;

use crate::error::store_error;
use crate::files::{create_private, sync_parent, with_suffix};

/// Copies the database of `source`, as it is now, to the new file `to`.
pub(crate) fn back_up(source: &Connection, to: &Path) -> Result<(), StoreError> {
    if to.exists() {
        return Err(StoreError::Conflict);
    }
    // Numbered, so that two at once do not write the same file.
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let part = with_suffix(to, &format!(".{}-{number}.partial", std::process::id()));
    let result =
        copy(source, &part).and_then(|()| publish(&part, to).map_err(|error| io_error(&error)));
    if result.is_err() {
        drop(fs::remove_file(&part));
    }
    result
}

fn copy(source: &Connection, part: &Path) -> Result<(), StoreError> {
    create_private(part, true).map_err(|error| io_error(&error))?;
    let mut target = Connection::open(part).map_err(store_error)?;
    let backup = Backup::new(source, &mut target).map_err(store_error)?;
    // In one step: between steps a writer would make it start again. It reads a snapshot and holds
    // up nobody.
    match backup.step(-1).map_err(store_error)? {
        StepResult::Done => {}
        _ => return Err(StoreError::Busy),
    }
    drop(backup);
    // A single file, readable where no log can be made.
    let mode: String = target
        .pragma_update_and_check(None, "journal_mode", "DELETE", |row| row.get(0))
        .map_err(store_error)?;
    let check: String =
        target.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(store_error)?;
    if check != "ok" || mode == "wal" {
        return Err(StoreError::Corrupt(format!("the copy: {check}").into()));
    }
    target.close().map_err(|(_, error)| store_error(error))
}

fn publish(part: &Path, to: &Path) -> io::Result<()> {
    File::open(part)?.sync_all()?;
    // Unlike a rename, a link never replaces what is there.
    fs::hard_link(part, to)?;
    fs::remove_file(part)?;
    sync_parent(to)
}

fn io_error(error: &io::Error) -> StoreError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::Full,
        io::ErrorKind::AlreadyExists => StoreError::Conflict,
        _ => StoreError::Unreachable(error.to_string().into()),
    }
}

static NUMBER: AtomicU32 = AtomicU32::new(0);
