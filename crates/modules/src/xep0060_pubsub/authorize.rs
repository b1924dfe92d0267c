//! Subscriptions that the owner must approve (§8.6): the question to the owner, and the answer.

use std::sync::Arc;

use stentor_engine::{
    Account, Cx, Direction, Engine, Look, Lookup, Passing, Screen, Verdict, random_id,
};
use stentor_jid::{BareJid, Jid};
use stentor_payload::Encode;
use stentor_payload::xep0004_forms::{Field, FieldKind, Form, FormKind};
use stentor_payload::xep0060_pubsub::AUTHORIZATION;
use stentor_stanza::{Head, Id, Kind, MessageType, Stanza};
use stentor_store::{Stage, StoreError};

use super::nodes::{self, Nodes, Subscription};
use super::parties;
use crate::xep0163_pep::{last, spread};

/// Takes the owner's answers, which are messages to the account itself.
pub(crate) struct Approval;

/// Asks the owner about a subscription.
pub(crate) fn ask(engine: &Arc<Engine>, account: &Arc<Account>, node: &str, subscriber: &Jid) {
    let owner = &account.jid;
    let mut head = Head::new(Kind::Message(MessageType::Normal)).from(owner.clone());
    head = head.to(owner.clone());
    head.id = random_id().ok().map(Id::from);
    let form = Form {
        title: Some("Subscription request".into()),
        instructions: vec![
            "Approve or deny this request to subscribe to one of your nodes.".into(),
        ],
        ..Form::new(FormKind::Form)
    };
    let node = Field::new(FieldKind::TextSingle, NODE).label("Node").value(node);
    let who = Field::new(FieldKind::JidSingle, SUBSCRIBER).label("Subscriber");
    let allow = Field::new(FieldKind::Boolean, ALLOW).label("Allow it to subscribe?");
    let form = form
        .of_type(AUTHORIZATION)
        .with(node)
        .with(who.value(subscriber.as_str()))
        .with(allow.value("false"));
    spread::tell_one(engine, account, Stanza::build(head, |w| form.encode(w)));
}

/// The owner's decision about a subscription.
struct Decision {
    node: String,
    subscriber: Jid,
    is_allowed: bool,
}

impl Approval {
    /// Whether a message from the owner to itself is an answer.
    fn form(owner: &BareJid, stanza: &Stanza) -> Option<Form> {
        let to = stanza.head.to.as_ref()?;
        let from = stanza.head.from.as_ref()?;
        stanza.message_type().filter(|kind| *kind != MessageType::Error)?;
        if to.as_str() != owner.as_str() || from.bare_str() != owner.as_str() || from.is_bare() {
            return None;
        }
        let mut forms = stanza.children().filter(|c| c.is(stentor_payload::xep0004_forms::NS, "x"));
        let form = <Form as stentor_payload::Decode>::decode(forms.next()?).ok()?;
        let is_answer = matches!(form.kind, FormKind::Submit | FormKind::Cancel);
        (is_answer && form.form_type() == Some(AUTHORIZATION)).then_some(form)
    }
}

impl Decision {
    /// What a form says; none if it is given up, or says nothing.
    fn read(form: &Form) -> Option<Self> {
        if form.kind != FormKind::Submit {
            return None;
        }
        let field = |var| form.field(var);
        Some(Self {
            node: field(NODE)?.first()?.to_owned(),
            subscriber: field(SUBSCRIBER)?.as_jid()?,
            is_allowed: field(ALLOW)?.as_bool()?,
        })
    }
}

impl Lookup for Approval {
    fn look_up(&self, passing: &Passing<'_>) -> Option<Look> {
        if passing.direction != Direction::Received {
            return None;
        }
        let decision = Decision::read(&Self::form(passing.account, passing.stanza)?)?;
        let (engine, owner) = (passing.engine.clone(), passing.account.clone());
        Some(Box::pin(async move {
            if let Some(account) = engine.account(&owner).await? {
                decide(&engine, &account, &decision).await?;
            }
            Ok(None)
        }))
    }
}

impl Screen for Approval {
    fn screen(&self, cx: &Cx<'_>, stanza: &Stanza, _: &stentor_engine::AccountState) -> Verdict {
        // It was for the service.
        let is_answer = cx.is_to_self && Self::form(&cx.account.jid, stanza).is_some();
        if is_answer { Verdict::Drop } else { Verdict::Pass }
    }
}

async fn decide(
    engine: &Arc<Engine>,
    account: &Arc<Account>,
    decision: &Decision,
) -> Result<(), StoreError> {
    nodes::load(engine, account).await?;
    let ticket = {
        let mut state = account.lock();
        let Decision { node: name, subscriber, is_allowed } = decision;
        let node = Nodes::of_mut(&mut state).and_then(|nodes| nodes.find_mut(name));
        let Some(node) = node else { return Ok(()) };
        // What nobody asked for, or has been decided, is not decided again.
        if node.subscriptions.get(subscriber) != Some(&Subscription::Pending) {
            return Ok(());
        }
        let next = is_allowed.then_some(Subscription::Subscribed);
        let mut stage = Stage::new();
        parties::put_subscription(&account.jid, node, name, subscriber, next, &mut stage);
        let message = parties::subscription_message(&account.jid, name, node, subscriber, next);
        spread::tell_one(engine, account, message);
        if *is_allowed {
            last::tell_of_node(engine, account, name, subscriber);
        }
        engine.stores.writer.submit(stage)
    };
    account.catch_up().await;
    engine.settle(account, ticket).await
}

const NODE: &str = "pubsub#node";
const SUBSCRIBER: &str = "pubsub#subscriber_jid";
const ALLOW: &str = "pubsub#allow";
