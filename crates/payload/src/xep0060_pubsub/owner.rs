//! What owners of nodes may ask (§8.2 to §8.9).

use std::borrow::Cow;

use stentor_jid::Jid;
use stentor_stanza::{Condition, StanzaError};
use stentor_xml::ElementRef;

use super::{BAD_REQUEST, NS_OWNER, jid, node};
use crate::Decode;
use crate::limits::NODE_PARTIES_MAX;
use crate::xep0004_forms::Form;

/// A question of an owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OwnerGet {
    /// The configuration of a node (§8.2).
    Configure(String),
    /// The usual configuration (§8.3).
    Default,
    /// Who is subscribed (§8.8.1).
    Subscriptions(String),
    /// Who is affiliated (§8.9.1).
    Affiliations(String),
}

/// A change that an owner asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OwnerSet {
    /// Configure a node (§8.2.4).
    Configure {
        /// Which.
        node: String,
        /// How.
        form: Form,
    },
    /// Delete a node (§8.4).
    Delete {
        /// Which.
        node: String,
        /// Where to look instead.
        redirect: Option<String>,
    },
    /// Delete all items of a node (§8.5).
    Purge(String),
    /// Change who is subscribed (§8.8.2).
    Subscriptions {
        /// Of which node.
        node: String,
        /// What changes.
        changes: Vec<PartyChange>,
    },
    /// Change who is affiliated (§8.9.2).
    Affiliations {
        /// With which node.
        node: String,
        /// What changes.
        changes: Vec<PartyChange>,
    },
}

/// What somebody's subscription or affiliation is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartyChange {
    /// Whose.
    pub jid: Jid,
    /// In the word of the specification, not judged; none leaves it as it is.
    pub value: Option<String>,
}

impl Decode for OwnerGet {
    const NS: &'static str = NS_OWNER;
    const NAME: &'static str = "pubsub";

    fn decode(pubsub: ElementRef<'_>) -> Result<Self, StanzaError> {
        let action = action(pubsub)?;
        match action.name() {
            "configure" => node(action).map(Self::Configure),
            "default" => Ok(Self::Default),
            "subscriptions" => node(action).map(Self::Subscriptions),
            "affiliations" => node(action).map(Self::Affiliations),
            _ => Err(BAD_REQUEST),
        }
    }
}

impl Decode for OwnerSet {
    const NS: &'static str = NS_OWNER;
    const NAME: &'static str = "pubsub";

    fn decode(pubsub: ElementRef<'_>) -> Result<Self, StanzaError> {
        let action = action(pubsub)?;
        let node = node(action)?;
        match action.name() {
            "configure" => {
                Ok(Self::Configure { node, form: Form::find(action)?.ok_or(BAD_REQUEST)? })
            }
            "delete" => {
                let redirect = action.child(NS_OWNER, "redirect").and_then(|r| r.attr("uri"));
                Ok(Self::Delete { node, redirect: redirect.map(Cow::into_owned) })
            }
            "purge" => Ok(Self::Purge(node)),
            "subscriptions" => {
                Ok(Self::Subscriptions { node, changes: changes(action, "subscription")? })
            }
            "affiliations" => {
                Ok(Self::Affiliations { node, changes: changes(action, "affiliation")? })
            }
            _ => Err(BAD_REQUEST),
        }
    }
}

fn action(pubsub: ElementRef<'_>) -> Result<ElementRef<'_>, StanzaError> {
    let mut children = pubsub.children();
    match (children.next(), children.next()) {
        (Some(action), None) if action.ns() == NS_OWNER => Ok(action),
        _ => Err(BAD_REQUEST),
    }
}

fn changes(list: ElementRef<'_>, name: &str) -> Result<Vec<PartyChange>, StanzaError> {
    let mut changes: Vec<PartyChange> = Vec::new();
    for party in list.children().filter(|c| c.is(NS_OWNER, name)) {
        if changes.len() == NODE_PARTIES_MAX {
            return Err(StanzaError::new(Condition::NotAcceptable)
                .with_text(format!("Change at most {NODE_PARTIES_MAX} at a time.")));
        }
        let change = PartyChange { jid: jid(party)?, value: party.attr(name).map(Cow::into_owned) };
        // §8.9.2.4: nobody twice; §8.8.2.4: subscriptions of one are told apart by ids, which there
        // are none of.
        if changes.iter().any(|c| c.jid == change.jid) {
            return Err(BAD_REQUEST);
        }
        changes.push(change);
    }
    Ok(changes)
}
