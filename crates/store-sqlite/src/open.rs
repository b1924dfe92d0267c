//! Opening and closing.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use rusqlite::Connection;
use stentor_jid::BareJid;
use stentor_store::{Boxed, Domain, Stores, Write, Writer, WriterLimits};

use crate::accounts::AccountsDb;
use crate::archive::{ArchiveDb, Archiver, Tail};
use crate::backup::back_up;
use crate::checkpoint::Checkpointer;
use crate::commit::Committer;
use crate::connection::{give_back, open_checkpointer, open_memory, open_reader, open_writer};
use crate::data::DataDb;
use crate::error::open_error;
use crate::files::Folder;
use crate::hosts::HostsDb;
use crate::last::LastDb;
use crate::limits::{FOLD_ENTRIES, READERS};
use crate::offline::OfflineDb;
use crate::private::PrivateDb;
use crate::pubsub::PubsubDb;
use crate::readers::Readers;
use crate::roster::RosterDb;
use crate::sessions::SessionsDb;
use crate::underway::UnderwayDb;
use crate::vcard::VcardDb;
use crate::{OpenError, migrate};

/// An open database. Dropping the last of its clones and stores closes it.
#[derive(Clone, Debug)]
pub struct Sqlite {
    inner: Arc<Inner>,
}

/// How to open a database.
#[derive(Clone, Debug)]
pub struct Options {
    /// Threads that read, at least one.
    pub readers: usize,
    /// Bytes that the file may grow to; the disk is the limit if there is none.
    pub file_bytes_max: Option<u64>,
    /// Whether the whole file is checked at the start. It reads all of it.
    pub checks_file: bool,
    /// Limits of the writer.
    pub writer: WriterLimits,
    /// Whether the words of archived messages are entered into an index. Switched on again, opening
    /// enters those that were kept meanwhile.
    pub searches_text: bool,
    /// Archived messages that are appended before they are sorted in together.
    pub fold_entries: usize,
}

/// What the domains share.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) writer: Writer,
    pub(crate) readers: Arc<Readers>,
    /// The database itself, if it is in memory.
    memory: Option<Arc<Mutex<Connection>>>,
    /// Archived messages that readers find here and not yet in the tables.
    pub(crate) tail: Arc<Tail>,
    pub(crate) searches_text: bool,
    // Last, so that the folder is ours until every connection is closed.
    _folder: Option<Arc<Folder>>,
}

impl Sqlite {
    /// Opens the database in `folder`, makes it if there is none, and brings it up to date.
    ///
    /// Blocks while it reads the file. Folder and files are made for their owner alone.
    ///
    /// # Errors
    ///
    /// Another server has the folder, the file is damaged, foreign or newer, or the system refuses;
    /// an existing file is then left as it was.
    pub fn open(folder: &Path, options: &Options) -> Result<Self, OpenError> {
        let folder = Arc::new(Folder::open(folder)?);
        let file = folder.database().to_owned();
        let mut connection = prepare(&folder, options)?;
        let failed = |error| open_error(file.clone(), error);
        let (archiver, tail) = archiver(&mut connection, options, &file)?;
        let mut readers = Vec::new();
        for _ in 0..options.readers.max(1) {
            readers.push(open_reader(&file).map_err(failed)?);
        }
        let readers = Readers::spawn(readers).map_err(OpenError::Thread)?;
        let checkpointer = Checkpointer::spawn(open_checkpointer(&file).map_err(failed)?)
            .map_err(OpenError::Thread)?;
        let committer = Committer::on_disk(connection, archiver, checkpointer, Arc::clone(&folder));
        let writer = Writer::spawn(committer, options.writer).map_err(OpenError::Thread)?;
        let readers = Arc::new(readers);
        let (searches_text, folder) = (options.searches_text, Some(folder));
        let inner = Inner { writer, readers, memory: None, tail, searches_text, _folder: folder };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// A database in memory, with the writer in a thread as on disk.
    ///
    /// # Errors
    ///
    /// The system refuses memory or a thread.
    pub fn in_memory(options: &Options) -> Result<Self, OpenError> {
        let (connection, archiver, tail) = in_memory(options)?;
        let committer = Committer::in_memory(Arc::clone(&connection), archiver);
        let writer = Writer::spawn(committer, options.writer).map_err(OpenError::Thread)?;
        Ok(Self::of_memory(writer, connection, tail, options))
    }

    /// A database in memory without threads: every stage is committed once it is submitted, every
    /// read is ready when first asked. For tests under a virtual clock.
    ///
    /// # Errors
    ///
    /// The system refuses memory.
    pub fn in_memory_inline(options: &Options) -> Result<Self, OpenError> {
        let (connection, archiver, tail) = in_memory(options)?;
        let committer = Committer::in_memory(Arc::clone(&connection), archiver);
        let writer = Writer::inline(committer, options.writer);
        Ok(Self::of_memory(writer, connection, tail, options))
    }

    /// A database in memory that commits what waits only when [`Writer::step`] is called.
    ///
    /// # Errors
    ///
    /// The system refuses memory.
    pub fn in_memory_stepped(options: &Options) -> Result<Self, OpenError> {
        let (connection, ..) = in_memory(options)?;
        Self::stepped_over(connection, options)
    }

    /// The same database in memory as a process that starts after a crash finds it: what was not
    /// committed is lost. None for a database on disk.
    #[must_use]
    pub fn crashed(&self, options: &Options) -> Option<Self> {
        Self::stepped_over(self.inner.memory.clone()?, options).ok()
    }

    fn stepped_over(
        connection: Arc<Mutex<Connection>>,
        options: &Options,
    ) -> Result<Self, OpenError> {
        let (archiver, tail) = archiver(&mut connection.lock(), options, Path::new(MEMORY))?;
        let committer = Committer::in_memory(Arc::clone(&connection), archiver);
        let writer = Writer::stepped(committer, options.writer);
        Ok(Self::of_memory(writer, connection, tail, options))
    }

    fn of_memory(
        writer: Writer,
        connection: Arc<Mutex<Connection>>,
        tail: Arc<Tail>,
        options: &Options,
    ) -> Self {
        let readers = Arc::new(Readers::inline(Arc::clone(&connection)));
        let (memory, searches_text) = (Some(connection), options.searches_text);
        let inner = Inner { writer, readers, memory, tail, searches_text, _folder: None };
        Self { inner: Arc::new(inner) }
    }

    /// All domains over this database.
    pub fn stores(&self) -> Stores {
        let inner = || Arc::clone(&self.inner);
        Stores {
            accounts: Arc::new(AccountsDb(inner())),
            archive: Arc::new(ArchiveDb(inner())),
            data: Arc::new(DataDb(inner())),
            hosts: Arc::new(HostsDb(inner())),
            last: Arc::new(LastDb(inner())),
            offline: Arc::new(OfflineDb(inner())),
            private: Arc::new(PrivateDb(inner())),
            pubsub: Arc::new(PubsubDb(inner())),
            roster: Arc::new(RosterDb(inner())),
            sessions: Arc::new(SessionsDb(inner())),
            underway: Arc::new(UnderwayDb(inner())),
            vcard: Arc::new(VcardDb(inner())),
            writer: self.inner.writer.clone(),
        }
    }

    /// Copies the database, as it is at one moment, to the new file `to` while the server runs.
    ///
    /// The copy holds all that was committed before the call. It appears under its name once it is
    /// complete, checked and on disk.
    ///
    /// # Errors
    ///
    /// `Conflict` if `to` exists; otherwise whatever kept the copy from being made.
    pub fn back_up(&self, to: PathBuf) -> Boxed<()> {
        self.inner.readers.read(move |connection| back_up(connection, &to))
    }

    /// Commits what waits and ends the writer. Reads go on until the last clone is dropped.
    pub fn stop(&self) -> Boxed<()> {
        self.inner.writer.stop()
    }
}

impl Inner {
    /// Stages one write and waits for it.
    pub(crate) fn commit(&self, write: Write) -> Boxed<()> {
        Box::pin(self.writer.submit(write))
    }

    /// Removes one domain of an account.
    pub(crate) fn forget(&self, owner: &BareJid, domain: Domain) -> Boxed<()> {
        self.commit(Write::Forget { owner: owner.clone(), domain })
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            readers: READERS,
            file_bytes_max: None,
            checks_file: true,
            writer: WriterLimits::default(),
            searches_text: true,
            fold_entries: FOLD_ENTRIES,
        }
    }
}

fn prepare(folder: &Folder, options: &Options) -> Result<Connection, OpenError> {
    let file = folder.database();
    let failed = |error| open_error(file.to_owned(), error);
    let is_new = folder.make_database()?;
    let mut connection = open_writer(file).map_err(failed)?;
    if is_new {
        migrate::mark(&connection).map_err(failed)?;
    } else {
        if options.checks_file {
            check_file(&connection, file)?;
            give_back(&connection);
        }
        migrate::check(&connection, file)?;
    }
    let mode: String = connection
        .pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))
        .map_err(failed)?;
    if mode != "wal" {
        return Err(OpenError::NoLog { file: file.to_owned() });
    }
    migrate::migrate(&mut connection).map_err(failed)?;
    limit_size(&connection, options).map_err(failed)?;
    Ok(connection)
}

fn check_file(connection: &Connection, file: &Path) -> Result<(), OpenError> {
    let found: String = connection
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .map_err(|error| open_error(file.to_owned(), error))?;
    if found == "ok" {
        Ok(())
    } else {
        Err(OpenError::Corrupt { file: file.to_owned(), detail: found })
    }
}

type InMemory = (Arc<Mutex<Connection>>, Archiver, Arc<Tail>);

fn in_memory(options: &Options) -> Result<InMemory, OpenError> {
    let failed = |error| open_error(PathBuf::from(MEMORY), error);
    let mut connection = open_memory().map_err(failed)?;
    migrate::mark(&connection).map_err(failed)?;
    migrate::migrate(&mut connection).map_err(failed)?;
    limit_size(&connection, options).map_err(failed)?;
    let (archiver, tail) = archiver(&mut connection, options, Path::new(MEMORY))?;
    Ok((Arc::new(Mutex::new(connection)), archiver, tail))
}

fn archiver(
    connection: &mut Connection,
    options: &Options,
    file: &Path,
) -> Result<(Archiver, Arc<Tail>), OpenError> {
    let tail = Arc::new(Tail::default());
    let archiver = Archiver::open(connection, Arc::clone(&tail), options);
    match archiver {
        Ok(archiver) => Ok((archiver, tail)),
        Err(error) => Err(OpenError::Archive { file: file.to_owned(), source: error }),
    }
}

fn limit_size(connection: &Connection, options: &Options) -> rusqlite::Result<()> {
    let Some(bytes) = options.file_bytes_max else { return Ok(()) };
    let page_bytes: u32 = connection.pragma_query_value(None, "page_size", |row| row.get(0))?;
    let pages = i64::try_from(bytes / u64::from(page_bytes.max(1))).unwrap_or(i64::MAX).max(1);
    // SQLite answers with what it set, never below the present size.
    connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))
}

/// What errors call a database without a file.
const MEMORY: &str = ":memory:";
