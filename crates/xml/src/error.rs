//! Why bytes are not the XML of a stream.

use thiserror::Error;

/// Input that ends a stream, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{kind} at byte {offset}")]
pub struct Malformed {
    /// What is wrong.
    pub kind: MalformedKind,
    /// Bytes since the stream began (since `restart()`) up to the offending character or token.
    pub offset: u64,
}

/// What is wrong with the input, grouped by the stream error it leads to (RFC 6120 §4.9.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum MalformedKind {
    /// A comment: `restricted-xml` (RFC 6120 §11.1).
    #[error("a comment")]
    Comment,
    /// A processing instruction: `restricted-xml` (RFC 6120 §11.1).
    #[error("a processing instruction")]
    ProcessingInstruction,
    /// A document type declaration: `restricted-xml` (RFC 6120 §11.1).
    #[error("a document type declaration")]
    Doctype,
    /// A reference to an entity that XML does not predefine: `restricted-xml` (RFC 6120 §11.1).
    #[error("a reference to an undeclared entity")]
    UndeclaredEntity,

    /// Bytes that are not UTF-8: `unsupported-encoding` (RFC 6120 §11.6).
    #[error("bytes that are not UTF-8")]
    Utf8,
    /// Another encoding, declared or visible in the first bytes: `unsupported-encoding`.
    #[error("an encoding other than UTF-8")]
    Encoding,

    /// A prefix that no declaration in scope binds: `not-well-formed`.
    #[error("an undeclared namespace prefix")]
    UnboundPrefix,
    /// A declaration `xmlns:p=''` (Namespaces in XML 1.0 §2.2): `not-well-formed`.
    #[error("a prefix bound to no namespace")]
    EmptyBinding,
    /// A reserved prefix or namespace bound otherwise than Namespaces in XML 1.0 §3 allows, or an
    /// element with the prefix `xmlns`: `not-well-formed`.
    #[error("a reserved prefix or namespace misused")]
    ReservedBinding,
    /// A breach of the grammar: `not-well-formed`.
    #[error("{0}")]
    Syntax(SyntaxError),
    /// An end tag that does not name the element open last: `not-well-formed`.
    #[error("an end tag that does not match its start tag")]
    MismatchedTag,
    /// Two attributes of one name, as written or after expansion: `not-well-formed`.
    #[error("an attribute given twice")]
    DuplicateAttribute,
    /// A character, raw or by reference, outside the production `Char`: `not-well-formed`.
    #[error("a character that XML forbids")]
    ForbiddenCharacter,
    /// An XML declaration elsewhere than at the very start: `not-well-formed`.
    #[error("an XML declaration inside the stream")]
    DeclarationInside,
    /// Text before or behind the root: `not-well-formed`.
    #[error("text outside of an element")]
    TextAtTopLevel,
    /// Text between first-level elements, which XML allows and no stream has: `bad-format`
    /// (RFC 6120 §4.9.3.1).
    #[error("text between elements")]
    TextBetween,
    /// A first-level element in the namespace `jabber:client` on a stream between servers:
    /// `invalid-namespace` (RFC 6120 §4.8.3).
    #[error("an element of a client's stream")]
    ForeignContent,
    /// Markup after the end of the stream or of the single element: `not-well-formed`.
    #[error("markup after the end")]
    AfterEnd,
    /// A single element that ends before its end tag: `not-well-formed`.
    #[error("an unfinished element")]
    Unfinished,

    /// More than `frame_bytes_max` bytes: `policy-violation`, with `stanza-too-big` (XEP-0205).
    #[error("an element larger than allowed")]
    FrameTooBig,
    /// More than `depth_max` elements open at once: `policy-violation`.
    #[error("elements nested deeper than allowed")]
    TooDeep,
    /// More than `attributes_max` attributes: `policy-violation`.
    #[error("more attributes than allowed")]
    TooManyAttributes,
    /// More than `elements_max` elements: `policy-violation`.
    #[error("more elements than allowed")]
    TooManyElements,
}

impl MalformedKind {
    /// Whether RFC 6120 §11.1 forbids the construct although XML has it: `restricted-xml`.
    pub fn is_restricted(self) -> bool {
        matches!(
            self,
            Self::Comment | Self::ProcessingInstruction | Self::Doctype | Self::UndeclaredEntity
        )
    }

    /// Whether the bytes are not UTF-8: `unsupported-encoding`.
    pub fn is_encoding(self) -> bool {
        matches!(self, Self::Utf8 | Self::Encoding)
    }

    /// Whether a configured limit was exceeded: `policy-violation`.
    pub fn is_limit(self) -> bool {
        matches!(
            self,
            Self::FrameTooBig | Self::TooDeep | Self::TooManyAttributes | Self::TooManyElements
        )
    }
}

/// The rule of the XML grammar that was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SyntaxError {
    /// A name begins or goes on with a character that names do not have, or has two colons.
    #[error("a malformed name")]
    Name,
    /// A start tag has something other than an attribute or its end.
    #[error("a malformed start tag")]
    StartTag,
    /// Two attributes without white space between them.
    #[error("attributes without white space between them")]
    AttributeSpace,
    /// An attribute name without `=`.
    #[error("an attribute without a value")]
    Equals,
    /// An attribute value without quotes.
    #[error("an attribute value without quotes")]
    Quote,
    /// A raw `<` in an attribute value.
    #[error("a raw < in an attribute value")]
    LessThanInValue,
    /// Something other than white space between the name and the `>` of an end tag.
    #[error("a malformed end tag")]
    EndTag,
    /// The sequence `]]>` in text.
    #[error("]]> in text")]
    CdataEnd,
    /// A `&` that begins neither a character reference nor an entity reference.
    #[error("a malformed reference")]
    Reference,
    /// A `<!` that begins no known markup.
    #[error("unknown markup")]
    Markup,
    /// An XML declaration that does not match the production `XMLDecl`.
    #[error("a malformed XML declaration")]
    Declaration,
    /// An XML declaration of a version other than 1.0 (RFC 6120 §11.8).
    #[error("a version of XML other than 1.0")]
    Version,
}

/// A fault inside the element being scanned: `at` counts from its first byte.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    pub(crate) kind: MalformedKind,
    pub(crate) at: usize,
}

impl Fault {
    pub(crate) fn new(kind: MalformedKind, at: usize) -> Self {
        Self { kind, at }
    }

    pub(crate) fn syntax(reason: SyntaxError, at: usize) -> Self {
        Self { kind: MalformedKind::Syntax(reason), at }
    }

    pub(crate) fn after(self, offset: u64) -> Malformed {
        Malformed { kind: self.kind, offset: offset + self.at as u64 }
    }
}
