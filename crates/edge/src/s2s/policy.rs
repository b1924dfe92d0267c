//! Whom this server speaks to, and what it asks of them.

use stentor_jid::prep_domain;

/// What the operator decided about other servers.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Only these domains and those below them; everyone if there are none.
    pub allow: Vec<String>,
    /// Never these domains, nor those below them.
    pub block: Vec<String>,
    /// Whether nothing goes without TLS.
    pub tls_required: bool,
    /// Whether a call back may stand in for a certificate (XEP-0220).
    pub allows_dialback: bool,
    /// How long an idle stream that we opened stays, in milliseconds.
    pub idle_ms: u64,
    /// How long one address may take to answer, in milliseconds.
    pub connect_wait_ms: u64,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            allow: Vec::new(),
            block: Vec::new(),
            tls_required: true,
            allows_dialback: true,
            idle_ms: 600_000,
            connect_wait_ms: 10_000,
        }
    }
}

impl Policy {
    /// Whether we speak to a domain.
    #[must_use]
    pub fn allows(&self, domain: &str) -> bool {
        let is_in = |list: &[String]| list.iter().any(|entry| is_below(domain, entry));
        !is_in(&self.block) && (self.allow.is_empty() || is_in(&self.allow))
    }

    /// Prepares a domain as the lists want it; none if it is no domain.
    #[must_use]
    pub fn domain(text: &str) -> Option<String> {
        prep_domain(text).ok().map(std::borrow::Cow::into_owned)
    }
}

fn is_below(domain: &str, entry: &str) -> bool {
    domain.strip_suffix(entry).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_cover_the_domains_below() {
        let list = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        let policy = Policy {
            allow: list(&["good.example", "other.example"]),
            block: list(&["bad.good.example"]),
            ..Policy::default()
        };
        for (domain, expected) in [
            ("good.example", true),
            ("rooms.good.example", true),
            ("notgood.example", false),
            ("bad.good.example", false),
            ("very.bad.good.example", false),
            ("third.example", false),
        ] {
            assert_eq!(policy.allows(domain), expected, "{domain}");
        }
        assert!(Policy::default().allows("anyone.example"));
    }
}
