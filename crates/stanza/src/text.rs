//! The short texts of a head: its id (RFC 6120 §8.1.3) and its language (§8.1.5).

use std::borrow::{Borrow, Cow};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;

use smol_str::SmolStr;
use stentor_xml::is_verbatim;

/// The sender's mark of a stanza: in place up to 38 bytes, which a UUID with its 36 is.
pub type Id = Text<38>;

/// A language tag: in place up to 22 bytes.
pub type Lang = Text<22>;

/// A text that takes no allocation up to `N` bytes, if it is ASCII that is written as it is.
///
/// Cloning others counts a reference.
#[derive(Clone)]
pub struct Text<const N: usize>(Repr<N>);

#[derive(Clone)]
enum Repr<const N: usize> {
    /// ASCII that needs no escape.
    Short {
        len: u8,
        bytes: [u8; N],
    },
    Long(Arc<str>),
}

impl<const N: usize> Text<N> {
    /// Takes this text.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let mut new = Self::EMPTY;
        new.set(text);
        new
    }

    /// Puts this text where there was perhaps another; nothing is moved on the way.
    #[inline]
    pub(crate) fn put(place: &mut Option<Self>, text: &str) {
        place.insert(Self::EMPTY).set(text);
    }

    fn set(&mut self, text: &str) {
        match &mut self.0 {
            Repr::Short { len, bytes } if text.len() <= N && is_verbatim(text) => {
                bytes[..text.len()].copy_from_slice(text.as_bytes());
                *len = u8::try_from(text.len()).unwrap_or(u8::MAX);
            }
            repr => *repr = Repr::Long(text.into()),
        }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match &self.0 {
            // ASCII is UTF-8: the default never comes.
            Repr::Short { .. } => self
                .verbatim()
                .and_then(|bytes| std::str::from_utf8(bytes).ok())
                .unwrap_or_default(),
            Repr::Long(text) => text,
        }
    }

    /// The bytes to write into an attribute, if nothing in them has to be escaped.
    #[inline]
    pub(crate) fn verbatim(&self) -> Option<&[u8]> {
        match &self.0 {
            Repr::Short { len, bytes } => bytes.get(..usize::from(*len)),
            Repr::Long(_) => None,
        }
    }

    const EMPTY: Self = Self(Repr::Short { len: 0, bytes: [0; N] });
}

impl<const N: usize> Deref for Text<N> {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl<const N: usize> Borrow<str> for Text<N> {
    fn borrow(&self) -> &str {
        self
    }
}

impl<const N: usize> PartialEq for Text<N> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<const N: usize> Eq for Text<N> {}

impl<const N: usize> PartialEq<str> for Text<N> {
    fn eq(&self, other: &str) -> bool {
        **self == *other
    }
}

impl<const N: usize> PartialEq<&str> for Text<N> {
    fn eq(&self, other: &&str) -> bool {
        **self == **other
    }
}

/// As that of its text, so that maps are asked with a `&str`.
impl<const N: usize> Hash for Text<N> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl<const N: usize> fmt::Display for Text<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self)
    }
}

impl<const N: usize> fmt::Debug for Text<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl<const N: usize> From<&str> for Text<N> {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl<const N: usize> From<String> for Text<N> {
    fn from(text: String) -> Self {
        Self::new(&text)
    }
}

impl<const N: usize> From<Cow<'_, str>> for Text<N> {
    fn from(text: Cow<'_, str>) -> Self {
        Self::new(&text)
    }
}

impl<const N: usize> From<SmolStr> for Text<N> {
    fn from(text: SmolStr) -> Self {
        Self::new(&text)
    }
}

impl<const N: usize> From<&Text<N>> for SmolStr {
    fn from(text: &Text<N>) -> Self {
        Self::new(text.as_str())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn are_small() {
        assert_eq!((size_of::<Option<Id>>(), size_of::<Option<Lang>>()), (40, 24));
    }

    #[test]
    fn keep_any_text() {
        let [longest, long, very_long] = [38, 39, 300].map(|len| "x".repeat(len));
        for text in ["", "a", "Ромео", "a&b", "it's", "\u{1}", &longest, &long, &very_long] {
            let id = Id::new(text);
            assert_eq!(id.as_str(), text);
            assert_eq!(id, *text);
            assert_eq!(id.clone(), Id::from(text.to_owned()));
            assert!(HashSet::from([id]).contains(text));
        }
    }

    #[test]
    fn keep_a_uuid_in_place() {
        let id = Id::new("0d4a1b9e-3f63-4f4e-9f5c-0c1f8a2d7b11");
        assert!(matches!(id.0, Repr::Short { .. }));
    }

    #[test]
    fn know_what_needs_no_escape() {
        assert_eq!(Id::new("a-b").verbatim(), Some(&b"a-b"[..]));
        for text in ["a'b", "a\"b", "a&b", "a<b", "a>b", "a\tb", "é"] {
            assert_eq!(Id::new(text).verbatim(), None, "{text:?}");
        }
    }

    #[test]
    fn replace_what_was_there() {
        let mut place = None;
        for text in ["a", "it's a long text that is not kept in its place", "b", ""] {
            Id::put(&mut place, text);
            assert_eq!(place.as_deref(), Some(text));
        }
    }
}
