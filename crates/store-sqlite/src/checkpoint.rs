//! Moving the write-ahead log into the file, apart from commits.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use rusqlite::Connection;

use crate::limits::{EMPTYING_PAUSE, EMPTYING_WAIT_MAX, LOCK_WAIT_MAX, LOG_PAGES_MAX};

/// A thread that makes a checkpoint when asked.
#[derive(Debug)]
pub(crate) struct Checkpointer {
    ask: Option<SyncSender<()>>,
    /// Whether the log is to be emptied.
    is_emptying: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Checkpointer {
    pub(crate) fn spawn(connection: Connection) -> io::Result<Self> {
        let (ask, asked) = sync_channel(1);
        let is_emptying = Arc::new(AtomicBool::new(false));
        let wishes = Wishes { asked, is_emptying: is_emptying.clone() };
        let thread = thread::Builder::new()
            .name("store-checkpoint".into())
            .spawn(move || run(&wishes, &connection))?;
        Ok(Self { ask: Some(ask), is_emptying, thread: Some(thread) })
    }

    /// Asks for a checkpoint soon. If one is asked for already, that one will do.
    pub(crate) fn ask(&self) {
        if let Some(ask) = &self.ask {
            _ = ask.try_send(());
        }
    }

    /// Asks for one that leaves nothing in the log: what was deleted must not stay readable there.
    pub(crate) fn ask_to_empty(&self) {
        self.is_emptying.store(true, Ordering::Release);
        self.ask();
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        self.ask = None;
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// Moves all of the log into the file and empties it.
pub(crate) fn truncate_log(connection: &Connection) -> rusqlite::Result<()> {
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
}

/// What the thread is asked for.
struct Wishes {
    asked: Receiver<()>,
    is_emptying: Arc<AtomicBool>,
}

impl Wishes {
    /// Waits for the next; with `is_owing` no longer than until something owed is tried again. False
    /// at the end.
    fn next(&self, is_owing: bool) -> bool {
        match is_owing {
            true => self.asked.recv_timeout(EMPTYING_PAUSE) != Err(RecvTimeoutError::Disconnected),
            false => self.asked.recv().is_ok(),
        }
    }
}

fn run(wishes: &Wishes, connection: &Connection) {
    let (mut owes_emptying, mut has_failed) = (false, false);
    while wishes.next(owes_emptying) {
        owes_emptying |= wishes.is_emptying.swap(false, Ordering::AcqRel);
        let outcome = match owes_emptying {
            true => empty(connection).map(|is_empty| owes_emptying = !is_empty),
            false => checkpoint(connection, LOG_PAGES_MAX),
        };
        if let Err(error) = &outcome
            && !has_failed
        {
            // The log only grows by it; the next one tries again.
            tracing::warn!(event = "checkpoint_failed", %error, "The write-ahead log could not be written back.");
        }
        has_failed = outcome.is_err();
    }
}

/// Empties the log, if nobody is in the way; whether it could.
fn empty(connection: &Connection) -> rusqlite::Result<bool> {
    // Most of the work, which disturbs nobody.
    connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))?;
    // While it waits for readers nothing is committed: not for long.
    connection.busy_timeout(EMPTYING_WAIT_MAX)?;
    let busy = connection
        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, bool>("busy"));
    connection.busy_timeout(LOCK_WAIT_MAX)?;
    Ok(!busy?)
}

fn checkpoint(connection: &Connection, log_pages_max: i64) -> rusqlite::Result<()> {
    let pages: i64 =
        connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| row.get("log"))?;
    if pages > log_pages_max {
        // Passive ones never disturb anybody, and so under steady load the log never starts over.
        connection.query_row("PRAGMA wal_checkpoint(RESTART)", [], |_| Ok(()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::connection::{open_checkpointer, open_reader, open_writer};

    use super::*;

    #[test]
    fn moves_the_log_into_the_file_and_lets_it_start_over() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("stentor.db");
        std::fs::File::create(&file).unwrap();
        let length = |name: &str| std::fs::metadata(folder.path().join(name)).unwrap().len();
        let writer = open_writer(&file).unwrap();
        writer
            .pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get::<_, String>(0))
            .unwrap();
        writer.execute_batch("CREATE TABLE t (bytes BLOB)").unwrap();
        let connection = open_checkpointer(&file).unwrap();
        let mut insert = writer.prepare("INSERT INTO t VALUES (zeroblob(100000))").unwrap();
        for _ in 0..20 {
            insert.execute([]).unwrap();
        }
        let log = length("stentor.db-wal");
        assert!(length("stentor.db") < 10_000 && log > 2_000_000, "only commits so far");
        checkpoint(&connection, LOG_PAGES_MAX).unwrap();
        assert!(length("stentor.db") > 2_000_000);
        for _ in 0..20 {
            insert.execute([]).unwrap();
            checkpoint(&connection, 10).unwrap();
        }
        assert!(length("stentor.db") > 4_000_000);
        assert_eq!(length("stentor.db-wal"), log, "old space is used again");
    }

    #[test]
    fn empties_the_log_once_nobody_reads_what_it_holds() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("stentor.db");
        std::fs::File::create(&file).unwrap();
        let length = || std::fs::metadata(folder.path().join("stentor.db-wal")).unwrap().len();
        let writer = open_writer(&file).unwrap();
        writer
            .pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get::<_, String>(0))
            .unwrap();
        writer.execute_batch("CREATE TABLE t (n INTEGER)").unwrap();
        let reader = open_reader(&file).unwrap();
        reader.execute_batch("BEGIN; SELECT * FROM t").unwrap();
        writer.execute_batch("INSERT INTO t VALUES (1)").unwrap();
        let connection = open_checkpointer(&file).unwrap();
        assert!(!empty(&connection).unwrap());
        assert!(length() > 0);
        reader.execute_batch("COMMIT").unwrap();
        assert!(empty(&connection).unwrap());
        assert_eq!(length(), 0);
    }
}
