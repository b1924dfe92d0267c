//! The index of a frame: one flat entry for each element, in document order.

/// Where an element is in its frame, and its namespace.
///
/// Positions count bytes from the start of the frame. Children follow their parent at once; the
/// next sibling of an element is the entry `after`, if that is still inside the parent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The `<` of the start tag.
    pub(crate) start: u32,
    /// Behind the `>` of the start tag.
    pub(crate) open_end: u32,
    /// The `<` of the end tag; `open_end` for an empty-element tag.
    pub(crate) close_start: u32,
    /// Behind the element.
    pub(crate) end: u32,
    /// Index of the first entry behind the subtree.
    pub(crate) after: u32,
    /// The namespace, an [`ns id`](NsId), with [`PREFIXED`] if the name has a prefix.
    pub(crate) ns: u32,
}

/// A namespace: one of the constants below, or where its name stands.
///
/// The name stands between two equal bytes: the quotes of the declaration in the frame or, if it
/// is not there verbatim, two NULs (which XML cannot contain) in the appendix behind the frame.
pub(crate) type NsId = u32;

/// No namespace.
pub(crate) const NONE: NsId = 0;
/// The content namespace of the stream, undeclared or declared where it makes no difference.
pub(crate) const CONTENT: NsId = 1;
/// The namespace of the prefix `xml`.
pub(crate) const XML: NsId = 2;

/// The position counts from the start of the appendix, whose place is not known while scanning.
pub(crate) const IN_APPENDIX: u32 = 1 << 30;
/// The element's name has a prefix.
pub(crate) const PREFIXED: u32 = 1 << 31;

impl Entry {
    pub(crate) fn ns_id(&self) -> NsId {
        self.ns & !PREFIXED
    }

    pub(crate) fn is_prefixed(&self) -> bool {
        self.ns & PREFIXED != 0
    }

    /// The namespace, a name in the appendix at its final place.
    pub(crate) fn settled_ns_id(&self, appendix_start: u32) -> NsId {
        let id = self.ns_id();
        if id & IN_APPENDIX == 0 { id } else { (id & !IN_APPENDIX) + appendix_start }
    }
}

/// The bytes from behind the one at `at` to the next equal one.
pub(crate) fn delimited(bytes: &[u8], at: usize) -> &[u8] {
    let name = &bytes[at + 1..];
    let end = memchr::memchr(bytes[at], name).unwrap_or(name.len());
    &name[..end]
}

/// Narrows a position; the scanner never sees more than [`crate::FRAME_BYTES_CEILING`] bytes.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "a frame's ceiling is below 2^32")]
pub(crate) fn narrow(position: usize) -> u32 {
    debug_assert!(position <= u32::MAX as usize);
    position as u32
}
