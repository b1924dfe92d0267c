//! The tokens of one client, and how they follow one another (XEP-0484 §3.5, §5.1).
//!
//! Pure: the time and the randomness are arguments. A token itself is never kept, see
//! [`Secrets`](super::Secrets).

use serde::{Deserialize, Serialize};
use stentor_sasl::{Condition, Mechanism, TokenProof};

/// At most two tokens: the one in use, and one that was given out to follow it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tokens {
    /// The token that was used last.
    current: Option<Token>,
    /// A newer one that was not used yet. It may never have reached the client.
    next: Option<Token>,
}

/// What is kept of a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// Random; together with the server's secret it makes the token.
    pub id: String,
    /// The name of the mechanism that it is good for.
    pub mechanism: String,
    /// When it ends, in milliseconds since 1970 UTC.
    pub expires_ms: i64,
    /// The highest count that came with it.
    pub count: Option<u64>,
    /// Whether it was taken back before its end.
    pub is_revoked: bool,
}

/// What a client does with its token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// How often it says to have used it.
    pub count: Option<u64>,
    /// Whether the token is to be good no more.
    pub invalidates: bool,
}

impl Tokens {
    /// Judges a proof, and notes that the token was used. `secret` makes the token of what is kept.
    /// Returns what shows the client that we have it.
    ///
    /// # Errors
    /// [`Condition::CredentialsExpired`] for the proof of a token that has ended or was taken back
    /// (§4.2), [`Condition::NotAuthorized`] for any other, and for a count that is not higher than
    /// the last (§3.4). Then nothing changes.
    pub fn take(
        &mut self,
        proof: &TokenProof,
        usage: Usage,
        now_ms: i64,
        secret: impl Fn(&Token) -> String,
    ) -> Result<Vec<u8>, Condition> {
        let is_right = |token: &Token| {
            let is_for_this = token.mechanism == proof.mechanism().name();
            is_for_this && proof.is_made_with(&secret(token))
        };
        let is_next = self.next.as_ref().is_some_and(is_right);
        let slot = if is_next { &mut self.next } else { &mut self.current };
        let token = slot.as_mut().filter(|token| is_next || is_right(token));
        let token = token.ok_or(Condition::NotAuthorized)?;
        if token.is_revoked || token.expires_ms <= now_ms {
            return Err(Condition::CredentialsExpired);
        }
        if let (Some(count), Some(last)) = (usage.count, token.count)
            && count <= last
        {
            return Err(Condition::NotAuthorized);
        }
        let answer = proof.answer(&secret(token));
        token.count = usage.count.or(token.count);
        token.is_revoked = usage.invalidates;
        if is_next {
            // §3.5: tokens with an earlier end are good no more.
            self.current = self.next.take();
        } else if usage.invalidates {
            // Whoever logs out does not want what may still be on its way.
            self.next = None;
        }
        Ok(answer)
    }

    /// Keeps a new token to follow. One that was given out and never used is forgotten.
    pub fn add(&mut self, token: Token) {
        self.next = Some(token);
    }

    /// Whether the token in use ends so soon that another shall follow it (§3.5).
    #[must_use]
    pub fn is_due(&self, now_ms: i64, renew_ms: i64) -> bool {
        let token = self.current.as_ref().filter(|token| !token.is_revoked);
        token.is_some_and(|token| token.expires_ms.saturating_sub(now_ms) <= renew_ms)
    }

    /// Whether any of them is good.
    #[must_use]
    pub fn is_any_good(&self, now_ms: i64) -> bool {
        let mut all = [&self.current, &self.next].into_iter().flatten();
        all.any(|token| !token.is_revoked && token.expires_ms > now_ms)
    }

    /// Takes all of them back; false if none was good. They are kept so that a client that still
    /// shows one is told that it is over (§4.2).
    pub fn revoke(&mut self) -> bool {
        let mut was_any = false;
        for token in [&mut self.current, &mut self.next].into_iter().flatten() {
            was_any |= !token.is_revoked;
            token.is_revoked = true;
        }
        was_any
    }
}

impl Token {
    /// A token for this mechanism.
    #[must_use]
    pub fn new(id: String, mechanism: Mechanism, expires_ms: i64) -> Self {
        let mechanism = mechanism.name().to_owned();
        Self { id, mechanism, expires_ms, count: None, is_revoked: false }
    }
}

#[cfg(test)]
mod tests {
    use stentor_sasl::Bindings;
    use stentor_sasl::server::{Exchange, ServerContext, Step};

    use super::*;

    const MECHANISM: Mechanism = Mechanism::HtSha256None;

    fn secret(token: &Token) -> String {
        format!("secret of {}", token.id)
    }

    fn token(id: &str, expires_ms: i64) -> Token {
        Token::new(id.into(), MECHANISM, expires_ms)
    }

    /// What a client shows of the token of this id.
    fn proof(id: &str, mechanism: Mechanism) -> TokenProof {
        let bindings = Bindings { exporter: Some([7; 32]), server_end_point: None };
        let text = format!("secret of {id}");
        let client = stentor_sasl::client::Exchange::with_token(mechanism, "a", &text, &bindings);
        let cx =
            ServerContext { bindings: &bindings, plus_offered: false, nonce: "", offered: None };
        let mut server = Exchange::start(mechanism, &cx);
        match server.begin(client.unwrap().first().as_deref()) {
            Ok(Step::NeedToken { proof, .. }) => proof,
            step => panic!("{step:?}"),
        }
    }

    fn take(tokens: &mut Tokens, id: &str, count: Option<u64>) -> Result<(), Condition> {
        let usage = Usage { count, invalidates: false };
        tokens.take(&proof(id, MECHANISM), usage, 50, secret).map(|_| ())
    }

    #[test]
    fn the_old_one_is_good_until_the_new_one_is_used() {
        let mut tokens = Tokens::default();
        assert_eq!(take(&mut tokens, "a", None), Err(Condition::NotAuthorized));
        tokens.add(token("a", 100));
        assert_eq!(take(&mut tokens, "a", None), Ok(()));
        tokens.add(token("b", 200));
        assert_eq!(take(&mut tokens, "a", None), Ok(()), "b may never have arrived");
        assert_eq!(take(&mut tokens, "b", None), Ok(()));
        assert_eq!(take(&mut tokens, "a", None), Err(Condition::NotAuthorized));
        assert_eq!(take(&mut tokens, "b", None), Ok(()));
    }

    #[test]
    fn one_that_was_never_used_is_forgotten_for_a_newer_one() {
        let mut tokens = Tokens::default();
        tokens.add(token("a", 100));
        take(&mut tokens, "a", None).unwrap();
        tokens.add(token("b", 200));
        tokens.add(token("c", 300));
        assert_eq!(take(&mut tokens, "b", None), Err(Condition::NotAuthorized));
        assert_eq!(take(&mut tokens, "a", None), Ok(()));
        assert_eq!(take(&mut tokens, "c", None), Ok(()));
    }

    #[test]
    fn ends_at_its_end_and_says_so_to_who_has_it() {
        let mut tokens = Tokens::default();
        tokens.add(token("a", 50));
        assert_eq!(take(&mut tokens, "a", None), Err(Condition::CredentialsExpired));
        assert_eq!(take(&mut tokens, "b", None), Err(Condition::NotAuthorized));
        assert!(!tokens.is_any_good(50) && tokens.is_any_good(49));
    }

    #[test]
    fn taken_back_says_so_to_who_has_it() {
        let mut tokens = Tokens::default();
        assert!(!tokens.revoke());
        tokens.add(token("a", 100));
        take(&mut tokens, "a", None).unwrap();
        tokens.add(token("b", 100));
        assert!(tokens.revoke() && !tokens.revoke());
        assert_eq!(take(&mut tokens, "a", None), Err(Condition::CredentialsExpired));
        assert_eq!(take(&mut tokens, "b", None), Err(Condition::CredentialsExpired));
        assert!(!tokens.is_any_good(0) && !tokens.is_due(99, 10));
    }

    #[test]
    fn is_good_for_its_mechanism_only() {
        let mut tokens = Tokens::default();
        tokens.add(token("a", 100));
        let other = proof("a", Mechanism::HtSha256Expr);
        let outcome = tokens.take(&other, Usage::default(), 50, secret);
        assert_eq!(outcome, Err(Condition::NotAuthorized));
    }

    #[test]
    fn a_count_must_grow() {
        let mut tokens = Tokens::default();
        tokens.add(token("a", 100));
        let refused = Err(Condition::NotAuthorized);
        let counts = [Some(1), Some(1), Some(7), Some(6), None, Some(7), Some(8)];
        let outcomes = counts.map(|count| take(&mut tokens, "a", count));
        assert_eq!(outcomes, [Ok(()), refused, Ok(()), refused, Ok(()), refused, Ok(())]);
        // A new token begins anew.
        tokens.add(token("b", 100));
        assert_eq!(take(&mut tokens, "b", Some(0)), Ok(()));
    }

    #[test]
    fn invalidated_is_good_no_more_and_nothing_follows_it() {
        let mut tokens = Tokens::default();
        tokens.add(token("a", 100));
        take(&mut tokens, "a", None).unwrap();
        tokens.add(token("b", 100));
        let usage = Usage { count: None, invalidates: true };
        tokens.take(&proof("a", MECHANISM), usage, 50, secret).unwrap();
        assert_eq!(take(&mut tokens, "a", None), Err(Condition::CredentialsExpired));
        assert_eq!(take(&mut tokens, "b", None), Err(Condition::NotAuthorized));
        assert!(!tokens.is_due(99, 10));
    }

    #[test]
    fn another_is_due_near_its_end() {
        let mut tokens = Tokens::default();
        tokens.add(token("a", 100));
        assert!(!tokens.is_due(99, 10), "none is in use");
        take(&mut tokens, "a", None).unwrap();
        assert!(!tokens.is_due(89, 10));
        assert!(tokens.is_due(90, 10));
    }
}
