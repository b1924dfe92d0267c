//! Sixteen bytes at a time: those that need a closer look.
//!
//! Plain arrays in plain loops, one comparison per loop: compilers make vector instructions of
//! them on every processor, without a word of `unsafe`.

use crate::class::{CDATA_STOP, TEXT_STOP, VALUE_STOP};

/// How many bytes are looked at together.
pub(crate) const LANES: usize = 16;

type Lanes = [u8; LANES];

/// What was found in a chunk.
#[derive(Clone, Copy)]
pub(crate) struct Found(u128);

impl Found {
    #[inline(always)]
    fn new(lanes: Lanes) -> Self {
        Self(u128::from_le_bytes(lanes))
    }

    /// The first place; none if nothing was found.
    #[inline(always)]
    pub(crate) fn first(self) -> Option<usize> {
        (self.0 != 0).then(|| self.0.trailing_zeros() as usize / 8)
    }
}

/// Bytes of the class `STOP`, control characters and all that is not ASCII.
#[inline(always)]
pub(crate) fn stops<const STOP: u8>(chunk: &Lanes) -> Found {
    let mut found = control_or_wide(chunk);
    if STOP & (TEXT_STOP | VALUE_STOP) != 0 {
        found = either(found, equal(chunk, b'<'));
        found = either(found, equal(chunk, b'&'));
    }
    if STOP & (TEXT_STOP | CDATA_STOP) != 0 {
        found = either(found, equal(chunk, b']'));
    }
    if STOP & VALUE_STOP != 0 {
        found = either(found, equal(chunk, b'\''));
        found = either(found, equal(chunk, b'"'));
    }
    Found::new(found)
}

/// Every `&`, control characters and all that is not ASCII.
#[inline(always)]
pub(crate) fn not_verbatim(chunk: &Lanes) -> Found {
    Found::new(either(control_or_wide(chunk), equal(chunk, b'&')))
}

/// Every `&`, `<`, `>` and quote, control characters and all that is not ASCII.
#[inline(always)]
pub(crate) fn to_escape(chunk: &Lanes) -> Found {
    let markup = either(equal(chunk, b'<'), either(equal(chunk, b'>'), equal(chunk, b'&')));
    let quotes = either(equal(chunk, b'\''), equal(chunk, b'"'));
    Found::new(either(control_or_wide(chunk), either(markup, quotes)))
}

#[inline(always)]
fn equal(chunk: &Lanes, byte: u8) -> Lanes {
    let mut found = [0; LANES];
    for lane in 0..LANES {
        found[lane] = if chunk[lane] == byte { u8::MAX } else { 0 };
    }
    found
}

/// As signed numbers, bytes that are not ASCII are below zero.
#[inline(always)]
fn control_or_wide(chunk: &Lanes) -> Lanes {
    let mut found = [0; LANES];
    for lane in 0..LANES {
        found[lane] = if chunk[lane].cast_signed() < 0x20 { u8::MAX } else { 0 };
    }
    found
}

#[inline(always)]
fn either(one: Lanes, other: Lanes) -> Lanes {
    let mut found = [0; LANES];
    for lane in 0..LANES {
        found[lane] = one[lane] | other[lane];
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::class::{WIDE, class};

    /// Every byte in every lane, among bytes of which none is found.
    fn check(search: impl Fn(&Lanes) -> Found, is_found: impl Fn(u8) -> bool) {
        for byte in 0..=u8::MAX {
            for lane in 0..LANES {
                let mut chunk = [b'x'; LANES];
                chunk[lane] = byte;
                let expected = is_found(byte).then_some(lane);
                assert_eq!(search(&chunk).first(), expected, "{byte:#x} in lane {lane}");
            }
        }
    }

    #[test]
    fn finds_what_the_table_of_classes_names() {
        let is_control_or_wide = |byte: u8| !(b' '..0x80).contains(&byte);
        check(stops::<{ TEXT_STOP | WIDE }>, |b| {
            is_control_or_wide(b) || class(b) & TEXT_STOP != 0
        });
        check(stops::<{ VALUE_STOP | WIDE }>, |b| {
            is_control_or_wide(b) || class(b) & VALUE_STOP != 0
        });
        check(stops::<{ CDATA_STOP | WIDE }>, |b| {
            is_control_or_wide(b) || class(b) & CDATA_STOP != 0
        });
        check(not_verbatim, |b| is_control_or_wide(b) || b == b'&');
        check(to_escape, |b| is_control_or_wide(b) || b"&<>'\"".contains(&b));
    }

    #[test]
    fn finds_the_first_of_many() {
        for lane in 0..LANES {
            let mut chunk = [b'&'; LANES];
            chunk[..lane].fill(b'x');
            assert_eq!(not_verbatim(&chunk).first(), Some(lane));
        }
    }
}
