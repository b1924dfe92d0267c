//! XEP-0334: Message Processing Hints, version 1.0.0.
//!
//! What the sender of a message wishes of those that store or copy it.
//! Implements: §4 (the four hints), §5 (errors have none).
//! Left out: nothing. What becomes of a message is decided in `engine/src/worth.rs`.

use stentor_stanza::{MessageType, Stanza};

/// The hints that a message carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hints {
    /// It is worth storing, whatever it looks like.
    pub has_store: bool,
    /// It is not to be stored, not even until its delivery.
    pub has_no_store: bool,
    /// It is not to be stored for longer than its delivery takes.
    pub has_no_permanent_store: bool,
    /// It is only for the session that it is addressed to.
    pub has_no_copy: bool,
}

impl Hints {
    /// The hints of a stanza; those of an error are the original's and are passed over (§5).
    #[must_use]
    pub fn of(stanza: &Stanza) -> Self {
        let mut hints = Self::default();
        if stanza.message_type().is_none_or(|t| t == MessageType::Error) {
            return hints;
        }
        for child in stanza.children().filter(|c| c.ns() == NS) {
            match child.name() {
                "store" => hints.has_store = true,
                "no-store" => hints.has_no_store = true,
                "no-permanent-store" => hints.has_no_permanent_store = true,
                "no-copy" => hints.has_no_copy = true,
                _ => {}
            }
        }
        hints
    }
}

/// The namespace of hints.
pub const NS: &str = "urn:xmpp:hints";

#[cfg(test)]
mod tests {
    use super::*;

    fn hints(kind: &str, inside: &str) -> Hints {
        let xml = format!("<message type='{kind}'>{inside}</message>");
        Hints::of(&Stanza::parse(xml.as_bytes()).unwrap())
    }

    #[test]
    fn reads_each_hint() {
        let one = |name: &str| hints("chat", &format!("<{name} xmlns='urn:xmpp:hints'/>"));
        assert_eq!(one("store"), Hints { has_store: true, ..Hints::default() });
        assert_eq!(one("no-store"), Hints { has_no_store: true, ..Hints::default() });
        let no_permanent = Hints { has_no_permanent_store: true, ..Hints::default() };
        assert_eq!(one("no-permanent-store"), no_permanent);
        assert_eq!(one("no-copy"), Hints { has_no_copy: true, ..Hints::default() });
        assert_eq!(one("odd"), Hints::default());
    }

    #[test]
    fn s5_hints_of_errors_are_passed_over() {
        assert_eq!(hints("error", "<store xmlns='urn:xmpp:hints'/>"), Hints::default());
    }
}
