//! The places of an element that divide it, found a block at a time.

use crate::index::narrow;
use crate::lanes::{self, BLOCK};

/// Walks over the bytes that [`lanes::marks`] finds.
#[derive(Clone, Copy)]
pub(crate) struct Marks {
    /// Where the current block begins.
    block: usize,
    /// Places in the block that are still ahead.
    ahead: u64,
}

impl Marks {
    /// The marks of `bytes` from `at` on.
    #[inline]
    pub(crate) fn new(bytes: &[u8], at: usize) -> Self {
        Self { block: at, ahead: marks_at(bytes, at) }
    }

    /// Where the next mark is; the end of the bytes, which are still the same, if there is none.
    #[inline(always)]
    pub(crate) fn next(&mut self, bytes: &[u8]) -> usize {
        while self.ahead == 0 {
            self.block += BLOCK;
            if self.block >= bytes.len() {
                return bytes.len();
            }
            self.ahead = marks_at(bytes, self.block);
        }
        let at = self.block + self.ahead.trailing_zeros() as usize;
        self.ahead &= self.ahead - 1;
        at
    }
}

/// The marks of the block at `at`, of which only the beginning may be there.
#[inline(never)]
fn marks_at(bytes: &[u8], at: usize) -> u64 {
    let rest = bytes.get(at..).unwrap_or_default();
    if let Some(block) = rest.first_chunk() {
        return lanes::marks(block);
    }
    // The last block of the bytes, of which the beginning was looked at before.
    if let Some(block) = bytes.last_chunk() {
        return lanes::marks(block).unbounded_shr(narrow(BLOCK - rest.len()));
    }
    let mut block = [b' '; BLOCK];
    block[..rest.len()].copy_from_slice(rest);
    lanes::marks(&block)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn walks_over_all_marks_from_anywhere() {
        let bytes = "<a b='1'>&amp;\r\n</a> é".repeat(20).into_bytes();
        let bytes = &*bytes;
        let is_mark = |byte: u8| !(b' '..0x80).contains(&byte) || b"<>&'\"".contains(&byte);
        for from in 0..bytes.len() + 2 {
            let mut marks = Marks::new(bytes, from);
            for (at, _) in bytes.iter().enumerate().skip(from).filter(|(_, b)| is_mark(**b)) {
                assert_eq!(marks.next(bytes), at);
            }
            assert_eq!(marks.next(bytes), bytes.len());
            assert_eq!(marks.next(bytes), bytes.len());
        }
    }
}
