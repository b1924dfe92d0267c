//! Binding a resource: from signed in to a session (RFC 6120 §7).

use std::sync::Arc;

use smol_str::SmolStr;
use stentor_jid::{BareJid, FullJid};
use stentor_stanza::{Condition, ErrorType, StanzaError};

use crate::account::{Account, AccountState};
use crate::engine::Engine;
use crate::host::ResourceConflict;
use crate::outbox::Close;
use crate::presence;
use crate::refuse::store_error;
use crate::resource::Resource;
use crate::session::Session;

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
        let wished = match wish.filter(|w| !w.is_empty()) {
            None => random_resource(&account.jid)?,
            Some(wish) => account
                .jid
                .with_resource(wish)
                .map_err(|_| StanzaError::new(Condition::BadRequest))?,
        };
        let (resource, replaced) = {
            let mut state = account.lock();
            if state.is_suspended {
                return Err(StanzaError::new(Condition::NotAllowed));
            }
            if state.resources().len() >= settings.sessions_max {
                return Err(
                    StanzaError::new(Condition::ResourceConstraint).of_type(ErrorType::Wait)
                );
            }
            let (jid, replaced) = free_resource(&mut state, wished, settings.resource_conflict)?;
            let resource = Arc::new(Resource::new(jid, self.next_serial()));
            state.add_resource(resource.clone());
            (resource, replaced)
        };
        if let Some(older) = replaced {
            // Its end must be seen before the newcomer's beginning.
            let left = presence::Left::take(&older);
            presence::announce_end(self, &account, &older, left, None);
            older.outbox.close(Close::Conflict);
        }
        self.metrics.sessions.inc();
        Ok(Arc::new(Session::new(self.clone(), account, resource)))
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

fn free_resource(
    state: &mut AccountState,
    wished: FullJid,
    rule: ResourceConflict,
) -> Result<(FullJid, Option<Arc<Resource>>), StanzaError> {
    let Some(older) = state.resource(wished.resource()).cloned() else { return Ok((wished, None)) };
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
    let mut bits = bytes.iter().fold(0_u128, |sum, b| sum << 8 | u128::from(*b));
    let letters = (0..16).map(|_| {
        let letter = ALPHABET[usize::try_from(bits & 31).unwrap_or(0)];
        bits >>= 5;
        char::from(letter)
    });
    Ok(letters.collect())
}

/// Letters and digits that people do not mistake for one another.
const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
