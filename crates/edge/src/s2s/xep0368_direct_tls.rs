//! XEP-0368: SRV records for XMPP over TLS, version 1.1.0.
//!
//! The protocol that servers name when TLS comes first. The records are read in `discovery.rs`,
//! mixed with those of STARTTLS by priority and weight.
//! Implements: §3 between servers, both sides.
//! Left out: nothing between servers.

/// The protocol between servers in ALPN (§3).
pub(crate) const ALPN: &[u8] = b"xmpp-server";

/// Whether a connection is one between servers: it names no protocol, or that one.
pub(crate) fn is_for_servers(alpn: Option<&[u8]>) -> bool {
    alpn.is_none_or(|alpn| alpn == ALPN)
}
