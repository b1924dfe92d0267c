//! Our header on streams between servers.

use stentor_xml::ns as xml_ns;

use crate::framing::{OurHeader, tcp};
use crate::ns;
use crate::opening::SUPPORTED_VERSION;

/// Writes our header. It declares the prefix of dialback (XEP-0220 §2.4.1).
pub(super) fn write_header(out: &mut Vec<u8>, from: &str, to: Option<&str>, id: Option<&str>) {
    let header = OurHeader {
        content_ns: xml_ns::SERVER,
        from: Some(from),
        to,
        id,
        version: Some(SUPPORTED_VERSION),
        lang: "en",
    };
    tcp::write_header(out, &header);
    // Behind the other attributes: the tag is still open but for its last byte.
    out.pop();
    out.extend_from_slice(b" xmlns:db='");
    out.extend_from_slice(ns::DIALBACK.as_bytes());
    out.extend_from_slice(b"'>");
}
