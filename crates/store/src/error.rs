//! Why a store could not do what it was asked.

use std::sync::Arc;

/// Why a read or a stage failed. Cheap to clone: every ticket of a failed batch carries one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// More is waiting than may wait, or a lock was held too long. Nothing was written.
    #[error("the store is busy")]
    Busy,
    /// The backend cannot be reached or its disk fails. Nothing was written.
    #[error("the store cannot be reached: {0}")]
    Unreachable(Arc<str>),
    /// No space is left, on the disk or under a configured maximum. Nothing was written.
    #[error("the store is full")]
    Full,
    /// What is stored contradicts the write: the account exists already, or a version goes back.
    #[error("the write conflicts with what is stored")]
    Conflict,
    /// The owner of the row is no account, or no longer.
    #[error("the account does not exist")]
    NoAccount,
    /// What is stored cannot be read.
    #[error("stored data is damaged: {0}")]
    Corrupt(Arc<str>),
    /// This store does not do that, or was told not to.
    #[error("the store does not support this")]
    Unsupported,
    /// The store was stopped. Nothing was written.
    #[error("the store is stopped")]
    Stopped,
}

impl StoreError {
    /// Whether the same request may succeed later; a peer is then told to `wait`.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Busy | Self::Unreachable(_) | Self::Full | Self::Stopped => true,
            Self::Conflict | Self::NoAccount | Self::Corrupt(_) | Self::Unsupported => false,
        }
    }

    /// Whether the writes themselves are at fault, so that their neighbours in a transaction may
    /// still succeed.
    pub fn is_of_the_stage(&self) -> bool {
        matches!(self, Self::Conflict | Self::NoAccount)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_time_can_heal_is_temporary() {
        assert!(StoreError::Busy.is_temporary());
        assert!(StoreError::Unreachable("disk".into()).is_temporary());
        assert!(StoreError::Full.is_temporary());
        assert!(!StoreError::Conflict.is_temporary());
        assert!(!StoreError::NoAccount.is_temporary());
        assert!(!StoreError::Corrupt("page 3".into()).is_temporary());
    }
}
