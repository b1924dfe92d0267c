//! Payloads: reading them never panics, and what is written is read as the same.

#![cfg_attr(fuzzing, no_main)]

use stentor_jid::Jid;
use stentor_payload::{
    Decode, Encode, xep0004_forms, xep0016_privacy, xep0030_disco, xep0033_address,
    xep0050_commands, xep0059_rsm, xep0060_pubsub, xep0082_time, xep0115_caps, xep0191_blocking,
    xep0297_forward, xep0334_hints, xep0352_csi, xep0357_push, xep0359_sid, xep0372_references,
    xep0377_reports,
};
use stentor_stanza::Stanza;
use stentor_xml::{ElementRef, Frame};

stentor_fuzz::target!(check);

fn check(data: &[u8]) {
    times(data);
    if let Ok(frame) = Frame::parse(data) {
        elements(frame.root());
        if let Ok(stanza) = Stanza::from_frame(frame) {
            stanzas(&stanza);
        }
    }
}

fn elements(element: ElementRef<'_>) {
    same::<xep0004_forms::Form>(element);
    same::<xep0059_rsm::Ask>(element);
    same::<xep0059_rsm::Page>(element);
    same::<xep0016_privacy::Change>(element);
    same::<xep0377_reports::Report>(element);
    let _ = xep0050_commands::Command::decode(element);
    same::<xep0357_push::Enable>(element);
    let _ = xep0357_push::Disable::decode(element);
    let _ = xep0352_csi::ClientState::read(element);
    let _ = xep0372_references::mentioned(element);
    let _ = xep0016_privacy::Ask::decode(element);
    if let Ok(info) = xep0030_disco::Info::decode(element) {
        let _ = xep0115_caps::verification(&info);
    }
    let _ = xep0060_pubsub::Get::decode(element);
    let _ = xep0060_pubsub::Set::decode(element);
    let _ = xep0060_pubsub::OwnerGet::decode(element);
    let _ = xep0060_pubsub::OwnerSet::decode(element);
    let _ = xep0191_blocking::Block::decode(element);
    let _ = xep0191_blocking::Unblock::decode(element);
    if let Ok(form) = xep0004_forms::Form::decode(element) {
        let expected = [
            xep0004_forms::Expected::optional(xep0004_forms::FieldKind::JidSingle, "with"),
            xep0004_forms::Expected::required(xep0004_forms::FieldKind::Boolean, "b"),
        ];
        let _ = form.check("urn:xmpp:mam:2", &expected);
    }
}

/// Whatever is written is read as what was written.
fn same<P: Decode + Encode + PartialEq + std::fmt::Debug>(element: ElementRef<'_>) {
    if let Ok(read) = P::decode(element) {
        let written = Frame::build(|w| read.encode(w));
        assert_eq!(P::decode(written.root()), Ok(read));
    }
}

fn account() -> Jid {
    Jid::new("user@example.com").expect("an address")
}

fn stanzas(stanza: &Stanza) {
    let _ = xep0334_hints::Hints::of(stanza);
    let _ = xep0115_caps::Caps::find(stanza);
    addresses(stanza);
    let _ = xep0359_sid::origin_id(stanza);
    let _ = xep0357_push::disabled_node(stanza, &account());
    let stamp = xep0297_forward::Stamp { from: None, unix_ms: 0 };
    let frame = Frame::build(|w| xep0297_forward::write(w, Some(stamp), stanza));
    let inner = xep0297_forward::inner(frame.root()).expect("what was forwarded is inside");
    assert_eq!(inner.name(), stanza.head.kind.name());
    let (children, kept) = (stanza.children().count(), inner.children().count());
    assert_eq!(children, kept);
}

/// What is written of addresses is read, and nobody is to get anything twice by it.
fn addresses(stanza: &Stanza) {
    let Some(element) = stanza.child(xep0033_address::NS, "addresses") else { return };
    let Ok(read) = xep0033_address::Addresses::read(element) else { return };
    let blind = read.receivers().into_iter().find(|jid| !read.is_open(jid));
    let frame = Frame::build(|w| read.write(w, blind));
    if let Ok(again) = xep0033_address::Addresses::read(frame.root()) {
        assert_eq!(again.receivers(), blind.into_iter().collect::<Vec<_>>());
    }
}

fn times(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data)
        && let Some(ms) = xep0082_time::read(text)
    {
        let written = xep0082_time::write(ms);
        let again = xep0082_time::read(&written).expect("what we wrote can be read");
        assert_eq!(xep0082_time::write(again), written);
    }
    if let Ok(bytes) = <[u8; 8]>::try_from(data) {
        let written = xep0082_time::write(i64::from_le_bytes(bytes));
        assert!(xep0082_time::read(&written).is_some(), "{written}");
    }
}
