//! Making, changing and deleting accounts: what the command line, administrators and XEP-0077 do.

use std::sync::Arc;

use stentor_jid::BareJid;
use stentor_store::{StoreError, Write};

use crate::credentials::PasswordError;
use crate::engine::Engine;
use crate::outbox::Close;
use crate::presence;

/// Why an account could not be made or changed.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// There is one of this name.
    #[error("the account exists already")]
    Exists,
    /// There is none of this name.
    #[error("there is no such account")]
    Missing,
    /// The domain is not ours, or the name has no local part.
    #[error("the address is not one of an account on a domain of this server")]
    NotOurs,
    /// The domain is for visitors, who sign in without one (XEP-0175).
    #[error("the domain takes visitors only, who need no account")]
    VisitorsOnly,
    /// The password cannot be used.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// The store refused.
    #[error("the store refused the change: {0}")]
    Store(StoreError),
}

impl From<StoreError> for AccountError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Conflict => Self::Exists,
            StoreError::NoAccount => Self::Missing,
            other => Self::Store(other),
        }
    }
}

impl Engine {
    /// Makes an account. On return it is on disk.
    ///
    /// # Errors
    /// As [`AccountError`] says.
    pub async fn create_account(
        &self,
        jid: &BareJid,
        password: String,
    ) -> Result<(), AccountError> {
        let host = self.host(jid.domain()).filter(|_| jid.local().is_some());
        let host = host.ok_or(AccountError::NotOurs)?;
        if host.profile.settings.is_anonymous {
            return Err(AccountError::VisitorsOnly);
        }
        // The derivation costs milliseconds: not for a name that is taken.
        if self.stores.accounts.load(jid).await?.is_some() {
            return Err(AccountError::Exists);
        }
        let keys = self.credentials.derive(password).await?;
        let created_ms = self.clock.unix_ms();
        let write = Write::CreateAccount { owner: jid.clone(), created_ms, keys };
        Ok(self.stores.writer.submit(write).await?)
    }

    /// Suspends an account, or lifts that. Its sessions end; nothing of it is lost.
    ///
    /// # Errors
    /// As [`AccountError`] says.
    pub async fn suspend_account(&self, jid: &BareJid, suspend: bool) -> Result<(), AccountError> {
        let account = self.account(jid).await?.ok_or(AccountError::Missing)?;
        let write = Write::SetSuspended { owner: jid.clone(), is_suspended: suspend };
        self.stores.writer.submit(write).await?;
        account.lock().is_suspended = suspend;
        if suspend {
            self.close_account(jid, Close::Suspended);
        }
        Ok(())
    }

    /// Deletes an account with everything it owns. Its contacts' subscriptions end, its sessions
    /// end, later messages find nobody (XEP-0077 §3.2, RFC 6121 §8.5.1).
    ///
    /// # Errors
    /// As [`AccountError`] says.
    pub async fn delete_account(self: &Arc<Self>, jid: &BareJid) -> Result<(), AccountError> {
        self.delete_account_saying(jid, || ()).await
    }

    /// The same; `last_words` are queued after the commit and before the sessions end.
    ///
    /// # Errors
    /// As [`AccountError`] says.
    pub async fn delete_account_saying(
        self: &Arc<Self>,
        jid: &BareJid,
        last_words: impl FnOnce() + Send,
    ) -> Result<(), AccountError> {
        let account = self.account(jid).await?.ok_or(AccountError::Missing)?;
        // From here on nothing is stored for it any more.
        account.lock().is_suspended = true;
        let delete = Write::DeleteAccount { owner: jid.clone() };
        if let Err(error) = self.stores.writer.submit(delete).await {
            account.lock().is_suspended = false;
            return Err(error.into());
        }
        presence::forget_account(self, &account).await;
        last_words();
        for resource in account.resources() {
            resource.outbox.close(Close::Deleted);
        }
        self.directory.remove(jid.as_str());
        self.sweep_archives().await;
        Ok(())
    }

    /// Removes what deleted accounts had archived, step by step. What fails now is done by the
    /// hourly chores.
    async fn sweep_archives(&self) {
        while let Ok(true) = self.stores.archive.expire(None, i64::MIN).await {}
    }
}
