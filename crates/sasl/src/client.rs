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

use zeroize::Zeroizing;

use self::scram::Scram;
use crate::limits::{AUTHZID_BYTES_MAX, MESSAGE_BYTES_MAX, PART_BYTES_MAX};
use crate::{Bindings, Mechanism, PrepError, plain, prep};

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
    /// [`ClientError::Nonce`], or [`ClientError::NoBinding`] for -PLUS without any.
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
            State::One(message) => State::sent(message),
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
            State::One(message) if challenge.is_empty() => {
                State::sent(message).ok_or(ClientError::OutOfOrder)
            }
            State::One(_) => Err(ClientError::OutOfOrder),
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
