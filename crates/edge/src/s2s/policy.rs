//! Whom this server speaks to, and what it asks of them.

use stentor_jid::prep_domain;

use crate::admission::AdmissionSettings;

/// What the operator decided about other servers.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Whom we speak to, at the start; [`Links::replace_lists`](super::Links::replace_lists) changes that.
    pub lists: Lists,
    /// What is asked of all that have no terms of their own.
    pub terms: Terms,
    /// Terms of some domains and those below them; the longest name that fits counts.
    pub peers: Vec<(String, Terms)>,
    /// How long an idle stream that we opened stays, in milliseconds.
    pub idle_ms: u64,
    /// How long a server may be silent before it is asked whether it is there, how long it has to
    /// answer, and how long it is sought before its users are shown as gone; in milliseconds.
    pub silence_ms: u64,
    /// How long one address may take to answer, in milliseconds.
    pub connect_wait_ms: u64,
    /// How long messages wait for a server that cannot be reached, in milliseconds.
    pub hold_ms: u64,
    /// How long a domain that failed is not asked again at first, in milliseconds; each time twice
    /// as long.
    pub back_off_ms: u64,
    /// How often one domain is called within a minute.
    pub attempts_per_minute: usize,
    /// How many connections other servers may have to us.
    pub admission: AdmissionSettings,
}

/// Whom this server speaks to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lists {
    /// Only these domains and those below them; everyone if there are none.
    pub allow: Vec<String>,
    /// Never these domains, nor those below them.
    pub block: Vec<String>,
}

/// What is asked of one domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Whether nothing goes without TLS.
    pub tls_required: bool,
    /// Whether a call back may stand in for a certificate (XEP-0220).
    pub allows_dialback: bool,
    /// How many bytes a second are read from it on the average; 0 for as many as come.
    pub bytes_per_sec: u64,
}

impl Default for Terms {
    fn default() -> Self {
        Self { tls_required: true, allows_dialback: true, bytes_per_sec: 0 }
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            lists: Lists::default(),
            terms: Terms::default(),
            peers: Vec::new(),
            idle_ms: 600_000,
            silence_ms: 120_000,
            connect_wait_ms: 10_000,
            hold_ms: 1_800_000,
            back_off_ms: 5_000,
            attempts_per_minute: 60,
            admission: AdmissionSettings {
                connections_max: 10_000,
                per_source_max: 1_000,
                ..AdmissionSettings::default()
            },
        }
    }
}

impl Lists {
    /// Whether we speak to a domain.
    #[must_use]
    pub fn allows(&self, domain: &str) -> bool {
        let is_in = |list: &[String]| list.iter().any(|entry| is_below(domain, entry));
        !is_in(&self.block) && (self.allow.is_empty() || is_in(&self.allow))
    }
}

impl Policy {
    /// What is asked of a domain.
    #[must_use]
    pub fn terms(&self, domain: &str) -> &Terms {
        let fitting = self.peers.iter().filter(|(name, _)| is_below(domain, name));
        fitting.max_by_key(|(name, _)| name.len()).map_or(&self.terms, |(_, terms)| terms)
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
        let lists = Lists {
            allow: list(&["good.example", "other.example"]),
            block: list(&["bad.good.example"]),
        };
        for (domain, expected) in [
            ("good.example", true),
            ("rooms.good.example", true),
            ("notgood.example", false),
            ("bad.good.example", false),
            ("very.bad.good.example", false),
            ("third.example", false),
        ] {
            assert_eq!(lists.allows(domain), expected, "{domain}");
        }
        assert!(Lists::default().allows("anyone.example"));
    }

    #[test]
    fn the_longest_name_that_fits_sets_the_terms() {
        let terms = |bytes_per_sec| Terms { bytes_per_sec, ..Terms::default() };
        let peers = [("far.example", 1), ("rooms.far.example", 2)];
        let peers = peers.map(|(name, rate)| (name.to_owned(), terms(rate))).to_vec();
        let policy = Policy { peers, ..Policy::default() };
        for (domain, expected) in [
            ("far.example", 1),
            ("a.far.example", 1),
            ("rooms.far.example", 2),
            ("x.rooms.far.example", 2),
            ("notfar.example", 0),
        ] {
            assert_eq!(policy.terms(domain).bytes_per_sec, expected, "{domain}");
        }
    }
}
