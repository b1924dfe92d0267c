//! XEP-0359: Unique and Stable Stanza IDs, version 0.7.0.
//!
//! Ids that a stanza gets from those that keep it, and the one that its sender gave it.
//! Implements: §2.1 and §2.2 (the elements).
//! Left out: §4 (references), which only clients write.

use smol_str::SmolStr;
use stentor_jid::{BareJid, Jid};
use stentor_stanza::Stanza;
use stentor_xml::{ElementRef, Writer};

use crate::limits::STANZA_ID_BYTES_MAX;

/// Appends the id under which `by` keeps the stanza.
pub fn write(w: &mut Writer, by: &str, id: &str) {
    w.open("stanza-id", NS).attr("by", by).attr("id", id).close();
}

/// Whether the element is an id that claims to be of this address.
#[must_use]
pub fn is_by(element: ElementRef<'_>, by: &BareJid) -> bool {
    if !element.is(NS, "stanza-id") {
        return false;
    }
    let Some(claimed) = element.attr("by") else { return false };
    // §3 rule 7: addresses are compared as they are normalised.
    *claimed == *by.as_str() || Jid::new(&claimed).is_ok_and(|jid| jid.as_str() == by.as_str())
}

/// The id under which `by` keeps the stanza.
#[must_use]
pub fn stanza_id(stanza: &Stanza, by: &BareJid) -> Option<SmolStr> {
    id_of(stanza.children().find(|c| is_by(*c, by))?)
}

/// The id that the sender gave the stanza.
#[must_use]
pub fn origin_id(stanza: &Stanza) -> Option<SmolStr> {
    id_of(stanza.child(NS, "origin-id")?)
}

/// None for an empty id, and for one longer than [`STANZA_ID_BYTES_MAX`].
fn id_of(element: ElementRef<'_>) -> Option<SmolStr> {
    let id = element.attr("id")?;
    (1..=STANZA_ID_BYTES_MAX).contains(&id.len()).then(|| SmolStr::from(id))
}

/// The namespace of stanza ids.
pub const NS: &str = "urn:xmpp:sid:0";

#[cfg(test)]
mod tests {
    use super::*;

    fn read(xml: &str) -> Stanza {
        Stanza::parse(xml.as_bytes()).unwrap()
    }

    #[test]
    fn ids_are_found_by_their_address_however_it_is_written() {
        let stanza = read(
            "<message><stanza-id xmlns='urn:xmpp:sid:0' by='room@muc.example' id='a'/>\
             <stanza-id xmlns='urn:xmpp:sid:0' by='JULIET@capulet.example' id='b'/>\
             <stanza-id xmlns='urn:xmpp:sid:0' id='c'/>\
             <origin-id xmlns='urn:xmpp:sid:0' id='d'/></message>",
        );
        let juliet = BareJid::new("juliet@capulet.example").unwrap();
        assert_eq!(stanza_id(&stanza, &juliet).as_deref(), Some("b"));
        assert_eq!(stanza.children().filter(|c| is_by(*c, &juliet)).count(), 1);
        assert_eq!(origin_id(&stanza).as_deref(), Some("d"));
    }

    #[test]
    fn ids_of_a_resource_are_not_those_of_the_account() {
        let stanza = read(
            "<message><stanza-id xmlns='urn:xmpp:sid:0' by='juliet@capulet.example/r' id='b'/></message>",
        );
        assert_eq!(stanza_id(&stanza, &BareJid::new("juliet@capulet.example").unwrap()), None);
    }

    #[test]
    fn empty_and_overlong_ids_are_none() {
        let origin = |id: &str| {
            origin_id(&read(&format!(
                "<message><origin-id xmlns='urn:xmpp:sid:0' id='{id}'/></message>"
            )))
        };
        assert_eq!(origin(""), None);
        assert_eq!(origin(&"x".repeat(STANZA_ID_BYTES_MAX + 1)), None);
        assert!(origin(&"x".repeat(STANZA_ID_BYTES_MAX)).is_some());
        assert_eq!(
            origin_id(&read("<message><origin-id xmlns='urn:xmpp:sid:0'/></message>")),
            None
        );
    }

    #[test]
    fn what_is_written_is_found() {
        let juliet = BareJid::new("juliet@capulet.example").unwrap();
        let mut stanza = read("<message><body>x</body></message>");
        stanza.append(|w| write(w, juliet.as_str(), "1"));
        assert_eq!(stanza_id(&stanza, &juliet).as_deref(), Some("1"));
    }
}
