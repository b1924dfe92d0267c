//! The straight way through plain input: whole tags at once, without a state between their bytes.
//!
//! A tag is plain if it is there to its end, in ASCII, without references and as nearly everybody
//! writes it: one space before an attribute, none around `=`. What is not plain is left to the
//! other states from its `<` on, and so is everything that is wrong: they name the fault.

use super::{Context, Machine, Mode};
use crate::class::{NAME_START, TEXT_STOP, VALUE_STOP, WIDE, class, name_run, plain_run};
use crate::error::Fault;
use crate::resolve::{Attr, Namespaces, Needs};

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
    pub(super) fn straight(&mut self, bytes: &[u8], cx: &Context<'_>) -> Result<Way, Fault> {
        if cx.mode == Mode::Header {
            return Ok(Way::Tag);
        }
        loop {
            let is_passed = if bytes.get(self.at) == Some(&b'/') {
                self.plain_end_tag(bytes)
            } else {
                self.plain_start_tag(bytes, cx)?
            };
            if !is_passed {
                return Ok(Way::Tag);
            }
            if self.open.is_empty() {
                return Ok(Way::Done);
            }
            self.at = plain_run::<{ TEXT_STOP | WIDE }>(bytes, self.at);
            if bytes.get(self.at) != Some(&b'<') {
                return Ok(Way::Text);
            }
            self.token = self.at;
            self.at += 1;
        }
    }

    /// Passes over `</name>`, or stays at its `/`.
    #[inline]
    fn plain_end_tag(&mut self, bytes: &[u8]) -> bool {
        let Some(open) = self.open.last() else { return false };
        let name = open.name(bytes);
        let rest = &bytes[self.at + 1..];
        let is_end = rest.len() > name.len() && rest[name.len()] == b'>' && rest.starts_with(name);
        if is_end {
            self.at += name.len() + 2;
            self.finish_entry(self.token, self.at);
        }
        is_end
    }

    /// Passes over a start tag or empty-element tag, or stays at its name.
    #[inline]
    fn plain_start_tag(&mut self, bytes: &[u8], cx: &Context<'_>) -> Result<bool, Fault> {
        let name_end = name_run(bytes, self.at);
        let begins_name = bytes.get(self.at).is_some_and(|&byte| class(byte) & NAME_START != 0);
        let is_within_limits = self.open.len() < usize::from(cx.limits.depth_max)
            && self.entries.len() < cx.limits.elements_max as usize;
        if !begins_name || !is_within_limits {
            return Ok(false);
        }
        let Some((end, needs)) = self.plain_attributes(bytes, name_end, cx) else {
            self.attrs.clear();
            return Ok(false);
        };
        self.start_entry(self.token, 0, name_end);
        let is_empty = bytes[end] == b'/';
        self.at = end + 1 + usize::from(is_empty);
        self.resolve(bytes, cx, needs)?;
        self.attrs.clear();
        if is_empty {
            self.finish_entry(self.at, self.at);
        }
        Ok(true)
    }

    /// Collects attributes from `at` up to the `>` or `/>`, where it ends.
    #[inline]
    fn plain_attributes(
        &mut self,
        bytes: &[u8],
        mut at: usize,
        cx: &Context<'_>,
    ) -> Option<(usize, Needs)> {
        let mut needs = Needs { duplicates: false, namespaces: Namespaces::Nothing };
        // One bit for each name, the same for equal names.
        let mut names = 0_u64;
        loop {
            match bytes.get(at)? {
                b' ' => at += 1,
                b'>' => return Some((at, needs)),
                b'/' if bytes.get(at + 1) == Some(&b'>') => return Some((at, needs)),
                _ => return None,
            }
            if self.attrs.len() >= usize::from(cx.limits.attributes_max) {
                return None;
            }
            let (attr, name) = plain_attribute(bytes, at)?;
            let mark = mark(name);
            needs.duplicates |= names & mark != 0;
            names |= mark;
            match (needs.namespaces, attr.is_prefixed()) {
                (Namespaces::Nothing, false) if name == b"xmlns" => {
                    needs.namespaces = Namespaces::Default(attr);
                }
                (_, true) if !name.starts_with(b"xml:") => needs.namespaces = Namespaces::Any,
                _ => {}
            }
            self.attrs.push(attr);
            at = attr.end();
        }
    }
}

/// One of 64 bits, the same for equal names; for those of stanzas mostly different ones.
fn mark(name: &[u8]) -> u64 {
    let [first, .., last] = name else { return 1 };
    1 << ((usize::from(*first) * 7 + usize::from(*last) * 3 + name.len() * 11) % 64)
}

/// The attribute whose name begins at `at`, and its name.
#[inline]
fn plain_attribute(bytes: &[u8], at: usize) -> Option<(Attr, &[u8])> {
    let mut colon = 0;
    let mut name_end = name_run(bytes, at);
    if class(*bytes.get(at)?) & NAME_START == 0 {
        return None;
    }
    if bytes.get(name_end) == Some(&b':') {
        colon = name_end;
        name_end = name_run(bytes, colon + 1);
        if class(*bytes.get(colon + 1)?) & NAME_START == 0 {
            return None;
        }
    }
    let [b'=', quote @ (b'\'' | b'"')] = *bytes.get(name_end..)?.first_chunk()? else {
        return None;
    };
    let value = name_end + 2;
    let mut value_end = value;
    loop {
        value_end = plain_run::<{ VALUE_STOP | WIDE }>(bytes, value_end);
        match bytes.get(value_end) {
            Some(&byte) if byte == quote => break,
            Some(b'\'' | b'"') => value_end += 1,
            _ => return None,
        }
    }
    let mut attr = Attr::named(at, colon, name_end);
    attr.begin_value(value);
    attr.end_value(value_end);
    Some((attr, &bytes[at..name_end]))
}
