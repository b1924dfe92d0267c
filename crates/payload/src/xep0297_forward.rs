//! XEP-0297: Stanza Forwarding, version 1.0.
//!
//! A stanza inside another, with the time at which it was first received.
//! Implements: §3 (the element, the delay, the namespace of what is forwarded).
//! Left out: §4: showing forwarded messages to people is for clients.
//! Status: complete

use stentor_stanza::Stanza;
use stentor_xml::{ElementRef, Writer, ns};

use crate::xep0203_delay;

/// Writes `stanza` inside `<forwarded/>`.
pub fn write(w: &mut Writer, stamp: Option<Stamp<'_>>, stanza: &Stanza) {
    write_bytes(w, stamp, &stanza.to_bytes());
}

/// The same for the bytes of a stanza as [`Stanza::to_bytes`] writes them: they are not read again.
pub fn write_bytes(w: &mut Writer, stamp: Option<Stamp<'_>>, stanza: &[u8]) {
    w.open("forwarded", NS);
    if let Some(stamp) = stamp {
        xep0203_delay::write_opt(w, stamp.from, stamp.unix_ms);
    }
    // §3.2: without a declaration it would be in the namespace of the element around it.
    let name = stanza.iter().skip(1).take_while(|b| b.is_ascii_alphabetic()).count();
    let (tag, rest) = stanza.split_at((name + 1).min(stanza.len()));
    w.raw(tag).raw(DECLARATION).raw(rest);
    w.close();
}

/// Writes `<forwarded/>` with the time and without a stanza: it is lost or was taken out
/// (XEP-0313 §3.2).
pub fn write_empty(w: &mut Writer, stamp: Stamp<'_>) {
    w.open("forwarded", NS);
    xep0203_delay::write_opt(w, stamp.from, stamp.unix_ms);
    w.close();
}

/// When a forwarded stanza was first received (§3.2).
#[derive(Clone, Copy, Debug)]
pub struct Stamp<'a> {
    /// Who received it, if that is worth telling.
    pub from: Option<&'a str>,
    /// Milliseconds since the Unix epoch.
    pub unix_ms: i64,
}

/// The message, presence or IQ inside `<forwarded/>`.
#[must_use]
pub fn inner(forwarded: ElementRef<'_>) -> Option<ElementRef<'_>> {
    let is_stanza = |c: &ElementRef<'_>| {
        c.ns() == ns::CLIENT && matches!(c.name(), "message" | "presence" | "iq")
    };
    forwarded.children().find(is_stanza)
}

/// The namespace of forwarded stanzas.
pub const NS: &str = "urn:xmpp:forward:0";
const DECLARATION: &[u8] = b" xmlns='jabber:client'";

#[cfg(test)]
mod tests {
    use stentor_xml::Frame;

    use super::*;

    fn forwarded(xml: &str, stamp: Option<Stamp<'_>>) -> Frame {
        let stanza = Stanza::parse(xml.as_bytes()).unwrap();
        let frame = Frame::build(|w| write(w, stamp, &stanza));
        assert_eq!(
            frame.as_str(),
            Frame::build(|w| write_bytes(w, stamp, xml.as_bytes())).as_str()
        );
        frame
    }

    #[test]
    fn keeps_the_namespace_and_tells_the_time() {
        let frame = forwarded(
            "<message type='chat' from='juliet@capulet.example/orchard'>\
             <body>Yet I should kill thee</body><m xmlns='urn:example:mood'/></message>",
            Some(Stamp { from: None, unix_ms: 0 }),
        );
        assert_eq!(
            frame.as_str(),
            "<forwarded xmlns='urn:xmpp:forward:0'>\
             <delay xmlns='urn:xmpp:delay' stamp='1970-01-01T00:00:00Z'/>\
             <message xmlns='jabber:client' type='chat' from='juliet@capulet.example/orchard'>\
             <body>Yet I should kill thee</body><m xmlns='urn:example:mood'/></message></forwarded>"
        );
        let message = inner(frame.root()).unwrap();
        assert!(message.child(ns::CLIENT, "body").is_some());
        assert!(message.child("urn:example:mood", "m").is_some());
    }

    #[test]
    fn empty_stanzas_are_forwarded_too() {
        let frame = forwarded("<message/>", None);
        assert_eq!(
            frame.as_str(),
            "<forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client'/></forwarded>"
        );
    }

    #[test]
    fn what_holds_no_stanza_has_none_inside() {
        let frame = Frame::parse(b"<forwarded xmlns='urn:xmpp:forward:0'><message/></forwarded>");
        // The message is in the namespace around it, which §3.2 calls wrong.
        assert!(inner(frame.unwrap().root()).is_none());
    }
}
