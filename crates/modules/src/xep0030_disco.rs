//! XEP-0030: Service Discovery, version 2.5.0.
//!
//! Tells what the server and its accounts are and can do.
//! Implements: §3 (identities and features), §4 (items), §8 (who may ask an account).
//! Left out: result set management of items, of which there are few.

use std::sync::Arc;

use stentor_engine::component::xep0355_delegation::NS_DELEGATION;
use stentor_engine::registrar::DiscoForm;
use stentor_engine::{
    Component, Delegated, DiscoNode, Factory, IqCx, Module, NoConfig, NodeInfo, NodeItem, OnGet,
    Registrar, Resource, Scope, Spec, Status, Xep, presence,
};
use stentor_payload::xep0004_forms::{Form, NS as NS_FORM};
use stentor_payload::xep0030_disco::{NS_INFO, NS_ITEMS};
use stentor_payload::{Decode, Encode};
use stentor_stanza::{Condition, StanzaError};
use stentor_xml::{ElementRef, Writer};

use crate::xep0115_caps;

/// The module.
pub(crate) const MODULE: Factory = Factory::of::<DiscoModule>();

struct DiscoModule;

impl Module for DiscoModule {
    const SPEC: &'static Spec = &Spec {
        name: "disco",
        xeps: &[
            Xep { number: 30, version: "2.5.0", status: Status::Complete, note: "" },
            Xep { number: 128, version: "1.0.1", status: Status::Complete, note: "" },
        ],
        requires: &[],
        options: &[],
    };
    type Config = NoConfig;

    fn build(_: NoConfig) -> Result<Self, String> {
        Ok(Self)
    }

    fn register(self: Arc<Self>, r: &mut Registrar) {
        for scope in [Scope::Host, Scope::Account] {
            r.get::<AskInfo, _>(scope, &self);
            r.get::<AskItems, _>(scope, &self);
            r.disco(scope, &[NS_INFO, NS_ITEMS]);
        }
    }
}

struct AskInfo {
    node: Option<String>,
}

impl Decode for AskInfo {
    const NS: &'static str = NS_INFO;
    const NAME: &'static str = "query";

    fn decode(query: ElementRef<'_>) -> Result<Self, StanzaError> {
        Ok(Self { node: query.attr("node").map(std::borrow::Cow::into_owned) })
    }
}

struct AskItems {
    node: Option<String>,
}

impl Decode for AskItems {
    const NS: &'static str = NS_ITEMS;
    const NAME: &'static str = "query";

    fn decode(query: ElementRef<'_>) -> Result<Self, StanzaError> {
        Ok(Self { node: query.attr("node").map(std::borrow::Cow::into_owned) })
    }
}

/// What an entity is and can do.
pub(crate) struct Info {
    pub(crate) node: Option<String>,
    pub(crate) identities: Vec<Identity>,
    pub(crate) features: Vec<&'static str>,
    pub(crate) forms: Vec<DiscoForm>,
    /// The form of a node.
    pub(crate) node_form: Option<Form>,
    /// What components answer for.
    pub(crate) delegated: Delegated,
}

/// What an entity is, in the registered words.
#[derive(Clone, Copy)]
pub(crate) struct Identity {
    pub(crate) category: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) name: Option<&'static str>,
}

impl Info {
    fn of_node(node: Option<String>, info: NodeInfo) -> Self {
        Self {
            node,
            identities: vec![Identity { category: info.category, kind: info.kind, name: None }],
            features: info.features,
            forms: Vec::new(),
            node_form: info.form,
            delegated: Delegated::default(),
        }
    }
}

impl Encode for Info {
    fn encode(&self, w: &mut Writer) {
        w.open("query", NS_INFO).attr_opt("node", self.node.as_deref());
        for identity in &self.identities {
            w.open("identity", NS_INFO)
                .attr("category", identity.category)
                .attr("type", identity.kind)
                .attr_opt("name", identity.name)
                .close();
        }
        for feature in self.features.iter().filter(|name| !self.delegated.hides(name)) {
            w.open("feature", NS_INFO).attr("var", feature).close();
        }
        for form in self.forms.iter().filter(|form| !self.delegated.hides(form.form_type)) {
            write_form(form, w);
        }
        self.node_form.encode(w);
        for nested in self.delegated.nested() {
            w.element(nested);
        }
        w.close();
    }
}

fn write_form(form: &DiscoForm, w: &mut Writer) {
    w.open("x", NS_FORM).attr("type", "result");
    w.open("field", NS_FORM).attr("var", "FORM_TYPE").attr("type", "hidden");
    w.text_element("value", NS_FORM, form.form_type).close();
    for (name, values) in &form.fields {
        w.open("field", NS_FORM).attr("var", name).attr("type", form.kind.name());
        for value in values {
            w.text_element("value", NS_FORM, value);
        }
        w.close();
    }
    w.close();
}

struct Items {
    node: Option<String>,
    items: Vec<NodeItem>,
}

impl Encode for Items {
    fn encode(&self, w: &mut Writer) {
        w.open("query", NS_ITEMS).attr_opt("node", self.node.as_deref());
        for item in &self.items {
            w.open("item", NS_ITEMS)
                .attr("jid", &item.jid)
                .attr_opt("node", item.node.as_deref())
                .attr_opt("name", item.name.as_deref())
                .close();
        }
        w.close();
    }
}

impl OnGet<AskInfo> for DiscoModule {
    type Reply = Info;

    async fn get(&self, cx: &IqCx<'_>, ask: AskInfo) -> Result<Info, StanzaError> {
        let disco = &cx.host.profile.disco;
        if let Some(node) = find_node(cx, ask.node.as_deref()) {
            let info = node.info(cx).await?;
            return Ok(Info::of_node(ask.node, info));
        }
        if cx.account.is_none() {
            let known_node = ask.node.as_ref().is_none_or(|n| *n == xep0115_caps::node_of(disco));
            if !known_node {
                return Err(StanzaError::new(Condition::ItemNotFound));
            }
            let delegated = cx.engine.delegated(&cx.host.domain, Scope::Host);
            let mut features = disco.host.clone();
            if !delegated.is_empty() {
                features.push(NS_DELEGATION);
            }
            return Ok(Info {
                node: ask.node,
                identities: vec![SERVER],
                features,
                forms: disco.forms.clone(),
                node_form: None,
                delegated,
            });
        }
        // §8 rule 1.
        if !cx.sees_account() {
            return Err(StanzaError::new(Condition::ServiceUnavailable));
        }
        if let Some(node) = &ask.node {
            for nodes in cx.host.profile.account_nodes() {
                if let Some(info) = nodes.info(cx, node).await? {
                    return Ok(Info::of_node(ask.node, info));
                }
            }
            return Err(StanzaError::new(Condition::ItemNotFound));
        }
        let own = if cx.host.profile.settings.is_anonymous { VISITOR } else { ACCOUNT };
        let others = disco.account_identities.iter();
        let others = others.map(|(category, kind)| Identity { category, kind, name: None });
        Ok(Info {
            node: ask.node,
            identities: std::iter::once(own).chain(others).collect(),
            features: disco.account.clone(),
            forms: Vec::new(),
            node_form: None,
            delegated: cx.engine.delegated(&cx.host.domain, Scope::Account),
        })
    }
}

impl OnGet<AskItems> for DiscoModule {
    type Reply = Items;

    async fn get(&self, cx: &IqCx<'_>, ask: AskItems) -> Result<Items, StanzaError> {
        if let Some(node) = find_node(cx, ask.node.as_deref()) {
            return Ok(Items { items: node.items(cx).await?, node: ask.node });
        }
        if cx.account.is_some() {
            // §8 rule 2: as where nobody is.
            if !cx.sees_account() {
                return Ok(Items { node: ask.node, items: Vec::new() });
            }
            let mut items = Vec::new();
            let mut is_known = ask.node.is_none();
            for nodes in cx.host.profile.account_nodes() {
                if let Some(more) = nodes.items(cx, ask.node.as_deref()).await? {
                    is_known = true;
                    items.extend(more);
                }
            }
            if !is_known {
                return Err(StanzaError::new(Condition::ItemNotFound));
            }
            if ask.node.is_none() {
                items.extend(resources(cx));
            }
            return Ok(Items { node: ask.node, items });
        }
        if ask.node.is_some() {
            return Err(StanzaError::new(Condition::ItemNotFound));
        }
        Ok(Items { node: ask.node, items: components(cx) })
    }
}

/// §4.1: the resources of the account that the asker sees.
fn resources(cx: &IqCx<'_>) -> Vec<NodeItem> {
    let (Some(account), Some(from)) = (cx.account, cx.from) else { return Vec::new() };
    let item = |resource: &Arc<Resource>| NodeItem {
        jid: resource.jid.to_string(),
        node: None,
        name: None,
    };
    presence::shown_to(cx.engine, account, from).iter().map(item).collect()
}

/// The services that components offer beside the domain (XEP-0114).
fn components(cx: &IqCx<'_>) -> Vec<NodeItem> {
    let all = cx.engine.components.load().of_host(&cx.host.domain);
    let item =
        |c: &Arc<Component>| NodeItem { jid: c.domain.clone(), node: None, name: c.name.clone() };
    all.iter().map(item).collect()
}

/// The node that a feature answers for, which judges by itself who asks: where others are to be told
/// that it is not for them, so it is (XEP-0013 §2.2).
fn find_node<'a>(cx: &IqCx<'a>, node: Option<&str>) -> Option<&'a Arc<dyn DiscoNode>> {
    let scope = if cx.account.is_some() { Scope::Account } else { Scope::Host };
    node.and_then(|name| cx.host.profile.disco_node(scope, name))
}

/// The server itself.
pub(crate) const SERVER: Identity =
    Identity { category: "server", kind: "im", name: Some("Stentor") };
const ACCOUNT: Identity = Identity { category: "account", kind: "registered", name: None };
const VISITOR: Identity = Identity { category: "account", kind: "anonymous", name: None };
