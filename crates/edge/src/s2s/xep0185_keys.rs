//! XEP-0185: Dialback Key Generation and Validation, version 1.0.
//!
//! Makes and checks dialback keys from the server's secret, without keeping any.
//! Implements: §2 (the recommended algorithm).
//! Left out: nothing.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use stentor_stream::s2s::Pair;

/// Makes keys.
pub(crate) struct Keys {
    /// The hexadecimal digest of the secret.
    secret: String,
}

impl Keys {
    /// Keys of this secret, which all servers of a domain share.
    pub(crate) fn new(secret: &[u8]) -> Self {
        Self { secret: hex(&Sha256::digest(secret)) }
    }

    /// The key that proves `pair.local` to the receiving server `pair.remote` on a stream.
    pub(crate) fn make(&self, pair: &Pair, stream_id: &str) -> String {
        hex(&self.mac(pair, stream_id).finalize().into_bytes())
    }

    /// Whether the receiving server `pair.remote` was shown this key by us, in constant time.
    pub(crate) fn is_ours(&self, pair: &Pair, stream_id: &str, key: &str) -> bool {
        let Some(bytes) = unhex(key) else { return false };
        self.mac(pair, stream_id).verify_slice(&bytes).is_ok()
    }

    fn mac(&self, pair: &Pair, stream_id: &str) -> Hmac<Sha256> {
        // A key of any length is fine for HMAC.
        let mac = Hmac::<Sha256>::new_from_slice(self.secret.as_bytes());
        let mut mac = mac.unwrap_or_else(|_| unreachable!("HMAC takes keys of any length"));
        for part in [&pair.remote, " ", &pair.local, " ", stream_id] {
            mac.update(part.as_bytes());
        }
        mac
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.is_ascii() {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of XEP-0220 §2.1.1 and §2.2.2.
    #[test]
    fn makes_the_keys_of_the_specification() {
        for (secret, local, remote, id, key) in [
            (
                "s3cr3tf0rd14lb4ck",
                "capulet.example",
                "montague.example",
                "D60000229F",
                "b4835385f37fe2895af6c196b59097b16862406db80559900d96bf6fa7d23df3",
            ),
            (
                "d14lb4ck43v3r",
                "montague.example",
                "capulet.example",
                "417GAF25",
                "225cc5aa6a071133249d25fef42ae516fc7a86c523aa1c6980a7f73e784c972d",
            ),
        ] {
            let keys = Keys::new(secret.as_bytes());
            let pair = Pair { local: local.into(), remote: remote.into() };
            assert_eq!(keys.make(&pair, id), key);
            assert!(keys.is_ours(&pair, id, key));
            assert!(!keys.is_ours(&pair, "other", key));
            assert!(!keys.is_ours(&pair, id, &key[2..]));
            assert!(!keys.is_ours(&pair, id, "zz"));
            assert!(!keys.is_ours(&pair, id, "ä0"));
        }
    }
}
