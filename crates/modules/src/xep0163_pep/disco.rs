//! The nodes of an account in service discovery (XEP-0060 §5.2 to §5.5): to each asker those that it
//! may read.

use stentor_engine::{Account, BoxFuture, DiscoNodes, IqCx, NodeInfo, NodeItem, refuse};
use stentor_jid::BareJid;
use stentor_payload::xep0004_forms::{Field, FieldKind, Form, FormKind};
use stentor_payload::xep0060_pubsub::{META_DATA, NS};
use stentor_payload::xep0082_time;
use stentor_stanza::StanzaError;

use crate::xep0060_pubsub::Asker;
use crate::xep0060_pubsub::nodes::{self, Node, Nodes};

/// Answers for the nodes of accounts.
pub(super) struct Listing;

impl DiscoNodes for Listing {
    fn info<'a>(
        &'a self,
        cx: &'a IqCx<'a>,
        node: &'a str,
    ) -> BoxFuture<'a, Result<Option<NodeInfo>, StanzaError>> {
        Box::pin(async move {
            read(cx, |owner, nodes, may_read| {
                let node = nodes.find(node).filter(|node| may_read(node))?;
                Some(NodeInfo {
                    category: "pubsub",
                    kind: "leaf",
                    features: vec![NS],
                    form: Some(meta_data(owner, node)),
                })
            })
            .await
        })
    }

    fn items<'a>(
        &'a self,
        cx: &'a IqCx<'a>,
        node: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Option<Vec<NodeItem>>, StanzaError>> {
        let now_ms = cx.engine.clock.unix_ms();
        Box::pin(async move {
            read(cx, |owner, nodes, may_read| {
                let item = |node: Option<&str>, name: Option<&str>| NodeItem {
                    jid: owner.to_string(),
                    node: node.map(str::to_owned),
                    name: name.map(str::to_owned),
                };
                let Some(name) = node else {
                    // XEP-0163 §6.2.
                    let seen = nodes.iter().filter(|(_, node)| may_read(node));
                    let title =
                        |node: &Node| Some(node.config.title.clone()).filter(|t| !t.is_empty());
                    return Some(
                        seen.map(|(n, node)| item(Some(n), title(node).as_deref())).collect(),
                    );
                };
                let node = nodes.find(name).filter(|node| may_read(node))?;
                // §5.5: an item has no node of its own.
                Some(node.items(now_ms).iter().map(|i| item(None, Some(&i.id))).collect())
            })
            .await
        })
    }
}

/// Looks at the nodes of the account asked; nothing for one that has none.
async fn read<T>(
    cx: &IqCx<'_>,
    look: impl FnOnce(&BareJid, &Nodes, &dyn Fn(&Node) -> bool) -> Option<T>,
) -> Result<Option<T>, StanzaError> {
    let (Some(account), Some(from)) = (cx.account, cx.from) else { return Ok(None) };
    let account: &Account = account;
    if account.is_ephemeral {
        return Ok(None);
    }
    nodes::load(cx.engine, account).await.map_err(|e| refuse::store_error(&e))?;
    let state = account.lock();
    let who = from.to_bare();
    let asker = Asker { owner: &account.jid, roster: &state.roster, who: &who };
    let Some(nodes) = Nodes::of(&state) else { return Ok(None) };
    Ok(look(&account.jid, nodes, &|node| asker.may_read(node).is_ok()))
}

/// §5.4.
fn meta_data(owner: &BareJid, node: &Node) -> Form {
    let subscribers = node.subscriptions.len().to_string();
    let fields = [
        (FieldKind::TextSingle, "pubsub#title", node.config.title.clone()),
        (FieldKind::TextSingle, "pubsub#description", node.config.description.clone()),
        (FieldKind::TextSingle, "pubsub#type", node.config.kind.clone()),
        (FieldKind::TextSingle, "pubsub#language", node.config.language.clone()),
        (FieldKind::ListSingle, "pubsub#access_model", node.config.access.name()),
        (FieldKind::ListSingle, "pubsub#publish_model", node.config.publishers.name()),
        (FieldKind::TextSingle, "pubsub#max_items", node.config.max_items.show()),
        (FieldKind::TextSingle, "pubsub#creation_date", xep0082_time::write(node.created_ms)),
        (FieldKind::JidMulti, "pubsub#owner", owner.to_string()),
        (FieldKind::TextSingle, "pubsub#num_subscribers", subscribers),
    ];
    let said = fields.into_iter().filter(|(.., value)| !value.is_empty());
    let form = said
        .fold(Form::new(FormKind::Result).of_type(META_DATA), |form, (kind, var, value)| {
            form.with(Field::new(kind, var).value(value))
        });
    if node.config.contacts.is_empty() {
        return form;
    }
    let mut contacts = Field::new(FieldKind::JidMulti, "pubsub#contact");
    contacts.values.clone_from(&node.config.contacts);
    form.with(contacts)
}
