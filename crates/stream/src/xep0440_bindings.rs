//! XEP-0440: SASL Channel-Binding Type Capability, version 1.0.0.
//!
//! Lists the channel bindings of this connection beside the mechanisms.
//! Implements: §2, for `tls-exporter` and `tls-server-end-point`.
//! Left out: `tls-unique`, which TLS 1.3 does not have.

use stentor_sasl::Bindings;
use stentor_xml::{ElementRef, Writer};

/// Writes the feature.
pub(crate) fn write(w: &mut Writer, bindings: &Bindings) {
    w.open("sasl-channel-binding", NS);
    for binding in bindings.available() {
        w.open("channel-binding", NS).attr("type", binding.name());
        w.close();
    }
    w.close();
}

/// The types that a server lists, if this is the feature.
pub(crate) fn read(element: ElementRef<'_>) -> Option<Vec<String>> {
    element.is(NS, "sasl-channel-binding").then(|| {
        element
            .children()
            .filter(|c| c.is(NS, "channel-binding"))
            .filter_map(|c| c.attr("type").map(|t| t.into_owned()))
            .collect()
    })
}

const NS: &str = "urn:xmpp:sasl-cb:0";
