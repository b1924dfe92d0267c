//! What a server keeps of a password (RFC 5802 §3).

use std::fmt;

use subtle::{Choice, ConstantTimeEq};
use zeroize::Zeroizing;

use crate::limits::SALT_BYTES;
use crate::{Hash, PrepError, crypto, prep};

/// The keys of one password for one hash function. Never the password.
///
/// Whoever has them can act as the server towards this user, and, after watching a login, as the
/// user (RFC 5802 §9): `Debug` shows neither key. Comparison takes the same time for any keys of
/// equal length.
#[derive(Clone)]
pub struct ScramKeys {
    /// The hash function of the keys.
    pub hash: Hash,
    /// The salt, raw.
    pub salt: Vec<u8>,
    /// The iteration count.
    pub iterations: u32,
    /// StoredKey: H(HMAC(SaltedPassword, "Client Key")).
    pub stored_key: Vec<u8>,
    /// ServerKey: HMAC(SaltedPassword, "Server Key").
    pub server_key: Vec<u8>,
}

impl ScramKeys {
    /// Derives the keys of a new password, prepared by [`prep::opaque_string`].
    ///
    /// Costs one PBKDF2: milliseconds per ten thousand iterations. `salt` should be
    /// [`SALT_BYTES`] from the system's randomness, a new one for each password and hash.
    ///
    /// Clients that prepare the password by SASLprep instead, as RFC 5802 §5.1 says, arrive at the
    /// same keys unless the two forms differ ([`prep`]).
    ///
    /// # Errors
    ///
    /// Why the password cannot be one, or [`PrepError::NoIterations`].
    pub fn derive(
        hash: Hash,
        password: &str,
        salt: &[u8],
        iterations: u32,
    ) -> Result<Self, PrepError> {
        if iterations == 0 {
            return Err(PrepError::NoIterations);
        }
        let password = prep::opaque_string(password)?;
        let salted = crypto::hi(hash, &password, salt, iterations);
        Ok(Self {
            hash,
            salt: salt.to_vec(),
            iterations,
            stored_key: stored_key(hash, &salted),
            server_key: server_key(hash, &salted),
        })
    }

    /// Whether these are the keys of the password, in one of its two prepared forms ([`prep`]).
    ///
    /// Costs one PBKDF2, two if the forms differ and the first one is wrong. The time tells nothing
    /// about the keys.
    #[must_use]
    pub fn verify(&self, password: &str) -> bool {
        let opaque = prep::opaque_string(password).ok();
        if opaque.as_ref().is_some_and(|form| self.is_made_from(form)) {
            return true;
        }
        let sasl = prep::saslprep(password).ok().filter(|form| opaque.as_ref() != Some(form));
        sasl.is_some_and(|form| self.is_made_from(&form))
    }

    /// Keys for a name that has no account, which no password fits: the same ones each time, so
    /// that asking twice tells nothing.
    ///
    /// `server_secret` is random and kept by the server, not used for anything else; `username` is
    /// the prepared name or bare JID, so that all spellings of one name get one salt, as with an
    /// account; `iterations` is what new accounts get. An answer with these keys says
    /// `exists: false`.
    #[must_use]
    pub fn fake(hash: Hash, server_secret: &[u8], username: &str, iterations: u32) -> Self {
        let made_up = |what: &[u8]| {
            let label: [&[u8]; 3] = [what, hash.name().as_bytes(), username.as_bytes()];
            crypto::hmac(hash, server_secret, &[&label.join(&0)])
        };
        let mut salt = made_up(b"salt");
        salt.truncate(SALT_BYTES);
        Self {
            hash,
            salt,
            iterations,
            stored_key: made_up(b"stored key"),
            server_key: made_up(b"server key"),
        }
    }

    fn is_made_from(&self, form: &Zeroizing<String>) -> bool {
        if self.iterations == 0 {
            return false;
        }
        let salted = crypto::hi(self.hash, form, &self.salt, self.iterations);
        stored_key(self.hash, &salted).ct_eq(&self.stored_key).into()
    }
}

impl PartialEq for ScramKeys {
    fn eq(&self, other: &Self) -> bool {
        let public = self.hash == other.hash
            && self.iterations == other.iterations
            && self.salt == other.salt;
        let secret =
            self.stored_key.ct_eq(&other.stored_key) & self.server_key.ct_eq(&other.server_key);
        (Choice::from(u8::from(public)) & secret).into()
    }
}

impl Eq for ScramKeys {}

impl fmt::Debug for ScramKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScramKeys")
            .field("hash", &self.hash)
            .field("iterations", &self.iterations)
            .finish_non_exhaustive()
    }
}

/// ClientKey of a salted password.
pub(crate) fn client_key(hash: Hash, salted: &[u8]) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(crypto::hmac(hash, salted, &[b"Client Key"]))
}

/// StoredKey of a salted password.
pub(crate) fn stored_key(hash: Hash, salted: &[u8]) -> Vec<u8> {
    crypto::digest(hash, &client_key(hash, salted))
}

/// ServerKey of a salted password.
pub(crate) fn server_key(hash: Hash, salted: &[u8]) -> Vec<u8> {
    crypto::hmac(hash, salted, &[b"Server Key"])
}
