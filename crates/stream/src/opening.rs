//! What a stream header must say, whoever sent it (RFC 6120 §4.7, §4.8).

use smol_str::{SmolStr, format_smolstr};
use stentor_xml::{Header, ns as xml_ns};

use crate::fault::Misbehaviour;
use crate::limits;

/// Whether it opens a stream of version 1.0 or later with this content namespace.
pub(crate) fn judge(header: &Header, content_ns: &str) -> Result<(), Misbehaviour> {
    if header.ns != xml_ns::STREAM {
        return Err(Misbehaviour::WrongStreamNamespace);
    }
    if header.name != "stream" {
        return Err(Misbehaviour::NotAStream);
    }
    // §4.8.5 lets us accept this prefix only, and §4.8.2's style without any is as rare.
    if header.prefix != "stream" {
        return Err(Misbehaviour::WrongStreamPrefix);
    }
    if header.content_ns.as_deref() != Some(content_ns) {
        return Err(Misbehaviour::WrongContentNamespace);
    }
    match header.version.as_deref().and_then(parse_version) {
        Some((major, _)) if major != "0" => Ok(()),
        _ => Err(Misbehaviour::OldVersion),
    }
}

/// §4.7.5: the lower of both versions; none for a peer that has none.
pub(crate) fn answered_version(version: Option<&str>) -> Option<SmolStr> {
    match parse_version(version?) {
        Some(("0", minor)) => Some(format_smolstr!("0.{minor}")),
        _ => Some(SUPPORTED_VERSION.into()),
    }
}

/// `<major>.<minor>`, both without leading zeros. They may have any length, so they stay text.
fn parse_version(version: &str) -> Option<(&str, &str)> {
    let (major, minor) = version.split_once('.')?;
    let number = |text: &'_ str| -> Option<usize> {
        (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()))
            .then(|| text.bytes().take_while(|&b| b == b'0').count().min(text.len() - 1))
    };
    Some((&major[number(major)?..], &minor[number(minor)?..]))
}

/// Whether it looks like a language tag (§4.7.4); another is as good as none.
pub(crate) fn is_lang(lang: &str) -> bool {
    (1..=limits::LANG_BYTES_MAX).contains(&lang.len())
        && lang.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

/// The highest version that we support (RFC 6120 §4.7.5).
pub(crate) const SUPPORTED_VERSION: &str = "1.0";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compares_versions_as_numbers() {
        for (version, parsed) in [
            ("1.0", Some(("1", "0"))),
            ("01.00", Some(("1", "0"))),
            ("2.13", Some(("2", "13"))),
            ("0.9", Some(("0", "9"))),
            ("000.09", Some(("0", "9"))),
            ("99999999999999999999.1", Some(("99999999999999999999", "1"))),
            ("1", None),
            ("1.", None),
            (".1", None),
            ("", None),
            ("-1.0", None),
            ("1.0.0", None),
            (" 1.0", None),
        ] {
            assert_eq!(parse_version(version), parsed, "{version}");
        }
    }

    #[test]
    fn answers_with_the_lower_version() {
        for (theirs, ours) in [
            (Some("1.0"), Some("1.0")),
            (Some("2.0"), Some("1.0")),
            (Some("0.09"), Some("0.9")),
            (None, None),
        ] {
            assert_eq!(answered_version(theirs).as_deref(), ours, "{theirs:?}");
        }
    }

    #[test]
    fn remembers_only_language_tags() {
        for (lang, good) in
            [("en", true), ("de-CH", true), ("", false), ("x'y", false), ("e n", false)]
        {
            assert_eq!(is_lang(lang), good, "{lang}");
        }
        assert!(!is_lang(&"a".repeat(limits::LANG_BYTES_MAX + 1)));
    }
}
