//! XEP-0355: Namespace Delegation, version 0.5.
//!
//! Requests of a namespace that a component answers in the place of the server.
//! Implements: §4 (delegations that the operator grants, with filtering attributes), §7.1 (the
//! feature), §7.2 (features, identities and forms of the component among those of the server, and
//! the special namespaces of bare addresses), §8 (rules 3 to 5), §9 (features are asked for once,
//! and nobody's other stanzas wait).
//! Left out: §5 and §6: delegations that users grant themselves, which §9 leaves to servers.
//! Status: complete

use std::sync::Arc;

use hashbrown::HashMap;
use parking_lot::Mutex;
use stentor_jid::Jid;
use stentor_payload::xep0030_disco::{NS_INFO, NS_ITEMS};
use stentor_payload::xep0297_forward;
use stentor_stanza::{Condition, IqType, Stanza, StanzaError};
use stentor_xml::{ElementRef, Frame, Writer};

use super::Component;
use super::xep0356_privilege::stanza_of;
use crate::engine::{Engine, Route};
use crate::host::Host;
use crate::iq::Scope;
use crate::phase::Direction;
use crate::pipeline;
use crate::refuse::store_error;
use crate::service;

/// A namespace that a component answers for (§4.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delegation {
    /// The namespace of the payload, or one of the special ones of §7.2.4 and §7.2.5.
    pub namespace: String,
    /// Attributes that the payload must have.
    pub attributes: Vec<String>,
}

/// What service discovery shows in the place of what is delegated (§7.2).
#[derive(Clone, Debug, Default)]
pub struct Delegated {
    namespaces: Vec<String>,
    nested: Vec<Frame>,
}

/// What components said of the namespaces that they answer for, by their domains.
#[derive(Default)]
pub(crate) struct Nested(Mutex<HashMap<String, Vec<(Scope, Frame)>>>);

/// A request that a component is to answer.
pub(crate) struct Request {
    component: Arc<Component>,
    host: Arc<Host>,
    /// Whose bare address is asked, if it is not the domain.
    account: Option<stentor_jid::BareJid>,
    stanza: Stanza,
}

impl Delegation {
    fn covers(&self, payload: ElementRef<'_>, scope: Scope, host: &Host) -> bool {
        let is_unknown = |node: &str| host.profile.disco_node(Scope::Account, node).is_none();
        let node = payload.attr("node");
        match self.namespace.as_str() {
            NS_BARE_INFO => {
                scope == Scope::Account
                    && payload.is(NS_INFO, "query")
                    && node.as_deref().is_some_and(is_unknown)
            }
            NS_BARE_ITEMS => {
                scope == Scope::Account
                    && payload.is(NS_ITEMS, "query")
                    && node.as_deref().is_none_or(is_unknown)
            }
            namespace => {
                payload.ns() == namespace
                    && self.attributes.iter().all(|name| payload.attr(name).is_some())
            }
        }
    }

    fn is_special(&self) -> bool {
        [NS_BARE_INFO, NS_BARE_ITEMS].contains(&self.namespace.as_str())
    }
}

impl Delegated {
    /// Whether a feature or the type of a form is of a namespace that is delegated.
    #[must_use]
    pub fn hides(&self, name: &str) -> bool {
        self.namespaces.iter().any(|namespace| {
            let rest = name.strip_prefix(namespace.as_str());
            // `…/pubsub` has `…/pubsub#publish`, and not `…/pubsubs`.
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['#', ':', '/', '+']))
        })
    }

    /// Identities, features and forms of the components.
    pub fn nested(&self) -> impl Iterator<Item = ElementRef<'_>> {
        let all = self.nested.iter().flat_map(|query| query.root().children());
        all.filter(|c| c.is(NS_INFO, "identity") || c.is(NS_INFO, "feature") || c.name() == "x")
    }

    /// Whether anything is delegated.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.namespaces.is_empty()
    }
}

/// §4.2: what the component is told of its delegations.
pub(super) fn write(delegations: &[Delegation], w: &mut Writer) {
    w.open("delegation", NS_DELEGATION);
    for delegation in delegations {
        w.open("delegated", NS_DELEGATION).attr("namespace", &delegation.namespace);
        for name in &delegation.attributes {
            w.open("attribute", NS_DELEGATION).attr("name", name).close();
        }
        w.close();
    }
    w.close();
}

/// The request, if a component is to answer it (§4.3). Those of the component itself are not for it
/// (§4.3.1).
pub(crate) fn request(
    engine: &Engine,
    from: &Jid,
    route: &Route,
    stanza: &Stanza,
) -> Option<Request> {
    let components = engine.components.load();
    if components.delegating.is_empty() || stanza.head.to.as_ref().is_some_and(Jid::is_full) {
        return None;
    }
    let (scope, host, account) = match route {
        Route::Host(host) => (Scope::Host, host, None),
        Route::Account(host, jid) => (Scope::Account, host, Some(jid.clone())),
        Route::Remote => return None,
    };
    let payload = stanza.iq_type().filter(|kind| kind.is_request()).and(stanza.payload())?;
    let answers = |c: &&Arc<Component>| {
        c.is_of(&host.domain) && c.delegations.iter().any(|d| d.covers(payload, scope, host))
    };
    let component = components.delegating.iter().find(answers)?;
    let is_its_own = from.domain() == component.domain;
    (!is_its_own).then(|| Request {
        component: component.clone(),
        host: host.clone(),
        account,
        stanza: stanza.clone(),
    })
}

impl Request {
    /// Answers by what the component says; nothing where even an error would say too much.
    pub(crate) async fn answer(self, engine: &Arc<Engine>) -> Option<Stanza> {
        match self.forward(engine).await {
            Ok(answer) => Some(answer),
            Err(error) => self.stanza.reply_error(&error?),
        }
    }

    async fn forward(&self, engine: &Arc<Engine>) -> Result<Stanza, Option<StanzaError>> {
        // §4.3, N.B. 1 and 2: whatever is the matter with the component.
        let unavailable = || Some(StanzaError::new(Condition::ServiceUnavailable));
        self.check_account(engine).await?;
        let them = Jid::new(&self.component.domain).map_err(|_| unavailable())?;
        let write = |w: &mut Writer| {
            w.open("delegation", NS_DELEGATION);
            xep0297_forward::write(w, None, &self.stanza);
            w.close();
        };
        let answer = engine.request(&self.host, &them, IqType::Set, write).await;
        let answer = answer.map_err(|_| unavailable())?;
        self.open(&answer).ok_or_else(unavailable)
    }

    /// Who is not there, or does not want to hear of the asker, is not known to the component.
    async fn check_account(&self, engine: &Arc<Engine>) -> Result<(), Option<StanzaError>> {
        let Some(jid) = &self.account else { return Ok(()) };
        let is_own = self.stanza.head.from.as_ref().is_some_and(|from| from.to_bare() == *jid);
        if is_own {
            return Ok(());
        }
        let account = engine.account(jid).await.map_err(|error| Some(store_error(&error)))?;
        let missing = Some(StanzaError::new(Condition::ServiceUnavailable));
        let account = account.ok_or(missing)?;
        let state = account.lock();
        pipeline::may_pass(engine, &account, Direction::Received, &state, &self.stanza)
    }

    /// §4.3: the answer inside the answer, if it answers what was asked.
    fn open(&self, answer: &Stanza) -> Option<Stanza> {
        if answer.iq_type() != Some(IqType::Result) {
            return None;
        }
        let inner = answer
            .child(NS_DELEGATION, "delegation")
            .and_then(|d| d.child(xep0297_forward::NS, "forwarded"))
            .and_then(xep0297_forward::inner)?;
        let mut inner = stanza_of(inner)?;
        let (asked, head) = (&self.stanza.head, &inner.head);
        let is_right = inner.iq_type() == Some(IqType::Result)
            && head.id == asked.id
            && head.to == asked.from
            // The examples have none.
            && (head.from.is_none() || head.from == asked.to);
        inner.head.from.clone_from(&asked.to);
        is_right.then_some(inner)
    }
}

impl Engine {
    /// What service discovery shows of what is delegated at a domain, or at its accounts.
    #[must_use]
    pub fn delegated(&self, host: &str, scope: Scope) -> Delegated {
        let components = self.components.load();
        let mut delegated = Delegated::default();
        for component in components.delegating.iter().filter(|c| c.is_of(host)) {
            let namespaces = component.delegations.iter().map(|d| d.namespace.clone());
            delegated.namespaces.extend(namespaces);
            let nested = self.nested.0.lock();
            let known = nested.get(&component.domain).into_iter().flatten();
            let of_scope = known.filter(|(of, _)| *of == scope).map(|(_, query)| query.clone());
            delegated.nested.extend(of_scope);
        }
        delegated
    }

    /// Asks a component for the features of what it answers for (§7.2.1, §7.2.2).
    pub(super) fn ask_for_features(self: &Arc<Self>, component: &Component, host: &Arc<Host>) {
        for delegation in &component.delegations {
            if delegation.is_special() {
                continue;
            }
            for (scope, separator) in [(Scope::Host, "::"), (Scope::Account, ":bare:")] {
                let node = format!("{NS_DELEGATION}{separator}{}", delegation.namespace);
                let Ok(them) = Jid::new(&component.domain) else { continue };
                let (engine, domain, host) = (self.clone(), component.domain.clone(), host.clone());
                service::start(async move {
                    let write = |w: &mut Writer| {
                        w.open("query", NS_INFO).attr("node", &node).close();
                    };
                    let answer = engine.request(&host, &them, IqType::Get, write).await.ok();
                    let query = answer.as_ref().and_then(|a| a.child(NS_INFO, "query"));
                    if let Some(query) = query {
                        let frame = Frame::build(|w| {
                            w.element(query);
                        });
                        let mut nested = engine.nested.0.lock();
                        nested.entry(domain).or_default().push((scope, frame));
                    }
                });
            }
        }
    }

    /// Forgets what a component said of itself.
    pub(super) fn forget_features(&self, domain: &str) {
        self.nested.0.lock().remove(domain);
    }
}

/// The namespace of delegations, which is the feature as well.
pub const NS_DELEGATION: &str = "urn:xmpp:delegation:2";
const NS_BARE_INFO: &str = "urn:xmpp:delegation:2:bare:disco#info:*";
const NS_BARE_ITEMS: &str = "urn:xmpp:delegation:2:bare:disco#items:*";
