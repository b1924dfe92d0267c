//! Typed elements of RFC 6121 and the XEPs, one file each.
