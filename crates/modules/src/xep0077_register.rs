//! XEP-0077: In-Band Registration, version 2.4.
//!
//! Lets people make an account before they sign in (off unless the operator wants it), and change
//! the password of their account or delete it afterwards.
//! Implements: §3.1 (registration with a server), §3.2 (cancellation), §3.3 (password change), §8
//! (stream feature).
//! Left out: further fields, data forms, redirection: a server that wants to know more about people
//! than a name and a password should ask on a page of its own.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use stentor_engine::guard::{Guard, GuardSettings};
use stentor_engine::registrar::StreamFeature;
use stentor_engine::registration::AccountError;
use stentor_engine::{
    Factory, IqCx, Module, OnAsk, OnGet, OnSet, OptionDoc, Registrar, Scope, Session, Spec, Status,
    Xep, refuse,
};
use stentor_jid::BareJid;
use stentor_payload::xep0077_register::{NS, NS_FEATURE};
use stentor_payload::{Decode, Encode};
use stentor_stanza::{Condition, ErrorType, StanzaError};
use stentor_xml::{ElementRef, Frame, Writer};

/// The module.
pub(crate) const MODULE: Factory = Factory::of::<Register>();

struct Register {
    config: Config,
    /// Accounts made, per source.
    made: Guard,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Config {
    open: bool,
    per_source_max: u32,
    per_source_secs: u64,
    password_change: bool,
    cancel: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            open: false,
            per_source_max: 3,
            per_source_secs: 3_600,
            password_change: true,
            cancel: true,
        }
    }
}

impl Module for Register {
    const SPEC: &'static Spec = &Spec {
        name: "register",
        xeps: &[Xep {
            number: 77,
            version: "2.4",
            status: Status::Partial,
            note: "name and password; no further fields, forms or redirection",
        }],
        requires: &[],
        options: &[
            OptionDoc {
                key: "open",
                default: "false",
                help: "Whether anybody may make an account from a client.",
            },
            OptionDoc {
                key: "per_source_max",
                default: "3",
                help: "Accounts that one source address may make in `per_source_secs`; an IPv6 \
                       source is its /64.",
            },
            OptionDoc {
                key: "per_source_secs",
                default: "3600",
                help: "The time in which they are counted, in seconds.",
            },
            OptionDoc {
                key: "password_change",
                default: "true",
                help: "Whether users may change their password from a client.",
            },
            OptionDoc {
                key: "cancel",
                default: "true",
                help: "Whether users may delete their account from a client.",
            },
        ],
    };
    type Config = Config;

    fn build(config: Config) -> Result<Self, String> {
        let settings = GuardSettings {
            source_failures_max: config.per_source_max,
            source_window: Duration::from_secs(config.per_source_secs),
            ..GuardSettings::default()
        };
        Ok(Self { config, made: Guard::new(settings) })
    }

    fn register(self: Arc<Self>, r: &mut Registrar) {
        if self.config.open {
            r.get::<Get, _>(Scope::Stream, &self);
            r.set::<Set, _>(Scope::Stream, &self);
            let frame = Frame::build(|w| {
                w.leaf("register", NS_FEATURE);
            });
            r.stream_feature(StreamFeature { is_after_sign_in: false, frame });
        }
        for scope in [Scope::Host, Scope::Account] {
            r.get::<Get, _>(scope, &self);
            r.ask_set::<Set, _>(scope, &self);
        }
        r.disco_stored(Scope::Host, &[NS]);
    }
}

struct Get;

impl Decode for Get {
    const NS: &'static str = NS;
    const NAME: &'static str = "query";

    fn decode(_: ElementRef<'_>) -> Result<Self, StanzaError> {
        Ok(Self)
    }
}

enum Set {
    Remove,
    Account { username: String, password: String },
}

impl Decode for Set {
    const NS: &'static str = NS;
    const NAME: &'static str = "query";

    fn decode(query: ElementRef<'_>) -> Result<Self, StanzaError> {
        if query.child(NS, "remove").is_some() {
            // §3.2: it must stand alone.
            let is_alone = query.children().count() == 1;
            return if is_alone { Ok(Self::Remove) } else { Err(bad_request()) };
        }
        let field = |name| query.child(NS, name).map(|f| f.text().into_owned()).unwrap_or_default();
        Ok(Self::Account { username: field("username"), password: field("password") })
    }
}

/// The fields to fill in, or what is on file.
struct Fields {
    registered: Option<String>,
}

impl Encode for Fields {
    fn encode(&self, w: &mut Writer) {
        w.open("query", NS);
        if let Some(username) = &self.registered {
            w.leaf("registered", NS);
            w.text_element("instructions", NS, "Choose a new password, or delete the account.");
            w.text_element("username", NS, username);
        } else {
            w.text_element("instructions", NS, "Choose a user name and a password.");
            w.leaf("username", NS);
        }
        w.leaf("password", NS).close();
    }
}

impl OnGet<Get> for Register {
    type Reply = Fields;

    async fn get(&self, cx: &IqCx<'_>, _: Get) -> Result<Fields, StanzaError> {
        check_scope(cx)?;
        let registered = match cx.session {
            Some(session) => session.account.jid.local().map(str::to_owned),
            None => None,
        };
        Ok(Fields { registered })
    }
}

impl OnAsk<Set> for Register {
    async fn ask(&self, cx: &IqCx<'_>, set: Set) -> Result<(), StanzaError> {
        check_scope(cx)?;
        match (cx.session, set) {
            (Some(session), Set::Remove) => self.remove(cx, session).await,
            (Some(session), Set::Account { username, password }) => {
                self.change(cx, session, &username, password).await?;
                session.reply(cx.stanza.reply_result(|_| ()));
                Ok(())
            }
            (None, _) => Err(StanzaError::new(Condition::UnexpectedRequest)),
        }
    }
}

impl OnSet<Set> for Register {
    type Reply = ();

    async fn set(&self, cx: &IqCx<'_>, set: Set) -> Result<(), StanzaError> {
        match set {
            // §3.2: nobody has signed in whose account it could be.
            Set::Remove => Err(StanzaError::new(Condition::UnexpectedRequest)),
            Set::Account { username, password } => self.create(cx, &username, password).await,
        }
    }
}

impl Register {
    async fn create(
        &self,
        cx: &IqCx<'_>,
        username: &str,
        password: String,
    ) -> Result<(), StanzaError> {
        // §3.1: everything asked for must be there.
        if username.is_empty() || password.is_empty() {
            return Err(StanzaError::new(Condition::NotAcceptable));
        }
        let now_ms = cx.engine.clock.unix_ms();
        if self.is_spent(cx.source, now_ms) {
            return Err(StanzaError::new(Condition::NotAcceptable)
                .of_type(ErrorType::Wait)
                .with_text("Too many accounts were made from this address. Try again later."));
        }
        let jid = BareJid::from_parts(Some(username), &cx.host.domain)
            .map_err(|_| StanzaError::new(Condition::JidMalformed))?;
        cx.engine.create_account(&jid, password).await.map_err(refusal)?;
        self.made.failed(cx.source, None, now_ms);
        tracing::info!(event = "account_added", account = %jid, source = ?cx.source, "An account was made from a client.");
        Ok(())
    }

    fn is_spent(&self, source: Option<IpAddr>, now_ms: i64) -> bool {
        source.is_some_and(|source| self.made.is_blocked(source, now_ms))
    }

    async fn change(
        &self,
        cx: &IqCx<'_>,
        session: &Session,
        username: &str,
        password: String,
    ) -> Result<(), StanzaError> {
        let account = &session.account;
        if !self.config.password_change || account.is_ephemeral {
            return Err(StanzaError::new(Condition::NotAllowed));
        }
        // §3.3: without both the existing password stays.
        if username.is_empty() || password.is_empty() {
            return Err(bad_request());
        }
        let named = BareJid::from_parts(Some(username), account.jid.domain());
        if named.ok().as_ref() != Some(&account.jid) {
            return Err(StanzaError::new(Condition::NotAllowed));
        }
        let own = Some(&*session.resource);
        cx.engine.set_password(&account.jid, password, own).await.map_err(refusal)
    }

    async fn remove(&self, cx: &IqCx<'_>, session: &Session) -> Result<(), StanzaError> {
        let account = &session.account;
        if !self.config.cancel || account.is_ephemeral {
            return Err(StanzaError::new(Condition::NotAllowed));
        }
        let answer = cx.stanza.reply_result(|_| ());
        let last_words = || session.reply(answer);
        cx.engine.delete_account_saying(&account.jid, last_words).await.map_err(refusal)?;
        tracing::info!(event = "account_deleted", account = %account.jid, "An account was deleted from a client.");
        Ok(())
    }
}

/// A user is registered with its own account and the domain of that, and with nothing else here:
/// what is asked of others must not change its account.
fn check_scope(cx: &IqCx<'_>) -> Result<(), StanzaError> {
    let Some(session) = cx.session else { return Ok(()) };
    let is_home = cx.host.domain.as_ref() == session.account.jid.domain();
    match cx.account {
        Some(_) if !cx.is_own_account() => Err(StanzaError::new(Condition::Forbidden)),
        None if !is_home => Err(StanzaError::new(Condition::NotAllowed)),
        _ => Ok(()),
    }
}

fn refusal(error: AccountError) -> StanzaError {
    match error {
        AccountError::Exists => StanzaError::new(Condition::Conflict),
        AccountError::Missing => StanzaError::new(Condition::RegistrationRequired),
        AccountError::NotOurs | AccountError::VisitorsOnly => {
            StanzaError::new(Condition::NotAllowed)
        }
        AccountError::Password(_) => StanzaError::new(Condition::NotAcceptable),
        AccountError::Store(error) => refuse::store_error(&error),
    }
}

fn bad_request() -> StanzaError {
    StanzaError::new(Condition::BadRequest)
}
