//! Small data of accounts that features keep: blocklists, preferences, registrations.
//!
//! A feature owns a *kind*, a name that never changes, and writes rows of it by key. What is
//! decided on in a pass is resident with its account: one read brings all kinds.

use std::borrow::Cow;

use stentor_jid::BareJid;

use crate::{Boxed, Owned, Usage};

/// Rows by account, kind and key.
pub trait Data: Owned {
    /// Returns every row of these kinds, ordered by kind and key.
    fn of_kinds(&self, owner: &BareJid, kinds: &[&'static str]) -> Boxed<Vec<DataRow>>;

    /// Returns one value, or nothing if there is no such row.
    fn load(&self, owner: &BareJid, kind: &'static str, key: &str) -> Boxed<Option<Vec<u8>>>;

    /// Returns the rows of one kind over all accounts past `after`, ordered by account and key: at
    /// most [`PAGE_ROWS_MAX`](crate::limits::PAGE_ROWS_MAX). For queues that an operator reads.
    fn everyones(
        &self,
        kind: &'static str,
        after: Option<(BareJid, String)>,
    ) -> Boxed<Vec<(BareJid, DataRow)>>;

    /// Counts rows and bytes of one kind, for a quota.
    fn usage(&self, owner: &BareJid, kind: &'static str) -> Boxed<Usage>;
}

/// One row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataRow {
    /// Whose feature's it is.
    pub kind: Cow<'static, str>,
    /// Its name within the account and kind.
    pub key: String,
    /// What the feature wrote.
    pub value: Vec<u8>,
}
