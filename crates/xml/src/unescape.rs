//! From characters as written to what they mean: references, line ends, CDATA sections.

use std::borrow::Cow;

use memchr::{memchr, memmem};

use crate::class;
use crate::machine::{char_of, predefined};

/// The value of an attribute: references replaced, white space normalised (XML 1.0 §3.3.3).
#[inline]
pub(crate) fn attr_value(raw: &str) -> Cow<'_, str> {
    if class::is_verbatim(raw.as_bytes()) { Cow::Borrowed(raw) } else { unescaped_value(raw) }
}

/// The same if something may have to be replaced.
#[cold]
fn unescaped_value(raw: &str) -> Cow<'_, str> {
    let bytes = raw.as_bytes();
    let is_special = |&byte: &u8| byte == b'&' || byte < b' ';
    let Some(mut at) = bytes.iter().position(is_special) else {
        return Cow::Borrowed(raw);
    };
    let mut value = String::with_capacity(raw.len());
    let mut copied = 0;
    while at < bytes.len() {
        let used = match bytes[at] {
            b'&' => {
                value.push_str(&raw[copied..at]);
                push_reference(&raw[at..], &mut value)
            }
            byte if byte < b' ' => {
                value.push_str(&raw[copied..at]);
                value.push(' ');
                // §2.11 makes CR LF one line end before this rule sees it.
                if bytes[at..].starts_with(b"\r\n") { 2 } else { 1 }
            }
            _ => {
                at += 1;
                continue;
            }
        };
        at += used;
        copied = at;
    }
    value.push_str(&raw[copied..]);
    Cow::Owned(value)
}

/// Character data as written, CDATA sections included, to text (XML 1.0 §2.4, §2.7, §2.11).
pub(crate) fn text(raw: &str) -> Cow<'_, str> {
    if is_verbatim(raw) {
        return Cow::Borrowed(raw);
    }
    let mut text = String::with_capacity(raw.len());
    push_text(raw, &mut text);
    Cow::Owned(text)
}

/// Appends character data as written to text.
pub(crate) fn push_text(raw: &str, text: &mut String) {
    let mut rest = raw;
    while let Some(at) = memchr::memchr3(b'&', b'<', b'\r', rest.as_bytes()) {
        text.push_str(&rest[..at]);
        rest = &rest[at..];
        let used = match rest.as_bytes()[0] {
            b'&' => push_reference(rest, text),
            b'\r' => {
                text.push('\n');
                if rest.starts_with("\r\n") { 2 } else { 1 }
            }
            _ => push_cdata(rest, text),
        };
        rest = &rest[used..];
    }
    text.push_str(rest);
}

fn is_verbatim(raw: &str) -> bool {
    memchr::memchr3(b'&', b'<', b'\r', raw.as_bytes()).is_none()
}

/// Appends the CDATA section with which `raw` begins; returns its length.
fn push_cdata(raw: &str, text: &mut String) -> usize {
    let inside = raw.strip_prefix(CDATA_START).unwrap_or(raw);
    let len = memmem::find(inside.as_bytes(), CDATA_END).unwrap_or(inside.len());
    let mut rest = &inside[..len];
    while let Some(at) = memchr(b'\r', rest.as_bytes()) {
        text.push_str(&rest[..at]);
        text.push('\n');
        rest = &rest[at + if rest[at..].starts_with("\r\n") { 2 } else { 1 }..];
    }
    text.push_str(rest);
    (raw.len() - inside.len() + len + CDATA_END.len()).min(raw.len())
}

/// Appends the character for which the reference at the start of `raw` stands; returns its length.
fn push_reference(raw: &str, out: &mut String) -> usize {
    let Some(end) = memchr(b';', raw.as_bytes()) else {
        out.push_str(raw);
        return raw.len();
    };
    let name = &raw.as_bytes()[1..end];
    let character = match name {
        [b'#', digits @ ..] => char_of(digits),
        _ => predefined(name),
    };
    out.extend(character);
    end + 1
}

const CDATA_START: &str = "<![CDATA[";
const CDATA_END: &[u8] = b"]]>";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_and_white_space_in_values() {
        assert_eq!(attr_value("a&lt;&gt;&amp;&quot;&apos;b"), "a<>&\"'b");
        assert_eq!(attr_value("a\tb\nc\r\nd\re"), "a b c d e");
        assert_eq!(attr_value("&#9;&#10;&#xD;&#x1F600;"), "\t\n\r\u{1f600}");
        assert!(matches!(attr_value("plain é"), Cow::Borrowed("plain é")));
    }

    #[test]
    fn text_keeps_white_space_and_joins_sections() {
        assert_eq!(text("a\r\nb\rc\n\td"), "a\nb\nc\n\td");
        assert_eq!(text("1<![CDATA[<&amp;\r\n]]]]>2<![CDATA[]]>&amp;"), "1<&amp;\n]]2&");
        assert_eq!(text("&#13;"), "\r");
        assert!(matches!(text(" plain "), Cow::Borrowed(" plain ")));
    }
}
