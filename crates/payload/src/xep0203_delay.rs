//! XEP-0203: Delayed Delivery, version 2.0.
//!
//! Writes the stamp of a stanza that was kept before it was delivered.
//! Implements: §3 (protocol), §4 (time in UTC, by XEP-0082).
//! Left out: reading others' stamps, which is for clients; the optional reason text.

use stentor_jid::Jid;
use stentor_stanza::Stanza;
use stentor_xml::{ElementRef, Writer};

use crate::xep0082_time;

/// Appends a stamp: `from` kept the stanza since `unix_ms`.
pub fn write(w: &mut Writer, from: &str, unix_ms: i64) {
    write_opt(w, Some(from), unix_ms);
}

/// Appends a stamp that may leave out who kept the stanza.
pub fn write_opt(w: &mut Writer, from: Option<&str>, unix_ms: i64) {
    w.open("delay", NS).attr_opt("from", from).attr("stamp", &xep0082_time::write(unix_ms));
    w.close();
}

/// The domain that has kept a stanza, if the element is a stamp of a whole domain.
#[must_use]
pub fn domain_of(element: ElementRef<'_>) -> Option<Jid> {
    if !element.is(NS, "delay") {
        return None;
    }
    let by = element.attr("from")?;
    Jid::new(&by).ok().filter(|by| by.as_str() == by.domain())
}

/// Since when the first stamp of `from` says that the stanza has been kept, in milliseconds since 1970.
#[must_use]
pub fn since(stanza: &Stanza, from: &str) -> Option<i64> {
    let is_of = |child: &ElementRef<'_>| {
        child.is(NS, "delay") && child.attr("from").is_some_and(|by| by == from)
    };
    let stamp = stanza.children().find(is_of)?.attr("stamp")?;
    xep0082_time::read(&stamp)
}

/// The namespace of stamps.
pub const NS: &str = "urn:xmpp:delay";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_of_a_domain_is_told_from_that_of_one_of_its_addresses() {
        let stanza = Stanza::parse(
            b"<message><delay xmlns='urn:xmpp:delay' from='Capulet.Example' stamp='x'/>\
              <delay xmlns='urn:xmpp:delay' from='hall@capulet.example' stamp='x'/>\
              <delay xmlns='urn:xmpp:delay' from='capulet.example/r' stamp='x'/>\
              <delay xmlns='urn:xmpp:delay' stamp='x'/>\
              <delay xmlns='urn:example' from='capulet.example'/></message>",
        )
        .unwrap();
        assert_eq!(since(&stanza, "hall@capulet.example"), None, "no time");
        let domains: Vec<_> = stanza.children().map(domain_of).collect();
        let capulet = Jid::new("capulet.example").unwrap();
        assert_eq!(domains, [Some(capulet), None, None, None, None]);
    }

    #[test]
    fn the_first_stamp_of_somebody_counts() {
        let mut stanza = Stanza::parse(b"<message/>").unwrap();
        assert_eq!(since(&stanza, "capulet.example"), None);
        for (from, at_ms) in [("montague.example", 1), ("capulet.example", 2_500)] {
            stanza.append(|w| write(w, from, at_ms));
        }
        stanza.append(|w| write(w, "capulet.example", 3_000));
        assert_eq!(since(&stanza, "capulet.example"), Some(2_500));
    }
}
