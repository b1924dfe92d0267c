//! What goes wrong while opening, and how SQLite's codes become [`StoreError`].

use std::io;
use std::path::PathBuf;

use rusqlite::ErrorCode;
use stentor_store::StoreError;

/// Why the store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder or a file in it cannot be made or used.
    #[error("cannot use `{path}`")]
    Path {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another server has the folder open.
    #[error(
        "the data folder `{folder}` is in use by another server; stop that one, or set another \
         folder"
    )]
    Locked {
        /// Which.
        folder: PathBuf,
    },
    /// The file is damaged. It is left as it is.
    #[error(
        "`{file}` is damaged ({detail}); nothing was changed. To go on, move this file and the \
         files `{file}-wal` and `{file}-shm` away, and put a backup in its place"
    )]
    Corrupt {
        /// Which.
        file: PathBuf,
        /// What was found.
        detail: String,
    },
    /// The file was written by a later release.
    #[error(
        "`{file}` has schema version {found}, and this release knows versions up to {known}; \
         start the release that wrote it, or a later one"
    )]
    Newer {
        /// Which.
        file: PathBuf,
        /// Its version.
        found: u32,
        /// Ours.
        known: u32,
    },
    /// The file is a database of another program.
    #[error("`{file}` is a database of another program; set another data folder")]
    Foreign {
        /// Which.
        file: PathBuf,
    },
    /// The file system cannot share the log between connections.
    #[error("`{file}` cannot use a write-ahead log; put the data folder on a local file system")]
    NoLog {
        /// Which.
        file: PathBuf,
    },
    /// SQLite failed.
    #[error("cannot open `{file}`")]
    Sqlite {
        /// Which.
        file: PathBuf,
        /// What it said.
        source: rusqlite::Error,
    },
    /// What was archived last cannot be taken up.
    #[error("cannot take up the archive in `{file}`")]
    Archive {
        /// Which.
        file: PathBuf,
        /// What went wrong.
        source: StoreError,
    },
    /// The system refuses another thread.
    #[error("cannot start a thread of the store")]
    Thread(#[source] io::Error),
}

/// Turns an error of SQLite into the store's.
pub(crate) fn store_error(error: rusqlite::Error) -> StoreError {
    let (failure, text) = match error {
        rusqlite::Error::SqliteFailure(failure, text) => (failure, text),
        // A column of the wrong type, text that is not UTF-8: the row is not what we wrote.
        other => return StoreError::Corrupt(other.to_string().into()),
    };
    let detail = || text.unwrap_or_else(|| failure.to_string()).into();
    match failure.code {
        ErrorCode::DiskFull => StoreError::Full,
        ErrorCode::SystemIoFailure if failure.extended_code == IOERR_SHMSIZE => StoreError::Full,
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => StoreError::Busy,
        ErrorCode::ConstraintViolation => StoreError::Conflict,
        ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => StoreError::Corrupt(detail()),
        _ => StoreError::Unreachable(detail()),
    }
}

/// Turns an error of SQLite while opening `file` into the one for the operator.
pub(crate) fn open_error(file: PathBuf, error: rusqlite::Error) -> OpenError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            OpenError::Corrupt { file, detail: error.to_string() }
        }
        _ => OpenError::Sqlite { file, source: error },
    }
}

/// The shared-memory file cannot grow, which has no other cause than a full disk.
const IOERR_SHMSIZE: i32 = rusqlite::ffi::SQLITE_IOERR_SHMSIZE;

#[cfg(test)]
mod tests {
    use rusqlite::ffi;

    use super::*;

    fn mapped(code: i32) -> StoreError {
        store_error(rusqlite::Error::SqliteFailure(ffi::Error::new(code), Some("why".into())))
    }

    #[test]
    fn codes_become_what_the_caller_must_do() {
        assert_eq!(mapped(ffi::SQLITE_FULL), StoreError::Full);
        assert_eq!(mapped(ffi::SQLITE_IOERR_SHMSIZE), StoreError::Full);
        assert_eq!(mapped(ffi::SQLITE_BUSY), StoreError::Busy);
        assert_eq!(mapped(ffi::SQLITE_CONSTRAINT_UNIQUE), StoreError::Conflict);
        assert_eq!(mapped(ffi::SQLITE_CORRUPT), StoreError::Corrupt("why".into()));
        assert_eq!(mapped(ffi::SQLITE_IOERR_WRITE), StoreError::Unreachable("why".into()));
    }
}
