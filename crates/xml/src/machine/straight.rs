//! The straight way through plain input: from mark to mark, without a state between the bytes.
//!
//! A tag is plain if it is there to its end, in ASCII, without references and as nearly everybody
//! writes it: one space before an attribute, none around `=`, no prefixes but `xml`. What is not
//! plain is left to the other states from its `<` on, and so is everything that is wrong: they name
//! the fault.

use std::ops::Range;

use super::{Context, Machine, Mode};
use crate::class::{NAME_START, class, name_run};
use crate::index::narrow;
use crate::limits::NARROW_TEXT_BYTES_MAX;
use crate::marks::Marks;
use crate::packed::pack_place;
use crate::places::{Common, Commons};
use crate::resolve::{PlainTag, is_ordinary};

/// Where the straight way ends.
pub(super) enum Way {
    /// Behind the root's end.
    Done,
    /// In text, at what is no tag.
    Text,
    /// Behind the `<` of a tag that is not plain.
    Tag,
}

impl Machine {
    /// Passes over tags and text from behind a `<`, as far as they are plain.
    #[inline(never)]
    pub(super) fn straight(&mut self, bytes: &[u8], cx: &Context<'_>) -> Way {
        if cx.mode == Mode::Header {
            return Way::Tag;
        }
        let mut marks = Marks::new(bytes, self.at);
        loop {
            let is_passed = if bytes.get(self.at) == Some(&b'/') {
                self.plain_end_tag(bytes, &mut marks)
            } else if self.open.is_empty() {
                self.plain_start_tag::<true>(bytes, cx, &mut marks)
            } else {
                self.plain_start_tag::<false>(bytes, cx, &mut marks)
            };
            if !is_passed {
                return Way::Tag;
            }
            if self.open.is_empty() {
                return Way::Done;
            }
            if !self.plain_text(bytes, &mut marks) {
                return Way::Text;
            }
        }
    }

    /// Passes over text and the `<` behind it, or stays before what is not plain.
    #[inline(always)]
    fn plain_text(&mut self, bytes: &[u8], marks: &mut Marks) -> bool {
        loop {
            let at = marks.next(bytes);
            match bytes.get(at) {
                Some(b'<') => {
                    self.token = at;
                    self.at = at + 1;
                    return true;
                }
                Some(b'\'' | b'"' | b'\t' | b'\n' | b'\r') => {}
                Some(b'>') if !bytes[self.at..at].ends_with(b"]]") => {}
                // With the `]]` before it, which the input may also end in.
                Some(b'>') | None => {
                    self.at = self.at.max(at.saturating_sub(2));
                    return false;
                }
                Some(_) => {
                    self.at = at;
                    return false;
                }
            }
        }
    }

    /// Passes over `</name>`, or stays at its `/`.
    #[inline(always)]
    fn plain_end_tag(&mut self, bytes: &[u8], marks: &mut Marks) -> bool {
        let end = marks.next(bytes);
        let Some(open) = self.open.last() else { return false };
        if bytes.get(end) != Some(&b'>') || !is_same(bytes, self.at + 1..end, open.name_range()) {
            return false;
        }
        self.at = end + 1;
        self.finish_entry(self.token, self.at);
        true
    }

    /// Passes over a start tag or empty-element tag, or stays at its name.
    ///
    /// It is a function of its own so that what it needs fits into registers.
    #[inline(never)]
    fn plain_start_tag<const IS_ROOT: bool>(
        &mut self,
        bytes: &[u8],
        cx: &Context<'_>,
        marks: &mut Marks,
    ) -> bool {
        let is_within_limits = self.open.len() < usize::from(cx.limits.depth_max)
            && self.entries.len() < cx.limits.elements_max as usize;
        if !is_within_limits {
            return false;
        }
        let tag = plain_tag::<IS_ROOT>(bytes, self.token, marks, &mut self.commons);
        let Some(tag) = tag.filter(|tag| self.open_plain(cx, tag)) else { return false };
        self.at = tag.end;
        if IS_ROOT {
            self.commons.are_known = tag.end <= NARROW_TEXT_BYTES_MAX;
        }
        true
    }
}

/// Reads the tag whose `<` is at `start` and the first of the marks.
#[inline(always)]
fn plain_tag<const IS_ROOT: bool>(
    bytes: &[u8],
    start: usize,
    marks_of_all: &mut Marks,
    commons: &mut Commons,
) -> Option<PlainTag> {
    let name_end = name_run(bytes, start + 1);
    if class(*bytes.get(start + 1)?) & NAME_START == 0 {
        return None;
    }
    let mut marks = *marks_of_all;
    let mut at = name_end;
    let (mut names, mut default) = (0, 0);
    loop {
        let mark = marks.next(bytes);
        let quote = *bytes.get(mark)?;
        if quote == b'>' {
            *marks_of_all = marks;
            let is_empty = mark != at;
            let is_end = !is_empty || (mark == at + 1 && bytes[at] == b'/');
            let end = mark + 1;
            return is_end.then_some(PlainTag { start, name_end, end, is_empty, default, names });
        }
        if !matches!(quote, b'\'' | b'"') {
            return None;
        }
        let name = plain_name(bytes, at, mark)?;
        if names & name != 0 {
            return None;
        }
        names |= name;
        let end = loop {
            let end = marks.next(bytes);
            match *bytes.get(end)? {
                byte if byte == quote => break end,
                b'\'' | b'"' | b'>' => {}
                _ => return None,
            }
        };
        if name == XMLNS_BIT {
            default = mark + 1;
            if !is_ordinary(&bytes[default..end]) {
                return None;
            }
        }
        if IS_ROOT && let Some(place) = commons.places.get_mut(name.trailing_zeros() as usize) {
            *place = pack_place(mark + 1, end);
        }
        at = end + 1;
    }
}

/// The attribute name between the space at `at` and the `=` before the quote, if it is plain: one
/// of 64 bits, the same for equal names; different ones for nearly all that meet in a tag.
#[inline(always)]
fn plain_name(bytes: &[u8], at: usize, quote: usize) -> Option<u64> {
    let beginning = *bytes.get(at..)?.first_chunk()?;
    if let len @ 1..=8 = quote.wrapping_sub(at) {
        // The names that most attributes have need no judgement.
        match u64::from_le_bytes(beginning) << (u64::BITS as usize - 8 * len) {
            XMLNS => return Some(XMLNS_BIT),
            ID => return Some(1 << Common::Id as u32),
            TO => return Some(1 << Common::To as u32),
            FROM => return Some(1 << Common::From as u32),
            TYPE => return Some(1 << Common::Type as u32),
            _ => {}
        }
    }
    other_name(bytes, at, quote)
}

/// The same for any name: without a prefix other than `xml`.
#[inline(never)]
fn other_name(bytes: &[u8], at: usize, quote: usize) -> Option<u64> {
    let [b' ', name @ .., b'='] = bytes.get(at..quote)? else { return None };
    if name == b"xml:lang" {
        return Some(1 << Common::Lang as u32);
    }
    let is_name = |name: &[u8], end| {
        name.first().is_some_and(|&first| class(first) & NAME_START != 0) && end == name.len()
    };
    // In `bytes` there are sixteen to look at together, within the name seldom.
    let is_plain = is_name(name, name_run(bytes, at + 1) - (at + 1))
        || name.strip_prefix(b"xml:").is_some_and(|local| is_name(local, name_run(local, 0)));
    is_plain.then(|| bit(name))
}

/// Whether the same bytes stand in two places.
#[inline(always)]
fn is_same(bytes: &[u8], first: Range<usize>, second: Range<usize>) -> bool {
    let word = |at: usize| bytes.get(at..)?.first_chunk().copied().map(u64::from_le_bytes);
    match (first.len(), word(first.start), word(second.start)) {
        (len, ..) if len != second.len() => false,
        (len @ 1..=8, Some(one), Some(other)) => {
            (one ^ other) << (u64::BITS as usize - 8 * len) == 0
        }
        _ => bytes[first] == bytes[second],
    }
}

/// One of the bits that no common name has.
#[inline(always)]
fn bit(name: &[u8]) -> u64 {
    let len = name.len();
    let (Some(&first), Some(&middle)) = (name.first(), name.get(len / 2)) else { return 0 };
    let hash = u32::from(first) * 5 + u32::from(middle) * 8 + narrow(len) * 2;
    1 << (OTHERS + hash % (u64::BITS - OTHERS))
}

/// Up to eight bytes as a number, the last byte the highest.
const fn word(name: &[u8]) -> u64 {
    let mut word = 0;
    let mut at = 0;
    while at < name.len() {
        word |= (name[at] as u64) << (8 * (8 - name.len() + at));
        at += 1;
    }
    word
}

/// Below it are those of the [`Common`] attributes.
const XMLNS_BIT: u64 = 1 << 5;
/// The number of the first bit that no common name has.
const OTHERS: u32 = 6;
const XMLNS: u64 = word(b" xmlns=");
const ID: u64 = word(b" id=");
const TO: u64 = word(b" to=");
const FROM: u64 = word(b" from=");
const TYPE: u64 = word(b" type=");
