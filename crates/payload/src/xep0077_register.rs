//! XEP-0077: In-Band Registration, version 2.4.
//!
//! The names that streams and the module share.
//! Implements: §8 (the stream feature's name).
//! Left out: typed elements: only the server reads them, in its module.

/// The namespace of registration IQs.
pub const NS: &str = "jabber:iq:register";

/// The namespace of the stream feature (§8).
pub const NS_FEATURE: &str = "http://jabber.org/features/iq-register";
