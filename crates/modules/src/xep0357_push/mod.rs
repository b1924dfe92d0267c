//! XEP-0357: Push Notifications, version 0.4.1.
//!
//! Tells push services of what happens while nobody looks, so that devices without a connection can
//! be woken.
//! Implements: §4.1 (discovery), §5, §6 (enabling and disabling, publish options), §7 (publishing,
//! the summary, how urgent it is; mentions that rooms forward, by XEP-0452), §7.1 (errors: refusals remove a registration at once, what may pass is tried again
//! and then paused), §8 (services that close a node), §9 (what is told is the operator's choice).
//! Left out: §3 and §4.2, which are about push services.
//! Status: complete
//!
//! What is to be told is written with what it tells of: `due.rs`. When it is told is `judge.rs`, to
//! whom `registration.rs`, in what order `lanes.rs`; what waits while the server is busy `load.rs` and
//! `pulse.rs`; `delivery.rs` sends it and deals with the
//! answer, `services.rs` knows which services are slow or silent. `watch.rs` waits for those who may
//! have a message already; what users choose is `choice.rs`, and they do so in `form.rs`. What is worth telling at all is `engine/src/worth`; contacts who come are
//! `online.rs`.

mod choice;
mod config;
mod delivery;
mod due;
mod form;
mod hours;
mod identity;
mod judge;
mod lanes;
mod load;
mod mention;
mod online;
mod pulse;
mod registration;
mod services;
mod watch;

use std::sync::Arc;

use stentor_engine::worth::Wake;
use stentor_engine::{
    AccountState, Attend, AttendCx, BoxFuture, Chore, Cx, Direction, Engine, Factory, Host, IqCx,
    Miss, Module, Observe, Observed, OnSet, Registrar, Scope, Spec, Status, Taken, Wish, Xep,
    refuse,
};
use stentor_jid::BareJid;
use stentor_payload::xep0357_push::{self as push, Disable, Enable};
use stentor_stanza::{Condition, MessageType, Stanza, StanzaError};
use stentor_store::Stage;

use self::choice::ChoiceRows;
use self::config::{Config, OPTIONS};
use self::due::{DueRows, Dues, Kind, Notice};
use self::judge::When;
use self::lanes::Lanes;
use self::online::Comings;
use self::registration::{Registration, RegistrationRows, Registrations, key};
use self::watch::{Watched, Watches};

/// The module.
pub(crate) const MODULE: Factory = Factory::of::<Push>();

struct Push {
    config: Config,
    lanes: Arc<Lanes>,
    watches: Arc<Watches>,
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
        config.check()?;
        let lanes = Lanes::new(config.clone());
        let watches = Watches::new(lanes.clone(), config.grace_secs);
        Ok(Self { config, lanes, watches })
    }

    fn register(self: Arc<Self>, r: &mut Registrar) {
        r.set::<Enable, _>(Scope::Account, &self);
        r.set::<Disable, _>(Scope::Account, &self);
        r.disco_stored(Scope::Account, &[push::NS]);
        r.share(self.lanes.clone());
        r.watch(Arc::new(Comings));
        r.watch(Arc::new(identity::Identities));
        r.resident(Arc::new(RegistrationRows));
        r.resident(Arc::new(DueRows));
        r.resident(Arc::new(ChoiceRows));
        r.command(form::NODE, Arc::new(form::Settings { lanes: self.lanes.clone() }));
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
        if !self.config.allows(ask.jid.domain()) {
            return Err(StanzaError::new(Condition::NotAllowed)
                .with_text("Notifications to this service are not allowed here."));
        }
        let key = key(&ask.jid, ask.node.as_deref());
        let (service, device, ticket) = {
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
            let (service, device) = (registration.service.clone(), registration.mark());
            registrations.0.insert(key.clone(), registration);
            if is_new {
                cx.engine.metrics.pushes_registered.inc();
            }
            (service, device, cx.engine.stores.writer.submit(write))
        };
        cx.engine.settle(account, ticket).await.map_err(|e| refuse::store_error(&e))?;
        if let Some(presence) = session.resource.presence()
            && let Some(noting) = identity::learn(session, &presence)
        {
            noting.await;
        }
        let (service, resource) = (service.domain(), session.resource.jid.resource());
        tracing::info!(event = "push_enabled", account = %account.jid, resource, service, device, "A push service was enabled.");
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
            registration::remove(cx.engine, &mut state, &account.jid, &mut stage, |registration| {
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
        registration::close(cx.engine, state, owner, stanza, stage);
        let from = stanza.head.from.as_ref();
        let is_own = from.is_some_and(|from| from.bare_str() == owner.as_str());
        let worth = cx.worth.of(stanza);
        if is_own || worth.wake == Wake::No {
            return;
        }
        let id = stanza.head.id.as_deref();
        let notice = match self.notice(cx, stanza, worth.wake, state) {
            Ok(notice) => notice,
            Err(why) => {
                tracing::debug!(event = "push_skipped", account = %owner, id, why, "Nobody is told of a message.");
                return;
            }
        };
        let when = judge::when(&self.config, state.resources(), seen, worth.wake, cx.now_ms);
        let (mark, kind) = (&notice.mark, notice.kind.name());
        match when {
            When::Never => {
                tracing::debug!(event = "push_skipped", account = %owner, id, why = "active client", "Nobody is told of a message.");
            }
            When::Now(looking) => {
                tracing::info!(event = "push_due", account = %owner, id, mark, kind, "Devices are told of a message.");
                lanes::raise(&self.lanes, cx.engine, owner, state, stage, &notice, &looking);
            }
            When::Unless(sessions) => {
                tracing::debug!(event = "push_foreseen", account = %owner, id, mark, kind, "Devices are told of a message unless it is acknowledged.");
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
        let is_ours = registration::close(cx.engine, state, &cx.account.jid, stanza, stage);
        if is_ours { Taken::Dropped } else { Taken::No }
    }
}

impl Push {
    /// What a device is to be told of a message, or why it is told nothing.
    fn notice(
        &self,
        cx: &Cx<'_>,
        stanza: &Stanza,
        wake: Wake,
        state: &AccountState,
    ) -> Result<Notice, &'static str> {
        let forwarded = mention::forwarded(stanza);
        if forwarded.is_none() && mention::is_forwarded(stanza) {
            return Err("not of that room");
        }
        let said = forwarded.as_ref().unwrap_or(stanza);
        let from = said.head.from.as_ref().ok_or("no sender")?;
        let is_room = said.message_type() == Some(MessageType::Groupchat);
        let chat = from.to_bare();
        let nick = if is_room { mention::nick(state, &chat) } else { None };
        // What one says in a room comes back to oneself.
        if is_room && nick.is_some() && nick.as_deref() == from.resource() {
            return Err("own words");
        }
        let usual = if is_room { self.config.rooms } else { Wish::Always };
        let is_mention =
            || forwarded.is_some() || mention::is_of(said, &cx.account.jid, &chat, nick.as_deref());
        let wish = cx.host.wish(&chat, state);
        // XEP-0492 §2.2: each device as its client; what the most of them are told, the others may not be.
        let wishes = self.wishes(cx, &chat, usual, state);
        let most = wishes.iter().map(|(_, wish)| *wish).max_by_key(|wish| eagerness(*wish));
        let kind = match (most.unwrap_or(usual), wake) {
            (_, Wake::No) => return Err("no content"),
            (Wish::Never, _) => return Err("muted"),
            (Wish::Always, Wake::Message) if !is_room => Kind::Message,
            (Wish::Always, Wake::Message) if is_mention() => Kind::Mention,
            (Wish::Always, Wake::Message) => Kind::Room,
            (Wish::Always, Wake::Quiet) => Kind::Quiet,
            (_, Wake::Call) => Kind::Call,
            (Wish::OnMention, Wake::Message) if is_mention() => Kind::Mention,
            (Wish::OnMention, _) => return Err("no mention"),
        };
        let mark = self.lanes.mark(cx.now_ms);
        let passes = wish == Some(Wish::Always);
        let is_deaf = |wish: Wish| match wish {
            Wish::Always => false,
            Wish::OnMention => wake != Wake::Call && !is_mention(),
            Wish::Never => true,
        };
        let deaf = wishes.into_iter().filter(|(_, wish)| is_deaf(*wish)).map(|(key, _)| key);
        let notice = Notice::of(said, kind, cx.now_ms, &self.config).not_to(deaf.collect());
        Ok(notice.marked(mark).passing(passes))
    }

    /// How much of a chat each device is to be told.
    fn wishes(
        &self,
        cx: &Cx<'_>,
        chat: &BareJid,
        usual: Wish,
        state: &AccountState,
    ) -> Vec<(String, Wish)> {
        let registrations = state.slots.find::<Registrations>();
        let wish = |registration: &Registration| {
            cx.host.wish_of(chat, registration.application(), state).unwrap_or(usual)
        };
        let all = registrations.iter().flat_map(|registrations| registrations.0.iter());
        all.map(|(key, registration)| (key.clone(), wish(registration))).collect()
    }
}

/// Who wants more.
const fn eagerness(wish: Wish) -> u8 {
    match wish {
        Wish::Never => 0,
        Wish::OnMention => 1,
        Wish::Always => 2,
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
        let now_ms = cx.engine.clock.unix_ms();
        let notice = Notice::request(now_ms, &self.config).marked(self.lanes.mark(now_ms));
        let (account, mark, kind) = (&cx.account.jid, &notice.mark, notice.kind.name());
        tracing::info!(event = "push_due", %account, mark, kind, "Devices are told of a request.");
        lanes::raise(&self.lanes, cx.engine, &cx.account.jid, state, stage, &notice, &[]);
    }

    fn cut_off(
        &self,
        cx: &AttendCx<'_>,
        client: &str,
        state: &mut AccountState,
        stage: &mut Stage,
    ) {
        registration::remove(cx.engine, state, &cx.account.jid, stage, |r| {
            r.client.as_deref() == Some(client)
        });
    }
}

/// What was to be told when the server stopped, or when there was too much of it, is told now.
impl Chore for Push {
    fn run<'a>(&'a self, engine: &'a Arc<Engine>, host: &'a Arc<Host>) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            self.lanes.take_up(engine, &host.domain).await;
            // All domains are counted at once.
            let hosts = engine.hosts.load();
            if hosts.iter().map(|host| &host.domain).min() == Some(&host.domain) {
                registration::count(engine).await;
            }
        })
    }
}
