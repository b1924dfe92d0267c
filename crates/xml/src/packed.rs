//! The one block that a frame is: its text and, behind it, the index.
//!
//! The index stands there as text as well, in numbers of seven bits to a byte. So everything is one
//! counted `str`, and a position is read back without a search and without `unsafe`. Numbers of a
//! frame of ordinary size take two bytes, others four.
//!
//! | Part | Bytes |
//! |---|---|
//! | the element | as it came |
//! | namespace names that do not stand in it verbatim | rarely any |
//! | places of what stanzas have as attributes | 20, if the scanner noted them |
//! | entries | 12 each, or 24 |

use std::ops::Range;

use triomphe::{Arc, HeaderSlice};

use crate::error::MalformedKind;
use crate::index::{Entry, NsId, narrow};
use crate::limits::{FRAME_BYTES_CEILING, NARROW_TEXT_BYTES_MAX};
use crate::machine::Machine;
use crate::places::{COMMONS, Common};

/// Text and index of a frame, counted.
#[derive(Clone)]
pub(crate) struct Packed(Arc<HeaderSlice<Layout, str>>);

/// What is where in the block.
struct Layout {
    /// Where the entries begin.
    entries_at: u32,
    /// The places of the root's attributes are known, and come before the entries.
    has_commons: bool,
    /// Numbers of entries take two bytes.
    is_narrow: bool,
}

impl Packed {
    /// Makes the block of an element that `machine` has accepted: all of `element`.
    ///
    /// It is put together in `scratch`, which is of no use afterwards.
    #[inline]
    pub(crate) fn new(
        machine: &Machine,
        scratch: &mut Vec<u8>,
        element: &[u8],
    ) -> Result<Self, MalformedKind> {
        let text_bytes = element.len() + machine.appendix.len();
        if text_bytes > FRAME_BYTES_CEILING {
            return Err(MalformedKind::FrameTooBig);
        }
        let is_narrow = text_bytes <= NARROW_TEXT_BYTES_MAX;
        let (entries, commons) = (&machine.entries, machine.commons.places.as_flattened());
        let entry_bytes = if is_narrow { NARROW_ENTRY_BYTES } else { WIDE_ENTRY_BYTES };
        scratch.clear();
        scratch.reserve(text_bytes + commons.len() + entries.len() * entry_bytes);
        scratch.extend_from_slice(element);
        scratch.extend_from_slice(machine.appendix.as_bytes());
        let has_commons = machine.commons.are_known;
        if has_commons {
            scratch.extend_from_slice(commons);
        }
        let entries_at = narrow(scratch.len());
        let element_bytes = narrow(element.len());
        scratch.resize(scratch.len() + entries.len() * entry_bytes, 0);
        let packed = &mut scratch[entries_at as usize..];
        if is_narrow {
            for (packed, entry) in packed.as_chunks_mut().0.iter_mut().zip(entries) {
                *packed = pack_narrow(numbers(entry, element_bytes));
            }
        } else {
            for (packed, entry) in packed.as_chunks_mut().0.iter_mut().zip(entries) {
                *packed = pack_wide(numbers(entry, element_bytes));
            }
        }
        // The machine has judged every character; this is how the compiler gets to know.
        let block = simdutf8::basic::from_utf8(scratch).map_err(|_| MalformedKind::Utf8)?;
        let layout = Layout { entries_at, has_commons, is_narrow };
        Ok(Self(Arc::from_header_and_str(layout, block)))
    }

    /// The element, the appendix and the index: positions of entries are positions in it.
    #[inline]
    pub(crate) fn text(&self) -> &str {
        &self.0.slice
    }

    /// The element alone.
    #[inline]
    pub(crate) fn markup(&self) -> &str {
        &self.text()[..self.entry(0).end() as usize]
    }

    /// The entry of this number.
    #[inline]
    pub(crate) fn entry(&self, index: u32) -> PackedEntry<'_> {
        PackedEntry { packed: self, index }
    }

    /// Where the value of an attribute of the root is, or that it is not there; none if nobody knows.
    #[inline]
    pub(crate) fn common(&self, attr: Common) -> Option<Option<Range<usize>>> {
        let Layout { entries_at, has_commons, .. } = self.0.header;
        if !has_commons {
            return None;
        }
        let at = entries_at as usize - size_of::<[PackedPlace; COMMONS]>();
        let place = self.text().as_bytes()[at..].as_chunks().0[attr as usize];
        Some(unpack_place(place))
    }
}

/// An [`Entry`] in its block. Copying costs nothing, and a number is read when it is asked for.
#[derive(Clone, Copy)]
pub(crate) struct PackedEntry<'a> {
    packed: &'a Packed,
    index: u32,
}

impl PackedEntry<'_> {
    /// As [`Entry::start`].
    #[inline]
    pub(crate) fn start(self) -> u32 {
        self.number(0)
    }

    /// As [`Entry::open_end`].
    #[inline]
    pub(crate) fn open_end(self) -> u32 {
        self.number(1)
    }

    /// As [`Entry::close_start`].
    #[inline]
    pub(crate) fn close_start(self) -> u32 {
        self.number(2)
    }

    /// As [`Entry::end`].
    #[inline]
    pub(crate) fn end(self) -> u32 {
        self.number(3)
    }

    /// As [`Entry::after`].
    #[inline]
    pub(crate) fn after(self) -> u32 {
        self.number(4)
    }

    /// The namespace; a name in the appendix has its place.
    #[inline]
    pub(crate) fn ns_id(self) -> NsId {
        self.number(5) >> 1
    }

    /// Whether the element's name has a prefix.
    #[inline]
    pub(crate) fn is_prefixed(self) -> bool {
        self.number(5) & 1 != 0
    }

    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "28 bits at most")]
    fn number(self, which: usize) -> u32 {
        let layout = &self.packed.0.header;
        let entries = &self.packed.text().as_bytes()[layout.entries_at as usize..];
        let at = self.index as usize * NUMBERS + which;
        let number: u64 = if layout.is_narrow {
            join(u16::from_le_bytes(entries.as_chunks().0[at]).into())
        } else {
            let halves = join(u32::from_le_bytes(entries.as_chunks().0[at]).into());
            halves & MASK_14 | halves >> 2 & !MASK_14
        };
        number as u32
    }
}

/// The numbers of an entry; the appendix begins at `element_bytes`.
#[inline(always)]
fn numbers(entry: &Entry, element_bytes: u32) -> [u64; NUMBERS] {
    let ns = entry.settled_ns_id(element_bytes) << 1 | u32::from(entry.is_prefixed());
    [entry.start, entry.open_end, entry.close_start, entry.end, entry.after, ns].map(u64::from)
}

#[inline(always)]
fn pack_narrow([a, b, c, d, e, f]: [u64; NUMBERS]) -> [u8; NARROW_ENTRY_BYTES] {
    let mut packed = [0; NARROW_ENTRY_BYTES];
    let four = split(a | b << 16 | c << 32 | d << 48);
    let two = split(e | f << 16);
    packed[..8].copy_from_slice(&four.to_le_bytes());
    packed[8..].copy_from_slice(&two.to_le_bytes()[..4]);
    packed
}

#[inline(always)]
fn pack_wide(numbers: [u64; NUMBERS]) -> [u8; WIDE_ENTRY_BYTES] {
    let mut packed = [0; WIDE_ENTRY_BYTES];
    let halves = |number: u64| number & MASK_14 | (number & !MASK_14) << 2;
    for (place, pair) in packed.as_chunks_mut().0.iter_mut().zip(numbers.as_chunks().0) {
        let [first, second] = pair.map(halves);
        *place = split(first | second << 32).to_le_bytes();
    }
    packed
}

/// Where the value of an attribute is: two numbers of 14 bits; zeros if it is not there.
pub(crate) type PackedPlace = [u8; 4];

/// Packs a place near the start of the frame; what it is of another is of no use.
#[inline(always)]
pub(crate) fn pack_place(start: usize, end: usize) -> PackedPlace {
    let [start, end] = [start, end].map(|position| position as u64 & MASK_14);
    let [a, b, c, d, ..] = split(start | end << 16).to_le_bytes();
    [a, b, c, d]
}

#[inline(always)]
fn unpack_place(packed: PackedPlace) -> Option<Range<usize>> {
    let two = join(u32::from_le_bytes(packed).into());
    let [start, end] = [two, two >> 16].map(|number| (number & MASK_14) as u16);
    (start != 0).then(|| start.into()..end.into())
}

/// Makes of up to four numbers of 14 bits, each in 16, what is ASCII byte by byte.
#[inline(always)]
fn split(numbers: u64) -> u64 {
    debug_assert!(numbers & !(MASK_14 * EACH) == 0);
    numbers & LOW_SEVEN | (numbers & HIGH_SEVEN) << 1
}

/// Undoes [`split`].
#[inline(always)]
fn join(packed: u64) -> u64 {
    packed & LOW_SEVEN | (packed >> 1) & HIGH_SEVEN
}

/// The lowest bit of each 16.
const EACH: u64 = 0x0001_0001_0001_0001;
const LOW_SEVEN: u64 = 0x7f * EACH;
const HIGH_SEVEN: u64 = 0x3f80 * EACH;
const MASK_14: u64 = (1 << 14) - 1;
/// How many numbers an entry has.
const NUMBERS: usize = 6;
const NARROW_ENTRY_BYTES: usize = 12;
const WIDE_ENTRY_BYTES: usize = 24;

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::index::{IN_APPENDIX, PREFIXED};

    fn any_entry(bits: u32) -> impl Strategy<Value = Entry> {
        let position = 0..1_u32 << bits;
        (vec(position, NUMBERS), any::<bool>()).prop_map(|(numbers, is_prefixed)| Entry {
            start: numbers[0],
            open_end: numbers[1],
            close_start: numbers[2],
            end: numbers[3],
            after: numbers[4],
            ns: numbers[5] | if is_prefixed { PREFIXED } else { 0 },
        })
    }

    fn machine(entries: Vec<Entry>) -> Machine {
        let mut machine = Machine::default();
        machine.entries = entries;
        machine
    }

    fn read(entry: PackedEntry<'_>) -> Entry {
        Entry {
            start: entry.start(),
            open_end: entry.open_end(),
            close_start: entry.close_start(),
            end: entry.end(),
            after: entry.after(),
            ns: entry.ns_id() | if entry.is_prefixed() { PREFIXED } else { 0 },
        }
    }

    #[test]
    fn a_frame_is_one_block_of_its_text_and_little_more() {
        assert_eq!(size_of::<Layout>(), 8);
        let entries = vec![Entry { end: 4, after: 1, ..Entry::default() }];
        let machine = machine(entries);
        let packed = Packed::new(&machine, &mut Vec::new(), b"<a/>").unwrap();
        assert_eq!(packed.text().len(), 4 + NARROW_ENTRY_BYTES);
        assert_eq!(packed.markup(), "<a/>");
    }

    #[test]
    fn names_in_the_appendix_move_behind_the_element() {
        let entries = vec![Entry { end: 4, ns: IN_APPENDIX | 3, ..Entry::default() }];
        let mut machine = machine(entries);
        machine.appendix = "\0x\0\0y\0".to_owned();
        let packed = Packed::new(&machine, &mut Vec::new(), b"<a/>").unwrap();
        assert_eq!(packed.entry(0).ns_id(), 7);
        assert_eq!(packed.ns(7), "y");
    }

    proptest! {
        #[test]
        fn prop_entries_are_read_back(
            narrow in vec(any_entry(13), 1..9),
            wide in vec(any_entry(27), 1..9),
        ) {
            let long = "x".repeat(NARROW_TEXT_BYTES_MAX + 1);
            for (entries, text) in [(narrow, ""), (wide, &*long)] {
                let machine = machine(entries.clone());
                let packed = Packed::new(&machine, &mut Vec::new(), text.as_bytes()).unwrap();
                for (index, entry) in (0..).zip(entries) {
                    prop_assert_eq!(read(packed.entry(index)), entry);
                }
            }
        }

        #[test]
        fn prop_places_are_read_back(
            start in 1..NARROW_TEXT_BYTES_MAX,
            end in 1..NARROW_TEXT_BYTES_MAX,
        ) {
            let mut machine = Machine::default();
            machine.commons.places[Common::From as usize] = pack_place(start, end);
            machine.commons.are_known = true;
            let packed = Packed::new(&machine, &mut Vec::new(), b"<a/>").unwrap();
            prop_assert_eq!(packed.common(Common::From), Some(Some(start..end)));
            prop_assert_eq!(packed.common(Common::To), Some(None));
        }
    }
}
