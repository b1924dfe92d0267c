//! Adding entries: what a commit does for the archive.

use std::collections::HashMap;
use std::sync::Arc;

use rusqlite::{Connection, params};
use stentor_jid::BareJid;
use stentor_store::{ArchiveEntry, StoreError, Write};

use crate::Options;
use crate::apply::run;
use crate::archive::tail::{Entry, Tail};
use crate::archive::{SENT, fold};
use crate::checksum::crc32;
use crate::error::store_error;
use crate::limits::ARCHIVE_OWNERS_MAX;
use crate::rows::{one, value};

/// The writer's side of the archive.
#[derive(Debug)]
pub(crate) struct Archiver {
    tail: Arc<Tail>,
    /// Whether words are entered into the index.
    pub(super) searches_text: bool,
    /// Entries at which the tail is folded, and at which it is tried next.
    fold_entries: usize,
    fold_at: usize,
    /// The row of the next message.
    next_message: i64,
    owners: HashMap<BareJid, Owner>,
    /// What the present transaction has added.
    pending: Vec<(BareJid, Entry)>,
    /// Whether it has folded the tail, and how many of `pending` with it.
    folded: Option<usize>,
}

/// What is known of an account with an archive.
#[derive(Clone, Copy, Debug)]
struct Owner {
    archive: i64,
    last_id: i64,
}

/// How far a transaction has come, to return to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    pending: usize,
    folded: Option<usize>,
}

impl Archiver {
    /// Takes up an archive where the last process left it: what was not folded is folded.
    pub(crate) fn open(
        db: &mut Connection,
        tail: Arc<Tail>,
        options: &Options,
    ) -> Result<Self, StoreError> {
        let (searches_text, fold_entries) = (options.searches_text, options.fold_entries);
        let (next_message, last_id) = fold::catch_up(db, searches_text)?;
        tail.saw(last_id);
        Ok(Self {
            tail,
            searches_text,
            fold_entries,
            fold_at: fold_entries,
            next_message,
            owners: HashMap::new(),
            pending: Vec::new(),
            folded: None,
        })
    }

    /// Adds the entry at `index` of a stage, and with it the next one of the stage if both share
    /// their bytes. Says which that was, for it must not be added again.
    pub(crate) fn put(
        &mut self,
        db: &Connection,
        stage: &[Write],
        index: usize,
    ) -> Result<Option<usize>, StoreError> {
        let Some(Write::PutArchive { owner, entry }) = stage.get(index) else { return Ok(None) };
        let second = partner(stage, index, entry);
        let message = self.next_message;
        let first_place = self.place(db, owner, entry)?;
        let second_place = match second {
            Some((_, owner, entry)) => Some((self.place(db, owner, entry)?, entry)),
            None => None,
        };
        let checksum = crc32(&entry.body);
        let second_entry = second_place
            .map(|((archive, id), entry)| (archive, id, entry.peer.as_str(), flags(entry)));
        run(
            db,
            "INSERT INTO archive_messages (id, at_ms, archive1, id1, peer1, flags1, archive2, id2, \
             peer2, flags2, origin_id, stanza_id, checksum, text, body) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
            params![
                message,
                entry.at_ms,
                first_place.0,
                first_place.1,
                entry.peer.as_str(),
                flags(entry),
                second_entry.map(|second| second.0),
                second_entry.map(|second| second.1),
                second_entry.map(|second| second.2),
                second_entry.map(|second| second.3),
                entry.origin_id,
                entry.stanza_id,
                checksum,
                entry.text,
                &entry.body[..],
            ],
        )?;
        self.next_message += 1;
        self.pending.push((owner.clone(), key(entry, first_place, message)));
        if let Some((_, owner, entry)) = second
            && let Some((place, _)) = second_place
        {
            self.pending.push((owner.clone(), key(entry, place, message)));
        }
        Ok(second.map(|(index, ..)| index))
    }

    /// Reserves the row of a message that replaces another one.
    pub(super) fn take_message(&mut self) -> i64 {
        let message = self.next_message;
        self.next_message += 1;
        message
    }

    /// Enters all that is not folded yet.
    pub(super) fn fold(&mut self, db: &Connection) -> Result<(), StoreError> {
        let mut entries = if self.folded.is_some() { Vec::new() } else { self.tail.all() };
        let new = self.pending.get(self.folded.unwrap_or(0)..).unwrap_or_default();
        entries.extend(new.iter().map(|(_, entry)| entry.clone()));
        self.folded = Some(self.pending.len());
        if entries.is_empty() {
            return Ok(());
        }
        fold::fold(db, entries, self.next_message - 1, self.searches_text)
    }

    /// Folds if enough has come together. Says how many entries that were.
    pub(crate) fn fold_if_due(&mut self, db: &Connection) -> Result<usize, StoreError> {
        let entries = self.tail.len() + self.pending.len();
        if self.pending.is_empty() || self.folded.is_some() || entries < self.fold_at {
            return Ok(0);
        }
        db.execute_batch("SAVEPOINT fold").map_err(store_error)?;
        match self.fold(db) {
            Ok(()) => {
                self.fold_at = self.fold_entries;
                db.execute_batch("RELEASE fold").map_err(store_error)?;
                Ok(entries)
            }
            Err(error) => {
                // What is to be committed does not depend on it. Not tried again with every commit.
                tracing::error!(%error, entries, "archived messages cannot be folded yet");
                self.fold_at = entries.saturating_mul(2);
                self.folded = None;
                db.execute_batch("ROLLBACK TO fold; RELEASE fold").map_err(store_error)?;
                Ok(0)
            }
        }
    }

    /// The bytes of an account's message, if there is an entry with this id.
    pub(crate) fn bytes_of(
        &self,
        db: &Connection,
        account: i64,
        owner: &BareJid,
        id: i64,
    ) -> Result<Option<i64>, StoreError> {
        let sql = "SELECT id FROM archives WHERE account = ?1";
        let Some(archive) = value::<i64>(db, sql, [account])? else { return Ok(None) };
        let matches = |entry: &Entry| entry.archive == archive && entry.id == id;
        let new = self.pending.get(self.folded.unwrap_or(0)..).unwrap_or_default();
        // Mostly it came a moment ago.
        if let Some((_, entry)) = new.iter().rev().find(|(_, entry)| matches(entry)) {
            return Ok(Some(entry.bytes));
        }
        if self.folded.is_none()
            && let Some(entry) = self.tail.of(owner).iter().find(|entry| matches(entry))
        {
            return Ok(Some(entry.bytes));
        }
        let sql = "SELECT length(body) FROM archive_entries AS e \
                   JOIN archive_messages AS m ON m.id = e.message \
                   WHERE e.archive = ?1 AND e.id = ?2";
        value(db, sql, [archive, id])
    }

    /// Forgets what is known of an account: it is made, deleted or emptied.
    pub(crate) fn forget(&mut self, owner: &BareJid) {
        self.owners.remove(owner);
    }

    /// Where the transaction stands.
    pub(crate) fn mark(&self) -> Mark {
        Mark { pending: self.pending.len(), folded: self.folded }
    }

    /// Undoes what came behind a mark, as the database does.
    pub(crate) fn return_to(&mut self, mark: Mark) {
        self.pending.truncate(mark.pending);
        self.folded = mark.folded;
        // Last ids may be too large, archives may be gone again.
        self.owners.clear();
    }

    /// The transaction is undone.
    pub(crate) fn abandon(&mut self) {
        self.return_to(Mark { pending: 0, folded: None });
    }

    /// The transaction is committed: its entries are for readers.
    pub(crate) fn publish(&mut self) {
        let folded = self.folded.take();
        if folded.is_some() || !self.pending.is_empty() {
            for (_, entry) in &self.pending {
                self.tail.saw(entry.id);
            }
            let waiting = self.pending.drain(..).skip(folded.unwrap_or(0));
            self.tail.publish(folded.is_some(), waiting);
        }
        if self.owners.len() > ARCHIVE_OWNERS_MAX {
            self.owners.clear();
        }
    }

    /// The archive of an entry and its id there, which is then the last.
    fn place(
        &mut self,
        db: &Connection,
        owner: &BareJid,
        entry: &ArchiveEntry,
    ) -> Result<(i64, i64), StoreError> {
        if !self.owners.contains_key(owner) {
            let known = self.load(db, owner, entry.at_ms)?;
            self.owners.insert(owner.clone(), known);
        }
        let id = i64::try_from(entry.id).map_err(|_| StoreError::Conflict)?;
        match self.owners.get_mut(owner) {
            Some(known) if id > known.last_id => {
                known.last_id = id;
                Ok((known.archive, id))
            }
            _ => Err(StoreError::Conflict),
        }
    }

    fn load(&self, db: &Connection, owner: &BareJid, at_ms: i64) -> Result<Owner, StoreError> {
        let sql = "SELECT a.id, v.id, (SELECT max(id) FROM archive_entries WHERE archive = v.id) \
                   FROM accounts AS a LEFT JOIN archives AS v ON v.account = a.id \
                   WHERE a.jid = ?1";
        let found = one(db, sql, [owner.as_str()], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, Option<i64>>(1)?, row.get(2)?))
        })?;
        let (account, archive, folded): (_, _, Option<i64>) = found.ok_or(StoreError::NoAccount)?;
        let Some(archive) = archive else {
            let sql = "INSERT INTO archives (account, oldest_ms, newest_ms) VALUES (?1, ?2, ?2)";
            run(db, sql, params![account, at_ms])?;
            return Ok(Owner { archive: db.last_insert_rowid(), last_id: 0 });
        };
        let published = self.tail.of(owner);
        let pending = self.pending.iter().filter(|(of, _)| of == owner).map(|(_, entry)| entry);
        let waiting = published.iter().chain(pending).filter(|entry| entry.archive == archive);
        let last_id = waiting.map(|entry| entry.id).chain(folded).max().unwrap_or(0);
        Ok(Owner { archive, last_id })
    }
}

/// The next entry of the stage, if it is the same message for another account.
fn partner<'a>(
    stage: &'a [Write],
    index: usize,
    entry: &ArchiveEntry,
) -> Option<(usize, &'a BareJid, &'a ArchiveEntry)> {
    let later = stage.iter().enumerate().skip(index + 1);
    let mut entries = later.filter_map(|(index, write)| match write {
        Write::PutArchive { owner, entry } => Some((index, owner, entry)),
        _ => None,
    });
    entries.next().filter(|(_, _, other)| {
        Arc::ptr_eq(&entry.body, &other.body)
            && entry.at_ms == other.at_ms
            && entry.text == other.text
            && entry.origin_id == other.origin_id
            && entry.stanza_id == other.stanza_id
    })
}

fn key(entry: &ArchiveEntry, (archive, id): (i64, i64), message: i64) -> Entry {
    let sum = |id: &Option<String>| id.as_ref().map(|id| crc32(id.as_bytes()));
    Entry {
        archive,
        id,
        message,
        at_ms: entry.at_ms,
        flags: flags(entry),
        peer: entry.peer.clone(),
        origin: sum(&entry.origin_id),
        stanza: sum(&entry.stanza_id),
        bytes: entry.body.len() as i64,
    }
}

fn flags(entry: &ArchiveEntry) -> i64 {
    super::stored_flags(entry.flags) | if entry.is_sent { SENT } else { 0 }
}
