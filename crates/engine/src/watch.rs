//! Who shows itself: what features do about presence, beside its way to those who may see it.

use std::sync::Arc;

use stentor_jid::BareJid;
use stentor_stanza::Stanza;

use crate::account::Account;
use crate::engine::Engine;
use crate::host::Host;
use crate::iq::BoxFuture;
use crate::session::{Handling, Session};

/// Takes part in presence. Nothing about who sees it changes.
pub trait Watch: Send + Sync + 'static {
    /// A session of ours has broadcast that it is available; `former` is what it had broadcast
    /// before. The session's next stanza waits for the work.
    fn shown(
        &self,
        session: &Arc<Session>,
        presence: &Stanza,
        former: Option<&Stanza>,
    ) -> Option<BoxFuture<'static, ()>>;

    /// Somebody elsewhere has shown an account of ours, which may not exist, that it is available or
    /// no longer so. The next stanza of its stream waits for the work.
    fn shown_from_abroad(
        &self,
        engine: &Arc<Engine>,
        owner: &BareJid,
        presence: &Stanza,
    ) -> Option<BoxFuture<'static, ()>>;

    /// A contact may see the account's presence from now on.
    fn admitted(&self, engine: &Arc<Engine>, account: &Arc<Account>, contact: &BareJid);

    /// A contact may see less of the account from now on: not its presence any more, or it is in
    /// other groups.
    fn restricted(&self, engine: &Arc<Engine>, account: &Arc<Account>, contact: &BareJid);
}

/// Tells the features of the session's domain.
pub(crate) fn shown(
    session: &Arc<Session>,
    presence: &Stanza,
    former: Option<&Stanza>,
) -> Vec<BoxFuture<'static, ()>> {
    let Ok(host) = session.host() else { return Vec::new() };
    let modules = host.profile.phases.watch.iter();
    modules.filter_map(|m| m.shown(session, presence, former)).collect()
}

/// Tells the features of the account's domain.
pub(crate) fn shown_from_abroad(
    engine: &Arc<Engine>,
    host: &Host,
    owner: &BareJid,
    presence: &Stanza,
) -> Handling {
    let modules = host.profile.phases.watch.iter();
    later(modules.filter_map(|m| m.shown_from_abroad(engine, owner, presence)).collect())
}

/// Tells the features of the account's domain.
pub(crate) fn admitted(engine: &Arc<Engine>, account: &Arc<Account>, contact: &BareJid) {
    let Some(host) = engine.host(account.jid.domain()) else { return };
    for module in &host.profile.phases.watch {
        module.admitted(engine, account, contact);
    }
}

/// Tells the features of the account's domain. The caller holds no lock.
pub fn restricted(engine: &Arc<Engine>, account: &Arc<Account>, contact: &BareJid) {
    let Some(host) = engine.host(account.jid.domain()) else { return };
    for module in &host.profile.phases.watch {
        module.restricted(engine, account, contact);
    }
}

/// All of it, one after the other.
pub(crate) fn later(work: Vec<BoxFuture<'static, ()>>) -> Handling {
    if work.is_empty() {
        return Handling::Done;
    }
    Handling::Later(Box::pin(async move {
        for work in work {
            work.await;
        }
    }))
}
