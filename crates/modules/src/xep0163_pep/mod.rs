//! XEP-0163: Personal Eventing Protocol, version 1.2.2.
//!
//! Every account is a service: those who see its presence are told what they wish to be told of.
//! Implements: §2 to §5, §6.1, §7.1 (whoever loses access loses its subscriptions), §7.2.
//! Left out: §6.2 for those who may not see the account's presence, for whom there is no account
//! (XEP-0030 §8); the publishing session (§4.3.1 rule 3) of an item that is told again later.
//! Status: complete

mod abroad;
mod disco;
pub(crate) mod last;
pub(crate) mod spread;
mod watch;

use std::sync::Arc;

use serde::Deserialize;
use stentor_engine::{Factory, Module, OptionDoc, Registrar, Scope, Spec, Status, Xep};
use stentor_payload::xep0060_pubsub::{
    Get, META_DATA, NS, OwnerGet, OwnerSet, PUBLISH_OPTIONS, Set,
};

use crate::limits::{PUBSUB_ITEM_BYTES_CEILING, PUBSUB_ITEMS_CEILING, PUBSUB_NODES_CEILING};
use crate::xep0060_pubsub::{Approval, Bounces, Limits};
use crate::{xep0490_displayed, xep0492_notify};

/// The module.
pub(crate) const MODULE: Factory = Factory::of::<Pep>();

/// The services of accounts.
pub(crate) struct Pep {
    pub(crate) limits: Limits,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    nodes_max: usize,
    items_max: u32,
    item_bytes_max: u32,
    bytes_max: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            nodes_max: 200,
            items_max: 1_000,
            item_bytes_max: 192 * 1024,
            bytes_max: 10 * 1024 * 1024,
        }
    }
}

impl Module for Pep {
    const SPEC: &'static Spec = &Spec {
        name: "pep",
        xeps: &[
            Xep {
                number: 60,
                version: "1.30.0",
                status: Status::Partial,
                note: "on accounts, by XEP-0163",
            },
            Xep { number: 163, version: "1.2.2", status: Status::Complete, note: "" },
            Xep { number: 222, version: "1.0", status: Status::Complete, note: "" },
            Xep { number: 223, version: "1.1.1", status: Status::Complete, note: "" },
            Xep { number: 490, version: "1.0.1", status: Status::Complete, note: "" },
            Xep { number: 492, version: "0.2.0", status: Status::Complete, note: "" },
        ],
        requires: &["caps", "disco"],
        options: &[
            OptionDoc {
                key: "nodes_max",
                default: "200",
                help: "Nodes of one account, 1 to 10000; beyond, `resource-constraint`.",
            },
            OptionDoc {
                key: "items_max",
                default: "1000",
                help: "Items that one node keeps at most, 1 to 100000: what `max` means where a client asks for it. Their ids are in memory with the account.",
            },
            OptionDoc {
                key: "item_bytes_max",
                default: "196608",
                help: "Bytes of one item, 1024 to 250000; a larger one is `not-acceptable`. Avatars are items.",
            },
            OptionDoc {
                key: "bytes_max",
                default: "10485760",
                help: "Bytes of all items of one account; beyond, `resource-constraint`.",
            },
        ],
    };
    type Config = Config;

    fn build(config: Config) -> Result<Self, String> {
        let Config { nodes_max, items_max, item_bytes_max, bytes_max } = config;
        if !(1..=PUBSUB_NODES_CEILING).contains(&nodes_max) {
            return Err(format!(
                "`nodes_max` is {nodes_max}; it may be 1 to {PUBSUB_NODES_CEILING}"
            ));
        }
        if !(1..=PUBSUB_ITEMS_CEILING).contains(&items_max) {
            return Err(format!(
                "`items_max` is {items_max}; it may be 1 to {PUBSUB_ITEMS_CEILING}"
            ));
        }
        if !(1_024..=PUBSUB_ITEM_BYTES_CEILING).contains(&item_bytes_max) {
            return Err(format!(
                "`item_bytes_max` is {item_bytes_max}; it may be 1024 to {PUBSUB_ITEM_BYTES_CEILING}"
            ));
        }
        Ok(Self { limits: Limits { nodes_max, items_max, item_bytes_max, bytes_max } })
    }

    fn register(self: Arc<Self>, r: &mut Registrar) {
        r.get::<Get, _>(Scope::Account, &self);
        r.set::<Set, _>(Scope::Account, &self);
        r.get::<OwnerGet, _>(Scope::Account, &self);
        r.set::<OwnerSet, _>(Scope::Account, &self);
        r.account_identity("pubsub", "pep");
        r.disco_stored(Scope::Account, &[NS]);
        r.disco_stored(Scope::Account, FEATURES);
        r.account_nodes(Arc::new(disco::Listing));
        r.watch(Arc::new(watch::Watcher));
        r.lookup(Arc::new(Approval));
        r.lookup(Arc::new(Bounces));
        r.screen(Arc::new(Approval));
        xep0490_displayed::register(r, &self.limits);
        xep0492_notify::register(r);
    }
}

/// XEP-0060 §10; of the access models it names the usual one.
const FEATURES: &[&str] = &[
    "http://jabber.org/protocol/pubsub#access-presence",
    "http://jabber.org/protocol/pubsub#auto-create",
    "http://jabber.org/protocol/pubsub#auto-subscribe",
    "http://jabber.org/protocol/pubsub#config-node",
    "http://jabber.org/protocol/pubsub#config-node-max",
    "http://jabber.org/protocol/pubsub#create-and-configure",
    "http://jabber.org/protocol/pubsub#create-nodes",
    "http://jabber.org/protocol/pubsub#delete-items",
    "http://jabber.org/protocol/pubsub#delete-nodes",
    "http://jabber.org/protocol/pubsub#filtered-notifications",
    "http://jabber.org/protocol/pubsub#instant-nodes",
    "http://jabber.org/protocol/pubsub#item-ids",
    "http://jabber.org/protocol/pubsub#last-published",
    "http://jabber.org/protocol/pubsub#manage-subscriptions",
    "http://jabber.org/protocol/pubsub#member-affiliation",
    META_DATA,
    "http://jabber.org/protocol/pubsub#modify-affiliations",
    "http://jabber.org/protocol/pubsub#multi-items",
    "http://jabber.org/protocol/pubsub#outcast-affiliation",
    "http://jabber.org/protocol/pubsub#persistent-items",
    "http://jabber.org/protocol/pubsub#presence-subscribe",
    "http://jabber.org/protocol/pubsub#publish",
    "http://jabber.org/protocol/pubsub#publish-node-full",
    "http://jabber.org/protocol/pubsub#publish-only-affiliation",
    PUBLISH_OPTIONS,
    "http://jabber.org/protocol/pubsub#publisher-affiliation",
    "http://jabber.org/protocol/pubsub#pubsub-on-a-jid",
    "http://jabber.org/protocol/pubsub#purge-nodes",
    "http://jabber.org/protocol/pubsub#retract-items",
    "http://jabber.org/protocol/pubsub#retrieve-affiliations",
    "http://jabber.org/protocol/pubsub#retrieve-default",
    "http://jabber.org/protocol/pubsub#retrieve-items",
    "http://jabber.org/protocol/pubsub#retrieve-subscriptions",
    "http://jabber.org/protocol/pubsub#rsm",
    "http://jabber.org/protocol/pubsub#subscribe",
    "http://jabber.org/protocol/pubsub#subscription-notifications",
];
