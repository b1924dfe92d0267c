//! What a service answers.

use stentor_jid::Jid;
use stentor_payload::Encode;
use stentor_payload::xep0004_forms::Form;
use stentor_payload::xep0060_pubsub::{NS, NS_OWNER};
use stentor_xml::Writer;

use super::event::write_item;
use super::items::Found;

/// An answer to anybody's request or to an owner's.
pub(crate) enum Reply {
    /// It is done.
    Done,
    /// What was published, with the ids where the service gave some (§7.1.2).
    Published { node: String, ids: Vec<String> },
    /// The name of a node that the service named (§8.1.1).
    Created(String),
    /// Items.
    Items(Found),
    /// One subscription, whose node it names.
    Subscription(Subscribed),
    /// Subscriptions, of one node where that was asked: the asker's own, or all for the owner.
    Subscriptions { of_node: Option<String>, is_owners: bool, list: Vec<Subscribed> },
    /// Affiliations, likewise.
    Affiliations { of_node: Option<String>, is_owners: bool, list: Vec<Affiliated> },
    /// The configuration of a node.
    Configuration { node: String, form: Form },
    /// The usual configuration.
    Default(Form),
}

/// Somebody's subscription.
pub(crate) struct Subscribed {
    pub(crate) node: Option<String>,
    pub(crate) jid: Jid,
    pub(crate) subscription: &'static str,
}

/// Somebody's affiliation.
pub(crate) struct Affiliated {
    pub(crate) node: Option<String>,
    pub(crate) jid: Option<Jid>,
    pub(crate) affiliation: &'static str,
}

impl Encode for Reply {
    fn encode(&self, w: &mut Writer) {
        if let Self::Done = self {
            return;
        }
        let ns = if self.is_for_owner() { NS_OWNER } else { NS };
        w.open("pubsub", ns);
        match self {
            Self::Done => {}
            Self::Published { node, ids } => {
                w.open("publish", ns).attr("node", node);
                for id in ids {
                    w.open("item", ns).attr("id", id).close();
                }
                w.close();
            }
            Self::Created(node) => {
                w.open("create", ns).attr("node", node).close();
            }
            Self::Items(found) => {
                w.open("items", ns).attr("node", &found.node);
                for item in &found.items {
                    write_item(w, ns, item, true);
                }
                w.close();
                found.page.encode(w);
            }
            Self::Subscription(one) => one.write(w, ns),
            Self::Subscriptions { of_node, list, .. } => {
                w.open("subscriptions", ns).attr_opt("node", of_node.as_deref());
                list.iter().for_each(|one| one.write(w, ns));
                w.close();
            }
            Self::Affiliations { of_node, list, .. } => {
                w.open("affiliations", ns).attr_opt("node", of_node.as_deref());
                list.iter().for_each(|one| one.write(w, ns));
                w.close();
            }
            Self::Configuration { node, form } => {
                w.open("configure", ns).attr("node", node);
                form.encode(w);
                w.close();
            }
            Self::Default(form) => {
                w.open("default", ns);
                form.encode(w);
                w.close();
            }
        }
        w.close();
    }
}

impl Reply {
    const fn is_for_owner(&self) -> bool {
        matches!(
            self,
            Self::Configuration { .. }
                | Self::Default(_)
                | Self::Subscriptions { is_owners: true, .. }
                | Self::Affiliations { is_owners: true, .. }
        )
    }
}

impl Subscribed {
    fn write(&self, w: &mut Writer, ns: &str) {
        w.open("subscription", ns)
            .attr_opt("node", self.node.as_deref())
            .attr("jid", self.jid.as_str())
            .attr("subscription", self.subscription)
            .close();
    }
}

impl Affiliated {
    fn write(&self, w: &mut Writer, ns: &str) {
        w.open("affiliation", ns)
            .attr_opt("node", self.node.as_deref())
            .attr_opt("jid", self.jid.as_ref().map(Jid::as_str))
            .attr("affiliation", self.affiliation)
            .close();
    }
}
