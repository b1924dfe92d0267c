//! XEP-0288: Bidirectional Server-to-Server Connections, version 1.0.1.
//!
//! The feature and the request of streams that carry stanzas in both directions.
//! Implements: §2.1 (the feature), §2.2 (the request; what may be sent afterwards is judged in
//! `incoming.rs` and `outgoing.rs`).
//! Left out: nothing.

use stentor_xml::{ElementRef, Writer};

use crate::ns;

/// Writes the feature.
pub(super) fn write_feature(w: &mut Writer) {
    w.leaf("bidi", ns::BIDI_FEATURE);
}

/// Whether the features of a peer offer it.
pub(super) fn is_offered(features: ElementRef<'_>) -> bool {
    features.child(ns::BIDI_FEATURE, "bidi").is_some()
}

/// Asks for it.
pub(super) fn write_request(w: &mut Writer) {
    w.leaf("bidi", ns::BIDI);
}

/// Whether an element asks for it.
pub(super) fn is_request(root: ElementRef<'_>) -> bool {
    root.is(ns::BIDI, "bidi")
}
