//! What one element may cost: every number that bounds the scanner.

/// Bounds on a single first-level element and on the stream header.
///
/// An element that exceeds one of them ends the stream with `policy-violation` (RFC 6120 §13.12).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes from the `<` that opens the element to the `>` that closes it.
    ///
    /// RFC 6120 §13.12 forbids less than 10,000 for a deployed server. It also bounds what
    /// [normalisation](crate::Frame) may make of the element. At most [`FRAME_BYTES_CEILING`].
    pub frame_bytes_max: usize,
    /// Elements open at once; 1 allows a first-level element without children.
    pub depth_max: u16,
    /// Attributes of one start tag, namespace declarations included.
    pub attributes_max: u16,
    /// Elements in one frame, the first-level element included.
    pub elements_max: u32,
}

impl Limits {
    /// Limits for what this program wrote itself: only the ceilings of the index.
    pub const OWN: Self = Self {
        frame_bytes_max: FRAME_BYTES_CEILING,
        depth_max: u16::MAX,
        attributes_max: u16::MAX,
        elements_max: u32::MAX,
    };

    pub(crate) fn frame_bytes(&self) -> usize {
        self.frame_bytes_max.min(FRAME_BYTES_CEILING)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self { frame_bytes_max: 262_144, depth_max: 128, attributes_max: 128, elements_max: 16_384 }
    }
}

/// Largest frame the index can address, in bytes: it has 28 bits for a position and a flag.
pub const FRAME_BYTES_CEILING: usize = (1 << 27) - 1;

/// Bytes of a frame up to which its index is of half the size, with 14 bits for a position and a
/// flag.
pub(crate) const NARROW_TEXT_BYTES_MAX: usize = (1 << 13) - 1;

/// Longest XML declaration accepted, in bytes; the usual one has 38.
pub(crate) const DECLARATION_BYTES_MAX: usize = 256;

/// Bytes moved at once from the input to the buffer of an element that came in pieces.
pub(crate) const PIECE_BYTES: usize = 4_096;

/// Entries of scratch space that a thread keeps for its next element.
pub(crate) const SCRATCH_ENTRIES_KEPT: usize = 512;

/// Bytes of scratch space that a thread keeps for its next frame.
pub(crate) const SCRATCH_BYTES_KEPT: usize = 8_192;
