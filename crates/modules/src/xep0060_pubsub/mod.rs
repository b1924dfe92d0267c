//! XEP-0060: Publish-Subscribe, version 1.30.0.
//!
//! Nodes of accounts: requests, who may do what, what is kept and what is told. Whom it is told to
//! is XEP-0163's part (`xep0163_pep`), and so is the module.
//! Implements: §4 (affiliations, subscriptions, access models), §5.2 to §5.7, §6.1, §6.2, §6.5, §7,
//! §8.1 to §8.6, §8.8, §8.9, §9.1.1, §9.1.2, §9.2, §12.
//! Left out: §9.1.3 (whoever only sends directed presence is told nothing unasked, also of open
//! nodes; it can subscribe); services with an address of their own; §6.3 and §6.4 (subscription
//! options), several subscriptions of one address and their ids, leases, `get-pending` (§8.7),
//! collections, and of §8.8.2.4 and §8.9.2.4 the entries in the error: all changes of a request are
//! made or none.
//! Status: partial

mod access;
mod authorize;
mod bounced;
pub(crate) mod config;
mod derived;
pub(crate) mod event;
mod items;
mod manage;
pub(crate) mod nodes;
mod parties;
mod publish;
mod reply;
mod requests;

use hashbrown::HashSet;
use stentor_engine::IqCx;
use stentor_jid::BareJid;
use stentor_payload::xep0060_pubsub::error;
use stentor_stanza::{Condition, ErrorType, StanzaError};
use stentor_store::{NodeChange, NodeItemRow, Write};

pub(crate) use self::access::Asker;
pub(crate) use self::authorize::Approval;
pub(crate) use self::bounced::Bounces;
use self::config::Bounds;
use self::nodes::Nodes;
pub(crate) use self::parties::cancel_lost;
pub(crate) use self::publish::{Publication, publish};

/// What one account may have.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    pub(crate) nodes_max: usize,
    pub(crate) items_max: u32,
    pub(crate) item_bytes_max: u32,
    pub(crate) bytes_max: u64,
}

impl Limits {
    pub(crate) const fn bounds(&self) -> Bounds {
        Bounds { items: self.items_max, payload_bytes: self.item_bytes_max }
    }

    /// Whether there may be one more node.
    ///
    /// # Errors
    /// `resource-constraint`.
    fn check_nodes(&self, nodes: &Nodes) -> Result<(), StanzaError> {
        if nodes.len() < self.nodes_max {
            return Ok(());
        }
        Err(error(Condition::ResourceConstraint, "max-nodes-exceeded").of_type(ErrorType::Cancel))
    }

    /// Whether there is room for items of a node.
    ///
    /// # Errors
    /// `resource-constraint`.
    fn check_bytes(
        &self,
        nodes: &Nodes,
        node: &str,
        rows: &[NodeItemRow],
    ) -> Result<(), StanzaError> {
        let new: HashSet<&str> = rows.iter().map(|row| &*row.id).collect();
        let former = nodes.find(node).into_iter().flat_map(|node| &node.items);
        let former: u64 = former.filter(|i| new.contains(&*i.id)).map(|i| i.bytes).sum();
        let bytes: u64 = rows.iter().map(|row| row.payload.len() as u64).sum();
        if nodes.bytes().saturating_sub(former).saturating_add(bytes) <= self.bytes_max {
            return Ok(());
        }
        let text = format!("All that an account publishes has at most {} bytes.", self.bytes_max);
        Err(StanzaError::new(Condition::ResourceConstraint)
            .of_type(ErrorType::Cancel)
            .with_text(text))
    }
}

/// A change of a node of this account.
fn write(owner: &BareJid, node: &str, change: NodeChange) -> Write {
    Write::Node { owner: owner.clone(), node: node.to_owned(), change }
}

/// Who asks.
fn asker_of(cx: &IqCx<'_>) -> Result<BareJid, StanzaError> {
    cx.from.map(stentor_jid::Jid::to_bare).ok_or(StanzaError::new(Condition::Forbidden))
}

/// The account's state was read again meanwhile, and its nodes were not.
const fn not_ready() -> StanzaError {
    StanzaError::new(Condition::InternalServerError).of_type(ErrorType::Wait)
}
