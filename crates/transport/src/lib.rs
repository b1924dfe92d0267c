//! Sockets and TLS; no XMPP logic.
