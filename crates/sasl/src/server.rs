//! The server's side of an exchange.
//!
//! One [`Exchange`] per `<auth/>`; a new `<auth/>` gets a new one (RFC 6120 §6.4.2). [`begin`] and
//! [`step`] take what the client sent and say what comes next; a `Need…` step waits for
//! [`answer`]. After an error or [`Step::Done`] the exchange is over.
//!
//! [`begin`]: Exchange::begin
//! [`step`]: Exchange::step
//! [`answer`]: Exchange::answer

mod scram;

use std::fmt;

use zeroize::Zeroizing;

use crate::token::TokenProof;
use crate::{
    Bindings, Condition, Hash, Mechanism, Offered, ScramKeys, anonymous, external, plain, token,
};

/// One attempt of a client to sign in.
pub struct Exchange {
    mechanism: Mechanism,
    state: State,
}

impl Exchange {
    /// Prepares for the first message of the client. Whether the mechanism is offered at all is
    /// for the caller to check.
    #[must_use]
    pub fn start(mechanism: Mechanism, cx: &ServerContext<'_>) -> Self {
        let state = match (mechanism, mechanism.hash()) {
            (_, Some(hash)) => State::ScramStart(Box::new(scram::Start::new(hash, mechanism, cx))),
            (Mechanism::External, _) => State::ExternalStart,
            (Mechanism::Anonymous, _) => State::AnonymousStart,
            (mechanism, _) if mechanism.is_token() => {
                State::TokenStart(token::Start::new(mechanism, cx.bindings))
            }
            _ => State::PlainStart,
        };
        Self { mechanism, state }
    }

    /// The mechanism of this exchange.
    #[must_use]
    pub const fn mechanism(&self) -> Mechanism {
        self.mechanism
    }

    /// Takes the initial response of `<auth/>`: `None` when there was none, empty for `=`.
    ///
    /// All mechanisms here begin with the client, so a missing response is asked for by an empty
    /// challenge (RFC 4422 §5.1), but for ANONYMOUS, where nothing to say is all there is to say
    /// (XEP-0175 §4).
    ///
    /// # Errors
    ///
    /// As [`step`](Self::step).
    pub fn begin(&mut self, initial: Option<&[u8]>) -> Result<Step, Condition> {
        match (initial, self.mechanism) {
            (Some(message), _) => self.step(message),
            (None, Mechanism::Anonymous) => self.step(b""),
            (None, _) => Ok(Step::Challenge(Vec::new())),
        }
    }

    /// Takes a message of the client.
    ///
    /// # Errors
    ///
    /// The condition to fail with; [`Condition::MalformedRequest`] also for a message over the
    /// [`limits`](crate::limits) and for one that is not expected,
    /// [`Condition::TemporaryAuthFailure`] when the nonce of the context is not fit for use.
    pub fn step(&mut self, input: &[u8]) -> Result<Step, Condition> {
        let state = std::mem::replace(&mut self.state, State::Over);
        let (state, step) = match state {
            State::PlainStart => {
                let plain::Credentials { authzid, username, password } = plain::parse(input)?;
                (State::Waiting { authzid }, Step::NeedPassword { username, password })
            }
            State::ExternalStart => {
                let authzid = external::parse(input)?;
                (State::Waiting { authzid: authzid.clone() }, Step::NeedExternal { authzid })
            }
            State::AnonymousStart => {
                let trace = anonymous::parse(input)?;
                (State::Waiting { authzid: None }, Step::NeedAnonymous { trace })
            }
            State::TokenStart(start) => {
                let (username, proof) = start.parse(input)?;
                (State::TokenShown(username.clone()), Step::NeedToken { username, proof })
            }
            State::ScramStart(start) => {
                let (waiting, step) = start.first(input)?;
                (State::ScramKeys(Box::new(waiting)), step)
            }
            State::ScramFinal(challenged) => (State::Over, Step::Done(challenged.verify(input)?)),
            State::Waiting { .. } | State::TokenShown(_) | State::ScramKeys(_) | State::Over => {
                return Err(Condition::MalformedRequest);
            }
        };
        self.state = state;
        Ok(step)
    }

    /// Takes the answer to a `Need…` step.
    ///
    /// # Errors
    ///
    /// The condition to fail with: that of [`Answer::Refused`], or
    /// [`Condition::TemporaryAuthFailure`] for an answer to another question and for keys of
    /// another hash.
    pub fn answer(&mut self, answer: Answer) -> Result<Step, Condition> {
        match (std::mem::replace(&mut self.state, State::Over), answer) {
            (
                State::Waiting { .. } | State::TokenShown(_) | State::ScramKeys(_),
                Answer::Refused(condition),
            ) => Err(condition),
            (State::TokenShown(username), Answer::Token { data }) => Ok(Step::Done(Success {
                username: Some(username),
                authzid: None,
                data: Some(data),
            })),
            (State::Waiting { authzid }, Answer::Accepted { username }) => {
                Ok(Step::Done(Success { username: Some(username), authzid, data: None }))
            }
            (State::ScramKeys(waiting), Answer::Keys { keys, exists }) => {
                let (challenged, challenge) = waiting.challenge(keys, exists)?;
                self.state = State::ScramFinal(Box::new(challenged));
                Ok(Step::Challenge(challenge.into_bytes()))
            }
            _ => Err(Condition::TemporaryAuthFailure),
        }
    }
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange").field("mechanism", &self.mechanism).finish_non_exhaustive()
    }
}

/// What an exchange has to know of its stream.
#[derive(Clone, Copy, Debug)]
pub struct ServerContext<'a> {
    /// Channel binding data of the connection.
    pub bindings: &'a Bindings,
    /// Whether the features listed any -PLUS mechanism: then a client that thinks we cannot bind
    /// has been lied to (RFC 5802 §6).
    pub plus_offered: bool,
    /// The server's part of SCRAM's nonce, new and random for each exchange: at least
    /// [`NONCE_CHARS_MIN`](crate::limits::NONCE_CHARS_MIN) characters, see [`nonce`](crate::nonce).
    pub nonce: &'a str,
    /// What the features listed, for clients that check it (XEP-0474); none tells them nothing.
    pub offered: Option<Offered<'a>>,
}

/// What comes next. `Debug` does not show passwords.
pub enum Step {
    /// Send this in a challenge and wait for the response.
    Challenge(Vec<u8>),
    /// Look up the keys of this user and answer [`Answer::Keys`].
    NeedKeys {
        /// As the client spelled it, escapes resolved; 1 to 1,023 bytes.
        username: String,
        /// Which keys.
        hash: Hash,
    },
    /// Check this password and answer [`Answer::Accepted`] or [`Answer::Refused`], taking the same
    /// time when there is no such user ([`ScramKeys::fake`]).
    NeedPassword {
        /// As the client spelled it, 1 to 1,023 bytes.
        username: String,
        /// As the client sent it, 1 to 1,023 bytes; [`ScramKeys::verify`] prepares it.
        password: Zeroizing<String>,
    },
    /// Look up the tokens of this user's client and answer [`Answer::Token`] if one of them made
    /// the proof, else [`Answer::Refused`].
    NeedToken {
        /// As the client spelled it, 1 to 1,023 bytes.
        username: String,
        /// What the client shows of its token.
        proof: TokenProof,
    },
    /// Judge the credentials of the TLS layer and answer.
    NeedExternal {
        /// Whom the client asks to act as; `None` leaves it to the credentials.
        authzid: Option<String>,
    },
    /// Make up a name, or refuse, and answer.
    NeedAnonymous {
        /// What the client left for the log; unproved.
        trace: Option<String>,
    },
    /// The credentials are right. What is left to check is the authorization identity
    /// ([`check_authzid`](crate::check_authzid)); then success is sent.
    Done(Success),
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Challenge(_) => f.write_str("Challenge"),
            Self::NeedKeys { username, hash } => write!(f, "NeedKeys({username:?}, {hash:?})"),
            Self::NeedPassword { username, .. } => write!(f, "NeedPassword({username:?})"),
            Self::NeedToken { username, .. } => write!(f, "NeedToken({username:?})"),
            Self::NeedExternal { authzid } => write!(f, "NeedExternal({authzid:?})"),
            Self::NeedAnonymous { trace } => write!(f, "NeedAnonymous({trace:?})"),
            Self::Done(success) => write!(f, "Done({success:?})"),
        }
    }
}

/// The outcome of an exchange whose credentials are right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Success {
    /// Who signed in: as the client spelled it with SCRAM and tokens, else from
    /// [`Answer::Accepted`].
    pub username: Option<String>,
    /// Whom the client asks to act as, unchecked.
    pub authzid: Option<String>,
    /// Additional data to send with success: the server's signature in SCRAM, its proof of the
    /// token in HT.
    pub data: Option<Vec<u8>>,
}

/// What the caller found out.
#[derive(Debug)]
pub enum Answer {
    /// Answers [`Step::NeedKeys`].
    Keys {
        /// Of the user, or [`ScramKeys::fake`].
        keys: ScramKeys,
        /// False for fake keys: the exchange goes on to the end and fails there, as with a wrong
        /// password.
        exists: bool,
    },
    /// The credentials are those of this user.
    Accepted {
        /// Whom the exchange ends with.
        username: String,
    },
    /// Answers [`Step::NeedToken`]: the proof is that of a good token.
    Token {
        /// What shows the client that we have it too ([`TokenProof::answer`]).
        data: Vec<u8>,
    },
    /// The exchange fails with this condition.
    Refused(Condition),
}

enum State {
    PlainStart,
    ExternalStart,
    AnonymousStart,
    TokenStart(token::Start),
    TokenShown(String),
    ScramStart(Box<scram::Start>),
    Waiting { authzid: Option<String> },
    ScramKeys(Box<scram::WaitingForKeys>),
    ScramFinal(Box<scram::Challenged>),
    Over,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::MESSAGE_BYTES_MAX;

    const UNBOUND: Bindings = Bindings { exporter: None, server_end_point: None };

    fn start(mechanism: Mechanism) -> Exchange {
        let nonce = "nonce-of-the-server";
        Exchange::start(
            mechanism,
            &ServerContext { bindings: &UNBOUND, plus_offered: false, nonce, offered: None },
        )
    }

    fn accepted() -> Answer {
        Answer::Accepted { username: "juliet".to_owned() }
    }

    /// The outcome of an accepted exchange of one message.
    fn outcome(mechanism: Mechanism, message: &[u8]) -> Result<Success, Condition> {
        let mut exchange = start(mechanism);
        exchange.begin(Some(message))?;
        match exchange.answer(accepted())? {
            Step::Done(success) => Ok(success),
            step => panic!("{step:?}"),
        }
    }

    #[test]
    fn asks_for_a_missing_initial_response() {
        for mechanism in [Mechanism::Plain, Mechanism::ScramSha1, Mechanism::External] {
            let mut exchange = start(mechanism);
            match exchange.begin(None) {
                Ok(Step::Challenge(challenge)) => assert!(challenge.is_empty()),
                step => panic!("{mechanism}: {step:?}"),
            }
        }
        let mut plain = start(Mechanism::Plain);
        plain.begin(None).unwrap();
        assert!(matches!(plain.step(b"\0juliet\0secret"), Ok(Step::NeedPassword { .. })));
    }

    #[test]
    fn asks_anonymous_clients_for_nothing() {
        let mut exchange = start(Mechanism::Anonymous);
        assert!(matches!(exchange.begin(None), Ok(Step::NeedAnonymous { trace: None })));
    }

    #[test]
    fn hands_out_what_the_message_says() {
        match start(Mechanism::Plain).begin(Some(b"a@b.example\0juliet\0r0m30")).unwrap() {
            Step::NeedPassword { username, password } => {
                assert_eq!((username.as_str(), password.as_str()), ("juliet", "r0m30"));
            }
            step => panic!("{step:?}"),
        }
        match start(Mechanism::External).begin(Some(b"juliet@capulet.example")).unwrap() {
            Step::NeedExternal { authzid } => {
                assert_eq!(authzid.as_deref(), Some("juliet@capulet.example"));
            }
            step => panic!("{step:?}"),
        }
    }

    #[test]
    fn ends_with_the_accepted_user_and_the_wished_identity() {
        for (mechanism, message, authzid) in [
            (Mechanism::Plain, &b"\0Juliet\0secret"[..], None),
            (
                Mechanism::Plain,
                b"juliet@capulet.example\0Juliet\0secret",
                Some("juliet@capulet.example"),
            ),
            (Mechanism::External, b"", None),
            (Mechanism::External, b"juliet@capulet.example", Some("juliet@capulet.example")),
            (Mechanism::Anonymous, b"trace", None),
        ] {
            let success = outcome(mechanism, message).unwrap();
            assert_eq!(success.username.as_deref(), Some("juliet"));
            assert_eq!(success.authzid.as_deref(), authzid);
            assert_eq!(success.data, None);
        }
    }

    #[test]
    fn fails_malformed_messages_as_such() {
        let long = vec![b'x'; MESSAGE_BYTES_MAX + 1];
        for (mechanism, message) in [
            (Mechanism::Plain, &b"juliet\0secret"[..]),
            (Mechanism::External, b"\0"),
            (Mechanism::Anonymous, &[b'x'; 256]),
            (Mechanism::ScramSha256, b""),
            (Mechanism::ScramSha256, &long),
        ] {
            let condition = start(mechanism).begin(Some(message)).unwrap_err();
            assert_eq!(condition, Condition::MalformedRequest, "{mechanism}");
        }
    }

    #[test]
    fn passes_a_refusal_on() {
        for condition in Condition::ALL {
            let mut exchange = start(Mechanism::ScramSha256);
            exchange.begin(Some(b"n,,n=juliet,r=abc")).unwrap();
            assert_eq!(exchange.answer(Answer::Refused(condition)).unwrap_err(), condition);
        }
    }

    #[test]
    fn is_over_after_success_and_after_failure() {
        let mut exchange = start(Mechanism::Plain);
        exchange.begin(Some(b"\0juliet\0secret")).unwrap();
        exchange.answer(accepted()).unwrap();
        assert_eq!(exchange.step(b"\0juliet\0secret").unwrap_err(), Condition::MalformedRequest);
        assert_eq!(exchange.answer(accepted()).unwrap_err(), Condition::TemporaryAuthFailure);

        let mut exchange = start(Mechanism::Plain);
        exchange.begin(Some(b"")).unwrap_err();
        assert_eq!(exchange.step(b"\0juliet\0secret").unwrap_err(), Condition::MalformedRequest);
    }

    #[test]
    fn takes_no_message_while_it_waits_for_an_answer() {
        let mut exchange = start(Mechanism::Plain);
        exchange.begin(Some(b"\0juliet\0secret")).unwrap();
        assert_eq!(exchange.step(b"\0romeo\0secret").unwrap_err(), Condition::MalformedRequest);
        assert_eq!(exchange.answer(accepted()).unwrap_err(), Condition::TemporaryAuthFailure);
    }

    #[test]
    fn takes_no_answer_to_another_question() {
        let mut exchange = start(Mechanism::ScramSha256);
        exchange.begin(Some(b"n,,n=juliet,r=abc")).unwrap();
        assert_eq!(exchange.answer(accepted()).unwrap_err(), Condition::TemporaryAuthFailure);
        let mut exchange = start(Mechanism::Plain);
        assert_eq!(exchange.answer(accepted()).unwrap_err(), Condition::TemporaryAuthFailure);
    }

    #[test]
    fn does_not_show_passwords_in_debug_output() {
        let step = start(Mechanism::Plain).begin(Some(b"\0juliet\0r0m30")).unwrap();
        let shown = format!("{step:?}");
        assert!(shown.contains("juliet") && !shown.contains("r0m30"), "{shown}");
    }
}
