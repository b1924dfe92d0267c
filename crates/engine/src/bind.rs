//! Binding a resource: from signed in to a session (RFC 6120 §7).

use std::sync::Arc;

use smol_str::SmolStr;
use stentor_jid::{BareJid, FullJid};
use stentor_stanza::{Condition, ErrorType, StanzaError};

use crate::account::{Account, AccountState};
use crate::engine::Engine;
use crate::host::{Host, ResourceConflict, Settings};
use crate::refuse::store_error;
use crate::replaced::Replaced;
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
        let (resource, replaced) = self.add_resource(&host, &account, wish)?;
        // Their end must be seen before the newcomer's beginning.
        self.bid_farewell(&account, replaced);
        self.metrics.sessions.inc();
        if resource.inactive_ms().is_none() {
            self.attended(&account);
        }
        Ok(Arc::new(Session::new(self.clone(), account, resource)))
    }

    /// Takes the resource, and returns those that it replaces.
    fn add_resource(
        self: &Arc<Self>,
        host: &Arc<Host>,
        account: &Arc<Account>,
        wish: Wish<'_>,
    ) -> Result<(Arc<Resource>, Replaced), StanzaError> {
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
        let settings = &host.profile.settings;
        let (jid, older) = place_for(&state, wished, wish.client.as_ref(), settings)?;
        let replaced = self.replace(host, account, &mut state, older);
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

/// The address of the new session, and those that make place for it.
fn place_for(
    state: &AccountState,
    wished: FullJid,
    client: Option<&SmolStr>,
    settings: &Settings,
) -> Result<(FullJid, Vec<Arc<Resource>>), StanzaError> {
    let is_same = |older: &&Arc<Resource>| client.is_some() && older.client.as_ref() == client;
    let mut older: Vec<_> = state.resources().iter().filter(is_same).cloned().collect();
    let holder = state.resource(wished.resource()).filter(|holder| !is_same(holder));
    // A device that comes back without resuming has given its former session up.
    let rule = match holder {
        Some(holder) if !holder.has(Flag::Detached) => settings.resource_conflict,
        _ => ResourceConflict::Replace,
    };
    let jid = match (holder, rule) {
        (Some(_), ResourceConflict::Refuse) => return Err(StanzaError::new(Condition::Conflict)),
        (Some(_), ResourceConflict::Rename) => random_resource(&wished.to_bare())?,
        (_, _) => {
            older.extend(holder.cloned());
            wished
        }
    };
    if state.resources().len() - older.len() >= settings.sessions_max {
        // A session that waits for a stream makes room for one that has it.
        let mut waiting = state.resources().iter().filter(|r| r.has(Flag::Detached));
        let idle = waiting.find(|r| !older.iter().any(|older| older.serial == r.serial)).cloned();
        let full = StanzaError::new(Condition::ResourceConstraint).of_type(ErrorType::Wait);
        older.push(idle.ok_or(full)?);
    }
    Ok((jid, older))
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
