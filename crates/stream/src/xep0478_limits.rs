//! XEP-0478: Stream Limits Advertisement, version 0.2.0.
//!
//! Tells the peer the largest first-level element we accept and when it counts as idle.
//! Implements: §3.1, both sides.
//! Left out: §3.2 (bidirectional server links), which come with server links.

use stentor_xml::{ElementRef, Writer};

/// What a peer announces about itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamLimits {
    /// The largest first-level element it accepts, in bytes.
    pub bytes_max: Option<u64>,
    /// The silence after which it may ask or hang up, in seconds.
    pub idle_secs: Option<u64>,
}

impl StreamLimits {
    /// Writes the feature.
    pub(crate) fn write(&self, w: &mut Writer) {
        w.open("limits", NS);
        if let Some(bytes) = self.bytes_max {
            w.text_element("max-bytes", NS, &bytes.to_string());
        }
        if let Some(secs) = self.idle_secs {
            w.text_element("idle-seconds", NS, &secs.to_string());
        }
        w.close();
    }

    /// Reads the feature, if it is this one; a number that is none is left out.
    pub(crate) fn read(element: ElementRef<'_>) -> Option<Self> {
        let number = |name| element.child(NS, name)?.text().trim().parse().ok();
        element
            .is(NS, "limits")
            .then(|| Self { bytes_max: number("max-bytes"), idle_secs: number("idle-seconds") })
    }
}

const NS: &str = "urn:xmpp:stream-limits:0";
