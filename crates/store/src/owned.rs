//! What every domain that belongs to accounts can do.

use std::future::Future;
use std::pin::Pin;

use stentor_jid::BareJid;

use crate::{StoreError, Write};

/// A storage call under way. It borrows nothing, so that it can be kept beside what it is for.
pub type Boxed<T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'static>>;

/// Rows that belong to an account: they can be taken along and they can be removed.
pub trait Owned: Send + Sync {
    /// Returns the writes that would rebuild this domain for `owner`, a page at a time.
    ///
    /// Starts after the row `after` (0 for the first page). Submitted in order to another store,
    /// accounts first, they leave the same rows there.
    fn export(&self, owner: &BareJid, after: u64) -> Boxed<Export>;

    /// Removes all of `owner` from this domain and is ready once that is on disk.
    ///
    /// Of the accounts this is the account itself, and with it all that it owns anywhere.
    fn forget(&self, owner: &BareJid) -> Boxed<()>;
}

/// One page of an export.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Export {
    /// The writes, oldest row first.
    pub writes: Vec<Write>,
    /// What to pass as `after` for the next page; nothing after the last.
    pub next: Option<u64>,
}

/// How much of something an account holds, for quotas.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Rows.
    pub count: u64,
    /// Bytes of what was stored, without the store's own overhead.
    pub bytes: u64,
}
