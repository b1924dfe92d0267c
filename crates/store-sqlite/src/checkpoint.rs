//! Moving the write-ahead log into the file, apart from commits.

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use rusqlite::Connection;

use crate::limits::LOG_PAGES_MAX;

/// A thread that makes a checkpoint when asked.
#[derive(Debug)]
pub(crate) struct Checkpointer {
    ask: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Checkpointer {
    pub(crate) fn spawn(connection: Connection) -> io::Result<Self> {
        let (ask, asked) = sync_channel(1);
        let thread = thread::Builder::new()
            .name("store-checkpoint".into())
            .spawn(move || run(&asked, &connection))?;
        Ok(Self { ask: Some(ask), thread: Some(thread) })
    }

    /// Asks for a checkpoint soon. If one is asked for already, that one will do.
    pub(crate) fn ask(&self) {
        if let Some(ask) = &self.ask {
            _ = ask.try_send(());
        }
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

fn run(asked: &Receiver<()>, connection: &Connection) {
    while asked.recv().is_ok() {
        if let Err(error) = checkpoint(connection, LOG_PAGES_MAX) {
            // The log only grows by it; the next one tries again.
            tracing::warn!(%error, "checkpoint failed");
        }
    }
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
    use crate::connection::{open_checkpointer, open_writer};

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
}
