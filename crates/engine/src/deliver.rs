//! Which resources get a message: RFC 6121 §8.5 and nothing else.

use std::sync::Arc;

use smol_str::SmolStr;
use stentor_jid::BareJid;
use stentor_stanza::{MessageType, Stanza};
use stentor_store::{Write, Writer};

use crate::account::AccountState;
use crate::host::{Delivery, Settings};
use crate::outbox::{Copies, Fate, Pressure};
use crate::pending::{Keep, Pending};
use crate::phase::Serials;
use crate::resource::{Flag, Resource};

/// What became of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Delivered {
    /// These sessions have it.
    Yes(Serials, Pressure),
    /// Nobody has it: it may be kept for later, or comes back (`O/E` in §8.5.4).
    Missed,
    /// Older messages are being handed over: if it can be kept, it belongs behind them.
    Queued,
    /// Nobody may have it: it comes back with `service-unavailable` (`E`).
    Bounced,
    /// It is dropped without a word (`S`).
    Ignored,
}

/// Delivers a message to an account that exists (§8.5.2, §8.5.3), unless it must not overtake
/// stored ones (RFC 6120 §10.1).
pub(crate) fn message(
    state: &AccountState,
    stanza: &Stanza,
    rule: Delivery,
    admits: Admits<'_>,
    to: &mut To<'_>,
) -> Delivered {
    if is_behind_backlog(state, stanza) {
        Delivered::Queued
    } else {
        at_once(state, stanza, rule, admits, to)
    }
}

/// Which sessions may get the message, apart from its rules: those that do not, are not there.
pub(crate) type Admits<'a> = &'a dyn Fn(&Resource) -> bool;

/// How messages get to sessions.
pub(crate) struct To<'a> {
    pub(crate) pending: &'a mut Pending,
    pub(crate) keep: Keep,
    /// Makes the number of a message that several sessions share.
    pub(crate) number: &'a dyn Fn() -> u64,
    /// What keeps it on its way where no session does.
    pub(crate) give: Option<Give<'a>>,
    /// Whether others may be given copies of it (XEP-0280).
    pub(crate) is_copied: bool,
    /// Those who have it already, if it is placed again though not all have lost it.
    pub(crate) others: Option<Others<'a>>,
    /// Once it is delivered: those who took it, if somebody is to count them.
    pub(crate) copies: Option<Copies>,
}

/// Who has a message while it is placed again.
#[derive(Clone, Copy)]
pub(crate) struct Others<'a> {
    /// Whoever takes it is counted with them.
    pub(crate) copies: &'a Copies,
    /// Their resources; they are not given it once more.
    pub(crate) names: &'a [SmolStr],
}

impl Others<'_> {
    /// Whether this is one of them, or the same device in another session.
    pub(crate) fn have(&self, resource: &Resource) -> bool {
        self.names.iter().any(|name| name == resource.jid.resource())
    }
}

impl<'a> To<'a> {
    pub(crate) fn new(pending: &'a mut Pending, keep: Keep, number: &'a dyn Fn() -> u64) -> Self {
        Self { pending, keep, number, give: None, is_copied: false, others: None, copies: None }
    }
}

/// How a message is kept that nothing else keeps, while it is on its way.
pub(crate) struct Give<'a> {
    pub(crate) writer: &'a Writer,
    pub(crate) owner: &'a BareJid,
    pub(crate) received_ms: i64,
}

/// Delivers a message whatever is stored.
///
/// Where the RFC leaves a choice: a `normal` message to a resource that is not there comes back;
/// `headline` and `groupchat` messages to one come back as well.
pub(crate) fn at_once(
    state: &AccountState,
    stanza: &Stanza,
    rule: Delivery,
    admits: Admits<'_>,
    to: &mut To<'_>,
) -> Delivered {
    let kind = stanza.message_type().unwrap_or(MessageType::Normal);
    let Some(name) = resource_of(stanza) else {
        return to_bare(state, stanza, kind, rule, admits, to);
    };
    if let Some(resource) = state.resource(name).filter(|r| admits(r))
        && let taken @ Delivered::Yes(..) = push(std::iter::once(resource), stanza, to)
    {
        return taken;
    }
    match kind {
        MessageType::Chat => to_bare(state, stanza, kind, rule, admits, to),
        MessageType::Error => Delivered::Ignored,
        MessageType::Normal | MessageType::Groupchat | MessageType::Headline => Delivered::Bounced,
    }
}

/// RFC 6121 §8.5.1: for an account that does not exist, what one without resources would return
/// comes back; what it would keep comes back, or vanishes where the operator says so: then nobody
/// can tell the two apart.
pub(crate) fn returns_unknown(settings: &Settings, stanza: &Stanza) -> bool {
    let mut pending = Pending::default();
    let mut to = To::new(&mut pending, Keep::No, &|| 0);
    match at_once(&AccountState::default(), stanza, settings.delivery, &|_| true, &mut to) {
        Delivered::Bounced => true,
        Delivered::Missed => !settings.unknown_account_silent,
        Delivered::Ignored | Delivered::Queued | Delivered::Yes(..) => false,
    }
}

fn is_behind_backlog(state: &AccountState, stanza: &Stanza) -> bool {
    let Some(flushing) = state.offline.flushing else { return is_before_resumption(state, stanza) };
    match (stanza.message_type(), resource_of(stanza)) {
        (Some(MessageType::Chat | MessageType::Normal), None) => true,
        (Some(MessageType::Chat), Some(name)) => {
            state.resource(name).is_none_or(|r| r.serial == flushing)
        }
        _ => false,
    }
}

/// XEP-0198 §5: what is stored goes on to whoever is resumed, and nothing overtakes it before. A
/// session that looks at stored messages one by one is handed none.
fn is_before_resumption(state: &AccountState, stanza: &Stanza) -> bool {
    let resources = state.resources();
    if !state.offline.is_waiting || resources.iter().any(|r| r.has(Flag::OfflineByHand)) {
        return false;
    }
    let mut takers = resources.iter().filter(|r| r.priority().is_some_and(|p| p >= 0)).peekable();
    match (stanza.message_type(), resource_of(stanza)) {
        (Some(MessageType::Chat), Some(name)) if state.resource(name).is_some() => {
            state.resource(name).is_some_and(|r| r.outbox.is_parked())
        }
        (Some(MessageType::Chat), _) | (Some(MessageType::Normal), None) => {
            takers.peek().is_some() && takers.all(|r| r.outbox.is_parked())
        }
        _ => false,
    }
}

/// The session that is handed what is stored, if it could be no other.
pub(crate) fn sole_taker(state: &AccountState) -> Option<u64> {
    let takes = |r: &&Arc<Resource>| r.priority().is_some_and(|priority| priority >= 0);
    let mut takers = state.resources().iter().filter(takes);
    let first = takers.next()?;
    takers.next().is_none().then_some(first.serial)
}

fn resource_of(stanza: &Stanza) -> Option<&str> {
    stanza.head.to.as_ref().and_then(|to| to.resource())
}

fn to_bare(
    state: &AccountState,
    stanza: &Stanza,
    kind: MessageType,
    rule: Delivery,
    admits: Admits<'_>,
    to: &mut To<'_>,
) -> Delivered {
    match kind {
        MessageType::Error => Delivered::Ignored,
        MessageType::Groupchat => Delivered::Bounced,
        MessageType::Headline => match push(between(state, 0, i8::MAX, admits), stanza, to) {
            Delivered::Missed => Delivered::Ignored,
            delivered => delivered,
        },
        MessageType::Chat | MessageType::Normal if rule == Delivery::All => {
            push(between(state, 0, i8::MAX, admits), stanza, to)
        }
        MessageType::Chat | MessageType::Normal => to_best(state, stanza, admits, to),
    }
}

/// To those of the highest priority. One that is ending takes nothing: then the next best get it.
fn to_best(
    state: &AccountState,
    stanza: &Stanza,
    admits: Admits<'_>,
    to: &mut To<'_>,
) -> Delivered {
    let mut most = i8::MAX;
    loop {
        let best = between(state, 0, most, admits).filter_map(|r| r.priority()).max();
        let Some(best) = best else { return Delivered::Missed };
        let delivered = push(between(state, best, best, admits), stanza, to);
        if delivered != Delivered::Missed || best == 0 {
            return delivered;
        }
        most = best - 1;
    }
}

fn between<'a>(
    state: &'a AccountState,
    least: i8,
    most: i8,
    admits: Admits<'a>,
) -> impl Iterator<Item = &'a Arc<Resource>> + Clone {
    let range = least..=most;
    let is_there = move |r: &&Arc<Resource>| r.priority().is_some_and(|p| range.contains(&p));
    state.resources().iter().filter(is_there).filter(move |r| admits(r))
}

fn push<'a>(
    resources: impl Iterator<Item = &'a Arc<Resource>> + Clone,
    stanza: &Stanza,
    to: &mut To<'_>,
) -> Delivered {
    let count = resources.clone().count();
    let give = to.give.as_ref().filter(|_| !resources.clone().any(|r| r.outbox.is_durable()));
    let is_shared = count > 1 || give.is_some() || to.is_copied;
    let fate = match to.others {
        Some(others) => Fate::Shared(others.copies.clone()),
        None if is_shared => Fate::Shared(Copies::of(count)),
        None => Fate::Reroute,
    };
    let (mut took, mut most) = (Serials::new(), Pressure::Low);
    for resource in resources {
        if to.others.is_some_and(|others| others.have(resource)) {
            took.push(resource.serial);
            continue;
        }
        match to.pending.push(resource, stanza.clone(), fate.clone(), 1, to.keep) {
            Pressure::Gone => {
                if to.others.is_none() {
                    fate.lose(resource.serial);
                }
                continue;
            }
            Pressure::High => most = Pressure::High,
            Pressure::Low => {}
        }
        took.push(resource.serial);
        match (&fate, to.others) {
            (_, Some(others)) => others.copies.is_with_also(resource),
            (Fate::Shared(copies), None) if to.is_copied => copies.is_with(resource),
            _ => {}
        }
    }
    if took.is_empty() {
        return Delivered::Missed;
    }
    if let Fate::Shared(copies) = &fate {
        to.copies = Some(copies.clone());
    }
    if let (Some(give), Fate::Shared(copies)) = (give, &fate) {
        let (owner, received_ms) = (give.owner.clone(), give.received_ms);
        let stanza = stanza.to_bytes().into();
        let write = Write::Give { owner, number: (to.number)(), received_ms, stanza };
        to.pending.give(copies, give.writer, write);
    }
    Delivered::Yes(took, most)
}
