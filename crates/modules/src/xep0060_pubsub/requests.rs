//! From a request to what it changes, what it tells and its answer.

use std::sync::Arc;

use stentor_engine::{Account, AccountState, IqCx, OnGet, OnSet, refuse};
use stentor_jid::{BareJid, Jid};
use stentor_payload::xep0004_forms::FormKind;
use stentor_payload::xep0060_pubsub::{Get, OwnerGet, OwnerSet, Publish, Set, unsupported};
use stentor_stanza::{Condition, Stanza, StanzaError};
use stentor_store::Stage;

use super::config::{LastItem, NodeConfig};
use super::event::News;
use super::items::{self, Wanted};
use super::nodes::{Nodes, Subscription};
use super::reply::{Reply, Subscribed};
use super::{Publication, asker_of, authorize, manage, not_ready, parties, publish};
use crate::xep0163_pep::{Pep, last, spread};

impl OnGet<Get> for Pep {
    type Reply = Reply;

    async fn get(&self, cx: &IqCx<'_>, ask: Get) -> Result<Reply, StanzaError> {
        let account = self.open(cx).await?;
        let who = asker_of(cx)?;
        match ask {
            Get::Items { node, ids, max_items, page } => {
                let wanted = Wanted { node, ids, max_items, page };
                items::read(cx, account, wanted).await.map(Reply::Items)
            }
            Get::Subscriptions(only) => {
                let list = parties::own_subscriptions(&account.lock(), &who, only.as_deref())?;
                Ok(Reply::Subscriptions { of_node: only, is_owners: false, list })
            }
            Get::Affiliations(only) => {
                let state = account.lock();
                let list = parties::own_affiliations(&account.jid, &state, &who, only.as_deref())?;
                Ok(Reply::Affiliations { of_node: only, is_owners: false, list })
            }
            Get::Options => Err(unsupported("subscription-options")),
            Get::DefaultOptions => Err(unsupported("retrieve-default-sub")),
        }
    }
}

impl OnSet<Set> for Pep {
    type Reply = Reply;

    async fn set(&self, cx: &IqCx<'_>, set: Set) -> Result<Reply, StanzaError> {
        let account = self.open(cx).await?;
        let who = asker_of(cx)?;
        match set {
            Set::Publish(publish) => self.publish(cx, account, &who, publish).await,
            Set::Retract { node, ids, notify } => {
                change(cx, account, |state, stage| {
                    let told = publish::retract(account, state, &who, (&node, ids), notify, stage)?;
                    Ok((Reply::Done, told.into_iter().collect()))
                })
                .await
            }
            Set::Create { node, config } => {
                check_owner(account, &who)?;
                let is_named = node.is_some();
                let now_ms = cx.engine.clock.unix_ms();
                change(cx, account, |state, stage| {
                    let wish = (node, config.as_ref());
                    let name = manage::create(account, state, &self.limits, wish, now_ms, stage)?;
                    // §8.1.1: the name is told where it is the service's.
                    let reply = if is_named { Reply::Done } else { Reply::Created(name) };
                    Ok((reply, Vec::new()))
                })
                .await
            }
            Set::Subscribe { node, jid } => subscribe(cx, account, &who, node, jid).await,
            Set::Unsubscribe { node, jid } => {
                change(cx, account, |state, stage| {
                    parties::unsubscribe(account, state, &who, &node, &jid, stage)?;
                    Ok((Reply::Done, Vec::new()))
                })
                .await
            }
            Set::Options => Err(unsupported("subscription-options")),
        }
    }
}

impl OnGet<OwnerGet> for Pep {
    type Reply = Reply;

    async fn get(&self, cx: &IqCx<'_>, ask: OwnerGet) -> Result<Reply, StanzaError> {
        let account = self.open(cx).await?;
        if let OwnerGet::Default = ask {
            return Ok(Reply::Default(NodeConfig::default().form(FormKind::Form)));
        }
        check_owner(account, &asker_of(cx)?)?;
        let state = account.lock();
        match ask {
            OwnerGet::Configure(name) => {
                let nodes = Nodes::of(&state).ok_or(not_ready())?;
                let node = nodes.find(&name).ok_or(StanzaError::new(Condition::ItemNotFound))?;
                let form = node.config.form(FormKind::Form);
                Ok(Reply::Configuration { node: name, form })
            }
            OwnerGet::Default => Ok(Reply::Done),
            OwnerGet::Subscriptions(name) => {
                let list = parties::all_subscriptions(&state, &name)?;
                Ok(Reply::Subscriptions { of_node: Some(name), is_owners: true, list })
            }
            OwnerGet::Affiliations(name) => {
                let list = parties::all_affiliations(&account.jid, &state, &name)?;
                Ok(Reply::Affiliations { of_node: Some(name), is_owners: true, list })
            }
        }
    }
}

impl OnSet<OwnerSet> for Pep {
    type Reply = Reply;

    async fn set(&self, cx: &IqCx<'_>, set: OwnerSet) -> Result<Reply, StanzaError> {
        let account = self.open(cx).await?;
        check_owner(account, &asker_of(cx)?)?;
        let done = |news: Vec<News>| Ok((Reply::Done, news));
        match set {
            OwnerSet::Configure { node, form } => {
                change(cx, account, |state, stage| {
                    let wish = (node.as_str(), &form);
                    done(manage::configure(account, state, &self.limits, wish, stage)?)
                })
                .await
            }
            OwnerSet::Purge(node) => {
                change(cx, account, |state, stage| {
                    done(manage::purge(account, state, &node, stage)?)
                })
                .await
            }
            OwnerSet::Delete { node, redirect } => {
                let ticket = {
                    let mut state = account.lock();
                    let mut stage = Stage::new();
                    let wish = (node.as_str(), redirect.as_deref());
                    let (node, news) = manage::delete(account, &mut state, wish, &mut stage)?;
                    if node.config.notifies_deletion {
                        spread::tell(cx.engine, account, &state, &node, news);
                    }
                    cx.engine.stores.writer.submit(stage)
                };
                finish(cx, account, ticket).await.map(|()| Reply::Done)
            }
            OwnerSet::Subscriptions { node, changes } => {
                change_and_tell(cx, account, |state, stage| {
                    parties::change_subscriptions(account, state, &node, &changes, stage)
                })
                .await
            }
            OwnerSet::Affiliations { node, changes } => {
                change_and_tell(cx, account, |state, stage| {
                    parties::change_affiliations(account, state, &node, &changes, stage)
                })
                .await
            }
        }
    }
}

impl Pep {
    async fn publish(
        &self,
        cx: &IqCx<'_>,
        account: &Arc<Account>,
        who: &BareJid,
        wish: Publish,
    ) -> Result<Reply, StanzaError> {
        let Publish { node, items, options } = wish;
        let is_named = items.iter().all(|item| item.id.is_some());
        let own = cx.session.filter(|session| Arc::ptr_eq(&session.account, account));
        let session = own.map(|session| &session.resource);
        change(cx, account, |state, stage| {
            let (name, options) = (node.as_str(), options.as_ref());
            let usual = NodeConfig::default();
            let publication = Publication { node: name, items, options, usual, by: who, session };
            let published =
                publish::publish(cx.engine, account, state, &self.limits, publication, stage)?;
            // §7.1.2: the id is told where it is the service's.
            let ids = if is_named { Vec::new() } else { published.ids };
            Ok((Reply::Published { node: node.clone(), ids }, published.news))
        })
        .await
    }

    /// The account as a service, its nodes in memory.
    ///
    /// # Errors
    /// `service-unavailable`: the account is never stored (RFC 4505).
    pub(crate) async fn open<'a>(&self, cx: &'a IqCx<'_>) -> Result<&'a Arc<Account>, StanzaError> {
        let account = cx.account.filter(|account| !account.is_ephemeral);
        let account = account.ok_or(StanzaError::new(Condition::ServiceUnavailable))?;
        super::nodes::load(cx.engine, account).await.map_err(|e| refuse::store_error(&e))?;
        Ok(account)
    }
}

async fn subscribe(
    cx: &IqCx<'_>,
    account: &Arc<Account>,
    who: &BareJid,
    name: String,
    jid: Jid,
) -> Result<Reply, StanzaError> {
    let (outcome, ticket) = {
        let mut state = account.lock();
        let mut stage = Stage::new();
        let outcome = parties::subscribe(account, &mut state, who, &name, &jid, &mut stage)?;
        if outcome.is_new {
            let node = Nodes::of(&state).and_then(|nodes| nodes.find(&name));
            let is_last_sent = node.is_some_and(|n| n.config.last_item != LastItem::Never);
            match outcome.subscription {
                Subscription::Pending => authorize::ask(cx.engine, account, &name, &jid),
                // §6.1.7.
                Subscription::Subscribed if is_last_sent => {
                    last::tell_of_node(cx.engine, account, &name, &jid);
                }
                Subscription::Subscribed => {}
            }
        }
        (outcome, cx.engine.stores.writer.submit(stage))
    };
    finish(cx, account, ticket).await?;
    let subscription = outcome.subscription.name();
    Ok(Reply::Subscription(Subscribed { node: Some(name), jid, subscription }))
}

/// §8.2.3.2, §8.4.3.1 and their kin: only for the owner.
fn check_owner(account: &Account, who: &BareJid) -> Result<(), StanzaError> {
    if *who == account.jid { Ok(()) } else { Err(StanzaError::new(Condition::Forbidden)) }
}

/// Makes a change under the account's lock, tells of it in its order, and waits for its commit.
async fn change(
    cx: &IqCx<'_>,
    account: &Arc<Account>,
    make: impl FnOnce(&mut AccountState, &mut Stage) -> Result<(Reply, Vec<News>), StanzaError>,
) -> Result<Reply, StanzaError> {
    if !cx.engine.stores.writer.has_room() {
        return Err(StanzaError::new(Condition::ResourceConstraint));
    }
    let (reply, ticket) = {
        let mut state = account.lock();
        let mut stage = Stage::new();
        let (reply, news) = make(&mut state, &mut stage)?;
        for news in news {
            spread::tell_of(cx.engine, account, &state, news);
        }
        (reply, cx.engine.stores.writer.submit(stage))
    };
    finish(cx, account, ticket).await?;
    Ok(reply)
}

/// The same for a change that is told to single entities.
async fn change_and_tell(
    cx: &IqCx<'_>,
    account: &Arc<Account>,
    make: impl FnOnce(&mut AccountState, &mut Stage) -> Result<Vec<Stanza>, StanzaError>,
) -> Result<Reply, StanzaError> {
    let ticket = {
        let mut state = account.lock();
        let mut stage = Stage::new();
        for message in make(&mut state, &mut stage)? {
            spread::tell_one(cx.engine, account, message);
        }
        cx.engine.stores.writer.submit(stage)
    };
    finish(cx, account, ticket).await.map(|()| Reply::Done)
}

async fn finish(
    cx: &IqCx<'_>,
    account: &Arc<Account>,
    ticket: stentor_store::Ticket,
) -> Result<(), StanzaError> {
    account.catch_up().await;
    cx.engine.settle(account, ticket).await.map_err(|e| refuse::store_error(&e))
}
