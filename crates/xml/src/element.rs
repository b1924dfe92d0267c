//! A cursor over the index of a frame, with the comfort of a tree.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use crate::attr::{Attribute, Attributes, RawAttr, RawAttrs, name_end};
use crate::class::ends_name;
use crate::index::{CONTENT, NONE, NsId, XML, delimited};
use crate::packed::{Packed, PackedEntry};
use crate::places::Common;
use crate::{ns, unescape};

/// One element of a [`Frame`](crate::Frame). Copying costs nothing.
#[derive(Clone, Copy)]
pub struct ElementRef<'a> {
    frame: &'a Packed,
    index: u32,
}

impl<'a> ElementRef<'a> {
    pub(crate) fn new(frame: &'a Packed, index: u32) -> Self {
        Self { frame, index }
    }

    /// The local name.
    #[inline]
    pub fn name(self) -> &'a str {
        let name = self.qname();
        if self.entry().is_prefixed() { split_name(name).1 } else { name }
    }

    /// The namespace; empty if it has none, [`ns::CLIENT`] if it is the stream's content namespace.
    pub fn ns(self) -> &'a str {
        self.frame.ns(self.entry().ns_id())
    }

    /// Whether the element has this namespace and local name.
    pub fn is(self, ns: &str, name: &str) -> bool {
        let entry = self.entry();
        let has_name = if entry.is_prefixed() {
            self.name() == name
        } else {
            let tag = &self.frame.text().as_bytes()[entry.start() as usize + 1..];
            tag.strip_prefix(name.as_bytes()).is_some_and(|rest| ends_name(rest[0]))
        };
        has_name && self.has_ns(ns)
    }

    /// The value of the attribute `name` without a namespace, references replaced.
    pub fn attr(self, name: &str) -> Option<Cow<'a, str>> {
        self.raw_attrs().find(|attr| attr.qname == name).map(RawAttr::value)
    }

    /// The value of the attribute `name` of the namespace `ns`.
    pub fn attr_ns(self, ns: &str, name: &str) -> Option<Cow<'a, str>> {
        if ns.is_empty() {
            return self.attr(name);
        }
        self.attrs().find(|attr| attr.name() == name && attr.ns() == ns).map(Attribute::value)
    }

    /// The value of an attribute that stanzas have, as [`attr`](Self::attr) would give it; at the
    /// root of a frame mostly without a search.
    #[inline]
    pub fn common(self, attr: Common) -> Option<Cow<'a, str>> {
        let known = if self.index == 0 { self.frame.common(attr) } else { None };
        match known {
            // Where the scanner notes places, values stand for themselves.
            Some(place) => Some(Cow::Borrowed(&self.frame.text()[place?])),
            None => self.attr(attr.name()),
        }
    }

    /// The value of `xml:lang` on this very element.
    pub fn lang(self) -> Option<Cow<'a, str>> {
        self.common(Common::Lang)
    }

    /// The attributes in document order, namespace declarations excepted.
    #[inline]
    pub fn attrs(self) -> Attributes<'a> {
        Attributes::new(self)
    }

    /// The child elements in document order.
    pub fn children(self) -> Children<'a> {
        Children { frame: self.frame, next: self.index + 1, end: self.entry().after() }
    }

    /// The first child with this namespace and local name.
    pub fn child(self, ns: &str, name: &str) -> Option<Self> {
        self.children().find(|child| child.is(ns, name))
    }

    /// The first child element.
    pub fn first_child(self) -> Option<Self> {
        self.children().next()
    }

    /// The text directly inside: CDATA joined, references replaced, line ends as LF.
    pub fn text(self) -> Cow<'a, str> {
        if self.entry().after() == self.index + 1 {
            return unescape::text(self.inner_str());
        }
        let mut runs = self.nodes().filter_map(|node| match node {
            Node::Text(text) => Some(text),
            Node::Element(_) => None,
        });
        let mut text = runs.next().unwrap_or_default();
        for run in runs {
            text.to_mut().push_str(&run);
        }
        text
    }

    /// Whether there is text directly inside, be it white space.
    pub fn has_text(self) -> bool {
        self.nodes().any(|node| matches!(node, Node::Text(text) if !text.is_empty()))
    }

    /// Child elements and the text between them, in document order.
    pub fn nodes(self) -> Nodes<'a> {
        let entry = self.entry();
        Nodes {
            children: self.children(),
            at: entry.open_end(),
            end: entry.close_start(),
            held: None,
        }
    }

    /// The element as written, with its tags.
    ///
    /// It stands for itself if the element is the root, or a child of a root in the content
    /// namespace, on a stream whose default namespace is that one; [`crate::Writer::element`]
    /// makes it so anywhere.
    pub fn raw(self) -> &'a [u8] {
        &self.frame.text().as_bytes()[self.range()]
    }

    /// Where the element is in [`Frame::bytes`](crate::Frame::bytes).
    pub fn range(self) -> Range<usize> {
        let entry = self.entry();
        entry.start() as usize..entry.end() as usize
    }

    /// Where the content of the element, without its tags, is in the bytes of the frame.
    pub fn inner_range(self) -> Range<usize> {
        let entry = self.entry();
        entry.open_end() as usize..entry.close_start() as usize
    }

    #[inline]
    pub(crate) fn entry(self) -> PackedEntry<'a> {
        self.frame.entry(self.index)
    }

    pub(crate) fn index(self) -> u32 {
        self.index
    }

    pub(crate) fn frame(self) -> &'a Packed {
        self.frame
    }

    /// The name as written.
    #[inline]
    pub(crate) fn qname(self) -> &'a str {
        let text = self.frame.text();
        let start = self.entry().start() as usize + 1;
        &text[start..name_end(text.as_bytes(), start)]
    }

    /// All attributes as written, namespace declarations included.
    #[inline]
    pub(crate) fn raw_attrs(self) -> RawAttrs<'a> {
        RawAttrs::behind_name(self.frame.text(), self.entry().start() as usize + 1)
    }

    pub(crate) fn inner_str(self) -> &'a str {
        &self.frame.text()[self.inner_range()]
    }

    /// The elements from the root down to this one.
    pub(crate) fn path(self) -> impl Iterator<Item = Self> {
        let mut next = Some(Self::new(self.frame, 0));
        std::iter::from_fn(move || {
            let current = next?;
            next = current
                .children()
                .find(|child| child.index <= self.index && self.index < child.entry().after());
            Some(current)
        })
    }

    /// Whether the namespace is this one.
    #[inline]
    pub fn has_ns(self, ns: &str) -> bool {
        match self.entry().ns_id() {
            NONE => ns.is_empty(),
            CONTENT => ns == ns::CLIENT,
            XML => ns == ns::XML,
            at => {
                let (text, at) = (self.frame.text().as_bytes(), at as usize);
                let found = text[at + 1..].strip_prefix(ns.as_bytes());
                found.is_some_and(|rest| rest[0] == text[at])
            }
        }
    }

    /// What `prefix` is bound to here.
    pub(crate) fn lookup_prefix(self, prefix: &str) -> Option<Cow<'a, str>> {
        if prefix == "xml" {
            return Some(Cow::Borrowed(ns::XML));
        }
        let declares = |attr: &RawAttr<'_>| attr.declares() == Some(prefix);
        self.path()
            .filter_map(|element| element.raw_attrs().find(declares))
            .last()
            .map(RawAttr::value)
    }
}

impl fmt::Debug for ElementRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.frame.text()[self.range()])
    }
}

impl Packed {
    pub(crate) fn ns(&self, id: NsId) -> &str {
        match id {
            NONE => "",
            CONTENT => ns::CLIENT,
            XML => ns::XML,
            at => {
                let at = at as usize;
                let len = delimited(self.text().as_bytes(), at).len();
                &self.text()[at + 1..at + 1 + len]
            }
        }
    }
}

/// Iterator over the child elements of an element.
#[derive(Clone)]
pub struct Children<'a> {
    frame: &'a Packed,
    next: u32,
    end: u32,
}

impl<'a> Iterator for Children<'a> {
    type Item = ElementRef<'a>;

    fn next(&mut self) -> Option<ElementRef<'a>> {
        if self.next >= self.end {
            return None;
        }
        let child = ElementRef::new(self.frame, self.next);
        self.next = child.entry().after();
        Some(child)
    }
}

/// What an element contains.
#[derive(Clone, Debug)]
pub enum Node<'a> {
    /// A child element.
    Element(ElementRef<'a>),
    /// All text up to the next tag.
    Text(Cow<'a, str>),
}

/// Iterator over the content of an element.
#[derive(Clone)]
pub struct Nodes<'a> {
    children: Children<'a>,
    at: u32,
    end: u32,
    /// The element before which text was found.
    held: Option<ElementRef<'a>>,
}

impl<'a> Iterator for Nodes<'a> {
    type Item = Node<'a>;

    fn next(&mut self) -> Option<Node<'a>> {
        let child = self.held.take().or_else(|| self.children.next());
        let until = child.map_or(self.end, |child| child.entry().start());
        if self.at < until {
            let run = &self.children.frame.text()[self.at as usize..until as usize];
            self.at = until;
            self.held = child;
            return Some(Node::Text(unescape::text(run)));
        }
        let child = child?;
        self.at = child.entry().end();
        Some(Node::Element(child))
    }
}

/// Prefix and local name.
pub(crate) fn split_name(qname: &str) -> (Option<&str>, &str) {
    match qname.split_once(':') {
        Some((prefix, local)) => (Some(prefix), local),
        None => (None, qname),
    }
}
