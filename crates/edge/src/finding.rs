//! What the server knows of a sign-in that failed and does not tell the client: for the log, and for
//! what counts as a guess.

use stentor_sasl::Condition;

/// What came to light while credentials were judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Finding {
    /// Too many have failed of late: nothing was judged.
    TooOften,
    /// The store did not answer.
    Unread,
    /// There is no such account.
    NoAccount,
    /// There is, and a password or certificate was shown for it.
    Account(Barred),
    /// A token was shown (XEP-0484).
    Token,
}

/// Why even the right password does not sign in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Barred {
    /// Too many guesses have failed.
    pub(crate) is_locked: bool,
    /// An operator does not want it to.
    pub(crate) is_suspended: bool,
}

impl Barred {
    /// What a client is told that has the right password.
    pub(crate) fn condition(self) -> Option<Condition> {
        (self.is_locked || self.is_suspended).then_some(Condition::AccountDisabled)
    }
}

/// Why a sign-in failed, in a word for the log; `condition` is what the client was told, if it was
/// told anything.
pub(crate) fn reason(condition: Option<Condition>, finding: Option<Finding>) -> &'static str {
    let Some(condition) = condition else { return "broken-off" };
    match (condition, finding) {
        (Condition::Aborted, _) => "aborted",
        (Condition::NotAuthorized, Some(Finding::Account(_))) => "wrong-password",
        (Condition::NotAuthorized, Some(Finding::Token)) => "wrong-token",
        (Condition::NotAuthorized, _) => "unknown-user",
        (Condition::AccountDisabled, Some(Finding::Account(barred))) if !barred.is_suspended => {
            "locked"
        }
        (Condition::AccountDisabled, _) => "suspended",
        (Condition::InvalidMechanism, _) => "unknown-mechanism",
        (Condition::TemporaryAuthFailure, Some(Finding::TooOften)) => "too-often",
        (Condition::TemporaryAuthFailure, _) => "server",
        (Condition::CredentialsExpired, _) => "expired",
        (Condition::InvalidAuthzid, _) => "other-identity",
        (Condition::EncryptionRequired, _) => "unencrypted",
        (Condition::MechanismTooWeak, _) => "weak-mechanism",
        (Condition::IncorrectEncoding | Condition::MalformedRequest, _) => "malformed",
    }
}

/// Whether somebody guessed: who aborts or speaks another mechanism has tried nothing, and who knows
/// the password of a suspended account has not guessed.
pub(crate) fn is_guess(condition: Condition, finding: Option<Finding>) -> bool {
    match condition {
        Condition::NotAuthorized => true,
        Condition::AccountDisabled => {
            matches!(finding, Some(Finding::Account(barred)) if !barred.is_suspended)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_client_is_told_alike_is_told_apart() {
        let account =
            |is_locked, is_suspended| Some(Finding::Account(Barred { is_locked, is_suspended }));
        let refused = Some(Condition::NotAuthorized);
        let barred = Some(Condition::AccountDisabled);
        for (condition, finding, word) in [
            (refused, account(false, false), "wrong-password"),
            (refused, account(true, true), "wrong-password"),
            (refused, Some(Finding::NoAccount), "unknown-user"),
            (refused, None, "unknown-user"),
            (barred, account(true, false), "locked"),
            (barred, account(false, true), "suspended"),
            (barred, account(true, true), "suspended"),
            (barred, Some(Finding::Token), "suspended"),
            (None, account(false, false), "broken-off"),
        ] {
            assert_eq!(reason(condition, finding), word, "{condition:?} {finding:?}");
        }
        let words: std::collections::HashSet<_> =
            Condition::ALL.iter().map(|condition| reason(Some(*condition), None)).collect();
        assert_eq!(words.len(), Condition::ALL.len() - 1, "both of the malformed");
    }

    #[test]
    fn whoever_knows_the_password_of_a_suspended_account_has_not_guessed() {
        let suspended = Barred { is_suspended: true, is_locked: true };
        let locked = Barred { is_suspended: false, is_locked: true };
        let is_guess =
            |barred| is_guess(Condition::AccountDisabled, Some(Finding::Account(barred)));
        assert!(!is_guess(suspended) && is_guess(locked));
        assert!(super::is_guess(Condition::NotAuthorized, None));
        assert!(!super::is_guess(Condition::Aborted, None));
    }
}
