//! What must be read from the store before a message is decided.
//!
//! Passes wait for nothing, so this comes before them and outside of all locks. The sender's next
//! stanza waits for it: who asks for much reading pays for it.

use std::sync::Arc;

use stentor_jid::BareJid;
use stentor_stanza::Stanza;
use stentor_store::StoreError;

use crate::engine::{Engine, Route};
use crate::iq::BoxFuture;
use crate::phase::{Direction, Look, Passing};
use crate::slots::Slots;

/// What was found for the two passes of a message.
#[derive(Default)]
pub(crate) struct Found {
    sent: Slots,
    received: Slots,
}

impl Found {
    /// What was found for one of the passes.
    pub(crate) const fn of(&self, direction: Direction) -> &Slots {
        match direction {
            Direction::Sent => &self.sent,
            Direction::Received => &self.received,
        }
    }
}

/// Starts what the features of sender and recipient want to know. There is nothing for almost every
/// message.
pub(crate) fn begin(
    engine: &Arc<Engine>,
    sender: Option<&BareJid>,
    recipient: &Route,
    stanza: &Stanza,
) -> Option<BoxFuture<'static, Result<Found, StoreError>>> {
    let recipient = if let Route::Account(_, jid) = recipient { Some(jid) } else { None };
    let sent = looks(engine, sender, Direction::Sent, stanza);
    let received = looks(engine, recipient, Direction::Received, stanza);
    if sent.is_empty() && received.is_empty() {
        return None;
    }
    let engine = engine.clone();
    Some(Box::pin(async move {
        // What was staged before must be readable.
        engine.stores.writer.barrier().await?;
        Ok(Found { sent: all(sent).await?, received: all(received).await? })
    }))
}

fn looks(
    engine: &Arc<Engine>,
    account: Option<&BareJid>,
    direction: Direction,
    stanza: &Stanza,
) -> Vec<Look> {
    let Some(account) = account else { return Vec::new() };
    let Some(host) = engine.host(account.as_jid().domain()) else { return Vec::new() };
    let modules = host.profile.phases.lookup.iter();
    let passing = Passing { engine, account, direction, stanza };
    modules.filter_map(|m| m.look_up(&passing)).collect()
}

async fn all(looks: Vec<Look>) -> Result<Slots, StoreError> {
    let mut slots = Slots::default();
    for look in looks {
        if let Some(slot) = look.await? {
            slots.push(slot);
        }
    }
    Ok(slots)
}
