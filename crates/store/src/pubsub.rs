//! Nodes that accounts publish on (XEP-0060, XEP-0163): their configuration, who has what part in
//! them, and their items.
//!
//! What is decided on, which is all but the payloads, is small and read at once; payloads are read
//! by their ids.

use stentor_jid::{BareJid, Jid};

use crate::{Boxed, Owned};

/// Nodes by account and name.
pub trait Pubsub: Owned {
    /// Returns every node of an account, ordered by name.
    fn nodes(&self, owner: &BareJid) -> Boxed<Vec<NodeRow>>;

    /// Returns the items of these ids, oldest first; unknown ids are passed over. The caller bounds
    /// how many it asks for.
    fn items(&self, owner: &BareJid, node: &str, ids: &[&str]) -> Boxed<Vec<NodeItemRow>>;

    /// Returns those of the accounts that have at least one of the nodes.
    fn having(&self, owners: &[BareJid], nodes: &[&str]) -> Boxed<Vec<BareJid>>;
}

/// A node without the payloads of its items.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeRow {
    /// Its name.
    pub node: String,
    /// When it was made, in milliseconds since 1970 UTC.
    pub created_ms: i64,
    /// What the service reads back.
    pub config: Vec<u8>,
    /// Who has a part in it, ordered by address and kind.
    pub parties: Vec<NodeParty>,
    /// Its items, oldest first.
    pub items: Vec<NodeItemMark>,
}

/// The part that somebody has in a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeParty {
    /// Who.
    pub jid: Jid,
    /// Which part.
    pub kind: PartyKind,
    /// What exactly, in the word of XEP-0060.
    pub value: String,
}

/// The two parts that one may have in a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartyKind {
    /// What one may do (XEP-0060 §4.1).
    Affiliation,
    /// What one is told (XEP-0060 §4.2).
    Subscription,
}

impl PartyKind {
    /// Its name in a store.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Affiliation => "affiliation",
            Self::Subscription => "subscription",
        }
    }

    /// Reads the name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Affiliation, Self::Subscription].into_iter().find(|kind| kind.name() == name)
    }
}

/// An item without its payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeItemMark {
    /// Its id within the node.
    pub id: String,
    /// Its place in the order of publication.
    pub seq: u64,
    /// When it was published, in milliseconds since 1970 UTC.
    pub at_ms: i64,
    /// Who published it, if that was not the owner.
    pub publisher: Option<BareJid>,
    /// The size of its payload.
    pub bytes: u64,
}

/// An item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeItemRow {
    /// Its id within the node.
    pub id: String,
    /// Its place in the order of publication; larger than that of every item before it.
    pub seq: u64,
    /// When it was published, in milliseconds since 1970 UTC.
    pub at_ms: i64,
    /// Who published it, if that was not the owner.
    pub publisher: Option<BareJid>,
    /// The element that it holds; empty if it holds none.
    pub payload: Vec<u8>,
}

/// One change of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeChange {
    /// Makes the node or replaces its configuration. When it was made does not change.
    Put {
        /// When it was made, in milliseconds since 1970 UTC.
        created_ms: i64,
        /// What the service reads back.
        config: Vec<u8>,
    },
    /// Removes the node with all that belongs to it, if it is there.
    Remove,
    /// Adds an item, in the place of one of the same id.
    PutItem(NodeItemRow),
    /// Removes items; unknown ids are ignored.
    RemoveItems(Vec<String>),
    /// Removes all items.
    Purge,
    /// Gives somebody a part in the node, in the place of what that was before.
    PutParty(NodeParty),
    /// Takes somebody's part in the node away, if there is one.
    RemoveParty {
        /// Whose.
        jid: Jid,
        /// Which part.
        kind: PartyKind,
    },
}

impl NodeChange {
    /// Memory that it keeps while it waits, beside its own size, in bytes.
    pub(crate) fn held_bytes(&self) -> usize {
        match self {
            Self::Put { config, .. } => config.len(),
            Self::PutItem(item) => item.id.len() + item.payload.len(),
            Self::RemoveItems(ids) => ids.iter().map(|id| id.len() + 24).sum(),
            Self::PutParty(party) => party.value.len(),
            Self::Remove | Self::Purge | Self::RemoveParty { .. } => 0,
        }
    }
}
