//! The fast path: addresses in ASCII, judged by a table of bytes.

use crate::limits::{LABEL_BYTES_MAX, NAME_BYTES_MAX, PART_BYTES_MAX};

/// What the table says about a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ascii {
    /// Already in canonical form.
    Canonical,
    /// In canonical form once it is in lower case.
    UpperCase,
    /// To be judged by the full rules: not ASCII, or an error to be named.
    Other,
}

/// Judges a localpart.
pub(crate) fn local(text: &str) -> Ascii {
    let bytes = text.as_bytes();
    let is_local = (1..=PART_BYTES_MAX).contains(&bytes.len()) && local_run(bytes) == bytes.len();
    if is_local { by_case(bytes) } else { Ascii::Other }
}

/// Judges a resourcepart; never asks for lower case.
pub(crate) fn resource(text: &str) -> Ascii {
    if is_resource(text.as_bytes()) { Ascii::Canonical } else { Ascii::Other }
}

/// Judges a domain name; IP addresses with colons and A-labels are left to the full rules.
pub(crate) fn domain(text: &str) -> Ascii {
    let bytes = text.as_bytes();
    if domain_run(bytes) == Some(bytes.len()) { by_case(bytes) } else { Ascii::Other }
}

/// An address whose parts are in canonical form, but perhaps for lower case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    /// Bytes of the localpart, 0 if there is none.
    pub(crate) local_bytes: usize,
    /// Bytes before the `/`, or all.
    pub(crate) bare_bytes: usize,
    /// There are capital letters before the `/`.
    pub(crate) folds: bool,
}

/// Divides an address by RFC 7622 §3.2 and judges its parts, in one pass. None if that takes the
/// full rules: not ASCII, an IP address with colons, an A-label, or an error to be named.
#[inline]
pub(crate) fn address(text: &str) -> Option<Address> {
    let bytes = text.as_bytes();
    let (mut local_bytes, mut domain, mut folds) = (0, 0, false);
    let run = local_run(bytes);
    if bytes.get(run) == Some(&b'@') {
        if !(1..=PART_BYTES_MAX).contains(&run) {
            return None;
        }
        (local_bytes, domain) = (run, run + 1);
        folds = has_capitals(&bytes[..run]);
    }
    let bare_bytes = domain + domain_run(&bytes[domain..])?;
    folds |= has_capitals(&bytes[domain..bare_bytes]);
    let is_address = match bytes.get(bare_bytes) {
        None => true,
        Some(b'/') => is_resource(&bytes[bare_bytes + 1..]),
        Some(_) => false,
    };
    is_address.then_some(Address { local_bytes, bare_bytes, folds })
}

/// Whether a character may not stand in a localpart (RFC 7622 §3.3.1).
pub(crate) const fn is_excluded_from_local(c: char) -> bool {
    matches!(c, '"' | '&' | '\'' | '/' | ':' | '<' | '>' | '@')
}

/// Length of what may stand in a localpart at the start.
#[inline]
fn local_run(bytes: &[u8]) -> usize {
    bytes.iter().position(|&byte| class(byte) & LOCAL == 0).unwrap_or(bytes.len())
}

/// Length of the domain name at the start, if all its labels stand for themselves.
#[inline]
fn domain_run(bytes: &[u8]) -> Option<usize> {
    let mut label = 0;
    let mut end = 0;
    loop {
        let class = bytes.get(end).map_or(0, |&byte| class(byte));
        if class & DOMAIN == 0 {
            if !is_plain_label(&bytes[label..end]) {
                return None;
            }
            if bytes.get(end) != Some(&b'.') {
                return (end <= NAME_BYTES_MAX).then_some(end);
            }
            label = end + 1;
        }
        end += 1;
    }
}

/// Whether a label of the right bytes is one that stands for itself.
#[inline]
fn is_plain_label(label: &[u8]) -> bool {
    let (Some(first), Some(last)) = (label.first(), label.last()) else { return false };
    label.len() <= LABEL_BYTES_MAX
        && *first != b'-'
        && *last != b'-'
        && !label.get(..4).is_some_and(|prefix| prefix.eq_ignore_ascii_case(b"xn--"))
}

/// Whether a resourcepart stands for itself, capital letters or not.
#[inline]
fn is_resource(bytes: &[u8]) -> bool {
    (1..=PART_BYTES_MAX).contains(&bytes.len())
        && bytes[0] != b' '
        && bytes.iter().all(|byte| matches!(byte, b' '..=b'~'))
}

fn by_case(bytes: &[u8]) -> Ascii {
    if has_capitals(bytes) { Ascii::UpperCase } else { Ascii::Canonical }
}

#[inline]
fn has_capitals(bytes: &[u8]) -> bool {
    bytes.iter().fold(false, |found, byte| found | byte.is_ascii_uppercase())
}

#[inline]
fn class(byte: u8) -> u8 {
    CLASSES[usize::from(byte)]
}

/// Bits of [`CLASSES`].
const LOCAL: u8 = 1;
const DOMAIN: u8 = 2;

static CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut byte = b'!';
    while byte <= b'~' {
        let mut class = 0;
        if !is_excluded_from_local(byte as char) {
            class |= LOCAL;
        }
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_') {
            class |= DOMAIN;
        }
        classes[byte as usize] = class;
        byte += 1;
    }
    classes
};
