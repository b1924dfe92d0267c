//! Why an exchange failed, in the words of the wire (RFC 6120 §6.5).

use std::fmt;

/// A SASL error condition of RFC 6120 §6.5.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Condition {
    /// §6.5.1: the peer sent `<abort/>`.
    Aborted,
    /// §6.5.2: the account has been disabled for a time.
    AccountDisabled,
    /// §6.5.3: the credentials were right once.
    CredentialsExpired,
    /// §6.5.4: the mechanism needs a protected stream.
    EncryptionRequired,
    /// §6.5.5: the base64 of the stream is wrong.
    IncorrectEncoding,
    /// §6.5.6: the peer may not act as the identity that it asked for.
    InvalidAuthzid,
    /// §6.5.7: no mechanism was named, or one that is not offered.
    InvalidMechanism,
    /// §6.5.8: the message breaks the syntax of its mechanism.
    MalformedRequest,
    /// §6.5.9: policy wants a stronger mechanism.
    MechanismTooWeak,
    /// §6.5.10: wrong credentials, no such user, or what is better not told.
    NotAuthorized,
    /// §6.5.11: our fault, the peer may try again later.
    TemporaryAuthFailure,
}

impl Condition {
    /// All conditions, in the order of RFC 6120 §6.5.
    pub const ALL: [Self; 11] = [
        Self::Aborted,
        Self::AccountDisabled,
        Self::CredentialsExpired,
        Self::EncryptionRequired,
        Self::IncorrectEncoding,
        Self::InvalidAuthzid,
        Self::InvalidMechanism,
        Self::MalformedRequest,
        Self::MechanismTooWeak,
        Self::NotAuthorized,
        Self::TemporaryAuthFailure,
    ];

    /// The name of the element.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Aborted => "aborted",
            Self::AccountDisabled => "account-disabled",
            Self::CredentialsExpired => "credentials-expired",
            Self::EncryptionRequired => "encryption-required",
            Self::IncorrectEncoding => "incorrect-encoding",
            Self::InvalidAuthzid => "invalid-authzid",
            Self::InvalidMechanism => "invalid-mechanism",
            Self::MalformedRequest => "malformed-request",
            Self::MechanismTooWeak => "mechanism-too-weak",
            Self::NotAuthorized => "not-authorized",
            Self::TemporaryAuthFailure => "temporary-auth-failure",
        }
    }

    /// The condition that a server's element of this name stands for; one that is not known counts
    /// as `not-authorized` (RFC 6120 §6.5).
    #[must_use]
    pub fn from_name(name: &str) -> Self {
        let known = Self::ALL.into_iter().find(|condition| condition.name() == name);
        known.unwrap_or(Self::NotAuthorized)
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl std::error::Error for Condition {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_an_unknown_condition_for_not_authorized() {
        for condition in Condition::ALL {
            assert_eq!(Condition::from_name(condition.name()), condition);
        }
        assert_eq!(Condition::from_name("bad-hair-day"), Condition::NotAuthorized);
    }
}
