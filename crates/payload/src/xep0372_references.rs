//! XEP-0372: References, version 0.5.0.
//!
//! Who is mentioned in a message.
//! Implements: §3.2 (mentions).
//! Left out: §3.3 (data), and which part of the text a reference is about, which are for clients.
//! Status: partial

use stentor_jid::Jid;
use stentor_xml::ElementRef;

/// Whom an element mentions; nobody if it is no mention, or not of an address (§3.2).
#[must_use]
pub fn mentioned(element: ElementRef<'_>) -> Option<Jid> {
    if !element.is(NS, "reference") || element.attr("type").as_deref() != Some("mention") {
        return None;
    }
    let uri = element.attr("uri")?;
    // RFC 5122 §2.2: an authority says who asks, and would stand behind two slashes.
    let path = uri.strip_prefix("xmpp:").filter(|path| !path.starts_with('/'))?;
    Jid::new(&decoded(path.split(['?', '#']).next()?)?).ok()
}

/// Percent-encoded octets of a URI (RFC 3986 §2.1).
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (digits, tail) = rest.split_at_checked(2)?;
        digits.iter().all(u8::is_ascii_hexdigit).then_some(())?;
        bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
        rest = tail;
    }
    String::from_utf8(bytes).ok()
}

/// The namespace of references.
pub const NS: &str = "urn:xmpp:reference:0";

#[cfg(test)]
mod tests {
    use stentor_xml::Frame;

    use super::*;

    fn mention(kind: &str, uri: &str) -> Option<String> {
        let xml = format!("<reference xmlns='urn:xmpp:reference:0' type='{kind}' uri='{uri}'/>");
        mentioned(Frame::parse(xml.as_bytes()).unwrap().root()).map(|jid| jid.to_string())
    }

    #[test]
    fn s3_2_a_mention_names_an_address() {
        let named = |uri: &str| mention("mention", uri);
        let juliet = Some("juliet@capulet.example".to_owned());
        assert_eq!(named("xmpp:juliet@capulet.example"), juliet);
        assert_eq!(named("xmpp:juliet@capulet.example?message#x"), juliet);
        assert_eq!(
            named("xmpp:room@muc.example/The%20Sun").as_deref(),
            Some("room@muc.example/The Sun")
        );
        for bad in ["juliet@capulet.example", "xmpp:%", "xmpp:%zz", "xmpp:a%+f@b.example"] {
            assert_eq!(named(bad), None, "{bad}");
        }
        for bad in ["xmpp:a%ff", "xmpp:", "", "xmpp://juliet@capulet.example/a@b.example"] {
            assert_eq!(named(bad), None, "{bad}");
        }
        assert_eq!(mention("data", "xmpp:juliet@capulet.example"), None);
    }
}
