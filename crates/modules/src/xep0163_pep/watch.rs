//! Who comes is told the last items of those whom it sees (§4.3.3 rule 2).

use std::sync::Arc;

use stentor_engine::{Account, BoxFuture, CapsKey, Engine, Interest, Resource, Session, Watch};
use stentor_jid::{BareJid, Jid};
use stentor_stanza::{PresenceType, Stanza};
use stentor_store::{Stage, StoreError};

use super::abroad::Abroad;
use super::last;
use crate::xep0060_pubsub::{cancel_lost, nodes};

/// Takes part in presence.
pub(super) struct Watcher;

impl Watch for Watcher {
    fn shown(
        &self,
        session: &Arc<Session>,
        presence: &Stanza,
        former: Option<&Stanza>,
    ) -> Option<BoxFuture<'static, ()>> {
        let (engine, account) = (&session.engine, &session.account);
        if account.is_ephemeral {
            return None;
        }
        let jid = session.resource.jid.as_jid();
        let key = CapsKey::of(jid, presence)?;
        let former = former.and_then(|former| CapsKey::of(jid, former));
        if former.as_ref() == Some(&key) {
            return None;
        }
        let arrival = Arrival {
            engine: engine.clone(),
            account: account.clone(),
            resource: session.resource.clone(),
            key,
            former: former.and_then(|key| engine.interest(&key)),
        };
        let then = {
            let arrival = arrival.clone();
            |interest| -> BoxFuture<'static, ()> { Box::pin(arrival.welcome(interest)) }
        };
        let known = engine.learn_interest(jid, presence, &account.jid, then)?;
        Some(Box::pin(arrival.welcome(known)))
    }

    fn shown_from_abroad(
        &self,
        engine: &Arc<Engine>,
        owner: &BareJid,
        presence: &Stanza,
    ) -> Option<BoxFuture<'static, ()>> {
        let from = presence.head.from.clone()?;
        if presence.presence_type() != Some(PresenceType::Available) {
            // Nobody who is not in memory has seen it.
            let account = engine.directory.find(owner.as_str())?;
            if let Some(abroad) = account.lock().slots.find_mut::<Abroad>() {
                abroad.forget(&from);
            }
            return None;
        }
        let key = CapsKey::of(&from, presence).filter(|_| from.is_full())?;
        let (engine, owner, presence) = (engine.clone(), owner.clone(), presence.clone());
        Some(Box::pin(async move {
            match engine.account(&owner).await {
                Ok(Some(account)) => see(&engine, &account, &from, &key, &presence).await,
                Ok(None) => {}
                Err(error) => {
                    tracing::error!(event = "store_failed", account = %owner, %error, "An account could not be read.")
                }
            }
        }))
    }

    fn admitted(&self, engine: &Arc<Engine>, account: &Arc<Account>, contact: &BareJid) {
        if account.is_ephemeral {
            return;
        }
        let sessions = engine.directory.find(contact.as_str()).map(|other| other.resources());
        for session in sessions.into_iter().flatten() {
            if let Some(interest) = interest_of(engine, &session) {
                last::tell_session(engine, account, session.jid.as_jid(), &interest, None);
            }
        }
        account.catch_up_alone();
    }

    fn restricted(&self, engine: &Arc<Engine>, account: &Arc<Account>, contact: &BareJid) {
        if account.is_ephemeral {
            return;
        }
        let (engine, owner, contact) = (engine.clone(), account.clone(), contact.clone());
        account.afterwards(async move {
            if let Err(error) = cancel(&engine, &owner, &contact).await {
                tracing::error!(event = "store_failed", account = %owner.jid, %error, "Subscriptions to nodes could not be cancelled.");
            }
        });
        account.catch_up_alone();
    }
}

/// XEP-0163 §7.1: ends the subscriptions of a contact that has lost access, and tells it.
async fn cancel(
    engine: &Arc<Engine>,
    account: &Arc<Account>,
    contact: &BareJid,
) -> Result<(), StoreError> {
    nodes::load(engine, account).await?;
    let (told, ticket) = {
        let mut state = account.lock();
        let mut stage = Stage::new();
        let told = cancel_lost(account, &mut state, contact, &mut stage);
        (told, engine.stores.writer.submit(stage))
    };
    for message in told {
        engine.tell(account, message).await;
    }
    engine.settle(account, ticket).await
}

fn interest_of(engine: &Engine, session: &Resource) -> Option<Arc<Interest>> {
    let key = CapsKey::of(session.jid.as_jid(), &session.presence()?)?;
    engine.interest(&key)
}

/// A session of ours that has come, or shows another mark than before.
#[derive(Clone)]
struct Arrival {
    engine: Arc<Engine>,
    account: Arc<Account>,
    resource: Arc<Resource>,
    key: CapsKey,
    former: Option<Arc<Interest>>,
}

impl Arrival {
    /// Tells it of the account's own nodes and of those of its contacts.
    async fn welcome(self, interest: Arc<Interest>) {
        if interest.is_empty() || !self.is_current() {
            return;
        }
        self.tell(&self.account, &interest).await;
        match self.contacts(&interest).await {
            Ok(contacts) => {
                for contact in contacts {
                    self.tell(&contact, &interest).await;
                }
            }
            Err(error) => {
                tracing::error!(event = "store_failed", account = %self.account.jid, %error, "Last items could not be read.");
            }
        }
    }

    /// Whether the session still shows this mark: learning what it stands for took a while.
    fn is_current(&self) -> bool {
        let shown = self.resource.presence();
        let shown = shown.and_then(|presence| CapsKey::of(self.resource.jid.as_jid(), &presence));
        shown.as_ref() == Some(&self.key)
    }

    async fn tell(&self, owner: &Arc<Account>, interest: &Arc<Interest>) {
        let to = self.resource.jid.as_jid();
        last::tell_session(&self.engine, owner, to, interest, self.former.as_ref());
        owner.catch_up().await;
    }

    /// Contacts of this server that it sees and that have something to tell. Those elsewhere hear of
    /// it themselves.
    async fn contacts(&self, interest: &Interest) -> Result<Vec<Arc<Account>>, StoreError> {
        let ours: Vec<BareJid> = {
            let state = self.account.lock();
            let is_ours = |who: &&BareJid| self.engine.host(who.domain()).is_some();
            state.roster.subscriptions().filter(is_ours).cloned().collect()
        };
        if ours.is_empty() {
            return Ok(Vec::new());
        }
        let nodes: Vec<&str> = interest.nodes().collect();
        // A node may have been made a moment ago.
        self.engine.stores.writer.barrier().await?;
        let mut contacts = Vec::new();
        for contact in self.engine.stores.pubsub.having(&ours, &nodes).await? {
            contacts.extend(self.engine.account(&contact).await?);
        }
        Ok(contacts)
    }
}

/// Notes what somebody elsewhere shows, and tells it the last items if that is new.
async fn see(
    engine: &Arc<Engine>,
    account: &Arc<Account>,
    from: &Jid,
    key: &CapsKey,
    presence: &Stanza,
) {
    let former = {
        let mut state = account.lock();
        // Only presence that is shared both ways counts (§2.3).
        if state.roster.item(&from.to_bare()).is_none_or(|item| !item.from) {
            return;
        }
        if state.slots.find::<Abroad>().is_none() {
            state.slots.put(Abroad::default());
        }
        let Some(abroad) = state.slots.find_mut::<Abroad>() else { return };
        let former = abroad.shown(from).cloned();
        if !abroad.see(from, key) {
            return;
        }
        former.and_then(|key| engine.interest(&key))
    };
    let then = {
        let (engine, account, from) = (engine.clone(), account.clone(), from.clone());
        let former = former.clone();
        |interest| -> BoxFuture<'static, ()> {
            Box::pin(async move {
                last::tell_session(&engine, &account, &from, &interest, former.as_ref());
                account.catch_up().await;
            })
        }
    };
    if let Some(known) = engine.learn_interest(from, presence, &account.jid, then) {
        last::tell_session(engine, account, from, &known, former.as_ref());
        account.catch_up().await;
    }
}
