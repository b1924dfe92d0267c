//! Restricted XML of XMPP streams: scanner, index, cursor, writer.
