//! Attributes of an element, read from its start tag.

use std::borrow::Cow;

use crate::class::{ends_name, find, is_space, name_run};
use crate::element::{ElementRef, split_name};
use crate::unescape;

/// An attribute other than a namespace declaration.
#[derive(Clone, Copy, Debug)]
pub struct Attribute<'a> {
    element: ElementRef<'a>,
    raw: RawAttr<'a>,
}

impl<'a> Attribute<'a> {
    /// The name as written: enough to tell attributes without a prefix, and those of `xml`.
    #[inline]
    pub fn qname(self) -> &'a str {
        self.raw.qname
    }

    /// The local name.
    pub fn name(self) -> &'a str {
        split_name(self.raw.qname).1
    }

    /// The prefix, if there is one.
    pub fn prefix(self) -> Option<&'a str> {
        split_name(self.raw.qname).0
    }

    /// The namespace; empty if the name has no prefix.
    pub fn ns(self) -> Cow<'a, str> {
        let bound = self.prefix().and_then(|prefix| self.element.lookup_prefix(prefix));
        bound.unwrap_or_default()
    }

    /// The value, references replaced, white space normalised (XML 1.0 §3.3.3).
    #[inline]
    pub fn value(self) -> Cow<'a, str> {
        self.raw.value()
    }
}

/// Iterator over the attributes of an element.
#[derive(Clone, Debug)]
pub struct Attributes<'a> {
    element: ElementRef<'a>,
    raw: RawAttrs<'a>,
}

impl<'a> Attributes<'a> {
    #[inline]
    pub(crate) fn new(element: ElementRef<'a>) -> Self {
        Self { element, raw: element.raw_attrs() }
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Attribute<'a>;

    #[inline]
    fn next(&mut self) -> Option<Attribute<'a>> {
        let raw = self.raw.find(|raw| raw.declares().is_none())?;
        Some(Attribute { element: self.element, raw })
    }
}

/// An attribute or declaration as written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RawAttr<'a> {
    pub(crate) qname: &'a str,
    /// What is between the quotes.
    pub(crate) value: &'a str,
    pub(crate) quote: u8,
}

impl<'a> RawAttr<'a> {
    /// The value, references replaced, white space normalised (XML 1.0 §3.3.3).
    #[inline]
    pub(crate) fn value(self) -> Cow<'a, str> {
        unescape::attr_value(self.value)
    }

    /// The prefix that the attribute declares; empty for the default namespace.
    #[inline]
    pub(crate) fn declares(&self) -> Option<&'a str> {
        let rest = self.qname.strip_prefix("xmlns")?;
        if rest.is_empty() { Some(rest) } else { rest.strip_prefix(':') }
    }
}

/// Iterator over a start tag behind its name.
#[derive(Clone, Debug)]
pub(crate) struct RawAttrs<'a> {
    text: &'a str,
    /// Behind the name or the attribute before.
    at: usize,
}

impl<'a> RawAttrs<'a> {
    /// Those behind the name that begins at `start`.
    #[inline]
    pub(crate) fn behind_name(text: &'a str, start: usize) -> Self {
        Self { text, at: name_end(text.as_bytes(), start) }
    }
}

impl<'a> Iterator for RawAttrs<'a> {
    type Item = RawAttr<'a>;

    fn next(&mut self) -> Option<RawAttr<'a>> {
        let bytes = self.text.as_bytes();
        let name = skip_space(bytes, self.at);
        if matches!(bytes.get(name)?, b'/' | b'>') {
            return None;
        }
        let name_end = name_end(bytes, name);
        let equals = skip_space(bytes, name_end);
        let open = skip_space(bytes, equals + 1);
        let quote = *bytes.get(open)?;
        let close = find(quote, bytes, open + 1);
        self.at = close + 1;
        let (qname, value) = (&self.text[name..name_end], &self.text[open + 1..close]);
        Some(RawAttr { qname, value, quote })
    }
}

/// Where the name that begins at `start` ends; it is known to be one.
#[inline]
pub(crate) fn name_end(bytes: &[u8], start: usize) -> usize {
    let mut at = name_run(bytes, start);
    while bytes.get(at).is_some_and(|&byte| !ends_name(byte)) {
        at = name_run(bytes, at + 1);
    }
    at
}

#[inline]
fn skip_space(bytes: &[u8], mut at: usize) -> usize {
    while bytes.get(at).is_some_and(|&byte| is_space(byte)) {
        at += 1;
    }
    at
}
