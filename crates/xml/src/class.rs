//! Characters: the classes of XML 1.0 (fifth edition) and fast runs over them.

use memchr::memchr_iter;

use crate::error::MalformedKind;
use crate::lanes::{self, Found, LANES};

/// Classes of the byte, a set of the bits below.
#[inline]
pub(crate) fn class(byte: u8) -> u8 {
    CLASS[byte as usize]
}

/// Whether the byte is of the production `S`.
#[inline]
pub(crate) fn is_space(byte: u8) -> bool {
    class(byte) & SPACE != 0
}

/// Whether the byte ends a name for sure: ASCII and no name character.
#[inline]
pub(crate) fn ends_name(byte: u8) -> bool {
    class(byte) & (NAME | WIDE) == 0 && byte != b':'
}

/// First position from `at` on whose byte is of the class `STOP`, or the end.
#[inline]
pub(crate) fn plain_run<const STOP: u8>(bytes: &[u8], at: usize) -> usize {
    run_over_space(bytes, at, lanes::stops::<STOP>, |byte| class(byte) & STOP != 0)
}

/// The end of the ASCII name characters that begin at `at`; a colon is none.
#[inline]
pub(crate) fn name_run(bytes: &[u8], at: usize) -> usize {
    run(bytes, at, lanes::not_in_name, |byte| class(byte) & NAME == 0)
}

/// Whether an attribute value stands for itself: ASCII without references and control characters.
#[inline]
pub(crate) fn is_verbatim(value: &[u8]) -> bool {
    let is_special = |byte| byte == b'&' || !(b' '..0x80).contains(&byte);
    whole_run(value, lanes::not_verbatim, is_special) == value.len()
}

/// Length of what [`crate::escape_attr`] and [`crate::escape_text`] copy without a closer look.
#[inline]
pub(crate) fn unescaped_run(text: &[u8]) -> usize {
    let is_special = |byte| matches!(byte, b'&' | b'<' | b'>' | b'\'' | b'"' | 0..b' ' | 0x80..);
    whole_run(text, lanes::to_escape, is_special)
}

/// The first `byte` from `at` on, or the end.
#[inline]
pub(crate) fn find(byte: u8, bytes: &[u8], at: usize) -> usize {
    run(bytes, at, |chunk| lanes::equal_to(byte, chunk), |other| other == byte)
}

/// First position from `at` on that `in_chunk`, or `in_rest` where no whole chunk is left, finds.
#[inline(always)]
fn run(
    bytes: &[u8],
    mut at: usize,
    in_chunk: impl Fn(&[u8; LANES]) -> Found,
    in_rest: impl Fn(u8) -> bool,
) -> usize {
    let mut rest = bytes.get(at..).unwrap_or_default();
    while let Some((chunk, behind)) = rest.split_first_chunk() {
        if let Some(first) = in_chunk(chunk).first() {
            return at + first;
        }
        at += LANES;
        rest = behind;
    }
    at + rest.iter().position(|&byte| in_rest(byte)).unwrap_or(rest.len())
}

/// As [`run`] from the start of `text`, which mostly is found to be all of it.
#[inline(always)]
fn whole_run(
    text: &[u8],
    in_chunk: impl Fn(&[u8; LANES]) -> Found,
    in_rest: impl Fn(u8) -> bool,
) -> usize {
    let Some(last) = text.last_chunk() else {
        return text.iter().position(|&byte| in_rest(byte)).unwrap_or(text.len());
    };
    let (chunks, _) = text.as_chunks();
    for (index, chunk) in chunks.iter().enumerate() {
        if let Some(first) = in_chunk(chunk).first() {
            return index * LANES + first;
        }
    }
    // It overlaps with chunks in which nothing was found.
    in_chunk(last).first().map_or(text.len(), |first| text.len() - LANES + first)
}

/// The same where `in_chunk` also finds white space other than the space, which `stops` does not.
#[inline(always)]
fn run_over_space(
    bytes: &[u8],
    mut at: usize,
    in_chunk: impl Fn(&[u8; LANES]) -> Found,
    stops: impl Fn(u8) -> bool,
) -> usize {
    loop {
        at = run(bytes, at, &in_chunk, &stops);
        match bytes.get(at) {
            Some(&byte) if !stops(byte) => at += 1,
            _ => return at,
        }
    }
}

/// How a stretch of bytes that begins with a non-ASCII one ends.
pub(crate) enum Wide {
    /// All of it is legal; the position after it.
    Legal(usize),
    /// The input ends inside a character, which begins here.
    Cut(usize),
}

/// Judges the characters from `at` to the next ASCII byte of class `STOP`.
///
/// Characters outside of ASCII must be UTF-8 and neither U+FFFE nor U+FFFF (XML 1.0 §2.2; UTF-8
/// itself excludes the surrogates).
pub(crate) fn wide_run<const STOP: u8>(
    bytes: &[u8],
    at: usize,
) -> Result<Wide, (MalformedKind, usize)> {
    let stops = |byte| class(byte) & STOP & !WIDE != 0;
    let end = run_over_space(bytes, at, lanes::stops_among_wide::<STOP>, stops);
    let run = &bytes[at..end];
    let (legal, problem) = match simdutf8::compat::from_utf8(run) {
        Ok(_) => (run, None),
        Err(error) => (&run[..error.valid_up_to()], Some(error)),
    };
    if let Some(bad) = find_noncharacter(legal) {
        return Err((MalformedKind::ForbiddenCharacter, at + bad));
    }
    match problem {
        None => Ok(Wide::Legal(end)),
        Some(error) if error.error_len().is_none() && end == bytes.len() => {
            Ok(Wide::Cut(at + error.valid_up_to()))
        }
        Some(error) => Err((MalformedKind::Utf8, at + error.valid_up_to())),
    }
}

/// One character at `at`, whose first byte is not ASCII.
pub(crate) enum Decoded {
    /// A character and its length in bytes.
    Char(char, usize),
    /// The input ends before the character does.
    Cut,
    /// Not UTF-8.
    Bad,
}

/// Decodes the character at `at`.
pub(crate) fn decode(bytes: &[u8], at: usize) -> Decoded {
    let len = match bytes[at] {
        0x00..=0x7f => 1,
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => return Decoded::Bad,
    };
    let slice = &bytes[at..bytes.len().min(at + len)];
    match std::str::from_utf8(slice) {
        Ok(text) => match text.chars().next() {
            Some(first) => Decoded::Char(first, len),
            None => Decoded::Cut,
        },
        Err(error) if error.error_len().is_none() => Decoded::Cut,
        Err(_) => Decoded::Bad,
    }
}

/// `NameStartChar` without the colon.
pub(crate) fn is_name_start(c: char) -> bool {
    matches!(c,
        'A'..='Z' | '_' | 'a'..='z' | '\u{c0}'..='\u{d6}' | '\u{d8}'..='\u{f6}'
        | '\u{f8}'..='\u{2ff}' | '\u{370}'..='\u{37d}' | '\u{37f}'..='\u{1fff}'
        | '\u{200c}'..='\u{200d}' | '\u{2070}'..='\u{218f}' | '\u{2c00}'..='\u{2fef}'
        | '\u{3001}'..='\u{d7ff}' | '\u{f900}'..='\u{fdcf}' | '\u{fdf0}'..='\u{fffd}'
        | '\u{10000}'..='\u{effff}')
}

/// `NameChar` without the colon.
pub(crate) fn is_name(c: char) -> bool {
    is_name_start(c)
        || matches!(c, '-' | '.' | '0'..='9' | '\u{b7}' | '\u{300}'..='\u{36f}'
            | '\u{203f}'..='\u{2040}')
}

/// `NCName` of Namespaces in XML 1.0: a name without a colon.
pub(crate) fn is_ncname(name: &str) -> bool {
    let mut chars = name.chars();
    chars.next().is_some_and(is_name_start) && chars.all(is_name)
}

/// `Char`: what may appear in a document at all (XML 1.0 §2.2).
pub(crate) fn is_char(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | '\u{20}'..='\u{fffd}' | '\u{10000}'..)
}

/// U+FFFE or U+FFFF in text that is UTF-8: EF BF BE, EF BF BF.
fn find_noncharacter(text: &[u8]) -> Option<usize> {
    memchr_iter(0xef, text)
        .find(|&at| matches!(text.get(at + 1..at + 3), Some([0xbf, 0xbe | 0xbf])))
}

const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut byte: u8 = 0;
    loop {
        table[byte as usize] = match byte {
            b'\t' | b'\n' | b'\r' | b' ' => SPACE,
            0x00..=0x1f => TEXT_STOP | VALUE_STOP | CDATA_STOP,
            b'<' | b'&' => TEXT_STOP | VALUE_STOP,
            b']' => TEXT_STOP | CDATA_STOP,
            b'"' | b'\'' => VALUE_STOP,
            b'A'..=b'Z' | b'a'..=b'z' | b'_' => NAME | NAME_START,
            b'0'..=b'9' | b'-' | b'.' => NAME,
            0x80.. => WIDE,
            _ => 0,
        };
        if byte == u8::MAX {
            return table;
        }
        byte += 1;
    }
}

static CLASS: [u8; 256] = classes();

/// White space.
const SPACE: u8 = 1;
/// An ASCII character that may begin a name (the colon is handled apart).
pub(crate) const NAME_START: u8 = 2;
/// An ASCII character that may go on a name.
pub(crate) const NAME: u8 = 4;
/// A byte of a character outside of ASCII.
pub(crate) const WIDE: u8 = 8;
/// Needs attention in text.
pub(crate) const TEXT_STOP: u8 = 16;
/// Needs attention in an attribute value.
pub(crate) const VALUE_STOP: u8 = 32;
/// Needs attention in a CDATA section.
pub(crate) const CDATA_STOP: u8 = 64;
