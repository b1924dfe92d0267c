//! The data folder: who may use it, and with what permissions.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::OpenError;

/// A data folder that is ours until this is dropped.
#[derive(Debug)]
pub(crate) struct Folder {
    database: PathBuf,
    _lock: File,
}

impl Folder {
    /// Makes the folder if need be and locks it.
    pub(crate) fn open(path: &Path) -> Result<Self, OpenError> {
        make_folder(path)?;
        let lock = lock(path)?;
        let database = path.join(DATABASE);
        make_private(&database)?;
        Ok(Self { database, _lock: lock })
    }

    /// The database file.
    pub(crate) fn database(&self) -> &Path {
        &self.database
    }

    /// Makes an empty database file if there is none. Says whether it did.
    pub(crate) fn make_database(&self) -> Result<bool, OpenError> {
        let log = with_suffix(&self.database, "-wal");
        let length = fs::metadata(&self.database).map_or(0, |found| found.len());
        if length > 0 {
            return Ok(false);
        }
        // A log without its file is what remains of a lost database. SQLite would delete it.
        if fs::metadata(&log).is_ok_and(|found| found.len() > 0) {
            return Err(OpenError::Corrupt {
                file: self.database.clone(),
                detail: "the file is missing or empty, but its log is there".into(),
            });
        }
        create_private(&self.database, false)
            .and_then(|file| file.sync_all())
            .and_then(|()| sync_parent(&self.database))
            .map_err(|source| OpenError::Path { path: self.database.clone(), source })?;
        Ok(true)
    }
}

/// Creates a file that only its owner may read.
pub(crate) fn create_private(path: &Path, must_be_new: bool) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).mode(FILE_MODE);
    if must_be_new { options.create_new(true) } else { options.create(true) }.open(path)
}

/// Makes the creation or renaming of `path` survive a power failure.
pub(crate) fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}

/// The path with `suffix` behind its last component.
pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn make_folder(path: &Path) -> Result<(), OpenError> {
    let failed = |source| OpenError::Path { path: path.to_owned(), source };
    if !path.is_dir() {
        return DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(path).map_err(failed);
    }
    let mode = fs::metadata(path).map_err(failed)?.permissions().mode();
    if mode & OTHERS != 0 {
        // Not changed here: it may be a folder that others share on purpose.
        tracing::warn!(event = "folder_open", folder = %path.display(), "other users may look into the data folder");
    }
    Ok(())
}

fn lock(folder: &Path) -> Result<File, OpenError> {
    let path = folder.join(LOCK);
    let file = create_private(&path, false);
    let file = file.map_err(|source| OpenError::Path { path: path.clone(), source })?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::Locked { folder: folder.to_owned() }),
        Err(TryLockError::Error(source)) => Err(OpenError::Path { path, source }),
    }
}

/// Takes rights to our files from everybody else. SQLite gives new logs the mode of the database.
fn make_private(database: &Path) -> Result<(), OpenError> {
    for suffix in ["", "-wal", "-shm"] {
        let path = with_suffix(database, suffix);
        let Ok(found) = fs::metadata(&path) else { continue };
        if found.permissions().mode() & OTHERS != 0 {
            fs::set_permissions(&path, Permissions::from_mode(FILE_MODE))
                .map_err(|source| OpenError::Path { path, source })?;
        }
    }
    Ok(())
}

const DATABASE: &str = "stentor.db";
const LOCK: &str = "stentor.lock";
const FOLDER_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;
/// Any right of the group or of everybody.
const OTHERS: u32 = 0o077;
