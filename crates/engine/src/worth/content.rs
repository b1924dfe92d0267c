//! What a message is about, told from its elements.

use stentor_payload::{
    xep0033_address, xep0060_pubsub, xep0203_delay, xep0280_carbons, xep0334_hints, xep0357_push,
    xep0359_sid,
};
use stentor_stanza::Stanza;
use stentor_xml::{ElementRef, ns};

/// What a message is about. Of several elements the one that stands last here decides: a correction
/// has a body as well, and so has the fallback of a retraction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Content {
    /// Nothing, or only what accompanies something: a thread, ids, stamps, hints.
    Nothing,
    /// Who is typing (XEP-0085).
    ChatState,
    /// News of a node (XEP-0060 §7.1.2).
    Event,
    /// Something that we do not know.
    Unknown,
    /// The question for a receipt, or a receipt (XEP-0184).
    Receipt,
    /// How far somebody has read (XEP-0333).
    Marker,
    /// Keys without a message (XEP-0384 §5.5.3).
    Secret,
    /// Room for text and no text in it: a body or a subject that is empty.
    Blank,
    /// Something for people: text, a subject, an encrypted message, a file.
    Text,
    /// A reaction or other addition to a message (XEP-0444, XEP-0422).
    Attachment,
    /// A message that replaces an earlier one (XEP-0308).
    Correction,
    /// An invitation to a room, or the answer to one (XEP-0045 §7.8.2, XEP-0249).
    Invitation,
    /// A room tells somebody who is not in it that it was spoken of (XEP-0452).
    Mention,
    /// A call goes on or ends (XEP-0353, XEP-0482).
    CallState,
    /// Somebody calls (XEP-0353 §3.1, XEP-0482 §2.1).
    Call,
    /// A message is taken back (XEP-0424, XEP-0425).
    Retraction,
}

impl Content {
    /// What the message is about.
    #[must_use]
    pub fn of(stanza: &Stanza) -> Self {
        stanza.children().map(of_element).max().unwrap_or(Self::Nothing)
    }

    /// Whether it is part of a conversation and belongs into its record.
    pub(super) const fn is_lasting(self) -> bool {
        !matches!(self, Self::Nothing | Self::ChatState | Self::Event | Self::Unknown)
    }

    /// XEP-0280 §6.1 names these for messages of any type.
    pub(super) const fn is_named_by_carbons(self) -> bool {
        matches!(self, Self::Receipt | Self::Marker | Self::ChatState)
    }
}

/// Whether elements of this namespace say that the text beside them only stands in for what is
/// encrypted.
#[must_use]
pub fn is_encryption(ns: &str) -> bool {
    matches!(ns, NS_ENCRYPTION | NS_OMEMO | NS_OMEMO_OF_OLD | NS_OPENPGP | NS_OPENPGP_OF_OLD)
}

fn of_element(element: ElementRef<'_>) -> Content {
    let is_one_of = |names: &[&str]| names.contains(&element.name());
    match element.ns() {
        ns::CLIENT => match element.name() {
            "body" | "subject" if element.has_text() => Content::Text,
            "body" | "subject" => Content::Blank,
            // The thread accompanies, and an error speaks of something earlier.
            _ => Content::Nothing,
        },
        NS_CHAT_STATES | NS_EVENTS_OF_OLD => Content::ChatState,
        xep0203_delay::NS | NS_DELAY_OF_OLD | xep0334_hints::NS | xep0359_sid::NS => {
            Content::Nothing
        }
        xep0280_carbons::NS if element.name() == "private" => Content::Nothing,
        NS_FALLBACK | NS_REPLY | NS_ATTACHING | NS_ENCRYPTION | NS_NICK | NS_OCCUPANT_ID => {
            Content::Nothing
        }
        // XEP-0060 §12.16, XEP-0163 §4.3.1: they accompany events.
        xep0033_address::NS | xep0357_push::NS_HEADERS => Content::Nothing,
        xep0060_pubsub::NS_EVENT => Content::Event,
        NS_RECEIPTS => Content::Receipt,
        NS_MARKERS if is_one_of(&["received", "displayed", "acknowledged"]) => Content::Marker,
        // <markable/> accompanies.
        NS_MARKERS => Content::Nothing,
        NS_OMEMO | NS_OMEMO_OF_OLD => of_omemo(element),
        NS_OPENPGP | NS_OPENPGP_OF_OLD | NS_OOB | NS_FILE_SHARING => Content::Text,
        NS_REACTIONS | NS_FASTENING => Content::Attachment,
        NS_CORRECTION => Content::Correction,
        NS_CONFERENCE => Content::Invitation,
        NS_MENTIONS => Content::Mention,
        NS_MUC_USER => {
            let invites = |c: ElementRef<'_>| matches!(c.name(), "invite" | "decline");
            if element.children().any(invites) { Content::Invitation } else { Content::Nothing }
        }
        NS_JINGLE_MESSAGE if element.name() == "propose" => Content::Call,
        NS_CALL_INVITES if element.name() == "invite" => Content::Call,
        NS_JINGLE_MESSAGE | NS_CALL_INVITES => Content::CallState,
        NS_RETRACTION => Content::Retraction,
        _ => Content::Unknown,
    }
}

/// Without a payload it only carries keys.
fn of_omemo(encrypted: ElementRef<'_>) -> Content {
    let has_payload = encrypted.children().any(|c| c.name() == "payload");
    if has_payload { Content::Text } else { Content::Secret }
}

/// Chat states (XEP-0085).
pub const NS_CHAT_STATES: &str = "http://jabber.org/protocol/chatstates";
/// Receipts (XEP-0184).
pub const NS_RECEIPTS: &str = "urn:xmpp:receipts";
/// Displayed markers (XEP-0333).
pub const NS_MARKERS: &str = "urn:xmpp:chat-markers:0";
/// What rooms tell (XEP-0045).
pub(super) const NS_MUC_USER: &str = "http://jabber.org/protocol/muc#user";

/// Message events (XEP-0022), which chat states replaced.
const NS_EVENTS_OF_OLD: &str = "jabber:x:event";
/// Stamps before XEP-0203 (XEP-0091).
const NS_DELAY_OF_OLD: &str = "jabber:x:delay";
/// Out-of-band links (XEP-0066).
const NS_OOB: &str = "jabber:x:oob";
/// Files (XEP-0447).
const NS_FILE_SHARING: &str = "urn:xmpp:sfs:0";
/// OpenPGP (XEP-0373, XEP-0374).
const NS_OPENPGP: &str = "urn:xmpp:openpgp:0";
/// OpenPGP before that (XEP-0027).
const NS_OPENPGP_OF_OLD: &str = "jabber:x:encrypted";
/// OMEMO (XEP-0384).
const NS_OMEMO: &str = "urn:xmpp:omemo:2";
/// OMEMO before version 0.8.
const NS_OMEMO_OF_OLD: &str = "eu.siacs.conversations.axolotl";
/// How a message is encrypted (XEP-0380).
const NS_ENCRYPTION: &str = "urn:xmpp:eme:0";
/// What stands in for an unknown extension (XEP-0428).
const NS_FALLBACK: &str = "urn:xmpp:fallback:0";
/// Which message is answered (XEP-0461).
pub const NS_REPLY: &str = "urn:xmpp:reply:0";
/// A name for oneself (XEP-0172).
const NS_NICK: &str = "http://jabber.org/protocol/nick";
/// Who it is in a room (XEP-0421).
const NS_OCCUPANT_ID: &str = "urn:xmpp:occupant-id:0";
/// Reactions (XEP-0444).
const NS_REACTIONS: &str = "urn:xmpp:reactions:0";
/// Which message this one is attached to (XEP-0367).
const NS_ATTACHING: &str = "urn:xmpp:message-attaching:1";
/// Fastening (XEP-0422).
const NS_FASTENING: &str = "urn:xmpp:fasten:0";
/// Corrections (XEP-0308).
const NS_CORRECTION: &str = "urn:xmpp:message-correct:0";
/// Direct invitations (XEP-0249).
const NS_CONFERENCE: &str = "jabber:x:conference";
/// Mentions that rooms forward (XEP-0452).
pub const NS_MENTIONS: &str = "urn:xmpp:mmn:0";
/// Calls before their session (XEP-0353).
const NS_JINGLE_MESSAGE: &str = "urn:xmpp:jingle-message:0";
/// Invitations to calls (XEP-0482).
const NS_CALL_INVITES: &str = "urn:xmpp:call-invites:0";
/// Retractions (XEP-0424).
pub const NS_RETRACTION: &str = "urn:xmpp:message-retract:1";
