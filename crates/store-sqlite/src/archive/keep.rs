//! Adding entries: what a commit does for the archive.

use std::collections::{HashMap, VecDeque};
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
use crate::limits::{ARCHIVE_OWNERS_MAX, FOLD_STEPS, WORDED_MESSAGES};
use crate::rows::{one, signed, value};

/// The writer's side of the archive.
#[derive(Debug)]
pub(crate) struct Archiver {
    tail: Arc<Tail>,
    /// The row of the next message.
    next_message: i64,
    owners: HashMap<BareJid, Owner>,
    /// What the present transaction has added.
    pending: Vec<(BareJid, Entry)>,
    /// What it has folded: of whom, up to which message.
    folded: Vec<(BareJid, i64)>,
    /// The last message that is committed.
    committed: i64,
    schedule: Schedule,
}

/// What is to be folded and entered when.
#[derive(Debug)]
struct Schedule {
    /// Entries at which folding begins, and at which it does so next.
    fold_entries: usize,
    fold_at: usize,
    /// Whose entries are folded in this round, and the last message of which it takes them all.
    round: VecDeque<BareJid>,
    round_to: i64,
    /// Messages whose words wait at most; nothing if words are not entered.
    words_every: Option<i64>,
    /// Up to which message words are entered, and up to which that is committed.
    worded: i64,
    worded_committed: i64,
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
    folded: usize,
}

impl Archiver {
    /// Takes up an archive where the last process left it: what was not folded is folded.
    pub(crate) fn open(
        db: &mut Connection,
        tail: Arc<Tail>,
        options: &Options,
    ) -> Result<Self, StoreError> {
        let found = fold::catch_up(db, options.searches_text)?;
        tail.saw(found.last_id);
        tail.publish(&[], Vec::new(), found.last_message);
        let fold_entries = options.fold_entries;
        let seldom = i64::try_from(fold_entries).unwrap_or(i64::MAX).min(WORDED_MESSAGES);
        let schedule = Schedule {
            fold_entries,
            fold_at: fold_entries,
            round: VecDeque::new(),
            round_to: found.last_message,
            words_every: options.searches_text.then_some(seldom),
            worded: found.worded,
            worded_committed: found.worded,
        };
        Ok(Self {
            tail,
            next_message: found.last_message + 1,
            owners: HashMap::new(),
            pending: Vec::new(),
            folded: Vec::new(),
            committed: found.last_message,
            schedule,
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
        let first = key(entry, self.place(db, owner, entry)?, message);
        let shared = match second {
            Some((_, owner, entry)) => Some(key(entry, self.place(db, owner, entry)?, message)),
            None => None,
        };
        run(
            db,
            "INSERT INTO archive_messages (id, at_ms, archive1, id1, peer1, flags1, archive2, id2, \
             peer2, flags2, origin_id, stanza_id, checksum, text, body) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
            params![
                message,
                entry.at_ms,
                first.archive,
                first.id,
                first.peer.as_str(),
                first.flags,
                shared.as_ref().map(|shared| shared.archive),
                shared.as_ref().map(|shared| shared.id),
                shared.as_ref().map(|shared| shared.peer.as_str()),
                shared.as_ref().map(|shared| shared.flags),
                entry.origin_id,
                entry.stanza_id,
                crc32(&entry.body),
                entry.text,
                &entry.body[..],
            ],
        )?;
        self.next_message += 1;
        self.pending.push((owner.clone(), first));
        let Some((index, owner, _)) = second else { return Ok(None) };
        self.pending.extend(shared.map(|shared| (owner.clone(), shared)));
        Ok(Some(index))
    }

    /// Reserves the row of a message that replaces another one.
    pub(super) fn take_message(&mut self) -> i64 {
        let message = self.next_message;
        self.next_message += 1;
        message
    }

    /// Up to which message words can be searched.
    pub(super) fn worded(&self) -> i64 {
        self.schedule.worded
    }

    /// Folds all entries of one account.
    pub(super) fn fold(&mut self, db: &Connection, owner: &BareJid) -> Result<(), StoreError> {
        let folded = self.folded_to(owner);
        let published = self.tail.of(owner).entries;
        let pending = self.pending.iter().filter(|(of, _)| of == owner).map(|(_, entry)| entry);
        let waiting = published.iter().chain(pending).filter(|entry| entry.message > folded);
        let entries: Vec<Entry> = waiting.cloned().collect();
        if let Some(last) = entries.last() {
            self.folded.push((owner.clone(), last.message));
            fold::fold(db, entries)?;
        }
        Ok(())
    }

    /// Does the part of folding and of entering words that falls to this transaction. Says how many
    /// entries were folded.
    pub(crate) fn keep_up(&mut self, db: &Connection) -> Result<usize, StoreError> {
        if self.pending.is_empty() || !self.is_due() {
            return Ok(0);
        }
        let mark = self.mark();
        db.execute_batch("SAVEPOINT fold").map_err(store_error)?;
        match self.fold_some(db).and_then(|folded| self.enter_words(db).map(|()| folded)) {
            Ok(folded) => {
                db.execute_batch("RELEASE fold").map_err(store_error)?;
                Ok(folded)
            }
            Err(error) => {
                // What is to be committed does not depend on it. Not tried with every commit.
                tracing::error!(event = "store_failed", %error, "archived messages cannot be sorted in yet");
                self.folded.truncate(mark.folded);
                self.schedule.put_off(self.tail.len());
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
        let folded = self.folded_to(owner);
        let matches =
            |entry: &&Entry| entry.id == id && entry.archive == archive && entry.message > folded;
        // Mostly it came a moment ago.
        let mut pending = self.pending.iter().rev().filter(|(of, _)| of == owner).map(|(_, e)| e);
        if let Some(entry) = pending.find(matches) {
            return Ok(Some(entry.bytes));
        }
        if let Some(entry) = self.tail.of(owner).entries.iter().rev().find(matches) {
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
        Mark { pending: self.pending.len(), folded: self.folded.len() }
    }

    /// Undoes what came behind a mark, as the database does.
    pub(crate) fn return_to(&mut self, mark: Mark) {
        self.pending.truncate(mark.pending);
        self.folded.truncate(mark.folded);
        // Last ids may be too large, archives may be gone again.
        self.owners.clear();
    }

    /// The transaction is undone.
    pub(crate) fn abandon(&mut self) {
        self.return_to(Mark { pending: 0, folded: 0 });
        self.schedule.round.clear();
        self.schedule.worded = self.schedule.worded_committed;
    }

    /// The transaction is committed: its entries are for readers.
    pub(crate) fn publish(&mut self) {
        let (folded, mut new) =
            (std::mem::take(&mut self.folded), std::mem::take(&mut self.pending));
        for (_, entry) in &new {
            self.tail.saw(entry.id);
        }
        if !folded.is_empty() {
            let is_folded = |owner: &BareJid, entry: &Entry| {
                folded.iter().any(|(of, up_to)| entry.message <= *up_to && of == owner)
            };
            new.retain(|(owner, entry)| !is_folded(owner, entry));
        }
        self.committed = self.next_message - 1;
        if !folded.is_empty() || !new.is_empty() {
            self.tail.publish(&folded, new, self.committed);
        }
        self.schedule.worded_committed = self.schedule.worded;
        if self.owners.len() > ARCHIVE_OWNERS_MAX {
            self.owners.clear();
        }
    }

    /// Up to which message this transaction has folded an account's entries.
    fn folded_to(&self, owner: &BareJid) -> i64 {
        self.folded.iter().rev().find(|(of, _)| of == owner).map_or(0, |(_, up_to)| *up_to)
    }

    fn is_due(&self) -> bool {
        !self.schedule.round.is_empty()
            || self.tail.len() >= self.schedule.fold_at
            || self.words_wait()
    }

    fn words_wait(&self) -> bool {
        let waiting = self.next_message - 1 - self.schedule.worded;
        self.schedule.words_every.is_some_and(|every| waiting >= every)
    }

    /// Folds the next accounts of the round. What this transaction brought waits for the next one.
    fn fold_some(&mut self, db: &Connection) -> Result<usize, StoreError> {
        if self.schedule.round.is_empty() {
            if self.tail.len() < self.schedule.fold_at {
                return Ok(0);
            }
            self.schedule.round = self.tail.owners().into();
            self.schedule.round_to = self.committed;
        }
        let wanted = (self.schedule.fold_entries / FOLD_STEPS).max(self.pending.len() * 2);
        let mut entries = Vec::new();
        while entries.len() < wanted
            && let Some(owner) = self.schedule.round.front()
        {
            let folded = self.folded_to(owner);
            let published = self.tail.of(owner).entries;
            let room = wanted - entries.len();
            let from = published.partition_point(|entry| entry.message <= folded);
            let mut to = (from + room).min(published.len());
            // A message to oneself has two entries, which go together.
            while to > from
                && to < published.len()
                && published[to].message == published[to - 1].message
            {
                to += 1;
            }
            entries.extend_from_slice(&published[from..to]);
            if let Some(last) = published[from..to].last() {
                self.folded.push((owner.clone(), last.message));
            }
            if to == published.len() {
                self.schedule.round.pop_front();
            }
        }
        let folded = entries.len();
        fold::fold(db, entries)?;
        if self.schedule.round.is_empty() {
            self.schedule.fold_at = self.schedule.fold_entries;
            fold::note_round(db, self.schedule.round_to, signed(self.tail.last_id()))?;
        }
        Ok(folded)
    }

    fn enter_words(&mut self, db: &Connection) -> Result<(), StoreError> {
        if self.words_wait() {
            fold::enter_words(db, self.next_message - 1)?;
            self.schedule.worded = self.next_message - 1;
        }
        Ok(())
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
        let published = self.tail.of(owner).entries;
        let pending = self.pending.iter().filter(|(of, _)| of == owner).map(|(_, entry)| entry);
        let waiting = published.iter().chain(pending).filter(|entry| entry.archive == archive);
        let last_id = waiting.map(|entry| entry.id).chain(folded).max().unwrap_or(0);
        Ok(Owner { archive, last_id })
    }
}

impl Schedule {
    /// After a failure: tries again when twice as much has come together.
    fn put_off(&mut self, entries: usize) {
        self.round.clear();
        self.fold_at = entries.max(self.fold_entries).saturating_mul(2);
        self.words_every = self.words_every.map(|every| every.saturating_mul(2));
        self.worded = self.worded_committed;
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
        flags: super::stored_flags(entry.flags) | if entry.is_sent { SENT } else { 0 },
        peer: entry.peer.clone(),
        origin: sum(&entry.origin_id),
        stanza: sum(&entry.stanza_id),
        bytes: i64::try_from(entry.body.len()).unwrap_or(i64::MAX),
    }
}
