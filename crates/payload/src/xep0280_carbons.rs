//! XEP-0280: Message Carbons, version 1.0.1.
//!
//! Copies of messages for the other sessions of an account, and how a session asks for them.
//! Implements: §4, §5 (asking), §7, §8 (the copies).
//! Left out: §7's check of a copy's origin, which is for clients.
//! Status: complete

use stentor_jid::{BareJid, FullJid};
use stentor_stanza::{Head, Stanza, StanzaError};
use stentor_xml::ElementRef;

use crate::{Decode, xep0297_forward};

/// Whose conversation partner wrote the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The account received it (§7).
    Received,
    /// The account sent it (§8).
    Sent,
}

impl Side {
    /// The name of the element around the copy.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Received => "received",
            Self::Sent => "sent",
        }
    }
}

/// Asks for copies (§4).
#[derive(Clone, Copy, Debug)]
pub struct Enable;

/// Asks for no more copies (§5).
#[derive(Clone, Copy, Debug)]
pub struct Disable;

impl Decode for Enable {
    const NS: &'static str = NS;
    const NAME: &'static str = "enable";

    fn decode(_: ElementRef<'_>) -> Result<Self, StanzaError> {
        Ok(Self)
    }
}

impl Decode for Disable {
    const NS: &'static str = NS;
    const NAME: &'static str = "disable";

    fn decode(_: ElementRef<'_>) -> Result<Self, StanzaError> {
        Ok(Self)
    }
}

/// The copy of a message for one session of `account`. For several sessions make it once and
/// change its address: the body is shared.
#[must_use]
pub fn copy(side: Side, message: &Stanza, account: &BareJid, to: &FullJid) -> Stanza {
    // §7: the same type; from the bare address, by which clients tell real copies.
    let head = Head::new(message.head.kind).from(account.clone()).to(to.clone());
    Stanza::build(head, |w| {
        w.open(side.name(), NS);
        xep0297_forward::write(w, None, message);
        w.close();
    })
}

/// The message in a copy that the server of `account` made.
#[must_use]
pub fn copied(copy: &Stanza, account: &BareJid) -> Option<Stanza> {
    if copy.head.from.as_ref() != Some(account.as_jid()) {
        return None;
    }
    let forwarded = copy.payload().filter(|c| is_copy(*c))?.first_child()?;
    Stanza::parse(xep0297_forward::inner(forwarded)?.raw()).ok()
}

/// Whether the element claims to hold a copy.
#[must_use]
pub fn is_copy(element: ElementRef<'_>) -> bool {
    element.ns() == NS && matches!(element.name(), "received" | "sent")
}

/// The namespace of copies.
pub const NS: &str = "urn:xmpp:carbons:2";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s7_a_copy_keeps_the_type_and_holds_the_message_as_it_was() {
        let message = Stanza::parse(
            b"<message type='chat' id='m1' from='juliet@capulet.example/balcony' \
              to='romeo@montague.example/garden'><body>What man art thou</body>\
              <thread>t</thread></message>",
        )
        .unwrap();
        let account = BareJid::new("romeo@montague.example").unwrap();
        let to = account.with_resource("home").unwrap();
        let copy = copy(Side::Received, &message, &account, &to);
        assert_eq!(
            String::from_utf8(copy.to_bytes()).unwrap(),
            "<message type='chat' to='romeo@montague.example/home' from='romeo@montague.example'>\
             <received xmlns='urn:xmpp:carbons:2'><forwarded xmlns='urn:xmpp:forward:0'>\
             <message xmlns='jabber:client' type='chat' id='m1' \
             to='romeo@montague.example/garden' from='juliet@capulet.example/balcony'>\
             <body>What man art thou</body><thread>t</thread></message></forwarded></received>\
             </message>"
        );
        assert!(is_copy(copy.payload().unwrap()));
        assert_eq!(copied(&copy, &account).unwrap().to_bytes(), message.to_bytes());
        assert!(copied(&copy, &BareJid::new("juliet@capulet.example").unwrap()).is_none());
        assert!(!is_copy(message.payload().unwrap()));
    }
}
