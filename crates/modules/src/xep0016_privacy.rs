//! XEP-0016: Privacy Lists, version 1.7.
//!
//! Lists of rules about who may send what, for clients of old; blocked addresses (XEP-0191) are
//! rules of the default list.
//! Implements: §2 (all of it; what rules do to stanzas is `xep0191_blocking`), §3 (discovery).
//! Left out: §2.10's unavailable presence for each session of a contact elsewhere: it comes from the
//! contact's bare address, because sessions elsewhere are not known one by one.
//! Status: complete

use std::sync::Arc;

use hashbrown::HashSet;
use serde::Deserialize;
use stentor_engine::{
    AccountState, Engine, Factory, Flag, IqCx, Module, OnGet, OnSet, OptionDoc, Registrar,
    Resource, Scope, Spec, Status, Xep,
};
use stentor_jid::Jid;
use stentor_payload::Encode;
use stentor_payload::xep0016_privacy::{self as privacy, Ask, Change, List, Names, Whom};
use stentor_stanza::{Condition, StanzaError};
use stentor_xml::Writer;

use crate::xep0191_blocking::{Active, Changed, Push, Rules, active_of, change, push, rules_of};

/// The module.
pub(crate) const MODULE: Factory = Factory::of::<Privacy>();

struct Privacy {
    config: Config,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Config {
    lists_max: usize,
    items_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { lists_max: 32, items_max: 2_000 }
    }
}

impl Module for Privacy {
    const SPEC: &'static Spec = &Spec {
        name: "privacy",
        xeps: &[Xep { number: 16, version: "1.7", status: Status::Complete, note: "" }],
        requires: &["blocking"],
        options: &[
            OptionDoc {
                key: "lists_max",
                default: "32",
                help: "Privacy lists of one account; one more is refused with \
                       `resource-constraint`.",
            },
            OptionDoc {
                key: "items_max",
                default: "2000",
                help: "Rules of one list that a client sets; beyond, the same.",
            },
        ],
    };
    type Config = Config;

    fn build(config: Config) -> Result<Self, String> {
        Ok(Self { config })
    }

    fn register(self: Arc<Self>, r: &mut Registrar) {
        r.get::<Ask, _>(Scope::Account, &self);
        r.set::<Change, _>(Scope::Account, &self);
        r.disco_stored(Scope::Host, &[privacy::NS]);
    }
}

/// What is asked for.
enum Answer {
    Names(Names),
    List(List),
}

impl Encode for Answer {
    fn encode(&self, w: &mut Writer) {
        match self {
            Self::Names(names) => names.encode(w),
            Self::List(list) => list.encode(w),
        }
    }
}

impl OnGet<Ask> for Privacy {
    type Reply = Answer;

    async fn get(&self, cx: &IqCx<'_>, ask: Ask) -> Result<Answer, StanzaError> {
        let (session, account) = cx.own_stored_account()?;
        let state = account.lock();
        let active = active_of(&session.resource);
        // Noted also where there is none: this session knows of lists.
        session.resource.note(Active(active.clone()));
        let rules = state.slots.find::<Rules>();
        match ask {
            Ask::Names => {
                let (lists, default) = rules.map(Rules::names).unwrap_or_default();
                let active = active.map(|name| name.to_string());
                let active = active.filter(|name| lists.contains(name));
                Ok(Answer::Names(Names { active, default, lists }))
            }
            Ask::List(name) => {
                let list = rules.and_then(|rules| rules.list(&name));
                list.cloned().map(Answer::List).ok_or(Refusal::NoSuchList.into())
            }
        }
    }
}

impl OnSet<Change> for Privacy {
    type Reply = ();

    async fn set(&self, cx: &IqCx<'_>, wish: Change) -> Result<(), StanzaError> {
        let (session, account) = cx.own_stored_account()?;
        let me = &session.resource;
        let named = match &wish {
            Change::List(list) => full_addresses(list),
            _ => Vec::new(),
        };
        change(cx, account, &named, |state| match wish {
            Change::Active(name) => activate(me, state, name),
            Change::Default(name) => set_default(cx.engine, me, state, name),
            Change::List(list) if list.items.is_empty() => remove(cx.engine, me, state, &list.name),
            Change::List(list) => self.put(cx.engine, state, list),
        })
        .await
    }
}

fn full_addresses(list: &List) -> Vec<Jid> {
    let jids = list.items.iter().filter_map(|item| match &item.whom {
        Whom::Jid(jid) if jid.is_full() => Some(jid.clone()),
        _ => None,
    });
    jids.collect()
}

/// §2.4.
fn activate(
    me: &Resource,
    state: &mut AccountState,
    name: Option<String>,
) -> Result<Changed, StanzaError> {
    if name.as_ref().is_some_and(|name| rules_of(state).list(name).is_none()) {
        return Err(Refusal::NoSuchList.into());
    }
    match name {
        Some(_) => me.set(Flag::OwnRules),
        None => me.clear(Flag::OwnRules),
    }
    me.note(Active(name.map(Arc::from)));
    Ok(Changed::default())
}

/// §2.5.
fn set_default(
    engine: &Engine,
    me: &Resource,
    state: &mut AccountState,
    name: Option<String>,
) -> Result<Changed, StanzaError> {
    let rules = rules_of(state);
    if name.as_ref().is_some_and(|name| rules.list(name).is_none()) {
        return Err(Refusal::NoSuchList.into());
    }
    if rules.default_name() == name.as_deref() {
        return Ok(Changed::default());
    }
    let has_default = rules.default_name().is_some();
    if has_default && others(me, state).any(|other| chosen(other, state).is_none()) {
        return Err(Refusal::InUse.into());
    }
    let before = rules_of(state).blocked();
    let rows = vec![rules_of(state).set_default(name)];
    push_difference(engine, state, &before);
    Ok(Changed { rows, writes: Vec::new() })
}

/// §2.8.
fn remove(
    engine: &Engine,
    me: &Resource,
    state: &mut AccountState,
    name: &str,
) -> Result<Changed, StanzaError> {
    if rules_of(state).list(name).is_none() {
        return Err(Refusal::NoSuchList.into());
    }
    let is_default = rules_of(state).default_name() == Some(name);
    let applies = |other: &Resource| match chosen(other, state) {
        Some(active) => *active == *name,
        None => is_default,
    };
    if others(me, state).any(applies) {
        return Err(Refusal::InUse.into());
    }
    let before = rules_of(state).blocked();
    let rows = rules_of(state).remove(name);
    if active_of(me).is_some_and(|active| *active == *name) {
        me.clear(Flag::OwnRules);
        me.note(Active(None));
    }
    tell(engine, state, name, &before);
    Ok(Changed { rows, writes: Vec::new() })
}

/// Other sessions.
fn others<'a>(me: &Resource, state: &'a AccountState) -> impl Iterator<Item = &'a Resource> {
    let serial = me.serial;
    state.resources().iter().filter(move |other| other.serial != serial).map(|other| &**other)
}

/// The list that a session has chosen, if there still is one of that name.
fn chosen(session: &Resource, state: &AccountState) -> Option<Arc<str>> {
    let rules = state.slots.find::<Rules>();
    active_of(session).filter(|name| rules.is_some_and(|rules| rules.list(name).is_some()))
}

impl Privacy {
    /// §2.6, §2.7.
    fn put(
        &self,
        engine: &Engine,
        state: &mut AccountState,
        list: List,
    ) -> Result<Changed, StanzaError> {
        let rules = rules_of(state);
        let is_new = rules.list(&list.name).is_none();
        if list.items.len() > self.config.items_max
            || is_new && rules.len() >= self.config.lists_max
        {
            return Err(Refusal::TooMany.into());
        }
        // §2.1: groups are those of the roster.
        for item in &list.items {
            if let Whom::Group(group) = &item.whom
                && !has_group(state, group)
            {
                return Err(Refusal::NoSuchGroup.into());
            }
        }
        let (name, before) = (list.name.clone(), rules_of(state).blocked());
        let rows = vec![rules_of(state).put(list)];
        tell(engine, state, &name, &before);
        Ok(Changed { rows, writes: Vec::new() })
    }
}

fn has_group(state: &AccountState, group: &str) -> bool {
    state.roster.items().any(|(_, item)| item.groups.iter().any(|g| **g == *group))
}

/// §2.2, rule 10: every session learns that a list changed, and those that asked for the blocked
/// addresses learn which did.
fn tell(engine: &Engine, state: &AccountState, name: &str, before: &[Jid]) {
    for session in state.resources() {
        engine.push_iq(session, |w| privacy::write_push(w, name));
    }
    push_difference(engine, state, before);
}

/// XEP-0191 §5, point 2.
fn push_difference(engine: &Engine, state: &AccountState, before: &[Jid]) {
    let after = state.slots.find::<Rules>().map_or_else(Vec::new, Rules::blocked);
    let missing = |of: &[Jid], there: &[Jid]| -> Vec<Jid> {
        let there: HashSet<&Jid> = there.iter().collect();
        of.iter().filter(|jid| !there.contains(jid)).cloned().collect()
    };
    for (what, jids) in
        [(Push::Block, missing(&after, before)), (Push::Unblock, missing(before, &after))]
    {
        // Without addresses an unblocking would be one of all.
        if !jids.is_empty() {
            push(engine, state, what, &jids);
        }
    }
}

/// Why a request is refused.
enum Refusal {
    /// §2.3, §2.4, §2.5, §2.8: there is no list of this name.
    NoSuchList,
    /// §2.1: there is no group of this name in the roster.
    NoSuchGroup,
    /// §2.5, §2.8: the list applies to another session.
    InUse,
    /// The account has as many as it may.
    TooMany,
}

impl From<Refusal> for StanzaError {
    fn from(refusal: Refusal) -> Self {
        Self::new(match refusal {
            Refusal::NoSuchList | Refusal::NoSuchGroup => Condition::ItemNotFound,
            Refusal::InUse => Condition::Conflict,
            Refusal::TooMany => Condition::ResourceConstraint,
        })
    }
}
