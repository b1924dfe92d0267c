//! Makes an element mean the same anywhere: portable frames, self-contained copies.
//!
//! Text and attributes are copied as written, and so are declarations below the root, used or not:
//! a prefix may occur in a value that only the application understands. Elements are declared anew
//! where the default namespace changes, and a prefix is declared where the output does not yet
//! bind it as the input does.

use std::borrow::Cow;

use crate::element::{ElementRef, split_name};
use crate::error::MalformedKind;
use crate::index::{CONTENT, XML};
use crate::ns;
use crate::packed::Packed;
use crate::scope::Scope;
use crate::write::escape_attr;

/// A default namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DefaultNs<'a> {
    /// The content namespace, whatever its name on the stream.
    Content,
    Named(Cow<'a, str>),
}

/// Rewrites a frame that leans on the stream header or on its own root's start tag.
///
/// Declaring a long namespace at every use can make much of little: the result has at most
/// `bytes_max` bytes.
pub(crate) fn portable(
    frame: &Packed,
    scope: &Scope,
    bytes_max: usize,
) -> Result<Vec<u8>, MalformedKind> {
    let mut out = Vec::with_capacity(frame.markup().len() + 64);
    let source = scope.bindings().map(|(prefix, uri)| (prefix, Cow::Borrowed(uri))).collect();
    let mut copy = Copy { frame, out: &mut out, bytes_max, source, written: vec![], open: vec![] };
    copy.run(0, DefaultNs::Content, true)?;
    Ok(out)
}

/// Appends an element to `out`, where `default` is the default namespace.
pub(crate) fn copy_element(element: ElementRef<'_>, default: DefaultNs<'_>, out: &mut Vec<u8>) {
    let frame = element.frame();
    let root = ElementRef::new(frame, 0);
    let is_child = root.children().any(|child| child.index() == element.index());
    if default == DefaultNs::Content
        && (element.index() == 0 || (is_child && root.entry().ns_id() == CONTENT))
    {
        out.extend_from_slice(element.raw());
        return;
    }
    let mut source = Vec::new();
    for outer in element.path().take_while(|outer| outer.index() != element.index()) {
        source.extend(declarations(outer));
    }
    let mut copy =
        Copy { frame, out, bytes_max: usize::MAX, source, written: vec![], open: vec![] };
    // Without a bound there is nothing to fail.
    let copied = copy.run(element.index(), default, false);
    debug_assert!(copied.is_ok());
}

type Bindings<'a> = Vec<(&'a str, Cow<'a, str>)>;

struct Copy<'a, 'o> {
    frame: &'a Packed,
    out: &'o mut Vec<u8>,
    bytes_max: usize,
    /// Prefixes in scope in the input, innermost last.
    source: Bindings<'a>,
    /// Prefixes in scope in the output, innermost last.
    written: Bindings<'a>,
    open: Vec<OpenCopy<'a>>,
}

/// An element whose content is being copied.
struct OpenCopy<'a> {
    element: ElementRef<'a>,
    /// Its name as written to the output.
    name: &'a str,
    default: DefaultNs<'a>,
    /// Index of the next child, if there is one.
    next: u32,
    /// How much of the input is copied.
    copied: usize,
    source: usize,
    written: usize,
}

impl<'a> Copy<'a, '_> {
    /// Copies the element and all in it; no recursion, since the peer chooses the depth.
    fn run(
        &mut self,
        top: u32,
        default: DefaultNs<'a>,
        is_frame_root: bool,
    ) -> Result<(), MalformedKind> {
        self.start(top, default, is_frame_root)?;
        let text = self.frame.text();
        while let Some(open) = self.open.last_mut() {
            let entry = open.element.entry();
            if open.next < entry.after() {
                let child = ElementRef::new(self.frame, open.next).entry();
                self.out.extend_from_slice(&text.as_bytes()[open.copied..child.start() as usize]);
                let index = open.next;
                open.next = child.after();
                open.copied = child.end() as usize;
                let default = open.default.clone();
                self.start(index, default, false)?;
            } else {
                let rest = &text.as_bytes()[open.copied..entry.close_start() as usize];
                self.out.extend_from_slice(rest);
                self.out.extend_from_slice(b"</");
                self.out.extend_from_slice(open.name.as_bytes());
                self.out.push(b'>');
                self.source.truncate(open.source);
                self.written.truncate(open.written);
                self.open.pop();
            }
            if self.out.len() > self.bytes_max {
                return Err(MalformedKind::FrameTooBig);
            }
        }
        Ok(())
    }

    /// Writes the start tag of an element.
    fn start(
        &mut self,
        index: u32,
        mut default: DefaultNs<'a>,
        is_frame_root: bool,
    ) -> Result<(), MalformedKind> {
        let element = ElementRef::new(self.frame, index);
        let entry = element.entry();
        let (source, written) = (self.source.len(), self.written.len());
        self.source.extend(declarations(element));
        let id = entry.ns_id();
        let is_content = id == CONTENT;
        let (prefix, local) = split_name(element.qname());
        let prefix = prefix.filter(|_| !is_content);
        let name = if prefix.is_some() { element.qname() } else { local };
        self.out.push(b'<');
        self.out.extend_from_slice(name.as_bytes());
        if prefix.is_none() {
            let ns = if is_content {
                DefaultNs::Content
            } else {
                DefaultNs::Named(Cow::Borrowed(self.frame.ns(id)))
            };
            if ns != default {
                let uri = if is_content { ns::CLIENT } else { self.frame.ns(id) };
                write_declaration(self.out, "xmlns", "", uri);
                default = ns;
            }
        }
        // The start tag of a stanza does not travel with its children.
        let is_stanza = is_frame_root && is_content;
        self.copy_attrs(element, is_stanza);
        self.declare_used(prefix.filter(|_| id != XML));
        for attr in element.attrs() {
            self.declare_used(attr.prefix().filter(|prefix| *prefix != "xml"));
        }
        if is_stanza {
            self.written.truncate(written);
        }
        if self.out.len() > self.bytes_max {
            return Err(MalformedKind::FrameTooBig);
        }
        if entry.close_start() == entry.end() {
            self.out.extend_from_slice(b"/>");
            self.source.truncate(source);
            self.written.truncate(written);
            return Ok(());
        }
        self.out.push(b'>');
        let copied = entry.open_end() as usize;
        self.open.push(OpenCopy {
            element,
            name,
            default,
            next: index + 1,
            copied,
            source,
            written,
        });
        Ok(())
    }

    /// Declares a prefix of the current start tag unless the output binds it as the input does.
    fn declare_used(&mut self, prefix: Option<&'a str>) {
        let Some(prefix) = prefix else { return };
        let Some(uri) = lookup(&self.source, prefix).cloned() else { return };
        if lookup(&self.written, prefix) != Some(&uri) {
            write_declaration(self.out, "xmlns:", prefix, &uri);
            self.written.push((prefix, uri));
        }
    }

    /// Copies attributes and, except of a stanza, declarations of prefixes.
    fn copy_attrs(&mut self, element: ElementRef<'a>, is_stanza: bool) {
        for attr in element.raw_attrs() {
            match attr.declares() {
                Some("") => continue,
                Some(_) if is_stanza => continue,
                Some(prefix) => self.written.push((prefix, attr.value())),
                None => {}
            }
            self.out.push(b' ');
            self.out.extend_from_slice(attr.qname.as_bytes());
            self.out.extend_from_slice(&[b'=', attr.quote]);
            self.out.extend_from_slice(attr.value.as_bytes());
            self.out.push(attr.quote);
        }
    }
}

fn declarations<'a>(element: ElementRef<'a>) -> impl Iterator<Item = (&'a str, Cow<'a, str>)> {
    element.raw_attrs().filter_map(|attr| {
        let prefix = attr.declares().filter(|prefix| !prefix.is_empty())?;
        Some((prefix, attr.value()))
    })
}

fn lookup<'b, 'a>(bindings: &'b Bindings<'a>, prefix: &str) -> Option<&'b Cow<'a, str>> {
    bindings.iter().rev().find(|(known, _)| *known == prefix).map(|(_, uri)| uri)
}

fn write_declaration(out: &mut Vec<u8>, xmlns: &str, prefix: &str, uri: &str) {
    out.push(b' ');
    out.extend_from_slice(xmlns.as_bytes());
    out.extend_from_slice(prefix.as_bytes());
    out.extend_from_slice(b"='");
    escape_attr(out, uri);
    out.push(b'\'');
}
