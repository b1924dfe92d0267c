//! The start tag of a stream.

use crate::error::MalformedKind;
use crate::machine::{Context, Machine};
use crate::scope::Scope;
use crate::unescape;

/// The root's start tag as it came: namespaces resolved, nothing judged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// Local name of the root; `stream` if the peer speaks XMPP over TCP.
    pub name: String,
    /// Prefix of the root; empty if it has none.
    pub prefix: String,
    /// Namespace of the root; empty if it has none.
    pub ns: String,
    /// Default namespace, or `None` if none is declared (RFC 6120 §4.8.2).
    pub content_ns: Option<String>,
    /// Attribute `to` (RFC 6120 §4.7.2).
    pub to: Option<String>,
    /// Attribute `from` (RFC 6120 §4.7.1).
    pub from: Option<String>,
    /// Attribute `id` (RFC 6120 §4.7.3).
    pub id: Option<String>,
    /// Attribute `version` (RFC 6120 §4.7.5).
    pub version: Option<String>,
    /// Attribute `xml:lang` (RFC 6120 §4.7.4).
    pub lang: Option<String>,
}

impl Header {
    /// Reads the start tag that `machine` has just accepted, and what it declares.
    pub(crate) fn read(
        machine: &Machine,
        bytes: &[u8],
        cx: &Context<'_>,
    ) -> Result<(Self, Scope), MalformedKind> {
        let text = simdutf8::basic::from_utf8(bytes).map_err(|_| MalformedKind::Utf8)?;
        let bytes = text.as_bytes();
        let qname = machine.root_name(text);
        let (prefix, name) = qname.split_once(':').unwrap_or(("", qname));
        let ns =
            machine.entries.first().map_or(&b""[..], |root| machine.uri(bytes, root.ns_id(), cx));
        let mut header = Self {
            name: name.into(),
            prefix: prefix.into(),
            ns: String::from_utf8_lossy(ns).into_owned(),
            ..Self::default()
        };
        let mut bindings = Vec::new();
        for attr in &machine.attrs {
            let value = unescape::attr_value(attr.value_str(text)).into_owned();
            match attr.name_str(text) {
                "to" => header.to = Some(value),
                "from" => header.from = Some(value),
                "id" => header.id = Some(value),
                "version" => header.version = Some(value),
                "xml:lang" => header.lang = Some(value),
                "xmlns" if value.is_empty() => {}
                "xmlns" => header.content_ns = Some(value),
                "xmlns:xml" => {}
                other => {
                    if let Some(declared) = other.strip_prefix("xmlns:") {
                        bindings.push((declared.into(), value.into_boxed_str()));
                    }
                }
            }
        }
        let default = header.content_ns.as_deref().unwrap_or_default();
        let scope = Scope::new(qname, default, bindings);
        Ok((header, scope))
    }
}
