//! XEP-0431: Full Text Search in MAM, version 0.2.0.
//!
//! A field of archive queries whose words all have to be in a message.
//! Implements: §2.1 (the feature), §2.2 (the field; an empty one asks for everything).
//! Left out: nothing; encrypted messages have no words.
//! Status: complete

use std::sync::Arc;

use stentor_engine::worth::{self, Content, Worth};
use stentor_stanza::Stanza;
use stentor_xml::ns;

use crate::limits::ARCHIVE_TEXT_BYTES_MAX;

/// What a search looks at: subject and bodies in all languages. What stands in for an encrypted
/// message or for an unknown extension says nothing.
pub(crate) fn text(stanza: &Stanza, worth: Worth) -> Option<Arc<str>> {
    let is_text =
        matches!(worth.content, Content::Text | Content::Correction | Content::Invitation);
    if !is_text || stanza.children().any(|c| worth::is_encryption(c.ns())) {
        return None;
    }
    let mut text = String::new();
    for child in stanza.children().filter(|c| c.ns() == ns::CLIENT) {
        if matches!(child.name(), "body" | "subject") {
            if !text.is_empty() {
                text.push('\n');
            }
            text.push_str(&child.text());
        }
    }
    text.truncate(text.floor_char_boundary(ARCHIVE_TEXT_BYTES_MAX));
    (!text.is_empty()).then(|| text.into())
}

/// Archives can be searched (§2.1).
pub(crate) const NS: &str = "urn:xmpp:fulltext:0";
/// The field for that (§2.2).
pub(crate) const FIELD: &str = "{urn:xmpp:fulltext:0}fulltext";
