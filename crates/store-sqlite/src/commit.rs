//! Batches into transactions.

use std::sync::Arc;

use parking_lot::Mutex;
use rusqlite::{Connection, TransactionBehavior};
use stentor_store::{Backend, Stage, StoreError};

use crate::apply::apply;
use crate::checkpoint::{Checkpointer, truncate_log};
use crate::error::store_error;
use crate::files::Folder;
use crate::limits::CHECKPOINT_PAGES;
use crate::sessions::superseded;

/// The writing end of a database.
#[derive(Debug)]
pub(crate) struct Committer {
    connection: Arc<Mutex<Connection>>,
    checkpointer: Option<Checkpointer>,
    /// Ours for as long as anything can be written.
    _folder: Option<Arc<Folder>>,
    /// An estimate of the pages written since the last checkpoint was asked for.
    pages: u64,
}

impl Committer {
    /// A database in memory has no folder and nothing to checkpoint.
    pub(crate) fn in_memory(connection: Arc<Mutex<Connection>>) -> Self {
        Self { connection, checkpointer: None, _folder: None, pages: 0 }
    }

    pub(crate) fn on_disk(
        connection: Connection,
        checkpointer: Checkpointer,
        folder: Arc<Folder>,
    ) -> Self {
        let connection = Arc::new(Mutex::new(connection));
        Self { connection, checkpointer: Some(checkpointer), _folder: Some(folder), pages: 0 }
    }

    fn count_pages(&mut self, stages: &[Stage]) {
        let written: usize = stages
            .iter()
            .map(|stage| PAGES_PER_WRITE * stage.len() + stage.bytes_len() / 4096)
            .sum();
        self.pages += written as u64;
        if self.pages >= CHECKPOINT_PAGES {
            self.pages = 0;
            self.checkpointer.iter().for_each(Checkpointer::ask);
        }
    }
}

impl Backend for Committer {
    fn commit(&mut self, stages: &[Stage]) -> Vec<Result<(), StoreError>> {
        self.count_pages(stages);
        let results = commit(&mut self.connection.lock(), stages);
        if results.contains(&Err(StoreError::Full)) {
            // What the log holds may still fit into the file, and then the log has room again.
            self.checkpointer.iter().for_each(Checkpointer::ask);
        }
        results
    }

    fn close(&mut self) -> Result<(), StoreError> {
        if self.checkpointer.take().is_none() {
            return Ok(());
        }
        truncate_log(&self.connection.lock()).map_err(store_error)
    }
}

fn commit(connection: &mut Connection, stages: &[Stage]) -> Vec<Result<(), StoreError>> {
    match together(connection, stages) {
        Ok(()) => vec![Ok(()); stages.len()],
        Err(error) if stages.len() == 1 => vec![Err(error)],
        Err(error) if error.is_of_the_stage() => {
            apart(connection, stages).unwrap_or_else(|_| one_by_one(connection, stages))
        }
        Err(_) => one_by_one(connection, stages),
    }
}

/// All stages in one transaction, or none.
fn together(connection: &mut Connection, stages: &[Stage]) -> Result<(), StoreError> {
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(store_error)?;
    let mut needless = superseded(stages).into_iter().peekable();
    for (place, write) in stages.iter().flat_map(Stage::writes).enumerate() {
        if needless.next_if_eq(&place).is_none() {
            apply(&transaction, write)?;
        }
    }
    transaction.commit().map_err(store_error)
}

/// All good stages in one transaction; a bad one is undone by itself.
fn apart(
    connection: &mut Connection,
    stages: &[Stage],
) -> Result<Vec<Result<(), StoreError>>, StoreError> {
    let mut transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(store_error)?;
    let mut results = Vec::with_capacity(stages.len());
    for stage in stages {
        let mut part = transaction.savepoint().map_err(store_error)?;
        let result = stage.writes().iter().try_for_each(|write| apply(&part, write));
        match &result {
            Ok(()) => part.commit().map_err(store_error)?,
            Err(error) if error.is_of_the_stage() => {
                part.rollback().and_then(|()| part.finish()).map_err(store_error)?;
            }
            // SQLite may have ended the whole transaction: nothing before it counts.
            Err(error) => return Err(error.clone()),
        }
        results.push(result);
    }
    transaction.commit().map_err(store_error)?;
    Ok(results)
}

/// Each stage in its own transaction, so that a full disk still takes what fits.
fn one_by_one(connection: &mut Connection, stages: &[Stage]) -> Vec<Result<(), StoreError>> {
    let mut unavailable = None;
    let mut commit = |stage| {
        if let Some(error) = &unavailable {
            return Err(StoreError::clone(error));
        }
        let result = together(connection, std::slice::from_ref(stage));
        if let Err(error @ (StoreError::Busy | StoreError::Unreachable(_))) = &result {
            // The next one would wait as long for the same answer.
            unavailable = Some(error.clone());
        }
        result
    };
    stages.iter().map(&mut commit).collect()
}

/// Pages that a small write dirties: its table, an index, and their share of inner pages.
const PAGES_PER_WRITE: usize = 3;
