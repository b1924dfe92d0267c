//! The client's side of an exchange.
//!
//! [`choose`] a mechanism, make an [`Exchange`], send [`first`] with `<auth/>`, answer each
//! challenge by [`step`], and believe success only after [`finish`].
//!
//! [`first`]: Exchange::first
//! [`step`]: Exchange::step
//! [`finish`]: Exchange::finish

mod choose;
mod scram;

use std::fmt;

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use self::scram::Scram;
use crate::limits::{AUTHZID_BYTES_MAX, MESSAGE_BYTES_MAX, PART_BYTES_MAX};
use crate::{Bindings, Mechanism, Offered, PrepError, plain, prep, token};

pub use self::choose::choose;

/// One attempt to sign in.
pub struct Exchange {
    mechanism: Mechanism,
    state: State,
}

impl Exchange {
    /// Prepares the first message.
    ///
    /// `username` is the localpart of the account (RFC 6120 §6.3.7); `password` is prepared here.
    /// `authzid` is the bare JID to act as, `None` for the own one (RFC 6120 §6.3.8). Username and
    /// password are not looked at by EXTERNAL and ANONYMOUS.
    ///
    /// `bindings` are those of the connection, narrowed to what the server announced by
    /// [`Bindings::agreed`]. A -PLUS mechanism binds to the strongest; another SCRAM mechanism
    /// tells the server that we could have, which fails if the server offered -PLUS (RFC 5802 §6):
    /// who wants SCRAM without binding from such a server passes [`Bindings::default`].
    ///
    /// `nonce` is new and random, at least
    /// [`NONCE_CHARS_MIN`](crate::limits::NONCE_CHARS_MIN) characters ([`nonce`](crate::nonce)).
    ///
    /// # Errors
    ///
    /// [`ClientError::Username`], [`ClientError::Authzid`], [`ClientError::Password`],
    /// [`ClientError::Nonce`], [`ClientError::NoBinding`] for -PLUS without any, or
    /// [`ClientError::OutOfOrder`] for a mechanism that takes a token instead.
    pub fn new(
        mechanism: Mechanism,
        username: &str,
        password: &str,
        authzid: Option<&str>,
        bindings: &Bindings,
        nonce: &str,
    ) -> Result<Self, ClientError> {
        let authzid = authzid.filter(|authzid| !authzid.is_empty());
        if authzid.is_some_and(|authzid| !is_part(authzid, AUTHZID_BYTES_MAX)) {
            return Err(ClientError::Authzid);
        }
        if mechanism.is_token() {
            return Err(ClientError::OutOfOrder);
        }
        if let Mechanism::External | Mechanism::Anonymous = mechanism {
            let authzid = authzid.filter(|_| mechanism == Mechanism::External);
            let message = authzid.unwrap_or_default().as_bytes().to_vec();
            return Ok(Self { mechanism, state: State::one(message) });
        }
        if !is_part(username, PART_BYTES_MAX) {
            return Err(ClientError::Username);
        }
        let password = prep::opaque_string(password)?;
        let state = match mechanism.hash() {
            None => State::one(plain::write(authzid, username, &password)),
            Some(hash) => {
                let gs2_header = scram::gs2_header(mechanism, authzid, bindings)?;
                State::Scram(Box::new(Scram::new(hash, username, password, gs2_header, nonce)?))
            }
        };
        Ok(Self { mechanism, state })
    }

    /// Prepares the first message of a mechanism that takes a token.
    ///
    /// `username` is the localpart of the account, `token` what the server gave out.
    ///
    /// # Errors
    ///
    /// [`ClientError::Username`], [`ClientError::NoBinding`] without the data that the mechanism
    /// binds to, [`ClientError::OutOfOrder`] for a mechanism that takes no token.
    pub fn with_token(
        mechanism: Mechanism,
        username: &str,
        token: &str,
        bindings: &Bindings,
    ) -> Result<Self, ClientError> {
        if !is_part(username, PART_BYTES_MAX) {
            return Err(ClientError::Username);
        }
        if !mechanism.is_token() {
            return Err(ClientError::OutOfOrder);
        }
        let shown = token::show(mechanism, username, token, bindings);
        let (message, answer) = shown.ok_or(ClientError::NoBinding)?;
        let message = Some(Zeroizing::new(message));
        Ok(Self { mechanism, state: State::Token { message, answer } })
    }

    /// Has SCRAM check that what the server listed arrived as it was sent (XEP-0474 §6.2), if the
    /// server takes part. To be called before [`step`](Self::step).
    pub fn expect(&mut self, offered: &Offered<'_>) {
        if let State::Scram(scram) = &mut self.state {
            scram.expect(offered);
        }
    }

    /// The mechanism of this exchange.
    #[must_use]
    pub const fn mechanism(&self) -> Mechanism {
        self.mechanism
    }

    /// The initial response, empty for one that is sent as `=`; `None` for none, and when it has
    /// been taken.
    pub fn first(&mut self) -> Option<Vec<u8>> {
        match &mut self.state {
            // XEP-0175 §3: no trace data.
            State::One(_) if self.mechanism == Mechanism::Anonymous => None,
            State::One(message) | State::Token { message, .. } => State::sent(message),
            State::Scram(scram) => scram.first(),
        }
    }

    /// Answers a challenge. For SCRAM this costs one PBKDF2 of the server's iteration count.
    ///
    /// What [`first`](Self::first) would have given may instead answer an empty challenge, and a
    /// server may send SCRAM's signature in a challenge rather than with success (RFC 4422 §5.1).
    ///
    /// # Errors
    ///
    /// Why the exchange must be aborted.
    pub fn step(&mut self, challenge: &[u8]) -> Result<Vec<u8>, ClientError> {
        if challenge.len() > MESSAGE_BYTES_MAX {
            return Err(ClientError::Malformed);
        }
        match &mut self.state {
            State::One(message) | State::Token { message, .. } if challenge.is_empty() => {
                State::sent(message).ok_or(ClientError::OutOfOrder)
            }
            State::One(_) | State::Token { .. } => Err(ClientError::OutOfOrder),
            State::Scram(scram) => scram.step(challenge),
        }
    }

    /// Judges success, given with additional data or without.
    ///
    /// # Errors
    ///
    /// Why success is not to be believed: the server has not shown that it knows the password, or
    /// it ended an exchange that was not through.
    pub fn finish(&mut self, data: Option<&[u8]>) -> Result<(), ClientError> {
        match (&mut self.state, data) {
            (State::One(_), None | Some([])) => Ok(()),
            (State::One(_), Some(_)) => Err(ClientError::OutOfOrder),
            (State::Token { answer, .. }, Some(data)) if bool::from(answer.ct_eq(data)) => Ok(()),
            (State::Token { .. }, Some(_)) => Err(ClientError::ServerSignature),
            (State::Token { .. }, None) => Err(ClientError::ServerUnproven),
            (State::Scram(scram), data) => scram.finish(data),
        }
    }
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange").field("mechanism", &self.mechanism).finish_non_exhaustive()
    }
}

/// Why a client does not go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The user name is empty, over 1,023 bytes, or has a NUL.
    #[error("a user name has 1 to {PART_BYTES_MAX} bytes and no NUL")]
    Username,
    /// The authorization identity is too long or has a NUL.
    #[error("an authorization identity has at most {AUTHZID_BYTES_MAX} bytes and no NUL")]
    Authzid,
    /// The password cannot be prepared.
    #[error("the password cannot be used: {0}")]
    Password(#[from] PrepError),
    /// Our own nonce is too short, or not printable ASCII without comma.
    #[error("the nonce of this side is not fit for use")]
    Nonce,
    /// A -PLUS mechanism without channel binding data.
    #[error("the connection has no channel binding data")]
    NoBinding,
    /// The server announced channel binding types that no honest server has (XEP-0440 §3, rule 6).
    #[error("the server's list of channel binding types has been changed on the way")]
    BindingsStripped,
    /// The server's message breaks the syntax of the mechanism, or is over 8 KiB.
    #[error("the server's message breaks the syntax of the mechanism")]
    Malformed,
    /// The server demands an extension of SCRAM that is not known (RFC 5802 §5.1).
    #[error("the server demands an unknown extension")]
    MandatoryExtension,
    /// The server's nonce does not begin with ours, or adds nothing to it.
    #[error("the server's nonce does not extend ours")]
    ForeignNonce,
    /// An iteration count below 4,096 or above two million.
    #[error("an iteration count of {0} is not accepted")]
    Iterations(u32),
    /// What the server listed is not what it sent (XEP-0474 §6.2).
    #[error("the server's lists of mechanisms and bindings have been changed on the way")]
    Downgraded,
    /// The server reported an error in SCRAM's last message.
    #[error("the server reported: {0}")]
    Reported(String),
    /// The server's signature is wrong: it does not know the password, or somebody is between.
    #[error("the server's signature is wrong")]
    ServerSignature,
    /// Success came without the server's signature.
    #[error("the server has not proved itself")]
    ServerUnproven,
    /// A message that has no place here.
    #[error("a message came out of order")]
    OutOfOrder,
}

enum State {
    /// A mechanism of one message, which is kept until it is sent and wiped if it never is: it may
    /// have the password.
    One(Option<Zeroizing<Vec<u8>>>),
    /// A token's message, and what the server must answer.
    Token {
        message: Option<Zeroizing<Vec<u8>>>,
        answer: Vec<u8>,
    },
    Scram(Box<Scram>),
}

impl State {
    fn one(message: Vec<u8>) -> Self {
        Self::One(Some(Zeroizing::new(message)))
    }

    fn sent(message: &mut Option<Zeroizing<Vec<u8>>>) -> Option<Vec<u8>> {
        message.take().map(|mut message| std::mem::take(&mut *message))
    }
}

fn is_part(text: &str, bytes_max: usize) -> bool {
    (1..=bytes_max).contains(&text.len()) && !text.contains('\0')
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONCE: &str = "fyko+d2lbbFgONRv9qkxdawL";
    const CHALLENGE: &str =
        "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096";
    const SIGNATURE: &[u8] = b"v=rmF9pqV8S7suAoZWja4dJRkFsKQ=";

    fn exchange(mechanism: Mechanism) -> Result<Exchange, ClientError> {
        Exchange::new(mechanism, "user", "pencil", None, &Bindings::default(), NONCE)
    }

    /// SCRAM-SHA-1 after client-final-message, as in RFC 5802 §5.
    fn nearly_done() -> Exchange {
        let mut exchange = exchange(Mechanism::ScramSha1).unwrap();
        exchange.first().unwrap();
        exchange.step(CHALLENGE.as_bytes()).unwrap();
        exchange
    }

    fn refusal(challenge: &str) -> ClientError {
        let mut exchange = exchange(Mechanism::ScramSha1).unwrap();
        exchange.first().unwrap();
        exchange.step(challenge.as_bytes()).unwrap_err()
    }

    fn first(mechanism: Mechanism, authzid: Option<&str>, bindings: &Bindings) -> Option<String> {
        let exchange = Exchange::new(mechanism, "a,b=c", "pencil", authzid, bindings, NONCE);
        exchange.unwrap().first().map(|message| String::from_utf8(message).unwrap())
    }

    #[test]
    fn writes_initial_responses() {
        let none = Bindings::default();
        let both = Bindings { exporter: Some([7; 32]), server_end_point: Some(vec![9; 32]) };
        let end_point = Bindings { exporter: None, ..both.clone() };
        let me = Some("juliet@capulet.example");
        let bare = format!("n=a=2Cb=3Dc,r={NONCE}");
        for (mechanism, authzid, bindings, expected) in [
            (Mechanism::Plain, None, &none, Some("\0a,b=c\0pencil".to_owned())),
            (Mechanism::Plain, me, &none, Some("juliet@capulet.example\0a,b=c\0pencil".to_owned())),
            (Mechanism::External, None, &none, Some(String::new())),
            (Mechanism::External, me, &none, me.map(str::to_owned)),
            (Mechanism::Anonymous, None, &none, None),
            (Mechanism::ScramSha256, None, &none, Some(format!("n,,{bare}"))),
            (Mechanism::ScramSha256, Some(""), &both, Some(format!("y,,{bare}"))),
            (Mechanism::ScramSha256, Some("a,b"), &none, Some(format!("n,a=a=2Cb,{bare}"))),
            (Mechanism::ScramSha256Plus, None, &both, Some(format!("p=tls-exporter,,{bare}"))),
            (
                Mechanism::ScramSha1Plus,
                None,
                &end_point,
                Some(format!("p=tls-server-end-point,,{bare}")),
            ),
        ] {
            assert_eq!(first(mechanism, authzid, bindings), expected, "{mechanism}");
        }
    }

    #[test]
    fn refuses_what_cannot_be_sent() {
        let none = Bindings::default();
        let new = |mechanism, username, password, authzid, nonce| {
            Exchange::new(mechanism, username, password, authzid, &none, nonce).unwrap_err()
        };
        let (plain, scram) = (Mechanism::Plain, Mechanism::ScramSha1);
        assert_eq!(new(plain, "", "x", None, NONCE), ClientError::Username);
        assert_eq!(new(plain, "a\0b", "x", None, NONCE), ClientError::Username);
        assert_eq!(new(plain, "a", "x", Some("a\0b"), NONCE), ClientError::Authzid);
        assert_eq!(new(plain, "a", "", None, NONCE), ClientError::Password(PrepError::Empty));
        assert_eq!(new(scram, "a", "x", None, "short"), ClientError::Nonce);
        assert_eq!(exchange(Mechanism::ScramSha1Plus).unwrap_err(), ClientError::NoBinding);
    }

    #[test]
    fn gives_the_initial_response_once_or_on_demand() {
        for mechanism in [Mechanism::Plain, Mechanism::External, Mechanism::ScramSha1] {
            let mut at_once = exchange(mechanism).unwrap();
            let message = at_once.first().unwrap();
            assert_eq!(at_once.first(), None);
            at_once.step(b"").unwrap_err();
            assert_eq!(exchange(mechanism).unwrap().step(b""), Ok(message));
        }
        let mut anonymous = exchange(Mechanism::Anonymous).unwrap();
        assert_eq!(anonymous.first(), None);
        assert_eq!(anonymous.step(b""), Ok(Vec::new()));
        assert_eq!(anonymous.step(b""), Err(ClientError::OutOfOrder));
    }

    #[test]
    fn believes_the_signature_in_either_place() {
        assert_eq!(nearly_done().finish(Some(SIGNATURE)), Ok(()));
        let mut by_challenge = nearly_done();
        assert_eq!(by_challenge.step(SIGNATURE), Ok(Vec::new()));
        assert_eq!(by_challenge.finish(None), Ok(()));
    }

    #[test]
    fn believes_no_success_without_the_signature() {
        assert_eq!(nearly_done().finish(None), Err(ClientError::ServerUnproven));
        assert_eq!(nearly_done().finish(Some(b"")), Err(ClientError::Malformed));
        let wrong = nearly_done().finish(Some(b"v=AAAAAAAAAAAAAAAAAAAAAAAAAAA="));
        assert_eq!(wrong, Err(ClientError::ServerSignature));
        assert_eq!(nearly_done().finish(Some(b"v=")), Err(ClientError::Malformed));
        let reported = nearly_done().finish(Some(b"e=invalid-proof"));
        assert_eq!(reported, Err(ClientError::Reported("invalid-proof".to_owned())));
        let mut at_once = exchange(Mechanism::ScramSha1).unwrap();
        at_once.first().unwrap();
        assert_eq!(at_once.finish(Some(SIGNATURE)), Err(ClientError::ServerUnproven));
        // A failed attempt is not made good by a second one.
        let mut again = nearly_done();
        again.finish(None).unwrap_err();
        assert_eq!(again.finish(Some(SIGNATURE)), Err(ClientError::ServerUnproven));
    }

    #[test]
    fn takes_no_data_with_success_of_other_mechanisms() {
        let mut plain = exchange(Mechanism::Plain).unwrap();
        plain.first().unwrap();
        assert_eq!(plain.finish(Some(b"surprise")), Err(ClientError::OutOfOrder));
        assert_eq!(plain.finish(Some(b"")), Ok(()));
    }

    #[test]
    fn judges_the_challenge() {
        let challenge = |nonce: &str, rest: &str| refusal(&format!("r={nonce},s=QSXCR+Q6,{rest}"));
        let longer = format!("{NONCE}server");
        assert_eq!(challenge(NONCE, "i=4096"), ClientError::ForeignNonce);
        assert_eq!(challenge("another-nonce-altogether", "i=4096"), ClientError::ForeignNonce);
        assert_eq!(challenge(&longer, "i=4095"), ClientError::Iterations(4095));
        assert_eq!(challenge(&longer, "i=2000001"), ClientError::Iterations(2_000_001));
        assert_eq!(challenge(&longer, "i=4096,m=x"), ClientError::MandatoryExtension);
        assert_eq!(challenge(&longer, "j=4096"), ClientError::Malformed);
        assert_eq!(refusal(&"r".repeat(MESSAGE_BYTES_MAX + 1)), ClientError::Malformed);
    }

    #[test]
    fn notices_lists_that_were_changed_on_the_way() {
        let offered = Offered { mechanisms: &["SCRAM-SHA-1"], bindings: &[] };
        let step = |digest: &str, expects: bool| {
            let mut exchange = exchange(Mechanism::ScramSha1).unwrap();
            if expects {
                exchange.expect(&offered);
            }
            exchange.first().unwrap();
            exchange.step(format!("{CHALLENGE},h={digest}").as_bytes()).map(|_| ())
        };
        assert_eq!(step(&offered.digest(crate::Hash::Sha1), true), Ok(()));
        assert_eq!(step("AAAA", true), Err(ClientError::Downgraded));
        assert_eq!(step("AAAA", false), Ok(()));
        // A server without XEP-0474 is believed.
        let mut old = exchange(Mechanism::ScramSha1).unwrap();
        old.expect(&offered);
        old.first().unwrap();
        assert!(old.step(CHALLENGE.as_bytes()).is_ok());
    }

    #[test]
    fn shows_a_token_and_wants_to_see_that_the_server_has_it() {
        let none = Bindings::default();
        let token =
            || Exchange::with_token(Mechanism::HtSha256None, "juliet", "secret", &none).unwrap();
        let mut exchange = token();
        let message = exchange.first().unwrap();
        assert!(message.starts_with(b"juliet\0"));
        assert_eq!(exchange.first(), None);
        assert_eq!(exchange.finish(None), Err(ClientError::ServerUnproven));
        assert_eq!(exchange.finish(Some(&message[7..])), Err(ClientError::ServerSignature));
        assert_eq!(token().step(b""), Ok(message));
        let bound = Exchange::with_token(Mechanism::HtSha256Expr, "juliet", "secret", &none);
        assert_eq!(bound.unwrap_err(), ClientError::NoBinding);
        let other = Exchange::with_token(Mechanism::Plain, "juliet", "secret", &none);
        assert_eq!(other.unwrap_err(), ClientError::OutOfOrder);
    }

    #[test]
    fn ignores_optional_extensions_of_the_server() {
        let mut exchange = exchange(Mechanism::ScramSha1).unwrap();
        exchange.first().unwrap();
        assert!(exchange.step(format!("{CHALLENGE},h=AAAA").as_bytes()).is_ok());
    }
}
