//! The set of our certificates: chosen by server name, replaced while connections go on.

use std::collections::HashMap;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use crate::tls::identity::{Identity, IdentityFiles, LoadError, Reason, Warning};
use crate::tls::tickets::TicketKeys;

/// Our certificates, shared by all listeners.
///
/// The first one is the default. [`Certificates::reload`] replaces all at once or none; sessions
/// that stand keep what they have.
pub struct Certificates {
    table: ArcSwap<Table>,
    files: Mutex<Vec<IdentityFiles>>,
    pub(crate) tickets: Arc<TicketKeys>,
}

impl Certificates {
    /// Reads and checks the given files.
    ///
    /// # Errors
    /// The first file that cannot be used, and why. An expired certificate is only a warning.
    pub fn load(files: Vec<IdentityFiles>) -> Result<(Self, Vec<Warning>), LoadError> {
        let (table, warnings) = Table::load(&files)?;
        let certificates = Self {
            table: ArcSwap::from_pointee(table),
            files: Mutex::new(files),
            tickets: Arc::new(TicketKeys::new()),
        };
        Ok((certificates, warnings))
    }

    /// Reads the same files again.
    ///
    /// # Errors
    /// As [`Certificates::load`]; what was loaded before stays in use.
    pub fn reload(&self) -> Result<Vec<Warning>, LoadError> {
        let files = self.files.lock().clone();
        self.reload_from(files)
    }

    /// Replaces the set by other files.
    ///
    /// # Errors
    /// As [`Certificates::load`]; what was loaded before stays in use.
    pub fn reload_from(&self, files: Vec<IdentityFiles>) -> Result<Vec<Warning>, LoadError> {
        let (table, warnings) = Table::load(&files)?;
        *self.files.lock() = files;
        self.table.store(Arc::new(table));
        Ok(warnings)
    }

    /// Makes all session tickets useless, as after a certificate of a user was revoked.
    pub fn erase_tickets(&self) {
        self.tickets.erase();
    }

    /// Until when each certificate is valid, in the order of the configuration.
    pub fn expiries(&self) -> Vec<Expiry> {
        let expiry = |identity: &Arc<Identity>| Expiry {
            file: identity.file.clone(),
            names: identity.names.clone(),
            not_after_secs: identity.not_after_secs,
        };
        self.table.load().identities.iter().map(expiry).collect()
    }

    /// Whether a certificate is there for this server name (A-label), the default aside.
    pub fn has_name(&self, name: &str) -> bool {
        self.table.load().find(name).is_some()
    }

    pub(crate) fn table(&self) -> Arc<Table> {
        self.table.load_full()
    }
}

impl std::fmt::Debug for Certificates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certificates").field("len", &self.table.load().identities.len()).finish()
    }
}

/// How long a certificate of ours is valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// The file it was read from.
    pub file: PathBuf,
    /// The server names it is used for.
    pub names: Vec<String>,
    /// End of its validity, Unix time in seconds.
    pub not_after_secs: i64,
}

/// One generation of certificates.
pub(crate) struct Table {
    pub(crate) identities: Vec<Arc<Identity>>,
    by_name: HashMap<String, usize>,
}

impl Table {
    fn load(files: &[IdentityFiles]) -> Result<(Self, Vec<Warning>), LoadError> {
        if files.is_empty() {
            return Err(LoadError::new(
                Path::new("(none)"),
                Reason::NoneConfigured,
                "name at least one certificate and key",
            ));
        }
        let mut warnings = Vec::new();
        let mut table = Self { identities: Vec::new(), by_name: HashMap::new() };
        for files in files {
            let identity = Identity::load(files, now_secs(), &mut warnings)?;
            let index = table.identities.len();
            for name in &identity.names {
                table.by_name.entry(name.clone()).or_insert(index);
            }
            table.identities.push(Arc::new(identity));
        }
        // What the configuration says outranks what a certificate says of itself.
        for (index, files) in files.iter().enumerate() {
            for name in &files.names {
                table.by_name.insert(name.to_ascii_lowercase(), index);
            }
        }
        Ok((table, warnings))
    }

    /// The index of the certificate for a server name: the name itself, else a wildcard for its
    /// first label.
    pub(crate) fn find(&self, name: &str) -> Option<usize> {
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        if let Some(index) = self.by_name.get(&name) {
            return Some(*index);
        }
        let (_, parent) = name.split_once('.')?;
        self.by_name.get(&format!("*.{parent}")).copied()
    }
}

/// Unix time in seconds.
pub(crate) fn now_secs() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
