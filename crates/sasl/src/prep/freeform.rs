//! The FreeformClass of PRECIS (RFC 8264 §4.3), calculated from the Unicode tables.

use icu_properties::props::{
    CanonicalCombiningClass, DefaultIgnorableCodePoint, GeneralCategory, HangulSyllableType,
    JoiningType, NoncharacterCodePoint, Script,
};
use icu_properties::{CodePointMapData, CodePointSetData};

/// The first character that the class does not allow where it stands.
pub(super) fn refused(text: &str) -> Option<char> {
    text.char_indices().find(|&(at, c)| !is_allowed(text, at, c)).map(|(_, c)| c)
}

fn is_allowed(text: &str, at: usize, c: char) -> bool {
    if c.is_ascii_graphic() || c == ' ' {
        return true;
    }
    match context(text, at, c) {
        Some(is_satisfied) => is_satisfied,
        None => !is_exception(c) && is_in_class(c),
    }
}

/// The rules for characters that depend on their neighbours (RFC 5892 appendix A), `None` for all
/// others.
fn context(text: &str, at: usize, c: char) -> Option<bool> {
    let before = &text[..at];
    let after = &text[at + c.len_utf8()..];
    let previous = before.chars().next_back();
    let next = after.chars().next();
    let any = |is: fn(char) -> bool| text.chars().any(is);
    Some(match c {
        '\u{200C}' => previous.is_some_and(is_virama) || is_between_joining(before, after),
        '\u{200D}' => previous.is_some_and(is_virama),
        '\u{B7}' => previous == Some('l') && next == Some('l'),
        '\u{375}' => next.is_some_and(|c| script(c) == Script::Greek),
        '\u{5F3}' | '\u{5F4}' => previous.is_some_and(|c| script(c) == Script::Hebrew),
        '\u{30FB}' => {
            any(|c| matches!(script(c), Script::Hiragana | Script::Katakana | Script::Han))
        }
        '\u{660}'..='\u{669}' => !any(|c| matches!(c, '\u{6F0}'..='\u{6F9}')),
        '\u{6F0}'..='\u{6F9}' => !any(|c| matches!(c, '\u{660}'..='\u{669}')),
        _ => return None,
    })
}

/// Whether a ZERO WIDTH NON-JOINER here breaks a connection of letters (RFC 5892 §A.1).
fn is_between_joining(before: &str, after: &str) -> bool {
    let joining = |c: char| CodePointMapData::<JoiningType>::new().get(c);
    let is_opaque = |&kind: &JoiningType| kind != JoiningType::Transparent;
    let left = before.chars().rev().map(joining).find(is_opaque);
    let right = after.chars().map(joining).find(is_opaque);
    matches!(left, Some(JoiningType::LeftJoining | JoiningType::DualJoining))
        && matches!(right, Some(JoiningType::RightJoining | JoiningType::DualJoining))
}

/// The disallowed ones of Exceptions (RFC 5892 §2.6); those it makes valid are in the class anyway.
fn is_exception(c: char) -> bool {
    matches!(
        c,
        '\u{640}' | '\u{7FA}' | '\u{302E}' | '\u{302F}' | '\u{3031}'..='\u{3035}' | '\u{303B}'
    )
}

/// RFC 8264 §8 without the categories that decide nothing here.
///
/// HasCompat (§9.17) is one of them: all its characters are letters, numbers, spaces, symbols or
/// punctuation.
fn is_in_class(c: char) -> bool {
    use GeneralCategory as Gc;
    let is_old_jamo = matches!(
        CodePointMapData::<HangulSyllableType>::new().get(c),
        HangulSyllableType::LeadingJamo
            | HangulSyllableType::VowelJamo
            | HangulSyllableType::TrailingJamo
    );
    let is_ignorable = CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(c)
        || CodePointSetData::new::<NoncharacterCodePoint>().contains(c);
    let has_refused_category = matches!(
        CodePointMapData::<GeneralCategory>::new().get(c),
        Gc::Unassigned
            | Gc::Control
            | Gc::Format
            | Gc::PrivateUse
            | Gc::Surrogate
            | Gc::LineSeparator
            | Gc::ParagraphSeparator
    );
    !is_old_jamo && !is_ignorable && !has_refused_category
}

fn is_virama(c: char) -> bool {
    CodePointMapData::<CanonicalCombiningClass>::new().get(c) == CanonicalCombiningClass::Virama
}

fn script(c: char) -> Script {
    CodePointMapData::<Script>::new().get(c)
}

#[cfg(test)]
mod tests {
    use icu_normalizer::ComposingNormalizerBorrowed;

    use super::*;

    #[test]
    fn refuses_what_the_class_lists_as_disallowed() {
        for c in [
            '\0',
            '\t',
            '\u{7F}',
            '\u{85}',
            '\u{AD}',
            '\u{378}',
            '\u{640}',
            '\u{1100}',
            '\u{180E}',
            '\u{200B}',
            '\u{2028}',
            '\u{202E}',
            '\u{3031}',
            '\u{3164}',
            '\u{E000}',
            '\u{FDD0}',
            '\u{FE0F}',
            '\u{FEFF}',
            '\u{FFFE}',
            '\u{E0041}',
            '\u{10FFFF}',
        ] {
            assert_eq!(refused(&format!("a{c}b")), Some(c));
        }
    }

    #[test]
    fn asks_for_the_context_that_a_character_needs() {
        for (text, first_refused) in [
            ("l\u{B7}l", None),
            ("a\u{B7}b", Some('\u{B7}')),
            ("\u{375}\u{3B1}", None),
            ("\u{375}a", Some('\u{375}')),
            ("\u{5D0}\u{5F3}", None),
            ("\u{5F4}\u{5D0}", Some('\u{5F4}')),
            ("\u{30FB}\u{30A2}", None),
            ("a\u{30FB}", Some('\u{30FB}')),
            ("\u{660}\u{669}", None),
            ("\u{6F0}\u{6F9}", None),
            ("\u{660}\u{6F0}", Some('\u{660}')),
            ("\u{915}\u{94D}\u{200D}", None),
            ("a\u{200D}", Some('\u{200D}')),
            // A Persian word with a non-joiner between two letters that would join.
            ("\u{628}\u{200C}\u{628}", None),
            ("\u{628}\u{64E}\u{200C}\u{628}", None),
            ("\u{200C}\u{628}", Some('\u{200C}')),
            ("\u{628}\u{200C}a", Some('\u{200C}')),
        ] {
            assert_eq!(refused(text), first_refused, "{text:?}");
        }
    }

    #[test]
    fn leaves_out_only_categories_of_the_algorithm_that_decide_nothing() {
        let nfkc = ComposingNormalizerBorrowed::new_nfkc();
        let jamo_or_ignorable = |c: char| {
            CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(c)
                || CodePointMapData::<HangulSyllableType>::new().get(c)
                    == HangulSyllableType::LeadingJamo
        };
        for c in ('\u{80}'..=char::MAX).filter(|&c| !jamo_or_ignorable(c)) {
            let has_compat = !nfkc.is_normalized(c.encode_utf8(&mut [0; 4]));
            assert!(!has_compat || is_in_class(c), "U+{:04X}", u32::from(c));
        }
        for valid_by_exception in "\u{DF}\u{3C2}\u{6FD}\u{6FE}\u{F0B}\u{3007}".chars() {
            assert!(is_in_class(valid_by_exception));
        }
    }
}
