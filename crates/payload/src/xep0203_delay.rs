//! XEP-0203: Delayed Delivery, version 2.0.
//!
//! Writes the stamp of a stanza that was kept before it was delivered.
//! Implements: §3 (protocol), §4 (time in UTC, by XEP-0082).
//! Left out: reading stamps, which is for clients; the optional reason text.

use stentor_xml::Writer;

use crate::xep0082_time;

/// Appends a stamp: `from` kept the stanza since `unix_ms`.
pub fn write(w: &mut Writer, from: &str, unix_ms: i64) {
    write_opt(w, Some(from), unix_ms);
}

/// Appends a stamp that may leave out who kept the stanza.
pub fn write_opt(w: &mut Writer, from: Option<&str>, unix_ms: i64) {
    w.open("delay", NS).attr_opt("from", from).attr("stamp", &xep0082_time::write(unix_ms));
    w.close();
}

/// The namespace of stamps.
pub const NS: &str = "urn:xmpp:delay";
