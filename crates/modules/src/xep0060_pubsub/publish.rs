//! Publishing and retracting (§7).

use std::sync::Arc;

use hashbrown::{HashMap, HashSet};
use stentor_engine::{Account, AccountState, Engine, Resource, random_id};
use stentor_jid::BareJid;
use stentor_payload::xep0004_forms::Form;
use stentor_payload::xep0060_pubsub::{Item, PUBLISH_OPTIONS, TOO_MANY_ITEMS, error, unsupported};
use stentor_stanza::{Condition, ErrorType, StanzaError};
use stentor_store::{NodeChange, NodeItemMark, NodeItemRow, Stage};

use super::access::Asker;
use super::config::{self, Misfit, NodeConfig, WhenFull};
use super::event::{Event, News};
use super::nodes::{Node, Nodes};
use super::{Limits, derived, not_ready, write};

/// What is published, by whom.
pub(crate) struct Publication<'a> {
    pub(crate) node: &'a str,
    pub(crate) items: Vec<Item>,
    pub(crate) options: Option<&'a Form>,
    /// How the node is made if it is not there and the options say nothing else.
    pub(crate) usual: NodeConfig,
    pub(crate) by: &'a BareJid,
    /// The session of the account itself that publishes, if it is one.
    pub(crate) session: Option<&'a Arc<Resource>>,
}

/// What came of it.
pub(crate) struct Published {
    /// The ids of the items, in their order.
    pub(crate) ids: Vec<String>,
    /// What is to be told, in this order.
    pub(crate) news: Vec<News>,
}

/// Publishes: changes what is in memory and stages the same for the store. Nothing is changed if it
/// is refused.
///
/// # Errors
/// Those of §7.1.3, §7.1.5 and §12.11, and `resource-constraint` where the account has its share.
pub(crate) fn publish(
    engine: &Arc<Engine>,
    account: &Account,
    state: &mut AccountState,
    limits: &Limits,
    publication: Publication<'_>,
    stage: &mut Stage,
) -> Result<Published, StanzaError> {
    let (owner, by, session) = (&account.jid, publication.by, publication.session.cloned());
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
    check_items(&config, &publication.items, limits)?;
    let (name, now_ms) = (publication.node, engine.clock.unix_ms());
    let rows = rows(engine, owner, known, publication, now_ms)?;
    let mut gone = Vec::new();
    if config.persists {
        limits.check_bytes(nodes, name, &rows)?;
        gone = room(known, &config, limits, &rows, now_ms)?;
    }
    // From here on nothing is refused.
    let nodes = Nodes::of_mut(state).ok_or(not_ready())?;
    if is_new {
        nodes.add(name, config.clone(), now_ms);
        let change = NodeChange::Put { created_ms: now_ms, config: config.to_bytes() };
        stage.push(write(owner, name, change));
    }
    if let (Some(node), true) = (nodes.find_mut(name), config.persists) {
        keep(owner, node, name, &rows, &gone, stage);
        derived::published(engine, owner, state, name, &rows, &gone, stage);
    }
    engine.metrics.items_published.inc();
    let news = news(owner, name, &config, (&rows, session), &gone);
    Ok(Published { ids: rows.into_iter().map(|row| row.id).collect(), news })
}

/// Puts items in the place of others.
fn keep(
    owner: &BareJid,
    node: &mut Node,
    name: &str,
    rows: &[NodeItemRow],
    gone: &[String],
    stage: &mut Stage,
) {
    let leaving: HashSet<&str> =
        rows.iter().map(|row| &*row.id).chain(gone.iter().map(|id| &**id)).collect();
    node.items.retain(|item| !leaving.contains(&*item.id));
    node.items.extend(rows.iter().map(mark));
    if !gone.is_empty() {
        stage.push(write(owner, name, NodeChange::RemoveItems(gone.to_vec())));
    }
    for row in rows {
        stage.push(write(owner, name, NodeChange::PutItem(row.clone())));
    }
}

fn news(
    owner: &BareJid,
    name: &str,
    config: &Arc<NodeConfig>,
    (rows, session): (&[NodeItemRow], Option<Arc<Resource>>),
    gone: &[String],
) -> Vec<News> {
    let mut news = Vec::new();
    if config.notifies {
        news.push(News { session, ..News::new(owner, name, config, Event::Items(rows)) });
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

/// §7.1.3.5 to §7.1.3.7, §12.11.
fn check_items(config: &NodeConfig, items: &[Item], limits: &Limits) -> Result<(), StanzaError> {
    let bad = |specific| Err(error(Condition::BadRequest, specific));
    if config.persists && items.is_empty() {
        return bad("item-required");
    }
    if config.persists && items.len() > config.max_items.up_to(limits.items_max) as usize {
        return Err(TOO_MANY_ITEMS);
    }
    if !config.persists && !config.notifies_payloads && !items.is_empty() {
        return bad("item-forbidden");
    }
    if items.is_empty() && config.notifies_payloads {
        return bad("payload-required");
    }
    let max = config.payload_bytes_max.up_to(limits.item_bytes_max) as usize;
    for item in items {
        let Some(payload) = &item.payload else {
            if config.notifies_payloads {
                return bad("payload-required");
            }
            continue;
        };
        if config.payload_ns().is_some_and(|ns| ns != payload.root().ns()) {
            return bad("invalid-payload");
        }
        if payload.bytes().len() > max {
            return Err(error(Condition::NotAcceptable, "payload-too-big"));
        }
    }
    Ok(())
}

/// The items as they are kept. Of two with the same id the later one is.
fn rows(
    engine: &Engine,
    owner: &BareJid,
    node: Option<&Node>,
    publication: Publication<'_>,
    now_ms: i64,
) -> Result<Vec<NodeItemRow>, StanzaError> {
    let by = publication.by;
    let mut last = node.and_then(|node| node.items.last()).map_or(0, |item| item.seq);
    let mut rows: Vec<NodeItemRow> = Vec::with_capacity(publication.items.len());
    for item in publication.items {
        let id = match item.id {
            Some(id) => id,
            None => random_id().map_err(|_| internal())?.to_string(),
        };
        // The clock may have gone back since the last one.
        last = engine.next_id(now_ms).max(last.saturating_add(1));
        rows.push(NodeItemRow {
            id,
            seq: last,
            at_ms: now_ms,
            publisher: (by != owner).then(|| by.clone()),
            payload: item.payload.map_or_else(Vec::new, |payload| payload.bytes().to_vec()),
        });
    }
    let mut places: HashMap<String, u64> = HashMap::with_capacity(rows.len());
    places.extend(rows.iter().map(|row| (row.id.clone(), row.seq)));
    rows.retain(|row| places.get(&row.id) == Some(&row.seq));
    Ok(rows)
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
    rows: &[NodeItemRow],
    now_ms: i64,
) -> Result<Vec<String>, StanzaError> {
    let Some(node) = node else { return Ok(Vec::new()) };
    let new: HashSet<&str> = rows.iter().map(|row| &*row.id).collect();
    let live = node.items(now_ms);
    let is_other = |item: &&NodeItemMark| !new.contains(&*item.id);
    let expired = node.items[..node.items.len() - live.len()].iter().filter(is_other);
    let others: Vec<_> = live.iter().filter(is_other).collect();
    let max = config.max_items.up_to(limits.items_max) as usize;
    let surplus = (others.len() + rows.len()).saturating_sub(max);
    if surplus > 0 && config.when_full == WhenFull::Reject {
        return Err(error(Condition::Conflict, "node-full"));
    }
    let oldest = others.into_iter().take(surplus);
    Ok(expired.chain(oldest).map(|item| item.id.clone()).collect())
}

/// Retracts items, all or none (§12.11).
///
/// # Errors
/// Those of §7.2.3.
pub(crate) fn retract(
    account: &Account,
    state: &mut AccountState,
    by: &BareJid,
    (name, ids): (&str, Vec<String>),
    notify: bool,
    stage: &mut Stage,
) -> Result<Option<News>, StanzaError> {
    let owner = &account.jid;
    let nodes = Nodes::of_mut(state).ok_or(not_ready())?;
    let node = nodes.find_mut(name).ok_or(StanzaError::new(Condition::ItemNotFound))?;
    let named: HashSet<&str> = ids.iter().map(|id| &**id).collect();
    let found: Vec<_> = node.items.iter().filter(|item| named.contains(&*item.id)).collect();
    let is_there = found.len() == named.len();
    // §7.2.3.1: the owner's, and what one has published oneself.
    let is_own = is_there && found.iter().all(|item| item.publisher.as_ref() == Some(by));
    if by != owner && !is_own {
        return Err(StanzaError::new(Condition::Forbidden));
    }
    if !node.config.persists {
        return Err(unsupported("persistent-items"));
    }
    if !is_there {
        return Err(StanzaError::new(Condition::ItemNotFound));
    }
    node.items.retain(|item| !named.contains(&*item.id));
    let is_told = notify || node.config.notifies_retraction;
    let news = is_told.then(|| News::new(owner, name, &node.config, Event::Retracted(&ids)));
    stage.push(write(owner, name, NodeChange::RemoveItems(ids.clone())));
    derived::removed(owner, state, name, &ids, stage);
    Ok(news)
}

fn internal() -> StanzaError {
    StanzaError::new(Condition::InternalServerError).of_type(ErrorType::Wait)
}
