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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn opaque(password: &str) -> Result<String, PrepError> {
        opaque_string(password).map(|prepared| prepared.to_string())
    }

    #[test]
    fn follows_the_examples_of_rfc_8265() {
        for (password, prepared) in [
            ("correct horse battery staple", "correct horse battery staple"),
            ("Correct Horse Battery Staple", "Correct Horse Battery Staple"),
            ("\u{3C0}\u{DF}\u{E5}", "\u{3C0}\u{DF}\u{E5}"),
            ("Jack of \u{2666}s", "Jack of \u{2666}s"),
            ("foo\u{1680}bar", "foo bar"),
        ] {
            assert_eq!(opaque(password).as_deref(), Ok(prepared));
        }
        assert_eq!(opaque(""), Err(PrepError::Empty));
        assert_eq!(opaque("my cat is a \tby"), Err(PrepError::Disallowed('\t')));
    }

    #[test]
    fn composes_after_mapping_spaces() {
        assert_eq!(opaque("a\u{30A}\u{3000}b\u{A0}").as_deref(), Ok("\u{E5} b "));
        // Conjoining Jamo are disallowed, but these compose to a syllable.
        assert_eq!(opaque("\u{1112}\u{1161}\u{11AB}").as_deref(), Ok("\u{D55C}"));
    }

    #[test]
    fn keeps_width_case_and_compatibility_characters() {
        for password in ["\u{FF21}", "\u{FB01}", "\u{2163}", "\u{130}", "\u{1F339}"] {
            assert_eq!(opaque(password).as_deref(), Ok(password));
        }
    }

    #[test]
    fn bounds_a_password_before_and_after_preparation() {
        assert!(opaque(&"x".repeat(PART_BYTES_MAX)).is_ok());
        assert_eq!(opaque(&"x".repeat(PART_BYTES_MAX + 1)), Err(PrepError::TooLong));
        // U+1D15E becomes U+1D157 U+1D165: four bytes to eight.
        assert_eq!(opaque(&"\u{1D15E}".repeat(200)), Err(PrepError::TooLong));
    }

    #[test]
    fn prepares_by_saslprep_as_rfc_4013_shows() {
        let sasl = |password: &str| saslprep(password).map(|prepared| prepared.to_string());
        assert_eq!(sasl("I\u{AD}X").as_deref(), Ok("IX"));
        assert_eq!(sasl("user").as_deref(), Ok("user"));
        assert_eq!(sasl("USER").as_deref(), Ok("USER"));
        assert_eq!(sasl("\u{AA}").as_deref(), Ok("a"));
        assert_eq!(sasl("\u{2168}").as_deref(), Ok("IX"));
        assert_eq!(sasl("\u{7}"), Err(PrepError::Prohibited));
        assert_eq!(sasl("\u{627}1"), Err(PrepError::Prohibited));
        assert_eq!(sasl("\u{AD}"), Err(PrepError::Empty));
    }

    proptest! {
        #[test]
        fn prop_preparing_twice_changes_nothing(password in "\\PC{1,40}|[\u{1100}-\u{11FF} \u{A0}]{1,9}") {
            if let Ok(prepared) = opaque(&password) {
                prop_assert_eq!(opaque(&prepared), Ok(prepared));
            }
        }

        #[test]
        fn prop_ascii_is_its_own_preparation(password in "[ -~]{1,64}") {
            prop_assert_eq!(opaque(&password), Ok(password.clone()));
            let sasl = saslprep(&password).unwrap();
            prop_assert_eq!(sasl.as_str(), password);
        }
    }
}
