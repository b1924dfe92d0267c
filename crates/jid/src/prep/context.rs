//! Characters that are only allowed beside certain others (RFC 5892 appendix A).

use icu_properties::CodePointMapData;
use icu_properties::props::{CanonicalCombiningClass, JoiningType, Script};

/// Whether the rule for `c`, which stands at byte `at` of `text`, is satisfied; false for a
/// character that has no rule (RFC 8264 §8).
pub(super) fn is_satisfied(text: &str, at: usize, c: char) -> bool {
    let before = &text[..at];
    let after = &text[at + c.len_utf8()..];
    let last_before = before.chars().next_back();
    let first_after = after.chars().next();
    match c {
        '\u{200C}' => last_before.is_some_and(is_virama) || breaks_a_join(before, after),
        '\u{200D}' => last_before.is_some_and(is_virama),
        '\u{B7}' => last_before == Some('l') && first_after == Some('l'),
        '\u{375}' => first_after.is_some_and(|c| script(c) == Script::Greek),
        '\u{5F3}' | '\u{5F4}' => last_before.is_some_and(|c| script(c) == Script::Hebrew),
        '\u{30FB}' => text
            .chars()
            .any(|c| matches!(script(c), Script::Hiragana | Script::Katakana | Script::Han)),
        '\u{660}'..='\u{669}' => !text.chars().any(|c| matches!(c, '\u{6F0}'..='\u{6F9}')),
        '\u{6F0}'..='\u{6F9}' => !text.chars().any(|c| matches!(c, '\u{660}'..='\u{669}')),
        _ => false,
    }
}

/// Whether a letter that joins forwards and one that joins backwards stand around this place,
/// with nothing but transparent characters between.
fn breaks_a_join(before: &str, after: &str) -> bool {
    let opaque = |c: &char| joining_type(*c) != JoiningType::Transparent;
    let joins_forwards = before.chars().rev().find(opaque).is_some_and(|c| {
        matches!(joining_type(c), JoiningType::LeftJoining | JoiningType::DualJoining)
    });
    joins_forwards
        && after.chars().find(opaque).is_some_and(|c| {
            matches!(joining_type(c), JoiningType::RightJoining | JoiningType::DualJoining)
        })
}

fn is_virama(c: char) -> bool {
    CodePointMapData::<CanonicalCombiningClass>::new().get(c) == CanonicalCombiningClass::Virama
}

fn joining_type(c: char) -> JoiningType {
    CodePointMapData::<JoiningType>::new().get(c)
}

fn script(c: char) -> Script {
    CodePointMapData::<Script>::new().get(c)
}
