//! Ids of what an account keeps, as clients see them.
//!
//! Inside, an id is a number that grows with time (`Engine::next_id`). XEP-0313 §3 wants one that
//! cannot be guessed and XEP-0359 §6 one that tells nothing, so what is shown is that number under
//! a keyed permutation: four rounds of a Feistel network (Luby and Rackoff) with SHA-256 of key,
//! round and half as round function. It needs no table, and the same id always looks the same.

use sha2::{Digest, Sha256};
use smol_str::{SmolStr, format_smolstr};

/// Turns ids into what is shown of them and back.
pub(crate) struct ShownIds {
    key: [u8; 32],
}

impl ShownIds {
    /// The permutation of a secret. With another secret all ids look different.
    pub(crate) fn new(secret: &[u8]) -> Self {
        let key = Sha256::new().chain_update(b"archive ids\0").chain_update(secret).finalize();
        Self { key: key.into() }
    }

    /// What is shown: 16 digits of base 16.
    pub(crate) fn show(&self, id: u64) -> SmolStr {
        let [mut left, mut right] = halves(id);
        for round in 0..ROUNDS {
            (left, right) = (right, left ^ self.round(round, right));
        }
        format_smolstr!("{:016x}", joined(left, right))
    }

    /// The id that is shown like this; none if it does not look like one.
    pub(crate) fn read(&self, shown: &str) -> Option<u64> {
        let is_digit = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
        if shown.len() != 16 || !shown.bytes().all(is_digit) {
            return None;
        }
        let [mut left, mut right] = halves(u64::from_str_radix(shown, 16).ok()?);
        for round in (0..ROUNDS).rev() {
            (left, right) = (right ^ self.round(round, left), left);
        }
        Some(joined(left, right))
    }

    fn round(&self, round: u8, half: u32) -> u32 {
        let mut hash = Sha256::new();
        hash.update(self.key);
        hash.update([round]);
        hash.update(half.to_be_bytes());
        let [a, b, c, d, ..] = <[u8; 32]>::from(hash.finalize());
        u32::from_be_bytes([a, b, c, d])
    }
}

#[allow(clippy::cast_possible_truncation)]
const fn halves(id: u64) -> [u32; 2] {
    [(id >> 32) as u32, id as u32]
}

const fn joined(left: u32, right: u32) -> u64 {
    (left as u64) << 32 | right as u64
}

const ROUNDS: u8 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_read_again() {
        let ids = ShownIds::new(b"secret");
        for id in [0, 1, 2, u64::MAX, 1_767_323_045_000_000, 1_767_323_045_000_001] {
            assert_eq!(ids.read(&ids.show(id)), Some(id));
        }
    }

    #[test]
    fn neighbours_look_unlike_and_so_do_other_secrets() {
        let (ids, others) = (ShownIds::new(b"secret"), ShownIds::new(b"other"));
        let shown = |id| ids.read(&others.show(id));
        assert_ne!(shown(7), Some(7));
        let mut all: Vec<_> = (0..10_000).map(|id| ids.show(id)).collect();
        // Of neighbours about half of the bits differ, not the last few.
        let same = all.windows(2).filter(|p| p[0][..4] == p[1][..4]).count();
        assert!(same < 10, "{same}");
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 10_000);
    }

    #[test]
    fn what_is_not_shown_so_is_not_read() {
        let ids = ShownIds::new(b"secret");
        let upper = ids.show(1).to_uppercase();
        for text in ["", "1", "28482-98726-73623", "+123456789abcdef", "0123456789abcdef0", &upper]
        {
            assert_eq!(ids.read(text), None, "{text}");
        }
    }
}
