//! SCRAM as seen from the server: one type per message that is awaited.

use subtle::{Choice, ConstantTimeEq};

use super::{ServerContext, Step, Success};
use crate::scram::message::{BindingFlag, ClientFinal, ClientFirst, Refusal};
use crate::scram::{self, to_base64};
use crate::{Bindings, ChannelBinding, Condition, Hash, Mechanism, ScramKeys, crypto};

/// Before client-first-message.
pub(super) struct Start {
    hash: Hash,
    is_plus: bool,
    plus_offered: bool,
    bindings: Bindings,
    nonce: String,
    /// The digest of what was offered (XEP-0474 §6.1).
    offered: Option<String>,
}

impl Start {
    pub(super) fn new(hash: Hash, mechanism: Mechanism, cx: &ServerContext<'_>) -> Self {
        Self {
            hash,
            is_plus: mechanism.is_plus(),
            plus_offered: cx.plus_offered,
            bindings: cx.bindings.clone(),
            nonce: cx.nonce.to_owned(),
            offered: cx.offered.map(|offered| offered.digest(hash)),
        }
    }

    /// Reads client-first-message and asks for keys.
    pub(super) fn first(self, input: &[u8]) -> Result<(WaitingForKeys, Step), Condition> {
        if !scram::is_own_nonce(&self.nonce) {
            return Err(Condition::TemporaryAuthFailure);
        }
        let first = ClientFirst::parse(input).map_err(Condition::from)?;
        let data = self.bound_to(first.flag)?;
        let waiting = WaitingForKeys {
            hash: self.hash,
            username: first.username.clone(),
            authzid: first.authzid,
            channel_binding: scram::channel_binding(first.gs2_header, data),
            client_first_bare: first.bare.to_owned(),
            nonce: format!("{}{}", first.nonce, self.nonce),
            offered: self.offered,
        };
        Ok((waiting, Step::NeedKeys { username: first.username, hash: self.hash }))
    }

    /// The channel binding data that the client must know of (RFC 5802 §6).
    fn bound_to(&self, flag: BindingFlag<'_>) -> Result<&[u8], Condition> {
        match flag {
            BindingFlag::Used(_) if !self.is_plus => Err(Condition::MalformedRequest),
            BindingFlag::Used(name) => ChannelBinding::from_name(name)
                .and_then(|binding| self.bindings.data(binding))
                .ok_or(Condition::NotAuthorized),
            // The client was shown a list without -PLUS that was not ours.
            BindingFlag::Unused if self.plus_offered || self.is_plus => {
                Err(Condition::NotAuthorized)
            }
            BindingFlag::Unsupported if self.is_plus => Err(Condition::MalformedRequest),
            BindingFlag::Unused | BindingFlag::Unsupported => Ok(&[]),
        }
    }
}

/// Between client-first-message and server-first-message.
pub(super) struct WaitingForKeys {
    hash: Hash,
    username: String,
    authzid: Option<String>,
    channel_binding: String,
    client_first_bare: String,
    nonce: String,
    offered: Option<String>,
}

impl WaitingForKeys {
    /// Writes server-first-message.
    pub(super) fn challenge(
        self,
        keys: ScramKeys,
        exists: bool,
    ) -> Result<(Challenged, String), Condition> {
        if keys.hash != self.hash || keys.iterations == 0 {
            return Err(Condition::TemporaryAuthFailure);
        }
        let mut challenge =
            format!("r={},s={},i={}", self.nonce, to_base64(&keys.salt), keys.iterations);
        if let Some(offered) = self.offered {
            // The proof covers whatever is written here.
            challenge.push_str(",h=");
            challenge.push_str(&offered);
        }
        let challenged = Challenged {
            keys,
            exists,
            username: self.username,
            authzid: self.authzid,
            channel_binding: self.channel_binding,
            nonce: self.nonce,
            auth_message: format!("{},{challenge},", self.client_first_bare),
        };
        Ok((challenged, challenge))
    }
}

/// Before client-final-message.
pub(super) struct Challenged {
    keys: ScramKeys,
    exists: bool,
    username: String,
    authzid: Option<String>,
    channel_binding: String,
    nonce: String,
    /// AuthMessage up to and with the last comma.
    auth_message: String,
}

impl Challenged {
    /// Judges client-final-message, and takes the same steps whatever is wrong with its values and
    /// whether or not the user exists.
    pub(super) fn verify(self, input: &[u8]) -> Result<Success, Condition> {
        let last = ClientFinal::parse(input).map_err(Condition::from)?;
        let hash = self.keys.hash;
        let auth_message = [self.auth_message.as_bytes(), last.without_proof.as_bytes()];
        let signature = crypto::hmac(hash, &self.keys.stored_key, &auth_message);
        let client_key = crypto::xor(&signature, &last.proof);
        let is_right = last.proof.len().ct_eq(&signature.len())
            & crypto::digest(hash, &client_key).ct_eq(&self.keys.stored_key)
            & last.channel_binding.as_bytes().ct_eq(self.channel_binding.as_bytes())
            & last.nonce.as_bytes().ct_eq(self.nonce.as_bytes())
            & Choice::from(u8::from(self.exists));
        let verifier = crypto::hmac(hash, &self.keys.server_key, &auth_message);
        if !bool::from(is_right) {
            return Err(Condition::NotAuthorized);
        }
        Ok(Success {
            username: Some(self.username),
            authzid: self.authzid,
            data: Some(format!("v={}", to_base64(&verifier)).into_bytes()),
        })
    }
}

impl From<Refusal> for Condition {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Syntax => Self::MalformedRequest,
            Refusal::MandatoryExtension => Self::NotAuthorized,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Answer, Exchange};
    use super::*;

    const NONCE: &str = "nonce-of-the-server";

    fn bindings() -> Bindings {
        Bindings { exporter: Some([7; 32]), server_end_point: None }
    }

    fn begin(
        mechanism: Mechanism,
        plus_offered: bool,
        message: &str,
    ) -> Result<(Exchange, Step), Condition> {
        let bindings = if plus_offered { bindings() } else { Bindings::default() };
        let cx = ServerContext { bindings: &bindings, plus_offered, nonce: NONCE, offered: None };
        let mut exchange = Exchange::start(mechanism, &cx);
        let step = exchange.begin(Some(message.as_bytes()))?;
        Ok((exchange, step))
    }

    fn failure(mechanism: Mechanism, plus_offered: bool, flag: &str) -> Option<Condition> {
        begin(mechanism, plus_offered, &format!("{flag},,n=juliet,r=abc")).err()
    }

    fn fake(hash: Hash) -> ScramKeys {
        ScramKeys::fake(hash, b"secret", "juliet", 4096)
    }

    #[test]
    fn judges_the_channel_binding_flag() {
        use Condition::{MalformedRequest, NotAuthorized};
        use Mechanism::{ScramSha1, ScramSha1Plus};
        for (mechanism, plus_offered, flag, expected) in [
            (ScramSha1, false, "n", None),
            (ScramSha1, false, "y", None),
            (ScramSha1, true, "n", None),
            (ScramSha1, true, "y", Some(NotAuthorized)),
            (ScramSha1, true, "p=tls-exporter", Some(MalformedRequest)),
            (ScramSha1, false, "p=tls-exporter", Some(MalformedRequest)),
            (ScramSha1Plus, true, "p=tls-exporter", None),
            (ScramSha1Plus, true, "p=tls-server-end-point", Some(NotAuthorized)),
            (ScramSha1Plus, true, "p=tls-unique", Some(NotAuthorized)),
            (ScramSha1Plus, true, "p=TLS-EXPORTER", Some(NotAuthorized)),
            (ScramSha1Plus, false, "p=tls-exporter", Some(NotAuthorized)),
            (ScramSha1Plus, true, "n", Some(MalformedRequest)),
            (ScramSha1Plus, true, "y", Some(NotAuthorized)),
        ] {
            assert_eq!(failure(mechanism, plus_offered, flag), expected, "{mechanism} {flag}");
        }
    }

    #[test]
    fn asks_for_the_keys_of_the_decoded_name() {
        let (_, step) = begin(Mechanism::ScramSha512, false, "n,,n=a=2Cb=3Dc,r=abc").unwrap();
        match step {
            Step::NeedKeys { username, hash } => {
                assert_eq!((username.as_str(), hash), ("a,b=c", Hash::Sha512));
            }
            step => panic!("{step:?}"),
        }
    }

    #[test]
    fn fails_mandatory_extensions_without_a_word_about_syntax() {
        let condition = begin(Mechanism::ScramSha1, false, "n,,m=x,n=juliet,r=abc").unwrap_err();
        assert_eq!(condition, Condition::NotAuthorized);
    }

    #[test]
    fn shows_the_same_kind_of_challenge_for_a_name_without_account() {
        let challenge = |exists| {
            let (mut exchange, _) =
                begin(Mechanism::ScramSha1, false, "n,,n=juliet,r=abc").unwrap();
            match exchange.answer(Answer::Keys { keys: fake(Hash::Sha1), exists }).unwrap() {
                Step::Challenge(challenge) => String::from_utf8(challenge).unwrap(),
                step => panic!("{step:?}"),
            }
        };
        assert!(challenge(false).starts_with("r=abcnonce-of-the-server,s="));
        assert_eq!(challenge(false), challenge(true));
    }

    #[test]
    fn refuses_even_the_right_proof_for_a_name_without_account() {
        let keys = ScramKeys::derive(Hash::Sha1, "secret", b"salt", 4096).unwrap();
        let bindings = Bindings::default();
        for exists in [true, false] {
            let (nonce, name) = ("nonce-of-the-client", "juliet");
            let mut client = crate::client::Exchange::new(
                Mechanism::ScramSha1,
                name,
                "secret",
                None,
                &bindings,
                nonce,
            )
            .unwrap();
            let first = String::from_utf8(client.first().unwrap()).unwrap();
            let (mut exchange, _) = begin(Mechanism::ScramSha1, false, &first).unwrap();
            let answer = Answer::Keys { keys: keys.clone(), exists };
            let Ok(Step::Challenge(challenge)) = exchange.answer(answer) else { panic!() };
            let outcome = exchange.step(&client.step(&challenge).unwrap());
            assert_eq!(outcome.is_ok(), exists);
            assert_eq!(outcome.err(), (!exists).then_some(Condition::NotAuthorized));
        }
    }

    #[test]
    fn refuses_keys_that_are_not_those_it_asked_for() {
        for keys in [fake(Hash::Sha256), ScramKeys { iterations: 0, ..fake(Hash::Sha1) }] {
            let (mut exchange, _) =
                begin(Mechanism::ScramSha1, false, "n,,n=juliet,r=abc").unwrap();
            let outcome = exchange.answer(Answer::Keys { keys, exists: true });
            assert_eq!(outcome.unwrap_err(), Condition::TemporaryAuthFailure);
        }
    }

    #[test]
    fn does_not_work_with_a_nonce_that_can_be_guessed_or_breaks_the_message() {
        for nonce in ["", "too-short", "has,a,comma,in,the,middle", "has spaces in the middle"] {
            let bindings = Bindings::default();
            let cx =
                ServerContext { bindings: &bindings, plus_offered: false, nonce, offered: None };
            let mut exchange = Exchange::start(Mechanism::ScramSha1, &cx);
            let outcome = exchange.begin(Some(b"n,,n=juliet,r=abc"));
            assert_eq!(outcome.unwrap_err(), Condition::TemporaryAuthFailure);
        }
    }

    fn prove(without_proof: &str) -> Result<Step, Condition> {
        prove_with(without_proof, &[])
    }

    /// client-final-message of somebody who knows the password and proves what he likes, with more
    /// bytes behind the proof.
    fn prove_with(without_proof: &str, more: &[u8]) -> Result<Step, Condition> {
        let (mut exchange, _) = begin(Mechanism::ScramSha1, false, "n,,n=juliet,r=abc")?;
        let keys = ScramKeys::derive(Hash::Sha1, "secret", b"salt", 1).unwrap();
        let stored_key = keys.stored_key.clone();
        let Step::Challenge(challenge) = exchange.answer(Answer::Keys { keys, exists: true })?
        else {
            panic!("no challenge")
        };
        let auth_message: [&[u8]; 4] =
            [b"n=juliet,r=abc,", &challenge, b",", without_proof.as_bytes()];
        let signature = crypto::hmac(Hash::Sha1, &stored_key, &auth_message);
        let salted = crypto::hi(Hash::Sha1, "secret", b"salt", 1);
        let proof = crypto::xor(&crate::keys::client_key(Hash::Sha1, &salted), &signature);
        let proof = to_base64(&[&proof, more].concat());
        exchange.step(format!("{without_proof},p={proof}").as_bytes())
    }

    #[test]
    fn checks_binding_and_nonce_even_of_one_who_knows_the_password() {
        assert!(matches!(prove("c=biws,r=abcnonce-of-the-server"), Ok(Step::Done(_))));
        assert!(matches!(prove("c=biws,r=abcnonce-of-the-server,x=y"), Ok(Step::Done(_))));
        for without_proof in [
            // y,, instead of n,,
            "c=eSws,r=abcnonce-of-the-server",
            // n,, and one byte of data
            "c=biwsAA==,r=abcnonce-of-the-server",
            "c=biwsAAAA,r=abcnonce-of-the-server",
            "c=biws,r=abcnonce-of-the-serve",
            "c=biws,r=abcnonce-of-the-server2",
            "c=biws,r=abc",
        ] {
            let outcome = prove(without_proof);
            assert_eq!(outcome.err(), Some(Condition::NotAuthorized), "{without_proof}");
        }
        let longer = prove_with("c=biws,r=abcnonce-of-the-server", b"x");
        assert_eq!(longer.err(), Some(Condition::NotAuthorized));
        let mandatory = prove("c=biws,r=abcnonce-of-the-server,m=x");
        assert_eq!(mandatory.err(), Some(Condition::NotAuthorized));
    }

    #[test]
    fn tells_bad_syntax_at_the_end_from_a_wrong_proof() {
        for (message, expected) in [
            (
                "c=biws,r=abcnonce-of-the-server,p=AAAAAAAAAAAAAAAAAAAAAAAAAAA=",
                Condition::NotAuthorized,
            ),
            ("c=biws,r=abcnonce-of-the-server,p=AAAA", Condition::NotAuthorized),
            ("c=biws,r=abcnonce-of-the-server,p=", Condition::NotAuthorized),
            ("c=biws,r=abc,p=AAAA", Condition::NotAuthorized),
            ("c=eSws,r=abcnonce-of-the-server,p=AAAA", Condition::NotAuthorized),
            ("c=biws,r=abcnonce-of-the-server,m=x,p=AAAA", Condition::NotAuthorized),
            ("c=biws,r=abcnonce-of-the-server,p=AAA", Condition::MalformedRequest),
            ("c=biws,r=abcnonce-of-the-server", Condition::MalformedRequest),
            ("", Condition::MalformedRequest),
        ] {
            let (mut exchange, _) =
                begin(Mechanism::ScramSha1, false, "n,,n=juliet,r=abc").unwrap();
            let keys = ScramKeys::derive(Hash::Sha1, "secret", b"salt", 1).unwrap();
            exchange.answer(Answer::Keys { keys, exists: true }).unwrap();
            assert_eq!(exchange.step(message.as_bytes()).unwrap_err(), expected, "{message}");
        }
    }
}
