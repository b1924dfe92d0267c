//! One complete element: its bytes and their index, shared.

use std::fmt;
use std::sync::Arc;

use crate::class::is_space;
use crate::element::ElementRef;
use crate::error::{Malformed, MalformedKind};
use crate::index::{Entry, RootAttrs, narrow};
use crate::limits::Limits;
use crate::machine::{Context, Machine, Mode, Outcome};
use crate::normalise;
use crate::pool;
use crate::scope::{Content, Scope};
use crate::write::Writer;

/// One complete first-level element: checked, portable, immutable, shared.
///
/// Cloning counts a reference. *Portable* means that the bytes mean the same on any stream whose
/// default namespace is a content namespace, and so do the children of a stanza without its start
/// tag: prefixes are declared where they are used, and the content namespace is neither declared
/// nor prefixed below the root.
#[derive(Clone)]
pub struct Frame(Arc<Inner>);

/// Bytes and index of a frame.
pub(crate) struct Inner {
    /// The element, then namespace names that do not stand in it verbatim.
    text: Box<str>,
    /// Length of the element.
    len: u32,
    pub(crate) entries: Box<[Entry]>,
    pub(crate) root_attrs: RootAttrs,
}

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
        let frame = Self::parse_single(&mut work.machine, element, limits);
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
    pub fn inner(&self) -> &[u8] {
        let root = &self.0.entries[0];
        &self.bytes()[root.open_end as usize..root.close_start as usize]
    }

    /// Makes the frame of the element that `machine` has accepted: all of `bytes`.
    #[inline]
    pub(crate) fn finish(
        machine: &Machine,
        bytes: &[u8],
        cx: &Context<'_>,
    ) -> Result<Self, MalformedKind> {
        let inner = Inner::new(machine, bytes)?;
        if machine.is_unportable {
            let portable = normalise::portable(&inner, cx.scope, cx.limits.frame_bytes())?;
            return Self::index(&portable);
        }
        Ok(Self(inner))
    }

    /// Indexes an element that is well-formed and as portable as it gets.
    fn index(bytes: &[u8]) -> Result<Self, MalformedKind> {
        let mut work = pool::take();
        let cx = single(&Limits::OWN);
        let outcome = work.machine.run(bytes, &cx).map_err(|fault| fault.kind)?;
        debug_assert_eq!(outcome, Outcome::Frame);
        let inner = Inner::new(&work.machine, bytes)?;
        pool::give(work);
        Ok(Self(inner))
    }

    fn parse_single(
        machine: &mut Machine,
        bytes: &[u8],
        limits: &Limits,
    ) -> Result<Self, Malformed> {
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
        Self::finish(machine, &bytes[..end], &cx).map_err(|kind| at(kind, end))
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

impl Inner {
    #[inline]
    fn new(machine: &Machine, bytes: &[u8]) -> Result<Arc<Self>, MalformedKind> {
        // The machine has judged every character; this is how the compiler gets to know.
        let element = simdutf8::basic::from_utf8(bytes).map_err(|_| MalformedKind::Utf8)?;
        let len = narrow(element.len());
        let root_attrs = machine.root_attrs;
        if machine.appendix.is_empty() {
            let entries = machine.entries.as_slice().into();
            return Ok(Arc::new(Self { text: element.into(), len, entries, root_attrs }));
        }
        let mut entries: Box<[Entry]> = machine.entries.as_slice().into();
        for entry in &mut entries {
            entry.settle(len);
        }
        let text = [element, &machine.appendix].concat().into_boxed_str();
        Ok(Arc::new(Self { text, len, entries, root_attrs }))
    }

    /// The element and, behind it, the appendix.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The element alone.
    pub(crate) fn markup(&self) -> &str {
        &self.text[..self.len as usize]
    }
}

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
