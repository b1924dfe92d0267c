//! Archived messages.

use std::sync::Arc;

use stentor_jid::BareJid;
use stentor_store::{
    Archive, ArchiveFilter, ArchiveMark, ArchiveRange, ArchiveReference, ArchiveRow, ArchiveSlice,
    Boxed, Domain, Export, Owned, StoreError, Usage,
};

use crate::open::Inner;

/// Archived messages in SQLite.
pub(crate) struct ArchiveDb(pub(crate) Arc<Inner>);

fn no<T: Send + 'static>() -> Boxed<T> {
    Box::pin(async { Err(StoreError::Unsupported) })
}

impl Archive for ArchiveDb {
    fn page(&self, _: &BareJid, _: ArchiveFilter, _: ArchiveRange) -> Boxed<Option<ArchiveSlice>> {
        no()
    }

    fn by_ids(&self, _: &BareJid, _: Vec<u64>) -> Boxed<Vec<ArchiveRow>> {
        no()
    }

    fn bounds(&self, _: &BareJid) -> Boxed<Option<(ArchiveMark, ArchiveMark)>> {
        no()
    }

    fn find(&self, _: &BareJid, _: ArchiveReference) -> Boxed<Option<ArchiveRow>> {
        no()
    }

    fn usage(&self, _: &BareJid) -> Boxed<Usage> {
        no()
    }

    fn last_id(&self) -> Boxed<u64> {
        Box::pin(async { Ok(0) })
    }

    fn searches_text(&self) -> bool {
        false
    }

    fn expire(&self, _: Option<&str>, _: i64) -> Boxed<bool> {
        no()
    }

    fn purge(&self, _: &BareJid, _: i64) -> Boxed<()> {
        no()
    }
}

impl Owned for ArchiveDb {
    fn export(&self, _: &BareJid, _: u64) -> Boxed<Export> {
        Box::pin(async { Ok(Export::default()) })
    }

    fn forget(&self, owner: &BareJid) -> Boxed<()> {
        self.0.forget(owner, Domain::Archive)
    }
}
