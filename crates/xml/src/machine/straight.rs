//! The straight way through plain input: from mark to mark, without a state between the bytes.
//!
//! A tag is plain if it is there to its end, in ASCII, without references and as nearly everybody
//! writes it: one space before an attribute, none around `=`, no prefixes but `xml`. What is not
//! plain is left to the other states from its `<` on, and so is everything that is wrong: they name
//! the fault.

use super::{Context, Machine, Mode};
use crate::class::{NAME_START, class, name_run};
use crate::index::{RootAttrs, narrow};
use crate::marks::Marks;
use crate::resolve::PlainTag;

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
    pub(super) fn straight(&mut self, bytes: &[u8], cx: &Context<'_>) -> Way {
        if cx.mode == Mode::Header {
            return Way::Tag;
        }
        let mut marks = Marks::new(bytes, self.at);
        loop {
            let is_passed = if bytes.get(self.at) == Some(&b'/') {
                self.plain_end_tag(bytes, &mut marks)
            } else {
                self.plain_start_tag(bytes, cx, &mut marks)
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
    fn plain_text(&mut self, bytes: &[u8], marks: &mut Marks<'_>) -> bool {
        loop {
            let at = marks.next();
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
    fn plain_end_tag(&mut self, bytes: &[u8], marks: &mut Marks<'_>) -> bool {
        let end = marks.next();
        let Some(open) = self.open.last() else { return false };
        if bytes.get(end) != Some(&b'>') || bytes[self.at + 1..end] != *open.name(bytes) {
            return false;
        }
        self.at = end + 1;
        self.finish_entry(self.token, self.at);
        true
    }

    /// Passes over a start tag or empty-element tag, or stays at its name.
    #[inline(always)]
    fn plain_start_tag(&mut self, bytes: &[u8], cx: &Context<'_>, marks: &mut Marks<'_>) -> bool {
        let is_within_limits = self.open.len() < usize::from(cx.limits.depth_max)
            && self.entries.len() < cx.limits.elements_max as usize;
        if !is_within_limits {
            return false;
        }
        let is_root = self.open.is_empty();
        let mut root_attrs = is_root.then_some(&mut self.root_attrs);
        let tag = plain_tag(bytes, self.token, cx.limits.attributes_max, marks, &mut root_attrs);
        match tag {
            Some(tag) if self.open_plain(bytes, cx, &tag) => {
                self.at = tag.end;
                true
            }
            _ => {
                if is_root {
                    self.root_attrs.clear();
                }
                false
            }
        }
    }
}

/// Reads the tag whose `<` is at `start` and the first of the marks.
#[inline(always)]
fn plain_tag(
    bytes: &[u8],
    start: usize,
    attributes_max: u16,
    marks: &mut Marks<'_>,
    root_attrs: &mut Option<&mut RootAttrs>,
) -> Option<PlainTag> {
    let name_end = name_run(bytes, start + 1);
    if class(*bytes.get(start + 1)?) & NAME_START == 0 {
        return None;
    }
    // One bit for each name, the same for equal names.
    let mut names = 0_u64;
    let mut default = None;
    let mut attributes = 0;
    let mut at = name_end;
    loop {
        let mark = marks.next();
        let byte = *bytes.get(mark)?;
        if byte == b'>' {
            let is_empty = mark != at;
            let is_end = !is_empty || (mark == at + 1 && bytes[at] == b'/');
            return is_end.then_some(PlainTag {
                start,
                name_end,
                end: mark + 1,
                is_empty,
                default,
            });
        }
        let is_plain = matches!(byte, b'\'' | b'"') && attributes < attributes_max;
        let name = plain_name(bytes, at, mark).filter(|_| is_plain)?;
        let name_bit = bit(name);
        if names & name_bit != 0 {
            return None;
        }
        names |= name_bit;
        attributes += 1;
        let end = loop {
            let end = marks.next();
            match *bytes.get(end)? {
                quote if quote == byte => break end,
                b'\'' | b'"' | b'>' => {}
                _ => return None,
            }
        };
        if name == b"xmlns" {
            default = Some(mark + 1..end);
        }
        if let Some(attrs) = root_attrs {
            attrs.push(at + 1..mark - 1, mark + 1..end);
        }
        at = end + 1;
    }
}

/// The attribute name between the space at `at` and the `=` before the quote.
#[inline(always)]
fn plain_name(bytes: &[u8], at: usize, quote: usize) -> Option<&[u8]> {
    let [b' ', name @ .., b'='] = bytes.get(at..quote)? else { return None };
    let name_end = name_run(bytes, at + 1);
    let is_plain = class(*name.first()?) & NAME_START != 0
        && (name_end + 1 == quote || is_plain_after_xml(name));
    is_plain.then_some(name)
}

/// Whether it is a name with the prefix `xml`.
#[cold]
fn is_plain_after_xml(name: &[u8]) -> bool {
    let Some(local) = name.strip_prefix(b"xml:") else { return false };
    local.first().is_some_and(|&first| class(first) & NAME_START != 0)
        && name_run(local, 0) == local.len()
}

/// One of 64 bits, the same for equal names; different ones for nearly all that meet in a tag.
#[inline(always)]
fn bit(name: &[u8]) -> u64 {
    let len = name.len();
    let (Some(&first), Some(&middle)) = (name.first(), name.get(len / 2)) else { return 0 };
    1_u64.wrapping_shl(u32::from(first) * 5 + u32::from(middle) * 8 + narrow(len) * 2)
}
