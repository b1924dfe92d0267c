//! XEP-0198: Stream Management, version 1.6.3.
//!
//! The elements of stream management, and what one stream counts.
//! Implements: §2 (the feature), §3 (enabling), §4 (acknowledgements), §5 (resumption), §6 (errors),
//! §9 (within XEP-0388 and XEP-0386).
//! Left out: `location` (§3), which is for clusters; a stream error for a second `<enable/>` (§3), which
//! is refused as the example shows: the session goes on. What is kept for a resumption, and for how
//! long, is the engine's (`resume/mod.rs`); streams between servers have `s2s/xep0198_sm.rs`.

use stentor_stanza::{Condition, NS_STANZAS};
use stentor_xml::{ElementRef, Writer};

use crate::limits::{ACK_ASK_AFTER, ACK_ASK_WAIT_MS, SM_ID_BYTES_MAX};
use crate::{Millis, ns};

/// An element of stream management, as it came.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Element {
    /// Start counting (§3).
    Enable {
        /// Whether the client wants to resume the session later.
        resume: bool,
        /// How many seconds it wants to have for that.
        max_secs: Option<u32>,
    },
    /// Go on with an earlier session (§5).
    Resume {
        /// How many of our stanzas the client has had.
        h: u32,
        /// The id of the session.
        previd: String,
    },
    /// How many stanzas have been handled? (§4)
    Request,
    /// So many of our stanzas have been handled (§4).
    Ack(u32),
}

impl Element {
    /// Whether the element is one of stream management.
    pub(crate) fn is(root: ElementRef<'_>) -> bool {
        root.ns() == ns::SM
    }

    /// Reads it; none if it is malformed.
    pub(crate) fn read(root: ElementRef<'_>) -> Option<Self> {
        let number = |name: &str| root.attr(name)?.trim().parse::<u32>().ok();
        match root.name() {
            "enable" => {
                let resume = match root.attr("resume").as_deref().map(str::trim) {
                    None | Some("false" | "0") => false,
                    Some("true" | "1") => true,
                    Some(_) => return None,
                };
                let max_secs = match root.attr("max") {
                    None => None,
                    Some(max) => Some(seconds(max.trim())?),
                };
                Some(Self::Enable { resume, max_secs })
            }
            "resume" => {
                let previd = root.attr("previd")?;
                // What is longer than any id of ours is that of no session, as an empty one is.
                let is_long = previd.len() > SM_ID_BYTES_MAX;
                let previd = if is_long { String::new() } else { previd.into_owned() };
                Some(Self::Resume { h: number("h")?, previd })
            }
            "r" => Some(Self::Request),
            "a" => Some(Self::Ack(number("h")?)),
            _ => None,
        }
    }
}

/// A positive integer (§13): it has no largest, and what is longer than any sensible one counts as ours.
fn seconds(text: &str) -> Option<u32> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u32::MAX))
}

/// Writes the feature.
pub(crate) fn write_feature(w: &mut Writer) {
    w.leaf("sm", ns::SM);
}

/// Writes `<enabled/>`; with an id the session may be resumed within `max_secs`.
pub(crate) fn write_enabled(w: &mut Writer, id: Option<&str>, max_secs: u32) {
    w.open("enabled", ns::SM);
    if let Some(id) = id {
        w.attr("id", id).attr("resume", "true").attr("max", &max_secs.to_string());
    }
    w.close();
}

/// Writes `<resumed/>`.
pub(crate) fn write_resumed(w: &mut Writer, previd: &str, h: u32) {
    w.open("resumed", ns::SM).attr("h", &h.to_string()).attr("previd", previd).close();
}

/// Writes `<failed/>` (§6), with what was handled if that is still known (§5).
pub(crate) fn write_failed(w: &mut Writer, condition: Condition, h: Option<u32>) {
    w.open("failed", ns::SM);
    if let Some(h) = h {
        w.attr("h", &h.to_string());
    }
    w.leaf(condition.name(), NS_STANZAS).close();
}

/// Writes `<a/>`.
pub(crate) fn write_ack(w: &mut Writer, h: u32) {
    w.open("a", ns::SM).attr("h", &h.to_string()).close();
}

/// Asks what has been handled.
pub(crate) const ASK: &str = "<r xmlns='urn:xmpp:sm:3'/>";

/// What one stream counts once stream management is on.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Stanzas that came, over all streams of the session.
    pub(crate) received: u64,
    /// Stanzas that left since the peer was last asked.
    unasked: u32,
    /// Whether an answer is due from the peer.
    is_asked: bool,
    /// When it is to be asked about the last few.
    ask_at: Option<Millis>,
}

impl Counts {
    /// The counts of a session that goes on.
    pub(crate) fn resumed(received: u64) -> Self {
        Self { received, ..Self::default() }
    }

    /// Notes that a stanza left; whether the peer is to be asked right behind it.
    pub(crate) fn note_sent(&mut self, now: Millis) -> bool {
        self.unasked = self.unasked.saturating_add(1);
        if self.is_asked {
            return false;
        }
        if self.unasked >= ACK_ASK_AFTER {
            self.ask();
            return true;
        }
        self.ask_at.get_or_insert(now.plus(ACK_ASK_WAIT_MS));
        false
    }

    /// Notes that the peer is asked now.
    pub(crate) const fn ask(&mut self) {
        self.is_asked = true;
        self.unasked = 0;
        self.ask_at = None;
    }

    /// Notes that the peer answered.
    pub(crate) fn note_answer(&mut self, now: Millis) {
        self.is_asked = false;
        self.ask_at = (self.unasked > 0).then(|| now.plus(ACK_ASK_WAIT_MS));
    }

    /// When the peer is to be asked.
    pub(crate) const fn ask_at(&self) -> Option<Millis> {
        self.ask_at
    }
}

/// The number of stanzas as it is written: §4 lets it start again behind 2³² − 1.
#[must_use]
pub(crate) const fn wrapped(count: u64) -> u32 {
    (count & 0xFFFF_FFFF) as u32
}

#[cfg(test)]
mod tests {
    use stentor_xml::Frame;

    use super::*;

    fn read(xml: &str) -> Option<Element> {
        let xml = xml.replacen('>', " xmlns='urn:xmpp:sm:3'>", 1).replacen("/ xmlns", " xmlns", 1);
        let xml = if xml.contains("</") { xml } else { xml.replacen('>', "/>", 1) };
        Element::read(Frame::parse(xml.as_bytes()).unwrap().root())
    }

    #[test]
    fn reads_what_the_specification_writes() {
        for (xml, element) in [
            ("<enable/>", Some(Element::Enable { resume: false, max_secs: None })),
            (
                "<enable resume='1' max='60'/>",
                Some(Element::Enable { resume: true, max_secs: Some(60) }),
            ),
            ("<enable resume='yes'/>", None),
            (
                "<enable max='99999999999'/>",
                Some(Element::Enable { resume: false, max_secs: Some(u32::MAX) }),
            ),
            ("<enable max='-1'/>", None),
            ("<enable max=''/>", None),
            (
                "<resume h='4294967295' previd='x'/>",
                Some(Element::Resume { h: u32::MAX, previd: "x".into() }),
            ),
            ("<resume h='4294967296' previd='x'/>", None),
            ("<resume h='1'/>", None),
            ("<resume h='1' previd=''/>", Some(Element::Resume { h: 1, previd: String::new() })),
            ("<r/>", Some(Element::Request)),
            ("<a h='3'/>", Some(Element::Ack(3))),
            ("<a/>", None),
            ("<a h='x'/>", None),
            ("<z/>", None),
        ] {
            assert_eq!(read(xml), element, "{xml}");
        }
        let long = format!("<resume h='1' previd='{}'/>", "x".repeat(SM_ID_BYTES_MAX + 1));
        assert_eq!(read(&long), Some(Element::Resume { h: 1, previd: String::new() }));
    }

    #[test]
    fn asks_behind_many_stanzas_at_once_and_behind_few_after_a_while() {
        let mut counts = Counts::default();
        let now = Millis(0);
        assert!(!counts.note_sent(now));
        assert_eq!(counts.ask_at(), Some(now.plus(ACK_ASK_WAIT_MS)));
        assert_eq!((2..=ACK_ASK_AFTER).filter(|_| counts.note_sent(now)).count(), 1);
        assert_eq!(counts.ask_at(), None, "asked already");
        assert!(!counts.note_sent(now));
        counts.note_answer(now);
        assert!(counts.ask_at().is_some(), "one left since");
        counts.ask();
        counts.note_answer(now);
        assert_eq!(counts.ask_at(), None);
    }

    #[test]
    fn counts_start_again_behind_the_largest_number() {
        assert_eq!(wrapped((1 << 32) - 1), u32::MAX);
        assert_eq!(wrapped(1 << 32), 0);
        assert_eq!(wrapped((1 << 32) + 7), 7);
    }
}
