//! Why a string is no XMPP address.

use std::fmt;

use thiserror::Error;

/// The three parts of an address (RFC 7622 §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// Before the `@`: an account, a room, a node.
    Local,
    /// The only part that every address has: a domain name or an IP address.
    Domain,
    /// After the first `/`: a connection or an occupant.
    Resource,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Part::Local => "localpart",
            Part::Domain => "domainpart",
            Part::Resource => "resourcepart",
        })
    }
}

/// The reason why a string is refused as an address or as a part of one.
///
/// In a stanza each of them is the condition `<jid-malformed/>` (RFC 6120 §8.3.3.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
pub enum JidError {
    /// The part has no characters, though its separator is there, or the domainpart is missing.
    #[error("the {0} is empty")]
    Empty(Part),
    /// The part is longer than [`PART_BYTES_MAX`](crate::limits::PART_BYTES_MAX), or a domain
    /// name exceeds the lengths of RFC 1034.
    #[error("the {0} is too long")]
    TooLong(Part),
    /// RFC 7622 §3.3.1, RFC 8264 or RFC 5892 disallow this character in this part.
    #[error("{} is not allowed in a {part}", CodePoint(*.character))]
    Disallowed {
        /// Where it stands.
        part: Part,
        /// The first such character, after mapping and normalization.
        character: char,
    },
    /// This character has no meaning in the version of Unicode that is built in.
    #[error("{} in the {part} is not assigned", CodePoint(*.character))]
    Unassigned {
        /// Where it stands.
        part: Part,
        /// The first such character.
        character: char,
    },
    /// This character is only allowed beside certain others (RFC 5892 appendix A).
    #[error("{} is not allowed at its place in the {part}", CodePoint(*.character))]
    OutOfContext {
        /// Where it stands.
        part: Part,
        /// The first such character.
        character: char,
    },
    /// Left-to-right and right-to-left characters are mixed against the Bidi Rule (RFC 5893 §2).
    #[error("the {0} mixes writing directions")]
    Bidi(Part),
    /// The resourcepart begins with a space (RFC 7622 §3.5, example 18).
    #[error("the resourcepart begins with a space")]
    LeadingSpace,
    /// The profile's rules do not come to rest on this string (RFC 8264 §7).
    #[error("the {0} has no stable canonical form")]
    Unstable(Part),
    /// The domainpart is no domain name by IDNA2008: empty label, hyphen at an end of a label,
    /// broken A-label, or a character that domain names do not have.
    #[error("the domainpart is not a domain name")]
    NotADomainName,
    /// The domainpart begins with `[` and is no IPv6 address in brackets.
    #[error("the domainpart is not an IPv6 address")]
    NotAnIpAddress,
    /// A bare address was asked for and the string has a resourcepart.
    #[error("the address has a resourcepart")]
    HasResource,
    /// A full address was asked for and the string has no resourcepart.
    #[error("the address has no resourcepart")]
    NoResource,
}

struct CodePoint(char);

impl fmt::Display for CodePoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "U+{:04X}", u32::from(self.0))
    }
}
