//! XEP-0474: SASL SCRAM Downgrade Protection, version 0.5.0.
//!
//! A digest of what the server listed travels inside SCRAM, so that a list that was changed on the
//! way is noticed.
//! Implements: §6.1 (the server's digest), §6.2 (the client's check), for both SASL profiles.
//! Left out: the new rule 6 of §7: our client stops where none of the listed bindings is known to it
//! and `tls-server-end-point` is missing, as XEP-0440 says.
//! Status: complete

use crate::scram::to_base64;
use crate::{Hash, crypto};

/// What a server listed in the features of the profile that the client uses.
#[derive(Clone, Copy, Debug)]
pub struct Offered<'a> {
    /// Names of the mechanisms, in any order.
    pub mechanisms: &'a [&'a str],
    /// Names of the channel binding types (XEP-0440), in any order; empty if none were listed.
    pub bindings: &'a [&'a str],
}

impl Offered<'_> {
    /// The digest in base64: the value of SCRAM's attribute `h` (§6.1).
    #[must_use]
    pub fn digest(&self, hash: Hash) -> String {
        let mut list = sorted(self.mechanisms);
        if !self.bindings.is_empty() {
            list.push(UNIT_SEPARATOR);
            list.push_str(&sorted(self.bindings));
        }
        to_base64(&crypto::digest(hash, list.as_bytes()))
    }
}

/// The names by `i;octet`, joined.
fn sorted(names: &[&str]) -> String {
    let mut names = names.to_vec();
    names.sort_unstable();
    names.join(RECORD_SEPARATOR)
}

const RECORD_SEPARATOR: &str = "\u{1E}";
const UNIT_SEPARATOR: char = '\u{1F}';

#[cfg(test)]
mod tests {
    use super::*;

    /// §6.3.
    #[test]
    fn is_that_of_the_example() {
        let offered = Offered {
            mechanisms: &["SCRAM-SHA-1-PLUS", "SCRAM-SHA-1"],
            bindings: &["tls-server-end-point", "tls-exporter"],
        };
        assert_eq!(offered.digest(Hash::Sha1), "G6k/rBLDqgOhRRaCuuatSDFkJ08=");
    }

    #[test]
    fn tells_lists_apart() {
        let digest = |mechanisms: &[&str], bindings: &[&str]| {
            Offered { mechanisms, bindings }.digest(Hash::Sha256)
        };
        let whole = digest(&["SCRAM-SHA-1", "SCRAM-SHA-256"], &["tls-exporter"]);
        assert_eq!(whole, digest(&["SCRAM-SHA-256", "SCRAM-SHA-1"], &["tls-exporter"]));
        for other in [
            digest(&["SCRAM-SHA-1"], &["tls-exporter"]),
            digest(&["SCRAM-SHA-1", "SCRAM-SHA-256"], &[]),
            digest(&["SCRAM-SHA-1", "SCRAM-SHA-256", "tls-exporter"], &[]),
        ] {
            assert_ne!(whole, other);
        }
        assert_eq!(whole.len(), 44);
    }
}
