//! Domains of ours: rows that name a profile, and the profile's modules and settings.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::{HashMap, HashSet};
use stentor_jid::{BareJid, Jid};
use stentor_store::HostRow;

use crate::account::AccountState;
use crate::chores::Chore;
use crate::commands::Command;
use crate::disco::{DiscoNode, DiscoNodes};
use crate::iq::{IqTable, Scope};
use crate::module::Spec;
use crate::phase::{Flow, Wish};
use crate::registrar::{Disco, Phases, Registrar, StreamFeature};
use crate::resource::Resource;
use crate::sign_in::Rules;
use crate::slots::Resident;

/// A domain of ours.
pub struct Host {
    /// The domain as in addresses.
    pub domain: Box<str>,
    /// What it offers; shared by all domains of the profile.
    pub profile: Arc<Profile>,
}

/// Modules with their options, and settings, for any number of domains.
pub struct Profile {
    /// What the engine itself decides by.
    pub settings: Settings,
    /// What service discovery shows.
    pub disco: Disco,
    /// The modules, in the order of the registry.
    pub modules: Vec<&'static Spec>,
    /// Elements among the stream features.
    pub stream_features: Vec<StreamFeature>,
    /// What clients may do while they sign in.
    pub sign_in: Rules,
    /// Who is told what only administrators can mend.
    pub administrators: Vec<BareJid>,
    /// Whom one stanza may be for; none where nothing is sent on (XEP-0033).
    pub(crate) receivers_max: Option<usize>,
    pub(crate) residents: Vec<Arc<dyn Resident>>,
    pub(crate) chores: Vec<Arc<dyn Chore>>,
    commands: Vec<(&'static str, Arc<dyn Command>)>,
    shared: Vec<Arc<dyn Any + Send + Sync>>,
    nodes: Vec<(Scope, &'static str, Arc<dyn DiscoNode>)>,
    account_nodes: Vec<Arc<dyn DiscoNodes>>,
    pub(crate) phases: Phases,
    pub(crate) iqs: IqTable,
}

impl Host {
    /// How much of a chat an account wants to be told of while away, if it says so.
    pub fn wish(&self, chat: &BareJid, state: &AccountState) -> Option<Wish> {
        self.profile.phases.heed.iter().find_map(|module| module.wish(chat, state))
    }

    /// How much of it one of the account's applications is to tell: what it is is its category and type
    /// (XEP-0030), if that is known.
    pub fn wish_of(
        &self,
        chat: &BareJid,
        application: Option<(&str, &str)>,
        state: &AccountState,
    ) -> Option<Wish> {
        let Some(application) = application else { return self.wish(chat, state) };
        let mut modules = self.profile.phases.heed.iter();
        modules.find_map(|module| module.wish_of(chat, application, state))
    }

    /// Whether an account wants to be told while away when this contact comes.
    pub fn awaits(&self, contact: &BareJid, state: &AccountState) -> bool {
        self.profile.phases.heed.iter().any(|module| module.awaits(contact, state))
    }

    /// Whether one of the domain's sessions takes part in what is for many.
    pub(crate) fn admits(
        &self,
        flow: Flow,
        session: &Resource,
        peer: &Jid,
        state: &AccountState,
    ) -> bool {
        self.profile.phases.admit.iter().all(|module| module.admits(flow, session, peer, state))
    }
}

impl Profile {
    /// A profile of what the registrar collected.
    #[must_use]
    pub fn new(settings: Settings, mut registrar: Registrar) -> Self {
        if settings.is_anonymous {
            registrar.disco.account_identities.clear();
        } else {
            for (scope, feature) in std::mem::take(&mut registrar.stored) {
                registrar.disco(scope, &[feature]);
            }
        }
        let mut disco = registrar.disco;
        for list in [&mut disco.host, &mut disco.account] {
            list.sort_unstable();
            list.dedup();
        }
        Self {
            settings,
            disco,
            modules: registrar.specs,
            stream_features: registrar.stream_features,
            administrators: registrar.administrators,
            receivers_max: registrar.receivers_max,
            sign_in: registrar.sign_in,
            residents: registrar.residents,
            chores: registrar.chores,
            commands: registrar.commands,
            shared: registrar.shared,
            nodes: registrar.nodes,
            account_nodes: registrar.account_nodes,
            phases: registrar.phases,
            iqs: registrar.iqs,
        }
    }

    /// The commands of accounts, by their nodes.
    #[must_use]
    pub fn commands(&self) -> &[(&'static str, Arc<dyn Command>)] {
        &self.commands
    }

    /// What a module of the profile shares under this type.
    #[must_use]
    pub fn shared<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        self.shared.iter().find_map(|shared| shared.clone().downcast().ok())
    }

    /// Who answers service discovery for nodes of accounts that come and go.
    #[must_use]
    pub fn account_nodes(&self) -> &[Arc<dyn DiscoNodes>] {
        &self.account_nodes
    }

    /// Who answers service discovery for this node.
    #[must_use]
    pub fn disco_node(&self, scope: Scope, name: &str) -> Option<&Arc<dyn DiscoNode>> {
        let mut nodes = self.nodes.iter();
        nodes.find(|(of, node, _)| *of == scope && *node == name).map(|(.., node)| node)
    }
}

/// What the engine decides by, per profile.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Which resources get a message to a bare address.
    pub delivery: Delivery,
    /// What happens when a client wishes a resource that is in use.
    pub resource_conflict: ResourceConflict,
    /// Sessions that one account may have at once.
    pub sessions_max: usize,
    /// Whether messages to accounts that do not exist vanish instead of coming back, so that
    /// nobody can find out which exist.
    pub unknown_account_silent: bool,
    /// What an unregistered visitor may do (RFC 4505); none where ANONYMOUS is off.
    pub is_anonymous: bool,
    /// Contacts in one roster.
    pub roster_items_max: usize,
    /// Seconds for which a session whose stream broke may be resumed; 0 lets none be
    /// (XEP-0198 §5).
    pub resume_secs: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            delivery: Delivery::MostAvailable,
            resource_conflict: ResourceConflict::Rename,
            sessions_max: 50,
            unknown_account_silent: false,
            is_anonymous: false,
            roster_items_max: 5_000,
            resume_secs: 600,
        }
    }
}

/// Which resources get a `normal` or `chat` message to a bare address (RFC 6121 §8.5.2.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Delivery {
    /// Those of the highest priority; all of them if several share it.
    MostAvailable,
    /// All of non-negative priority.
    All,
}

/// What happens when a client wishes a resource that is in use (RFC 6120 §7.7.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ResourceConflict {
    /// The newcomer gets another resource; both live on.
    Rename,
    /// The older session ends with `conflict`.
    Replace,
    /// The newcomer gets the stanza error `conflict`.
    Refuse,
}

/// All domains of ours.
#[derive(Clone, Default)]
pub struct Hosts {
    served: HashMap<Box<str>, Arc<Host>>,
    /// Those of `served` that the configuration names.
    configured: HashSet<Box<str>>,
    /// Domains that were served once.
    gone: HashSet<Box<str>>,
    /// The profiles that a domain may name.
    profiles: Arc<BTreeMap<String, Arc<Profile>>>,
    /// What the store says of domains, whether they are served or not.
    rows: BTreeMap<Box<str>, Arc<HostRow>>,
}

impl Hosts {
    /// The table of these domains.
    pub fn new(hosts: impl IntoIterator<Item = Host>) -> Self {
        let served: HashMap<_, _> =
            hosts.into_iter().map(|h| (h.domain.clone(), Arc::new(h))).collect();
        let configured = served.keys().cloned().collect();
        Self { served, configured, ..Self::default() }
    }

    /// The same, with domains that were served once and are not any more.
    #[must_use]
    pub fn with_gone(mut self, gone: Vec<Box<str>>) -> Self {
        self.gone = gone.into_iter().collect();
        self
    }

    /// The same, with the profiles that rows may name.
    #[must_use]
    pub fn with_profiles(mut self, profiles: BTreeMap<String, Arc<Profile>>) -> Self {
        self.profiles = Arc::new(profiles);
        self
    }

    /// The same, with what the store says of domains. What the configuration says of one counts
    /// more, and one whose profile is not there is not served.
    #[must_use]
    pub fn with_rows(mut self, rows: impl IntoIterator<Item = HostRow>) -> Self {
        for row in rows {
            let domain: Box<str> = row.name.as_str().into();
            if !self.configured.contains(&domain) {
                self.served.remove(&domain);
                self.gone.remove(&domain);
                match self.profiles.get(&row.profile) {
                    _ if !row.is_enabled => drop(self.gone.insert(domain.clone())),
                    Some(profile) => {
                        let host = Host { domain: domain.clone(), profile: profile.clone() };
                        self.served.insert(domain.clone(), Arc::new(host));
                    }
                    None => {
                        let (domain, profile) = (&row.name, &row.profile);
                        tracing::error!(
                            event = "no_profile",
                            domain,
                            profile,
                            "A domain is not served: there is no such profile."
                        );
                    }
                }
            }
            self.rows.insert(domain, Arc::new(row));
        }
        self
    }

    /// Whether the domain was served once.
    #[must_use]
    pub fn is_gone(&self, domain: &str) -> bool {
        self.gone.contains(domain)
    }

    /// The domain, if it is ours.
    #[must_use]
    pub fn find(&self, domain: &str) -> Option<&Arc<Host>> {
        self.served.get(domain)
    }

    /// All of them, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Host>> {
        self.served.values()
    }

    /// The domain, if there is only one.
    #[must_use]
    pub fn only(&self) -> Option<&Arc<Host>> {
        self.iter().next().filter(|_| self.served.len() == 1)
    }

    /// Whether the configuration names the domain.
    #[must_use]
    pub fn is_configured(&self, domain: &str) -> bool {
        self.configured.contains(domain)
    }

    /// Whether there is a profile of this name for domains to come.
    #[must_use]
    pub fn has_profile(&self, name: &str) -> bool {
        self.profiles.contains_key(name)
    }

    /// The name of a profile.
    #[must_use]
    pub fn name_of(&self, profile: &Arc<Profile>) -> Option<&str> {
        let mut all = self.profiles.iter();
        all.find(|(_, known)| Arc::ptr_eq(known, profile)).map(|(name, _)| name.as_str())
    }

    /// What the store says of a domain.
    #[must_use]
    pub fn row(&self, domain: &str) -> Option<&HostRow> {
        self.rows.get(domain).map(|row| &**row)
    }

    /// What the store says of all domains, by their names.
    pub fn rows(&self) -> impl Iterator<Item = &HostRow> {
        self.rows.values().map(|row| &**row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::phase::Heed;

    /// A wish about one chat.
    struct Knows(&'static str, Wish);

    impl Heed for Knows {
        fn wish(&self, chat: &BareJid, _: &AccountState) -> Option<Wish> {
            (chat.as_str() == self.0).then_some(self.1)
        }

        fn awaits(&self, contact: &BareJid, _: &AccountState) -> bool {
            contact.as_str() == self.0
        }
    }

    #[test]
    fn what_modules_share_is_found_by_its_type() {
        let mut registrar = Registrar::default();
        registrar.share(Arc::new(7_u32));
        let profile = Profile::new(Settings::default(), registrar);
        assert_eq!(profile.shared::<u32>().as_deref(), Some(&7));
        assert_eq!(profile.shared::<u64>(), None);
    }

    #[test]
    fn the_first_who_knows_a_wish_decides() {
        let mut registrar = Registrar::default();
        registrar.heed(Arc::new(Knows("a@x.example", Wish::Never)));
        registrar.heed(Arc::new(Knows("a@x.example", Wish::Always)));
        registrar.heed(Arc::new(Knows("b@x.example", Wish::OnMention)));
        let profile = Arc::new(Profile::new(Settings::default(), registrar));
        let host = Host { domain: "x.example".into(), profile };
        let wish = |chat: &str| host.wish(&BareJid::new(chat).unwrap(), &AccountState::default());
        assert_eq!(wish("a@x.example"), Some(Wish::Never));
        assert_eq!(wish("b@x.example"), Some(Wish::OnMention));
        assert_eq!(wish("c@x.example"), None);
        let awaits = |who: &str| host.awaits(&BareJid::new(who).unwrap(), &AccountState::default());
        assert!(awaits("b@x.example") && !awaits("c@x.example"));
    }
}
