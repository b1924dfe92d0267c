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

    /// Accounts of a domain whose oldest message came before a time in milliseconds since 1970 UTC,
    /// in the order of their addresses, past `after`; at most
    /// [`PAGE_ROWS_MAX`](crate::limits::PAGE_ROWS_MAX).
    fn overdue(&self, host: &str, before_ms: i64, after: Option<&BareJid>) -> Boxed<Vec<BareJid>>;
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

/// Where the stanza of a stored message is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OfflineBody {
    /// In the archive of the same account, under this id. Should the archive lose it, it is copied
    /// from there first; a tombstone in its place is what will be delivered.
    Archived(u64),
    /// Here.
    Bytes(Vec<u8>),
}

impl From<Vec<u8>> for OfflineBody {
    fn from(stanza: Vec<u8>) -> Self {
        Self::Bytes(stanza)
    }
}

/// One stored message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfflineRow {
    /// Its place in the order; ids grow and are never used twice.
    pub id: u64,
    /// When we took it, in milliseconds since 1970 UTC; the stamp of XEP-0203.
    pub received_ms: i64,
    /// Its id in the archive, if the stanza is there.
    pub archived: Option<u64>,
    /// The stanza, as handed over here or to the archive. From the archive it comes without the
    /// stamp of XEP-0203, which `received_ms` makes.
    pub stanza: Vec<u8>,
}
