//! The nodes of an account in memory: all but payloads. They are read when they are first needed
//! and stay as long as the account's state does.

use std::collections::BTreeMap;
use std::sync::Arc;

use stentor_engine::{Account, AccountState, Engine};
use stentor_jid::{BareJid, Jid};
use stentor_store::{NodeItemMark, NodeParty, NodeRow, PartyKind, StoreError};

use super::config::{Bound, NodeConfig};

/// All nodes of an account.
#[derive(Debug, Default)]
pub(crate) struct Nodes {
    by_name: BTreeMap<String, Node>,
}

/// One node.
#[derive(Debug, Default)]
pub(crate) struct Node {
    pub(crate) config: Arc<NodeConfig>,
    pub(crate) created_ms: i64,
    pub(crate) affiliations: BTreeMap<BareJid, Affiliation>,
    pub(crate) subscriptions: BTreeMap<Jid, Subscription>,
    /// Oldest first.
    pub(crate) items: Vec<NodeItemMark>,
}

/// What one may do with a node (§4.1). The account's owner is every node's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Affiliation {
    Member,
    Outcast,
    Publisher,
    PublishOnly,
}

/// What one is told of a node (§4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subscription {
    Pending,
    Subscribed,
}

/// What an account's state holds of them.
enum Slot {
    /// Somebody is reading them.
    Reading(u64),
    Ready(Nodes),
}

/// Reads the nodes of an account, unless they are in memory.
///
/// # Errors
/// The store could not be read.
pub(crate) async fn load(engine: &Engine, account: &Account) -> Result<(), StoreError> {
    loop {
        let turn = engine.moment();
        {
            let mut state = account.lock();
            if matches!(state.slots.find(), Some(Slot::Ready(_))) {
                return Ok(());
            }
            state.slots.put(Slot::Reading(turn));
        }
        // What was changed before they were last forgotten must be readable.
        engine.stores.writer.barrier().await?;
        let rows = engine.stores.pubsub.nodes(&account.jid).await?;
        let mut state = account.lock();
        // Another may have read them, and the whole state may have been read again meanwhile.
        if matches!(state.slots.find(), Some(Slot::Reading(whose)) if *whose == turn) {
            state.slots.put(Slot::Ready(Nodes::from_store(rows)));
            return Ok(());
        }
    }
}

impl Nodes {
    /// The nodes of an account, if they are in memory.
    pub(crate) fn of(state: &AccountState) -> Option<&Self> {
        match state.slots.find()? {
            Slot::Ready(nodes) => Some(nodes),
            Slot::Reading(_) => None,
        }
    }

    /// The same, to be changed.
    pub(crate) fn of_mut(state: &mut AccountState) -> Option<&mut Self> {
        match state.slots.find_mut()? {
            Slot::Ready(nodes) => Some(nodes),
            Slot::Reading(_) => None,
        }
    }

    fn from_store(rows: Vec<NodeRow>) -> Self {
        Self { by_name: rows.into_iter().map(|row| (row.node.clone(), Node::of(row))).collect() }
    }

    pub(crate) fn find(&self, name: &str) -> Option<&Node> {
        self.by_name.get(name)
    }

    pub(crate) fn find_mut(&mut self, name: &str) -> Option<&mut Node> {
        self.by_name.get_mut(name)
    }

    /// All of them, in the order of their names.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Node)> {
        self.by_name.iter().map(|(name, node)| (name.as_str(), node))
    }

    /// The same, to be changed.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (&str, &mut Node)> {
        self.by_name.iter_mut().map(|(name, node)| (name.as_str(), node))
    }

    pub(crate) fn len(&self) -> usize {
        self.by_name.len()
    }

    pub(crate) fn add(&mut self, name: &str, config: Arc<NodeConfig>, created_ms: i64) {
        self.by_name.insert(name.to_owned(), Node { config, created_ms, ..Node::default() });
    }

    pub(crate) fn remove(&mut self, name: &str) -> Option<Node> {
        self.by_name.remove(name)
    }

    /// The bytes of all payloads.
    pub(crate) fn bytes(&self) -> u64 {
        self.by_name.values().flat_map(|node| &node.items).map(|item| item.bytes).sum()
    }
}

impl Node {
    fn of(row: NodeRow) -> Self {
        let mut node = Self {
            config: Arc::new(NodeConfig::from_bytes(&row.config)),
            created_ms: row.created_ms,
            items: row.items,
            ..Self::default()
        };
        for NodeParty { jid, kind, value } in row.parties {
            match kind {
                PartyKind::Affiliation => {
                    if let Some(affiliation) = Affiliation::read(&value) {
                        node.affiliations.insert(jid.to_bare(), affiliation);
                    }
                }
                PartyKind::Subscription => {
                    if let Some(subscription) = Subscription::read(&value) {
                        node.subscriptions.insert(jid, subscription);
                    }
                }
            }
        }
        node
    }

    /// The items that are not too old, oldest first.
    pub(crate) fn items(&self, now_ms: i64) -> &[NodeItemMark] {
        let Bound::Of(secs) = self.config.expire_secs else { return &self.items };
        let horizon = now_ms.saturating_sub(i64::from(secs).saturating_mul(1_000));
        // They are in the order of publication.
        let expired = self.items.iter().take_while(|item| item.at_ms <= horizon).count();
        &self.items[expired..]
    }

    /// Subscriptions of one entity, by whatever resource.
    pub(crate) fn subscriptions_of(
        &self,
        who: &BareJid,
    ) -> impl Iterator<Item = (&Jid, Subscription)> {
        let is_of = move |(jid, _): &(&Jid, &Subscription)| jid.bare_str() == who.as_str();
        self.subscriptions.iter().filter(is_of).map(|(jid, subscription)| (jid, *subscription))
    }

    /// Whether one of them is in force.
    pub(crate) fn is_subscribed(&self, who: &BareJid) -> bool {
        self.subscriptions_of(who).any(|(_, s)| s == Subscription::Subscribed)
    }
}

impl Affiliation {
    /// Its name on the wire and in the store.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Member => "member",
            Self::Outcast => "outcast",
            Self::Publisher => "publisher",
            Self::PublishOnly => "publish-only",
        }
    }

    pub(crate) fn read(name: &str) -> Option<Self> {
        let all = [Self::Member, Self::Outcast, Self::Publisher, Self::PublishOnly];
        all.into_iter().find(|affiliation| affiliation.name() == name)
    }
}

impl Subscription {
    /// Its name on the wire and in the store.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Subscribed => "subscribed",
        }
    }

    pub(crate) fn read(name: &str) -> Option<Self> {
        [Self::Pending, Self::Subscribed].into_iter().find(|s| s.name() == name)
    }
}
