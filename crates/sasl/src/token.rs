//! HT: hashed tokens (draft-schmaus-kitten-sasl-ht-09).
//!
//! A client shows that it has a token by an HMAC over a fixed word and the channel binding data, and
//! the server answers by another; both fit into one round trip.

use std::fmt;

use subtle::ConstantTimeEq;

use crate::limits::PART_BYTES_MAX;
use crate::{Bindings, Condition, Hash, Mechanism, crypto};

/// What a client shows of its token. `Debug` does not show it.
pub struct TokenProof {
    mechanism: Mechanism,
    binding: Vec<u8>,
    shown: Vec<u8>,
}

impl TokenProof {
    /// The mechanism in use: a token is good for the one that it was issued for.
    #[must_use]
    pub const fn mechanism(&self) -> Mechanism {
        self.mechanism
    }

    /// Whether this token made the proof. Takes the same time for any token of equal length.
    #[must_use]
    pub fn is_made_with(&self, token: &str) -> bool {
        mac(token, INITIATOR, &self.binding).ct_eq(&self.shown).into()
    }

    /// What shows the client that the server has the token too.
    #[must_use]
    pub fn answer(&self, token: &str) -> Vec<u8> {
        mac(token, RESPONDER, &self.binding)
    }
}

impl fmt::Debug for TokenProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenProof").field("mechanism", &self.mechanism).finish_non_exhaustive()
    }
}

/// Before initiator-msg.
pub(crate) struct Start {
    mechanism: Mechanism,
    /// None if the connection lacks what the mechanism binds to.
    binding: Option<Vec<u8>>,
}

impl Start {
    pub(crate) fn new(mechanism: Mechanism, bindings: &Bindings) -> Self {
        Self { mechanism, binding: binding_data(mechanism, bindings).map(<[u8]>::to_vec) }
    }

    /// Reads initiator-msg.
    pub(crate) fn parse(self, message: &[u8]) -> Result<(String, TokenProof), Condition> {
        let nul = message.iter().position(|&byte| byte == 0).ok_or(Condition::MalformedRequest)?;
        let (username, shown) = (&message[..nul], &message[nul + 1..]);
        let username = std::str::from_utf8(username).map_err(|_| Condition::MalformedRequest)?;
        if username.is_empty() || username.len() > PART_BYTES_MAX || shown.is_empty() {
            return Err(Condition::MalformedRequest);
        }
        if shown.len() > HASH.bytes() {
            return Err(Condition::NotAuthorized);
        }
        let binding = self.binding.ok_or(Condition::NotAuthorized)?;
        let proof = TokenProof { mechanism: self.mechanism, binding, shown: shown.to_vec() };
        Ok((username.to_owned(), proof))
    }
}

/// initiator-msg of a client, and the responder-msg that must follow; none without the data that
/// the mechanism binds to.
pub(crate) fn show(
    mechanism: Mechanism,
    username: &str,
    token: &str,
    bindings: &Bindings,
) -> Option<(Vec<u8>, Vec<u8>)> {
    let binding = binding_data(mechanism, bindings)?;
    let mut message = format!("{username}\0").into_bytes();
    message.extend(mac(token, INITIATOR, binding));
    Some((message, mac(token, RESPONDER, binding)))
}

fn binding_data(mechanism: Mechanism, bindings: &Bindings) -> Option<&[u8]> {
    match mechanism.token_binding() {
        Some(binding) => bindings.data(binding),
        None => Some(&[]),
    }
}

fn mac(token: &str, word: &[u8], binding: &[u8]) -> Vec<u8> {
    crypto::hmac(HASH, token.as_bytes(), &[word, binding])
}

const HASH: Hash = Hash::Sha256;
const INITIATOR: &[u8] = b"Initiator";
const RESPONDER: &[u8] = b"Responder";

#[cfg(test)]
mod tests {
    use super::*;

    /// HMAC-SHA-256 by hand: `printf 'Initiator' | openssl dgst -sha256 -hmac TOKEN`, the binding
    /// data behind the word.
    const TOKEN: &str = "secret-token:fast-juliet";
    const UNBOUND: [&str; 2] = [
        "9b96cf9adc7d91a5163b08d6b92fd1b9e97e7d543435ee23cc3aca39456815b4",
        "8c6621d01dd5f184e3de504d838297668c92cbb52add059fb4cc68cc905de931",
    ];
    const BOUND: [&str; 2] = [
        "07fd94fef733f93932f7e4cfd0c5e6cd83c9586646c701860c1100b638f85479",
        "62c25d210ef25fb45137891ed0d0fead17f8f022b3066d2d3b1ff55d0ed82477",
    ];

    fn bindings() -> Bindings {
        Bindings { exporter: Some([7; 32]), server_end_point: Some(b"end point".to_vec()) }
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn shows_what_the_draft_says() {
        for (mechanism, [initiator, responder]) in
            [(Mechanism::HtSha256None, UNBOUND), (Mechanism::HtSha256Endp, BOUND)]
        {
            let (message, answer) = show(mechanism, "juliet", TOKEN, &bindings()).unwrap();
            assert_eq!(&message[..7], b"juliet\0");
            assert_eq!(
                (hex(&message[7..]).as_str(), hex(&answer).as_str()),
                (initiator, responder)
            );
        }
    }

    #[test]
    fn believes_who_has_the_token_and_the_channel() {
        for mechanism in Mechanism::TOKENS {
            let (message, answer) = show(mechanism, "juliet", TOKEN, &bindings()).unwrap();
            let (username, proof) = Start::new(mechanism, &bindings()).parse(&message).unwrap();
            assert_eq!((username.as_str(), proof.mechanism()), ("juliet", mechanism));
            assert!(proof.is_made_with(TOKEN));
            assert!(!proof.is_made_with("secret-token:fast-romeo"));
            assert_eq!(proof.answer(TOKEN), answer);

            let elsewhere = Bindings { exporter: Some([8; 32]), server_end_point: Some(vec![8]) };
            let (_, proof) = Start::new(mechanism, &elsewhere).parse(&message).unwrap();
            assert_eq!(proof.is_made_with(TOKEN), mechanism.token_binding().is_none());
            let without = Start::new(mechanism, &Bindings::default()).parse(&message);
            let expected = mechanism.token_binding().map(|_| Condition::NotAuthorized);
            assert_eq!(without.err(), expected);
        }
    }

    #[test]
    fn refuses_messages_outside_the_grammar() {
        let long = format!("{}\0x", "a".repeat(PART_BYTES_MAX + 1));
        for message in ["", "juliet", "\0x", "juliet\0", long.as_str()] {
            let outcome =
                Start::new(Mechanism::HtSha256None, &bindings()).parse(message.as_bytes());
            assert_eq!(outcome.err(), Some(Condition::MalformedRequest), "{message:?}");
        }
        let start = Start::new(Mechanism::HtSha256None, &bindings());
        assert_eq!(start.parse(b"jul\xFFiet\0x").err(), Some(Condition::MalformedRequest));
        let start = Start::new(Mechanism::HtSha256None, &bindings());
        let longer = [&b"juliet\0"[..], &[0; 33]].concat();
        assert_eq!(start.parse(&longer).err(), Some(Condition::NotAuthorized));
    }

    #[test]
    fn does_not_show_in_debug_output() {
        let (message, _) = show(Mechanism::HtSha256None, "juliet", TOKEN, &bindings()).unwrap();
        let start = Start::new(Mechanism::HtSha256None, &bindings());
        let (_, proof) = start.parse(&message).unwrap();
        assert_eq!(format!("{proof:?}"), "TokenProof { mechanism: HtSha256None, .. }");
    }
}
