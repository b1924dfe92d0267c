//! Keys that an account lacks, made at sign-in: it came from elsewhere, or hashes were added
//! (XEP-0480).

use stentor_jid::BareJid;
use stentor_sasl::{Condition, Hash, ScramKeys};
use stentor_store::{KeyHash, StoreError, Write};

use crate::credentials::{key_hash, row_of};
use crate::engine::Engine;

impl Engine {
    /// The hashes that an account has keys of; none if there is no account.
    ///
    /// # Errors
    /// The store could not be read.
    pub async fn hashes(&self, account: &BareJid) -> Result<Vec<Hash>, StoreError> {
        let found = self.stores.accounts.hashes(account).await?;
        Ok(Hash::ALL.into_iter().filter(|hash| found.contains(&key_hash(*hash))).collect())
    }

    /// Salt and count for keys of this hash; none if the account has some.
    ///
    /// # Errors
    /// What the client is told.
    pub async fn lacking_keys(
        &self,
        account: &BareJid,
        hash: Hash,
    ) -> Result<Option<(Vec<u8>, u32)>, Condition> {
        match self.stores.accounts.keys(account, key_hash(hash)).await {
            Ok(Some(_)) => Ok(None),
            Ok(None) => {
                let salt = self.credentials.fresh_salt();
                salt.map(Some).map_err(|_| Condition::TemporaryAuthFailure)
            }
            Err(error) => Err(failed(account, &error)),
        }
    }

    /// Keeps new keys beside those of the account, made by who proved the password at this
    /// [`Engine::moment`].
    ///
    /// # Errors
    /// What the client is told.
    pub async fn keep_keys(
        &self,
        account: &BareJid,
        keys: ScramKeys,
        proven: u64,
    ) -> Result<(), Condition> {
        let temporary = Condition::TemporaryAuthFailure;
        let found = self.account(account).await.map_err(|error| failed(account, &error))?;
        let found = found.ok_or(temporary)?;
        let ticket = {
            let state = found.lock();
            // Keys of a password that is no more would let it in again.
            if state.credentials_changed > proven {
                return Err(temporary);
            }
            let write = Write::PutKeys { owner: account.clone(), keys: row_of(keys) };
            self.stores.writer.submit(write)
        };
        self.settle(&found, ticket).await.map_err(|_| temporary)?;
        tracing::info!(event = "keys_added", %account, "An account was given keys that it lacked.");
        Ok(())
    }

    /// Makes the keys that an account lacks of its password, which was proven at this
    /// [`Engine::moment`]. What fails is made at the next sign-in.
    pub async fn complete_keys(&self, account: &BareJid, password: &str, proven: u64) {
        let Ok(there) = self.stores.accounts.hashes(account).await else { return };
        let mut missing = KeyHash::ALL.to_vec();
        missing.retain(|hash| !there.contains(hash));
        if missing.is_empty() {
            return;
        }
        let Ok(rows) = self.credentials.derive(password.to_owned()).await else { return };
        for row in rows.into_iter().filter(|row| missing.contains(&row.hash)) {
            let _ = self.keep_keys(account, crate::credentials::keys_of(row), proven).await;
        }
    }
}

fn failed(account: &BareJid, error: &StoreError) -> Condition {
    tracing::error!(event = "store_failed", %account, %error, "Keys could not be read.");
    Condition::TemporaryAuthFailure
}
