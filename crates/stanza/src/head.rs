//! The head of a stanza: what kind it is, whose it is, for whom (RFC 6120 §8.1).
//!
//! This file is the only writer of stanza start tags. Only the five common attributes exist;
//! others, which the RFC does not define on stanzas, are not forwarded.

use stentor_jid::Jid;
use stentor_xml::escape_attr;

use crate::{Id, Lang, Text};

/// The validated start tag of a stanza, written afresh on the way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Message, presence or IQ, and of which type.
    pub kind: Kind,
    /// The intended recipient; none means the sender's own server or account (RFC 6120 §10.3).
    pub to: Option<Jid>,
    /// The sender; stamped by the stream it came on, never taken from a client.
    pub from: Option<Jid>,
    /// The sender's mark, returned in answers.
    pub id: Option<Id>,
    /// The default language of texts inside (RFC 6120 §8.1.5).
    pub lang: Option<Lang>,
    /// Whether its sender itself addressed this presence (RFC 6121 §3.1.2, §4.6), and so hears of it
    /// where it cannot be delivered; a broadcast, and what the server says by itself, has no such
    /// sender. Not on the wire.
    pub is_directed: bool,
}

impl Head {
    /// A head with nothing but its kind.
    #[must_use]
    pub const fn new(kind: Kind) -> Self {
        Self { kind, to: None, from: None, id: None, lang: None, is_directed: false }
    }

    /// The same head for this recipient.
    #[must_use]
    pub fn to(mut self, to: impl Into<Jid>) -> Self {
        self.to = Some(to.into());
        self
    }

    /// The same head from this sender.
    #[must_use]
    pub fn from(mut self, from: impl Into<Jid>) -> Self {
        self.from = Some(from.into());
        self
    }

    /// The same head with this id.
    #[must_use]
    pub fn id(mut self, id: impl Into<Id>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// The head of an answer: addresses exchanged, the same id.
    #[must_use]
    pub fn answer(&self, kind: Kind) -> Self {
        let mut id = self.id.clone();
        // RFC 6120 §8.3.1 rule 3: that of an IQ is empty where there was none.
        if matches!(kind, Kind::Iq(_)) {
            id.get_or_insert_with(|| Id::new(""));
        }
        Self { to: self.from.clone(), from: self.to.clone(), id, ..Self::new(kind) }
    }

    /// Writes the start tag without its closing `>` or `/>`.
    pub(crate) fn write_open(&self, out: &mut Vec<u8>) {
        out.push(b'<');
        out.extend_from_slice(self.kind.name().as_bytes());
        if let Some(value) = self.kind.type_name() {
            out.extend_from_slice(b" type='");
            out.extend_from_slice(value.as_bytes());
            out.push(b'\'');
        }
        if let Some(id) = &self.id {
            text(out, b" id='", id);
        }
        if let Some(to) = &self.to {
            address(out, b" to='", to);
        }
        if let Some(from) = &self.from {
            address(out, b" from='", from);
        }
        if let Some(lang) = &self.lang {
            text(out, b" xml:lang='", lang);
        }
    }
}

/// Which stanza, and its `type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A push to another entity (RFC 6121 §5).
    Message(MessageType),
    /// Availability and subscriptions (RFC 6121 §3, §4).
    Presence(PresenceType),
    /// A question or its answer (RFC 6120 §8.2.3).
    Iq(IqType),
}

impl Kind {
    /// The element's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Message(_) => "message",
            Self::Presence(_) => "presence",
            Self::Iq(_) => "iq",
        }
    }

    /// The `type` attribute, absent where the default is meant.
    #[must_use]
    pub const fn type_name(self) -> Option<&'static str> {
        match self {
            Self::Message(t) => t.name(),
            Self::Presence(t) => t.name(),
            Self::Iq(t) => Some(t.name()),
        }
    }

    /// Whether it is of type `error`.
    #[must_use]
    pub const fn is_error(self) -> bool {
        matches!(
            self,
            Self::Message(MessageType::Error)
                | Self::Presence(PresenceType::Error)
                | Self::Iq(IqType::Error)
        )
    }

    /// The same stanza as an error.
    #[must_use]
    pub const fn as_error(self) -> Self {
        match self {
            Self::Message(_) => Self::Message(MessageType::Error),
            Self::Presence(_) => Self::Presence(PresenceType::Error),
            Self::Iq(_) => Self::Iq(IqType::Error),
        }
    }
}

/// The types of messages (RFC 6121 §5.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageType {
    /// Part of a conversation between two.
    Chat,
    /// An earlier message failed.
    Error,
    /// From or to a room.
    Groupchat,
    /// A notice that expects no reply and is not kept.
    Headline,
    /// Stands alone; also what an absent or unknown type means.
    Normal,
}

impl MessageType {
    const fn name(self) -> Option<&'static str> {
        match self {
            Self::Chat => Some("chat"),
            Self::Error => Some("error"),
            Self::Groupchat => Some("groupchat"),
            Self::Headline => Some("headline"),
            Self::Normal => None,
        }
    }

    // RFC 6121 §5.2.2: an unknown or absent type is to be treated as normal.
    pub(crate) fn read(value: Option<&str>) -> Self {
        match value {
            Some("chat") => Self::Chat,
            Some("error") => Self::Error,
            Some("groupchat") => Self::Groupchat,
            Some("headline") => Self::Headline,
            _ => Self::Normal,
        }
    }
}

/// The types of presence (RFC 6121 §4.7.1); the absent type is named `Available`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PresenceType {
    /// No `type`: the sender is there.
    Available,
    /// An earlier presence failed.
    Error,
    /// A server asks for the current presence.
    Probe,
    /// The sender wants to see the recipient's presence.
    Subscribe,
    /// The sender lets the recipient see its presence.
    Subscribed,
    /// The sender is not there any more.
    Unavailable,
    /// The sender no longer wants to see the recipient's presence.
    Unsubscribe,
    /// The sender denies, or takes back, the view of its presence.
    Unsubscribed,
}

impl PresenceType {
    const fn name(self) -> Option<&'static str> {
        match self {
            Self::Available => None,
            Self::Error => Some("error"),
            Self::Probe => Some("probe"),
            Self::Subscribe => Some("subscribe"),
            Self::Subscribed => Some("subscribed"),
            Self::Unavailable => Some("unavailable"),
            Self::Unsubscribe => Some("unsubscribe"),
            Self::Unsubscribed => Some("unsubscribed"),
        }
    }

    pub(crate) fn read(value: Option<&str>) -> Option<Self> {
        Some(match value {
            None => Self::Available,
            Some("error") => Self::Error,
            Some("probe") => Self::Probe,
            Some("subscribe") => Self::Subscribe,
            Some("subscribed") => Self::Subscribed,
            Some("unavailable") => Self::Unavailable,
            Some("unsubscribe") => Self::Unsubscribe,
            Some("unsubscribed") => Self::Unsubscribed,
            Some(_) => return None,
        })
    }

    /// Whether it asks for or answers about a subscription (RFC 6121 §3).
    #[must_use]
    pub const fn is_subscription(self) -> bool {
        matches!(self, Self::Subscribe | Self::Subscribed | Self::Unsubscribe | Self::Unsubscribed)
    }
}

/// The types of IQs (RFC 6120 §8.2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IqType {
    /// Asks for something.
    Get,
    /// Changes something.
    Set,
    /// The answer to a success.
    Result,
    /// The answer to a failure.
    Error,
}

impl IqType {
    const fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Set => "set",
            Self::Result => "result",
            Self::Error => "error",
        }
    }

    pub(crate) fn read(value: Option<&str>) -> Option<Self> {
        Some(match value? {
            "get" => Self::Get,
            "set" => Self::Set,
            "result" => Self::Result,
            "error" => Self::Error,
            _ => return None,
        })
    }

    /// Whether an answer is due.
    #[must_use]
    pub const fn is_request(self) -> bool {
        matches!(self, Self::Get | Self::Set)
    }
}

#[inline]
fn text<const N: usize>(out: &mut Vec<u8>, start: &[u8], text: &Text<N>) {
    out.extend_from_slice(start);
    match text.verbatim() {
        Some(bytes) => out.extend_from_slice(bytes),
        None => escape_attr(out, text),
    }
    out.push(b'\'');
}

#[inline]
fn address(out: &mut Vec<u8>, start: &[u8], jid: &Jid) {
    out.extend_from_slice(start);
    if jid.is_verbatim() {
        out.extend_from_slice(jid.as_str().as_bytes());
    } else {
        escape_attr(out, jid.as_str());
    }
    out.push(b'\'');
}
