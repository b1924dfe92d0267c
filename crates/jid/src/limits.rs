//! The sizes that bound an address and the work of preparing one.

/// Most bytes of UTF-8 in a localpart, domainpart or resourcepart after preparation
/// (RFC 7622 §3.2, §3.3 and §3.4).
pub const PART_BYTES_MAX: usize = 1023;

/// Most bytes of UTF-8 in a part before preparation: what is longer is refused unread.
///
/// Width mapping and composition shorten a string to a third at most, Punycode and the mapping of
/// ignorable characters in domain names more than that only in names that nobody can resolve.
pub const PART_INPUT_BYTES_MAX: usize = 4 * PART_BYTES_MAX;

/// Most bytes in one label of a domain name, in A-label form (RFC 1034 §3.1).
pub const LABEL_BYTES_MAX: usize = 63;

/// Most bytes in a domain name without its final dot, in A-label form (RFC 1034 §3.1: 255 octets
/// with the length octets of the first label and of the root).
pub const NAME_BYTES_MAX: usize = 253;

/// How often a PRECIS profile is applied again to its own output before the string is refused as
/// unstable (RFC 8264 §7).
pub const REAPPLICATIONS_MAX: usize = 3;

/// How many addresses a thread remembers; the place of one is a byte of its hash.
pub const RECENT_ADDRESSES: usize = 256;

/// Most bytes of an address that is remembered.
pub const RECENT_BYTES_MAX: usize = 128;
