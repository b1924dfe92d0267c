//! A table that answers the questions of a server's machine.

use std::collections::HashMap;
use std::sync::Arc;

use stentor_jid::BareJid;
use stentor_sasl::{Condition, Hash, Mechanism, ScramKeys, TokenProof};
use stentor_stanza::StanzaError;

use crate::c2s::HostOffer;
use crate::event::{Answer, Ask};
use crate::fault::Fault;
use crate::sign_in::{Enabled, ExtendedOffer, IssuedToken, Resumption, SignIn, SignedIn};

/// One domain, its users and their passwords.
#[derive(Clone, Debug)]
pub struct Accounts {
    /// What the domain offers.
    pub offer: HostOffer,
    passwords: HashMap<String, String>,
    /// Whom client certificates name.
    pub certified: Option<String>,
    /// What even the right password is answered with.
    pub barred: Option<Condition>,
    /// What is answered to every bind request instead of a binding.
    pub bind_error: Option<StanzaError>,
    /// What is answered to every resumption; none knows no session.
    pub resumption: Option<Answer>,
    /// What is answered for other domains.
    pub other_hosts: Fault,
    /// Tokens by user and client, with the mechanism that each is good for and its last count.
    pub tokens: HashMap<(String, String), HeldToken>,
    /// Hashes that no account has keys of.
    pub lacking: Vec<Hash>,
    /// What the last client that signed in by XEP-0388 asked for.
    pub signed_in: Option<SignIn>,
    /// What every such client is answered with instead of success.
    pub sign_in_error: Option<Condition>,
    made: u32,
}

/// A token of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldToken {
    /// The secret.
    pub token: String,
    /// What it is good for.
    pub mechanism: Mechanism,
    /// The highest count that was seen.
    pub count: u64,
}

impl Accounts {
    /// The domain `capulet.example` with every mechanism, TLS required, and Juliet.
    #[must_use]
    pub fn capulet() -> Self {
        let offer = HostOffer {
            domain: "capulet.example".into(),
            mechanisms: vec![
                Mechanism::External,
                Mechanism::ScramSha512Plus,
                Mechanism::ScramSha512,
                Mechanism::ScramSha256Plus,
                Mechanism::ScramSha256,
                Mechanism::ScramSha1Plus,
                Mechanism::ScramSha1,
                Mechanism::Plain,
            ],
            starttls: true,
            tls_required: true,
            ..HostOffer::default()
        };
        Self {
            offer,
            passwords: HashMap::from([("juliet".into(), "r0m30myr0m30".into())]),
            certified: None,
            barred: None,
            bind_error: None,
            resumption: None,
            other_hosts: Fault::HostUnknown,
            tokens: HashMap::new(),
            lacking: Vec::new(),
            signed_in: None,
            sign_in_error: None,
            made: 0,
        }
    }

    /// The same, with XEP-0388 and all that goes with it.
    #[must_use]
    pub fn extended() -> Self {
        let mut accounts = Self::capulet();
        accounts.offer.management = true;
        accounts.offer.extended = Some(ExtendedOffer {
            bind: Some(vec!["urn:example:copies".into(), "urn:example:quiet".into()]),
            tokens: Mechanism::TOKENS.to_vec(),
            upgrades: vec![Hash::Sha256, Hash::Sha512],
        });
        accounts
    }

    /// The answer to a question; registrations get an empty result.
    pub fn answer(&mut self, ask: Ask) -> Answer {
        match ask {
            Ask::Host { domain, .. } if domain == self.offer.domain => {
                Answer::Host(Ok(Arc::new(self.offer.clone())))
            }
            Ask::Host { .. } => Answer::Host(Err(self.other_hosts.clone())),
            Ask::Keys { username, hash } => self.keys(&username, hash),
            Ask::Password { username, password } => {
                if self.passwords.get(&username) != Some(&*password) {
                    Answer::Refused(Condition::NotAuthorized)
                } else if let Some(condition) = self.barred {
                    Answer::Refused(condition)
                } else {
                    Answer::Accepted(username)
                }
            }
            Ask::External { .. } => match &self.certified {
                Some(username) => Answer::Accepted(username.clone()),
                None => Answer::Refused(Condition::NotAuthorized),
            },
            Ask::Anonymous => {
                self.made += 1;
                Answer::Accepted(format!("guest-{}", self.made))
            }
            Ask::Token { username, client, proof, count, invalidates } => {
                self.token(&(username, client), &proof, count, invalidates)
            }
            Ask::Upgrade { hash, .. } => {
                let is_lacking = self.lacking.contains(&hash);
                Answer::Upgrade(is_lacking.then(|| (SALT.to_vec(), ITERATIONS)))
            }
            Ask::Keep { account, keys } => self.keep(&account, &keys),
            Ask::SignIn(sign_in) => self.sign_in(*sign_in),
            Ask::Bind { account, resource } => self.bind(&account, resource),
            Ask::Resume { .. } => self.resumption.clone().unwrap_or(Answer::ResumeFailed {
                condition: stentor_stanza::Condition::ItemNotFound,
                h: None,
            }),
            Ask::StreamIq(stanza) => Answer::Reply(stanza.reply_result(|_| ())),
        }
    }

    fn keys(&self, username: &str, hash: Hash) -> Answer {
        let known = self
            .passwords
            .get(username)
            .and_then(|password| ScramKeys::derive(hash, password, SALT, ITERATIONS).ok());
        let exists = known.is_some();
        let keys = known.unwrap_or_else(|| ScramKeys::fake(hash, SECRET, username, ITERATIONS));
        Answer::Keys { keys, exists, barred: self.barred }
    }

    fn token(
        &mut self,
        key: &(String, String),
        proof: &TokenProof,
        count: Option<u64>,
        invalidates: bool,
    ) -> Answer {
        let Some(held) = self.tokens.get_mut(key) else {
            return Answer::Refused(Condition::NotAuthorized);
        };
        let is_replayed = count.is_some_and(|count| count <= held.count);
        let is_good = held.mechanism == proof.mechanism() && proof.is_made_with(&held.token);
        if !is_good || is_replayed {
            return Answer::Refused(Condition::NotAuthorized);
        }
        held.count = count.unwrap_or(held.count);
        let data = proof.answer(&held.token);
        if invalidates {
            self.tokens.remove(key);
        }
        Answer::Token(data)
    }

    /// Keys that are not those of the password are a mistake of the client's.
    fn keep(&mut self, account: &BareJid, keys: &ScramKeys) -> Answer {
        let password = self.passwords.get(account.local().unwrap_or_default());
        if !password.is_some_and(|password| keys.verify(password)) {
            return Answer::Refused(Condition::MalformedRequest);
        }
        self.lacking.retain(|hash| *hash != keys.hash);
        Answer::Upgraded
    }

    fn sign_in(&mut self, sign_in: SignIn) -> Answer {
        if let Some(condition) = self.sign_in_error {
            return Answer::Refused(condition);
        }
        let mut signed_in = SignedIn::default();
        if sign_in.resume.is_some() {
            signed_in.resumption = match self.resumption.clone() {
                Some(Answer::Resumed { jid, received }) => {
                    signed_in.jid = Some(jid);
                    Some(Resumption::Resumed { received })
                }
                Some(answer @ Answer::ResumeTooHigh { .. }) => return answer,
                _ => {
                    let condition = stentor_stanza::Condition::ItemNotFound;
                    Some(Resumption::Failed { condition, h: Some(7) })
                }
            };
        }
        let is_new = signed_in.jid.is_none() && self.bind_error.is_none();
        if let Some(bind) = sign_in.bind.as_ref().filter(|_| is_new) {
            self.made += 1;
            let tag = bind.tag.as_deref().unwrap_or("untagged");
            signed_in.jid = sign_in.account.with_resource(&format!("{tag}/{}", self.made)).ok();
            signed_in.enabled = sign_in.enable.map(|enable| Enabled {
                id: enable.resume.then(|| "sm-id".to_owned()),
                max_secs: 300,
            });
        }
        if let (Some(mechanism), Some(client)) = (sign_in.wants_token, &sign_in.user_agent.id) {
            self.made += 1;
            let token = format!("secret-token:{}", self.made);
            let user = sign_in.account.local().unwrap_or_default().to_owned();
            let held = HeldToken { token: token.clone(), mechanism, count: 0 };
            self.tokens.insert((user, client.clone()), held);
            let expiry = "2026-12-24T00:00:00Z".to_owned();
            signed_in.token = Some(IssuedToken { token, expiry });
        }
        self.signed_in = Some(sign_in);
        Answer::SignedIn(Box::new(signed_in))
    }

    fn bind(&mut self, account: &BareJid, resource: Option<String>) -> Answer {
        if let Some(error) = &self.bind_error {
            return Answer::BindRefused(error.clone());
        }
        self.made += 1;
        let resource = resource.unwrap_or_else(|| format!("made-{}", self.made));
        match account.with_resource(&resource) {
            Ok(jid) => Answer::Bound(jid),
            Err(_) => Answer::BindRefused(StanzaError::new(stentor_stanza::Condition::BadRequest)),
        }
    }
}

const SALT: &[u8] = b"a salt for tests";
const SECRET: &[u8] = b"a secret for tests";
const ITERATIONS: u32 = 4_096;
