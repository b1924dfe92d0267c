//! The mechanisms and what they are called.

use std::fmt;

use crate::ChannelBinding;

/// A SASL mechanism that this crate speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mechanism {
    /// RFC 4616: the password itself, so for protected streams only.
    Plain,
    /// RFC 5802.
    ScramSha1,
    /// RFC 5802, with channel binding.
    ScramSha1Plus,
    /// RFC 7677.
    ScramSha256,
    /// RFC 7677, with channel binding.
    ScramSha256Plus,
    /// RFC 5802 with SHA-512.
    ScramSha512,
    /// RFC 5802 with SHA-512, with channel binding.
    ScramSha512Plus,
    /// RFC 4422 appendix A: credentials of the TLS layer.
    External,
    /// RFC 4505.
    Anonymous,
    /// A hashed token (draft-schmaus-kitten-sasl-ht-09), bound by `tls-exporter`.
    HtSha256Expr,
    /// A hashed token, bound by `tls-server-end-point`.
    HtSha256Endp,
    /// A hashed token, not bound.
    HtSha256None,
}

impl Mechanism {
    /// All mechanisms that a server lists by themselves, in the order in which it should (RFC 6120
    /// §6.3.3, §6.3.4).
    pub const ALL: [Self; 9] = [
        Self::External,
        Self::ScramSha512Plus,
        Self::ScramSha256Plus,
        Self::ScramSha1Plus,
        Self::ScramSha512,
        Self::ScramSha256,
        Self::ScramSha1,
        Self::Plain,
        Self::Anonymous,
    ];

    /// The mechanisms that take a token instead of a password, the strongest first. They are
    /// offered apart from the others (XEP-0484 §3.1).
    ///
    /// There is none for `tls-unique`, which TLS 1.3 does not have.
    pub const TOKENS: [Self; 3] = [Self::HtSha256Expr, Self::HtSha256Endp, Self::HtSha256None];

    /// The registered name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha1 => "SCRAM-SHA-1",
            Self::ScramSha1Plus => "SCRAM-SHA-1-PLUS",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha256Plus => "SCRAM-SHA-256-PLUS",
            Self::ScramSha512 => "SCRAM-SHA-512",
            Self::ScramSha512Plus => "SCRAM-SHA-512-PLUS",
            Self::External => "EXTERNAL",
            Self::Anonymous => "ANONYMOUS",
            Self::HtSha256Expr => "HT-SHA-256-EXPR",
            Self::HtSha256Endp => "HT-SHA-256-ENDP",
            Self::HtSha256None => "HT-SHA-256-NONE",
        }
    }

    /// The mechanism of [`ALL`](Self::ALL) with that name; names are in upper case
    /// (RFC 4422 §3.1).
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mechanism| mechanism.name() == name)
    }

    /// The mechanism of [`TOKENS`](Self::TOKENS) with that name.
    #[must_use]
    pub fn token_from_name(name: &str) -> Option<Self> {
        Self::TOKENS.into_iter().find(|mechanism| mechanism.name() == name)
    }

    /// Whether it takes a token instead of a password.
    #[must_use]
    pub const fn is_token(self) -> bool {
        matches!(self, Self::HtSha256Expr | Self::HtSha256Endp | Self::HtSha256None)
    }

    /// Whether who gets through with it knows the password.
    #[must_use]
    pub const fn is_password(self) -> bool {
        matches!(self, Self::Plain) || self.hash().is_some()
    }

    /// The channel binding that a token mechanism cannot do without.
    #[must_use]
    pub const fn token_binding(self) -> Option<ChannelBinding> {
        match self {
            Self::HtSha256Expr => Some(ChannelBinding::TlsExporter),
            Self::HtSha256Endp => Some(ChannelBinding::TlsServerEndPoint),
            _ => None,
        }
    }

    /// Whether it is a SCRAM mechanism with channel binding.
    #[must_use]
    pub const fn is_plus(self) -> bool {
        matches!(self, Self::ScramSha1Plus | Self::ScramSha256Plus | Self::ScramSha512Plus)
    }

    /// The hash function of a SCRAM mechanism.
    #[must_use]
    pub const fn hash(self) -> Option<Hash> {
        match self {
            Self::ScramSha1 | Self::ScramSha1Plus => Some(Hash::Sha1),
            Self::ScramSha256 | Self::ScramSha256Plus => Some(Hash::Sha256),
            Self::ScramSha512 | Self::ScramSha512Plus => Some(Hash::Sha512),
            Self::Plain
            | Self::External
            | Self::Anonymous
            | Self::HtSha256Expr
            | Self::HtSha256Endp
            | Self::HtSha256None => None,
        }
    }
}

impl fmt::Display for Mechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The hash function of a SCRAM mechanism, by which stored keys are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Hash {
    /// 20 bytes; for clients that know nothing better.
    Sha1,
    /// 32 bytes.
    Sha256,
    /// 64 bytes.
    Sha512,
}

impl Hash {
    /// All of them, the weakest first.
    pub const ALL: [Self; 3] = [Self::Sha1, Self::Sha256, Self::Sha512];

    /// The name in the registry of hash functions, for instance `SHA-256`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha1 => "SHA-1",
            Self::Sha256 => "SHA-256",
            Self::Sha512 => "SHA-512",
        }
    }

    /// The hash function of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|hash| hash.name() == name)
    }

    /// Bytes of a digest, and so of every key.
    #[must_use]
    pub const fn bytes(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_every_mechanism_and_hash_by_its_name() {
        for mechanism in Mechanism::ALL {
            assert_eq!(Mechanism::from_name(mechanism.name()), Some(mechanism));
            assert_eq!(mechanism.is_plus(), mechanism.name().ends_with("-PLUS"));
            let hash = mechanism.hash().map(|hash| format!("SCRAM-{}", hash.name()));
            assert_eq!(
                hash.as_deref(),
                mechanism
                    .name()
                    .starts_with("SCRAM")
                    .then(|| mechanism.name().trim_end_matches("-PLUS"))
            );
        }
        for hash in Hash::ALL {
            assert_eq!(Hash::from_name(hash.name()), Some(hash));
        }
    }

    #[test]
    fn keeps_the_mechanisms_of_tokens_apart() {
        for mechanism in Mechanism::TOKENS {
            assert_eq!(Mechanism::token_from_name(mechanism.name()), Some(mechanism));
            assert_eq!(Mechanism::from_name(mechanism.name()), None);
            assert!(mechanism.is_token());
            let is_bound = !mechanism.name().ends_with("-NONE");
            assert_eq!(mechanism.token_binding().is_some(), is_bound);
        }
        for mechanism in Mechanism::ALL {
            assert_eq!(Mechanism::token_from_name(mechanism.name()), None);
            assert!(!mechanism.is_token());
        }
    }

    #[test]
    fn knows_no_mechanism_in_lower_case() {
        assert_eq!(Mechanism::from_name("plain"), None);
        assert_eq!(Mechanism::from_name(""), None);
        assert_eq!(Mechanism::from_name("SCRAM-SHA-224"), None);
    }
}
