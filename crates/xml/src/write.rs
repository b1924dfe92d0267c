//! The escaping writer for what we make ourselves.

use std::ops::Range;

use crate::class::{is_char, is_ncname, unescaped_run};
use crate::element::ElementRef;
use crate::normalise::{self, DefaultNs};
use crate::{ns, unescape};

/// Writes elements to a byte vector, escaped, with namespaces declared where they change.
///
/// Elements never have prefixes. Around the outermost element the content namespace is the default
/// one, so [`ns::CLIENT`] is not declared there. Characters that XML forbids become U+FFFD, so
/// nothing that a person typed makes the output ill-formed.
#[derive(Debug, Default)]
pub struct Writer {
    out: Vec<u8>,
    open: Vec<Open>,
    /// The last start tag lacks its `>`.
    in_tag: bool,
}

#[derive(Debug)]
struct Open {
    name: Range<usize>,
    ns: OpenNs,
}

#[derive(Clone, Debug)]
enum OpenNs {
    Content,
    /// Where the name stands in the output.
    Declared(Range<usize>),
}

impl Writer {
    /// A writer with nothing written.
    pub fn new() -> Self {
        Self::default()
    }

    /// A writer that appends to `out`.
    pub fn over(out: Vec<u8>) -> Self {
        Self { out, ..Self::default() }
    }

    /// What was written; closes what is still open.
    pub fn into_bytes(mut self) -> Vec<u8> {
        while !self.open.is_empty() {
            self.close();
        }
        self.out
    }

    /// Opens an element, a child of the one open; declares `ns` if that one has another.
    pub fn open(&mut self, name: &str, ns: &str) -> &mut Self {
        debug_assert!(is_ncname(name), "not a name: {name:?}");
        self.end_tag();
        self.out.push(b'<');
        let begin = self.out.len();
        self.out.extend_from_slice(name.as_bytes());
        let name = begin..self.out.len();
        self.in_tag = true;
        let ns = if self.is_current(ns) {
            self.open.last().map_or(OpenNs::Content, |open| open.ns.clone())
        } else {
            self.out.extend_from_slice(b" xmlns='");
            let begin = self.out.len();
            escape_attr(&mut self.out, ns);
            let declared = begin..self.out.len();
            self.out.push(b'\'');
            if ns == ns::CLIENT { OpenNs::Content } else { OpenNs::Declared(declared) }
        };
        self.open.push(Open { name, ns });
        self
    }

    /// Writes an attribute of the element opened last; `name` may have the prefix `xml`.
    pub fn attr(&mut self, name: &str, value: &str) -> &mut Self {
        debug_assert!(self.in_tag, "attribute {name:?} outside of a start tag");
        debug_assert!(is_ncname(name.strip_prefix("xml:").unwrap_or(name)), "no name: {name:?}");
        self.out.push(b' ');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"='");
        escape_attr(&mut self.out, value);
        self.out.push(b'\'');
        self
    }

    /// Writes an attribute if there is a value.
    pub fn attr_opt(&mut self, name: &str, value: Option<&str>) -> &mut Self {
        if let Some(value) = value {
            self.attr(name, value);
        }
        self
    }

    /// Writes `xml:lang`.
    pub fn lang(&mut self, lang: &str) -> &mut Self {
        self.attr("xml:lang", lang)
    }

    /// Writes text.
    pub fn text(&mut self, text: &str) -> &mut Self {
        if !text.is_empty() {
            self.end_tag();
            escape_text(&mut self.out, text);
        }
        self
    }

    /// Closes the element opened last.
    pub fn close(&mut self) -> &mut Self {
        debug_assert!(!self.open.is_empty(), "nothing is open");
        if let Some(open) = self.open.pop() {
            if self.in_tag {
                self.out.extend_from_slice(b"/>");
                self.in_tag = false;
            } else {
                self.out.extend_from_slice(b"</");
                self.out.extend_from_within(open.name);
                self.out.push(b'>');
            }
        }
        self
    }

    /// Writes an element without attributes and content.
    pub fn leaf(&mut self, name: &str, ns: &str) -> &mut Self {
        self.open(name, ns).close()
    }

    /// Writes an element that contains only text.
    pub fn text_element(&mut self, name: &str, ns: &str, text: &str) -> &mut Self {
        self.open(name, ns).text(text).close()
    }

    /// Writes bytes that are XML already and mean the same here as where they come from.
    pub fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        if !bytes.is_empty() {
            self.end_tag();
            self.out.extend_from_slice(bytes);
        }
        self
    }

    /// Copies an element with all that it needs from around it.
    pub fn element(&mut self, element: ElementRef<'_>) -> &mut Self {
        self.end_tag();
        let default = match self.open.last().map(|open| open.ns.clone()) {
            None | Some(OpenNs::Content) => DefaultNs::Content,
            Some(OpenNs::Declared(range)) => {
                let escaped = String::from_utf8_lossy(&self.out[range]).into_owned();
                DefaultNs::Named(unescape::attr_value(&escaped).into_owned().into())
            }
        };
        normalise::copy_element(element, default, &mut self.out);
        self
    }

    /// Bytes written so far.
    pub fn bytes_len(&self) -> usize {
        self.out.len()
    }

    fn end_tag(&mut self) {
        if self.in_tag {
            self.out.push(b'>');
            self.in_tag = false;
        }
    }

    /// Whether an unprefixed name is in `ns` here.
    fn is_current(&self, ns: &str) -> bool {
        match self.open.last().map(|open| &open.ns) {
            None | Some(OpenNs::Content) => ns == ns::CLIENT,
            // The output holds the name escaped, so one that may be an escape is declared again.
            Some(OpenNs::Declared(range)) => {
                &self.out[range.clone()] == ns.as_bytes() && !ns.contains('&')
            }
        }
    }
}

/// Appends `text` so that it is read back the same as character data.
pub fn escape_text(out: &mut Vec<u8>, text: &str) {
    escape(out, text, |byte| match byte {
        b'&' => Some(b"&amp;"),
        b'<' => Some(b"&lt;"),
        // Only `]]>` needs it; a consumer that joins texts is safe this way.
        b'>' => Some(b"&gt;"),
        // XML 1.0 §2.11 turns a raw one into LF.
        b'\r' => Some(b"&#13;"),
        _ => None,
    });
}

/// Appends `value` so that it is read back the same as an attribute value in either quotes.
pub fn escape_attr(out: &mut Vec<u8>, value: &str) {
    escape(out, value, |byte| match byte {
        b'&' => Some(b"&amp;"),
        b'<' => Some(b"&lt;"),
        b'>' => Some(b"&gt;"),
        b'\'' => Some(b"&apos;"),
        b'"' => Some(b"&quot;"),
        // XML 1.0 §3.3.3 turns raw ones into spaces.
        b'\t' => Some(b"&#9;"),
        b'\n' => Some(b"&#10;"),
        b'\r' => Some(b"&#13;"),
        _ => None,
    });
}

/// Whether `text` is ASCII that [`escape_attr`] and [`escape_text`] copy as it is.
#[inline]
#[must_use]
pub fn is_verbatim(text: &str) -> bool {
    unescaped_run(text.as_bytes()) == text.len()
}

/// Most texts stand for themselves, which takes one look and one copy.
#[inline]
fn escape(out: &mut Vec<u8>, text: &str, escaped: impl Fn(u8) -> Option<&'static [u8]>) {
    let clean = unescaped_run(text.as_bytes());
    if clean == text.len() {
        out.extend_from_slice(text.as_bytes());
    } else {
        escape_from(clean, out, text, escaped);
    }
}

/// Escapes `text`, which is known to stand for itself up to `clean`.
fn escape_from(
    clean: usize,
    out: &mut Vec<u8>,
    text: &str,
    escaped: impl Fn(u8) -> Option<&'static [u8]>,
) {
    let bytes = text.as_bytes();
    let mut copied = 0;
    for (at, &byte) in bytes.iter().enumerate().skip(clean) {
        // Escapes and forbidden characters are below `@`, or U+FFFE and U+FFFF, which begin so.
        if byte >= b'@' && byte != 0xef {
            continue;
        }
        let replaced = escaped(byte);
        if replaced.is_none() && (byte >= b' ' && byte != 0xef) {
            continue;
        }
        let (replacement, len) = match replaced {
            Some(replacement) => (replacement, 1),
            None => match text[at..].chars().next() {
                Some(c) if !is_char(c) => (REPLACEMENT, c.len_utf8()),
                _ => continue,
            },
        };
        out.extend_from_slice(&bytes[copied..at]);
        out.extend_from_slice(replacement);
        copied = at + len;
    }
    out.extend_from_slice(&bytes[copied..]);
}

/// U+FFFD.
const REPLACEMENT: &[u8] = "\u{fffd}".as_bytes();
