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

#[cfg(test)]
mod tests {
    use super::*;

    /// Judges the one character in brackets.
    fn holds(text: &str) -> bool {
        let at = text.find('[').unwrap();
        let c = text[at + 1..].chars().next().unwrap();
        is_satisfied(&text.replace(['[', ']'], ""), at, c)
    }

    #[test]
    fn allows_joiners_after_a_virama() {
        assert!(holds("\u{915}\u{94D}[\u{200D}]\u{937}"));
        assert!(holds("\u{915}\u{94D}[\u{200C}]\u{937}"));
        assert!(!holds("\u{915}[\u{200D}]\u{937}"));
        assert!(!holds("[\u{200D}]\u{937}"));
        assert!(!holds("\u{1F468}[\u{200D}]\u{1F469}"));
    }

    #[test]
    fn allows_a_non_joiner_between_letters_that_would_join() {
        assert!(holds("\u{628}[\u{200C}]\u{628}"));
        // Transparent marks between, a right-joining letter after.
        assert!(holds("\u{628}\u{64E}[\u{200C}]\u{64E}\u{627}"));
        // ALEF joins backwards only.
        assert!(!holds("\u{627}[\u{200C}]\u{628}"));
        assert!(!holds("\u{628}[\u{200C}]"));
        assert!(!holds("\u{628}[\u{200C}]a"));
        assert!(!holds("[\u{200C}]\u{628}"));
    }

    #[test]
    fn allows_the_middle_dot_between_two_l() {
        assert!(holds("col[\u{B7}]lecci"));
        assert!(!holds("l[\u{B7}]"));
        assert!(!holds("[\u{B7}]l"));
        assert!(!holds("L[\u{B7}]L"));
    }

    #[test]
    fn asks_greek_and_hebrew_marks_for_their_script() {
        assert!(holds("a[\u{375}]\u{3B1}"));
        assert!(!holds("\u{3B1}[\u{375}]"));
        assert!(!holds("\u{3B1}[\u{375}]a"));
        for mark in ['\u{5F3}', '\u{5F4}'] {
            assert!(holds(&format!("\u{5D0}[{mark}]")));
            assert!(!holds(&format!("[{mark}]\u{5D0}")));
            assert!(!holds(&format!("a[{mark}]\u{5D0}")));
        }
    }

    #[test]
    fn asks_the_katakana_middle_dot_for_japanese_anywhere() {
        assert!(holds("a[\u{30FB}]b\u{30A2}"));
        assert!(holds("\u{3042}[\u{30FB}]"));
        assert!(holds("\u{6F22}a[\u{30FB}]"));
        assert!(!holds("a[\u{30FB}]b"));
        assert!(!holds("[\u{30FB}]"));
    }

    #[test]
    fn keeps_the_two_sets_of_arabic_digits_apart() {
        assert!(holds("\u{661}[\u{660}]"));
        assert!(holds("\u{6F1}[\u{6F0}]"));
        assert!(!holds("[\u{660}]a\u{6F0}"));
        assert!(!holds("\u{660}a[\u{6F0}]"));
    }
}
