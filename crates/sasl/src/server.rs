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

use crate::limits::MESSAGE_BYTES_MAX;
use crate::{Bindings, Condition, Hash, Mechanism, ScramKeys, anonymous, external, plain};

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
    /// The condition to fail with; [`Condition::MalformedRequest`] also for a message of more than
    /// [`MESSAGE_BYTES_MAX`] and for one that is not expected, [`Condition::TemporaryAuthFailure`]
    /// when the nonce of the context is not fit for use.
    pub fn step(&mut self, input: &[u8]) -> Result<Step, Condition> {
        let state = std::mem::replace(&mut self.state, State::Over);
        if input.len() > MESSAGE_BYTES_MAX {
            return Err(Condition::MalformedRequest);
        }
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
            State::ScramStart(start) => {
                let (waiting, step) = start.first(input)?;
                (State::ScramKeys(Box::new(waiting)), step)
            }
            State::ScramFinal(challenged) => (State::Over, Step::Done(challenged.verify(input)?)),
            State::Waiting { .. } | State::ScramKeys(_) | State::Over => {
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
            (State::Waiting { .. } | State::ScramKeys(_), Answer::Refused(condition)) => {
                Err(condition)
            }
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
            Self::NeedExternal { authzid } => write!(f, "NeedExternal({authzid:?})"),
            Self::NeedAnonymous { trace } => write!(f, "NeedAnonymous({trace:?})"),
            Self::Done(success) => write!(f, "Done({success:?})"),
        }
    }
}

/// The outcome of an exchange whose credentials are right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Success {
    /// Who signed in: as the client spelled it with SCRAM, else from [`Answer::Accepted`].
    pub username: Option<String>,
    /// Whom the client asks to act as, unchecked.
    pub authzid: Option<String>,
    /// Additional data to send with success: the server's signature in SCRAM.
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
    /// The exchange fails with this condition.
    Refused(Condition),
}

enum State {
    PlainStart,
    ExternalStart,
    AnonymousStart,
    ScramStart(Box<scram::Start>),
    Waiting { authzid: Option<String> },
    ScramKeys(Box<scram::WaitingForKeys>),
    ScramFinal(Box<scram::Challenged>),
    Over,
}
