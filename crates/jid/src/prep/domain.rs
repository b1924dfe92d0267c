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
