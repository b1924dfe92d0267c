//! Start tags: attributes and namespaces, as soon as the tag is complete.

use std::borrow::Cow;
use std::ops::Range;

use crate::error::{Fault, MalformedKind};
use crate::index::{CONTENT, Entry, IN_APPENDIX, NONE, NsId, PREFIXED, XML, delimited, narrow};
use crate::machine::{Context, Machine, Mode};
use crate::scope::Content;
use crate::{ns, unescape};

/// Where an attribute is in the element.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Attr {
    name: u32,
    /// 0 if the name has no prefix.
    colon: u32,
    name_end: u32,
    value: u32,
    value_end: u32,
}

/// An element whose end tag has not come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Open {
    /// Its place in the index.
    entry: u32,
    /// Where its name ends.
    name_start: u32,
    name_end: u32,
    /// How many bindings are older than the element.
    bindings: u32,
    /// The default namespace for its children.
    default: Bound,
}

/// A complete start tag or empty-element tag whose name and attributes have no prefix but `xml`.
pub(crate) struct PlainTag {
    pub(crate) start: usize,
    pub(crate) name_end: usize,
    pub(crate) end: usize,
    pub(crate) is_empty: bool,
    /// Where the value of `xmlns` begins, which is an ordinary namespace and stands for itself; 0
    /// if there is none.
    pub(crate) default: usize,
    /// A bit for each attribute.
    pub(crate) names: u64,
}

/// A prefix bound inside the element, or one of the stream that the element used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Binding {
    prefix: u32,
    prefix_end: u32,
    bound: Bound,
}

/// A namespace and the start tag that declares it.
#[derive(Clone, Copy, Debug)]
struct Bound {
    ns: NsId,
    level: Level,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    /// The stream header.
    Stream,
    /// The first-level element.
    Root,
    /// Below it.
    Inner,
}

impl Attr {
    #[inline]
    pub(crate) fn named(name: usize, colon: usize, name_end: usize) -> Self {
        Self {
            name: narrow(name),
            colon: narrow(colon),
            name_end: narrow(name_end),
            value: 0,
            value_end: 0,
        }
    }

    #[inline]
    pub(crate) fn begin_value(&mut self, at: usize) {
        self.value = narrow(at);
    }

    #[inline]
    pub(crate) fn end_value(&mut self, at: usize) {
        self.value_end = narrow(at);
    }

    fn name<'b>(&self, bytes: &'b [u8]) -> &'b [u8] {
        slice(bytes, self.name, self.name_end)
    }

    pub(crate) fn name_str<'t>(&self, text: &'t str) -> &'t str {
        &text[self.name as usize..self.name_end as usize]
    }

    pub(crate) fn value_str<'t>(&self, text: &'t str) -> &'t str {
        &text[self.value as usize..self.value_end as usize]
    }

    fn value<'b>(&self, bytes: &'b [u8]) -> &'b [u8] {
        slice(bytes, self.value, self.value_end)
    }

    /// The prefix that the attribute declares; empty for the default namespace.
    fn declares<'b>(&self, bytes: &'b [u8]) -> Option<&'b [u8]> {
        match self.name(bytes).strip_prefix(b"xmlns")? {
            [] => Some(b""),
            [b':', prefix @ ..] => Some(prefix),
            _ => None,
        }
    }

    fn prefix<'b>(&self, bytes: &'b [u8]) -> Option<&'b [u8]> {
        (self.colon != 0).then(|| slice(bytes, self.name, self.colon))
    }
}

impl Open {
    pub(crate) fn name<'b>(&self, bytes: &'b [u8]) -> &'b [u8] {
        slice(bytes, self.name_start, self.name_end)
    }

    #[inline]
    pub(crate) fn name_range(&self) -> Range<usize> {
        self.name_start as usize..self.name_end as usize
    }
}

impl Machine {
    /// Begins an entry for the element whose name ends at `name_end`.
    #[inline]
    pub(crate) fn start_entry(&mut self, start: usize, colon: usize, name_end: usize) {
        let prefixed = if colon == 0 { 0 } else { PREFIXED };
        self.name_end = name_end;
        self.entries.push(Entry { start: narrow(start), ns: prefixed, ..Entry::default() });
    }

    /// Ends the entry of the element open last.
    #[inline]
    pub(crate) fn finish_entry(&mut self, close_start: usize, end: usize) {
        let after = narrow(self.entries.len());
        let Some(open) = self.open.pop() else { return };
        let entry = &mut self.entries[open.entry as usize];
        entry.close_start = narrow(close_start);
        entry.end = narrow(end);
        entry.after = after;
        self.bindings.truncate(open.bindings as usize);
    }

    /// Resolves the names of a complete start tag, which ends at `self.at`, and opens its element.
    #[inline]
    pub(crate) fn resolve(&mut self, bytes: &[u8], cx: &Context<'_>) -> Result<(), Fault> {
        let (inherited, parent_is_content) = match self.open.last() {
            Some(open) => (open.default, self.entries[open.entry as usize].ns_id() == CONTENT),
            None => (self.outer_default(cx), cx.mode != Mode::Header),
        };
        let mut tag = Tag {
            is_root: self.open.is_empty(),
            default: inherited,
            declares_default: false,
            declared: 0,
            prefixed: 0,
            is_content: false,
            parent_is_content,
        };
        if !self.attrs.is_empty() {
            self.refuse_duplicates(bytes)?;
            self.declare(bytes, &mut tag)?;
        }
        self.resolve_element(bytes, cx, &mut tag)?;
        if tag.prefixed > 0 {
            self.resolve_attributes(bytes, cx, &tag)?;
        }
        let entry = self.entries.len() - 1;
        let start = self.entries[entry].start;
        self.entries[entry].open_end = narrow(self.at);
        self.open.push(Open {
            entry: narrow(entry),
            name_start: start + 1,
            name_end: narrow(self.name_end),
            bindings: narrow(self.bindings.len() - tag.declared),
            default: tag.default,
        });
        Ok(())
    }

    /// Opens the element of a plain tag, or closes it at once; `false` if its namespace needs the
    /// care of [`resolve`](Self::resolve).
    #[inline(always)]
    pub(crate) fn open_plain(&mut self, cx: &Context<'_>, tag: &PlainTag) -> bool {
        // Up to 64 attributes have different bits.
        let has_too_many = cx.limits.attributes_max < 64
            && tag.names.count_ones() > u32::from(cx.limits.attributes_max);
        if has_too_many {
            return false;
        }
        let bound = match (tag.default, self.open.last()) {
            (0, Some(parent)) if self.hands_down(parent) => parent.default,
            (0, None) if cx.scope.is_usual(cx.content) => {
                Bound { ns: CONTENT, level: Level::Stream }
            }
            (0, _) => return false,
            (uri, None) => Bound { ns: narrow(uri - 1), level: Level::Root },
            (uri, Some(_)) => Bound { ns: narrow(uri - 1), level: Level::Inner },
        };
        let index = self.entries.len();
        let (start, end) = (narrow(tag.start), narrow(tag.end));
        self.entries.push(Entry {
            start,
            open_end: end,
            close_start: end,
            end,
            after: narrow(index + 1),
            ns: bound.ns,
        });
        if !tag.is_empty {
            self.open.push(Open {
                entry: narrow(index),
                name_start: start + 1,
                name_end: narrow(tag.name_end),
                bindings: narrow(self.bindings.len()),
                default: bound,
            });
        }
        true
    }

    /// Whether an undeclared child of `parent` is in its default namespace and can travel with it.
    #[inline(always)]
    fn hands_down(&self, parent: &Open) -> bool {
        let is_content = |entry: u32| self.entries[entry as usize].ns_id() == CONTENT;
        match parent.default {
            Bound { ns: CONTENT, .. } => true,
            Bound { level: Level::Stream, .. } => false,
            Bound { level: Level::Root, .. } => !is_content(0) && !is_content(parent.entry),
            Bound { level: Level::Inner, .. } => !is_content(parent.entry),
        }
    }

    /// The root's name as written.
    pub(crate) fn root_name<'t>(&self, text: &'t str) -> &'t str {
        self.open.first().map_or("", |open| &text[open.name_start as usize..open.name_end as usize])
    }

    /// The namespace name that an id stands for, while the element is being scanned.
    pub(crate) fn uri<'s>(&'s self, bytes: &'s [u8], ns: NsId, cx: &Context<'_>) -> &'s [u8] {
        match ns {
            NONE => b"",
            CONTENT => cx.content.uri().as_bytes(),
            XML => ns::XML.as_bytes(),
            _ if ns & IN_APPENDIX != 0 => {
                delimited(self.appendix.as_bytes(), (ns & !IN_APPENDIX) as usize)
            }
            _ => delimited(bytes, ns as usize),
        }
    }

    /// The default namespace around the first-level element.
    fn outer_default(&mut self, cx: &Context<'_>) -> Bound {
        let uri = if cx.mode == Mode::Header { "" } else { cx.scope.default_ns() };
        let ns = if uri.is_empty() {
            NONE
        } else if cx.content.includes(uri) {
            CONTENT
        } else {
            self.append(uri)
        };
        Bound { ns, level: Level::Stream }
    }

    /// Takes the declarations of the tag into scope.
    fn declare(&mut self, bytes: &[u8], tag: &mut Tag) -> Result<(), Fault> {
        let level = if tag.is_root { Level::Root } else { Level::Inner };
        for index in 0..self.attrs.len() {
            let attr = self.attrs[index];
            let Some(prefix) = attr.declares(bytes) else {
                tag.prefixed += usize::from(attr.colon != 0);
                continue;
            };
            let raw = attr.value(bytes);
            let uri = normalised(raw);
            check_declaration(prefix, &uri).map_err(|kind| Fault::new(kind, attr.name as usize))?;
            let ns = match uri {
                _ if raw.is_empty() => NONE,
                Cow::Borrowed(_) => attr.value - 1,
                Cow::Owned(uri) => self.append(&uri),
            };
            let bound = Bound { ns, level };
            if attr.colon == 0 {
                tag.default = bound;
                tag.declares_default = true;
            } else if prefix != b"xml" {
                let (prefix, prefix_end) = (attr.colon + 1, attr.name_end);
                self.bindings.push(Binding { prefix, prefix_end, bound });
                tag.declared += 1;
            }
        }
        Ok(())
    }

    /// Finds the element's namespace and whether it can travel as it is.
    #[inline]
    fn resolve_element(
        &mut self,
        bytes: &[u8],
        cx: &Context<'_>,
        tag: &mut Tag,
    ) -> Result<(), Fault> {
        let index = self.entries.len() - 1;
        let entry = self.entries[index];
        let start = entry.start as usize + 1;
        let bound = if entry.is_prefixed() {
            let prefix = before_colon(&bytes[start..self.name_end]);
            self.lookup(bytes, cx, prefix, start)?
        } else {
            tag.default
        };
        tag.is_content =
            bound.ns == CONTENT || (tag.parent_is_content && self.is_content(bytes, bound.ns, cx));
        if tag.is_root
            && cx.content == Content::Server
            && tag.is_content
            && self.uri(bytes, bound.ns, cx) == ns::CLIENT.as_bytes()
        {
            return Err(Fault::new(MalformedKind::ForeignContent, start - 1));
        }
        let ns = if tag.is_content { CONTENT } else { bound.ns };
        self.entries[index].ns = ns | (entry.ns & PREFIXED);

        if entry.is_prefixed() {
            // RFC 6120 §4.8.5: elements of the content namespace are sent without a prefix.
            self.is_unportable |= tag.is_content || self.leans(tag, bound.level);
        } else if !tag.is_content {
            self.is_unportable |= self.leans(tag, bound.level);
        }
        if tag.is_content && tag.declares_default {
            // A first-level `xmlns='jabber:client'` is usual over WebSocket and harmless: that
            // start tag is always written afresh.
            self.is_unportable |= !tag.is_root || cx.content.uri() != ns::CLIENT;
            if self.is_content(bytes, tag.default.ns, cx) {
                tag.default.ns = CONTENT;
            }
        }
        Ok(())
    }

    /// Finds the namespaces of attributes with a prefix.
    fn resolve_attributes(
        &mut self,
        bytes: &[u8],
        cx: &Context<'_>,
        tag: &Tag,
    ) -> Result<(), Fault> {
        let mut expanded = Vec::new();
        for index in 0..self.attrs.len() {
            let attr = self.attrs[index];
            let Some(prefix) = attr.prefix(bytes) else { continue };
            if prefix == b"xmlns" {
                continue;
            }
            let bound = self.lookup(bytes, cx, prefix, attr.name as usize)?;
            self.is_unportable |= self.leans(tag, bound.level);
            if tag.prefixed > 1 {
                expanded.push((attr, bound.ns));
            }
        }
        let mut keys: Vec<_> = expanded
            .iter()
            .map(|(attr, ns)| {
                let local = slice(bytes, attr.colon + 1, attr.name_end);
                ((self.uri(bytes, *ns, cx), local), attr.name)
            })
            .collect();
        refuse_equal(&mut keys)
    }

    /// What `prefix`, used at `at`, is bound to.
    fn lookup(
        &mut self,
        bytes: &[u8],
        cx: &Context<'_>,
        prefix: &[u8],
        at: usize,
    ) -> Result<Bound, Fault> {
        match prefix {
            b"xml" => return Ok(Bound { ns: XML, level: Level::Inner }),
            b"xmlns" => return Err(Fault::new(MalformedKind::ReservedBinding, at)),
            _ => {}
        }
        let known = self
            .bindings
            .iter()
            .rev()
            .find(|known| slice(bytes, known.prefix, known.prefix_end) == prefix);
        if let Some(known) = known {
            return Ok(known.bound);
        }
        let unbound = Fault::new(MalformedKind::UnboundPrefix, at);
        if cx.mode == Mode::Header {
            return Err(unbound);
        }
        let uri = cx.scope.lookup(&String::from_utf8_lossy(prefix)).ok_or(unbound)?;
        let bound = Bound { ns: self.append(uri), level: Level::Stream };
        // Remembered below all others, so that one name is in the appendix only once.
        let (prefix, prefix_end) = (narrow(at), narrow(at + prefix.len()));
        self.bindings.insert(0, Binding { prefix, prefix_end, bound });
        for open in &mut self.open {
            open.bindings += 1;
        }
        Ok(bound)
    }

    /// Whether a name with this binding means something else when the element travels: the stream
    /// header stays behind, and of a stanza also the root's start tag.
    fn leans(&self, tag: &Tag, level: Level) -> bool {
        match level {
            Level::Stream => true,
            Level::Root => !tag.is_root && self.entries[0].ns_id() == CONTENT,
            Level::Inner => false,
        }
    }

    fn is_content(&self, bytes: &[u8], ns: NsId, cx: &Context<'_>) -> bool {
        let (within, at) = match ns {
            NONE | CONTENT | XML => return false,
            _ if ns & IN_APPENDIX != 0 => (self.appendix.as_bytes(), (ns & !IN_APPENDIX) as usize),
            _ => (bytes, ns as usize),
        };
        let delimiter = within[at];
        let is = |uri: &str| {
            let rest = within[at + 1..].strip_prefix(uri.as_bytes());
            rest.is_some_and(|rest| rest[0] == delimiter)
        };
        is(ns::CLIENT) || (cx.content != Content::Client && is(cx.content.uri()))
    }

    fn append(&mut self, uri: &str) -> NsId {
        let at = narrow(self.appendix.len());
        self.appendix.push('\0');
        self.appendix.push_str(uri);
        self.appendix.push('\0');
        at | IN_APPENDIX
    }

    /// Refuses two attributes of the same name as written (XML 1.0 §3.1).
    fn refuse_duplicates(&self, bytes: &[u8]) -> Result<(), Fault> {
        if self.attrs.len() <= PAIRWISE_MAX {
            for (index, attr) in self.attrs.iter().enumerate() {
                let name = attr.name(bytes);
                if self.attrs[..index].iter().any(|other| other.name(bytes) == name) {
                    return Err(Fault::new(MalformedKind::DuplicateAttribute, attr.name as usize));
                }
            }
            return Ok(());
        }
        let mut names: Vec<_> =
            self.attrs.iter().map(|attr| (attr.name(bytes), attr.name)).collect();
        refuse_equal(&mut names)
    }
}

/// A start tag being resolved.
struct Tag {
    is_root: bool,
    parent_is_content: bool,
    is_content: bool,
    default: Bound,
    declares_default: bool,
    /// Prefixes declared.
    declared: usize,
    /// Attributes with a prefix, declarations excepted.
    prefixed: usize,
}

/// Namespaces in XML 1.0 §2.2 and §3: what may not be declared.
fn check_declaration(prefix: &[u8], uri: &str) -> Result<(), MalformedKind> {
    let reserved_uri = uri == ns::XML || uri == ns::XMLNS;
    match prefix {
        b"xml" if uri == ns::XML => Ok(()),
        b"xml" | b"xmlns" => Err(MalformedKind::ReservedBinding),
        _ if reserved_uri => Err(MalformedKind::ReservedBinding),
        b"" => Ok(()),
        _ if uri.is_empty() => Err(MalformedKind::EmptyBinding),
        _ => Ok(()),
    }
}

/// Whether a namespace may be the default one and is no content namespace.
#[inline(always)]
pub(crate) fn is_ordinary(uri: &[u8]) -> bool {
    // Written out, so that one look at the length rules most of them out.
    let is = |special: &str| uri == special.as_bytes();
    let is_content = is(ns::CLIENT) || is(ns::SERVER) || is(ns::COMPONENT);
    !(uri.is_empty() || is_content || is(ns::XML) || is(ns::XMLNS))
}

/// The value of an attribute, borrowed if it stands there verbatim.
fn normalised(raw: &[u8]) -> Cow<'_, str> {
    match String::from_utf8_lossy(raw) {
        Cow::Borrowed(text) => unescape::attr_value(text),
        Cow::Owned(text) => Cow::Owned(unescape::attr_value(&text).into_owned()),
    }
}

/// Refuses equal keys; the fault is at the earliest repetition.
fn refuse_equal<K: Ord>(keys: &mut [(K, u32)]) -> Result<(), Fault> {
    keys.sort_unstable();
    let repeated =
        keys.windows(2).filter(|pair| pair[0].0 == pair[1].0).map(|pair| pair[1].1).min();
    match repeated {
        None => Ok(()),
        Some(at) => Err(Fault::new(MalformedKind::DuplicateAttribute, at as usize)),
    }
}

fn before_colon(name: &[u8]) -> &[u8] {
    name.split(|&byte| byte == b':').next().unwrap_or(name)
}

#[inline]
fn slice(bytes: &[u8], from: u32, to: u32) -> &[u8] {
    &bytes[from as usize..to as usize]
}

/// Up to this many attributes are compared each with each, which needs no heap.
const PAIRWISE_MAX: usize = 12;
