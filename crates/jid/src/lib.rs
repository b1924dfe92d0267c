//! XMPP addresses by RFC 7622.
