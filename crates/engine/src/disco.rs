//! Nodes of service discovery (XEP-0030 §3.2): what there is to know about a part of an entity.

use stentor_payload::xep0004_forms::Form;
use stentor_stanza::StanzaError;

use crate::iq::{BoxFuture, IqCx};

/// A node that a feature answers for.
pub trait DiscoNode: Send + Sync + 'static {
    /// What it is and can do.
    fn info<'a>(&'a self, cx: &'a IqCx<'a>) -> BoxFuture<'a, Result<NodeInfo, StanzaError>>;

    /// What it holds.
    fn items<'a>(&'a self, cx: &'a IqCx<'a>) -> BoxFuture<'a, Result<Vec<NodeItem>, StanzaError>>;
}

/// Nodes of accounts that come and go, which a feature answers for. Whoever asks may see the
/// account's presence.
pub trait DiscoNodes: Send + Sync + 'static {
    /// What a node is and can do; none if there is no such node, or not for the asker.
    fn info<'a>(
        &'a self,
        cx: &'a IqCx<'a>,
        node: &'a str,
    ) -> BoxFuture<'a, Result<Option<NodeInfo>, StanzaError>>;

    /// What a node holds, or which nodes there are; none as above.
    fn items<'a>(
        &'a self,
        cx: &'a IqCx<'a>,
        node: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Option<Vec<NodeItem>>, StanzaError>>;
}

/// What a node is and can do.
#[derive(Clone, Debug)]
pub struct NodeInfo {
    /// Category of its identity.
    pub category: &'static str,
    /// Type of its identity.
    pub kind: &'static str,
    /// Its features.
    pub features: Vec<&'static str>,
    /// More about it (XEP-0128).
    pub form: Option<Form>,
}

/// One of the items of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeItem {
    /// Where it is.
    pub jid: String,
    /// Its own node there.
    pub node: Option<String>,
    /// A name for people.
    pub name: Option<String>,
}
