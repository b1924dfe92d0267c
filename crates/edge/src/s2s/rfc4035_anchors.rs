//! RFC 4035: the keys by which answers of DNS are validated.

use std::str::FromStr as _;
use std::sync::Arc;

use hickory_resolver::proto::dnssec;

/// Keys that begin a chain of signatures (§4.4).
#[derive(Clone)]
pub struct TrustAnchors(pub(super) Arc<dnssec::TrustAnchors>);

/// A text that holds no such key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadAnchors(String);

impl TrustAnchors {
    /// The keys of the root zone that this release knows.
    #[must_use]
    pub fn of_root() -> Self {
        Self(Arc::new(dnssec::TrustAnchors::default()))
    }

    /// Reads DNSKEY records as in a zone file, one a line.
    ///
    /// # Errors
    /// There is something else in it, or nothing.
    pub fn from_text(text: &str) -> Result<Self, BadAnchors> {
        let is_content = |line: &str| !line.trim().is_empty() && !line.trim().starts_with(';');
        if !text.lines().any(is_content) {
            return Err(BadAnchors("it holds no key".to_owned()));
        }
        let anchors = dnssec::TrustAnchors::from_str(text);
        Ok(Self(Arc::new(anchors.map_err(|error| BadAnchors(error.to_string()))?)))
    }
}

impl std::fmt::Debug for TrustAnchors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TrustAnchors").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_keys_and_refuses_what_is_none() {
        let key = "example. 3600 IN DNSKEY 257 3 15 l02Woi0iS8Aa25FQkUd9RMzZHJpBoRQwAQEX1SxZJA4=";
        assert!(TrustAnchors::from_text(&format!("; ours\n{key}\n")).is_ok());
        for text in ["", "; nothing\n", "example. 3600 IN A 192.0.2.1", "no key at all"] {
            assert!(TrustAnchors::from_text(text).is_err(), "{text}");
        }
    }
}
