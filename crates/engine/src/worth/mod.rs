//! What a message is worth: to the archive, to other sessions, to the offline store, to a push
//! service and to a client that asked for quiet.
//!
//! One table for all features. [`Content`] says what a message is about, its type and its hints do
//! the rest; `table.txt` beside this file spells out every cell, and a test compares the two.
//!
//! | Question | Source |
//! | --- | --- |
//! | `archive` | XEP-0313 §6.1.1, XEP-0424 §5; hints: XEP-0334 §4 |
//! | `carbon` | XEP-0280 §6.1 and §9, XEP-0334 §4.3 |
//! | `offline` | XEP-0160 §3, RFC 6121 §8.5.2.2; hints: XEP-0334 §4 |
//! | `wake` | XEP-0357 §7, as far as it depends on the message |
//! | `is_important` | XEP-0352 §1: what may wait while nobody looks |

mod content;

use stentor_payload::xep0334_hints::Hints;
use stentor_payload::{xep0280_carbons, xep0297_forward};
use stentor_stanza::{Kind, MessageType, PresenceType, Stanza};

use crate::phase::Direction;

pub use content::{
    Content, NS_CHAT_STATES, NS_MARKERS, NS_MENTIONS, NS_RECEIPTS, NS_REPLY, NS_RETRACTION,
    is_encryption,
};

/// What becomes of a message, as far as the message itself decides it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Worth {
    /// What it is about.
    pub content: Content,
    /// Whether it belongs into the archives of its sender and its recipient.
    pub archive: bool,
    /// Which other sessions get a copy.
    pub carbon: Carbon,
    /// What happens if nobody is there to take it.
    pub offline: Offline,
    /// Whether a device without a connection is told.
    pub wake: Wake,
    /// Whether a client that is inactive gets it at once. True of everything that is archived.
    pub is_important: bool,
    /// Whether it outlives the process in a session that may be resumed: all that says more than how
    /// things are at the moment, unless its sender wants it stored nowhere (XEP-0334 §4.2).
    pub outlives: bool,
}

/// Which accounts' other sessions get a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carbon {
    /// Nobody's.
    No,
    /// Only the sender's: rooms send private messages to every session themselves.
    Sent,
    /// The sender's and the recipient's.
    Both,
}

/// What happens to a message that nobody takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offline {
    /// It waits.
    Keep,
    /// It means nothing later, or its sender does not want it kept: it is gone without a word.
    Drop,
    /// Its sender learns that it did not arrive.
    Return,
}

/// How a device without a connection is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// Not at all.
    No,
    /// It updates what it shows and alerts nobody.
    Quiet,
    /// A message came.
    Message,
    /// Somebody calls.
    Call,
}

impl Carbon {
    /// Whether other sessions of the account get a copy that sent, or received, the message.
    #[must_use]
    pub const fn is_for(self, direction: Direction) -> bool {
        match self {
            Self::No => false,
            Self::Sent => matches!(direction, Direction::Sent),
            Self::Both => true,
        }
    }
}

/// What a message is worth. A stanza that is no message is worth nothing and important.
#[must_use]
pub fn of(stanza: &Stanza) -> Worth {
    let Some(kind) = stanza.message_type() else { return NOT_A_MESSAGE };
    let content = Content::of(stanza);
    let hints = Hints::of(stanza);
    let archive = is_archived(kind, content, hints);
    let offline = offline(kind, content, hints);
    let is_important = archive || is_important(kind, content);
    let may_be_stored = kind == MessageType::Error || !hints.has_no_store;
    Worth {
        content,
        archive,
        carbon: carbon(kind, content, hints, stanza),
        offline,
        wake: wake(kind, content),
        is_important,
        outlives: may_be_stored && (is_important || offline == Offline::Keep),
    }
}

/// Whether a client that nobody looks at (XEP-0352 §1) may get a stanza later: it only says how
/// things are at the moment.
#[must_use]
pub fn may_wait(stanza: &Stanza) -> bool {
    match stanza.head.kind {
        Kind::Presence(PresenceType::Available | PresenceType::Unavailable) => {
            !answers_an_occupant(stanza)
        }
        // Requests and refusals of all kinds are waited for.
        Kind::Presence(_) | Kind::Iq(_) => false,
        Kind::Message(_) => !copied(stanza).as_ref().map_or_else(|| of(stanza), of).is_important,
    }
}

/// Whether a stanza says how somebody is present, and no more: once the next of the same address has
/// come, nobody needs it. What a room tells of its occupants is the steps (XEP-0045 §7).
#[must_use]
pub fn is_state(stanza: &Stanza) -> bool {
    let kind = stanza.head.kind;
    let is_state =
        matches!(kind, Kind::Presence(PresenceType::Available | PresenceType::Unavailable));
    is_state && !is_of_room(stanza)
}

/// XEP-0045 §7.2, §7.14, §8.2: what a room tells an occupant about itself has a status.
fn answers_an_occupant(presence: &Stanza) -> bool {
    let x = presence.child(content::NS_MUC_USER, "x");
    x.is_some_and(|x| x.child(content::NS_MUC_USER, "status").is_some())
}

/// The message inside a copy (XEP-0280).
fn copied(message: &Stanza) -> Option<Stanza> {
    let copy = message.children().find(|c| xep0280_carbons::is_copy(*c))?;
    let inner = xep0297_forward::inner(copy.child(xep0297_forward::NS, "forwarded")?)?;
    Stanza::parse(inner.raw()).ok()
}

/// Whether a message or presence comes from, or is for, an occupant of a room (XEP-0045 §7.2, §7.5).
#[must_use]
pub fn is_of_room(stanza: &Stanza) -> bool {
    stanza.has_child(content::NS_MUC_USER, "x")
}

fn is_archived(kind: MessageType, content: Content, hints: Hints) -> bool {
    // XEP-0334 §4.1, §4.2: of two hints that contradict each other the more private one holds.
    if hints.has_no_store || hints.has_no_permanent_store {
        return false;
    }
    match kind {
        // XEP-0334 §4.4.
        MessageType::Chat | MessageType::Normal => hints.has_store || content.is_lasting(),
        MessageType::Headline => hints.has_store,
        // XEP-0313 §6.1.1 leaves it open; the room has an archive of its own, which also gets those
        // that were sent while nobody of this account was in it.
        MessageType::Groupchat => false,
        MessageType::Error => false,
    }
}

fn carbon(kind: MessageType, content: Content, hints: Hints, stanza: &Stanza) -> Carbon {
    // XEP-0280 §6.1: no <private/>; XEP-0334 §4.3: no <no-copy/>.
    if hints.has_no_copy || stanza.has_child(xep0280_carbons::NS, "private") {
        return Carbon::No;
    }
    let is_eligible = match kind {
        MessageType::Chat => true,
        MessageType::Normal => content.is_lasting() || content == Content::ChatState,
        MessageType::Headline => content.is_named_by_carbons(),
        MessageType::Groupchat => false,
        // Those that answer what was eligible, which the module knows.
        MessageType::Error => true,
    };
    if !is_eligible {
        return Carbon::No;
    }
    if is_of_room(stanza) && content != Content::Invitation { Carbon::Sent } else { Carbon::Both }
}

fn offline(kind: MessageType, content: Content, hints: Hints) -> Offline {
    match kind {
        MessageType::Chat | MessageType::Normal => {}
        // RFC 6121 §8.5.2.2.1: groupchat comes back, the others are silently ignored.
        MessageType::Groupchat => return Offline::Return,
        MessageType::Headline | MessageType::Error => return Offline::Drop,
    }
    if hints.has_no_store {
        return Offline::Drop;
    }
    match content {
        _ if hints.has_store => Offline::Keep,
        Content::Nothing | Content::ChatState => Offline::Drop,
        // Nobody knows whether it means anything later: its sender does.
        Content::Unknown => Offline::Return,
        _ => Offline::Keep,
    }
}

fn wake(kind: MessageType, content: Content) -> Wake {
    if matches!(kind, MessageType::Headline | MessageType::Error) {
        return Wake::No;
    }
    match content {
        Content::Text | Content::Invitation | Content::Mention => Wake::Message,
        Content::Call => Wake::Call,
        // What was told already looks different now.
        Content::Correction | Content::Retraction | Content::Attachment | Content::CallState => {
            Wake::Quiet
        }
        Content::Nothing
        | Content::ChatState
        | Content::Event
        | Content::Unknown
        | Content::Receipt
        | Content::Marker
        | Content::Secret
        | Content::Blank => Wake::No,
    }
}

/// XEP-0352 §1: what only shows the present state can wait, and so can what is told again.
const fn is_important(kind: MessageType, content: Content) -> bool {
    match content {
        Content::Nothing | Content::ChatState | Content::Event => {
            matches!(kind, MessageType::Error)
        }
        _ => true,
    }
}

const NOT_A_MESSAGE: Worth = Worth {
    content: Content::Nothing,
    archive: false,
    carbon: Carbon::No,
    offline: Offline::Drop,
    wake: Wake::No,
    is_important: true,
    outlives: false,
};

#[cfg(test)]
mod tests;
