//! Which resources get a message: RFC 6121 §8.5 and nothing else.

use std::sync::Arc;

use stentor_stanza::{MessageType, Stanza};

use crate::account::AccountState;
use crate::host::Delivery;
use crate::outbox::{Fate, Pressure};
use crate::resource::Resource;

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Delivered {
    /// At least one session has it.
    Yes(Pressure),
    /// Nobody has it: it may be kept for later, or comes back (`O/E` in §8.5.4).
    Missed,
    /// Nobody may have it: it comes back with `service-unavailable` (`E`).
    Bounced,
    /// It is dropped without a word (`S`).
    Ignored,
}

/// Delivers a message to an account that exists (§8.5.2, §8.5.3).
///
/// Where the RFC leaves a choice: a `normal` message to a resource that is not there comes back;
/// `headline` and `groupchat` messages to one come back as well.
pub(crate) fn message(state: &AccountState, stanza: &Stanza, rule: Delivery) -> Delivered {
    let kind = stanza.message_type().unwrap_or(MessageType::Normal);
    if let Some(name) = stanza.head.to.as_ref().and_then(|to| to.resource()) {
        if let Some(resource) = state.resource(name) {
            return push(std::iter::once(resource), stanza);
        }
        return match kind {
            MessageType::Chat => to_bare(state, stanza, kind, rule),
            MessageType::Error => Delivered::Ignored,
            MessageType::Normal | MessageType::Groupchat | MessageType::Headline => {
                Delivered::Bounced
            }
        };
    }
    to_bare(state, stanza, kind, rule)
}

fn to_bare(state: &AccountState, stanza: &Stanza, kind: MessageType, rule: Delivery) -> Delivered {
    let top = state.resources().iter().filter_map(|r| r.priority()).max().filter(|p| *p >= 0);
    match (kind, top) {
        (MessageType::Error, _) | (MessageType::Headline, None) => Delivered::Ignored,
        (MessageType::Groupchat, _) => Delivered::Bounced,
        (MessageType::Chat | MessageType::Normal, None) => Delivered::Missed,
        // What is stored is older: it goes first, and this queues up behind it.
        (MessageType::Chat | MessageType::Normal, Some(_)) if state.offline.is_flushing => {
            Delivered::Missed
        }
        (MessageType::Chat | MessageType::Normal, Some(top)) => {
            let least = if rule == Delivery::All { 0 } else { top };
            push(at_least(state, least), stanza)
        }
        (MessageType::Headline, Some(_)) => push(at_least(state, 0), stanza),
    }
}

fn at_least(state: &AccountState, least: i8) -> impl Iterator<Item = &Arc<Resource>> {
    state.resources().iter().filter(move |r| r.priority().is_some_and(|p| p >= least))
}

fn push<'a>(resources: impl Iterator<Item = &'a Arc<Resource>>, stanza: &Stanza) -> Delivered {
    let mut taken = None;
    let mut resources = resources.peekable();
    while let Some(resource) = resources.next() {
        // Only the one resource that has it may give it back.
        let is_only = taken.is_none() && resources.peek().is_none();
        let fate = if is_only { Fate::Reroute } else { Fate::Forget };
        match (resource.outbox.push(stanza.clone(), fate), taken) {
            (Pressure::Gone, _) => {}
            (Pressure::High, _) => taken = Some(Pressure::High),
            (Pressure::Low, before) => taken = Some(before.unwrap_or(Pressure::Low)),
        }
    }
    taken.map_or(Delivered::Missed, Delivered::Yes)
}
