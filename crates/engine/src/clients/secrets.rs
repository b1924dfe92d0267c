//! What the server's secret makes of the ids of clients and tokens.
//!
//! A token is an HMAC over its random id with a key of the secret, which is a file beside the
//! database: a copy of the database alone, a backup say, signs nobody in. HT needs the token itself
//! to judge a proof, so a hash of it would not do.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use smol_str::SmolStr;
use stentor_jid::BareJid;
use stentor_sasl::derive_key;

use super::tokens::Token;
use crate::bind::letters;

/// A key for all that concerns clients.
pub struct Secrets([u8; 32]);

impl Secrets {
    /// The key made of the server's secret.
    #[must_use]
    pub fn new(secret: &[u8]) -> Self {
        Self(derive_key(secret, &["clients"]))
    }

    /// The key of a client: 80 bits as letters and digits, the same at each sign-in, and nothing
    /// that leads back to its id.
    #[must_use]
    pub fn client_key(&self, account: &BareJid, id: &str) -> SmolStr {
        self.letters(&["client", account.as_str(), id])
    }

    /// The server's part of the resource of a client (XEP-0386 §3.2.1), as stable and as opaque;
    /// another one than its key, for others see it.
    #[must_use]
    pub fn resource(&self, account: &BareJid, id: &str) -> SmolStr {
        self.letters(&["resource", account.as_str(), id])
    }

    /// The token of this id: 256 bits as text.
    #[must_use]
    pub fn token(&self, account: &BareJid, client_key: &str, token: &Token) -> String {
        let purpose = ["token", account.as_str(), client_key, &token.mechanism, &token.id];
        URL_SAFE_NO_PAD.encode(derive_key(&self.0, &purpose))
    }

    fn letters(&self, purpose: &[&str]) -> SmolStr {
        let [a, b, c, d, e, f, g, h, i, j, ..] = derive_key(&self.0, purpose);
        letters([a, b, c, d, e, f, g, h, i, j])
    }
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secrets").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use stentor_sasl::Mechanism;

    use super::*;

    #[test]
    fn make_the_same_of_the_same_and_tell_everything_else_apart() {
        let secrets = Secrets::new(b"secret");
        let juliet = BareJid::new("juliet@capulet.example").unwrap();
        let romeo = BareJid::new("romeo@montague.example").unwrap();
        let id = "d4565fa7-4d72-4749-b3d3-740edbf87770";
        let key = secrets.client_key(&juliet, id);
        assert_eq!(key, Secrets::new(b"secret").client_key(&juliet, id));
        assert_eq!(key.len(), 16);
        let others = [
            secrets.client_key(&romeo, id),
            secrets.client_key(&juliet, "another"),
            secrets.resource(&juliet, id),
            Secrets::new(b"another").client_key(&juliet, id),
        ];
        assert!(others.iter().all(|other| *other != key), "{others:?}");

        let token = Token::new("id".into(), Mechanism::HtSha256None, 1);
        let text = secrets.token(&juliet, &key, &token);
        assert_eq!(text.len(), 43);
        assert_ne!(text, secrets.token(&juliet, &key, &Token { id: "ie".into(), ..token.clone() }));
        assert_ne!(text, secrets.token(&juliet, "other", &token));
        // What changes about a token does not change the token.
        assert_eq!(text, secrets.token(&juliet, &key, &Token { count: Some(1), ..token }));
    }

    #[test]
    fn do_not_show_in_debug_output() {
        assert_eq!(format!("{:?}", Secrets::new(b"secret")), "Secrets { .. }");
    }
}
