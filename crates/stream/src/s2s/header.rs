//! Headers of streams between servers: ours, and the language of the peer's.

use stentor_stanza::Lang;
use stentor_xml::{Header, ns as xml_ns};

use crate::framing::{OurHeader, tcp};
use crate::ns;
use crate::opening::{SUPPORTED_VERSION, is_lang};

/// Writes our header. It declares the prefix of dialback (XEP-0220 §2.4.1).
pub(super) fn write_header(out: &mut Vec<u8>, from: &str, to: Option<&str>, id: Option<&str>) {
    let header = OurHeader {
        content_ns: xml_ns::SERVER,
        from: Some(from),
        to,
        id,
        version: Some(SUPPORTED_VERSION),
        lang: LANG,
    };
    tcp::write_header(out, &header);
    // Behind the other attributes: the tag is still open but for its last byte.
    out.pop();
    out.extend_from_slice(b" xmlns:db='");
    out.extend_from_slice(ns::DIALBACK.as_bytes());
    out.extend_from_slice(b"'>");
}

/// RFC 6120 §4.7.4, §8.1.5: the language of stanzas that name none. Where it is that of our own
/// streams, whoever gets such a stanza takes it for that anyway.
pub(super) fn default_lang(theirs: &Header) -> Option<Lang> {
    let lang = theirs.lang.as_deref().filter(|lang| is_lang(lang))?;
    (!lang.eq_ignore_ascii_case(LANG)).then(|| Lang::from(lang))
}

/// The language of our texts.
const LANG: &str = "en";
