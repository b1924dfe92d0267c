//! XEP-0203: Delayed Delivery, version 2.0.
//!
//! Writes the stamp of a stanza that was kept before it was delivered.
//! Implements: §3 (protocol), §4 (time in UTC, by XEP-0082).
//! Left out: reading others' stamps, which is for clients; the optional reason text.

use stentor_stanza::Stanza;
use stentor_xml::{ElementRef, Writer};

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

/// Whether the stanza has this very stamp.
#[must_use]
pub fn is_there(stanza: &Stanza, from: &str, unix_ms: i64) -> bool {
    let stamp = xep0082_time::write(unix_ms);
    let has = |c: ElementRef<'_>, name, value: &str| c.attr(name).is_some_and(|v| v == value);
    let mut children = stanza.children();
    children.any(|c| c.is(NS, "delay") && has(c, "from", from) && has(c, "stamp", &stamp))
}

/// The namespace of stamps.
pub const NS: &str = "urn:xmpp:delay";
