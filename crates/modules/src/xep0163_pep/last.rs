//! The last item of a node, for those who were not there when it was published (§4.3.4).

use std::sync::Arc;

use stentor_engine::{Account, Engine, Interest, Resource};
use stentor_jid::Jid;
use stentor_stanza::Stanza;
use stentor_store::{NodeItemRow, StoreError};

use crate::xep0060_pubsub::Asker;
use crate::xep0060_pubsub::config::{LastItem, NodeConfig};
use crate::xep0060_pubsub::event::{Event, message};
use crate::xep0060_pubsub::nodes::{self, Node, Nodes};

/// Tells a session that has come, behind what was told before, of the nodes that it wishes to be
/// told of and was not before.
pub(crate) fn tell_session(
    engine: &Arc<Engine>,
    account: &Arc<Account>,
    to: &Jid,
    wanted: &Arc<Interest>,
    former: Option<&Arc<Interest>>,
) {
    let (wanted, former) = (wanted.clone(), former.cloned());
    let is_new = move |name: &str| {
        wanted.has(name) && !former.as_ref().is_some_and(|former| former.has(name))
    };
    tell(engine, account, to, move |name, node| {
        is_new(name) && node.config.last_item == LastItem::OnSubscriptionAndPresence
    });
}

/// Tells somebody who has subscribed to a node.
pub(crate) fn tell_of_node(engine: &Arc<Engine>, account: &Arc<Account>, name: &str, to: &Jid) {
    let wanted = name.to_owned();
    tell(engine, account, to, move |name, node| {
        name == wanted && node.config.last_item != LastItem::Never
    });
}

fn tell(
    engine: &Arc<Engine>,
    account: &Arc<Account>,
    to: &Jid,
    picks: impl Fn(&str, &Node) -> bool + Send + 'static,
) {
    let (engine, owner, to) = (engine.clone(), account.clone(), to.clone());
    account.afterwards(async move {
        if let Err(error) = tell_now(&engine, &owner, &to, picks).await {
            tracing::error!(event = "store_failed", account = %owner.jid, %error, "Last items could not be read.");
        }
    });
}

async fn tell_now(
    engine: &Arc<Engine>,
    account: &Arc<Account>,
    to: &Jid,
    picks: impl Fn(&str, &Node) -> bool,
) -> Result<(), StoreError> {
    nodes::load(engine, account).await?;
    let found = find(engine, account, to, picks);
    if found.is_empty() {
        return Ok(());
    }
    // The item may have been published a moment ago.
    engine.stores.writer.barrier().await?;
    for Last { node, config, id } in found {
        let rows = engine.stores.pubsub.items(&account.jid, &node, &[&id]).await?;
        let Some(row) = rows.first() else { continue };
        let event = Event::Items(std::slice::from_ref(row));
        let mut message = message(&account.jid, &node, &config, event, Some(row.at_ms));
        message.head.to = Some(to.clone());
        if !tell_own(engine, account, to, &node, row, &message) {
            engine.tell(account, message).await;
        }
    }
    Ok(())
}

/// Tells an available session of the account itself; false if the address is none. Such are told of
/// events at once, so what one has overtaken is not told any more.
fn tell_own(
    engine: &Engine,
    account: &Account,
    to: &Jid,
    node: &str,
    row: &NodeItemRow,
    message: &Stanza,
) -> bool {
    let state = account.lock();
    let is_it = |session: &Resource| session.jid.as_jid() == to;
    if !state.available().any(|session| is_it(session)) {
        return false;
    }
    let last = Nodes::of(&state).and_then(|nodes| nodes.find(node)?.items.last());
    if last.is_some_and(|last| last.seq == row.seq) {
        engine.tell_own(account, &state, message, &is_it);
    }
    true
}

/// The last item of a node.
struct Last {
    node: String,
    config: Arc<NodeConfig>,
    id: String,
}

fn find(
    engine: &Engine,
    account: &Account,
    to: &Jid,
    picks: impl Fn(&str, &Node) -> bool,
) -> Vec<Last> {
    let who = to.to_bare();
    let now_ms = engine.clock.unix_ms();
    let state = account.lock();
    let asker = Asker { owner: &account.jid, roster: &state.roster, who: &who };
    let Some(nodes) = Nodes::of(&state) else { return Vec::new() };
    let picked = nodes.iter().filter(|(name, node)| {
        node.config.notifies && picks(name, node) && asker.may_read(node).is_ok()
    });
    let last = |(name, node): (&str, &Node)| {
        let id = node.items(now_ms).last()?.id.clone();
        Some(Last { node: name.to_owned(), config: node.config.clone(), id })
    };
    picked.filter_map(last).collect()
}
