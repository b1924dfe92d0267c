//! Connections and their settings.

use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use crate::limits::{
    LOCK_WAIT_MAX, LOG_BYTES_KEPT, READER_CACHE_KIB, STATEMENTS_MAX, WRITER_CACHE_KIB,
};

/// Opens the file for the writer. The file must exist.
pub(crate) fn open_writer(file: &Path) -> rusqlite::Result<Connection> {
    let connection = open(file, WRITER_CACHE_KIB)?;
    // Checkpoints have their own connection: inside a commit they would stall every sender.
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    connection.pragma_update(None, "journal_size_limit", LOG_BYTES_KEPT)?;
    set_up_writing(&connection)?;
    Ok(connection)
}

/// Opens the file for a reader, which cannot write.
pub(crate) fn open_reader(file: &Path) -> rusqlite::Result<Connection> {
    let connection = open(file, READER_CACHE_KIB)?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

/// Opens the file for checkpoints.
pub(crate) fn open_checkpointer(file: &Path) -> rusqlite::Result<Connection> {
    let connection = open(file, READER_CACHE_KIB)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "journal_size_limit", LOG_BYTES_KEPT)?;
    Ok(connection)
}

/// Opens a database that lives as long as its connection.
pub(crate) fn open_memory() -> rusqlite::Result<Connection> {
    let connection = Connection::open_in_memory()?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    set_up_writing(&connection)?;
    Ok(connection)
}

/// Gives back the memory of a connection that is not used for now: its page cache. What it read is
/// still in the system's.
pub(crate) fn give_back(connection: &Connection) {
    if let Err(error) = connection.execute_batch("PRAGMA shrink_memory") {
        tracing::warn!(event = "memory_kept", %error, "memory could not be given back");
    }
}

fn open(file: &Path, cache_kib: u32) -> rusqlite::Result<Connection> {
    // No CREATE: a file that has vanished is an error, not a new database.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(file, flags)?;
    connection.busy_timeout(LOCK_WAIT_MAX)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    connection.pragma_update(None, "cache_size", -i64::from(cache_kib))?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    // A failing disk under mapped memory would end the process instead of one read.
    connection.pragma_update(None, "mmap_size", 0)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    Ok(connection)
}

fn set_up_writing(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    // What was delivered or deleted must not stay readable in the file.
    connection.pragma_update(None, "secure_delete", true)
}
