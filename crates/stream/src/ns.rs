//! The namespaces of stream negotiation, each written once.

/// STARTTLS (RFC 6120 §14.1).
pub(crate) const TLS: &str = "urn:ietf:params:xml:ns:xmpp-tls";
/// SASL (RFC 6120 §14.2).
pub(crate) const SASL: &str = "urn:ietf:params:xml:ns:xmpp-sasl";
/// Stream error conditions (RFC 6120 §14.3).
pub(crate) const STREAM_ERRORS: &str = "urn:ietf:params:xml:ns:xmpp-streams";
/// Resource binding (RFC 6120 §14.4).
pub(crate) const BIND: &str = "urn:ietf:params:xml:ns:xmpp-bind";
/// The obsolete session step (RFC 3921 §3).
pub(crate) const SESSION: &str = "urn:ietf:params:xml:ns:xmpp-session";
/// The stream feature of roster versioning (RFC 6121 §2.6.1).
pub(crate) const ROSTER_VERSIONS: &str = "urn:xmpp:features:rosterver";
/// The stream feature of subscription pre-approval (RFC 6121 §3.4).
pub(crate) const PRE_APPROVAL: &str = "urn:xmpp:features:pre-approval";
/// The stream feature of in-band registration (XEP-0077 §6).
pub(crate) const REGISTER_FEATURE: &str = stentor_payload::xep0077_register::NS_FEATURE;
/// In-band registration itself (XEP-0077).
pub(crate) const REGISTER: &str = stentor_payload::xep0077_register::NS;
/// Stream management (XEP-0198).
pub(crate) const SM: &str = "urn:xmpp:sm:3";
/// Dialback (XEP-0220 §2).
pub(crate) const DIALBACK: &str = "jabber:server:dialback";
/// The stream feature of dialback with errors (XEP-0220 §2.4.2).
pub(crate) const DIALBACK_FEATURE: &str = "urn:xmpp:features:dialback";
/// Streams in both directions (XEP-0288 §2.2).
pub(crate) const BIDI: &str = "urn:xmpp:bidi";
/// Their stream feature (XEP-0288 §2.1).
pub(crate) const BIDI_FEATURE: &str = "urn:xmpp:features:bidi";
/// Application-specific conditions of XEP-0205.
pub(crate) const ERRORS: &str = "urn:xmpp:errors";
