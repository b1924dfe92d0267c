//! Attributes of an element, read from its start tag or from the places that the scanner noted.

use std::borrow::Cow;
use std::slice;

use crate::class::{ends_name, find, is_space, name_run};
use crate::element::{ElementRef, split_name};
use crate::packed::{PackedPlace, unpack_place};
use crate::unescape;

/// An attribute other than a namespace declaration.
#[derive(Clone, Copy, Debug)]
pub struct Attribute<'a> {
    element: ElementRef<'a>,
    raw: RawAttr<'a>,
}

/// The attributes that all stanzas have in common (RFC 6120 §8.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Common {
    /// `id`.
    Id,
    /// `to`.
    To,
    /// `from`.
    From,
    /// `type`.
    Type,
    /// `xml:lang`.
    Lang,
}

impl<'a> Attribute<'a> {
    /// Which of the attributes of stanzas it is; costs less than a comparison of names.
    #[inline]
    pub fn common(self) -> Option<Common> {
        self.raw.common()
    }

    /// The name as written: enough to tell attributes without a prefix, and those of `xml`.
    #[inline]
    pub fn qname(self) -> &'a str {
        self.raw.qname()
    }

    /// The local name.
    pub fn name(self) -> &'a str {
        split_name(self.raw.qname()).1
    }

    /// The prefix, if there is one.
    pub fn prefix(self) -> Option<&'a str> {
        split_name(self.raw.qname()).0
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

/// Where an attribute or declaration is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) told: Told,
    pub(crate) name: usize,
    pub(crate) name_end: usize,
    pub(crate) value: usize,
    pub(crate) value_end: usize,
}

/// What is known of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Xmlns,
    Id,
    To,
    From,
    Type,
    Lang,
    /// It declares nothing.
    Other,
    /// Nothing.
    Unknown,
}

impl Told {
    /// What `number` stands for where the scanner counts names; beyond the first all are others.
    #[inline]
    pub(crate) fn from_number(number: usize) -> Self {
        const FIRST: [Told; 6] =
            [Told::Xmlns, Told::Id, Told::To, Told::From, Told::Type, Told::Lang];
        FIRST.get(number).copied().unwrap_or(Told::Other)
    }
}

/// An attribute or declaration as written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RawAttr<'a> {
    text: &'a str,
    place: Place,
}

impl<'a> RawAttr<'a> {
    #[inline]
    pub(crate) fn qname(self) -> &'a str {
        &self.text[self.place.name..self.place.name_end]
    }

    /// What is between the quotes.
    #[inline]
    pub(crate) fn raw_value(self) -> &'a str {
        &self.text[self.place.value..self.place.value_end]
    }

    #[inline]
    pub(crate) fn quote(self) -> u8 {
        self.text.as_bytes()[self.place.value_end]
    }

    /// The value, references replaced, white space normalised (XML 1.0 §3.3.3).
    #[inline]
    pub(crate) fn value(self) -> Cow<'a, str> {
        match self.place.told {
            Told::Unknown => unescape::attr_value(self.raw_value()),
            // The scanner tells names of plain tags alone, where values stand for themselves.
            _ => Cow::Borrowed(self.raw_value()),
        }
    }

    #[inline]
    pub(crate) fn common(self) -> Option<Common> {
        match self.place.told {
            Told::Id => Some(Common::Id),
            Told::To => Some(Common::To),
            Told::From => Some(Common::From),
            Told::Type => Some(Common::Type),
            Told::Lang => Some(Common::Lang),
            Told::Xmlns | Told::Other => None,
            Told::Unknown => match self.qname() {
                "id" => Some(Common::Id),
                "to" => Some(Common::To),
                "from" => Some(Common::From),
                "type" => Some(Common::Type),
                "xml:lang" => Some(Common::Lang),
                _ => None,
            },
        }
    }

    /// The prefix that the attribute declares; empty for the default namespace.
    #[inline]
    pub(crate) fn declares(self) -> Option<&'a str> {
        match self.place.told {
            Told::Xmlns => Some(""),
            Told::Unknown => {
                let rest = self.qname().strip_prefix("xmlns")?;
                if rest.is_empty() { Some(rest) } else { rest.strip_prefix(':') }
            }
            _ => None,
        }
    }
}

/// Iterator over a start tag behind its name.
#[derive(Clone, Debug)]
pub(crate) struct RawAttrs<'a> {
    text: &'a str,
    /// All of them, if they need no search.
    known: slice::Iter<'a, PackedPlace>,
    /// Behind the name or the attribute before, or at the end of the text.
    at: usize,
}

impl<'a> RawAttrs<'a> {
    /// Those behind the name that begins at `start`.
    #[inline]
    pub(crate) fn behind_name(text: &'a str, start: usize) -> Self {
        Self { text, known: [].iter(), at: name_end(text.as_bytes(), start) }
    }

    /// Those at these places.
    #[inline]
    pub(crate) fn at_places(text: &'a str, places: &'a [PackedPlace]) -> Self {
        Self { text, known: places.iter(), at: text.len() }
    }

    /// Searches the next one.
    fn search(&mut self) -> Option<RawAttr<'a>> {
        let bytes = self.text.as_bytes();
        let name = skip_space(bytes, self.at);
        if matches!(bytes.get(name)?, b'/' | b'>') {
            return None;
        }
        let name_end = name_end(bytes, name);
        let equals = skip_space(bytes, name_end);
        let open = skip_space(bytes, equals + 1);
        let value = open + 1;
        let value_end = find(*bytes.get(open)?, bytes, value);
        self.at = value_end + 1;
        let place = Place { told: Told::Unknown, name, name_end, value, value_end };
        Some(RawAttr { text: self.text, place })
    }
}

impl<'a> Iterator for RawAttrs<'a> {
    type Item = RawAttr<'a>;

    #[inline]
    fn next(&mut self) -> Option<RawAttr<'a>> {
        match self.known.next() {
            Some(place) => Some(RawAttr { text: self.text, place: unpack_place(*place) }),
            None => self.search(),
        }
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
