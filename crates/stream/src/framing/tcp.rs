//! Streams as RFC 6120 §4 frames them: one long document.

use stentor_xml::{escape_attr, ns};

use super::OurHeader;

/// Writes an XML declaration and the stream's start tag (RFC 6120 §4.2, §11.5).
pub fn write_header(out: &mut Vec<u8>, header: &OurHeader<'_>) {
    out.extend_from_slice(b"<?xml version='1.0'?><stream:stream");
    let attributes = [
        ("from", header.from),
        ("to", header.to),
        ("id", header.id),
        ("version", header.version),
        ("xml:lang", Some(header.lang)),
        ("xmlns", Some(header.content_ns)),
        ("xmlns:stream", Some(ns::STREAM)),
    ];
    for (name, value) in attributes {
        let Some(value) = value else { continue };
        out.push(b' ');
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"='");
        escape_attr(out, value);
        out.push(b'\'');
    }
    out.push(b'>');
}

/// Writes the stream's end tag (RFC 6120 §4.4).
pub fn write_end(out: &mut Vec<u8>) {
    out.extend_from_slice(b"</stream:stream>");
}
