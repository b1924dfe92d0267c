//! Stanzas: what is read is written and read again unchanged, whatever was edited in between.

#![cfg_attr(fuzzing, no_main)]

use stentor_stanza::{BadStanza, Stanza};
use stentor_xml::Frame;

stentor_fuzz::target!(check);

fn check(data: &[u8]) {
    let Ok(frame) = Frame::parse(data) else { return };
    match Stanza::from_frame(frame) {
        Ok(stanza) => check_stanza(&stanza),
        Err(BadStanza::Refused(refusal)) => assert!(refusal.reply().error().is_some()),
        Err(BadStanza::NotAStanza | BadStanza::Dropped(_)) => {}
    }
}

fn check_stanza(stanza: &Stanza) {
    let bytes = stanza.to_bytes();
    let again = Stanza::parse(&bytes).expect("what we wrote can be read");
    assert_eq!(again.head, stanza.head);
    assert_eq!(again.to_bytes(), bytes);

    let mut edited = stanza.clone();
    edited.append(|w| {
        w.leaf("mark", "urn:example:mark");
    });
    assert!(edited.has_child("urn:example:mark", "mark"));
    edited.cut(|_| true);
    assert_eq!(edited.children().count(), 0);
    // An IQ request without its one child is none.
    if stanza.iq_type().is_none() {
        let left = Stanza::parse(&edited.to_bytes()).expect("what is left can be read");
        assert_eq!(left.head, stanza.head);
    }
    assert_eq!(stanza.to_bytes(), bytes, "edits are private to one copy");
}
