//! The archive's half of a store over fjall: enough to weigh one engine against the other.
//!
//! Three trees, as the tables of SQLite are once they are folded: messages by number, the entries of
//! an account by id, and by the contact's bare address. It does what a put demands, checks the
//! account, keeps one body for both entries, and flushes before it answers. Checksums are fjall's own.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use parking_lot::Mutex;
use stentor_jid::BareJid;
use stentor_store::{ArchiveEntry, Backend, Stage, StoreError, Write};

/// The writing end.
pub(crate) struct FjallArchive {
    database: Database,
    messages: Keyspace,
    entries: Keyspace,
    by_peer: Keyspace,
    accounts: Arc<Mutex<HashMap<BareJid, u64>>>,
    last_message: u64,
}

/// The reading end.
pub(crate) struct Reader {
    messages: Keyspace,
    entries: Keyspace,
    accounts: Arc<Mutex<HashMap<BareJid, u64>>>,
}

impl FjallArchive {
    pub(crate) fn open(folder: &Path) -> Self {
        let database = Database::builder(folder).open().unwrap();
        let tree = |name| database.keyspace(name, KeyspaceCreateOptions::default).unwrap();
        let [messages, entries, by_peer] = ["messages", "entries", "by_peer"].map(tree);
        Self { database, messages, entries, by_peer, accounts: Arc::default(), last_message: 0 }
    }

    pub(crate) fn reader(&self) -> Reader {
        let (messages, entries) = (self.messages.clone(), self.entries.clone());
        Reader { messages, entries, accounts: Arc::clone(&self.accounts) }
    }

    fn stage(
        &mut self,
        batch: &mut fjall::OwnedWriteBatch,
        stage: &Stage,
    ) -> Result<(), StoreError> {
        let mut shared: Option<(&Arc<[u8]>, u64)> = None;
        for write in stage.writes() {
            match write {
                Write::CreateAccount { owner, .. } => {
                    let mut accounts = self.accounts.lock();
                    let number = accounts.len() as u64;
                    accounts.insert(owner.clone(), number);
                }
                Write::PutArchive { owner, entry } => {
                    let account = self.accounts.lock().get(owner).copied();
                    let account = account.ok_or(StoreError::NoAccount)?;
                    let message = match shared {
                        Some((body, message)) if Arc::ptr_eq(body, &entry.body) => message,
                        _ => self.message(batch, entry),
                    };
                    shared = Some((&entry.body, message));
                    self.entry(batch, account, entry, message);
                }
                _ => return Err(StoreError::Unsupported),
            }
        }
        Ok(())
    }

    fn message(&mut self, batch: &mut fjall::OwnedWriteBatch, entry: &ArchiveEntry) -> u64 {
        self.last_message += 1;
        let mut value = entry.at_ms.to_be_bytes().to_vec();
        for text in [entry.origin_id.as_deref(), entry.stanza_id.as_deref(), entry.text.as_deref()]
        {
            let text = text.unwrap_or_default();
            value.extend_from_slice(&text.len().to_be_bytes());
            value.extend_from_slice(text.as_bytes());
        }
        value.extend_from_slice(&entry.body);
        batch.insert(&self.messages, self.last_message.to_be_bytes(), value);
        self.last_message
    }

    fn entry(
        &self,
        batch: &mut fjall::OwnedWriteBatch,
        account: u64,
        entry: &ArchiveEntry,
        message: u64,
    ) {
        let mut value = message.to_be_bytes().to_vec();
        value.extend_from_slice(&entry.at_ms.to_be_bytes());
        value.extend_from_slice(&(entry.flags << 1 | u32::from(entry.is_sent)).to_be_bytes());
        value.extend_from_slice(entry.peer.as_str().as_bytes());
        let mut key = account.to_be_bytes().to_vec();
        key.extend_from_slice(&entry.id.to_be_bytes());
        batch.insert(&self.entries, key, value.clone());
        let mut key = account.to_be_bytes().to_vec();
        key.extend_from_slice(entry.peer.to_bare().as_str().as_bytes());
        key.push(0);
        key.extend_from_slice(&entry.id.to_be_bytes());
        batch.insert(&self.by_peer, key, value);
    }
}

impl Backend for FjallArchive {
    fn commit(&mut self, stages: &[Stage]) -> Vec<Result<(), StoreError>> {
        let mut batch = self.database.batch().durability(Some(PersistMode::SyncData));
        let results = stages.iter().map(|stage| self.stage(&mut batch, stage)).collect();
        batch.commit().unwrap();
        results
    }
}

impl Reader {
    /// The bodies of the last entries of an account.
    pub(crate) fn last(&self, owner: &BareJid, limit: u32) -> Vec<fjall::Slice> {
        let account = self.accounts.lock()[owner];
        let last = self.entries.prefix(account.to_be_bytes()).rev().take(limit as usize);
        let mut bodies: Vec<fjall::Slice> = last
            .map(|entry| {
                let (_, value) = entry.into_inner().unwrap();
                self.messages.get(&value[..8]).unwrap().unwrap()
            })
            .collect();
        bodies.reverse();
        bodies
    }
}
