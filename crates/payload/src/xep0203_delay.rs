//! XEP-0203: Delayed Delivery, version 2.0.
//!
//! Writes the stamp of a stanza that was kept before it was delivered.
//! Implements: §3 (protocol), §4 (time in UTC, by XEP-0082).
//! Left out: reading stamps, which is for clients; the optional reason text.

use stentor_xml::Writer;

use crate::xep0082_time;

/// Appends a stamp: `from` kept the stanza since `unix_ms`.
pub fn write(w: &mut Writer, from: &str, unix_ms: i64) {
    w.open("delay", NS).attr("from", from).attr("stamp", &xep0082_time::write(unix_ms));
    w.close();
}

/// The namespace of stamps.
pub const NS: &str = "urn:xmpp:delay";
