//! XEP-0060: Publish-Subscribe, version 1.30.0.
//!
//! The requests to a service, and the errors that only services know.
//! Implements: §5.6, §5.7, §6, §7, §8 as elements.
//! Left out: what collections add (XEP-0248); subscription options, which are told apart from other
//! requests and not read.
//! Status: complete

mod owner;
mod request;

use stentor_jid::Jid;
use stentor_stanza::{Condition, StanzaError};
use stentor_xml::ElementRef;

pub use owner::{OwnerGet, OwnerSet, PartyChange};
pub use request::{Get, Item, Publish, Set};

use crate::limits::NODE_NAME_BYTES_MAX;

/// `bad-request` without more.
const BAD_REQUEST: StanzaError = StanzaError::new(Condition::BadRequest);

/// A batch of items is larger than its node may ever be (§12.11).
pub const TOO_MANY_ITEMS: StanzaError = error(Condition::NotAllowed, "max-items-exceeded");

/// An error with a condition of this specification (§11).
#[must_use]
pub const fn error(condition: Condition, specific: &'static str) -> StanzaError {
    StanzaError::new(condition).with_app(specific, NS_ERRORS)
}

/// The error for a feature that a service or node does not have.
#[must_use]
pub const fn unsupported(feature: &'static str) -> StanzaError {
    error(Condition::FeatureNotImplemented, "unsupported").with_app_attr("feature", feature)
}

/// The attribute `node`, which must be there.
fn node(element: ElementRef<'_>) -> Result<String, StanzaError> {
    optional_node(element)?.ok_or(error(Condition::BadRequest, "nodeid-required"))
}

fn optional_node(element: ElementRef<'_>) -> Result<Option<String>, StanzaError> {
    let node = element.attr("node").filter(|node| !node.is_empty());
    if node.as_ref().is_some_and(|node| node.len() > NODE_NAME_BYTES_MAX) {
        let text = format!("The name of a node has at most {NODE_NAME_BYTES_MAX} bytes.");
        return Err(StanzaError::new(Condition::NotAcceptable).with_text(text));
    }
    Ok(node.map(std::borrow::Cow::into_owned))
}

/// The attribute `jid`, which must be there and an address.
fn jid(element: ElementRef<'_>) -> Result<Jid, StanzaError> {
    let jid = element.attr("jid").ok_or(error(Condition::BadRequest, "jid-required"))?;
    Jid::new(&jid).map_err(|_| StanzaError::new(Condition::JidMalformed))
}

/// What anybody may ask of a service.
pub const NS: &str = "http://jabber.org/protocol/pubsub";
/// What owners of nodes may ask.
pub const NS_OWNER: &str = "http://jabber.org/protocol/pubsub#owner";
/// What services tell.
pub const NS_EVENT: &str = "http://jabber.org/protocol/pubsub#event";
/// Why they refuse.
pub const NS_ERRORS: &str = "http://jabber.org/protocol/pubsub#errors";
/// The form of a node's configuration.
pub const NODE_CONFIG: &str = "http://jabber.org/protocol/pubsub#node_config";
/// The form of preconditions of a publication.
pub const PUBLISH_OPTIONS: &str = "http://jabber.org/protocol/pubsub#publish-options";
/// The form of what is told of a node.
pub const META_DATA: &str = "http://jabber.org/protocol/pubsub#meta-data";
/// The form by which owners decide about a subscription.
pub const AUTHORIZATION: &str = "http://jabber.org/protocol/pubsub#subscribe_authorization";

#[cfg(test)]
mod tests;
