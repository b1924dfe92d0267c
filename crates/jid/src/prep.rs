//! Preparation and enforcement of the three parts (RFC 7622 §3.2 to §3.4).
//!
//! The PRECIS profiles apply their rules in the order of RFC 8264 §7, the string class last, as
//! RFC 7622 §4 encourages: what can be mapped to an allowed string is accepted.

pub(crate) mod ascii;
mod bidi;
mod class;
mod context;
mod domain;

use std::borrow::Cow;

use icu_normalizer::ComposingNormalizerBorrowed;
use icu_properties::CodePointMapData;
use icu_properties::props::GeneralCategory;

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
