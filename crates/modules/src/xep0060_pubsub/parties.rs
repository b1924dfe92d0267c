//! Who is subscribed and who is affiliated: asked by themselves (§5.6, §5.7, §6.1, §6.2), and
//! managed by the owner (§8.8, §8.9).

use std::collections::BTreeMap;

use stentor_engine::{Account, AccountState};
use stentor_jid::{BareJid, Jid};
use stentor_payload::xep0060_pubsub::{PartyChange, error, unsupported};
use stentor_stanza::{Condition, ErrorType, Stanza, StanzaError};
use stentor_store::{NodeChange, NodeParty, PartyKind, Stage};

use super::access::Asker;
use super::config::Access;
use super::event::{Event, message};
use super::nodes::{Affiliation, Node, Nodes, Subscription};
use super::reply::{Affiliated, Subscribed};
use super::{not_ready, write};
use crate::limits::PUBSUB_PARTIES_MAX;

/// What became of a wish for a subscription.
pub(crate) struct Outcome {
    pub(crate) subscription: Subscription,
    /// Whether it was not there before.
    pub(crate) is_new: bool,
}

/// Subscribes an entity.
///
/// # Errors
/// Those of §6.1.3.
pub(crate) fn subscribe(
    account: &Account,
    state: &mut AccountState,
    who: &BareJid,
    name: &str,
    jid: &Jid,
    stage: &mut Stage,
) -> Result<Outcome, StanzaError> {
    // §6.1.3.1.
    if jid.bare_str() != who.as_str() {
        return Err(error(Condition::BadRequest, "invalid-jid"));
    }
    let node = find(state, name)?;
    let asker = Asker { owner: &account.jid, roster: &state.roster, who };
    let subscription = asker.may_subscribe(node)?;
    match node.subscriptions.get(jid) {
        // §6.1.6: as if it had just been approved.
        Some(Subscription::Subscribed) => {
            let subscription = Subscription::Subscribed;
            return Ok(Outcome { subscription, is_new: false });
        }
        // §6.1.3.7.
        Some(Subscription::Pending) if subscription == Subscription::Pending => {
            return Err(error(Condition::NotAuthorized, "pending-subscription"));
        }
        Some(Subscription::Pending) | None => {}
    }
    // §6.1.3.9.
    let own = node.subscriptions_of(who).count();
    if own >= SUBSCRIPTIONS_PER_ENTITY_MAX || node.subscriptions.len() >= PUBSUB_PARTIES_MAX {
        return Err(
            error(Condition::PolicyViolation, "too-many-subscriptions").of_type(ErrorType::Wait)
        );
    }
    put_subscription(&account.jid, find_mut(state, name)?, name, jid, Some(subscription), stage);
    Ok(Outcome { subscription, is_new: true })
}

/// Ends a subscription.
///
/// # Errors
/// Those of §6.2.3.
pub(crate) fn unsubscribe(
    account: &Account,
    state: &mut AccountState,
    who: &BareJid,
    name: &str,
    jid: &Jid,
    stage: &mut Stage,
) -> Result<(), StanzaError> {
    let node = find_mut(state, name)?;
    // §6.2.3.3.
    if jid.bare_str() != who.as_str() {
        return Err(StanzaError::new(Condition::Forbidden));
    }
    // §6.2.3.2.
    if !node.subscriptions.contains_key(jid) {
        let not_subscribed = error(Condition::UnexpectedRequest, "not-subscribed");
        return Err(not_subscribed.of_type(ErrorType::Cancel));
    }
    put_subscription(&account.jid, node, name, jid, None, stage);
    Ok(())
}

/// Puts a subscription, or takes it away.
pub(crate) fn put_subscription(
    owner: &BareJid,
    node: &mut Node,
    name: &str,
    jid: &Jid,
    subscription: Option<Subscription>,
    stage: &mut Stage,
) {
    let kind = PartyKind::Subscription;
    let change = if let Some(subscription) = subscription {
        node.subscriptions.insert(jid.clone(), subscription);
        let value = subscription.name().to_owned();
        NodeChange::PutParty(NodeParty { jid: jid.clone(), kind, value })
    } else {
        node.subscriptions.remove(jid);
        NodeChange::RemoveParty { jid: jid.clone(), kind }
    };
    stage.push(write(owner, name, change));
}

/// The asker's own subscriptions (§5.6).
pub(crate) fn own_subscriptions(
    state: &AccountState,
    who: &BareJid,
    only: Option<&str>,
) -> Result<Vec<Subscribed>, StanzaError> {
    let nodes = Nodes::of(state).ok_or(not_ready())?;
    let wanted = nodes.iter().filter(|(name, _)| only.is_none_or(|only| only == *name));
    let of_node = |(name, node): (&str, &Node)| {
        let of = |(jid, subscription): (&Jid, Subscription)| Subscribed {
            node: Some(name.to_owned()),
            jid: jid.clone(),
            subscription: subscription.name(),
        };
        node.subscriptions_of(who).map(of).collect::<Vec<_>>()
    };
    Ok(wanted.flat_map(of_node).collect())
}

/// The asker's own affiliations (§5.7).
pub(crate) fn own_affiliations(
    owner: &BareJid,
    state: &AccountState,
    who: &BareJid,
    only: Option<&str>,
) -> Result<Vec<Affiliated>, StanzaError> {
    let nodes = Nodes::of(state).ok_or(not_ready())?;
    let wanted = nodes.iter().filter(|(name, _)| only.is_none_or(|only| only == *name));
    let of = |(name, node): (&str, &Node)| {
        let affiliation = if who == owner {
            "owner"
        } else {
            node.affiliations.get(who).map(|affiliation| affiliation.name())?
        };
        Some(Affiliated { node: Some(name.to_owned()), jid: None, affiliation })
    };
    Ok(wanted.filter_map(of).collect())
}

/// All subscriptions in force (§8.8.1).
pub(crate) fn all_subscriptions(
    state: &AccountState,
    name: &str,
) -> Result<Vec<Subscribed>, StanzaError> {
    let node = find(state, name)?;
    let is_in_force = |(_, s): &(&Jid, &Subscription)| **s == Subscription::Subscribed;
    let of = |(jid, subscription): (&Jid, &Subscription)| Subscribed {
        node: None,
        jid: jid.clone(),
        subscription: subscription.name(),
    };
    Ok(node.subscriptions.iter().filter(is_in_force).map(of).collect())
}

/// All affiliations (§8.9.1).
pub(crate) fn all_affiliations(
    owner: &BareJid,
    state: &AccountState,
    name: &str,
) -> Result<Vec<Affiliated>, StanzaError> {
    let node = find(state, name)?;
    let one = |jid: &BareJid, affiliation| Affiliated {
        node: None,
        jid: Some(jid.as_jid().clone()),
        affiliation,
    };
    let others = node.affiliations.iter().map(|(jid, affiliation)| one(jid, affiliation.name()));
    Ok(std::iter::once(one(owner, "owner")).chain(others).collect())
}

/// Changes subscriptions for the owner (§8.8.2). Returns the messages to those concerned (§8.8.4).
///
/// # Errors
/// `not-acceptable`, and nothing is changed: a state that one cannot be in.
pub(crate) fn change_subscriptions(
    account: &Account,
    state: &mut AccountState,
    name: &str,
    changes: &[PartyChange],
    stage: &mut Stage,
) -> Result<Vec<Stanza>, StanzaError> {
    let owner = &account.jid;
    let node = find_mut(state, name)?;
    let mut wished: BTreeMap<&Jid, Option<Subscription>> = BTreeMap::new();
    for PartyChange { jid, value } in changes {
        let Some(value) = value else { continue };
        let next = match value.as_str() {
            "none" => None,
            other => {
                Some(Subscription::read(other).ok_or(StanzaError::new(Condition::NotAcceptable))?)
            }
        };
        wished.insert(jid, next);
    }
    let added = wished
        .iter()
        .filter(|(jid, next)| next.is_some() && !node.subscriptions.contains_key(**jid));
    if node.subscriptions.len() + added.count() > PUBSUB_PARTIES_MAX {
        return Err(StanzaError::new(Condition::NotAcceptable));
    }
    let mut told = Vec::new();
    for (jid, next) in wished {
        if node.subscriptions.get(jid).copied() == next {
            continue;
        }
        put_subscription(owner, node, name, jid, next, stage);
        told.push(subscription_message(owner, name, node, jid, next));
    }
    Ok(told)
}

/// The message to somebody whose subscription is another one now (§8.8.4).
pub(crate) fn subscription_message(
    owner: &BareJid,
    name: &str,
    node: &Node,
    jid: &Jid,
    subscription: Option<Subscription>,
) -> Stanza {
    let word = subscription.map_or("none", Subscription::name);
    let mut message = message(owner, name, &node.config, Event::Subscription(jid, word), None);
    message.head.to = Some(jid.clone());
    message
}

/// Changes affiliations for the owner (§8.9.2). Returns the messages to those whose subscriptions
/// end by that (§12.14).
///
/// # Errors
/// `not-acceptable`, and nothing is changed: the owner stays, and stays the only one.
pub(crate) fn change_affiliations(
    account: &Account,
    state: &mut AccountState,
    name: &str,
    changes: &[PartyChange],
    stage: &mut Stage,
) -> Result<Vec<Stanza>, StanzaError> {
    let owner = &account.jid;
    let node = find_mut(state, name)?;
    let mut wished: BTreeMap<BareJid, Option<Affiliation>> = BTreeMap::new();
    for PartyChange { jid, value } in changes {
        let who = jid.to_bare();
        let next = match (value.as_deref(), who == *owner) {
            (None, _) | (Some("owner"), true) => continue,
            (Some(_), true) => return Err(StanzaError::new(Condition::NotAcceptable)),
            (Some("none"), _) => None,
            // XEP-0163 §2.2: nobody else is one.
            (Some("owner"), _) => return Err(unsupported("owner-affiliation")),
            (Some(other), _) => {
                Some(Affiliation::read(other).ok_or(StanzaError::new(Condition::NotAcceptable))?)
            }
        };
        // §8.9.2.4: nobody twice, by whatever resource.
        if wished.insert(who, next).is_some() {
            return Err(StanzaError::new(Condition::BadRequest));
        }
    }
    let added =
        wished.iter().filter(|(who, next)| next.is_some() && !node.affiliations.contains_key(*who));
    if node.affiliations.len() + added.count() > PUBSUB_PARTIES_MAX {
        return Err(StanzaError::new(Condition::NotAcceptable));
    }
    let mut told = Vec::new();
    for (who, next) in wished {
        put_affiliation(owner, node, name, &who, next, stage);
        // §4.1: an outcast has no subscription.
        if next == Some(Affiliation::Outcast) {
            told.extend(end_subscriptions(owner, node, name, &who, stage));
        }
    }
    Ok(told)
}

fn put_affiliation(
    owner: &BareJid,
    node: &mut Node,
    name: &str,
    who: &BareJid,
    affiliation: Option<Affiliation>,
    stage: &mut Stage,
) {
    let (jid, kind) = (who.as_jid().clone(), PartyKind::Affiliation);
    let change = if let Some(affiliation) = affiliation {
        node.affiliations.insert(who.clone(), affiliation);
        NodeChange::PutParty(NodeParty { jid, kind, value: affiliation.name().to_owned() })
    } else {
        node.affiliations.remove(who);
        NodeChange::RemoveParty { jid, kind }
    };
    stage.push(write(owner, name, change));
}

/// Ends the subscriptions of an entity to nodes that it may not read any more, because it does not
/// see the owner's presence or has left a group (XEP-0163 §7.1). Returns the messages to it
/// (§12.14).
pub(crate) fn cancel_lost(
    account: &Account,
    state: &mut AccountState,
    who: &BareJid,
    stage: &mut Stage,
) -> Vec<Stanza> {
    let owner = &account.jid;
    let Some(nodes) = Nodes::of(state) else { return Vec::new() };
    let asker = Asker { owner, roster: &state.roster, who };
    let is_lost = |node: &Node| {
        matches!(node.config.access, Access::Presence | Access::Roster)
            && node.subscriptions_of(who).next().is_some()
            && asker.may_read(node).is_err()
    };
    let lost = nodes.iter().filter(|(_, node)| is_lost(node));
    let lost: Vec<String> = lost.map(|(name, _)| name.to_owned()).collect();
    let mut told = Vec::new();
    for name in lost {
        if let Ok(node) = find_mut(state, &name) {
            told.extend(end_subscriptions(owner, node, &name, who, stage));
        }
    }
    told
}

/// Ends all subscriptions of an entity to a node. Returns the messages about that.
fn end_subscriptions(
    owner: &BareJid,
    node: &mut Node,
    name: &str,
    who: &BareJid,
    stage: &mut Stage,
) -> Vec<Stanza> {
    let theirs: Vec<Jid> = node.subscriptions_of(who).map(|(jid, _)| jid.clone()).collect();
    for jid in &theirs {
        put_subscription(owner, node, name, jid, None, stage);
    }
    theirs.iter().map(|jid| subscription_message(owner, name, node, jid, None)).collect()
}

fn find<'a>(state: &'a AccountState, name: &str) -> Result<&'a Node, StanzaError> {
    let nodes = Nodes::of(state).ok_or(not_ready())?;
    nodes.find(name).ok_or(StanzaError::new(Condition::ItemNotFound))
}

fn find_mut<'a>(state: &'a mut AccountState, name: &str) -> Result<&'a mut Node, StanzaError> {
    let nodes = Nodes::of_mut(state).ok_or(not_ready())?;
    nodes.find_mut(name).ok_or(StanzaError::new(Condition::ItemNotFound))
}

/// Subscriptions of one entity to one node, by whatever resource.
const SUBSCRIPTIONS_PER_ENTITY_MAX: usize = 20;
