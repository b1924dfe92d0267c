//! XEP-0220: Server Dialback, version 1.1.1.
//!
//! The two elements of dialback, read and written.
//! Implements: §2.1 and §2.2 (requests and answers), §2.5 (errors).
//! Left out: nothing of the elements. Keys are made by the shell (XEP-0185).

use stentor_jid::prep_domain;
use stentor_stanza::{Condition, StanzaError};
use stentor_xml::{ElementRef, escape_attr, escape_text};

use super::Pair;
use crate::limits::DIALBACK_KEY_BYTES_MAX;
use crate::ns;

/// A key to be verified, or to be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// The stream for which it was made: the id in the receiving server's header.
    pub stream_id: String,
    /// The key itself.
    pub key: String,
}

/// What the other side says about a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is good.
    Valid,
    /// It is not.
    Invalid,
    /// It could not be decided (§2.5).
    Error(Condition),
}

/// One of the two elements, as it came.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Element {
    pub(super) name: Name,
    /// The sender of the element.
    pub(super) from: String,
    pub(super) to: String,
    pub(super) content: Content,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    Result,
    /// With the id of the stream that it speaks of.
    Verify,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// No `type`: a question. The id is that of `verify`, empty in a `result`.
    Request(Key),
    /// An answer.
    Answer { stream_id: String, verdict: Verdict },
}

impl Element {
    /// Whether the element is one of dialback's.
    pub(super) fn is(root: ElementRef<'_>) -> bool {
        root.ns() == ns::DIALBACK
    }

    /// Reads it; none if it is malformed.
    pub(super) fn read(root: ElementRef<'_>) -> Option<Self> {
        let name = match root.name() {
            "result" => Name::Result,
            "verify" => Name::Verify,
            _ => return None,
        };
        let domain = |attr: &str| Some(prep_domain(&root.attr(attr)?).ok()?.into_owned());
        let stream_id = match name {
            Name::Result => String::new(),
            Name::Verify => root.attr("id")?.into_owned(),
        };
        let content = match root.attr("type").as_deref() {
            None => {
                let key = root.text().trim().to_owned();
                if key.is_empty() || key.len() > DIALBACK_KEY_BYTES_MAX {
                    return None;
                }
                Content::Request(Key { stream_id, key })
            }
            Some("valid") => Content::Answer { stream_id, verdict: Verdict::Valid },
            Some("invalid") => Content::Answer { stream_id, verdict: Verdict::Invalid },
            Some("error") => {
                let error = root.child(stentor_xml::ns::CLIENT, "error");
                let condition = error
                    .and_then(StanzaError::read)
                    .map_or(Condition::UndefinedCondition, |e| e.condition);
                Content::Answer { stream_id, verdict: Verdict::Error(condition) }
            }
            Some(_) => return None,
        };
        Some(Self { name, from: domain("from")?, to: domain("to")?, content })
    }
}

/// Asks the receiving server to authorize a pair of ours (§2.1.1).
pub(super) fn write_result_request(out: &mut Vec<u8>, pair: &Pair, key: &str) {
    open(out, Name::Result, &pair.local, &pair.remote, None);
    out.push(b'>');
    escape_text(out, key);
    out.extend_from_slice(b"</db:result>");
}

/// Asks the authoritative server of `pair.remote` about a key (§2.1.2).
pub(super) fn write_verify_request(out: &mut Vec<u8>, pair: &Pair, key: &Key) {
    open(out, Name::Verify, &pair.local, &pair.remote, Some(&key.stream_id));
    out.push(b'>');
    escape_text(out, &key.key);
    out.extend_from_slice(b"</db:verify>");
}

/// Answers a question of `pair.remote` (§2.2). `stream_id` is that of `verify`.
pub(super) fn write_answer(
    out: &mut Vec<u8>,
    pair: &Pair,
    stream_id: Option<&str>,
    verdict: &Verdict,
) {
    let name = if stream_id.is_some() { Name::Verify } else { Name::Result };
    open(out, name, &pair.local, &pair.remote, stream_id);
    let kind = match verdict {
        Verdict::Valid => "valid",
        Verdict::Invalid => "invalid",
        Verdict::Error(_) => "error",
    };
    out.extend_from_slice(b" type='");
    out.extend_from_slice(kind.as_bytes());
    let Verdict::Error(condition) = verdict else { return out.extend_from_slice(b"'/>") };
    out.extend_from_slice(b"'>");
    let mut w = stentor_xml::Writer::over(std::mem::take(out));
    StanzaError::new(*condition).write(&mut w);
    *out = w.into_bytes();
    out.extend_from_slice(b"</db:");
    out.extend_from_slice(name.as_str().as_bytes());
    out.push(b'>');
}

impl Name {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Result => "result",
            Self::Verify => "verify",
        }
    }
}

/// §2: the prefix must be the one that our header declares; some accept only `db`.
fn open(out: &mut Vec<u8>, name: Name, from: &str, to: &str, id: Option<&str>) {
    out.extend_from_slice(b"<db:");
    out.extend_from_slice(name.as_str().as_bytes());
    for (attr, value) in [("from", Some(from)), ("to", Some(to)), ("id", id)] {
        let Some(value) = value else { continue };
        out.push(b' ');
        out.extend_from_slice(attr.as_bytes());
        out.extend_from_slice(b"='");
        escape_attr(out, value);
        out.push(b'\'');
    }
}
