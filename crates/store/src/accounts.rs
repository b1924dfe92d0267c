//! Accounts: who may sign in.

use std::fmt;

use stentor_jid::BareJid;

use crate::{Boxed, Owned};

/// Accounts of all hosts.
pub trait Accounts: Owned {
    /// Returns the account, or nothing if there is none.
    fn load(&self, owner: &BareJid) -> Boxed<Option<AccountRow>>;

    /// Returns the keys of one hash, or nothing if the account or these keys do not exist.
    fn keys(&self, owner: &BareJid, hash: KeyHash) -> Boxed<Option<KeyRow>>;

    /// Returns the hashes that the account has keys of; none if there is no account.
    fn hashes(&self, owner: &BareJid) -> Boxed<Vec<KeyHash>>;

    /// Lists accounts of `host` in the order of their addresses, from the first one past `after`.
    ///
    /// At most `limit` and never more than [`PAGE_ROWS_MAX`](crate::limits::PAGE_ROWS_MAX). A row
    /// that cannot be read is left out and logged.
    fn list(&self, host: &str, after: Option<&BareJid>, limit: u32) -> Boxed<Vec<AccountRow>>;

    /// Counts the accounts of `host`.
    fn count(&self, host: &str) -> Boxed<u64>;
}

/// One account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountRow {
    /// Its address.
    pub owner: BareJid,
    /// When it was made, in milliseconds since 1970 UTC.
    pub created_ms: i64,
    /// Whether an administrator has suspended it. Its data stays.
    pub is_suspended: bool,
}

/// The hash functions that SCRAM keys are kept for (RFC 5802, RFC 7677).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyHash {
    /// SHA-1.
    Sha1,
    /// SHA-256.
    Sha256,
    /// SHA-512.
    Sha512,
}

impl KeyHash {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Sha1, Self::Sha256, Self::Sha512];

    /// The name of the hash function as in the SASL mechanism.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha1 => "SHA-1",
            Self::Sha256 => "SHA-256",
            Self::Sha512 => "SHA-512",
        }
    }

    /// Finds a hash by its name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|hash| hash.name() == name)
    }
}

/// What SCRAM keeps of a password for one hash (RFC 5802 §3). Never the password.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyRow {
    /// The hash function that made the keys.
    pub hash: KeyHash,
    /// Iterations of the derivation.
    pub iterations: u32,
    /// The salt.
    pub salt: Vec<u8>,
    /// `StoredKey`.
    pub stored_key: Vec<u8>,
    /// `ServerKey`.
    pub server_key: Vec<u8>,
}

impl fmt::Debug for KeyRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyRow")
            .field("hash", &self.hash)
            .field("iterations", &self.iterations)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_do_not_show_in_debug_output() {
        let row = KeyRow {
            hash: KeyHash::Sha256,
            iterations: 10_000,
            salt: vec![171; 4],
            stored_key: vec![172; 4],
            server_key: vec![173; 4],
        };
        let shown = format!("{row:?}");
        assert!(shown.contains("Sha256"));
        assert!(!shown.contains("17"), "{shown}");
    }

    #[test]
    fn hashes_are_found_by_their_names() {
        for hash in KeyHash::ALL {
            assert_eq!(KeyHash::from_name(hash.name()), Some(hash));
        }
        assert_eq!(KeyHash::from_name("MD5"), None);
    }
}
