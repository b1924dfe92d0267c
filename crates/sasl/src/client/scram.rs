//! SCRAM as seen from the client.

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::ClientError;
use crate::limits::{ITERATIONS_MAX, ITERATIONS_MIN};
use crate::scram::message::{self, Refusal, ServerFinal, ServerFirst};
use crate::scram::{self, to_base64};
use crate::{Bindings, Hash, Mechanism, Offered, crypto, keys};

/// The GS2 header to send and the value of `c=` that goes with it.
pub(super) struct Gs2Header {
    text: String,
    channel_binding: String,
}

/// Says in the GS2 header whether the exchange is bound to the channel (RFC 5802 §6).
pub(super) fn gs2_header(
    mechanism: Mechanism,
    authzid: Option<&str>,
    bindings: &Bindings,
) -> Result<Gs2Header, ClientError> {
    let strongest = bindings.available().next();
    let (flag, data) = match (mechanism.is_plus(), strongest) {
        (true, None) => return Err(ClientError::NoBinding),
        (true, Some(binding)) => {
            (format!("p={}", binding.name()), bindings.data(binding).unwrap_or_default())
        }
        (false, Some(_)) => ("y".to_owned(), &[][..]),
        (false, None) => ("n".to_owned(), &[][..]),
    };
    let authzid = authzid.map(|authzid| format!("a={}", message::encode_name(authzid)));
    let text = format!("{flag},{},", authzid.unwrap_or_default());
    let channel_binding = scram::channel_binding(&text, data);
    Ok(Gs2Header { text, channel_binding })
}

/// One exchange.
pub(super) struct Scram {
    hash: Hash,
    password: Zeroizing<String>,
    gs2_header: Gs2Header,
    nonce: String,
    /// client-first-message-bare.
    bare: String,
    /// The digest of what the server listed, as it came here (XEP-0474).
    offered: Option<String>,
    state: State,
}

impl Scram {
    pub(super) fn new(
        hash: Hash,
        username: &str,
        password: Zeroizing<String>,
        gs2_header: Gs2Header,
        nonce: &str,
    ) -> Result<Self, ClientError> {
        if !scram::is_own_nonce(nonce) {
            return Err(ClientError::Nonce);
        }
        let bare = format!("n={},r={nonce}", message::encode_name(username));
        let nonce = nonce.to_owned();
        Ok(Self { hash, password, gs2_header, nonce, bare, offered: None, state: State::Start })
    }

    pub(super) fn expect(&mut self, offered: &Offered<'_>) {
        self.offered = Some(offered.digest(self.hash));
    }

    pub(super) fn first(&mut self) -> Option<Vec<u8>> {
        if !matches!(self.state, State::Start) {
            return None;
        }
        self.state = State::FirstSent;
        Some(format!("{}{}", self.gs2_header.text, self.bare).into_bytes())
    }

    pub(super) fn step(&mut self, challenge: &[u8]) -> Result<Vec<u8>, ClientError> {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Start if challenge.is_empty() => {
                self.state = State::Start;
                self.first().ok_or(ClientError::OutOfOrder)
            }
            State::FirstSent => {
                let (response, signature) = self.last(challenge)?;
                self.state = State::FinalSent { signature };
                Ok(response)
            }
            State::FinalSent { signature } => {
                verify(&signature, challenge)?;
                self.state = State::Proven;
                Ok(Vec::new())
            }
            State::Start | State::Proven | State::Over => Err(ClientError::OutOfOrder),
        }
    }

    pub(super) fn finish(&mut self, data: Option<&[u8]>) -> Result<(), ClientError> {
        match (std::mem::replace(&mut self.state, State::Over), data) {
            (State::FinalSent { signature }, Some(data)) => verify(&signature, data),
            (State::Proven, None | Some([])) => Ok(()),
            (State::Proven, Some(_)) => Err(ClientError::OutOfOrder),
            _ => Err(ClientError::ServerUnproven),
        }
    }

    /// Answers server-first-message; also says which signature is to come.
    fn last(&self, challenge: &[u8]) -> Result<(Vec<u8>, Vec<u8>), ClientError> {
        let challenge = message::text(challenge)?;
        let ServerFirst { nonce, salt, iterations, offered } = ServerFirst::parse(challenge)?;
        // A nonce without a part of the server's would let anybody replay this answer to it.
        if nonce.strip_prefix(self.nonce.as_str()).is_none_or(str::is_empty) {
            return Err(ClientError::ForeignNonce);
        }
        if !(ITERATIONS_MIN..=ITERATIONS_MAX).contains(&iterations) {
            return Err(ClientError::Iterations(iterations));
        }
        let is_changed = |digest: &String| offered.is_some_and(|theirs| theirs != digest);
        if self.offered.as_ref().is_some_and(is_changed) {
            return Err(ClientError::Downgraded);
        }
        let salted = crypto::hi(self.hash, &self.password, &salt, iterations);
        let without_proof = format!("c={},r={nonce}", self.gs2_header.channel_binding);
        let auth_message = format!("{},{challenge},{without_proof}", self.bare);
        let auth_message = [auth_message.as_bytes()];
        let stored_key = keys::stored_key(self.hash, &salted);
        let signature = crypto::hmac(self.hash, &stored_key, &auth_message);
        let proof = crypto::xor(&keys::client_key(self.hash, &salted), &signature);
        let server_key = keys::server_key(self.hash, &salted);
        let response = format!("{without_proof},p={}", to_base64(&proof));
        Ok((response.into_bytes(), crypto::hmac(self.hash, &server_key, &auth_message)))
    }
}

enum State {
    Start,
    FirstSent,
    FinalSent { signature: Vec<u8> },
    Proven,
    Over,
}

/// Judges server-final-message.
fn verify(signature: &[u8], server_final: &[u8]) -> Result<(), ClientError> {
    match ServerFinal::parse(message::text(server_final)?)? {
        ServerFinal::Verifier(verifier) if bool::from(verifier.ct_eq(signature)) => Ok(()),
        ServerFinal::Verifier(_) => Err(ClientError::ServerSignature),
        ServerFinal::Error(value) => Err(ClientError::Reported(value.to_owned())),
    }
}

impl From<Refusal> for ClientError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Syntax => Self::Malformed,
            Refusal::MandatoryExtension => Self::MandatoryExtension,
        }
    }
}
