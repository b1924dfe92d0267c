//! How stream headers and ends look on each transport.
//!
//! Stanzas look the same everywhere; `stanza/head.rs` writes them. Only TCP exists so far.

pub mod tcp;

/// What our stream header says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OurHeader<'a> {
    /// The content namespace of the stream.
    pub content_ns: &'a str,
    /// Who we are; an empty string where we do not know what to be called (RFC 6120 §4.9.1.3).
    pub from: Option<&'a str>,
    /// Who the peer says it is, or whom we want.
    pub to: Option<&'a str>,
    /// The stream's id; the answering side only.
    pub id: Option<&'a str>,
    /// The version of XMPP (RFC 6120 §4.7.5).
    pub version: Option<&'a str>,
    /// The language of our texts.
    pub lang: &'a str,
}
