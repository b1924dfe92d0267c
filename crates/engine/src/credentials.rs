//! Who may sign in: salted SCRAM keys, derived off the sessions' threads; never a password at rest.

use std::sync::Arc;

use stentor_jid::BareJid;
use stentor_sasl::{Hash, ScramKeys};
use stentor_store::{Accounts, KeyHash, KeyRow, StoreError};
use tokio::sync::Semaphore;

use crate::clients::Secrets;
use crate::guard::{Guard, GuardSettings};

/// What deciding about a password needs.
pub struct Credentials {
    /// Failures and lock-outs.
    pub guard: Guard,
    /// What becomes of the ids of clients and tokens.
    pub clients: Secrets,
    /// Makes the salts of accounts that do not exist, and the ids that are shown: the same at each
    /// attempt, and unknown to whoever asks. Kept in the data folder so that it outlives a restart.
    secret: Box<[u8]>,
    iterations: u32,
    /// Derivations at a time: they are pure computation.
    derivations: Arc<Semaphore>,
}

/// Why keys could not be made of a password.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// It is empty, too long or has characters that RFC 8265 forbids in passwords.
    #[error("the password is empty, too long or has forbidden characters")]
    Unusable,
    /// The computation was cut off.
    #[error("the server is stopping")]
    Stopping,
}

impl Credentials {
    /// Credentials with this secret and this many iterations for new keys.
    #[must_use]
    pub fn new(secret: &[u8], iterations: u32, guard: GuardSettings) -> Self {
        Self {
            guard: Guard::new(guard),
            clients: Secrets::new(secret),
            secret: secret.into(),
            iterations,
            derivations: Arc::new(Semaphore::new(DERIVATIONS_MAX)),
        }
    }

    /// What only this server knows.
    pub(crate) fn secret(&self) -> &[u8] {
        &self.secret
    }

    /// The keys of an account for one hash, and whether they are real. Those of an account that
    /// does not exist look like any other and never match.
    ///
    /// # Errors
    /// The store could not be read.
    pub async fn keys(
        &self,
        accounts: &Arc<dyn Accounts>,
        account: &BareJid,
        hash: Hash,
    ) -> Result<(ScramKeys, bool), StoreError> {
        let row = accounts.keys(account, key_hash(hash)).await?;
        Ok(match row {
            Some(row) => (keys_of(row), true),
            None => (ScramKeys::fake(hash, &self.secret, account.as_str(), self.iterations), false),
        })
    }

    /// Whether this is the account's password. Takes as long for an account that does not exist.
    ///
    /// # Errors
    /// The store could not be read.
    pub async fn verify(
        &self,
        accounts: &Arc<dyn Accounts>,
        account: &BareJid,
        password: String,
    ) -> Result<bool, StoreError> {
        let (mut keys, mut exists) = self.keys(accounts, account, Hash::Sha256).await?;
        // An account that came from elsewhere may have keys of one hash only.
        for other in [Hash::Sha512, Hash::Sha1] {
            if !exists {
                let (found, is_real) = self.keys(accounts, account, other).await?;
                (keys, exists) = if is_real { (found, true) } else { (keys, false) };
            }
        }
        let matches = self.off_thread(move || keys.verify(&password)).await.unwrap_or(false);
        Ok(matches && exists)
    }

    /// Keys for every hash, from a new random salt.
    ///
    /// # Errors
    /// The password cannot be used, or the server is stopping.
    pub async fn derive(&self, password: String) -> Result<Vec<KeyRow>, PasswordError> {
        let iterations = self.iterations;
        let derived = self.off_thread(move || derive_all(&password, iterations)).await;
        derived.ok_or(PasswordError::Stopping)?
    }

    /// Salt and count for new keys.
    ///
    /// # Errors
    /// The server is stopping.
    pub fn fresh_salt(&self) -> Result<(Vec<u8>, u32), PasswordError> {
        let mut salt = vec![0; SALT_BYTES];
        getrandom::fill(&mut salt).map_err(|_| PasswordError::Stopping)?;
        Ok((salt, self.iterations))
    }

    async fn off_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let permit = self.derivations.clone().acquire_owned().await.ok()?;
        // A derivation takes milliseconds of computation: not on a thread that serves sessions.
        tokio::task::spawn_blocking(move || {
            let _permit = permit;
            work()
        })
        .await
        .ok()
    }
}

/// Derives the keys that are stored for a password; blocking.
///
/// # Errors
/// The password cannot be used, or the system has no randomness.
pub fn derive_all(password: &str, iterations: u32) -> Result<Vec<KeyRow>, PasswordError> {
    [Hash::Sha1, Hash::Sha256, Hash::Sha512]
        .into_iter()
        .map(|hash| {
            let mut salt = [0_u8; SALT_BYTES];
            getrandom::fill(&mut salt).map_err(|_| PasswordError::Stopping)?;
            let keys = ScramKeys::derive(hash, password, &salt, iterations)
                .map_err(|_| PasswordError::Unusable)?;
            Ok(row_of(keys))
        })
        .collect()
}

pub(crate) fn keys_of(row: KeyRow) -> ScramKeys {
    let hash = match row.hash {
        KeyHash::Sha1 => Hash::Sha1,
        KeyHash::Sha256 => Hash::Sha256,
        KeyHash::Sha512 => Hash::Sha512,
    };
    ScramKeys {
        hash,
        salt: row.salt,
        iterations: row.iterations,
        stored_key: row.stored_key,
        server_key: row.server_key,
    }
}

pub(crate) fn row_of(keys: ScramKeys) -> KeyRow {
    KeyRow {
        hash: key_hash(keys.hash),
        iterations: keys.iterations,
        salt: keys.salt,
        stored_key: keys.stored_key,
        server_key: keys.server_key,
    }
}

pub(crate) const fn key_hash(hash: Hash) -> KeyHash {
    match hash {
        Hash::Sha1 => KeyHash::Sha1,
        Hash::Sha256 => KeyHash::Sha256,
        Hash::Sha512 => KeyHash::Sha512,
    }
}

const SALT_BYTES: usize = 16;
/// More would only take the processor from the sessions.
const DERIVATIONS_MAX: usize = 2;
