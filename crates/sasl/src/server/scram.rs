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
}

impl Start {
    pub(super) fn new(hash: Hash, mechanism: Mechanism, cx: &ServerContext<'_>) -> Self {
        Self {
            hash,
            is_plus: mechanism.is_plus(),
            plus_offered: cx.plus_offered,
            bindings: cx.bindings.clone(),
            nonce: cx.nonce.to_owned(),
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
        // An attribute for the downgrade protection of XEP-0474 goes to the end of this message:
        // the proof covers whatever is written here.
        let challenge =
            format!("r={},s={},i={}", self.nonce, to_base64(&keys.salt), keys.iterations);
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
