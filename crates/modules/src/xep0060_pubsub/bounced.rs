//! Events that come back (§12.4): whoever says that it is not there is told nothing more of the node.

use std::sync::Arc;

use stentor_engine::{Direction, Engine, Look, Lookup, Passing};
use stentor_jid::{BareJid, Jid};
use stentor_stanza::{Condition, ErrorType, MessageType, Stanza, StanzaError};
use stentor_store::{Stage, StoreError};
use stentor_xml::ns;

use super::event::is_about;
use super::nodes::{self, Nodes};
use super::parties;

/// Takes errors to the account itself.
pub(crate) struct Bounces;

/// An error that ends subscriptions.
struct Bounce {
    /// The id of the message that came back.
    id: String,
    /// Who sent it back.
    from: Jid,
    /// Whether it speaks for the whole entity. That one resource is not there means nothing for
    /// the subscription of a bare address.
    is_final: bool,
}

impl Bounce {
    fn read(owner: &BareJid, stanza: &Stanza) -> Option<Self> {
        stanza.message_type().filter(|kind| *kind == MessageType::Error)?;
        stanza.head.to.as_ref().filter(|to| to.as_str() == owner.as_str())?;
        let (id, from) = (stanza.head.id.as_ref()?, stanza.head.from.as_ref()?);
        let error = StanzaError::read(stanza.child(ns::CLIENT, "error")?)?;
        let is_gone = error.condition == Condition::Gone;
        (error.kind == ErrorType::Cancel || is_gone).then(|| Self {
            id: id.to_string(),
            from: from.clone(),
            is_final: is_gone || error.condition == Condition::ItemNotFound,
        })
    }

    /// Whether a subscription of this address ends by it.
    fn ends(&self, subscriber: &Jid) -> bool {
        *subscriber == self.from || (self.is_final && subscriber.as_str() == self.from.bare_str())
    }
}

impl Lookup for Bounces {
    fn look_up(&self, passing: &Passing<'_>) -> Option<Look> {
        if passing.direction != Direction::Received {
            return None;
        }
        let bounce = Bounce::read(passing.account, passing.stanza)?;
        let (engine, owner) = (passing.engine.clone(), passing.account.clone());
        Some(Box::pin(async move {
            end(&engine, &owner, &bounce).await?;
            Ok(None)
        }))
    }
}

async fn end(engine: &Arc<Engine>, owner: &BareJid, bounce: &Bounce) -> Result<(), StoreError> {
    let Some(account) = engine.account(owner).await?.filter(|found| !found.is_ephemeral) else {
        return Ok(());
    };
    nodes::load(engine, &account).await?;
    let ticket = {
        let mut state = account.lock();
        let Some(nodes) = Nodes::of_mut(&mut state) else { return Ok(()) };
        let mut stage = Stage::new();
        for (name, node) in nodes.iter_mut().filter(|(name, _)| is_about(&bounce.id, name)) {
            let ended = node.subscriptions.keys().filter(|jid| bounce.ends(jid));
            let ended: Vec<Jid> = ended.cloned().collect();
            for jid in ended {
                parties::put_subscription(owner, node, name, &jid, None, &mut stage);
            }
        }
        engine.stores.writer.submit(stage)
    };
    engine.settle(&account, ticket).await
}
