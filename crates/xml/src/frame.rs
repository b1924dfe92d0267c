//! One complete element: its bytes and their index, shared.

use std::fmt;

use crate::class::is_space;
use crate::element::ElementRef;
use crate::error::{Malformed, MalformedKind};
use crate::limits::Limits;
use crate::machine::{Context, Machine, Mode, Outcome};
use crate::normalise;
use crate::packed::Packed;
use crate::pool::{self, Work};
use crate::scope::{Content, Scope};
use crate::write::Writer;

/// One complete first-level element: checked, portable, immutable, shared.
///
/// Cloning counts a reference. *Portable* means that the bytes mean the same on any stream whose
/// default namespace is a content namespace, and so do the children of a stanza without its start
/// tag: prefixes are declared where they are used, and the content namespace is neither declared
/// nor prefixed below the root.
#[derive(Clone)]
pub struct Frame(Packed);

impl Frame {
    /// Parses a single element as its own document, under the default [`Limits`].
    ///
    /// Elements without a declared default namespace are in the content namespace. White space
    /// around the element is ignored.
    ///
    /// # Errors
    ///
    /// The first fault, with its offset from the start of `bytes`.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        Self::parse_with(bytes, &Limits::default())
    }

    /// Parses an element that this program wrote itself, such as one that it has stored: whatever its
    /// size was when it came, it may have grown since.
    ///
    /// # Errors
    ///
    /// As for [`parse`](Self::parse).
    pub fn parse_own(bytes: &[u8]) -> Result<Self, Malformed> {
        Self::parse_with(bytes, &Limits::OWN)
    }

    /// Parses a single element as its own document, under the limits given.
    ///
    /// # Errors
    ///
    /// As for [`parse`](Self::parse).
    pub fn parse_with(bytes: &[u8], limits: &Limits) -> Result<Self, Malformed> {
        let begin = bytes.iter().position(|&byte| !is_space(byte)).unwrap_or(bytes.len());
        let element = &bytes[begin..];
        if let Some(kind) = refuse_first(element.first().copied()) {
            return Err(Malformed { kind, offset: begin as u64 });
        }
        let mut work = pool::take();
        let frame = Self::parse_single(&mut work, element, limits);
        pool::give(work);
        frame.map_err(|fault| Malformed { offset: fault.offset + begin as u64, ..fault })
    }

    /// Makes an element of our own with a [`Writer`].
    ///
    /// # Panics
    ///
    /// If `f` writes anything but exactly one well-formed element. Text and attribute values are
    /// escaped, so that takes a name that is none or [`Writer::raw`] with bytes that are no XML.
    pub fn build(f: impl FnOnce(&mut Writer)) -> Self {
        let mut writer = Writer::new();
        f(&mut writer);
        let bytes = writer.into_bytes();
        match Self::parse_with(&bytes, &Limits::OWN) {
            Ok(frame) => frame,
            Err(malformed) => panic!("an element of our own is malformed: {malformed}"),
        }
    }

    /// The first-level element.
    pub fn root(&self) -> ElementRef<'_> {
        ElementRef::new(&self.0, 0)
    }

    /// The whole element.
    pub fn bytes(&self) -> &[u8] {
        self.as_str().as_bytes()
    }

    /// The whole element, as text.
    pub fn as_str(&self) -> &str {
        self.0.markup()
    }

    /// What is between the root's start tag and its end tag; empty if it is an empty-element tag.
    #[inline]
    pub fn inner(&self) -> &[u8] {
        let root = self.0.entry(0);
        &self.0.text().as_bytes()[root.open_end() as usize..root.close_start() as usize]
    }

    /// How many bytes [`bytes`](Self::bytes) has.
    #[inline]
    pub fn bytes_len(&self) -> usize {
        self.0.entry(0).end() as usize
    }

    /// Makes the frame of the element that `machine` has accepted: all of `bytes`.
    #[inline]
    pub(crate) fn finish(
        machine: &Machine,
        scratch: &mut Vec<u8>,
        bytes: &[u8],
        cx: &Context<'_>,
    ) -> Result<Self, MalformedKind> {
        let packed = Packed::new(machine, scratch, bytes)?;
        if machine.is_unportable {
            let portable = normalise::portable(&packed, cx.scope, cx.limits.frame_bytes())?;
            return Self::index(&portable);
        }
        Ok(Self(packed))
    }

    /// Indexes an element that is well-formed and as portable as it gets.
    fn index(bytes: &[u8]) -> Result<Self, MalformedKind> {
        let mut work = pool::take();
        let cx = single(&Limits::OWN);
        let outcome = work.machine.run(bytes, &cx).map_err(|fault| fault.kind)?;
        debug_assert_eq!(outcome, Outcome::Frame);
        let packed = Packed::new(&work.machine, &mut work.block, bytes)?;
        pool::give(work);
        Ok(Self(packed))
    }

    fn parse_single(work: &mut Work, bytes: &[u8], limits: &Limits) -> Result<Self, Malformed> {
        let machine = &mut work.machine;
        let cx = single(limits);
        let visible = &bytes[..bytes.len().min(limits.frame_bytes())];
        let at = |kind, at: usize| Malformed { kind, offset: at as u64 };
        match machine.run(visible, &cx).map_err(|fault| fault.after(0))? {
            Outcome::Frame => {}
            _ if visible.len() == limits.frame_bytes() => {
                return Err(at(MalformedKind::FrameTooBig, visible.len()));
            }
            _ => return Err(at(MalformedKind::Unfinished, visible.len())),
        }
        let end = machine.at;
        if let Some(junk) = bytes[end..].iter().position(|&byte| !is_space(byte)) {
            let kind = refuse_first(Some(bytes[end + junk])).unwrap_or(MalformedKind::AfterEnd);
            return Err(at(kind, end + junk));
        }
        Self::finish(machine, &mut work.block, &bytes[..end], &cx).map_err(|kind| at(kind, end))
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Frame").field(&self.as_str()).finish()
    }
}

/// Frames are equal if they are equal byte by byte.
impl PartialEq for Frame {
    fn eq(&self, other: &Self) -> bool {
        self.bytes() == other.bytes()
    }
}

impl Eq for Frame {}

/// What is wrong with a byte, not white space, where an element should begin.
pub(crate) fn refuse_first(byte: Option<u8>) -> Option<MalformedKind> {
    match byte {
        Some(b'<') => None,
        None => Some(MalformedKind::Unfinished),
        Some(0x00..=0x1f) => Some(MalformedKind::ForbiddenCharacter),
        // No character of UTF-8 begins with these.
        Some(0x80..=0xc1 | 0xf5..) => Some(MalformedKind::Utf8),
        Some(_) => Some(MalformedKind::TextAtTopLevel),
    }
}

fn single(limits: &Limits) -> Context<'_> {
    Context {
        mode: Mode::Single,
        limits,
        scope: &Scope::Single,
        content: Content::Client,
        at_start: false,
    }
}
