//! XEP-0509: Initial Authentication Pipelining, version 0.2.0.
//!
//! Tells a version of the features, so that a client may sign in before it has read them.
//! Implements: §2, on client streams: the version is a digest of the features as they are written,
//! and `<authenticate/>` for another version fails without prejudice.
//! Left out: streams between servers, which sign in by SASL of RFC 6120 or by dialback.
//! Status: complete

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use stentor_xml::{ElementRef, Writer};

/// The version of these features.
pub(crate) fn version(features: &[u8]) -> String {
    STANDARD.encode(&Sha256::digest(features)[..VERSION_BYTES])
}

/// Writes the version, among the features or with a request.
pub(crate) fn write(w: &mut Writer, version: &str) {
    w.open("config-version", NS).attr("scheme", "opaque").attr("value", version).close();
}

/// The version that this element tells, if it is one. Schemes do not matter: equal texts are equal
/// versions (§2.2).
pub(crate) fn read(element: ElementRef<'_>) -> Option<String> {
    let is_version = element.is(NS, "config-version");
    is_version.then(|| element.attr("value").unwrap_or_default().into_owned())
}

/// Writes the application condition of a failure for another version.
pub(crate) fn write_mismatch(w: &mut Writer) {
    w.leaf("config-version-mismatch", NS);
}

const NS: &str = "urn:xmpp:iap:0";
/// Enough that two configurations of one server never share a version.
const VERSION_BYTES: usize = 15;
