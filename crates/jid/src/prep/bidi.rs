//! The Bidi Rule (RFC 5893 §2) for localparts.

use icu_properties::CodePointMapData;
use icu_properties::props::BidiClass;

/// Whether the rule is satisfied, or does not apply because there is no right-to-left character
/// (RFC 8265 §3.3.1, item 5).
pub(super) fn is_satisfied(text: &str) -> bool {
    let mut classes = text.chars().map(class);
    if !classes.clone().any(is_right_to_left) {
        return true;
    }
    // Condition 1.
    match classes.next() {
        Some(BidiClass::RightToLeft | BidiClass::ArabicLetter) => is_rtl_label(text),
        Some(BidiClass::LeftToRight) => is_ltr_label(text),
        _ => false,
    }
}

fn is_right_to_left(class: BidiClass) -> bool {
    matches!(class, BidiClass::RightToLeft | BidiClass::ArabicLetter | BidiClass::ArabicNumber)
}

/// Conditions 2 to 4.
fn is_rtl_label(text: &str) -> bool {
    let allowed = |class| {
        is_right_to_left(class) || class == BidiClass::EuropeanNumber || is_in_any_label(class)
    };
    let ends_well = |class| is_right_to_left(class) || class == BidiClass::EuropeanNumber;
    let has = |wanted| text.chars().any(|c| class(c) == wanted);
    text.chars().map(class).all(allowed)
        && last_spacing(text).is_some_and(ends_well)
        && !(has(BidiClass::EuropeanNumber) && has(BidiClass::ArabicNumber))
}

/// Conditions 5 and 6.
fn is_ltr_label(text: &str) -> bool {
    let is_ltr = |class| matches!(class, BidiClass::LeftToRight | BidiClass::EuropeanNumber);
    text.chars().map(class).all(|class| is_ltr(class) || is_in_any_label(class))
        && last_spacing(text).is_some_and(is_ltr)
}

/// ES, CS, ET, ON, BN and NSM.
fn is_in_any_label(class: BidiClass) -> bool {
    matches!(
        class,
        BidiClass::EuropeanSeparator
            | BidiClass::CommonSeparator
            | BidiClass::EuropeanTerminator
            | BidiClass::OtherNeutral
            | BidiClass::BoundaryNeutral
            | BidiClass::NonspacingMark
    )
}

/// The class of the last character that is no nonspacing mark.
fn last_spacing(text: &str) -> Option<BidiClass> {
    text.chars().rev().map(class).find(|&class| class != BidiClass::NonspacingMark)
}

fn class(c: char) -> BidiClass {
    CodePointMapData::<BidiClass>::new().get(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lets_text_without_right_to_left_characters_pass() {
        assert!(is_satisfied("1a-"));
        assert!(is_satisfied("\u{4E2D}\u{6587}"));
        assert!(is_satisfied(""));
    }

    #[test]
    fn asks_the_first_character_for_a_direction() {
        assert!(is_satisfied("\u{5D0}1"));
        assert!(is_satisfied("\u{627}1"));
        assert!(!is_satisfied("1\u{5D0}"));
        assert!(!is_satisfied("-\u{5D0}"));
        assert!(!is_satisfied("\u{660}\u{627}"));
    }

    #[test]
    fn allows_no_left_to_right_character_after_a_right_to_left_one() {
        assert!(!is_satisfied("\u{5D0}a\u{5D1}"));
        assert!(!is_satisfied("\u{5D0}a"));
        assert!(is_satisfied("\u{5D0}-+.\u{5D1}"));
    }

    #[test]
    fn asks_a_right_to_left_end_for_a_letter_or_digit() {
        assert!(is_satisfied("\u{5D0}\u{5B0}"));
        assert!(is_satisfied("\u{627}\u{660}"));
        assert!(!is_satisfied("\u{5D0}-"));
        assert!(!is_satisfied("\u{5D0}-\u{5B0}"));
    }

    #[test]
    fn keeps_european_and_arabic_numbers_apart() {
        assert!(!is_satisfied("\u{627}1\u{660}"));
        assert!(is_satisfied("\u{627}1\u{6F0}"));
    }

    #[test]
    fn allows_no_right_to_left_character_after_a_left_to_right_one() {
        assert!(!is_satisfied("a\u{5D0}b"));
        assert!(!is_satisfied("a\u{660}"));
    }
}
