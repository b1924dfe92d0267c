//! Many bytes at a time: those that need a closer look.

use wide::{i8x16, u8x16};

use crate::class::{CDATA_STOP, TEXT_STOP, VALUE_STOP};

/// How many bytes are compared together.
pub(crate) const LANES: usize = 16;

/// How many bytes [`marks`] looks at.
pub(crate) const BLOCK: usize = 64;

/// What was found in a chunk: one bit for each lane, the lowest for the first.
#[derive(Clone, Copy)]
pub(crate) struct Found(u32);

impl Found {
    /// The first place; none if nothing was found.
    #[inline(always)]
    pub(crate) fn first(self) -> Option<usize> {
        (self.0 != 0).then(|| self.0.trailing_zeros() as usize)
    }
}

/// Of a block, the bytes that divide markup, or that only a closer look can tell about: `<`, `>`,
/// `&`, quotes, control characters and all that is not ASCII. One bit for each, the lowest first.
#[inline(always)]
pub(crate) fn marks(block: &[u8; BLOCK]) -> u64 {
    let mut marks = 0;
    for (index, chunk) in block.as_chunks().0.iter().enumerate() {
        marks |= u64::from(to_escape(chunk).0) << (index * LANES);
    }
    marks
}

/// Bytes of the class `STOP`, control characters and all that is not ASCII.
#[inline(always)]
pub(crate) fn stops<const STOP: u8>(chunk: &[u8; LANES]) -> Found {
    let chunk = u8x16::new(*chunk);
    Found((control_or_wide(chunk) | markup::<STOP>(chunk)).to_bitmask())
}

/// The same without those that are not ASCII.
#[inline(always)]
pub(crate) fn stops_among_wide<const STOP: u8>(chunk: &[u8; LANES]) -> Found {
    let chunk = u8x16::new(*chunk);
    Found((within(chunk, 0, 0x1f) | markup::<STOP>(chunk)).to_bitmask())
}

/// Every `&`, control characters and all that is not ASCII.
#[inline(always)]
pub(crate) fn not_verbatim(chunk: &[u8; LANES]) -> Found {
    let chunk = u8x16::new(*chunk);
    Found((control_or_wide(chunk) | equal(chunk, b'&')).to_bitmask())
}

/// Every `&`, `<`, `>` and quote, control characters and all that is not ASCII.
#[inline(always)]
pub(crate) fn to_escape(chunk: &[u8; LANES]) -> Found {
    let chunk = u8x16::new(*chunk);
    // `<` and `>` differ in one bit, and so do `&` and `'`.
    let markup = equal(chunk | u8x16::splat(b'<' ^ b'>'), b'>');
    let others = equal(chunk | u8x16::splat(b'&' ^ b'\''), b'\'') | equal(chunk, b'"');
    Found((control_or_wide(chunk) | markup | others).to_bitmask())
}

/// Everything but the ASCII characters that may go on a name; a colon is found.
#[inline(always)]
pub(crate) fn not_in_name(chunk: &[u8; LANES]) -> Found {
    let chunk = u8x16::new(*chunk);
    let letters = within(chunk | u8x16::splat(0x20), b'a', b'z');
    // From `-` to `9` there is one that is no name character.
    let others = within(chunk, b'-', b'9') & !equal(chunk, b'/');
    Found(!(letters | others | equal(chunk, b'_')).to_bitmask() & 0xffff)
}

/// Every byte that equals this one.
#[inline(always)]
pub(crate) fn equal_to(byte: u8, chunk: &[u8; LANES]) -> Found {
    Found(equal(u8x16::new(*chunk), byte).to_bitmask())
}

/// Bytes of the class `STOP` that are no control characters.
#[inline(always)]
fn markup<const STOP: u8>(chunk: u8x16) -> u8x16 {
    let mut found = u8x16::splat(0);
    if STOP & (TEXT_STOP | VALUE_STOP) != 0 {
        found |= equal(chunk, b'<') | equal(chunk, b'&');
    }
    if STOP & (TEXT_STOP | CDATA_STOP) != 0 {
        found |= equal(chunk, b']');
    }
    if STOP & VALUE_STOP != 0 {
        found |= equal(chunk, b'\'') | equal(chunk, b'"');
    }
    found
}

#[inline(always)]
fn equal(chunk: u8x16, byte: u8) -> u8x16 {
    chunk.simd_eq(u8x16::splat(byte))
}

#[inline(always)]
fn within(chunk: u8x16, first: u8, last: u8) -> u8x16 {
    let above = chunk - u8x16::splat(first);
    above.simd_eq(above.min(u8x16::splat(last - first)))
}

/// As signed numbers, bytes that are not ASCII are below zero.
#[inline(always)]
fn control_or_wide(chunk: u8x16) -> u8x16 {
    chunk.cast_signed().simd_lt(i8x16::splat(0x20)).cast_unsigned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::class::{NAME, WIDE, class};

    /// Every byte in every lane, among bytes of which none is found.
    fn check(search: impl Fn(&[u8; LANES]) -> Found, is_found: impl Fn(u8) -> bool) {
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
        check(stops_among_wide::<TEXT_STOP>, |b| b < b' ' || class(b) & TEXT_STOP != 0);
        check(stops_among_wide::<VALUE_STOP>, |b| b < b' ' || class(b) & VALUE_STOP != 0);
        check(stops_among_wide::<CDATA_STOP>, |b| b < b' ' || class(b) & CDATA_STOP != 0);
        check(not_verbatim, |b| is_control_or_wide(b) || b == b'&');
        check(to_escape, |b| is_control_or_wide(b) || b"&<>'\"".contains(&b));
        check(not_in_name, |b| class(b) & NAME == 0);
        check(|chunk| equal_to(b'=', chunk), |b| b == b'=');
    }

    #[test]
    fn finds_the_first_of_many() {
        for lane in 0..LANES {
            let mut chunk = [b'&'; LANES];
            chunk[..lane].fill(b'x');
            assert_eq!(not_verbatim(&chunk).first(), Some(lane));
        }
    }

    #[test]
    fn marks_every_place_of_a_block() {
        for place in 0..BLOCK {
            let mut block = [b'x'; BLOCK];
            block[place] = b'<';
            block[BLOCK - 1] = b'\'';
            assert_eq!(marks(&block), 1 << place | 1 << (BLOCK - 1));
        }
    }
}
