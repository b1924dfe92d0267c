//! Stanzas under way to other servers: in the store until these have them, so that they outlive the
//! process that was sending them.

use std::sync::Arc;

use crate::Boxed;

/// Stanzas that other servers do not have yet. They belong to no account: what was sent arrives also
/// when its sender is gone.
pub trait Underway: Send + Sync {
    /// Returns stanzas past the number `after` (0 for the first page), in the order of their numbers.
    ///
    /// At most `limit`, never more than [`PAGE_ROWS_MAX`](crate::limits::PAGE_ROWS_MAX), and fewer
    /// once [`PAGE_BYTES_MAX`](crate::limits::PAGE_BYTES_MAX) is reached.
    fn page(&self, after: u64, limit: u32) -> Boxed<UnderwayPage>;

    /// Returns the highest number that is in the store; 0 if there is none.
    fn last_number(&self) -> Boxed<u64>;
}

/// Part of what is under way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnderwayPage {
    /// The stanzas.
    pub stanzas: Vec<UnderwayRow>,
    /// What to pass as `after` for the next page; nothing after the last.
    pub next: Option<u64>,
}

/// One stanza that is under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnderwayRow {
    /// Its number: its place in the order.
    pub number: u64,
    /// Since when it is, in milliseconds since 1970 UTC.
    pub since_ms: i64,
    /// The stanza as it travels, with both addresses.
    pub stanza: Arc<[u8]>,
}
