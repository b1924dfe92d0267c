//! Binding a resource: from signed in to a session (RFC 6120 §7).

use std::sync::Arc;

use smol_str::SmolStr;
use stentor_jid::{BareJid, FullJid};
use stentor_stanza::{Condition, ErrorType, StanzaError};

use crate::account::{Account, AccountState};
use crate::engine::Engine;
use crate::host::{ResourceConflict, Settings};
use crate::outbox::Close;
use crate::presence;
use crate::refuse::store_error;
use crate::resource::{Flag, Resource};
use crate::session::Session;

/// What shall be bound, for whom.
pub(crate) struct Wish<'a> {
    /// The resource that the client wishes, or that was made for it.
    pub(crate) resource: Option<&'a str>,
    /// The key of the client, whose earlier sessions end (XEP-0386 §3.2).
    pub(crate) client: Option<SmolStr>,
    /// When its credentials were judged, by [`Engine::moment`].
    pub(crate) proven: u64,
    /// Sets up the resource before anybody sees it.
    pub(crate) prepare: &'a (dyn Fn(&Resource) + Sync),
}

impl Engine {
    /// Binds a session of this account, with the wished resource if that can be.
    ///
    /// # Errors
    /// `bad-request`: the wish is no resourcepart (§7.7.2.1). `conflict`: it is in use and the
    /// operator chose to refuse. `resource-constraint`: the account has its sessions (§7.6.2.1).
    /// `not-allowed`: the account is gone or suspended.
    pub async fn bind(
        self: &Arc<Self>,
        account: &BareJid,
        wish: Option<&str>,
    ) -> Result<Arc<Session>, StanzaError> {
        self.bind_proven(account, wish, self.moment()).await
    }

    /// The same, for credentials that were judged at an earlier [`Engine::moment`]: they may have
    /// been changed since.
    ///
    /// # Errors
    /// As [`Engine::bind`], and `not-authorized` if they were.
    pub async fn bind_proven(
        self: &Arc<Self>,
        account: &BareJid,
        wish: Option<&str>,
        proven: u64,
    ) -> Result<Arc<Session>, StanzaError> {
        let wish = Wish { resource: wish, client: None, proven, prepare: &|_| () };
        self.bind_as(account, wish).await
    }

    pub(crate) async fn bind_as(
        self: &Arc<Self>,
        account: &BareJid,
        wish: Wish<'_>,
    ) -> Result<Arc<Session>, StanzaError> {
        let host = self
            .host(account.as_jid().domain())
            .ok_or(StanzaError::new(Condition::ItemNotFound))?;
        let settings = &host.profile.settings;
        let account = if settings.is_anonymous {
            self.visitor(account)
        } else {
            let found = self.account(account).await.map_err(|e| store_error(&e))?;
            found.ok_or(StanzaError::new(Condition::NotAllowed))?
        };
        let former = former(&account, &wish);
        if !former.is_empty() {
            self.give_up(&former).await;
        }
        let (resource, replaced) = self.add_resource(&account, wish, settings)?;
        for older in replaced {
            // Its end must be seen before the newcomer's beginning.
            let left = presence::Left::take(&older);
            presence::announce_end(self, &account, &older, left, None);
            older.outbox.close(Close::Conflict);
        }
        self.metrics.sessions.inc();
        if resource.inactive_ms().is_none() {
            self.attended(&account);
        }
        Ok(Arc::new(Session::new(self.clone(), account, resource)))
    }

    /// Takes the resource, and returns those that it replaces.
    fn add_resource(
        &self,
        account: &Account,
        wish: Wish<'_>,
        settings: &Settings,
    ) -> Result<(Arc<Resource>, Vec<Arc<Resource>>), StanzaError> {
        let wished = match wish.resource.filter(|w| !w.is_empty()) {
            None => random_resource(&account.jid)?,
            Some(wish) => account
                .jid
                .with_resource(wish)
                .map_err(|_| StanzaError::new(Condition::BadRequest))?,
        };
        let mut state = account.lock();
        if state.is_suspended {
            return Err(StanzaError::new(Condition::NotAllowed));
        }
        if state.credentials_changed > wish.proven {
            return Err(StanzaError::new(Condition::NotAuthorized));
        }
        let is_same = |older: &&Arc<Resource>| wish.client.is_some() && older.client == wish.client;
        let mut replaced: Vec<_> = state.resources().iter().filter(is_same).cloned().collect();
        if state.resources().len() - replaced.len() >= settings.sessions_max {
            // A session that waits for a stream makes room for one that has it.
            let idle = state.resources().iter().find(|r| r.has(Flag::Detached)).cloned();
            let full = StanzaError::new(Condition::ResourceConstraint).of_type(ErrorType::Wait);
            replaced.push(idle.ok_or(full)?);
        }
        for older in &replaced {
            state.remove_resource(older.serial);
        }
        let (jid, older) = free_resource(&mut state, wished, settings.resource_conflict)?;
        replaced.extend(older);
        let bound_ms = self.clock.unix_ms();
        let resource = Arc::new(Resource::new(jid, self.next_serial(), bound_ms, wish.client));
        (wish.prepare)(&resource);
        state.add_resource(resource.clone());
        Ok((resource, replaced))
    }

    /// A moment among all changes of credentials, see [`Engine::bind_proven`].
    pub fn moment(&self) -> u64 {
        self.next_serial()
    }

    /// An account that lasts as long as its session (RFC 4505).
    fn visitor(&self, jid: &BareJid) -> Arc<Account> {
        loop {
            let account = Arc::new(Account::new(jid.clone(), true, AccountState::default()));
            let mark = self.directory.mark(jid.as_str());
            if let Some(account) = self.directory.insert(account, mark) {
                return account;
            }
        }
    }
}

/// Sessions without a stream that the device had which binds now.
fn former(account: &Account, wish: &Wish<'_>) -> Vec<Arc<Resource>> {
    let is_same = |older: &&Arc<Resource>| {
        let is_client = wish.client.is_some() && older.client == wish.client;
        is_client || wish.resource == Some(older.jid.resource())
    };
    let state = account.lock();
    state.resources().iter().filter(|r| r.has(Flag::Detached)).filter(is_same).cloned().collect()
}

fn free_resource(
    state: &mut AccountState,
    wished: FullJid,
    rule: ResourceConflict,
) -> Result<(FullJid, Option<Arc<Resource>>), StanzaError> {
    let Some(older) = state.resource(wished.resource()).cloned() else { return Ok((wished, None)) };
    // A device that comes back without resuming has given its former session up.
    let rule = if older.has(Flag::Detached) { ResourceConflict::Replace } else { rule };
    match rule {
        ResourceConflict::Refuse => Err(StanzaError::new(Condition::Conflict)),
        ResourceConflict::Rename => Ok((random_resource(&wished.to_bare())?, None)),
        ResourceConflict::Replace => {
            state.remove_resource(older.serial);
            Ok((wished, Some(older)))
        }
    }
}

fn random_resource(account: &BareJid) -> Result<FullJid, StanzaError> {
    let internal = || StanzaError::new(Condition::InternalServerError);
    account.with_resource(&random_id().map_err(|_| internal())?).map_err(|_| internal())
}

/// 80 bits of the system's randomness as 16 letters and digits.
///
/// # Errors
/// The system has no randomness to give.
pub fn random_id() -> Result<SmolStr, getrandom::Error> {
    let mut bytes = [0_u8; 10];
    getrandom::fill(&mut bytes)?;
    Ok(letters(bytes))
}

/// 80 bits as 16 letters and digits.
pub(crate) fn letters(bytes: [u8; 10]) -> SmolStr {
    let mut bits = bytes.iter().fold(0_u128, |sum, b| sum << 8 | u128::from(*b));
    let letters = (0..16).map(|_| {
        let letter = ALPHABET[usize::try_from(bits & 31).unwrap_or(0)];
        bits >>= 5;
        char::from(letter)
    });
    letters.collect()
}

/// Letters and digits that people do not mistake for one another.
const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
