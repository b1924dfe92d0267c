//! Batches into transactions.

use std::sync::Arc;

use parking_lot::Mutex;
use rusqlite::{Connection, Transaction, TransactionBehavior};
use stentor_store::{Backend, Stage, StoreError, Write};

use crate::apply::apply_stage;
use crate::archive::Archiver;
use crate::checkpoint::{Checkpointer, truncate_log};
use crate::connection::give_back;
use crate::error::store_error;
use crate::files::Folder;
use crate::limits::CHECKPOINT_PAGES;
use crate::supersede::superseded;

/// The writing end of a database.
#[derive(Debug)]
pub(crate) struct Committer {
    connection: Arc<Mutex<Connection>>,
    archiver: Archiver,
    checkpointer: Option<Checkpointer>,
    /// Ours for as long as anything can be written.
    _folder: Option<Arc<Folder>>,
    /// An estimate of the pages written since the last checkpoint was asked for.
    pages: u64,
}

impl Committer {
    /// A database in memory has no folder and nothing to checkpoint.
    pub(crate) fn in_memory(connection: Arc<Mutex<Connection>>, archiver: Archiver) -> Self {
        Self { connection, archiver, checkpointer: None, _folder: None, pages: 0 }
    }

    pub(crate) fn on_disk(
        connection: Connection,
        archiver: Archiver,
        checkpointer: Checkpointer,
        folder: Arc<Folder>,
    ) -> Self {
        let connection = Arc::new(Mutex::new(connection));
        let (checkpointer, folder) = (Some(checkpointer), Some(folder));
        Self { connection, archiver, checkpointer, _folder: folder, pages: 0 }
    }

    fn count_pages(&mut self, stages: &[Stage], folded: usize) {
        let written: usize = stages
            .iter()
            .map(|stage| PAGES_PER_WRITE * scattered(stage) + stage.bytes_len() / 4096)
            .sum();
        self.pages += (written + folded) as u64;
        if self.pages >= CHECKPOINT_PAGES {
            self.pages = 0;
            self.checkpointer.iter().for_each(Checkpointer::ask);
        }
    }
}

impl Backend for Committer {
    fn commit(&mut self, stages: &[Stage]) -> Vec<Result<(), StoreError>> {
        let mut connection = self.connection.lock();
        let mut transactions =
            Transactions { connection: &mut connection, archiver: &mut self.archiver, folded: 0 };
        let results = transactions.commit(stages);
        let folded = transactions.folded;
        drop(connection);
        self.count_pages(stages, folded);
        let deletes = |write: &Write| matches!(write, Write::DeleteAccount { .. });
        if stages.iter().any(|stage| stage.writes().iter().any(deletes)) {
            self.checkpointer.iter().for_each(Checkpointer::ask_to_empty);
        }
        if results.contains(&Err(StoreError::Full)) {
            // What the log holds may still fit into the file, and then the log has room again.
            self.checkpointer.iter().for_each(Checkpointer::ask);
        }
        results
    }

    fn rest(&mut self) {
        give_back(&self.connection.lock());
    }

    fn close(&mut self) -> Result<(), StoreError> {
        if self.checkpointer.take().is_none() {
            return Ok(());
        }
        truncate_log(&self.connection.lock()).map_err(store_error)
    }
}

/// One batch on its way into the database.
struct Transactions<'a> {
    connection: &'a mut Connection,
    archiver: &'a mut Archiver,
    /// Archived messages that were entered by the way.
    folded: usize,
}

impl Transactions<'_> {
    fn commit(&mut self, stages: &[Stage]) -> Vec<Result<(), StoreError>> {
        match self.together(stages) {
            Ok(()) => vec![Ok(()); stages.len()],
            Err(error) if stages.len() == 1 => vec![Err(error)],
            Err(error) if error.is_of_the_stage() => {
                self.apart(stages).unwrap_or_else(|_| self.one_by_one(stages))
            }
            Err(_) => self.one_by_one(stages),
        }
    }

    /// All stages in one transaction, or none.
    fn together(&mut self, stages: &[Stage]) -> Result<(), StoreError> {
        self.transaction(|transaction, archiver| {
            let mut places = 0..;
            let mut superseded = superseded(stages).into_iter().peekable();
            let mut is_needless =
                || places.next().is_some_and(|at| superseded.next_if_eq(&at).is_some());
            stages
                .iter()
                .try_for_each(|stage| apply_stage(transaction, archiver, stage, &mut is_needless))
        })
    }

    /// All good stages in one transaction; a bad one is undone by itself.
    fn apart(&mut self, stages: &[Stage]) -> Result<Vec<Result<(), StoreError>>, StoreError> {
        self.transaction(|transaction, archiver| {
            let mut results = Vec::with_capacity(stages.len());
            for stage in stages {
                let mark = archiver.mark();
                let mut part = transaction.savepoint().map_err(store_error)?;
                let result = apply_stage(&part, archiver, stage, || false);
                match &result {
                    Ok(()) => part.commit().map_err(store_error)?,
                    Err(error) if error.is_of_the_stage() => {
                        archiver.return_to(mark);
                        part.rollback().and_then(|()| part.finish()).map_err(store_error)?;
                    }
                    // SQLite may have ended the whole transaction: nothing before it counts.
                    Err(error) => return Err(error.clone()),
                }
                results.push(result);
            }
            Ok(results)
        })
    }

    /// Each stage in its own transaction, so that a full disk still takes what fits.
    fn one_by_one(&mut self, stages: &[Stage]) -> Vec<Result<(), StoreError>> {
        let mut unavailable = None;
        let mut commit = |stage| {
            if let Some(error) = &unavailable {
                return Err(StoreError::clone(error));
            }
            let result = self.together(std::slice::from_ref(stage));
            if let Err(error @ (StoreError::Busy | StoreError::Unreachable(_))) = &result {
                // The next one would wait as long for the same answer.
                unavailable = Some(error.clone());
            }
            result
        };
        stages.iter().map(&mut commit).collect()
    }

    fn transaction<T>(
        &mut self,
        work: impl FnOnce(&mut Transaction<'_>, &mut Archiver) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let result = self.run(work);
        if result.is_ok() {
            self.archiver.publish();
        } else {
            self.archiver.abandon();
        }
        result
    }

    fn run<T>(
        &mut self,
        work: impl FnOnce(&mut Transaction<'_>, &mut Archiver) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(store_error)?;
        let done = work(&mut transaction, self.archiver)?;
        self.folded += self.archiver.keep_up(&transaction)?;
        transaction.commit().map_err(store_error)?;
        Ok(done)
    }
}

/// Writes of a stage that go to places of their own; archived messages are appended.
fn scattered(stage: &Stage) -> usize {
    let is_scattered = |write: &&Write| !matches!(write, Write::PutArchive { .. });
    stage.writes().iter().filter(is_scattered).count()
}

/// Pages that a small write dirties: its table, an index, and their share of inner pages.
const PAGES_PER_WRITE: usize = 3;
