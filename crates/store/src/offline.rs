//! Messages for accounts without a resource that takes them (XEP-0160).

use stentor_jid::BareJid;

use crate::{Boxed, Owned, Usage};

/// Stored messages, in the order in which they were submitted.
pub trait Offline: Owned {
    /// Returns messages past the id `after` (0 for the first page), oldest first.
    ///
    /// At most `limit`, never more than [`PAGE_ROWS_MAX`](crate::limits::PAGE_ROWS_MAX), and
    /// fewer once [`PAGE_BYTES_MAX`](crate::limits::PAGE_BYTES_MAX) is reached. A row that is
    /// damaged is left out, put aside and logged; the others are delivered.
    fn page(&self, owner: &BareJid, after: u64, limit: u32) -> Boxed<OfflinePage>;

    /// Counts messages and their bytes, for a quota.
    fn usage(&self, owner: &BareJid) -> Boxed<Usage>;
}

/// Part of the messages of an account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OfflinePage {
    /// The messages.
    pub messages: Vec<OfflineRow>,
    /// Ids of rows that could not be read and were put aside.
    pub damaged: Vec<u64>,
    /// What to pass as `after` for the next page; nothing after the last.
    pub next: Option<u64>,
}

/// One stored message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfflineRow {
    /// Its place in the order; ids grow and are never used twice.
    pub id: u64,
    /// When we took it, in milliseconds since 1970 UTC; the stamp of XEP-0203.
    pub received_ms: i64,
    /// The stanza, as handed over.
    pub stanza: Vec<u8>,
}
