//! Changes to a body that stays shared: a short list of cuts and appended elements.

use std::ops::Range;

use stentor_xml::Frame;

/// What differs between a stanza and the frame it came in.
#[derive(Clone, Debug, Default)]
pub(crate) struct Edits {
    /// Byte ranges of the frame that are left out; sorted, apart.
    cuts: Vec<Range<usize>>,
    /// Elements written after the frame's own children.
    pub(crate) added: Vec<Frame>,
}

impl Edits {
    pub(crate) fn cut(&mut self, range: Range<usize>) {
        let at = self.cuts.partition_point(|c| c.start < range.start);
        self.cuts.insert(at, range);
    }

    pub(crate) fn is_cut(&self, start: usize) -> bool {
        self.cuts.binary_search_by_key(&start, |c| c.start).is_ok()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.cuts.is_empty() && self.added.is_empty()
    }

    /// Hands over, piece by piece, what is left of `bytes[inner]`, then what was added.
    pub(crate) fn write(&self, bytes: &[u8], inner: Range<usize>, mut put: impl FnMut(&[u8])) {
        let mut at = inner.start;
        for cut in &self.cuts {
            put(&bytes[at..cut.start]);
            at = cut.end;
        }
        put(&bytes[at..inner.end]);
        for frame in &self.added {
            put(frame.bytes());
        }
    }

    pub(crate) fn added_bytes(&self) -> usize {
        self.added.iter().map(|f| f.bytes().len()).sum()
    }
}
