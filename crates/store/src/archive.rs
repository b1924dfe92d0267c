//! The archive of accounts' messages (XEP-0313).
//!
//! An entry belongs to one account and has an id there. Ids only grow: the order of ids is the
//! order in which messages were taken, and the order of every page. Both accounts of a message
//! have an entry, and the bytes of the message are kept once.

use std::sync::Arc;

use stentor_jid::{BareJid, Jid};

use crate::{Boxed, Owned, Usage};

/// Archived messages by account and id.
///
/// Nothing here ever shows or tells of an entry of another account: an id that belongs to somebody
/// else is an unknown one.
pub trait Archive: Owned {
    /// Returns a page of the entries that match a filter, oldest first, whatever the direction.
    ///
    /// At most `range.limit` and never more than [`PAGE_ROWS_MAX`](crate::limits::PAGE_ROWS_MAX);
    /// fewer once [`PAGE_BYTES_MAX`](crate::limits::PAGE_BYTES_MAX) is reached, though never less
    /// than one unless the limit is 0, which asks for the count alone. Nothing at all if the filter
    /// or the range names an id that is not in this archive, or an index past the last entry
    /// (`item-not-found`, XEP-0313 §4.1.3 and §4.3.2).
    ///
    /// # Errors
    ///
    /// [`StoreError::Unsupported`](crate::StoreError::Unsupported) for a text where
    /// [`Archive::searches_text`] says no.
    fn page(
        &self,
        owner: &BareJid,
        filter: ArchiveFilter,
        range: ArchiveRange,
    ) -> Boxed<Option<ArchiveSlice>>;

    /// Returns these entries, oldest first; unknown ids are left out, and so is what lies beyond
    /// [`PAGE_ROWS_MAX`](crate::limits::PAGE_ROWS_MAX) ids.
    fn by_ids(&self, owner: &BareJid, ids: Vec<u64>) -> Boxed<Vec<ArchiveRow>>;

    /// Returns the first and the last entry, or nothing if there is none (XEP-0313 §5).
    fn bounds(&self, owner: &BareJid) -> Boxed<Option<(ArchiveMark, ArchiveMark)>>;

    /// Returns the newest entry that its sender calls by an id: for corrections, retractions
    /// (XEP-0424) and duplicates.
    ///
    /// Looks at the last [`REFERENCE_ROWS_MAX`](crate::limits::REFERENCE_ROWS_MAX) entries with
    /// that contact.
    fn find(&self, owner: &BareJid, reference: ArchiveReference) -> Boxed<Option<ArchiveRow>>;

    /// Counts entries and the bytes of their messages. A message that two accounts share counts for
    /// both.
    fn usage(&self, owner: &BareJid) -> Boxed<Usage>;

    /// Returns an id that no entry of any account exceeds; 0 as long as there was none.
    fn last_id(&self) -> Boxed<u64>;

    /// Whether [`ArchiveFilter::text`] may be set.
    fn searches_text(&self) -> bool;

    /// Removes entries older than `before_ms`, of the accounts of one host or of all, and a part of
    /// what deleted accounts left. Says whether it found any: call it again until it did not.
    ///
    /// One call removes not many more than
    /// [`ARCHIVE_STEP_ROWS`](crate::limits::ARCHIVE_STEP_ROWS) entries, so that no commit waits
    /// long behind it. It is to be called now and then even if nothing ever expires, with
    /// `i64::MIN`.
    fn expire(&self, host: Option<&str>, before_ms: i64) -> Boxed<bool>;

    /// Removes the entries of one account older than `before_ms`, step by step, and is ready once
    /// that is on disk.
    fn purge(&self, owner: &BareJid, before_ms: i64) -> Boxed<()>;
}

/// Which entries match. All conditions hold together; the default matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ArchiveFilter {
    /// Taken at this time or later, in milliseconds since 1970 UTC.
    pub start_ms: Option<i64>,
    /// Taken at this time or earlier.
    pub end_ms: Option<i64>,
    /// Exchanged with this address: a bare one matches all its resources, a full one itself alone.
    pub with: Option<Jid>,
    /// Before this entry, which must exist.
    pub before_id: Option<u64>,
    /// Behind this entry, which must exist.
    pub after_id: Option<u64>,
    /// One of these, which must all exist; any if there are none. No more than
    /// [`PAGE_ROWS_MAX`](crate::limits::PAGE_ROWS_MAX), beyond which they count as unknown.
    pub ids: Vec<u64>,
    /// Its text holds every word of this one. Words are compared whole, without regard to case. A
    /// text without any word matches nothing.
    pub text: Option<String>,
    /// Has none of these flags.
    pub without_flags: u32,
}

/// Which part of what matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArchiveRange {
    /// Entries wanted at most.
    pub limit: u32,
    /// Where the page begins or ends.
    pub from: Edge,
}

/// Where a page begins or ends (XEP-0059).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edge {
    /// Begins with the first entry.
    First,
    /// Begins behind this entry, which must be in the archive, though it need not match.
    After(u64),
    /// Ends before this entry, which must be in the archive, though it need not match.
    Before(u64),
    /// Ends with the last entry.
    Last,
    /// Begins with the entry of this index among those that match, the first being 0.
    Index(u64),
}

/// A page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ArchiveSlice {
    /// The entries, oldest first.
    pub rows: Vec<ArchiveRow>,
    /// Whether nothing that matches lies beyond the page, in the direction of paging.
    pub is_complete: bool,
    /// How many entries match in all. Exact if it is there: always without a filter, otherwise
    /// while no more than [`COUNT_ROWS_MAX`](crate::limits::COUNT_ROWS_MAX) match, or fewer where
    /// words are searched.
    pub count: Option<u64>,
    /// The index of the first row among those that match. Exact if it is there: up to
    /// [`COUNT_ROWS_MAX`](crate::limits::COUNT_ROWS_MAX) entries from the first, and where the
    /// count is there, as far from the last.
    pub first_index: Option<u64>,
    /// Ids of entries that could not be read and were put aside. They are in no row.
    pub damaged: Vec<u64>,
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchiveRow {
    /// Its id.
    pub id: u64,
    /// When it was taken, in milliseconds since 1970 UTC.
    pub at_ms: i64,
    /// The other side, as it was handed over.
    pub peer: Jid,
    /// Whether the owner sent it.
    pub is_sent: bool,
    /// Whether a tombstone has taken its place.
    pub is_retracted: bool,
    /// What the module noted.
    pub flags: u32,
    /// The stanza, as it was handed over.
    pub body: Vec<u8>,
}

/// Place and time of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArchiveMark {
    /// Its id.
    pub id: u64,
    /// When it was taken, in milliseconds since 1970 UTC.
    pub at_ms: i64,
}

/// How the sender of a message calls it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchiveReference {
    /// The other side of the entry.
    pub peer: BareJid,
    /// Whether the owner sent it.
    pub is_sent: bool,
    /// The id.
    pub id: ReferenceId,
}

/// An id beside that of the archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReferenceId {
    /// What was handed over as `origin_id`.
    Origin(String),
    /// What was handed over as `stanza_id`.
    Stanza(String),
}

/// What goes into the archive of one account. See [`Write::PutArchive`](crate::Write::PutArchive).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchiveEntry {
    /// Its id, above every id of the owner.
    pub id: u64,
    /// When it was taken, in milliseconds since 1970 UTC.
    pub at_ms: i64,
    /// The other side, full if known.
    pub peer: Jid,
    /// Whether the owner sent it.
    pub is_sent: bool,
    /// Bits that mean something to the module and to [`ArchiveFilter::without_flags`].
    pub flags: u32,
    /// The stanza. Two entries of one stage over the same bytes in memory share them in the store.
    pub body: Arc<[u8]>,
    /// What a search by words shall find.
    pub text: Option<Arc<str>>,
    /// The id that its sender gave it (XEP-0359 §3.2), or the stanza's.
    pub origin_id: Option<String>,
    /// The id that a room gave it (XEP-0359 §3.1).
    pub stanza_id: Option<String>,
}

/// What [`Write::DropArchive`](crate::Write::DropArchive) removes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ArchiveDrop {
    /// These entries; unknown ids are ignored.
    Ids(Vec<u64>),
    /// The oldest entries, up to [`ARCHIVE_STEP_ROWS`](crate::limits::ARCHIVE_STEP_ROWS), as long
    /// as they were taken before this time in milliseconds since 1970 UTC.
    Before(i64),
    /// Everything.
    All,
}

impl ArchiveRange {
    /// The first `limit` entries.
    pub fn first(limit: u32) -> Self {
        Self { limit, from: Edge::First }
    }

    /// The last `limit` entries.
    pub fn last(limit: u32) -> Self {
        Self { limit, from: Edge::Last }
    }
}

impl ArchiveEntry {
    /// Memory behind the entry itself, roughly, in bytes. Shared bytes count for each.
    pub(crate) fn held_bytes(&self) -> usize {
        let optional = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        self.body.len()
            + self.text.as_ref().map_or(0, |text| text.len())
            + optional(&self.origin_id)
            + optional(&self.stanza_id)
    }
}
