//! What a service tells (§7.1.2, §7.2.2.1, §8): the messages, without addressees.

use std::sync::Arc;

use smol_str::format_smolstr;
use stentor_engine::{Resource, random_id};
use stentor_jid::{BareJid, Jid};
use stentor_payload::Encode;
use stentor_payload::xep0004_forms::FormKind;
use stentor_payload::xep0060_pubsub::NS_EVENT;
use stentor_payload::xep0203_delay;
use stentor_stanza::{Head, Kind, MessageType, Stanza};
use stentor_store::NodeItemRow;
use stentor_xml::{Frame, Limits, Writer};

use super::config::NodeConfig;

/// What happened at a node.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Event<'a> {
    /// Something was published, or is told again; nothing for a publication without items.
    Items(&'a [NodeItemRow]),
    /// Items were removed.
    Retracted(&'a [String]),
    /// All items were removed.
    Purged,
    /// The node is gone; something may be elsewhere.
    Deleted(Option<&'a str>),
    /// The node behaves in another way.
    Configured,
    /// Somebody's subscription is another one.
    Subscription(&'a Jid, &'static str),
}

/// The message about an event at a node of this configuration; `since_ms` is when it happened if
/// that is some time ago.
pub(crate) fn message(
    owner: &BareJid,
    node: &str,
    config: &NodeConfig,
    event: Event<'_>,
    since_ms: Option<i64>,
) -> Stanza {
    let kind = if config.is_headline { MessageType::Headline } else { MessageType::Normal };
    let mut head = Head::new(Kind::Message(kind)).from(owner.clone());
    // §12.4: so that errors can be told apart.
    head.id = random_id().ok().map(|id| format_smolstr!("{id}-{:08x}", mark(node)).into());
    Stanza::build(head, |w| {
        w.open("event", NS_EVENT);
        write(w, node, config, event);
        w.close();
        if let Some(at_ms) = since_ms {
            xep0203_delay::write_opt(w, None, at_ms);
        }
    })
}

/// Whether this is the id of a message about this node, as far as can be told from it: the ids of
/// what was told are not kept.
pub(crate) fn is_about(id: &str, node: &str) -> bool {
    id.rsplit_once('-').is_some_and(|(_, said)| said == format_smolstr!("{:08x}", mark(node)))
}

/// FNV-1a of the name: short, and the same after a restart.
fn mark(node: &str) -> u32 {
    let step = |sum: u32, byte| (sum ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    node.bytes().fold(0x811c_9dc5, step)
}

fn write(w: &mut Writer, node: &str, config: &NodeConfig, event: Event<'_>) {
    match event {
        Event::Items(items) => {
            w.open("items", NS_EVENT).attr("node", node);
            for item in items {
                write_item(w, NS_EVENT, item, config.notifies_payloads);
            }
        }
        Event::Retracted(ids) => {
            w.open("items", NS_EVENT).attr("node", node);
            for id in ids {
                w.open("retract", NS_EVENT).attr("id", id).close();
            }
        }
        Event::Purged => {
            w.open("purge", NS_EVENT).attr("node", node);
        }
        Event::Deleted(redirect) => {
            w.open("delete", NS_EVENT).attr("node", node);
            if let Some(uri) = redirect {
                w.open("redirect", NS_EVENT).attr("uri", uri).close();
            }
        }
        Event::Configured => {
            w.open("configuration", NS_EVENT).attr("node", node);
            // §8.2.5.3.
            if config.notifies_payloads {
                config.form(FormKind::Result).encode(w);
            }
        }
        Event::Subscription(jid, subscription) => {
            w.open("subscription", NS_EVENT).attr("node", node).attr("jid", jid.as_str());
            w.attr("subscription", subscription);
        }
    }
    w.close();
}

/// One item, as it is told and as it is read.
pub(crate) fn write_item(w: &mut Writer, ns: &str, item: &NodeItemRow, has_payload: bool) {
    w.open("item", ns).attr("id", &item.id);
    // §7.1.2.3; that of the owner goes without saying.
    w.attr_opt("publisher", item.publisher.as_ref().map(BareJid::as_str));
    if has_payload && !item.payload.is_empty() {
        match Frame::parse_with(&item.payload, &Limits::OWN) {
            Ok(payload) => drop(w.element(payload.root())),
            Err(error) => {
                tracing::error!(event = "damaged", id = %item.id, %error, "A stored item is damaged.")
            }
        }
    }
    w.close();
}

/// An event, and the name of the node that it is about.
pub(crate) struct News {
    pub(crate) node: String,
    pub(crate) message: Stanza,
    /// Whether it is for those as well whose subscriptions are pending (§8.4.2).
    pub(crate) is_for_pending: bool,
    /// The account's own session that published, if one did.
    pub(crate) session: Option<Arc<Resource>>,
}

impl News {
    pub(crate) fn new(owner: &BareJid, node: &str, config: &NodeConfig, event: Event<'_>) -> Self {
        let is_for_pending = matches!(event, Event::Deleted(_));
        let message = message(owner, node, config, event, None);
        Self { node: node.to_owned(), message, is_for_pending, session: None }
    }
}
