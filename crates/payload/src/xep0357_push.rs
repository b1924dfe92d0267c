//! XEP-0357: Push Notifications, version 0.4.1.
//!
//! How a client has its server tell a push service what happens, and what the server tells it.
//! Implements: §5, §6 (enabling and disabling), §7 (publishing; beside the summary how urgent it is,
//! in the headers of XEP-0131), §8 (remote disabling).
//! Left out: nothing.

use stentor_jid::Jid;
use stentor_stanza::{Condition, Stanza, StanzaError};
use stentor_xml::{ElementRef, Writer};

use crate::limits::{PUSH_ENABLE_BYTES_MAX, PUSH_NODE_BYTES_MAX};
use crate::xep0004_forms::{Field, FieldKind, Form, FormKind};
use crate::xep0060_pubsub::{NS as NS_PUBSUB, PUBLISH_OPTIONS};
use crate::{Decode, Encode, xep0082_time};

/// Where notifications are to go (§5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enable {
    /// The push service.
    pub jid: Jid,
    /// The node of the service; none where it needs none.
    pub node: Option<String>,
    /// What is to be sent with each notification, such as a secret.
    pub options: Option<Form>,
}

/// Where notifications are not to go any more (§6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disable {
    /// The push service.
    pub jid: Jid,
    /// The node; none for all of the service's.
    pub node: Option<String>,
}

/// What a notification tells (§7).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Messages that nobody has seen.
    pub count: u32,
    /// Requests for subscriptions that wait for an answer.
    pub requests: u32,
    /// Who sent the last one.
    pub sender: Option<String>,
    /// What it says.
    pub body: Option<String>,
    /// How urgent it is.
    pub weight: Weight,
}

/// How a service may deal with a notification.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Weight {
    /// Whether the device is to be woken at once.
    pub urgency: Urgency,
    /// For how many seconds from `at_ms` on it is of use.
    pub ttl_secs: u64,
    /// When it happened, in milliseconds since 1970 UTC.
    pub at_ms: i64,
    /// A word for what it is about.
    pub topic: &'static str,
}

/// How urgent a notification is (XEP-0131 §5.6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// It may wait until the device is awake.
    #[default]
    Low,
    /// It may wait a little.
    Medium,
    /// Somebody waits.
    High,
}

impl Urgency {
    /// Its word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }
}

impl Decode for Enable {
    const NS: &'static str = NS;
    const NAME: &'static str = "enable";

    fn decode(enable: ElementRef<'_>) -> Result<Self, StanzaError> {
        if enable.raw().len() > PUSH_ENABLE_BYTES_MAX {
            return Err(StanzaError::new(Condition::NotAcceptable));
        }
        let options = Form::find(enable)?;
        if options.as_ref().is_some_and(|form| form.form_type() != Some(PUBLISH_OPTIONS)) {
            return Err(BAD_REQUEST);
        }
        Ok(Self { jid: jid_of(enable)?, node: node_of(enable)?, options })
    }
}

impl Encode for Enable {
    fn encode(&self, w: &mut Writer) {
        w.open(Self::NAME, NS).attr("jid", self.jid.as_str());
        w.attr_opt("node", self.node.as_deref());
        self.options.encode(w);
        w.close();
    }
}

impl Decode for Disable {
    const NS: &'static str = NS;
    const NAME: &'static str = "disable";

    fn decode(disable: ElementRef<'_>) -> Result<Self, StanzaError> {
        Ok(Self { jid: jid_of(disable)?, node: node_of(disable)? })
    }
}

/// Writes the request that publishes a notification.
pub fn write_publish(
    w: &mut Writer,
    node: Option<&str>,
    summary: &Summary,
    options: Option<&Form>,
) {
    let text = |var: &str, value: &str| Field {
        kind: None,
        ..Field::new(FieldKind::TextSingle, var).value(value)
    };
    let mut form = Form::new(FormKind::Result)
        .of_type(FORM_SUMMARY)
        .with(text("message-count", &summary.count.to_string()));
    if summary.requests > 0 {
        form = form.with(text("pending-subscription-count", &summary.requests.to_string()));
    }
    for (var, value) in
        [("last-message-sender", &summary.sender), ("last-message-body", &summary.body)]
    {
        if let Some(value) = value {
            form = form.with(text(var, value));
        }
    }
    w.open("pubsub", NS_PUBSUB).open("publish", NS_PUBSUB).attr_opt("node", node);
    w.open("item", NS_PUBSUB).open("notification", NS);
    form.encode(w);
    write_headers(w, &summary.weight);
    w.close().close().close();
    if let Some(options) = options {
        w.open("publish-options", NS_PUBSUB);
        options.encode(w);
        w.close();
    }
    w.close();
}

/// XEP-0131 §5: what services over other networks have fields of their own for (RFC 8030 §5.2, §5.3).
fn write_headers(w: &mut Writer, weight: &Weight) {
    w.open("headers", NS_HEADERS);
    for (name, value) in [
        ("Urgency", weight.urgency.name()),
        ("TTL", &weight.ttl_secs.to_string()),
        ("Created", &xep0082_time::write(weight.at_ms)),
        ("Keywords", weight.topic),
    ] {
        w.open("header", NS_HEADERS).attr("name", name).text(value).close();
    }
    w.close();
}

/// The node for which a push service says that this account may not publish any more (§8).
#[must_use]
pub fn disabled_node(message: &Stanza, account: &Jid) -> Option<String> {
    let pubsub = message.child(NS_PUBSUB, "pubsub")?;
    let is_ours = |c: &ElementRef<'_>| {
        c.is(NS_PUBSUB, "affiliation")
            && c.attr("affiliation").as_deref() == Some("none")
            && c.attr("jid").is_some_and(|jid| Jid::new(&jid).is_ok_and(|jid| jid == *account))
    };
    pubsub.children().find(is_ours)?;
    pubsub.attr("node").map(std::borrow::Cow::into_owned)
}

fn jid_of(element: ElementRef<'_>) -> Result<Jid, StanzaError> {
    let jid = element.attr("jid").ok_or(BAD_REQUEST)?;
    Jid::new(&jid).map_err(|_| StanzaError::new(Condition::JidMalformed))
}

fn node_of(element: ElementRef<'_>) -> Result<Option<String>, StanzaError> {
    let node = element.attr("node").filter(|node| !node.is_empty());
    if node.as_ref().is_some_and(|node| node.len() > PUSH_NODE_BYTES_MAX) {
        return Err(BAD_REQUEST);
    }
    Ok(node.map(std::borrow::Cow::into_owned))
}

/// The namespace of push notifications.
pub const NS: &str = "urn:xmpp:push:0";
/// The type of the form that sums up (§7).
const FORM_SUMMARY: &str = "urn:xmpp:push:summary";
/// Headers of stanzas (XEP-0131).
pub const NS_HEADERS: &str = "http://jabber.org/protocol/shim";
const BAD_REQUEST: StanzaError = StanzaError::new(Condition::BadRequest);

#[cfg(test)]
mod tests {
    use stentor_xml::Frame;

    use super::*;

    fn enable(xml: &str) -> Result<Enable, StanzaError> {
        Enable::decode(Frame::parse(xml.as_bytes()).unwrap().root())
    }

    const WITH_OPTIONS: &str = "<enable xmlns='urn:xmpp:push:0' jid='push-5.client.example' \
        node='yxs32uqsflafdk3iuqo'><x xmlns='jabber:x:data' type='submit'>\
        <field var='FORM_TYPE'>\
        <value>http://jabber.org/protocol/pubsub#publish-options</value></field>\
        <field var='secret'><value>eruio234vzxc2kla-91</value></field></x></enable>";

    #[test]
    fn s5_options_are_kept_as_they_were_given() {
        let read = enable(WITH_OPTIONS).unwrap();
        assert_eq!(read.jid.as_str(), "push-5.client.example");
        assert_eq!(read.options.as_ref().unwrap().field("secret").unwrap().values.len(), 1);
        assert_eq!(Frame::build(|w| read.encode(w)).as_str(), WITH_OPTIONS);
    }

    #[test]
    fn s5_a_service_is_needed_and_a_node_is_not() {
        assert_eq!(enable("<enable xmlns='urn:xmpp:push:0' node='a'/>"), Err(BAD_REQUEST));
        let malformed = enable("<enable xmlns='urn:xmpp:push:0' jid='@'/>");
        assert_eq!(malformed, Err(StanzaError::new(Condition::JidMalformed)));
        let node = "x".repeat(PUSH_NODE_BYTES_MAX + 1);
        let xml = format!("<enable xmlns='urn:xmpp:push:0' jid='a.example' node='{node}'/>");
        assert_eq!(enable(&xml), Err(BAD_REQUEST));
        assert_eq!(enable("<enable xmlns='urn:xmpp:push:0' jid='a.example'/>").unwrap().node, None);
        let long = WITH_OPTIONS.replace("eruio", &"x".repeat(PUSH_ENABLE_BYTES_MAX));
        assert_eq!(enable(&long), Err(StanzaError::new(Condition::NotAcceptable)));
        let other = WITH_OPTIONS.replace("#publish-options", "#node_config");
        assert_eq!(enable(&other), Err(BAD_REQUEST));
    }

    #[test]
    fn s7_what_is_published_has_the_summary_and_the_options() {
        let options = enable(WITH_OPTIONS).unwrap().options;
        let summary = Summary {
            count: 1,
            requests: 2,
            sender: Some("juliet@capulet.example/balcony".into()),
            body: Some("Wherefore art thou, Romeo?".into()),
            weight: Weight {
                urgency: Urgency::High,
                ttl_secs: 60,
                at_ms: 1_767_323_045_000,
                topic: "message",
            },
        };
        let frame = Frame::build(|w| write_publish(w, Some("n"), &summary, options.as_ref()));
        assert_eq!(
            frame.as_str(),
            "<pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='n'><item>\
             <notification xmlns='urn:xmpp:push:0'><x xmlns='jabber:x:data' type='result'>\
             <field var='FORM_TYPE' type='hidden'><value>urn:xmpp:push:summary</value></field>\
             <field var='message-count'><value>1</value></field>\
             <field var='pending-subscription-count'><value>2</value></field>\
             <field var='last-message-sender'><value>juliet@capulet.example/balcony</value></field>\
             <field var='last-message-body'><value>Wherefore art thou, Romeo?</value></field></x>\
             <headers xmlns='http://jabber.org/protocol/shim'><header name='Urgency'>high</header>\
             <header name='TTL'>60</header><header name='Created'>2026-01-02T03:04:05Z</header>\
             <header name='Keywords'>message</header></headers></notification></item></publish><publish-options>\
             <x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'>\
             <value>http://jabber.org/protocol/pubsub#publish-options</value></field>\
             <field var='secret'><value>eruio234vzxc2kla-91</value></field></x></publish-options>\
             </pubsub>"
        );
    }

    #[test]
    fn s8_a_service_says_for_whom_a_node_is_closed() {
        let node = |jid: &str, affiliation: &str| {
            let xml = format!(
                "<message from='push-5.client.example' to='user@example.com'>\
                 <pubsub xmlns='http://jabber.org/protocol/pubsub' node='n'>\
                 <affiliation jid='{jid}' affiliation='{affiliation}'/></pubsub></message>"
            );
            let stanza = Stanza::parse(xml.as_bytes()).unwrap();
            disabled_node(&stanza, &Jid::new("user@example.com").unwrap())
        };
        assert_eq!(node("user@example.com", "none").as_deref(), Some("n"));
        assert_eq!(node("user@example.com", "publish-only"), None);
        assert_eq!(node("other@example.com", "none"), None);
    }
}
