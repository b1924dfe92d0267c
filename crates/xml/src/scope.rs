//! What the stream header declares for all that follows it.

use crate::ns;

/// Which namespace is the content namespace of a stream (RFC 6120 §4.8.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Content {
    /// `jabber:client`.
    #[default]
    Client,
    /// `jabber:server`.
    Server,
    /// `jabber:component:accept` (XEP-0114 §3).
    Component,
}

impl Content {
    /// The namespace name.
    pub fn uri(self) -> &'static str {
        match self {
            Self::Client => ns::CLIENT,
            Self::Server => ns::SERVER,
            Self::Component => ns::COMPONENT,
        }
    }

    /// Whether elements of `uri` belong to the content namespace of such a stream.
    ///
    /// `jabber:client` does on a stream between servers as well, inside of first-level elements: it
    /// is what frames report, so taking it for something else would leave two meanings to one name.
    pub(crate) fn includes(self, uri: &str) -> bool {
        uri == self.uri() || uri == ns::CLIENT
    }
}

/// Namespace declarations of the stream header, and its name for the end tag.
///
/// The usual header takes no heap.
#[derive(Debug, Default)]
pub(crate) enum Scope {
    /// A single element, as if on a stream whose default namespace is `jabber:client`.
    #[default]
    Single,
    /// `<stream:stream>` with the prefix `stream` and a content namespace as the default one.
    Usual(Content),
    /// Anything else.
    Other(Box<OtherScope>),
}

/// Declarations of an unusual stream header.
#[derive(Debug)]
pub(crate) struct OtherScope {
    /// Name of the root as written, for the end tag.
    pub(crate) name: Box<str>,
    /// Default namespace; empty if there is none.
    pub(crate) default: Box<str>,
    /// Prefixes and what they are bound to.
    pub(crate) bindings: Box<[(Box<str>, Box<str>)]>,
}

impl Scope {
    pub(crate) fn new(name: &str, default: &str, bindings: Vec<(Box<str>, Box<str>)>) -> Self {
        let stream_only =
            bindings.len() == 1 && &*bindings[0].0 == USUAL_PREFIX && &*bindings[0].1 == ns::STREAM;
        if stream_only && name == USUAL_NAME {
            match default {
                ns::CLIENT => return Self::Usual(Content::Client),
                ns::SERVER => return Self::Usual(Content::Server),
                ns::COMPONENT => return Self::Usual(Content::Component),
                _ => {}
            }
        }
        Self::Other(Box::new(OtherScope {
            name: name.into(),
            default: default.into(),
            bindings: bindings.into(),
        }))
    }

    /// Whether the content namespace, and only that, needs no declaration.
    pub(crate) fn is_usual(&self, content: Content) -> bool {
        match self {
            Self::Single => true,
            Self::Usual(usual) => *usual == content,
            Self::Other(_) => false,
        }
    }

    /// The root's name as written; the end tag must repeat it.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Single => "",
            Self::Usual(_) => USUAL_NAME,
            Self::Other(other) => &other.name,
        }
    }

    /// The default namespace; empty if there is none.
    pub(crate) fn default_ns(&self) -> &str {
        match self {
            Self::Single => ns::CLIENT,
            Self::Usual(content) => content.uri(),
            Self::Other(other) => &other.default,
        }
    }

    /// What `prefix` is bound to.
    pub(crate) fn lookup(&self, prefix: &str) -> Option<&str> {
        self.bindings().find(|(known, _)| *known == prefix).map(|(_, uri)| uri)
    }

    /// All bindings of prefixes.
    pub(crate) fn bindings(&self) -> impl Iterator<Item = (&str, &str)> {
        let usual = matches!(self, Self::Usual(_)).then_some((USUAL_PREFIX, ns::STREAM));
        let others = match self {
            Self::Other(other) => &*other.bindings,
            _ => &[],
        };
        usual.into_iter().chain(others.iter().map(|(prefix, uri)| (&**prefix, &**uri)))
    }
}

const USUAL_PREFIX: &str = "stream";
const USUAL_NAME: &str = "stream:stream";
