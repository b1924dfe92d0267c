//! The fast path: parts in ASCII, judged by a table of bytes.

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
    if !(1..=PART_BYTES_MAX).contains(&text.len()) {
        return Ascii::Other;
    }
    fold(text, LOCAL)
}

/// Judges a resourcepart; never asks for lower case.
pub(crate) fn resource(text: &str) -> Ascii {
    if !(1..=PART_BYTES_MAX).contains(&text.len()) || text.starts_with(' ') {
        return Ascii::Other;
    }
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        Ascii::Canonical
    } else {
        Ascii::Other
    }
}

/// Judges a domain name; IP addresses with colons and A-labels are left to the full rules.
pub(crate) fn domain(text: &str) -> Ascii {
    if !(1..=NAME_BYTES_MAX).contains(&text.len()) {
        return Ascii::Other;
    }
    let found = fold(text, DOMAIN);
    if found != Ascii::Other && text.as_bytes().split(|&byte| byte == b'.').all(is_plain_label) {
        found
    } else {
        Ascii::Other
    }
}

/// Whether a character may not stand in a localpart (RFC 7622 §3.3.1).
pub(crate) const fn is_excluded_from_local(c: char) -> bool {
    matches!(c, '"' | '&' | '\'' | '/' | ':' | '<' | '>' | '@')
}

fn fold(text: &str, allowed: u8) -> Ascii {
    let mut all = allowed;
    let mut any = 0;
    for byte in text.bytes() {
        let class = CLASSES[usize::from(byte)];
        all &= class;
        any |= class;
    }
    match (all & allowed != 0, any & UPPER != 0) {
        (false, _) => Ascii::Other,
        (true, false) => Ascii::Canonical,
        (true, true) => Ascii::UpperCase,
    }
}

/// Whether a label of the right bytes is one that stands for itself.
fn is_plain_label(label: &[u8]) -> bool {
    let (Some(first), Some(last)) = (label.first(), label.last()) else { return false };
    label.len() <= LABEL_BYTES_MAX
        && *first != b'-'
        && *last != b'-'
        && !label.get(..4).is_some_and(|prefix| prefix.eq_ignore_ascii_case(b"xn--"))
}

/// Bits of [`CLASSES`].
const LOCAL: u8 = 1;
const DOMAIN: u8 = 2;
const UPPER: u8 = 4;

const CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut byte = b'!';
    while byte <= b'~' {
        let mut class = 0;
        if !is_excluded_from_local(byte as char) {
            class |= LOCAL;
        }
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_') {
            class |= DOMAIN;
        }
        if byte.is_ascii_uppercase() {
            class |= UPPER;
        }
        classes[byte as usize] = class;
        byte += 1;
    }
    classes
};
