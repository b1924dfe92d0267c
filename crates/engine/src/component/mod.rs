//! Components: services of their own that speak for a domain beside ours (XEP-0114).
//!
//! The engine knows which there may be and what they may do; whether one is connected is known to
//! the [`Links`](crate::Links) by which everything for it leaves.

pub mod xep0355_delegation;
pub mod xep0356_privilege;

use std::sync::Arc;

use hashbrown::HashMap;
use stentor_jid::Jid;
use stentor_stanza::{Head, Kind, MessageType, Stanza};
use stentor_xml::Writer;

pub use self::xep0355_delegation::{Delegated, Delegation};
pub use self::xep0356_privilege::{Access, PresenceAccess, Privileges};
use crate::engine::Engine;

/// What one component may do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Component {
    /// The domain that it speaks for, as in addresses.
    pub domain: String,
    /// A name for people.
    pub name: Option<String>,
    /// The domains of ours that show it; those that its own is below if there are none.
    pub hosts: Vec<String>,
    /// Whether it and other servers may speak to each other.
    pub may_federate: bool,
    /// What it may do for the accounts of these domains (XEP-0356).
    pub privileges: Privileges,
    /// What it answers in the place of these domains and their accounts (XEP-0355).
    pub delegations: Vec<Delegation>,
}

/// All components that there may be.
#[derive(Debug, Default)]
pub struct Components {
    by_domain: HashMap<String, Arc<Component>>,
    /// Those with privileges, by domain.
    privileged: Vec<Arc<Component>>,
    /// Those with delegations, by domain.
    delegating: Vec<Arc<Component>>,
}

impl Component {
    /// Whether it belongs to a domain of ours.
    #[must_use]
    pub fn is_of(&self, host: &str) -> bool {
        if self.hosts.is_empty() {
            let rest = self.domain.strip_suffix(host);
            return rest.is_some_and(|rest| rest.ends_with('.'));
        }
        self.hosts.iter().any(|known| known == host)
    }
}

impl Components {
    /// The table of these components.
    #[must_use]
    pub fn new(components: impl IntoIterator<Item = Component>) -> Self {
        let by_domain: HashMap<_, _> =
            components.into_iter().map(|c| (c.domain.clone(), Arc::new(c))).collect();
        let mut all: Vec<_> = by_domain.values().cloned().collect();
        all.sort_unstable_by(|a, b| a.domain.cmp(&b.domain));
        let those = |fits: fn(&Component) -> bool| {
            all.iter().filter(|c| fits(c)).cloned().collect::<Vec<_>>()
        };
        Self {
            privileged: those(|c| !c.privileges.is_empty()),
            delegating: those(|c| !c.delegations.is_empty()),
            by_domain,
        }
    }

    /// The component of this domain.
    #[must_use]
    pub fn find(&self, domain: &str) -> Option<&Arc<Component>> {
        self.by_domain.get(domain)
    }

    /// Those that belong to a domain of ours, by their domains.
    #[must_use]
    pub fn of_host(&self, host: &str) -> Vec<Arc<Component>> {
        let mut all: Vec<_> = self.by_domain.values().filter(|c| c.is_of(host)).cloned().collect();
        all.sort_unstable_by(|a, b| a.domain.cmp(&b.domain));
        all
    }
}

impl Components {
    /// Those with privileges at a domain of ours.
    pub(crate) fn privileged(&self, host: &str) -> impl Iterator<Item = &Arc<Component>> {
        self.privileged.iter().filter(move |c| c.is_of(host))
    }
}

impl Engine {
    /// Takes other components over. Those that are connected are told of what has changed
    /// (XEP-0355 §8, rule 3).
    pub fn replace_components(self: &Arc<Self>, components: Components) {
        let former = self.components.swap(Arc::new(components));
        let components = self.components.load_full();
        self.contacts.keep(|domain| components.find(domain).is_some());
        for component in components.by_domain.values() {
            let may = |c: &Component| (c.privileges.clone(), c.delegations.clone());
            let before = former.find(&component.domain).map(|c| may(c)).unwrap_or_default();
            if before != may(component) {
                self.forget_features(&component.domain);
                self.greet_component(component, true, &mut |stanza| drop(self.send_remote(stanza)));
            }
        }
    }

    /// A component has a stream: hands over what it is to be told first, and with the first stream
    /// everything that it would know, had it been there before.
    pub fn component_attached(
        self: &Arc<Self>,
        domain: &str,
        is_first: bool,
        give: &mut dyn FnMut(Stanza),
    ) {
        if let Some(component) = self.component(domain) {
            self.greet_component(&component, is_first, give);
        }
    }

    /// A component has no stream any more.
    pub fn component_left(&self, domain: &str) {
        self.forget_features(domain);
    }

    fn greet_component(
        self: &Arc<Self>,
        component: &Component,
        is_all: bool,
        give: &mut dyn FnMut(Stanza),
    ) {
        let has_privileges = !component.privileges.is_empty();
        let has_delegations = !component.delegations.is_empty();
        if !has_privileges && !has_delegations {
            return;
        }
        let hosts = self.hosts.load_full();
        let mut first = None;
        for host in hosts.iter().filter(|host| component.is_of(&host.domain)) {
            first.get_or_insert(host);
            if has_privileges {
                let told = self.notice(&host.domain, component, |w| component.privileges.write(w));
                told.into_iter().for_each(&mut *give);
            }
            if has_delegations {
                let write = |w: &mut Writer| xep0355_delegation::write(&component.delegations, w);
                self.notice(&host.domain, component, write).into_iter().for_each(&mut *give);
            }
        }
        if let Some(host) = first.filter(|_| is_all) {
            self.show_all(component, give);
            self.ask_for_features(component, host);
        }
    }

    fn notice(
        &self,
        host: &str,
        component: &Component,
        f: impl FnOnce(&mut Writer),
    ) -> Option<Stanza> {
        let (from, to) = (Jid::new(host).ok()?, Jid::new(&component.domain).ok()?);
        let id = format!("may-{}", self.next_serial());
        let head = Head::new(Kind::Message(MessageType::Normal)).from(from).to(to).id(id);
        Some(Stanza::build(head, f))
    }

    /// The component of this domain, whether it is connected or not.
    #[must_use]
    pub fn component(&self, domain: &str) -> Option<Arc<Component>> {
        self.components.load().find(domain).cloned()
    }

    /// Whether nobody but us and our components speaks for a domain.
    #[must_use]
    pub fn is_local(&self, domain: &str) -> bool {
        self.host(domain).is_some() || self.component(domain).is_some()
    }

    /// Whether other servers may speak to a domain by us.
    #[must_use]
    pub fn federates(&self, domain: &str) -> bool {
        self.host(domain).is_some() || self.component(domain).is_some_and(|c| c.may_federate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn belongs_to_the_domains_above_it_unless_others_are_named() {
        let component = |hosts: &[&str]| Component {
            domain: "irc.capulet.example".into(),
            hosts: hosts.iter().map(ToString::to_string).collect(),
            ..Component::default()
        };
        let below = component(&[]);
        assert!(below.is_of("capulet.example") && below.is_of("example"));
        assert!(!below.is_of("irc.capulet.example") && !below.is_of("let.example"));
        let named = component(&["montague.example"]);
        assert!(named.is_of("montague.example") && !named.is_of("capulet.example"));
        let all = Components::new([named]);
        assert_eq!(all.of_host("montague.example").len(), 1);
        assert!(all.of_host("capulet.example").is_empty());
    }
}
