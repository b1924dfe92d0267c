//! Last activity (XEP-0012): when an account was last online.

use stentor_jid::BareJid;

use crate::{Boxed, Owned};

/// The last logout of accounts.
pub trait Last: Owned {
    /// Returns the last logout, or nothing if there was none yet.
    fn load(&self, owner: &BareJid) -> Boxed<Option<LastRow>>;
}

/// One logout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastRow {
    /// When the last resource went away, in milliseconds since 1970 UTC.
    pub at_ms: i64,
    /// The `<status/>` of that unavailable presence.
    pub status: Option<String>,
}
