//! vCards (XEP-0054): one document for each account.

use stentor_jid::BareJid;

use crate::{Boxed, Owned};

/// The vCards of accounts, as received.
pub trait Vcard: Owned {
    /// Returns the `<vCard/>` element, or nothing if none was stored.
    fn load(&self, owner: &BareJid) -> Boxed<Option<Vec<u8>>>;
}
