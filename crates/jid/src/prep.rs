//! Preparation and enforcement of the three parts (RFC 7622 §3.2 to §3.4).
//!
//! The PRECIS profiles apply their rules in the order of RFC 8264 §7, where the string class comes
//! last, and not in that of RFC 8265 §3.3.2, where it comes before case mapping and normalization:
//! RFC 7622 §4 encourages to accept what can be mapped to an allowed string. So the angstrom sign
//! becomes `å`, and conjoining Jamo become a syllable.

pub(crate) mod ascii;
mod bidi;
mod class;
mod context;
mod domain;

use std::borrow::Cow;

use icu_normalizer::ComposingNormalizerBorrowed;
use icu_properties::props::{ChangesWhenLowercased, GeneralCategory};
use icu_properties::{CodePointMapData, CodePointSetData};

pub use self::domain::{domain_to_ascii, prep_domain};

use self::ascii::Ascii;
use self::class::Class;
use crate::limits::{PART_BYTES_MAX, PART_INPUT_BYTES_MAX, REAPPLICATIONS_MAX};
use crate::{JidError, Part};

/// Prepares a localpart: UsernameCaseMapped (RFC 8265 §3.3) without the characters that RFC 7622
/// §3.3.1 excludes.
///
/// # Errors
///
/// The first reason found why the string is no localpart.
pub fn prep_local(text: &str) -> Result<Cow<'_, str>, JidError> {
    match ascii::local(text) {
        Ascii::Canonical => return Ok(Cow::Borrowed(text)),
        Ascii::UpperCase => return Ok(Cow::Owned(text.to_ascii_lowercase())),
        Ascii::Other => {}
    }
    let text = enforce(text, Part::Local, username_case_mapped)?;
    class::check(&text, Class::Identifier, Part::Local)?;
    if let Some(character) = text.chars().find(|&c| ascii::is_excluded_from_local(c)) {
        return Err(JidError::Disallowed { part: Part::Local, character });
    }
    if let Some(character) = text.chars().find(|&c| is_capital(c)) {
        return Err(JidError::Unassigned { part: Part::Local, character });
    }
    if !bidi::is_satisfied(&text) {
        return Err(JidError::Bidi(Part::Local));
    }
    Ok(Cow::Owned(text))
}

/// Prepares a resourcepart: OpaqueString (RFC 8265 §4.2).
///
/// The profile allows spaces anywhere; RFC 7622 §3.5 (example 18) forbids one at the start.
///
/// # Errors
///
/// The first reason found why the string is no resourcepart.
pub fn prep_resource(text: &str) -> Result<Cow<'_, str>, JidError> {
    if ascii::resource(text) == Ascii::Canonical {
        return Ok(Cow::Borrowed(text));
    }
    let text = enforce(text, Part::Resource, opaque_string)?;
    class::check(&text, Class::Freeform, Part::Resource)?;
    if text.starts_with(' ') {
        return Err(JidError::LeadingSpace);
    }
    Ok(Cow::Owned(text))
}

/// Applies the mapping rules of a profile until they change nothing (RFC 8264 §7).
fn enforce(text: &str, part: Part, map: fn(&str) -> String) -> Result<String, JidError> {
    if text.len() > PART_INPUT_BYTES_MAX {
        return Err(JidError::TooLong(part));
    }
    let mut mapped = map(text);
    for _ in 0..REAPPLICATIONS_MAX {
        let again = map(&mapped);
        if again == mapped {
            return match mapped.len() {
                0 => Err(JidError::Empty(part)),
                1..=PART_BYTES_MAX => Ok(mapped),
                _ => Err(JidError::TooLong(part)),
            };
        }
        mapped = again;
    }
    Err(JidError::Unstable(part))
}

/// The mapping rules of RFC 8265 §3.3.1: width, case, NFC.
fn username_case_mapped(text: &str) -> String {
    // Character by character: the final sigma of the string operation would keep the addresses
    // of RFC 7622 §3.5, examples 9 and 10, from matching.
    let lower: String = text.chars().map(map_width).flat_map(char::to_lowercase).collect();
    NFC.normalize(&lower).into_owned()
}

/// Whether there is a lower case that the mapping does not know.
///
/// The tables for case come with the compiler and may be of an older Unicode than those for
/// classes: such a character would change its canonical form with the next compiler.
fn is_capital(c: char) -> bool {
    !c.is_ascii() && CodePointSetData::new::<ChangesWhenLowercased>().contains(c)
}

/// Maps a fullwidth or halfwidth character to its decomposition mapping (UAX #11).
///
/// Only those whose mapping an IdentifierClass can hold: halfwidth Hangul letters, symbols and
/// the ideographic space are refused with or without it.
fn map_width(c: char) -> char {
    match c {
        '\u{FF01}'..='\u{FF5E}' => char::from_u32(u32::from(c) - 0xFEE0).unwrap_or(c),
        '\u{FF61}'..='\u{FF9F}' => NFKC.normalize_iter(std::iter::once(c)).next().unwrap_or(c),
        _ => c,
    }
}

/// The mapping rules of RFC 8265 §4.2.2: spaces, NFC.
fn opaque_string(text: &str) -> String {
    let category = CodePointMapData::<GeneralCategory>::new();
    let is_space =
        |c| !matches!(c, '\0'..='\x7F') && category.get(c) == GeneralCategory::SpaceSeparator;
    let spaced: String = text.chars().map(|c| if is_space(c) { ' ' } else { c }).collect();
    NFC.normalize(&spaced).into_owned()
}

const NFC: ComposingNormalizerBorrowed<'static> = ComposingNormalizerBorrowed::new_nfc();
const NFKC: ComposingNormalizerBorrowed<'static> = ComposingNormalizerBorrowed::new_nfkc();

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn refused(part: Part, character: char) -> Result<Cow<'static, str>, JidError> {
        Err(JidError::Disallowed { part, character })
    }

    #[test]
    fn maps_width_and_case_of_localparts() {
        for (text, prepared) in [
            ("ＪＵＬＩＥＴ", "juliet"),
            // HALFWIDTH KATAKANA LETTER KA with its voiced sound mark.
            ("\u{FF76}\u{FF9E}", "\u{30AC}"),
            ("A\u{30A}", "\u{E5}"),
            // ANGSTROM SIGN, KELVIN SIGN: mapped before the class is asked.
            ("\u{212B}\u{212A}", "\u{E5}k"),
            ("\u{130}", "i\u{307}"),
            ("\u{1E9E}", "\u{DF}"),
            // Conjoining Jamo compose to a syllable.
            ("\u{1112}\u{1161}\u{11AB}", "\u{D55C}"),
        ] {
            assert_eq!(prep_local(text).unwrap(), prepared, "{text}");
        }
    }

    #[test]
    fn excludes_the_characters_of_rfc_7622_also_after_mapping() {
        for character in ['"', '&', '\'', '/', ':', '<', '>', '@'] {
            assert_eq!(prep_local(&format!("a{character}")), refused(Part::Local, character));
            let wide = char::from_u32(u32::from(character) + 0xFEE0).unwrap();
            assert_eq!(prep_local(&format!("a{wide}")), refused(Part::Local, character));
        }
    }

    #[test]
    fn keeps_width_and_case_of_resourceparts() {
        for (text, prepared) in [
            ("Balcony", "Balcony"),
            ("ＪＵＬＩＥＴ", "ＪＵＬＩＥＴ"),
            ("\u{212B}", "\u{C5}"),
            ("a\u{1680}b\u{A0}\u{3000}", "a b  "),
            ("\u{1F4F1}\u{1F97A}", "\u{1F4F1}\u{1F97A}"),
            ("henry\u{2163}", "henry\u{2163}"),
        ] {
            assert_eq!(prep_resource(text).unwrap(), prepared, "{text}");
        }
    }

    #[test]
    fn refuses_what_no_resourcepart_may_hold() {
        for character in ['\0', '\t', '\n', '\u{7F}', '\u{AD}', '\u{FE0F}', '\u{E000}', '\u{FFFE}']
        {
            assert_eq!(prep_resource(&format!("a{character}")), refused(Part::Resource, character));
        }
        assert_eq!(prep_resource(" a"), Err(JidError::LeadingSpace));
        assert_eq!(prep_resource("\u{A0}a"), Err(JidError::LeadingSpace));
        assert_eq!(prep_resource(""), Err(JidError::Empty(Part::Resource)));
    }

    #[test]
    fn applies_the_bidi_rule_to_localparts_only() {
        assert_eq!(prep_local("a\u{5D0}"), Err(JidError::Bidi(Part::Local)));
        assert_eq!(prep_resource("a\u{5D0}").unwrap(), "a\u{5D0}");
    }

    #[test]
    fn borrows_what_is_canonical_ascii() {
        assert!(matches!(prep_local("juliet"), Ok(Cow::Borrowed("juliet"))));
        assert!(matches!(prep_domain("capulet.example"), Ok(Cow::Borrowed("capulet.example"))));
        assert!(matches!(prep_resource("Balcony 2"), Ok(Cow::Borrowed("Balcony 2"))));
    }

    #[test]
    fn gives_up_on_rules_that_do_not_come_to_rest() {
        let grow = |text: &str| format!("{text}a");
        assert_eq!(enforce("a", Part::Local, grow), Err(JidError::Unstable(Part::Local)));
        let three_times = |text: &str| text.strip_suffix('b').unwrap_or(text).to_owned();
        assert_eq!(enforce("abbb", Part::Local, three_times).as_deref(), Ok("a"));
        assert!(enforce("abbbb", Part::Local, three_times).is_err());
    }

    /// Every character in use, alone and after a letter that marks can follow.
    #[test]
    fn is_idempotent_and_without_capitals_on_every_character() {
        for c in ('\0'..='\u{3FFFF}').chain('\u{E0000}'..='\u{E0FFF}') {
            for text in [c.to_string(), format!("a{c}")] {
                if let Ok(once) = prep_local(&text) {
                    assert_eq!(prep_local(&once).as_deref(), Ok(&*once), "{text:?}");
                    assert!(!once.chars().any(is_capital), "{text:?}");
                }
                if let Ok(once) = prep_resource(&text) {
                    assert_eq!(prep_resource(&once).as_deref(), Ok(&*once), "{text:?}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn prop_preparation_is_idempotent(text in crate::jid::tests::near_address()) {
            for prep in [prep_local, prep_domain, prep_resource] {
                if let Ok(once) = prep(&text) {
                    prop_assert!((1..=PART_BYTES_MAX).contains(&once.len()));
                    prop_assert_eq!(prep(&once).unwrap(), once.as_ref());
                }
            }
        }

        #[test]
        fn prop_fast_paths_agree_with_the_full_rules(text in "[ -~]{1,12}") {
            let full = enforce(&text, Part::Local, username_case_mapped).unwrap();
            let is_valid = class::check(&full, Class::Identifier, Part::Local).is_ok()
                && !full.chars().any(ascii::is_excluded_from_local);
            prop_assert_eq!(is_valid, ascii::local(&text) != Ascii::Other);
            prop_assert_eq!(&full, &text.to_ascii_lowercase());
            let full = enforce(&text, Part::Resource, opaque_string).unwrap();
            prop_assert!(class::check(&full, Class::Freeform, Part::Resource).is_ok());
            prop_assert_eq!(full, text);
        }
    }
}
