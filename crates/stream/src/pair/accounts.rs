//! A table that answers the questions of a server's machine.

use std::collections::HashMap;
use std::sync::Arc;

use stentor_jid::BareJid;
use stentor_sasl::{Condition, Hash, Mechanism, ScramKeys};
use stentor_stanza::StanzaError;

use crate::c2s::HostOffer;
use crate::event::{Answer, Ask};
use crate::fault::Fault;

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
    /// What is answered for other domains.
    pub other_hosts: Fault,
    made: u32,
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
            other_hosts: Fault::HostUnknown,
            made: 0,
        }
    }

    /// The answer to a question; registrations get an empty result.
    pub fn answer(&mut self, ask: Ask) -> Answer {
        match ask {
            Ask::Host(host) if host == self.offer.domain => {
                Answer::Host(Ok(Arc::new(self.offer.clone())))
            }
            Ask::Host(_) => Answer::Host(Err(self.other_hosts.clone())),
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
            Ask::Bind { account, resource } => self.bind(&account, resource),
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
