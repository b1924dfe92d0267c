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
