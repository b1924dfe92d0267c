//! The places of an element that divide it, found a block at a time.

use crate::lanes::{self, BLOCK};

/// Walks over the bytes that [`lanes::marks`] finds.
pub(crate) struct Marks<'b> {
    bytes: &'b [u8],
    /// Where the current block begins.
    block: usize,
    /// Places in the block that are still ahead.
    ahead: u64,
}

impl<'b> Marks<'b> {
    /// The marks of `bytes` from `at` on.
    #[inline]
    pub(crate) fn new(bytes: &'b [u8], at: usize) -> Self {
        Self { bytes, block: at, ahead: marks_at(bytes, at) }
    }

    /// Where the next mark is; the end of the bytes if there is none.
    #[inline(always)]
    pub(crate) fn next(&mut self) -> usize {
        while self.ahead == 0 {
            self.block += BLOCK;
            if self.block >= self.bytes.len() {
                return self.bytes.len();
            }
            self.ahead = marks_at(self.bytes, self.block);
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
    let mut block = [b' '; BLOCK];
    block[..rest.len()].copy_from_slice(rest);
    lanes::marks(&block)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn walks_over_all_marks_from_anywhere() {
        let bytes = "<a b='1'>&amp;\r\n</a> é".repeat(20);
        let is_mark = |byte: u8| !(b' '..0x80).contains(&byte) || b"<>&'\"".contains(&byte);
        for from in 0..bytes.len() + 2 {
            let mut marks = Marks::new(bytes.as_bytes(), from);
            for (at, _) in bytes.bytes().enumerate().skip(from).filter(|(_, b)| is_mark(*b)) {
                assert_eq!(marks.next(), at);
            }
            assert_eq!(marks.next(), bytes.len());
            assert_eq!(marks.next(), bytes.len());
        }
    }
}
