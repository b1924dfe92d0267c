//! Hosts: the domains that are served without standing in the configuration file.

use crate::Boxed;

/// Hosts by name.
pub trait Hosts: Send + Sync {
    /// Returns the host, or nothing if there is none.
    fn load(&self, name: &str) -> Boxed<Option<HostRow>>;

    /// Lists hosts in the order of their names, from the first one past `after`.
    ///
    /// At most `limit` and never more than [`PAGE_ROWS_MAX`](crate::limits::PAGE_ROWS_MAX).
    fn list(&self, after: Option<&str>, limit: u32) -> Boxed<Vec<HostRow>>;

    /// Counts the hosts.
    fn count(&self) -> Boxed<u64>;
}

/// One host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostRow {
    /// The prepared domain.
    pub name: String,
    /// The profile whose modules serve it.
    pub profile: String,
    /// Whether it is served.
    pub is_enabled: bool,
    /// When it was added, in milliseconds since 1970 UTC.
    pub created_ms: i64,
}
