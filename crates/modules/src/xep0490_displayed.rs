//! XEP-0490: Message Displayed Synchronization, version 1.0.1.
//!
//! Takes the state of a chat out of a message and publishes it for the account's other clients.
//! Implements: §4.5 (server assist), §5.2, §7 (the element goes no further; a node that is made for
//! it is for its owner alone). What clients publish themselves needs nothing but XEP-0163.
//! Left out: nothing.
//! Status: complete

use std::sync::Arc;

use stentor_engine::{
    AccountState, Annotate, Cx, Direction, Look, Lookup, Observe, Observed, Passing, Registrar,
    Scope, Slot,
};
use stentor_payload::limits::NODE_ITEM_ID_BYTES_MAX;
use stentor_payload::xep0060_pubsub::Item;
use stentor_stanza::{MessageType, Stanza};
use stentor_store::Stage;
use stentor_xml::{ElementRef, Frame};

use crate::xep0060_pubsub::config::{Access, Bound, LastItem, NodeConfig};
use crate::xep0060_pubsub::{Limits, Publication, nodes, publish};
use crate::xep0163_pep::spread;

/// Takes part in what clients send.
struct Assistant {
    limits: Limits,
}

/// What is to be published once the message is on its way.
struct Assist {
    chat: String,
    displayed: Frame,
}

/// Takes part where accounts publish.
pub(crate) fn register(r: &mut Registrar, limits: &Limits) {
    let assistant = Arc::new(Assistant { limits: limits.clone() });
    r.disco_stored(Scope::Account, &[SERVER_ASSIST]);
    r.lookup(assistant.clone());
    r.annotate(assistant.clone());
    r.observe(assistant);
}

/// How a node is made for this (§4.2).
pub(crate) fn config() -> NodeConfig {
    NodeConfig {
        access: Access::Whitelist,
        max_items: Bound::Max,
        last_item: LastItem::Never,
        ..NodeConfig::default()
    }
}

fn is_displayed(element: ElementRef<'_>) -> bool {
    element.is(NODE, "displayed")
}

impl Assist {
    fn read(stanza: &Stanza) -> Option<Self> {
        // §4.5.3: the chat is the address; an error says nothing of its own.
        stanza.message_type().filter(|kind| *kind != MessageType::Error)?;
        let displayed = stanza.children().find(|child| is_displayed(*child))?;
        let chat = stanza.head.to.as_ref()?.to_string();
        (chat.len() <= NODE_ITEM_ID_BYTES_MAX).then(|| Self {
            chat,
            displayed: Frame::build(|w| {
                w.element(displayed);
            }),
        })
    }
}

impl Lookup for Assistant {
    fn look_up(&self, passing: &Passing<'_>) -> Option<Look> {
        if passing.direction != Direction::Sent {
            return None;
        }
        let assist = Assist::read(passing.stanza)?;
        let (engine, owner) = (passing.engine.clone(), passing.account.clone());
        Some(Box::pin(async move {
            let Some(account) = engine.account(&owner).await? else { return Ok(None) };
            nodes::load(&engine, &account).await?;
            Ok(Some(Box::new(assist) as Slot))
        }))
    }
}

impl Annotate for Assistant {
    // §5.2: before it is archived, copied or sent on.
    fn annotate(&self, cx: &Cx<'_>, stanza: &mut Stanza, _: &AccountState) {
        if cx.direction == Direction::Sent && stanza.children().any(is_displayed) {
            stanza.cut(is_displayed);
        }
    }
}

impl Observe for Assistant {
    fn observe(
        &self,
        cx: &Cx<'_>,
        _: &Stanza,
        _: &Observed<'_>,
        state: &mut AccountState,
        stage: &mut Stage,
    ) {
        let Some(assist) = cx.found.find::<Assist>() else { return };
        if cx.direction != Direction::Sent || cx.account.is_ephemeral {
            return;
        }
        let publication = Publication {
            node: NODE,
            items: vec![Item {
                id: Some(assist.chat.clone()),
                payload: Some(assist.displayed.clone()),
            }],
            options: None,
            usual: config(),
            by: &cx.account.jid,
            session: None,
        };
        match publish(cx.engine, cx.account, state, &self.limits, publication, stage) {
            Ok(published) => {
                for news in published.news {
                    spread::tell_of(cx.engine, cx.account, state, news);
                }
                cx.account.catch_up_alone();
            }
            // The message itself is fine.
            Err(error) => {
                tracing::warn!(event = "displayed_failed", account = %cx.account.jid, %error, "What was displayed could not be published.");
            }
        }
    }
}

/// The node, and the namespace of its items.
pub(crate) const NODE: &str = "urn:xmpp:mds:displayed:0";
/// The server publishes for its clients (§4.5.2).
const SERVER_ASSIST: &str = "urn:xmpp:mds:server-assist:0";
