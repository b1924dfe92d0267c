//! Private XML (XEP-0049): documents by the name and namespace of their root.

use stentor_jid::BareJid;

use crate::{Boxed, Owned, Usage};

/// Private documents of accounts, as received.
pub trait Private: Owned {
    /// Returns the document whose root is `name` in `ns`, or nothing if none was stored.
    fn load(&self, owner: &BareJid, ns: &str, name: &str) -> Boxed<Option<Vec<u8>>>;

    /// Lists which documents there are, without their content.
    fn list(&self, owner: &BareJid) -> Boxed<Vec<PrivateRow>>;

    /// Counts documents and their bytes, for a quota.
    fn usage(&self, owner: &BareJid) -> Boxed<Usage>;
}

/// One private document, without its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrivateRow {
    /// Namespace of the root.
    pub ns: String,
    /// Local name of the root.
    pub name: String,
    /// Length in bytes.
    pub bytes: u64,
}
