//! Making, configuring, emptying and deleting nodes (§8.1 to §8.5).

use std::sync::Arc;

use stentor_engine::{Account, AccountState, random_id};
use stentor_payload::xep0004_forms::{Form, FormKind};
use stentor_payload::xep0060_pubsub::unsupported;
use stentor_stanza::{Condition, StanzaError};
use stentor_store::{NodeChange, Stage};

use super::config::NodeConfig;
use super::event::{Event, News};
use super::nodes::{Node, Nodes};
use super::{Limits, derived, not_ready, write};

/// Makes a node; returns its name.
///
/// # Errors
/// Those of §8.1.
pub(crate) fn create(
    account: &Account,
    state: &mut AccountState,
    limits: &Limits,
    (name, form): (Option<String>, Option<&Form>),
    now_ms: i64,
    stage: &mut Stage,
) -> Result<String, StanzaError> {
    let nodes = Nodes::of_mut(state).ok_or(not_ready())?;
    let name = match name {
        Some(name) => name,
        None => random_id().map_err(|_| not_ready())?.to_string(),
    };
    if nodes.find(&name).is_some() {
        return Err(StanzaError::new(Condition::Conflict));
    }
    limits.check_nodes(nodes)?;
    let config = NodeConfig::default();
    let config = match form {
        Some(form) => config.submit(form, limits.bounds())?,
        None => config,
    };
    let change = NodeChange::Put { created_ms: now_ms, config: config.to_bytes() };
    stage.push(write(&account.jid, &name, change));
    nodes.add(&name, Arc::new(config), now_ms);
    Ok(name)
}

/// Configures a node; returns what is to be told.
///
/// # Errors
/// Those of §8.2.
pub(crate) fn configure(
    account: &Account,
    state: &mut AccountState,
    limits: &Limits,
    (name, form): (&str, &Form),
    stage: &mut Stage,
) -> Result<Vec<News>, StanzaError> {
    let owner = &account.jid;
    let node = find_mut(state, name)?;
    // §8.2.4.
    if form.kind == FormKind::Cancel {
        return Ok(Vec::new());
    }
    let config = NodeConfig::clone(&node.config).submit(form, limits.bounds())?;
    if config == *node.config {
        return Ok(Vec::new());
    }
    let config = Arc::new(config);
    node.config = config.clone();
    let change = NodeChange::Put { created_ms: node.created_ms, config: config.to_bytes() };
    stage.push(write(owner, name, change));
    let mut news = Vec::new();
    let gone = surplus(node, limits);
    if !gone.is_empty() {
        stage.push(write(owner, name, NodeChange::RemoveItems(gone.clone())));
        if config.notifies_retraction {
            news.push(News::new(owner, name, &config, Event::Retracted(&gone)));
        }
    }
    if config.notifies_config {
        news.push(News::new(owner, name, &config, Event::Configured));
    }
    derived::removed(owner, state, name, &gone, stage);
    Ok(news)
}

/// Takes away what the node does not keep any more, the oldest first.
fn surplus(node: &mut Node, limits: &Limits) -> Vec<String> {
    let max = if node.config.persists { node.config.max_items.up_to(limits.items_max) } else { 0 };
    let many = node.items.len().saturating_sub(max as usize);
    node.items.drain(..many).map(|item| item.id).collect()
}

/// Removes all items of a node; returns what is to be told.
///
/// # Errors
/// Those of §8.5.3.
pub(crate) fn purge(
    account: &Account,
    state: &mut AccountState,
    name: &str,
    stage: &mut Stage,
) -> Result<Vec<News>, StanzaError> {
    let owner = &account.jid;
    let node = find_mut(state, name)?;
    if !node.config.persists {
        return Err(unsupported("persistent-items"));
    }
    node.items = Vec::new();
    stage.push(write(owner, name, NodeChange::Purge));
    let news = vec![News::new(owner, name, &node.config, Event::Purged)];
    derived::cleared(owner, state, name, stage);
    Ok(news)
}

/// Deletes a node; returns it and what is to be told.
///
/// # Errors
/// Those of §8.4.3.
pub(crate) fn delete(
    account: &Account,
    state: &mut AccountState,
    (name, redirect): (&str, Option<&str>),
    stage: &mut Stage,
) -> Result<(Node, News), StanzaError> {
    let owner = &account.jid;
    let nodes = Nodes::of_mut(state).ok_or(not_ready())?;
    let node = nodes.remove(name).ok_or(StanzaError::new(Condition::ItemNotFound))?;
    stage.push(write(owner, name, NodeChange::Remove));
    derived::cleared(owner, state, name, stage);
    let news = News::new(owner, name, &node.config, Event::Deleted(redirect));
    Ok((node, news))
}

fn find_mut<'a>(state: &'a mut AccountState, name: &str) -> Result<&'a mut Node, StanzaError> {
    let nodes = Nodes::of_mut(state).ok_or(not_ready())?;
    nodes.find_mut(name).ok_or(StanzaError::new(Condition::ItemNotFound))
}
