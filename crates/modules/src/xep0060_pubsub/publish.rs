//! Publishing and retracting (§7).

use std::sync::Arc;

use stentor_engine::{Account, AccountState, Engine, random_id};
use stentor_jid::BareJid;
use stentor_payload::xep0004_forms::Form;
use stentor_payload::xep0060_pubsub::{PUBLISH_OPTIONS, error, unsupported};
use stentor_stanza::{Condition, ErrorType, StanzaError};
use stentor_store::{NodeChange, NodeItemMark, NodeItemRow, Stage};
use stentor_xml::Frame;

use super::access::Asker;
use super::config::{self, Misfit, NodeConfig, WhenFull};
use super::event::{Event, News};
use super::nodes::{Node, Nodes};
use super::{Limits, derived, not_ready, write};

/// What is published, by whom.
pub(crate) struct Publication<'a> {
    pub(crate) node: &'a str,
    pub(crate) id: Option<String>,
    pub(crate) payload: Option<Frame>,
    /// Whether there is an item at all.
    pub(crate) has_item: bool,
    pub(crate) options: Option<&'a Form>,
    /// How the node is made if it is not there and the options say nothing else.
    pub(crate) usual: NodeConfig,
    pub(crate) by: &'a BareJid,
}

/// What came of it.
pub(crate) struct Published {
    /// The item's id, if there is an item.
    pub(crate) id: Option<String>,
    /// What is to be told, in this order.
    pub(crate) news: Vec<News>,
}

/// Publishes: changes what is in memory and stages the same for the store. Nothing is changed if it
/// is refused.
///
/// # Errors
/// Those of §7.1.3 and §7.1.5, and `resource-constraint` where the account has its share.
pub(crate) fn publish(
    engine: &Engine,
    account: &Account,
    state: &mut AccountState,
    limits: &Limits,
    publication: Publication<'_>,
    stage: &mut Stage,
) -> Result<Published, StanzaError> {
    let (owner, by) = (&account.jid, publication.by);
    let nodes = Nodes::of(state).ok_or(not_ready())?;
    let asker = Asker { owner, roster: &state.roster, who: by };
    let is_new = nodes.find(publication.node).is_none();
    let made = match nodes.find(publication.node) {
        Some(node) => {
            asker.may_publish(node)?;
            check_options(&node.config, publication.options, limits)?;
            None
        }
        // XEP-0163 §3: only for the owner.
        None if !asker.is_owner() => return Err(StanzaError::new(Condition::Forbidden)),
        None => {
            limits.check_nodes(nodes)?;
            Some(Arc::new(make(publication.usual.clone(), publication.options, limits)?))
        }
    };
    let known = nodes.find(publication.node);
    let config = known.map_or_else(|| made.clone().unwrap_or_default(), |node| node.config.clone());
    check_item(&config, &publication, limits)?;
    let now_ms = engine.clock.unix_ms();
    let row = row(engine, owner, known, publication, now_ms)?;
    let (name, row) = row;
    let mut gone = Vec::new();
    if let Some(row) = row.as_ref().filter(|_| config.persists) {
        limits.check_bytes(nodes, &name, row)?;
        gone = room(known, &config, limits, row, now_ms)?;
    }
    // From here on nothing is refused.
    let nodes = Nodes::of_mut(state).ok_or(not_ready())?;
    if is_new {
        nodes.add(&name, config.clone(), now_ms);
        let change = NodeChange::Put { created_ms: now_ms, config: config.to_bytes() };
        stage.push(write(owner, &name, change));
    }
    if let (Some(row), Some(node), true) = (&row, nodes.find_mut(&name), config.persists) {
        node.items.retain(|item| item.id != row.id && !gone.contains(&item.id));
        node.items.push(mark(row));
        if !gone.is_empty() {
            stage.push(write(owner, &name, NodeChange::RemoveItems(gone.clone())));
        }
        stage.push(write(owner, &name, NodeChange::PutItem(row.clone())));
    }
    if let Some(row) = row.as_ref().filter(|_| config.persists) {
        derived::published(engine, owner, state, &name, row, &gone, stage);
    }
    engine.metrics.items_published.inc();
    let news = news(owner, &name, &config, row.as_ref(), &gone);
    Ok(Published { id: row.map(|row| row.id), news })
}

fn news(
    owner: &BareJid,
    name: &str,
    config: &Arc<NodeConfig>,
    row: Option<&NodeItemRow>,
    gone: &[String],
) -> Vec<News> {
    let mut news = Vec::new();
    if config.notifies {
        news.push(News::new(owner, name, config, Event::Item(row)));
    }
    // §7.1.2.5.
    if !gone.is_empty() && config.notifies_retraction && config.when_full == WhenFull::Retract {
        news.push(News::new(owner, name, config, Event::Retracted(gone)));
    }
    news
}

/// §7.1.5 rule 1.
fn check_options(
    config: &NodeConfig,
    options: Option<&Form>,
    limits: &Limits,
) -> Result<(), StanzaError> {
    let Some(form) = options else { return Ok(()) };
    config::check(form, PUBLISH_OPTIONS)?;
    if config::fields(form).all(|field| config.is_so(field, limits.bounds())) {
        Ok(())
    } else {
        Err(precondition_not_met())
    }
}

/// §7.1.5 rule 3.
fn make(
    mut config: NodeConfig,
    options: Option<&Form>,
    limits: &Limits,
) -> Result<NodeConfig, StanzaError> {
    let Some(form) = options else { return Ok(config) };
    config::check(form, PUBLISH_OPTIONS)?;
    for field in config::fields(form) {
        match config.set(field, limits.bounds()) {
            Ok(()) => {}
            Err(Misfit::Unknown) => return Err(precondition_not_met()),
            Err(misfit) => return Err(misfit.into()),
        }
    }
    Ok(config)
}

fn precondition_not_met() -> StanzaError {
    error(Condition::Conflict, "precondition-not-met")
}

/// §7.1.3.5, §7.1.3.7.
fn check_item(
    config: &NodeConfig,
    publication: &Publication<'_>,
    limits: &Limits,
) -> Result<(), StanzaError> {
    let bad = |specific| Err(error(Condition::BadRequest, specific));
    if config.persists && !publication.has_item {
        return bad("item-required");
    }
    if !config.persists && !config.notifies_payloads && publication.has_item {
        return bad("item-forbidden");
    }
    let Some(payload) = &publication.payload else {
        return if config.notifies_payloads { bad("payload-required") } else { Ok(()) };
    };
    let max = config.payload_bytes_max.up_to(limits.item_bytes_max);
    if payload.bytes().len() > max as usize {
        return Err(error(Condition::NotAcceptable, "payload-too-big"));
    }
    Ok(())
}

/// The item as it is kept, if there is one, and the name of its node.
fn row(
    engine: &Engine,
    owner: &BareJid,
    node: Option<&Node>,
    publication: Publication<'_>,
    now_ms: i64,
) -> Result<(String, Option<NodeItemRow>), StanzaError> {
    let name = publication.node.to_owned();
    if !publication.has_item {
        return Ok((name, None));
    }
    let last = node.and_then(|node| node.items.last()).map_or(0, |item| item.seq);
    let id = match publication.id {
        Some(id) => id,
        None => random_id().map_err(|_| internal())?.to_string(),
    };
    let row = NodeItemRow {
        id,
        // The clock may have gone back since the last one.
        seq: engine.next_id(now_ms).max(last.saturating_add(1)),
        at_ms: now_ms,
        publisher: (publication.by != owner).then(|| publication.by.clone()),
        payload: publication.payload.map_or_else(Vec::new, |payload| payload.bytes().to_vec()),
    };
    Ok((name, Some(row)))
}

fn mark(row: &NodeItemRow) -> NodeItemMark {
    NodeItemMark {
        id: row.id.clone(),
        seq: row.seq,
        at_ms: row.at_ms,
        publisher: row.publisher.clone(),
        bytes: row.payload.len() as u64,
    }
}

/// Which items make room for another: the oldest, and those that are too old anyway.
///
/// # Errors
/// §7.1.3.4: the node is full and shall refuse.
fn room(
    node: Option<&Node>,
    config: &NodeConfig,
    limits: &Limits,
    row: &NodeItemRow,
    now_ms: i64,
) -> Result<Vec<String>, StanzaError> {
    let Some(node) = node else { return Ok(Vec::new()) };
    let live = node.items(now_ms);
    let expired = &node.items[..node.items.len() - live.len()];
    let others: Vec<_> = live.iter().filter(|item| item.id != row.id).collect();
    let max = config.max_items.up_to(limits.items_max) as usize;
    let surplus = (others.len() + 1).saturating_sub(max);
    if surplus > 0 && config.when_full == WhenFull::Reject {
        return Err(error(Condition::Conflict, "node-full"));
    }
    let oldest = others.into_iter().take(surplus);
    Ok(expired.iter().filter(|i| i.id != row.id).chain(oldest).map(|i| i.id.clone()).collect())
}

/// Retracts an item.
///
/// # Errors
/// Those of §7.2.3.
pub(crate) fn retract(
    account: &Account,
    state: &mut AccountState,
    by: &BareJid,
    name: &str,
    id: &str,
    notify: bool,
    stage: &mut Stage,
) -> Result<Option<News>, StanzaError> {
    let owner = &account.jid;
    let nodes = Nodes::of_mut(state).ok_or(not_ready())?;
    let node = nodes.find_mut(name).ok_or(StanzaError::new(Condition::ItemNotFound))?;
    let item = node.item(id);
    // §7.2.3.1: the owner's, and what one has published oneself.
    let is_own = item.is_some_and(|item| item.publisher.as_ref() == Some(by));
    if by != owner && !is_own {
        return Err(StanzaError::new(Condition::Forbidden));
    }
    if !node.config.persists {
        return Err(unsupported("persistent-items"));
    }
    if item.is_none() {
        return Err(StanzaError::new(Condition::ItemNotFound));
    }
    node.items.retain(|item| item.id != id);
    let ids = vec![id.to_owned()];
    let is_told = notify || node.config.notifies_retraction;
    let news = is_told.then(|| News::new(owner, name, &node.config, Event::Retracted(&ids)));
    stage.push(write(owner, name, NodeChange::RemoveItems(ids.clone())));
    derived::removed(owner, state, name, &ids, stage);
    Ok(news)
}

fn internal() -> StanzaError {
    StanzaError::new(Condition::InternalServerError).of_type(ErrorType::Wait)
}
