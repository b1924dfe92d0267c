//! What anybody may ask of a service (§5 to §7, §8.1).

use std::borrow::Cow;

use stentor_jid::Jid;
use stentor_stanza::{Condition, StanzaError};
use stentor_xml::{ElementRef, Frame};

use super::{BAD_REQUEST, NS, TOO_MANY_ITEMS, error, jid, node, optional_node, unsupported};
use crate::Decode;
use crate::limits::{NODE_IDS_MAX, NODE_ITEM_ID_BYTES_MAX};
use crate::xep0004_forms::{self as forms, Form};
use crate::xep0059_rsm as rsm;

/// A question to a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Get {
    /// Items of a node (§6.5).
    Items {
        /// Which node.
        node: String,
        /// Only those of these ids; empty for all.
        ids: Vec<String>,
        /// Only so many of the newest.
        max_items: Option<u32>,
        /// Which page; none where none was asked for.
        page: Option<rsm::Ask>,
    },
    /// The asker's subscriptions, of one node or of all (§5.6).
    Subscriptions(Option<String>),
    /// The asker's affiliations, with one node or with all (§5.7).
    Affiliations(Option<String>),
    /// The options of a subscription (§6.3).
    Options,
    /// The usual options of a subscription (§6.4).
    DefaultOptions,
}

/// A change that anybody may ask for.
#[derive(Clone, Debug)]
pub enum Set {
    /// Publish (§7.1).
    Publish(Publish),
    /// Delete items (§7.2), all or none (§12.11).
    Retract {
        /// Of which node.
        node: String,
        /// Which items; one at least.
        ids: Vec<String>,
        /// Whether subscribers are to hear of it.
        notify: bool,
    },
    /// Make a node (§8.1).
    Create {
        /// Its name; none where the service is to find one.
        node: Option<String>,
        /// Its configuration, where that is not the usual one.
        config: Option<Form>,
    },
    /// Subscribe (§6.1).
    Subscribe {
        /// To which node.
        node: String,
        /// Whom.
        jid: Jid,
    },
    /// Unsubscribe (§6.2).
    Unsubscribe {
        /// From which node.
        node: String,
        /// Whom.
        jid: Jid,
    },
    /// Set the options of a subscription, by itself or while subscribing (§6.3).
    Options,
}

/// A publication.
#[derive(Clone, Debug)]
pub struct Publish {
    /// On which node.
    pub node: String,
    /// What, all or nothing (§12.11); a node that keeps nothing may be published on without.
    pub items: Vec<Item>,
    /// What must be so of the node (§7.1.5).
    pub options: Option<Form>,
}

/// An item as it is published.
#[derive(Clone, Debug)]
pub struct Item {
    /// Its id, if the publisher gave one.
    pub id: Option<String>,
    /// What it holds.
    pub payload: Option<Frame>,
}

impl Decode for Get {
    const NS: &'static str = NS;
    const NAME: &'static str = "pubsub";

    fn decode(pubsub: ElementRef<'_>) -> Result<Self, StanzaError> {
        let action = action(pubsub)?;
        match action.name() {
            "items" => items(pubsub, action),
            "subscriptions" => Ok(Self::Subscriptions(optional_node(action)?)),
            "affiliations" => Ok(Self::Affiliations(optional_node(action)?)),
            "options" => Ok(Self::Options),
            "default" => Ok(Self::DefaultOptions),
            _ => Err(BAD_REQUEST),
        }
    }
}

impl Decode for Set {
    const NS: &'static str = NS;
    const NAME: &'static str = "pubsub";

    fn decode(pubsub: ElementRef<'_>) -> Result<Self, StanzaError> {
        let action = action(pubsub)?;
        match action.name() {
            "publish" => publish(pubsub, action).map(Self::Publish),
            "retract" => retract(action),
            "create" => create(pubsub, action),
            "subscribe" if pubsub.child(NS, "options").is_some() => Ok(Self::Options),
            "subscribe" => Ok(Self::Subscribe { node: node(action)?, jid: jid(action)? }),
            // §6.2.3.5: ids of subscriptions are passed over where there are none.
            "unsubscribe" => Ok(Self::Unsubscribe { node: node(action)?, jid: jid(action)? }),
            "options" => Ok(Self::Options),
            _ => Err(BAD_REQUEST),
        }
    }
}

/// The first element says what is wanted; §8.1.3: what goes with it comes behind it.
fn action(pubsub: ElementRef<'_>) -> Result<ElementRef<'_>, StanzaError> {
    pubsub.first_child().filter(|c| c.ns() == NS).ok_or(BAD_REQUEST)
}

fn items(pubsub: ElementRef<'_>, items: ElementRef<'_>) -> Result<Get, StanzaError> {
    let ids = item_ids(items)?;
    let max_items = items.attr("max_items").map(|max| number(&max)).transpose()?;
    let page = pubsub.child(rsm::NS, "set").map(rsm::Ask::decode).transpose()?;
    Ok(Get::Items { node: node(items)?, ids, max_items, page })
}

/// The ids of the items that an element names.
fn item_ids(parent: ElementRef<'_>) -> Result<Vec<String>, StanzaError> {
    let mut ids = Vec::new();
    for item in parent.children().filter(|c| c.is(NS, "item")) {
        if ids.len() == NODE_IDS_MAX {
            return Err(StanzaError::new(Condition::NotAcceptable)
                .with_text(format!("Name at most {NODE_IDS_MAX} items at a time.")));
        }
        ids.push(item_id(item)?.ok_or(error(Condition::BadRequest, "item-required"))?);
    }
    Ok(ids)
}

/// A number above 0; one beyond all bounds is the largest.
fn number(text: &str) -> Result<u32, StanzaError> {
    let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let number = text.parse().unwrap_or(u32::MAX);
    if is_number && number > 0 { Ok(number) } else { Err(BAD_REQUEST) }
}

fn publish(pubsub: ElementRef<'_>, publish: ElementRef<'_>) -> Result<Publish, StanzaError> {
    let node = node(publish)?;
    let mut items = Vec::new();
    for one in publish.children().filter(|c| c.is(NS, "item")) {
        if items.len() == NODE_IDS_MAX {
            return Err(TOO_MANY_ITEMS);
        }
        items.push(item(one)?);
    }
    let options = pubsub.child(NS, "publish-options").map(the_form).transpose()?;
    Ok(Publish { node, items, options })
}

fn item(item: ElementRef<'_>) -> Result<Item, StanzaError> {
    let mut payloads = item.children();
    let payload = payloads.next().map(|payload| {
        Frame::build(|w| {
            w.element(payload);
        })
    });
    // §7.1.3.6.
    if payloads.next().is_some() {
        return Err(error(Condition::BadRequest, "invalid-payload"));
    }
    Ok(Item { id: item_id(item)?, payload })
}

fn item_id(item: ElementRef<'_>) -> Result<Option<String>, StanzaError> {
    let id = item.attr("id").filter(|id| !id.is_empty());
    if id.as_ref().is_some_and(|id| id.len() > NODE_ITEM_ID_BYTES_MAX) {
        let text = format!("The id of an item has at most {NODE_ITEM_ID_BYTES_MAX} bytes.");
        return Err(StanzaError::new(Condition::NotAcceptable).with_text(text));
    }
    Ok(id.map(Cow::into_owned))
}

/// The form that an element must hold.
fn the_form(element: ElementRef<'_>) -> Result<Form, StanzaError> {
    Form::find(element)?.ok_or(BAD_REQUEST)
}

fn retract(retract: ElementRef<'_>) -> Result<Set, StanzaError> {
    let node = node(retract)?;
    let notify = match retract.attr("notify").as_deref() {
        None | Some("false" | "0") => false,
        Some("true" | "1") => true,
        Some(_) => return Err(BAD_REQUEST),
    };
    let ids = item_ids(retract)?;
    if ids.is_empty() {
        return Err(error(Condition::BadRequest, "item-required"));
    }
    Ok(Set::Retract { node, ids, notify })
}

fn create(pubsub: ElementRef<'_>, create: ElementRef<'_>) -> Result<Set, StanzaError> {
    let node = optional_node(create)?;
    let Some(configure) = pubsub.child(NS, "configure") else {
        return Ok(Set::Create { node, config: None });
    };
    // §8.1.3.
    if configure.attr("node").is_some() {
        return Err(BAD_REQUEST);
    }
    let form = configure.child(forms::NS, Form::NAME);
    if form.is_none() && configure.children().next().is_some() {
        return Err(unsupported("config-node"));
    }
    // §8.1.2: an empty element asks for what is usual.
    Ok(Set::Create { node, config: form.map(Form::decode).transpose()? })
}
