//! Who may do what with a node (§4.1, §4.5), and the errors for those who may not.

use stentor_engine::roster::Roster;
use stentor_jid::BareJid;
use stentor_payload::xep0060_pubsub::{error, unsupported};
use stentor_stanza::{Condition, StanzaError};

use super::config::{Access, Publishers};
use super::nodes::{Affiliation, Node, Subscription};

/// An asker before a node of an account.
#[derive(Clone, Copy)]
pub(crate) struct Asker<'a> {
    pub(crate) owner: &'a BareJid,
    pub(crate) roster: &'a Roster,
    pub(crate) who: &'a BareJid,
}

impl Asker<'_> {
    pub(crate) fn is_owner(self) -> bool {
        self.who == self.owner
    }

    /// Whether it may read items (§6.5.1).
    ///
    /// # Errors
    /// What it gets (§6.5.9).
    pub(crate) fn may_read(self, node: &Node) -> Result<(), StanzaError> {
        if self.is_affiliated(node)? {
            return Ok(());
        }
        match node.config.access {
            // §6.5.9.3.
            Access::Authorize if node.is_subscribed(self.who) => Ok(()),
            Access::Authorize => Err(error(Condition::NotAuthorized, "not-subscribed")),
            _ => self.fits_model(node),
        }
    }

    /// Which subscription it would get (§6.1).
    ///
    /// # Errors
    /// What it gets instead (§6.1.3).
    pub(crate) fn may_subscribe(self, node: &Node) -> Result<Subscription, StanzaError> {
        // §6.1.3.10.
        if !node.config.takes_subscriptions {
            return Err(unsupported("subscribe"));
        }
        if self.is_affiliated(node)? {
            return Ok(Subscription::Subscribed);
        }
        if node.config.access == Access::Authorize {
            // §6.1.4.
            return Ok(Subscription::Pending);
        }
        self.fits_model(node).map(|()| Subscription::Subscribed)
    }

    /// Whether it may publish.
    ///
    /// # Errors
    /// `forbidden` (§7.1.3.1).
    pub(crate) fn may_publish(self, node: &Node) -> Result<(), StanzaError> {
        let may = self.is_owner()
            || match node.affiliations.get(self.who) {
                Some(Affiliation::Publisher | Affiliation::PublishOnly) => true,
                Some(Affiliation::Outcast) => false,
                Some(Affiliation::Member) | None => match node.config.publishers {
                    Publishers::Nobody => false,
                    Publishers::Subscribers => node.is_subscribed(self.who),
                    Publishers::Anybody => true,
                },
            };
        if may { Ok(()) } else { Err(StanzaError::new(Condition::Forbidden)) }
    }

    /// Whether what it is to the node admits it whatever the access model.
    ///
    /// # Errors
    /// `forbidden` for outcasts, and for those who may only publish (§4.1).
    fn is_affiliated(self, node: &Node) -> Result<bool, StanzaError> {
        if self.is_owner() {
            return Ok(true);
        }
        match node.affiliations.get(self.who) {
            Some(Affiliation::Outcast | Affiliation::PublishOnly) => {
                Err(StanzaError::new(Condition::Forbidden))
            }
            Some(Affiliation::Member | Affiliation::Publisher) => Ok(true),
            None => Ok(false),
        }
    }

    fn fits_model(self, node: &Node) -> Result<(), StanzaError> {
        let contact = self.roster.item(self.who).filter(|item| item.from);
        match node.config.access {
            Access::Open => Ok(()),
            Access::Presence if contact.is_some() => Ok(()),
            Access::Presence => {
                Err(error(Condition::NotAuthorized, "presence-subscription-required"))
            }
            Access::Roster => {
                let is_allowed = |group: &str| node.config.groups.iter().any(|g| g == group);
                if contact.is_some_and(|item| item.groups.iter().any(|g| is_allowed(g))) {
                    Ok(())
                } else {
                    Err(error(Condition::NotAuthorized, "not-in-roster-group"))
                }
            }
            Access::Whitelist | Access::Authorize => {
                Err(error(Condition::NotAllowed, "closed-node"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use stentor_engine::roster::Item;
    use stentor_jid::Jid;

    use super::*;
    use crate::xep0060_pubsub::config::NodeConfig;

    fn jid(text: &str) -> BareJid {
        BareJid::new(text).unwrap()
    }

    fn roster() -> Roster {
        let mut roster = Roster::default();
        let friend = Item { from: true, groups: [Box::from("Friends")].into(), ..Item::default() };
        roster.put(&jid("friend@x.example"), friend.clone());
        roster.put(&jid("nurse@x.example"), Item { groups: Box::default(), ..friend.clone() });
        // In the group, and without a subscription.
        roster.put(&jid("fan@x.example"), Item { from: false, ..friend });
        roster
    }

    fn node(access: Access) -> Node {
        let groups = vec!["Friends".to_owned()];
        let config = Arc::new(NodeConfig { access, groups, ..NodeConfig::default() });
        let affiliations = [
            ("member@x.example", Affiliation::Member),
            ("publisher@x.example", Affiliation::Publisher),
            ("outcast@x.example", Affiliation::Outcast),
            ("writer@x.example", Affiliation::PublishOnly),
        ];
        let subscriptions = [
            ("subscriber@x.example/r", Subscription::Subscribed),
            ("pending@x.example", Subscription::Pending),
        ];
        Node {
            config,
            affiliations: affiliations.map(|(who, what)| (jid(who), what)).into(),
            subscriptions: subscriptions.map(|(who, what)| (Jid::new(who).unwrap(), what)).into(),
            ..Node::default()
        }
    }

    fn outcome<T>(result: Result<T, StanzaError>) -> &'static str {
        match result {
            Ok(_) => "yes",
            Err(e) => e.app.map_or(e.condition.name(), |(name, _)| name),
        }
    }

    /// Who, then whether it may read under each model: open, presence, roster, whitelist, authorize.
    const TABLE: &[(&str, [&str; 5])] = &[
        ("owner", ["yes"; 5]),
        ("member", ["yes"; 5]),
        ("publisher", ["yes"; 5]),
        ("outcast", ["forbidden"; 5]),
        ("writer", ["forbidden"; 5]),
        ("friend", ["yes", "yes", "yes", "closed-node", "not-subscribed"]),
        ("nurse", ["yes", "yes", "not-in-roster-group", "closed-node", "not-subscribed"]),
        (
            "fan",
            [
                "yes",
                "presence-subscription-required",
                "not-in-roster-group",
                "closed-node",
                "not-subscribed",
            ],
        ),
        (
            "subscriber",
            ["yes", "presence-subscription-required", "not-in-roster-group", "closed-node", "yes"],
        ),
        (
            "pending",
            [
                "yes",
                "presence-subscription-required",
                "not-in-roster-group",
                "closed-node",
                "not-subscribed",
            ],
        ),
    ];

    #[test]
    fn s6_5_9_who_may_read_is_a_table() {
        let models =
            [Access::Open, Access::Presence, Access::Roster, Access::Whitelist, Access::Authorize];
        let (owner, roster) = (jid("owner@x.example"), roster());
        for (who, row) in TABLE {
            for (model, expected) in models.into_iter().zip(row) {
                let who = jid(&format!("{who}@x.example"));
                let asker = Asker { owner: &owner, roster: &roster, who: &who };
                assert_eq!(outcome(asker.may_read(&node(model))), *expected, "{who} {model:?}");
            }
        }
    }

    #[test]
    fn s6_1_4_subscriptions_wait_for_approval_where_it_is_required() {
        let (owner, roster) = (jid("owner@x.example"), roster());
        let asks = |who: &str, node: &Node| {
            Asker { owner: &owner, roster: &roster, who: &jid(who) }.may_subscribe(node)
        };
        let authorize = node(Access::Authorize);
        assert_eq!(asks("friend@x.example", &authorize), Ok(Subscription::Pending));
        assert_eq!(asks("member@x.example", &authorize), Ok(Subscription::Subscribed));
        let config = NodeConfig { takes_subscriptions: false, ..NodeConfig::default() };
        let closed = Node { config: Arc::new(config), ..node(Access::Open) };
        let refused = asks("friend@x.example", &closed).unwrap_err();
        assert_eq!(refused.app_attr, Some(("feature", "subscribe")));
    }

    #[test]
    fn s7_1_3_1_who_may_publish_is_a_table() {
        let (owner, roster) = (jid("owner@x.example"), roster());
        let models = [Publishers::Nobody, Publishers::Subscribers, Publishers::Anybody];
        for (who, row) in [
            ("owner", ["yes"; 3]),
            ("publisher", ["yes"; 3]),
            ("writer", ["yes"; 3]),
            ("outcast", ["forbidden"; 3]),
            ("member", ["forbidden", "forbidden", "yes"]),
            ("subscriber", ["forbidden", "yes", "yes"]),
            ("pending", ["forbidden", "forbidden", "yes"]),
        ] {
            for (publishers, expected) in models.into_iter().zip(row) {
                let config = NodeConfig { publishers, ..NodeConfig::default() };
                let node = Node { config: Arc::new(config), ..node(Access::Open) };
                let who = jid(&format!("{who}@x.example"));
                let asker = Asker { owner: &owner, roster: &roster, who: &who };
                assert_eq!(outcome(asker.may_publish(&node)), expected, "{who} {publishers:?}");
            }
        }
    }
}
