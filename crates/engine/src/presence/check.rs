//! The structure of presence (RFC 6121 §4.7.2): at most one `show` and one `priority`, and text in
//! them and in `status`.

use stentor_stanza::{Stanza, StanzaError};
use stentor_xml::{ElementRef, ns};

use crate::session::bad_request;

/// Checks the elements of the content namespace.
///
/// # Errors
/// `bad-request`: one is repeated, holds elements, or is no priority.
pub(crate) fn structure(stanza: &Stanza) -> Result<(), StanzaError> {
    let (mut shows, mut priorities) = (0, 0);
    for child in stanza.children().filter(|c| c.ns() == ns::CLIENT) {
        match child.name() {
            "show" => shows += 1,
            "priority" => {
                priorities += 1;
                read_priority(child).ok_or(bad_request())?;
            }
            "status" => {}
            _ => continue,
        }
        if child.children().next().is_some() || shows > 1 || priorities > 1 {
            return Err(bad_request());
        }
    }
    Ok(())
}

/// The priority of a presence whose structure has been checked; absent means 0 (§4.7.2.3).
pub(crate) fn priority(stanza: &Stanza) -> i8 {
    stanza.child(ns::CLIENT, "priority").and_then(read_priority).unwrap_or(0)
}

/// An xs:byte: white space around it is collapsed, a sign is allowed.
fn read_priority(element: ElementRef<'_>) -> Option<i8> {
    let text = element.text();
    text.trim_matches([' ', '\t', '\n', '\r']).parse().ok()
}

#[cfg(test)]
mod tests {
    use stentor_xml::Frame;

    use super::*;

    fn presence(children: &str) -> Stanza {
        let xml = format!("<presence>{children}</presence>");
        Stanza::from_frame(Frame::parse(xml.as_bytes()).unwrap()).unwrap()
    }

    #[test]
    fn priorities_are_bytes() {
        for (text, priority) in [
            ("0", Some(0)),
            (" 5 ", Some(5)),
            ("-128", Some(-128)),
            ("127", Some(127)),
            ("+1", Some(1)),
            ("high", None),
            ("", None),
            ("1.5", None),
            ("128", None),
            ("-129", None),
            ("1 2", None),
        ] {
            let stanza = presence(&format!("<priority>{text}</priority>"));
            assert_eq!(
                structure(&stanza).ok().map(|()| super::priority(&stanza)),
                priority,
                "{text}"
            );
        }
        assert_eq!(super::priority(&presence("")), 0);
    }

    #[test]
    fn repeated_or_nested_elements_are_refused() {
        for children in [
            "<show>away</show><show>dnd</show>",
            "<show><b/></show>",
            "<status><b xmlns='urn:example:b'/></status>",
            "<priority>1</priority><priority>1</priority>",
        ] {
            assert!(structure(&presence(children)).is_err(), "{children}");
        }
    }

    #[test]
    fn several_statuses_and_unknown_elements_pass() {
        let stanza = presence(
            "<status>a</status><status xml:lang='cs'>b</status><show>invisible</show>\
             <x xmlns='urn:example:x'><show xmlns='jabber:client'/></x>",
        );
        assert!(structure(&stanza).is_ok());
    }
}
