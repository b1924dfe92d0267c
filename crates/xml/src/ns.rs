//! The namespaces that XML and the stream layer themselves need.

/// Content namespace of a stream between a client and a server (RFC 6120 §4.8.3).
///
/// Frames always report the content namespace of their stream under this name.
pub const CLIENT: &str = "jabber:client";

/// Content namespace of a stream between two servers (RFC 6120 §4.8.3).
pub const SERVER: &str = "jabber:server";

/// Content namespace of a stream between a component and its server (XEP-0114 §3).
pub const COMPONENT: &str = "jabber:component:accept";

/// Namespace of the stream's root element (RFC 6120 §4.8.1).
pub const STREAM: &str = "http://etherx.jabber.org/streams";

/// Namespace to which the prefix `xml` is bound everywhere (Namespaces in XML 1.0 §3).
pub const XML: &str = "http://www.w3.org/XML/1998/namespace";

/// Namespace of declarations, to which no prefix may be bound (Namespaces in XML 1.0 §3).
pub const XMLNS: &str = "http://www.w3.org/2000/xmlns/";
