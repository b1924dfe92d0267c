//! XEP-0106: JID Escaping, version 1.1.1.
//!
//! The two transformations between an identifier of other systems or people and a localpart
//! (§3.2 and §3.3, with the rules of §4). They apply to localparts only, and are for display and
//! for gateways: addresses are compared and routed in escaped form (§4.1, rules 4 and 5).
//!
//! Left out: the decoding of URIs before escaping (§4.2, steps 1 and 2), which is the gateway's.

use std::borrow::Cow;

use thiserror::Error;

/// The identifier begins or ends with a space, and `\20` must neither begin nor end an escaped
/// localpart (§4.1, rule 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the name begins or ends with a space")]
pub struct EdgeSpace;

/// Escapes an identifier for use as a localpart, which is still to be prepared.
///
/// A backslash is only escaped where an escape sequence would otherwise be read (§4.1, rule 7).
/// Such sequences are looked for without regard to case, because preparation of the localpart
/// makes them lower case.
///
/// # Errors
///
/// [`EdgeSpace`].
pub fn escape(name: &str) -> Result<Cow<'_, str>, EdgeSpace> {
    if name.starts_with(' ') || name.ends_with(' ') {
        return Err(EdgeSpace);
    }
    if !name.chars().any(|c| sequence(c).is_some()) {
        return Ok(Cow::Borrowed(name));
    }
    let mut escaped = String::with_capacity(name.len() + 4 * SEQUENCE_BYTES);
    for (at, c) in name.char_indices() {
        match sequence(c) {
            Some(sequence) if c != '\\' || may_be_sequence(&name[at..]) => {
                escaped.push_str(sequence);
            }
            _ => escaped.push(c),
        }
    }
    Ok(Cow::Owned(escaped))
}

/// Unescapes a localpart for display or for another system.
///
/// Only the sequences of §3.3 in lower case are replaced. `\20` at either end stays as it is: it
/// is not the work of [`escape`], and a name must not gain invisible ends.
#[must_use]
pub fn unescape(local: &str) -> Cow<'_, str> {
    if !local.contains('\\') {
        return Cow::Borrowed(local);
    }
    let mut name = String::with_capacity(local.len());
    let mut rest = local;
    while let Some(next) = rest.chars().next() {
        let is_edge = rest.len() == local.len() || rest.len() == SEQUENCE_BYTES;
        let (c, bytes) = match leading_sequence(rest) {
            Some(c) if c != ' ' || !is_edge => (c, SEQUENCE_BYTES),
            _ => (next, next.len_utf8()),
        };
        name.push(c);
        rest = &rest[bytes..];
    }
    Cow::Owned(name)
}

fn sequence(c: char) -> Option<&'static str> {
    SEQUENCES.iter().find(|(unescaped, _)| *unescaped == c).map(|(_, sequence)| *sequence)
}

fn leading_sequence(text: &str) -> Option<char> {
    SEQUENCES.iter().find(|(_, sequence)| text.starts_with(sequence)).map(|(c, _)| *c)
}

/// Whether the text begins with a sequence, or would in lower case.
fn may_be_sequence(text: &str) -> bool {
    text.get(..SEQUENCE_BYTES)
        .is_some_and(|start| SEQUENCES.iter().any(|(_, it)| start.eq_ignore_ascii_case(it)))
}

/// The table of §3.2.
const SEQUENCES: [(char, &str); 10] = [
    (' ', "\\20"),
    ('"', "\\22"),
    ('&', "\\26"),
    ('\'', "\\27"),
    ('/', "\\2f"),
    (':', "\\3a"),
    ('<', "\\3c"),
    ('>', "\\3e"),
    ('@', "\\40"),
    ('\\', "\\5c"),
];

const SEQUENCE_BYTES: usize = 3;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::prep_local;

    /// The tables and examples of §3, §4.2, §4.3 and §5.
    const EXAMPLES: [(&str, &str); 22] = [
        ("d'artagnan", r"d\27artagnan"),
        ("tréville@musketeers.lit", r"tréville\40musketeers.lit"),
        (r"\3and\2is\5cool", r"\5c3and\2is\5c5cool"),
        (r"\2plus\2is\4", r"\2plus\2is\4"),
        (r"foo\bar", r"foo\bar"),
        (r"foob\41r", r"foob\41r"),
        ("space cadet", r"space\20cadet"),
        (r#"call me "ishmael""#, r"call\20me\20\22ishmael\22"),
        ("at&t guy", r"at\26t\20guy"),
        ("/.fanboy", r"\2f.fanboy"),
        ("::foo::", r"\3a\3afoo\3a\3a"),
        ("<foo>", r"\3cfoo\3e"),
        ("user@host", r"user\40host"),
        (r"c:\net", r"c\3a\net"),
        (r"c:\\net", r"c\3a\\net"),
        (r"c:\cool stuff", r"c\3a\cool\20stuff"),
        (r"c:\5commas", r"c\3a\5c5commas"),
        (r"\27", r"\5c27"),
        (r"\5c", r"\5c5c"),
        ("here's_a_wild_&_/cr%zy/_address", r"here\27s_a_wild_\26_\2fcr%zy\2f_address"),
        (r"\\20", r"\\5c20"),
        ("", ""),
    ];

    #[test]
    fn transforms_the_examples_both_ways() {
        for (name, local) in EXAMPLES {
            assert_eq!(escape(name).unwrap(), local, "escape {name}");
            assert_eq!(unescape(local), name, "unescape {local}");
        }
    }

    #[test]
    fn refuses_a_space_at_either_end() {
        assert_eq!(escape(" juliet"), Err(EdgeSpace));
        assert_eq!(escape("juliet "), Err(EdgeSpace));
        assert_eq!(escape(" "), Err(EdgeSpace));
    }

    #[test]
    fn keeps_an_escaped_space_at_either_end() {
        assert_eq!(unescape(r"\20juliet"), r"\20juliet");
        assert_eq!(unescape(r"juliet\20"), r"juliet\20");
        assert_eq!(unescape(r"\20"), r"\20");
        assert_eq!(unescape(r"a\20\20b"), "a  b");
    }

    #[test]
    fn unescapes_lower_case_only_and_each_place_once() {
        assert_eq!(unescape(r"\2Ffoo"), r"\2Ffoo");
        assert_eq!(unescape(r"\5c5c27"), r"\5c27");
    }

    #[test]
    fn escapes_what_preparation_would_make_a_sequence() {
        let local = escape(r"c:\5Commas").unwrap();
        assert_eq!(unescape(&prep_local(&local).unwrap()), r"c:\5commas");
    }

    #[test]
    fn borrows_what_needs_no_change() {
        assert!(matches!(escape("juliet"), Ok(Cow::Borrowed("juliet"))));
        assert!(matches!(unescape("juliet"), Cow::Borrowed("juliet")));
    }

    proptest! {
        #[test]
        fn prop_unescaping_undoes_escaping(name in r#"[\\ "&'/:<>@0-9a-fA-Fé]{0,16}"#) {
            if let Ok(local) = escape(&name) {
                prop_assert!(!local.contains(&[' ', '"', '&', '\'', '/', ':', '<', '>', '@'][..]));
                prop_assert!(!local.starts_with(r"\20") && !local.ends_with(r"\20"));
                prop_assert_eq!(unescape(&local), name.as_str());
            }
        }
    }
}
