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
        if let Err(error) = checkpoint(connection) {
            // The log only grows by it; the next one tries again.
            tracing::warn!(%error, "checkpoint failed");
        }
    }
}

fn checkpoint(connection: &Connection) -> rusqlite::Result<()> {
    let pages: i64 =
        connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| row.get("log"))?;
    if pages > LOG_PAGES_MAX {
        // Passive ones never disturb anybody, and so under steady load the log never starts over.
        connection.query_row("PRAGMA wal_checkpoint(RESTART)", [], |_| Ok(()))?;
    }
    Ok(())
}
