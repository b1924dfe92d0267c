//! XEP-0478: Stream Limits Advertisement, version 0.2.0.
//!
//! Tells the peer the largest first-level element we accept and when it counts as idle.
//! Implements: §3.1, both sides; servers that announce what they accept are sent nothing longer.
//! Left out: §3.2 (limits of who opens a bidirectional stream between servers): ours are told in
//! features only, and those of a peer that opened the stream are not read.

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

#[cfg(test)]
mod tests {
    use stentor_xml::Frame;

    use super::*;

    #[test]
    fn reads_what_it_writes() {
        for limits in [
            StreamLimits::default(),
            StreamLimits { bytes_max: Some(10_000), idle_secs: None },
            StreamLimits { bytes_max: Some(262_144), idle_secs: Some(1_800) },
        ] {
            let frame = Frame::build(|w| limits.write(w));
            assert_eq!(StreamLimits::read(frame.root()), Some(limits));
        }
    }

    #[test]
    fn leaves_out_what_is_no_number() {
        let xml = "<limits xmlns='urn:xmpp:stream-limits:0'><max-bytes>-1</max-bytes>\
                   <idle-seconds>99999999999999999999</idle-seconds></limits>";
        let frame = Frame::parse(xml.as_bytes()).unwrap();
        assert_eq!(StreamLimits::read(frame.root()), Some(StreamLimits::default()));
        let other = Frame::parse(b"<limits xmlns='urn:example:other'/>").unwrap();
        assert_eq!(StreamLimits::read(other.root()), None);
    }
}
