//! XEP-0191: Blocking Command, version 1.3.
//!
//! Addresses from which an account hears nothing, and to which it sends nothing.
//! Implements: §3 (discovery, list, commands, pushes, presence, errors), §5 (one set of rules with
//! XEP-0016), §6 (matching); reports by XEP-0377.
//! Left out: §4 (cancelled subscriptions, messages to the blocked), which the XEP advises against;
//! later presence is not kept from one resource of a contact elsewhere, whose server shares it out.
//! Status: complete

mod change;
mod rules;
mod screen;

use std::sync::Arc;

use hashbrown::HashSet;
use serde::Deserialize;
use stentor_engine::{
    AccountState, Factory, Flag, IqCx, Module, OnAsk, OnSet, OptionDoc, Registrar, Resident, Scope,
    Slot, Spec, Status, Xep, slots,
};
use stentor_jid::Jid;
use stentor_payload::xep0191_blocking::{self as blocking, Ask, Block, Blocklist, Unblock};
use stentor_payload::{Encode, xep0377_reports};
use stentor_stanza::{Condition, StanzaError};

use crate::xep0377_reports as reports;

use change::push_lists;
pub(crate) use change::{Changed, Push, change, push};
pub(crate) use rules::Rules;
pub(crate) use screen::{Active, active_of};

/// The module.
pub(crate) const MODULE: Factory = Factory::of::<Blocking>();

struct Blocking {
    config: Config,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Config {
    items_max: usize,
    reports_max: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self { items_max: 2_000, reports_max: 100 }
    }
}

impl Module for Blocking {
    const SPEC: &'static Spec = &Spec {
        name: "blocking",
        xeps: &[
            Xep { number: 191, version: "1.3", status: Status::Complete, note: "" },
            Xep {
                number: 377,
                version: "0.4.1",
                status: Status::Complete,
                note: "reports wait for the operator: `stentor report`; none is passed on",
            },
        ],
        requires: &[],
        options: &[
            OptionDoc {
                key: "items_max",
                default: "2000",
                help: "Addresses that one account may block, and rules in one of its privacy lists; \
                       beyond, `resource-constraint`.",
            },
            OptionDoc {
                key: "reports_max",
                default: "100",
                help: "Reports of one account that wait for the operator; further ones are not kept.",
            },
        ],
    };
    type Config = Config;

    fn build(config: Config) -> Result<Self, String> {
        Ok(Self { config })
    }

    fn register(self: Arc<Self>, r: &mut Registrar) {
        r.ask::<Ask, _>(Scope::Account, &self);
        r.set::<Block, _>(Scope::Account, &self);
        r.set::<Unblock, _>(Scope::Account, &self);
        r.disco_stored(Scope::Host, &[blocking::NS, xep0377_reports::NS]);
        r.resident(self.clone());
        r.admit(self.clone());
        r.screen(self);
    }
}

impl Resident for Blocking {
    fn kind(&self) -> &'static str {
        rules::KIND
    }

    fn build(&self, rows: Vec<(String, Vec<u8>)>) -> Slot {
        if rows.is_empty() { slots::nothing() } else { Box::new(Rules::read(rows)) }
    }
}

impl OnAsk<Ask> for Blocking {
    async fn ask(&self, cx: &IqCx<'_>, _: Ask) -> Result<(), StanzaError> {
        let (session, account) = cx.own_stored_account()?;
        session.settle_all().await;
        // The answer, and the wish for pushes, under one lock: no change falls between.
        let state = account.lock();
        session.resource.set(Flag::Blocking);
        let list = Blocklist(state.slots.find::<Rules>().map_or_else(Vec::new, Rules::blocked));
        session.reply(cx.stanza.reply_result(|w| list.encode(w)));
        Ok(())
    }
}

impl OnSet<Block> for Blocking {
    type Reply = ();

    async fn set(&self, cx: &IqCx<'_>, Block(blocked): Block) -> Result<(), StanzaError> {
        let (_, account) = cx.own_stored_account()?;
        let reports = reports::keep(cx, account, &blocked, self.config.reports_max).await?;
        let mut seen = HashSet::new();
        let jids = blocked.into_iter().map(|item| item.jid);
        let jids: Vec<Jid> = jids.filter(|jid| seen.insert(jid.clone())).collect();
        change(cx, account, &jids, |state| {
            let rules = rules_of(state);
            let list = rules.default_name().and_then(|name| rules.list(name));
            let blocked: HashSet<Jid> = rules.blocked().into_iter().collect();
            let added = jids.iter().filter(|jid| !blocked.contains(*jid)).count();
            if added > 0 && list.map_or(0, |l| l.items.len()) + added > self.config.items_max {
                return Err(StanzaError::new(Condition::ResourceConstraint));
            }
            let rows = rules.block(&jids);
            push(cx.engine, state, Push::Block, &jids);
            push_lists(cx.engine, state, &rows);
            Ok(Changed { rows, writes: reports })
        })
        .await
    }
}

impl OnSet<Unblock> for Blocking {
    type Reply = ();

    async fn set(&self, cx: &IqCx<'_>, Unblock(jids): Unblock) -> Result<(), StanzaError> {
        let (_, account) = cx.own_stored_account()?;
        change(cx, account, &[], |state| {
            let rows = rules_of(state).unblock((!jids.is_empty()).then_some(&jids));
            push(cx.engine, state, Push::Unblock, &jids);
            push_lists(cx.engine, state, &rows);
            Ok(Changed { rows, writes: Vec::new() })
        })
        .await
    }
}

/// The rules, to be changed.
pub(crate) fn rules_of(state: &mut AccountState) -> &mut Rules {
    if state.slots.find::<Rules>().is_none() {
        state.slots.put(Rules::default());
    }
    state.slots.find_mut().expect("it was put a line above")
}
