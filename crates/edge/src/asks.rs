//! Answers to what a stream machine asks during negotiation.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use stentor_engine::clients::tokens::Usage;
use stentor_engine::{BoxFuture, Engine, Host, NotResumed, Resumed, Session, TooHigh, random_id};
use stentor_jid::BareJid;
use stentor_sasl::{Bindings, Condition, Hash, Mechanism};
use stentor_stream::c2s::{HostOffer, TlsInfo};
use stentor_stream::event::{Answer, Ask};
use stentor_stream::fault::Fault;
use stentor_stream::feature::{Bits, ExtraFeature};
use stentor_stream::sign_in::SignedIn;
use stentor_transport::{CertNames, Roots, TlsFacts};
use zeroize::Zeroizing;

use crate::finding::{Barred, Finding};
use crate::sign_in::{self, Begun};

/// What domains offer to clients who have not signed in.
#[derive(Debug)]
pub struct Offers {
    /// The mechanisms in the order of preference.
    pub mechanisms: Vec<Mechanism>,
    /// Whose certificates sign clients in by EXTERNAL; none where nobody's do.
    pub client_roots: Option<Roots>,
}

impl Default for Offers {
    fn default() -> Self {
        Self {
            mechanisms: vec![
                Mechanism::External,
                Mechanism::ScramSha512Plus,
                Mechanism::ScramSha256Plus,
                Mechanism::ScramSha1Plus,
                Mechanism::ScramSha512,
                Mechanism::ScramSha256,
                Mechanism::ScramSha1,
                Mechanism::Plain,
            ],
            client_roots: None,
        }
    }
}

/// What is known of the connection on which somebody signs in.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) peer: SocketAddr,
    /// The domain of the stream, once it is known.
    pub(crate) domain: Option<Box<str>>,
    /// Addresses in the client's certificate, if it may sign in by it.
    pub(crate) cert_addrs: Arc<[String]>,
    /// When its credentials began to be judged, by [`Engine::moment`].
    pub(crate) proven: u64,
}

/// What came of a question.
pub(crate) enum Answered {
    Machine(Answer),
    /// Credentials were judged.
    Judged(Answer, Finding),
    Bound(Arc<Session>),
    SignedIn(Begun, Box<SignedIn>),
    Resumed(Resumed),
    /// The registration IQ needs no answer.
    Nothing,
}

impl Offers {
    /// What this domain offers on a connection.
    pub(crate) fn of_host(&self, host: &Host, starttls: bool, tls_required: bool) -> HostOffer {
        let profile = &host.profile;
        let is_open = profile.stream_features.iter().any(|f| !f.is_after_sign_in);
        let mechanisms = if profile.settings.is_anonymous {
            vec![Mechanism::Anonymous]
        } else {
            self.mechanisms.clone()
        };
        let after = profile.stream_features.iter().filter(|f| f.is_after_sign_in);
        HostOffer {
            domain: host.domain.to_string(),
            extended: sign_in::offer(host, &mechanisms),
            mechanisms,
            starttls,
            tls_required,
            registration: is_open,
            roster_versions: true,
            pre_approval: true,
            management: true,
            features: after
                .map(|f| ExtraFeature {
                    necessary: Bits::AUTHENTICATED,
                    prohibited: Bits::NONE,
                    xml: f.frame.as_str().into(),
                })
                .collect(),
        }
    }

    /// What the handshake means for signing in, and the addresses in the client's certificate.
    pub(crate) fn tls_info(&self, facts: &TlsFacts) -> (TlsInfo, Arc<[String]>) {
        let names = self.addresses(facts);
        let info = TlsInfo {
            bindings: Bindings {
                exporter: facts.exporter,
                server_end_point: facts.server_end_point.as_deref().map(<[u8]>::to_vec),
            },
            client_cert: !names.is_empty(),
            sni: facts.sni.clone(),
        };
        (info, names.into())
    }

    fn addresses(&self, facts: &TlsFacts) -> Vec<String> {
        let (Some(roots), Some(leaf)) = (&self.client_roots, facts.client_certs.first()) else {
            return Vec::new();
        };
        let now_secs = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
        if let Err(error) = roots.judge(&facts.client_certs, now_secs) {
            tracing::info!(event = "client_certificate", %error, "A client's certificate does not sign it in.");
            return Vec::new();
        }
        CertNames::of(leaf).map(|names| names.xmpp_addrs).unwrap_or_default()
    }
}

/// Answers a question of the machine.
pub(crate) fn answer(
    engine: Arc<Engine>,
    ask: Ask,
    caller: Caller,
    host_offer: impl FnOnce(&Host) -> HostOffer,
) -> BoxFuture<'static, Answered> {
    let machine = |answer: Answer| -> BoxFuture<'static, Answered> {
        Box::pin(std::future::ready(Answered::Machine(answer)))
    };
    match ask {
        Ask::Host { domain, from } => {
            let offer = match engine.host(&domain) {
                Some(host) => Ok(host_offer(&host)),
                None if engine.hosts.load().is_gone(&domain) => Err(Fault::HostGone),
                None => Err(Fault::HostUnknown),
            };
            Box::pin(async move { Answered::Machine(sign_in::host(&engine, offer, from).await) })
        }
        Ask::Anonymous => machine(match random_id() {
            Ok(id) => Answer::Accepted(id.to_string()),
            Err(_) => Answer::Refused(Condition::TemporaryAuthFailure),
        }),
        Ask::Keys { username, hash } => {
            Box::pin(async move { keys(&engine, &caller, &username, hash).await })
        }
        Ask::Password { username, password } => {
            Box::pin(async move { password_is(&engine, &caller, username, password).await })
        }
        Ask::Token { username, client, proof, count, invalidates } => Box::pin(async move {
            let usage = Usage { count, invalidates };
            let shown = sign_in::Shown { username, client, proof, usage };
            sign_in::token(&engine, &caller, shown).await
        }),
        Ask::Upgrade { account, hash } => {
            Box::pin(
                async move { Answered::Machine(sign_in::upgrade(&engine, &account, hash).await) },
            )
        }
        Ask::Keep { account, keys } => Box::pin(async move {
            Answered::Machine(sign_in::keep(&engine, &caller, &account, keys).await)
        }),
        Ask::SignIn(wish) => {
            Box::pin(async move { sign_in::finish(&engine, &caller, *wish).await })
        }
        Ask::External { authzid } => {
            Box::pin(async move { external(&engine, &caller, authzid.as_deref()).await })
        }
        Ask::Bind { account, resource } => Box::pin(async move {
            match engine.bind_proven(&account, resource.as_deref(), caller.proven).await {
                Ok(session) => Answered::Bound(session),
                Err(error) => Answered::Machine(Answer::BindRefused(error)),
            }
        }),
        Ask::Resume { account, previd, h } => {
            Box::pin(async move { resume(&engine, &account, &previd, h).await })
        }
        Ask::StreamIq(stanza) => Box::pin(async move {
            let Some(host) = caller.domain.as_deref().and_then(|d| engine.host(d)) else {
                return Answered::Nothing;
            };
            let source = Some(caller.peer.ip());
            match engine.answer_stream_iq(&host, &stanza, source).await {
                Some(reply) => Answered::Machine(Answer::Reply(reply)),
                None => Answered::Nothing,
            }
        }),
    }
}

async fn resume(engine: &Arc<Engine>, account: &BareJid, previd: &str, h: u32) -> Answered {
    Answered::Machine(match engine.resume(account, previd, h).await {
        Ok(resumed) => return Answered::Resumed(resumed),
        Err(NotResumed::NotOffered) => Answer::ResumeFailed {
            condition: stentor_stanza::Condition::FeatureNotImplemented,
            h: None,
        },
        Err(NotResumed::Unknown(handled)) => Answer::ResumeFailed {
            condition: stentor_stanza::Condition::ItemNotFound,
            h: handled.map(|handled| (handled & 0xFFFF_FFFF) as u32),
        },
        Err(NotResumed::TooHigh(TooHigh { sent })) => Answer::ResumeTooHigh { h, sent },
    })
}

async fn keys(engine: &Engine, caller: &Caller, username: &str, hash: Hash) -> Answered {
    if is_hasty(engine, caller, account_of(caller, username).as_ref()) {
        return too_often();
    }
    let Some(account) = account_of(caller, username) else {
        return refused(Condition::NotAuthorized, Finding::NoAccount);
    };
    let found = engine.credentials.keys(&engine.stores.accounts, &account, hash).await;
    match (found, look(engine, &account).await) {
        (Ok((keys, exists)), Ok(finding)) => {
            Answered::Judged(Answer::Keys { keys, exists, barred: barred(finding) }, finding)
        }
        (Err(error), _) | (_, Err(error)) => {
            tracing::error!(event = "store_failed", %account, %error, "Keys could not be read.");
            refused(Condition::TemporaryAuthFailure, Finding::Unread)
        }
    }
}

async fn password_is(
    engine: &Engine,
    caller: &Caller,
    username: String,
    password: Zeroizing<String>,
) -> Answered {
    if is_hasty(engine, caller, account_of(caller, &username).as_ref()) {
        return too_often();
    }
    let Some(account) = account_of(caller, &username) else {
        return refused(Condition::NotAuthorized, Finding::NoAccount);
    };
    let verified =
        engine.credentials.verify(&engine.stores.accounts, &account, password.to_string()).await;
    match (verified, look(engine, &account).await) {
        (Ok(true), Ok(finding)) => {
            if let Some(condition) = barred(finding) {
                return refused(condition, finding);
            }
            engine.complete_keys(&account, &password, caller.proven).await;
            Answered::Machine(Answer::Accepted(username))
        }
        (Ok(false), Ok(finding)) => refused(Condition::NotAuthorized, finding),
        (Err(error), _) | (_, Err(error)) => {
            tracing::error!(event = "store_failed", %account, %error, "A password could not be checked.");
            refused(Condition::TemporaryAuthFailure, Finding::Unread)
        }
    }
}

pub(crate) fn is_hasty(engine: &Engine, caller: &Caller, account: Option<&BareJid>) -> bool {
    engine.credentials.guard.is_hasty(caller.peer.ip(), account, engine.clock.unix_ms())
}

pub(crate) fn refused(condition: Condition, finding: Finding) -> Answered {
    Answered::Judged(Answer::Refused(condition), finding)
}

pub(crate) fn too_often() -> Answered {
    refused(Condition::TemporaryAuthFailure, Finding::TooOften)
}

/// What is known of an account beside its keys.
async fn look(engine: &Engine, account: &BareJid) -> Result<Finding, stentor_store::StoreError> {
    let is_locked = engine.credentials.guard.is_locked(account, engine.clock.unix_ms());
    Ok(match engine.stores.accounts.load(account).await? {
        Some(row) => Finding::Account(Barred { is_locked, is_suspended: row.is_suspended }),
        None => Finding::NoAccount,
    })
}

/// Why even the right password does not sign in. Told only to who knows the password.
fn barred(finding: Finding) -> Option<Condition> {
    match finding {
        Finding::Account(barred) => barred.condition(),
        _ => None,
    }
}

async fn external(engine: &Engine, caller: &Caller, authzid: Option<&str>) -> Answered {
    let domain = caller.domain.as_deref().unwrap_or_default();
    let mine: Vec<BareJid> = caller
        .cert_addrs
        .iter()
        .filter_map(|address| BareJid::new(address).ok())
        .filter(|address| address.domain() == domain && address.local().is_some())
        .collect();
    let chosen = match authzid {
        Some(wish) => BareJid::new(wish).ok().filter(|wish| mine.contains(wish)),
        None if mine.len() == 1 => mine.first().cloned(),
        None => None,
    };
    let Some(account) = chosen else {
        return Answered::Machine(Answer::Refused(Condition::InvalidAuthzid));
    };
    match engine.stores.accounts.load(&account).await {
        Ok(Some(row)) if row.is_suspended => {
            let barred = Barred { is_suspended: true, is_locked: false };
            refused(Condition::AccountDisabled, Finding::Account(barred))
        }
        Ok(Some(_)) => {
            Answered::Machine(Answer::Accepted(account.local().unwrap_or_default().to_owned()))
        }
        Ok(None) => refused(Condition::NotAuthorized, Finding::NoAccount),
        Err(error) => {
            tracing::error!(event = "store_failed", %account, %error, "An account could not be read.");
            refused(Condition::TemporaryAuthFailure, Finding::Unread)
        }
    }
}

pub(crate) fn account_of(caller: &Caller, username: &str) -> Option<BareJid> {
    BareJid::from_parts(Some(username), caller.domain.as_deref()?).ok()
}
