//! XEP-0386: Bind 2, version 1.1.0.
//!
//! Binds a resource, and puts features of the session into force, within sign-in.
//! Implements: §3.1 (the features), §3.2 (request and answer).
//! Left out: nothing.
//! Status: complete

use stentor_xml::{ElementRef, Writer};

use crate::sign_in::BindRequest;
use crate::xep0388_sasl2::own;

/// Writes the inline feature with the features of sessions that it takes (§3.1).
pub(crate) fn write_feature<'a>(w: &mut Writer, features: impl Iterator<Item = &'a str>) {
    let mut features = features.peekable();
    w.open("bind", NS);
    if features.peek().is_some() {
        w.open("inline", NS);
        for feature in features {
            w.open("feature", NS).attr("var", feature).close();
        }
        w.close();
    }
    w.close();
}

/// Reads the request, if this is one.
pub(crate) fn read_request(element: ElementRef<'_>) -> Option<BindRequest> {
    element.is(NS, "bind").then(|| BindRequest {
        tag: element.child(NS, "tag").map(|tag| tag.text().trim().to_owned()),
        wishes: element.children().filter(|child| child.ns() != NS).map(own).collect(),
    })
}

/// Writes the request of a client.
pub(crate) fn write_request(w: &mut Writer, request: &BindRequest) {
    w.open("bind", NS);
    if let Some(tag) = &request.tag {
        w.text_element("tag", NS, tag);
    }
    for wish in &request.wishes {
        w.element(wish.root());
    }
    w.close();
}

/// Writes `<bound/>`; `inside` writes what came of the wishes.
pub(crate) fn write_bound(w: &mut Writer, inside: impl FnOnce(&mut Writer)) {
    w.open("bound", NS);
    inside(w);
    w.close();
}

/// The namespace.
pub(crate) const NS: &str = "urn:xmpp:bind:0";
