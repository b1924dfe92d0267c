//! Which characters a part may have: the derived property of RFC 8264 §8, calculated from the
//! Unicode tables, and that of RFC 5892 §3 where domain names differ.

use icu_normalizer::ComposingNormalizerBorrowed;
use icu_properties::props::{
    DefaultIgnorableCodePoint, GeneralCategory, HangulSyllableType, NoncharacterCodePoint,
};
use icu_properties::{CodePointMapData, CodePointSetData};

use super::context;
use crate::{JidError, Part};

/// The sets of characters that strings are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// RFC 8264 §4.2.
    Identifier,
    /// RFC 8264 §4.3.
    Freeform,
    /// U-labels of IDNA2008 after the mapping of UTS #46: IdentifierClass without the blocks that
    /// RFC 5892 §2.4 leaves out. The other difference, Unstable (§2.2), concerns characters that
    /// are mapped away.
    Label,
}

/// Checks that the class allows every character where it stands.
pub(super) fn check(text: &str, class: Class, part: Part) -> Result<(), JidError> {
    for (at, character) in text.char_indices() {
        let is_valid = match derived_property(character) {
            Property::Valid => class != Class::Label || !is_in_ignorable_block(character),
            Property::FreeformValid => class == Class::Freeform,
            Property::Contextual => {
                if !context::is_satisfied(text, at, character) {
                    return Err(JidError::OutOfContext { part, character });
                }
                true
            }
            Property::Disallowed => false,
            Property::Unassigned => return Err(JidError::Unassigned { part, character }),
        };
        if !is_valid {
            return Err(JidError::Disallowed { part, character });
        }
    }
    Ok(())
}

/// The values of the derived property.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Property {
    /// PVALID.
    Valid,
    /// FREE_PVAL, also written "ID_DIS or FREE_PVAL".
    FreeformValid,
    /// CONTEXTJ and CONTEXTO.
    Contextual,
    /// DISALLOWED.
    Disallowed,
    /// UNASSIGNED.
    Unassigned,
}

/// RFC 8264 §8, whose order of tests must be kept.
fn derived_property(c: char) -> Property {
    if let Some(property) = exception(c) {
        return property;
    }
    let category = CodePointMapData::<GeneralCategory>::new().get(c);
    let is_noncharacter = CodePointSetData::new::<NoncharacterCodePoint>().contains(c);
    if category == GeneralCategory::Unassigned && !is_noncharacter {
        Property::Unassigned
    } else if matches!(c, '!'..='~') {
        Property::Valid
    } else if matches!(c, '\u{200C}' | '\u{200D}') {
        Property::Contextual
    } else if is_old_hangul_jamo(c)
        || is_noncharacter
        || CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(c)
        || category == GeneralCategory::Control
    {
        Property::Disallowed
    } else if has_compat(c) {
        Property::FreeformValid
    } else {
        by_category(category)
    }
}

/// The rest of the tests: LetterDigits, OtherLetterDigits, Spaces, Symbols, Punctuation.
fn by_category(category: GeneralCategory) -> Property {
    use GeneralCategory as Gc;
    match category {
        Gc::LowercaseLetter
        | Gc::UppercaseLetter
        | Gc::OtherLetter
        | Gc::DecimalNumber
        | Gc::ModifierLetter
        | Gc::NonspacingMark
        | Gc::SpacingMark => Property::Valid,
        Gc::TitlecaseLetter
        | Gc::LetterNumber
        | Gc::OtherNumber
        | Gc::EnclosingMark
        | Gc::SpaceSeparator
        | Gc::MathSymbol
        | Gc::CurrencySymbol
        | Gc::ModifierSymbol
        | Gc::OtherSymbol
        | Gc::ConnectorPunctuation
        | Gc::DashPunctuation
        | Gc::OpenPunctuation
        | Gc::ClosePunctuation
        | Gc::InitialPunctuation
        | Gc::FinalPunctuation
        | Gc::OtherPunctuation => Property::FreeformValid,
        _ => Property::Disallowed,
    }
}

/// Exceptions, RFC 5892 §2.6. BackwardCompatible (§2.7) is empty.
fn exception(c: char) -> Option<Property> {
    match c {
        '\u{DF}' | '\u{3C2}' | '\u{6FD}' | '\u{6FE}' | '\u{F0B}' | '\u{3007}' => {
            Some(Property::Valid)
        }
        '\u{B7}' | '\u{375}' | '\u{5F3}' | '\u{5F4}' | '\u{30FB}' => Some(Property::Contextual),
        '\u{660}'..='\u{669}' | '\u{6F0}'..='\u{6F9}' => Some(Property::Contextual),
        '\u{640}' | '\u{7FA}' | '\u{302E}' | '\u{302F}' => Some(Property::Disallowed),
        '\u{3031}'..='\u{3035}' | '\u{303B}' => Some(Property::Disallowed),
        _ => None,
    }
}

/// RFC 5892 §2.9.
fn is_old_hangul_jamo(c: char) -> bool {
    matches!(
        CodePointMapData::<HangulSyllableType>::new().get(c),
        HangulSyllableType::LeadingJamo
            | HangulSyllableType::VowelJamo
            | HangulSyllableType::TrailingJamo
    )
}

/// RFC 8264 §9.17.
fn has_compat(c: char) -> bool {
    !ComposingNormalizerBorrowed::new_nfkc().is_normalized(c.encode_utf8(&mut [0; 4]))
}

/// RFC 5892 §2.4: Combining Diacritical Marks for Symbols, Musical Symbols, Ancient Greek Musical
/// Notation.
fn is_in_ignorable_block(c: char) -> bool {
    matches!(c, '\u{20D0}'..='\u{20FF}' | '\u{1D100}'..='\u{1D1FF}' | '\u{1D200}'..='\u{1D24F}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derives_the_property_of_each_category() {
        use Property::{Contextual, Disallowed, FreeformValid, Unassigned, Valid};
        for (c, property) in [
            // Exceptions.
            ('\u{DF}', Valid),
            ('\u{F0B}', Valid),
            ('\u{B7}', Contextual),
            ('\u{6F5}', Contextual),
            ('\u{640}', Disallowed),
            ('\u{3035}', Disallowed),
            // Unassigned, but not noncharacters.
            ('\u{378}', Unassigned),
            ('\u{FDD0}', Disallowed),
            ('\u{10FFFF}', Disallowed),
            // ASCII7 with its symbols; space and controls are not in it.
            ('~', Valid),
            ('$', Valid),
            (' ', FreeformValid),
            ('\t', Disallowed),
            ('\u{7F}', Disallowed),
            // JoinControl before PrecisIgnorableProperties.
            ('\u{200D}', Contextual),
            ('\u{200E}', Disallowed),
            ('\u{AD}', Disallowed),
            ('\u{FE0F}', Disallowed),
            // OldHangulJamo before LetterDigits.
            ('\u{1100}', Disallowed),
            ('\u{AC00}', Valid),
            // HasCompat before LetterDigits.
            ('\u{FB01}', FreeformValid),
            ('\u{2163}', FreeformValid),
            ('\u{FF21}', FreeformValid),
            // OtherLetterDigits.
            ('\u{1F88}', FreeformValid),
            ('\u{16EE}', FreeformValid),
            ('\u{488}', FreeformValid),
            // Spaces, symbols, punctuation.
            ('\u{1680}', FreeformValid),
            ('\u{221E}', FreeformValid),
            ('\u{1F97A}', FreeformValid),
            ('\u{2014}', FreeformValid),
            // LetterDigits.
            ('\u{E9}', Valid),
            ('\u{C9}', Valid),
            ('\u{301}', Valid),
            ('\u{903}', Valid),
            // Neither: format, private use, line separator.
            ('\u{600}', Disallowed),
            ('\u{E000}', Disallowed),
            ('\u{2028}', Disallowed),
        ] {
            assert_eq!(derived_property(c), property, "U+{:04X}", u32::from(c));
        }
    }

    #[test]
    fn leaves_combining_marks_of_symbols_out_of_labels() {
        assert_eq!(check("a\u{20D0}", Class::Identifier, Part::Local), Ok(()));
        assert_eq!(
            check("a\u{20D0}", Class::Label, Part::Domain),
            Err(JidError::Disallowed { part: Part::Domain, character: '\u{20D0}' })
        );
    }

    #[test]
    fn names_the_character_that_is_out_of_context() {
        assert_eq!(
            check("a\u{B7}", Class::Freeform, Part::Resource),
            Err(JidError::OutOfContext { part: Part::Resource, character: '\u{B7}' })
        );
    }
}
