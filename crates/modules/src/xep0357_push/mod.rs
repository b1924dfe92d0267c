//! XEP-0357: Push Notifications, version 0.4.1.
//!
//! Tells push services of what happens while nobody looks, so that devices without a connection can
//! be woken.
//! Implements: §4.1 (discovery), §5, §6 (enabling and disabling, publish options), §7 (publishing,
//! the summary), §7.1 (errors: refusals remove a registration at once, what may pass is tried again
//! and then paused), §8 (services that close a node), §9 (what is told is the operator's choice).
//! Left out: §3 and §4.2, which are about push services; elements beyond the summary.
//! Status: complete
//!
//! What is to be told is written with what it tells of: `due.rs`. When it is told is `judge.rs`, to
//! whom `registration.rs`, how `lanes.rs`, and `watch.rs` waits for those who may have it already. What is worth telling at all is `engine/src/worth`.

mod due;
mod judge;
mod lanes;
mod mention;
mod registration;
mod watch;

use std::sync::Arc;

use serde::Deserialize;
use stentor_engine::worth::Wake;
use stentor_engine::{
    AccountState, Attend, AttendCx, BoxFuture, Chore, Cx, Direction, Engine, Factory, Host, IqCx,
    Miss, Module, Observe, Observed, OnSet, OptionDoc, Registrar, Scope, Spec, Status, Taken, Wish,
    Xep, refuse,
};
use stentor_jid::BareJid;
use stentor_payload::xep0357_push::{self as push, Disable, Enable};
use stentor_stanza::{Condition, MessageType, Stanza, StanzaError};
use stentor_store::Stage;

use self::due::{DueRows, Dues, Kind, Notice};
use self::judge::When;
use self::lanes::Lanes;
use self::registration::{Registration, RegistrationRows, Registrations, key};
use self::watch::{Watched, Watches};

/// The module.
pub(crate) const MODULE: Factory = Factory::of::<Push>();

struct Push {
    config: Config,
    lanes: Arc<Lanes>,
    watches: Arc<Watches>,
}

/// What the operator chose.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Config {
    with_sender: bool,
    with_body: bool,
    stand_in: String,
    rooms: Wish,
    beside_active: bool,
    inactive_secs: u64,
    grace_secs: u64,
    per_minute: u32,
    registrations_max: usize,
    services: Vec<String>,
    tries_max: u32,
    retry_secs: u64,
    pause_secs: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            with_sender: false,
            with_body: false,
            stand_in: "New message".to_owned(),
            rooms: Wish::OnMention,
            beside_active: false,
            inactive_secs: 0,
            grace_secs: 5,
            per_minute: 20,
            registrations_max: 20,
            services: Vec::new(),
            tries_max: 6,
            retry_secs: 5,
            pause_secs: 3_600,
        }
    }
}

impl Module for Push {
    const SPEC: &'static Spec = &Spec {
        name: "push",
        xeps: &[Xep { number: 357, version: "0.4.1", status: Status::Complete, note: "" }],
        requires: &[],
        options: OPTIONS,
    };
    type Config = Config;

    fn build(config: Config) -> Result<Self, String> {
        for (name, value) in [
            ("per_minute", u64::from(config.per_minute)),
            ("tries_max", u64::from(config.tries_max)),
            ("retry_secs", config.retry_secs),
        ] {
            if value == 0 {
                return Err(format!("`{name}` is 0; at least 1 is needed"));
            }
        }
        let lanes = Lanes::new(config.clone());
        let watches = Watches::new(lanes.clone(), config.grace_secs);
        Ok(Self { config, lanes, watches })
    }

    fn register(self: Arc<Self>, r: &mut Registrar) {
        r.set::<Enable, _>(Scope::Account, &self);
        r.set::<Disable, _>(Scope::Account, &self);
        r.disco(Scope::Account, &[push::NS]);
        r.resident(Arc::new(RegistrationRows));
        r.resident(Arc::new(DueRows));
        r.miss(self.clone());
        r.observe(self.clone());
        r.attend(self.clone());
        r.chore(self);
    }
}

impl OnSet<Enable> for Push {
    type Reply = ();

    async fn set(&self, cx: &IqCx<'_>, ask: Enable) -> Result<(), StanzaError> {
        let (session, account) = cx.own_stored_account()?;
        let services = &self.config.services;
        if !services.is_empty() && !services.iter().any(|s| s == ask.jid.domain()) {
            return Err(StanzaError::new(Condition::NotAllowed)
                .with_text("Notifications to this service are not allowed here."));
        }
        let key = key(&ask.jid, ask.node.as_deref());
        let ticket = {
            let mut state = account.lock();
            let registrations = state.slots.entry::<Registrations>();
            let is_new = !registrations.0.contains_key(&key);
            if is_new && registrations.0.len() >= self.config.registrations_max {
                return Err(StanzaError::new(Condition::ResourceConstraint)
                    .with_text("Too many services are enabled; disable another one first."));
            }
            // §5: the last request counts, and so do its options.
            let registration = Registration::new(ask, &session.resource, cx.engine.clock.unix_ms());
            let write = registration.put(&account.jid, &key);
            registrations.0.insert(key.clone(), registration);
            cx.engine.stores.writer.submit(write)
        };
        cx.engine.settle(account, ticket).await.map_err(|e| refuse::store_error(&e))?;
        tracing::info!(event = "push_enabled", account = %account.jid, resource = session.resource.jid.resource(), "A push service was enabled.");
        Ok(())
    }
}

impl OnSet<Disable> for Push {
    type Reply = ();

    async fn set(&self, cx: &IqCx<'_>, ask: Disable) -> Result<(), StanzaError> {
        let (_, account) = cx.own_stored_account()?;
        let ticket = {
            let mut state = account.lock();
            let mut stage = Stage::default();
            // §6: without a node, all of the service's.
            registration::remove(&mut state, &account.jid, &mut stage, |registration| {
                registration.service == ask.jid
                    && (ask.node.is_none() || registration.node == ask.node)
            });
            if stage.is_empty() {
                return Ok(());
            }
            cx.engine.stores.writer.submit(stage)
        };
        cx.engine.settle(account, ticket).await.map_err(|e| refuse::store_error(&e))
    }
}

impl Observe for Push {
    fn observe(
        &self,
        cx: &Cx<'_>,
        stanza: &Stanza,
        seen: &Observed<'_>,
        state: &mut AccountState,
        stage: &mut Stage,
    ) {
        let has_any = state.slots.find::<Registrations>().is_some_and(|r| !r.0.is_empty());
        if cx.direction != Direction::Received || cx.account.is_ephemeral || !has_any {
            return;
        }
        let owner = &cx.account.jid;
        registration::close(state, owner, stanza, stage);
        let from = stanza.head.from.as_ref();
        let is_own = from.is_some_and(|from| from.bare_str() == owner.as_str());
        let worth = cx.worth.of(stanza);
        if is_own || worth.wake == Wake::No {
            return;
        }
        let Some(notice) = self.notice(cx, stanza, worth.wake, state) else { return };
        let when = judge::when(&self.config, state.resources(), seen, worth.wake, cx.now_ms);
        let id = stanza.head.id.as_deref();
        tracing::debug!(event = "push_judged", account = %owner, id, ?when, "A message was judged.");
        match when {
            When::Never => {}
            When::Now(looking) => {
                lanes::raise(&self.lanes, cx.engine, owner, state, stage, &notice, &looking);
            }
            When::Unless(sessions) => {
                // Written with the message: if the server is killed meanwhile, it is told.
                lanes::foresee(owner, state, stage, &notice, cx.now_ms);
                let looks = state.slots.find::<Dues>().map_or(0, Dues::looks);
                self.watches.add(cx.engine, owner, Watched { notice, sessions, looks });
            }
        }
    }
}

/// What a service says to nobody in particular is for us.
impl Miss for Push {
    fn miss(
        &self,
        cx: &Cx<'_>,
        stanza: &Stanza,
        _: Option<u64>,
        state: &mut AccountState,
        stage: &mut Stage,
    ) -> Taken {
        let is_ours = registration::close(state, &cx.account.jid, stanza, stage);
        if is_ours { Taken::Dropped } else { Taken::No }
    }
}

impl Push {
    /// What a device is to be told of a message; nothing where its owner does not want it.
    fn notice(
        &self,
        cx: &Cx<'_>,
        stanza: &Stanza,
        wake: Wake,
        state: &AccountState,
    ) -> Option<Notice> {
        let from = stanza.head.from.as_ref()?;
        let is_room = stanza.message_type() == Some(MessageType::Groupchat);
        let chat = from.to_bare();
        let nick = if is_room { mention::nick(state, &chat) } else { None };
        // What one says in a room comes back to oneself.
        if is_room && nick.is_some() && nick.as_deref() == from.resource() {
            return None;
        }
        let usual = if is_room { self.config.rooms } else { Wish::Always };
        let is_mention = || mention::is_of(stanza, &cx.account.jid, &chat, nick.as_deref());
        let kind = match (cx.host.wish(&chat, state).unwrap_or(usual), wake) {
            (Wish::Never, _) | (_, Wake::No) => return None,
            (Wish::Always, Wake::Message) if is_room && is_mention() => Kind::Mention,
            (Wish::Always, Wake::Message) => Kind::Message,
            (Wish::Always, Wake::Quiet) => Kind::Quiet,
            (_, Wake::Call) => Kind::Call,
            (Wish::OnMention, Wake::Message) if is_mention() => Kind::Mention,
            (Wish::OnMention, _) => return None,
        };
        Some(Notice::of(stanza, kind, cx.now_ms, &self.config))
    }
}

impl Attend for Push {
    fn attended(&self, cx: &AttendCx<'_>, state: &mut AccountState, stage: &mut Stage) {
        if state.slots.find::<Registrations>().is_some() {
            state.slots.entry::<Dues>().clear(&cx.account.jid, stage);
        }
    }

    fn asked(&self, cx: &AttendCx<'_>, _: &BareJid, state: &mut AccountState, stage: &mut Stage) {
        let is_shown = |r: &Arc<stentor_engine::Resource>| {
            r.is_available() && judge::is_looking(&self.config, r, cx.engine.clock.unix_ms())
        };
        if cx.account.is_ephemeral || state.resources().iter().any(is_shown) {
            return;
        }
        let notice = Notice::request(cx.engine.clock.unix_ms(), &self.config);
        lanes::raise(&self.lanes, cx.engine, &cx.account.jid, state, stage, &notice, &[]);
    }

    fn cut_off(
        &self,
        cx: &AttendCx<'_>,
        client: &str,
        state: &mut AccountState,
        stage: &mut Stage,
    ) {
        registration::remove(state, &cx.account.jid, stage, |r| {
            r.client.as_deref() == Some(client)
        });
    }
}

/// What was to be told when the server stopped, or when there was too much of it, is told now.
impl Chore for Push {
    fn run<'a>(&'a self, engine: &'a Arc<Engine>, host: &'a Arc<Host>) -> BoxFuture<'a, ()> {
        Box::pin(self.lanes.take_up(engine, &host.domain))
    }
}

const OPTIONS: &[OptionDoc] = &[
    OptionDoc {
        key: "with_sender",
        default: "false",
        help: "Whether a push service is told who wrote.",
    },
    OptionDoc {
        key: "with_body",
        default: "false",
        help: "Whether it is told the first 100 characters of what was written, unless that is \
               encrypted or a spoiler.",
    },
    OptionDoc {
        key: "stand_in",
        default: "'New message'",
        help: "What stands in place of a body that is not told: some services alert nobody without \
               one. Empty for nothing.",
    },
    OptionDoc {
        key: "rooms",
        default: "'on-mention'",
        help: "Which messages of rooms are told where a user has not chosen: `always`, \
               `on-mention` or `never`.",
    },
    OptionDoc {
        key: "beside_active",
        default: "false",
        help: "Whether other devices are told of a message that an active client of the account \
               has.",
    },
    OptionDoc {
        key: "inactive_secs",
        default: "0",
        help: "Seconds for which a client that has become inactive still counts as active.",
    },
    OptionDoc {
        key: "grace_secs",
        default: "5",
        help: "Seconds that a client has to acknowledge a message before others are told.",
    },
    OptionDoc {
        key: "per_minute",
        default: "20",
        help: "Notifications to one device in a minute; further ones become one. Calls and \
               mentions are sent all the same.",
    },
    OptionDoc {
        key: "registrations_max",
        default: "20",
        help: "Services and nodes that one account may enable; beyond, `resource-constraint`.",
    },
    OptionDoc {
        key: "services",
        default: "[]",
        help: "Domains of the services that may be enabled; others are `not-allowed`. Empty for \
               all.",
    },
    OptionDoc {
        key: "tries_max",
        default: "6",
        help: "Attempts for one notification before its device is paused.",
    },
    OptionDoc {
        key: "retry_secs",
        default: "5",
        help: "Seconds before the second attempt; twice as long before each next one, and each \
               time up to half as much more or less.",
    },
    OptionDoc {
        key: "pause_secs",
        default: "3600",
        help: "Seconds for which a service that does not answer is left alone.",
    },
];
