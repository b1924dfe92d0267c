//! Components: services of their own that speak for a domain beside ours (XEP-0114).
//!
//! The engine knows which there may be and what they may do; whether one is connected is known to
//! the [`Links`](crate::Links) by which everything for it leaves.

use std::sync::Arc;

use hashbrown::HashMap;

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
}

/// All components that there may be.
#[derive(Debug, Default)]
pub struct Components(HashMap<String, Arc<Component>>);

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
        let named = components.into_iter().map(|c| (c.domain.clone(), Arc::new(c)));
        Self(named.collect())
    }

    /// The component of this domain.
    #[must_use]
    pub fn find(&self, domain: &str) -> Option<&Arc<Component>> {
        self.0.get(domain)
    }

    /// Those that belong to a domain of ours, by their domains.
    #[must_use]
    pub fn of_host(&self, host: &str) -> Vec<Arc<Component>> {
        let mut all: Vec<_> = self.0.values().filter(|c| c.is_of(host)).cloned().collect();
        all.sort_unstable_by(|a, b| a.domain.cmp(&b.domain));
        all
    }
}

impl Engine {
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
