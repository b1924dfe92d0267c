//! Contacts who come while their user is away, for users who want to hear of that (XEP-0492 §2.3).

use std::sync::Arc;

use stentor_engine::limits::AWAY_MS;
use stentor_engine::{Account, BoxFuture, Engine, Session, Watch, Wish};
use stentor_jid::BareJid;
use stentor_stanza::{PresenceType, Stanza};
use stentor_store::Stage;

use super::due::Notice;
use super::judge;
use super::lanes::{self, Lanes};

/// Takes part in presence.
pub(super) struct Comings;

impl Watch for Comings {
    fn shown(
        &self,
        session: &Arc<Session>,
        presence: &Stanza,
        former: Option<&Stanza>,
    ) -> Option<BoxFuture<'static, ()>> {
        let (engine, account) = (&session.engine, &session.account);
        // Sessions of an earlier process have been there all the time.
        let is_old = former.is_some() || session.resource.bound_ms < engine.started_ms;
        if is_old || account.is_ephemeral {
            return None;
        }
        let owners = engine.awaited.owners(&account.jid);
        let serial = session.resource.serial;
        if owners.is_empty() || account.lock().available().any(|r| r.serial != serial) {
            return None;
        }
        let (session, presence) = (session.clone(), presence.clone());
        engine.start(async move {
            let engine = &session.engine;
            if was_away(engine, &session.account).await {
                for owner in owners {
                    tell(engine, &owner, &presence, Some(&session)).await;
                }
            }
        });
        None
    }

    fn shown_from_abroad(
        &self,
        engine: &Arc<Engine>,
        owner: &BareJid,
        presence: &Stanza,
    ) -> Option<BoxFuture<'static, ()>> {
        let from = presence.head.from.as_ref()?;
        let is_there = presence.presence_type() == Some(PresenceType::Available);
        if engine.awaited.note(owner, from, is_there, engine.clock.unix_ms()) {
            let (engine_too, owner, presence) = (engine.clone(), owner.clone(), presence.clone());
            engine.start(async move { tell(&engine_too, &owner, &presence, None).await });
        }
        None
    }

    fn admitted(&self, _: &Arc<Engine>, _: &Arc<Account>, _: &BareJid) {}

    fn restricted(&self, _: &Arc<Engine>, _: &Arc<Account>, _: &BareJid) {}
}

/// Whether nobody of an account of ours, who is there again, was there for a while.
async fn was_away(engine: &Engine, account: &Account) -> bool {
    let now_ms = engine.clock.unix_ms();
    match engine.last_left(account).await {
        // What was there when the server was killed has left without a word.
        Ok(Some(last)) => now_ms.saturating_sub(last.at_ms.max(engine.started_ms)) >= AWAY_MS,
        Ok(None) => true,
        Err(error) => {
            tracing::error!(event = "store_failed", account = %account.jid, %error, "When somebody left could not be read.");
            false
        }
    }
}

async fn tell(engine: &Arc<Engine>, owner: &BareJid, presence: &Stanza, by: Option<&Session>) {
    let Some(contact) = presence.head.from.as_ref().map(|from| from.to_bare()) else { return };
    let Some(host) = engine.host(owner.domain()) else { return };
    let Some(lanes) = host.profile.shared::<Lanes>() else { return };
    let Ok(Some(account)) = engine.account(owner).await else { return };
    if !engine.may_be_shown(&account, presence, by) {
        return;
    }
    let now_ms = engine.clock.unix_ms();
    let ticket = {
        let mut state = account.lock();
        if !host.awaits(&contact, &state) {
            return engine.awaited.remove(&contact, owner);
        }
        let is_looking = |r| judge::is_looking(lanes.config(), r, now_ms);
        let is_there = state.available().any(|r| is_looking(r));
        if is_there || host.wish(&contact, &state) == Some(Wish::Never) {
            return;
        }
        let name = state.roster.item(&contact).and_then(|item| item.name.as_deref());
        let notice = Notice::online(&contact, name, now_ms).marked(lanes.mark(now_ms));
        let (mark, kind) = (&notice.mark, notice.kind.name());
        tracing::info!(event = "push_due", account = %owner, mark, kind, "Devices are told that a contact is there.");
        let mut stage = Stage::default();
        lanes::raise(&lanes, engine, owner, &mut state, &mut stage, &notice, &[]);
        lanes::submit(engine, stage)
    };
    lanes::settle(engine, &account, ticket).await;
}
