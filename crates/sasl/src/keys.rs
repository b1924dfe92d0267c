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
        let salted = Self::salted(hash, password, salt, iterations)?;
        Ok(Self {
            hash,
            salt: salt.to_vec(),
            iterations,
            stored_key: stored_key(hash, &salted),
            server_key: server_key(hash, &salted),
        })
    }

    /// The keys of a salted password that the client derived itself (XEP-0480 §3): `Hi()` of the
    /// password with this salt and count. None if it has another length than the hash.
    #[must_use]
    pub fn from_salted(hash: Hash, salted: &[u8], salt: &[u8], iterations: u32) -> Option<Self> {
        (salted.len() == hash.bytes() && iterations > 0).then(|| Self {
            hash,
            salt: salt.to_vec(),
            iterations,
            stored_key: stored_key(hash, salted),
            server_key: server_key(hash, salted),
        })
    }

    /// What a client that is asked to upgrade derives from its password (XEP-0480 §3).
    ///
    /// Costs one PBKDF2.
    ///
    /// # Errors
    ///
    /// As [`ScramKeys::derive`].
    pub fn salted(
        hash: Hash,
        password: &str,
        salt: &[u8],
        iterations: u32,
    ) -> Result<Zeroizing<Vec<u8>>, PrepError> {
        if iterations == 0 {
            return Err(PrepError::NoIterations);
        }
        let password = prep::opaque_string(password)?;
        Ok(crypto::hi(hash, &password, salt, iterations))
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
    /// `server_secret` is random and kept by the server, and keys nothing but other functions of
    /// distinct input; `username` is
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

/// A key for one purpose, made of a secret that the server keeps.
///
/// `purpose` is a fixed word and what the key is for, in this order; none has a NUL in it. Different
/// purposes have unrelated keys, and none tells anything about the secret.
#[must_use]
pub fn derive_key(secret: &[u8], purpose: &[&str]) -> [u8; 32] {
    let mac = crypto::hmac(Hash::Sha256, secret, &[purpose.join("\0").as_bytes()]);
    mac.try_into().expect("SHA-256 has 32 bytes")
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Few, so that the tests are fast without optimisation.
    const ITERATIONS: u32 = 2;

    fn keys(hash: Hash, password: &str) -> ScramKeys {
        ScramKeys::derive(hash, password, b"salt of juliet", ITERATIONS).unwrap()
    }

    /// Keys as a server makes them that prepares passwords by SASLprep.
    fn sasl_keys(password: &str) -> ScramKeys {
        let form = prep::saslprep(password).unwrap();
        keys(Hash::Sha1, &form)
    }

    #[test]
    fn fit_the_password_they_were_derived_from_and_no_other() {
        for hash in Hash::ALL {
            let keys = keys(hash, "r0m30myr0m30");
            assert_eq!(keys.stored_key.len(), hash.bytes());
            assert!(keys.verify("r0m30myr0m30"));
            for wrong in ["", "r0m30myr0m3", "R0m30myr0m30", "r0m30myr0m30 ", "r0m30\0"] {
                assert!(!keys.verify(wrong), "{wrong:?}");
            }
        }
    }

    #[test]
    fn of_a_salted_password_are_those_of_the_password() {
        for hash in Hash::ALL {
            let salted = ScramKeys::salted(hash, "r0m30", b"salt of juliet", ITERATIONS).unwrap();
            let from =
                |salted: &[u8]| ScramKeys::from_salted(hash, salted, b"salt of juliet", ITERATIONS);
            assert_eq!(from(&salted), Some(keys(hash, "r0m30")));
            assert_eq!(from(&salted[1..]), None);
        }
        assert_eq!(ScramKeys::from_salted(Hash::Sha1, &[0; 20], b"salt", 0), None);
    }

    #[test]
    fn fit_every_spelling_of_a_password() {
        let keys = keys(Hash::Sha256, "p\u{E5}ss word");
        assert!(keys.verify("pa\u{30A}ss\u{3000}word"));
    }

    #[test]
    fn derived_after_saslprep_fit_too() {
        assert!(sasl_keys("\u{FB01}sh").verify("\u{FB01}sh"));
        assert!(sasl_keys("so\u{AD}ft").verify("so\u{AD}ft"));
        assert!(keys(Hash::Sha1, "\u{FB01}sh").verify("\u{FB01}sh"));
        assert!(!keys(Hash::Sha1, "\u{FB01}sh").verify("fish"));
    }

    #[test]
    fn cannot_be_derived_without_password_or_iterations() {
        assert_eq!(ScramKeys::derive(Hash::Sha1, "", b"salt", 1), Err(PrepError::Empty));
        assert_eq!(ScramKeys::derive(Hash::Sha1, "x", b"salt", 0), Err(PrepError::NoIterations));
        assert!(!ScramKeys { iterations: 0, ..keys(Hash::Sha1, "x") }.verify("x"));
    }

    #[test]
    fn of_purposes_are_unrelated_and_stay() {
        let key = |purpose: &[&str]| derive_key(b"secret", purpose);
        assert_eq!(key(&["token", "a"]), key(&["token", "a"]));
        assert_ne!(key(&["token", "a"]), key(&["token", "b"]));
        assert_ne!(key(&["token", "a"]), key(&["client", "a"]));
        assert_ne!(key(&["token", "a"]), derive_key(b"another", &["token", "a"]));
    }

    #[test]
    fn faked_look_like_those_of_one_account() {
        let fake = |hash, name| ScramKeys::fake(hash, b"secret of the server", name, 10_000);
        for hash in Hash::ALL {
            let romeo = fake(hash, "romeo");
            assert_eq!(romeo, fake(hash, "romeo"));
            assert_eq!((romeo.salt.len(), romeo.iterations), (SALT_BYTES, 10_000));
            assert_eq!(
                (romeo.stored_key.len(), romeo.server_key.len()),
                (hash.bytes(), hash.bytes())
            );
            assert_ne!(romeo.stored_key, romeo.server_key);
            assert_ne!(romeo.salt, fake(hash, "tybalt").salt);
            let other = ScramKeys::fake(hash, b"another secret", "romeo", 10_000);
            assert_ne!(romeo.salt, other.salt);
        }
        // Accounts have a salt for each hash.
        assert_ne!(fake(Hash::Sha1, "romeo").salt, fake(Hash::Sha256, "romeo").salt);
    }

    #[test]
    fn are_equal_only_in_all_fields() {
        let a = keys(Hash::Sha1, "secret");
        assert_eq!(a, a.clone());
        for b in [
            ScramKeys { hash: Hash::Sha256, ..a.clone() },
            ScramKeys { iterations: 3, ..a.clone() },
            ScramKeys { salt: vec![], ..a.clone() },
            ScramKeys { stored_key: vec![0; 20], ..a.clone() },
            ScramKeys { server_key: vec![], ..a.clone() },
        ] {
            assert_ne!(a, b);
        }
    }

    #[test]
    fn do_not_show_in_debug_output() {
        let keys = ScramKeys {
            stored_key: vec![222; 20],
            server_key: vec![111; 20],
            ..keys(Hash::Sha1, "x")
        };
        let shown = format!("{keys:?}");
        assert!(!shown.contains("222") && !shown.contains("111"), "{shown}");
    }
}
