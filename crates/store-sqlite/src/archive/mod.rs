//! Archived messages.
//!
//! Writing: `keep` appends with each commit, `fold` sorts in what was appended, `remove` takes away.
//! Reading: `select` finds keys, `search` those by words, `page` the entries. Between both stands
//! the `tail`, what is appended and not sorted in.

mod export;
mod fold;
mod keep;
mod page;
mod remove;
mod search;
mod select;
mod tail;
mod words;

use std::sync::Arc;

use rusqlite::Connection;
use stentor_jid::BareJid;
use stentor_store::{
    Archive, ArchiveDrop, ArchiveFilter, ArchiveMark, ArchiveRange, ArchiveReference, ArchiveRow,
    ArchiveSlice, Boxed, Counters, Domain, Export, Owned, Stage, StoreError, Usage, Write,
};

pub(crate) use self::keep::Archiver;
pub(crate) use self::select::View;
pub(crate) use self::tail::Tail;
use crate::open::Inner;

/// Archived messages in SQLite.
pub(crate) struct ArchiveDb(pub(crate) Arc<Inner>);

impl ArchiveDb {
    fn read<T: Send + 'static>(
        &self,
        owner: &BareJid,
        read: impl FnOnce(&View<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Boxed<T> {
        let (owner, tail) = (owner.clone(), Arc::clone(&self.0.tail));
        self.0.readers.read(move |db| {
            // Before the view of the database begins.
            let waiting = tail.of(&owner);
            read(&View::of(db, &owner, &waiting)?)
        })
    }
}

impl Archive for ArchiveDb {
    fn page(
        &self,
        owner: &BareJid,
        filter: ArchiveFilter,
        range: ArchiveRange,
    ) -> Boxed<Option<ArchiveSlice>> {
        if filter.text.is_some() && !self.0.searches_text {
            return Box::pin(async { Err(StoreError::Unsupported) });
        }
        let (inner, asked) = (Arc::clone(&self.0), owner.clone());
        let page = self.read(owner, move |view| view.page(&filter, range));
        Box::pin(async move {
            let slice = page.await?;
            if let Some(slice) = &slice {
                put_aside_all(&inner, &asked, &slice.damaged);
            }
            Ok(slice)
        })
    }

    fn by_ids(&self, owner: &BareJid, ids: Vec<u64>) -> Boxed<Vec<ArchiveRow>> {
        let (inner, asked) = (Arc::clone(&self.0), owner.clone());
        let found = self.read(owner, move |view| view.by_ids(&ids));
        Box::pin(async move {
            let (rows, damaged) = found.await?;
            put_aside_all(&inner, &asked, &damaged);
            Ok(rows)
        })
    }

    fn bounds(&self, owner: &BareJid) -> Boxed<Option<(ArchiveMark, ArchiveMark)>> {
        self.read(owner, |view| view.bounds())
    }

    fn find(&self, owner: &BareJid, reference: ArchiveReference) -> Boxed<Option<ArchiveRow>> {
        self.read(owner, move |view| view.find(&reference))
    }

    fn usage(&self, owner: &BareJid) -> Boxed<Usage> {
        self.read(owner, |view| view.usage())
    }

    fn last_id(&self) -> Boxed<u64> {
        let last_id = self.0.tail.last_id();
        Box::pin(async move { Ok(last_id) })
    }

    fn searches_text(&self) -> bool {
        self.0.searches_text
    }

    fn expire(&self, host: Option<&str>, before_ms: i64) -> Boxed<bool> {
        let (inner, host) = (Arc::clone(&self.0), host.map(str::to_owned));
        Box::pin(async move {
            let waiting = inner.tail.older_than(before_ms, host.as_deref());
            let read = move |db: &Connection| remove::due(db, host.as_deref(), before_ms, waiting);
            let (owners, is_swept) = inner.readers.read(read).await?;
            let what = ArchiveDrop::Before(before_ms);
            let of_owner = |owner| Write::DropArchive { owner, what: what.clone() };
            let mut stage: Stage = owners.into_iter().map(of_owner).collect();
            if !is_swept {
                stage.push(Write::SweepArchives);
            }
            if stage.is_empty() {
                return Ok(false);
            }
            match inner.writer.submit(stage).await {
                // An account was deleted meanwhile; the next call does without it.
                Ok(()) | Err(StoreError::NoAccount) => Ok(true),
                Err(error) => Err(error),
            }
        })
    }

    fn purge(&self, owner: &BareJid, before_ms: i64) -> Boxed<()> {
        let (archive, owner) = (Self(Arc::clone(&self.0)), owner.clone());
        Box::pin(async move {
            archive.0.writer.barrier().await?;
            while let Some((first, _)) = archive.bounds(&owner).await?
                && first.at_ms < before_ms
            {
                let what = ArchiveDrop::Before(before_ms);
                archive.0.commit(Write::DropArchive { owner: owner.clone(), what }).await?;
            }
            Ok(())
        })
    }
}

impl Owned for ArchiveDb {
    fn export(&self, owner: &BareJid, after: u64) -> Boxed<Export> {
        let of = owner.clone();
        self.read(owner, move |view| view.export(&of, after))
    }

    fn forget(&self, owner: &BareJid) -> Boxed<()> {
        self.0.forget(owner, Domain::Archive)
    }
}

fn put_aside_all(inner: &Inner, owner: &BareJid, ids: &[u64]) {
    if ids.is_empty() {
        return;
    }
    Counters::add(&inner.writer.counters().rows_damaged, ids.len() as u64);
    tracing::error!(event = "damaged", %owner, ?ids, "damaged archived messages put aside");
    let aside = ids.iter().map(|id| Write::PutAsideArchive { owner: owner.clone(), id: *id });
    // Nobody waits: if it fails, the next page finds them again.
    drop(inner.writer.submit(aside.collect::<Stage>()));
}

/// The flags of a module, above ours.
fn stored_flags(flags: u32) -> i64 {
    i64::from(flags) << OWN_BITS
}

fn module_flags(stored: i64) -> u32 {
    u32::try_from(stored >> OWN_BITS).unwrap_or(0)
}

/// The owner sent it.
const SENT: i64 = 1;
/// A tombstone has taken its place.
const RETRACTED: i64 = 2;
const OWN_BITS: u32 = 2;
