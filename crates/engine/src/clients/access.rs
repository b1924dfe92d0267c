//! Who has access to an account, and how it is taken back: what users and administrators see.

use std::collections::BTreeMap;
use std::sync::Arc;

use smol_str::{SmolStr, format_smolstr};
use stentor_jid::{BareJid, FullJid};
use stentor_store::{Stage, Write};

use super::{Client, Clients};
use crate::account::AccountState;
use crate::engine::Engine;
use crate::outbox::Close;
use crate::registration::AccountError;
use crate::resource::Resource;

/// One client with access to an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// What names it towards users and administrators.
    pub key: SmolStr,
    /// Its sessions now.
    pub sessions: Vec<FullJid>,
    /// What is known of it. Of a session without an id, as by RFC 6120 §6, little is.
    pub client: Client,
    /// Whether it has a token that is good.
    pub has_token: bool,
}

/// What came of taking access back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revoked {
    /// How many sessions were ended.
    pub sessions: usize,
    /// Whether the client may still come back: it has shown the present password.
    pub knows_password: bool,
}

impl Engine {
    /// The clients that have access to an account, those seen last first.
    ///
    /// # Errors
    /// There is no such account, or the store could not be read.
    pub async fn clients(&self, jid: &BareJid) -> Result<Vec<Access>, AccountError> {
        let account = self.account(jid).await?.ok_or(AccountError::Missing)?;
        let now_ms = self.clock.unix_ms();
        let mut all = of(&account.lock(), now_ms);
        all.sort_by_key(|access| std::cmp::Reverse(access.client.last_ms));
        Ok(all)
    }

    /// Takes back the access of one client: its tokens are good no more, its sessions end. None if
    /// there is no such client. On return it is on disk.
    ///
    /// `last_words` are queued after the commit and before the sessions end.
    ///
    /// # Errors
    /// There is no such account, or the store refused.
    pub async fn revoke_client(
        self: &Arc<Self>,
        jid: &BareJid,
        key: &str,
        last_words: impl FnOnce(Revoked) + Send,
    ) -> Result<Option<Revoked>, AccountError> {
        let account = self.account(jid).await?.ok_or(AccountError::Missing)?;
        let now_ms = self.clock.unix_ms();
        let (ticket, ended, knows_password) = {
            let mut state = account.lock();
            let Some(access) = of(&state, now_ms).into_iter().find(|a| a.key == key) else {
                return Ok(None);
            };
            // A sign-in that is under way must not outlive this.
            state.credentials_changed = self.moment();
            let mut stage = Stage::new();
            if let Some(clients) = state.slots.find_mut::<Clients>()
                && clients.find_mut(key).is_some_and(|client| client.tokens.revoke())
            {
                clients.put(jid, &access.key).into_iter().for_each(|write| stage.push(write));
            }
            let told = &mut state;
            self.attend(&account, |module, cx| module.cut_off(cx, key, told, &mut stage));
            let ended: Vec<_> =
                state.resources().iter().filter(|r| name(r) == key).cloned().collect();
            let ticket = (!stage.is_empty()).then(|| self.stores.writer.submit(stage));
            (ticket, ended, access.client.knows_password)
        };
        if let Some(ticket) = ticket {
            self.settle(&account, ticket).await?;
        }
        let revoked = Revoked { sessions: ended.len(), knows_password };
        last_words(revoked);
        close(&ended);
        Ok(Some(revoked))
    }

    /// Replaces the password. Tokens are good no more, and sessions end, but for the one that is
    /// named. On return it is on disk.
    ///
    /// # Errors
    /// As [`AccountError`] says.
    pub async fn set_password(
        &self,
        jid: &BareJid,
        password: String,
        except: Option<&Resource>,
    ) -> Result<(), AccountError> {
        // The derivation costs milliseconds: not for a name without an account.
        let account = self.account(jid).await?.ok_or(AccountError::Missing)?;
        let keys = self.credentials.derive(password).await?;
        let ticket = {
            let mut state = account.lock();
            let mut stage = Stage::from(Write::SetKeys { owner: jid.clone(), keys });
            if let Some(clients) = state.slots.find_mut::<Clients>() {
                revoke_all(clients, jid).into_iter().for_each(|write| stage.push(write));
            }
            self.stores.writer.submit(stage)
        };
        self.settle(&account, ticket).await?;
        self.credentials.guard.forgive_account(jid);
        let ended: Vec<_> = {
            let mut state = account.lock();
            // The old keys could be read until now: what was proven by them counts no more.
            state.credentials_changed = self.moment();
            let kept = except.map(|resource| resource.serial);
            let is_other = |r: &&Arc<Resource>| Some(r.serial) != kept;
            state.resources().iter().filter(is_other).cloned().collect()
        };
        close(&ended);
        Ok(())
    }
}

fn revoke_all(clients: &mut Clients, owner: &BareJid) -> Vec<Write> {
    let mut changed = Vec::new();
    for (key, client) in clients.iter_mut() {
        let knew = std::mem::take(&mut client.knows_password);
        if client.tokens.revoke() || knew {
            changed.push(key.clone());
        }
    }
    changed.iter().filter_map(|key| clients.put(owner, key)).collect()
}

fn close(resources: &[Arc<Resource>]) {
    for resource in resources {
        resource.outbox.close(Close::Revoked);
    }
}

/// Clients that may sign in, and whoever has a session.
fn of(state: &AccountState, now_ms: i64) -> Vec<Access> {
    let mut all: BTreeMap<SmolStr, Access> = BTreeMap::new();
    if let Some(clients) = state.slots.find::<Clients>() {
        for (key, client) in clients.iter() {
            all.insert(key.clone(), Access::new(key.clone(), client.clone(), now_ms));
        }
    }
    for resource in state.resources() {
        let key = name(resource);
        let unnamed = || Client {
            first_ms: resource.bound_ms,
            last_ms: resource.bound_ms,
            knows_password: true,
            ..Client::default()
        };
        let access = all.entry(key.clone()).or_insert_with(|| Access::new(key, unnamed(), now_ms));
        access.sessions.push(resource.jid.clone());
    }
    let mut all: Vec<_> = all.into_values().collect();
    all.retain(|access| !access.sessions.is_empty() || access.client.has_access(now_ms));
    all
}

impl Access {
    fn new(key: SmolStr, client: Client, now_ms: i64) -> Self {
        let has_token = client.tokens.is_any_good(now_ms);
        Self { key, sessions: Vec::new(), client, has_token }
    }
}

/// The key of a session's client; a session without an id is a client of its own.
fn name(resource: &Resource) -> SmolStr {
    resource.client.clone().unwrap_or_else(|| format_smolstr!("session-{}", resource.serial))
}
