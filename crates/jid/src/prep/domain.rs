//! Domainparts: names by IDNA2008 with U-labels, and IP addresses (RFC 7622 §3.2).
//!
//! What the specifications leave open or deployments need:
//!
//! * `_` is allowed in labels. It is no letter of host names, yet there are servers under such
//!   names, and DNS carries them.
//! * Hyphens in third and fourth place are allowed in labels of ASCII, as DNS carries them, but
//!   not at either end of a label (RFC 5890 §2.3.1).
//! * Names are mapped by UTS #46 without transitional processing, which gives the lower case,
//!   the width and the normalization that RFC 5895 asks for and keeps `ß` and `ς`; then every
//!   label must be a U-label by RFC 5892, so that emoji are refused.
//! * The lengths of RFC 1034 apply to the A-label form.

use std::borrow::Cow;
use std::net::Ipv6Addr;

use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46, verify_dns_length};

use super::ascii::{self, Ascii};
use super::class::{self, Class};
use crate::limits::{PART_BYTES_MAX, PART_INPUT_BYTES_MAX};
use crate::{JidError, Part};

/// Prepares a domainpart: a domain name in lower case with U-labels and without final dot, an
/// IPv4 address, or an IPv6 address in brackets in its shortest form (RFC 5952).
///
/// # Errors
///
/// The first reason found why the string is no domainpart.
pub fn prep_domain(text: &str) -> Result<Cow<'_, str>, JidError> {
    match ascii::domain(text) {
        Ascii::Canonical => return Ok(Cow::Borrowed(text)),
        Ascii::UpperCase => return Ok(Cow::Owned(text.to_ascii_lowercase())),
        Ascii::Other => {}
    }
    if text.len() > PART_INPUT_BYTES_MAX {
        return Err(JidError::TooLong(Part::Domain));
    }
    let text = text.strip_suffix(DOTS).unwrap_or(text);
    if text.is_empty() {
        return Err(JidError::Empty(Part::Domain));
    }
    if let Some(literal) = text.strip_prefix('[') {
        return ip_literal(literal).map(Cow::Owned);
    }
    name(text)
}

/// The A-label form of a domainpart, for DNS and certificates; IP addresses stay as they are.
///
/// # Errors
///
/// The first reason found why the string is no domainpart.
pub fn domain_to_ascii(text: &str) -> Result<Cow<'_, str>, JidError> {
    let prepared = prep_domain(text)?;
    if prepared.is_ascii() {
        return Ok(prepared);
    }
    a_labels(&prepared).map(|ascii| Cow::Owned(ascii.into_owned()))
}

/// The rest of `[…]`. Zones and the literals of future versions (RFC 3986 §3.2.2) are refused:
/// the one has no meaning elsewhere, the other none at all yet.
fn ip_literal(rest: &str) -> Result<String, JidError> {
    let address = rest.strip_suffix(']').and_then(|address| address.parse::<Ipv6Addr>().ok());
    Ok(format!("[{}]", address.ok_or(JidError::NotAnIpAddress)?))
}

fn name(text: &str) -> Result<Cow<'_, str>, JidError> {
    let (name, outcome) = UTS46.to_unicode(text.as_bytes(), DENIED, Hyphens::CheckFirstLast);
    outcome.map_err(|_| JidError::NotADomainName)?;
    for label in name.split('.') {
        match label {
            "" => return Err(JidError::NotADomainName),
            label if label.is_ascii() => {}
            // A low line is let pass in ASCII names only, where other software puts it.
            label if label.contains('_') => return Err(JidError::NotADomainName),
            // RFC 5891 §4.2.3.1: no U-label has hyphens in third and fourth place.
            label if label.chars().skip(2).take(2).eq("--".chars()) => {
                return Err(JidError::NotADomainName);
            }
            label => class::check(label, Class::Label, Part::Domain)?,
        }
    }
    a_labels(&name)?;
    if name.len() > PART_BYTES_MAX {
        return Err(JidError::TooLong(Part::Domain));
    }
    Ok(name)
}

fn a_labels(name: &str) -> Result<Cow<'_, str>, JidError> {
    let ascii = UTS46
        .to_ascii(name.as_bytes(), DENIED, Hyphens::CheckFirstLast, DnsLength::Ignore)
        .map_err(|_| JidError::NotADomainName)?;
    if verify_dns_length(&ascii, false) { Ok(ascii) } else { Err(JidError::TooLong(Part::Domain)) }
}

/// The characters that IDNA takes for the dot between labels (RFC 3490 §3.1).
const DOTS: [char; 4] = ['.', '\u{3002}', '\u{FF0E}', '\u{FF61}'];

/// Letters, digits, hyphen and low line are left.
const DENIED: AsciiDenyList = AsciiDenyList::new(true, "!\"#$%&'()*+,/:;<=>?@[\\]^`{|}~");

const UTS46: Uts46 = Uts46::new();

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn prepares_names() {
        for (text, prepared) in [
            ("Capulet.Example", "capulet.example"),
            ("capulet.example.", "capulet.example"),
            ("capulet.example\u{3002}", "capulet.example"),
            ("CAPULET.example.", "capulet.example"),
            ("localhost", "localhost"),
            ("xmpp_test.example", "xmpp_test.example"),
            ("r3---sn.example", "r3---sn.example"),
            ("127.0.0.1", "127.0.0.1"),
            ("xn--bcher-kva.example", "b\u{FC}cher.example"),
            ("XN--BCHER-KVA.example", "b\u{FC}cher.example"),
            ("B\u{DC}CHER.example", "b\u{FC}cher.example"),
            ("bu\u{308}cher.example", "b\u{FC}cher.example"),
            ("\u{FF22}ucher\u{FF0E}example", "bucher.example"),
            ("fu\u{DF}ball.example", "fu\u{DF}ball.example"),
            ("xn--fuball-cta.example", "fu\u{DF}ball.example"),
            (
                "\u{3B2}\u{3CC}\u{3BB}\u{3BF}\u{3C2}.example",
                "\u{3B2}\u{3CC}\u{3BB}\u{3BF}\u{3C2}.example",
            ),
            ("\u{5D0}\u{5D1}.example", "\u{5D0}\u{5D1}.example"),
            ("l\u{B7}l.example", "l\u{B7}l.example"),
        ] {
            assert_eq!(prep_domain(text).as_deref(), Ok(prepared), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_name() {
        for text in [
            "capulet..example",
            ".example",
            "a b.example",
            "-a.example",
            "a-.example",
            "a@b.example",
            "a:b",
            "::1",
            "a%b.example",
            "\u{2100}.example",
            "xn--",
            "xn--a.example",
            "xn--zz--zz.example",
            "ab--\u{FC}.example",
            "1\u{5D0}.example",
            "capulet.example..",
        ] {
            assert_eq!(prep_domain(text), Err(JidError::NotADomainName), "{text}");
        }
        for text in ["", ".", "\u{3002}"] {
            assert_eq!(prep_domain(text), Err(JidError::Empty(Part::Domain)), "{text}");
        }
    }

    #[test]
    fn refuses_characters_that_idna2008_disallows() {
        let part = Part::Domain;
        assert_eq!(
            prep_domain("i\u{2665}.example"),
            Err(JidError::Disallowed { part, character: '\u{2665}' })
        );
        // The same as an A-label.
        assert_eq!(
            prep_domain("xn--i-n3p.example"),
            Err(JidError::Disallowed { part, character: '\u{2665}' })
        );
        assert_eq!(
            prep_domain("a\u{B7}l.example"),
            Err(JidError::OutOfContext { part, character: '\u{B7}' })
        );
    }

    #[test]
    fn prepares_addresses_in_brackets() {
        for (text, prepared) in [
            ("[::1]", "[::1]"),
            ("[2001:DB8:0:0::0001]", "[2001:db8::1]"),
            ("[::ffff:192.0.2.1]", "[::ffff:192.0.2.1]"),
            ("[::1].", "[::1]"),
        ] {
            assert_eq!(prep_domain(text).as_deref(), Ok(prepared), "{text}");
        }
        for text in
            ["[", "[]", "[::1", "[::1]x", "[fe80::1%eth0]", "[192.0.2.1]", "[v1.x]", "[[::1]]"]
        {
            assert_eq!(prep_domain(text), Err(JidError::NotAnIpAddress), "{text}");
        }
    }

    #[test]
    fn bounds_labels_and_names() {
        let label = "a".repeat(63);
        assert!(prep_domain(&format!("{label}.example")).is_ok());
        let too_long = Err(JidError::TooLong(Part::Domain));
        assert_eq!(prep_domain(&format!("{label}a.example")), too_long);
        let longest = format!("{label}.{label}.{label}.{}", "a".repeat(61));
        assert_eq!(longest.len(), 253);
        assert!(prep_domain(&longest).is_ok());
        assert!(prep_domain(&format!("{longest}.")).is_ok());
        assert_eq!(prep_domain(&format!("{longest}a")), too_long);
        // 60 letters, but 66 bytes as an A-label.
        assert_eq!(prep_domain(&format!("{}\u{FC}.example", "a".repeat(59))), too_long);
    }

    #[test]
    fn gives_a_labels() {
        assert_eq!(domain_to_ascii("B\u{FC}cher.Example").as_deref(), Ok("xn--bcher-kva.example"));
        assert_eq!(domain_to_ascii("capulet.example.").as_deref(), Ok("capulet.example"));
        assert_eq!(domain_to_ascii("[::1]").as_deref(), Ok("[::1]"));
        assert!(domain_to_ascii("a b").is_err());
    }

    proptest! {
        #[test]
        fn prop_fast_path_agrees_with_the_full_rules(text in "[A-Za-z0-9._-]{1,20}") {
            let full = name(&text);
            match ascii::domain(&text) {
                Ascii::Canonical => prop_assert_eq!(full.unwrap(), text.as_str()),
                Ascii::UpperCase => {
                    prop_assert_eq!(full.unwrap(), text.to_ascii_lowercase());
                }
                Ascii::Other => prop_assert!(
                    full.is_err() || text.to_ascii_lowercase().contains("xn--")
                ),
            }
        }

        #[test]
        fn prop_both_forms_of_a_name_are_one(text in "[a-zß-öø-ÿα-ωа-я\u{5D0}-\u{5EA}0-9-]{1,12}") {
            if let Ok(name) = prep_domain(&text) {
                let ascii = domain_to_ascii(&name).unwrap();
                prop_assert!(ascii.is_ascii());
                prop_assert_eq!(prep_domain(&ascii).unwrap(), name.as_ref());
            }
        }
    }
}
