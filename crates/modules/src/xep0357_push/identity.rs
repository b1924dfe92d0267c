//! What the clients of devices say that they are, which decides how much those are told (XEP-0492 §2.2).

use std::sync::Arc;

use stentor_engine::{Account, BoxFuture, Engine, Interest, Session, Watch};
use stentor_jid::BareJid;
use stentor_stanza::Stanza;
use stentor_store::Stage;

use super::lanes;
use super::registration::Registrations;

/// Takes part in presence.
pub(super) struct Identities;

impl Watch for Identities {
    fn shown(
        &self,
        session: &Arc<Session>,
        presence: &Stanza,
        _: Option<&Stanza>,
    ) -> Option<BoxFuture<'static, ()>> {
        learn(session, presence)
    }

    fn shown_from_abroad(
        &self,
        _: &Arc<Engine>,
        _: &BareJid,
        _: &Stanza,
    ) -> Option<BoxFuture<'static, ()>> {
        None
    }

    fn admitted(&self, _: &Arc<Engine>, _: &Arc<Account>, _: &BareJid) {}

    fn restricted(&self, _: &Arc<Engine>, _: &Arc<Account>, _: &BareJid) {}
}

/// Notes what a session says that it is, with the devices that are its own; where that is not known yet
/// it is asked.
pub(super) fn learn(session: &Arc<Session>, presence: &Stanza) -> Option<BoxFuture<'static, ()>> {
    let (engine, account) = (&session.engine, &session.account);
    let is_told = account.lock().slots.find::<Registrations>().is_some_and(|registrations| {
        registrations.0.values().any(|registration| registration.is_of(&session.resource))
    });
    if !is_told {
        return None;
    }
    let asked = session.clone();
    let then = move |known: Arc<Interest>| -> BoxFuture<'static, ()> {
        Box::pin(async move { note(&asked, &known).await })
    };
    let jid = session.resource.jid.as_jid();
    let known = engine.learn_interest(jid, presence, &account.jid, then)?;
    let session = session.clone();
    Some(Box::pin(async move { note(&session, &known).await }))
}

async fn note(session: &Session, known: &Interest) {
    let (engine, account) = (&session.engine, &session.account);
    // Of several the one of a client, as what wakes somebody.
    let of_client = known.identities().find(|(category, _)| *category == CLIENT);
    let Some((category, kind)) = of_client.or_else(|| known.identities().next()) else { return };
    let identity = Some((category.to_owned(), kind.to_owned()));
    let ticket = {
        let mut state = account.lock();
        let mut stage = Stage::default();
        let Some(registrations) = state.slots.find_mut::<Registrations>() else { return };
        for (key, registration) in &mut registrations.0 {
            if registration.is_of(&session.resource) && registration.identity != identity {
                registration.identity.clone_from(&identity);
                stage.push(registration.put(&account.jid, key));
            }
        }
        lanes::submit(engine, stage)
    };
    lanes::settle(engine, account, ticket).await;
}

/// The category of what people use.
const CLIENT: &str = "client";
