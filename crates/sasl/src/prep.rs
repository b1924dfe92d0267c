//! Preparation of passwords.
//!
//! RFC 5802 §5.1 had clients and servers prepare passwords by SASLprep (RFC 4013). RFC 8265, as
//! RFC 7613 before it, replaces SASLprep by the OpaqueString profile, and that is what this server
//! stores and what our client sends. The two agree on ASCII and on nearly everything that people
//! type; they differ where SASLprep applies NFKC (`ﬁ` becomes `fi`, `Ⅳ` becomes `IV`), drops soft
//! hyphens and the like, or does not know a character newer than Unicode 3.2, emoji for instance.
//! With such a password a client that still uses SASLprep cannot sign in by SCRAM, as one set of
//! keys fits one form only; by PLAIN it can, since [`ScramKeys::verify`] tries both.
//!
//! [`ScramKeys::verify`]: crate::ScramKeys::verify

mod freeform;

use icu_normalizer::ComposingNormalizerBorrowed;
use icu_properties::CodePointMapData;
use icu_properties::props::GeneralCategory;
use zeroize::Zeroizing;

use crate::limits::PART_BYTES_MAX;

/// Prepares and enforces a password by the OpaqueString profile (RFC 8265 §4.2).
///
/// # Errors
///
/// Why it cannot be a password: empty, over 1,023 bytes, or a character that is not allowed.
pub fn opaque_string(password: &str) -> Result<Zeroizing<String>, PrepError> {
    check_length(password)?;
    if password.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return Ok(Zeroizing::new(password.to_owned()));
    }
    let spaced: Zeroizing<String> = Zeroizing::new(password.chars().map(map_space).collect());
    let prepared = Zeroizing::new(NFC.normalize(&spaced).into_owned());
    check_length(&prepared)?;
    // After the mapping, as RFC 8264 §7 orders it: Jamo that compose to a syllable are allowed.
    match freeform::refused(&prepared) {
        Some(character) => Err(PrepError::Disallowed(character)),
        None => Ok(prepared),
    }
}

/// Prepares a password by SASLprep (RFC 4013), for keys and clients of the older rule.
///
/// Code points that Unicode 3.2 did not assign are refused, as in strings that are stored.
///
/// # Errors
///
/// Why it cannot be a password.
pub fn saslprep(password: &str) -> Result<Zeroizing<String>, PrepError> {
    check_length(password)?;
    let prepared = stringprep::saslprep(password).map_err(|_| PrepError::Prohibited)?;
    let prepared = Zeroizing::new(prepared.into_owned());
    check_length(&prepared)?;
    Ok(prepared)
}

/// Why a string cannot be a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PrepError {
    /// Nothing there, before preparation or after it.
    #[error("a password is not empty")]
    Empty,
    /// More than 1,023 bytes.
    #[error("a password has at most {PART_BYTES_MAX} bytes")]
    TooLong,
    /// A character outside the FreeformClass of RFC 8264 §4.3, or where its context forbids it.
    #[error("a password cannot contain U+{:04X} here", u32::from(*.0))]
    Disallowed(char),
    /// SASLprep prohibits a character or the mix of writing directions.
    #[error("SASLprep prohibits this password")]
    Prohibited,
    /// An iteration count of 0.
    #[error("keys need at least one iteration")]
    NoIterations,
}

fn check_length(text: &str) -> Result<(), PrepError> {
    match text.len() {
        0 => Err(PrepError::Empty),
        1..=PART_BYTES_MAX => Ok(()),
        _ => Err(PrepError::TooLong),
    }
}

fn map_space(c: char) -> char {
    let category = CodePointMapData::<GeneralCategory>::new();
    if !c.is_ascii() && category.get(c) == GeneralCategory::SpaceSeparator { ' ' } else { c }
}

const NFC: ComposingNormalizerBorrowed<'static> = ComposingNormalizerBorrowed::new_nfc();
