//! XEP-0050: Ad-Hoc Commands, version 1.3.0.
//!
//! Lets users execute the commands of their accounts in any client that can show a form.
//! Implements: §2.1, §2.2 (finding them), §2.4 (executing, completing, cancelling), §3.3 (sessions),
//! §4.4 (errors), for commands of one form each.
//! Left out: §2.3 (announcing them unasked), which is optional; stages before and after the form,
//! which no command has.
//! Status: complete

use std::collections::VecDeque;
use std::sync::Arc;

use stentor_engine::commands::{Command as Executes, NotCompleted};
use stentor_engine::{
    BoxFuture, DiscoNode, DiscoNodes, Factory, IqCx, Module, NoConfig, NodeInfo, NodeItem, OnSet,
    Registrar, Resource, Scope, Spec, Status, Xep, random_id,
};
use stentor_payload::xep0004_forms::NS as NS_FORM;
use stentor_payload::xep0050_commands::{Action, Command, Executed, NS, Progress};
use stentor_stanza::{Condition, StanzaError};

use crate::limits::COMMAND_SESSIONS_MAX;

/// The module.
pub(crate) const MODULE: Factory = Factory::of::<Commands>();

struct Commands;

impl Module for Commands {
    const SPEC: &'static Spec = &Spec {
        name: "commands",
        xeps: &[Xep { number: 50, version: "1.3.0", status: Status::Complete, note: "" }],
        requires: &["disco"],
        options: &[],
    };
    type Config = NoConfig;

    fn build(_: NoConfig) -> Result<Self, String> {
        Ok(Self)
    }

    fn register(self: Arc<Self>, r: &mut Registrar) {
        r.set::<Command, _>(Scope::Account, &self);
        r.disco_stored(Scope::Account, &[NS]);
        r.disco_node(Scope::Account, NS, self.clone());
        r.account_nodes(self);
    }
}

/// The sessions of commands that a client has begun of late, those begun last behind. They end with
/// its own.
#[derive(Clone, Default)]
struct Sessions(VecDeque<Begun>);

#[derive(Clone)]
struct Begun {
    id: String,
    node: String,
    is_over: bool,
}

impl OnSet<Command> for Commands {
    type Reply = Executed;

    async fn set(&self, cx: &IqCx<'_>, ask: Command) -> Result<Executed, StanzaError> {
        let (session, _) = cx.own_stored_account()?;
        let client = &session.resource;
        let Some(command) = find(cx, &ask.node) else {
            return Err(StanzaError::new(Condition::ItemNotFound));
        };
        let Some(id) = ask.session else {
            if !matches!(ask.action, Action::Execute) {
                return Err(bad_request("bad-action"));
            }
            let form = command.form(cx)?;
            let random = random_id();
            let id = random.map_err(|_| StanzaError::new(Condition::InternalServerError))?;
            let id = id.to_string();
            Sessions::begin(client, &id, &ask.node);
            return Ok(Executed { node: ask.node, session: id, progress: Progress::Form(form) });
        };
        Sessions::check(client, &id, &ask.node)?;
        let progress = match ask.action {
            Action::Cancel => Progress::Canceled,
            // §3.4: here it is the same.
            Action::Execute | Action::Complete => {
                let form = ask.form.ok_or(bad_request("bad-payload"))?;
                Progress::Completed(command.complete(cx, form).await.map_err(refusal)?)
            }
            Action::Prev | Action::Next => return Err(bad_request("bad-action")),
        };
        Sessions::end(client, &id);
        Ok(Executed { node: ask.node, session: id, progress })
    }
}

impl Sessions {
    fn begin(client: &Resource, id: &str, node: &str) {
        let mut sessions = client.noted::<Self>().unwrap_or_default();
        if sessions.0.len() >= COMMAND_SESSIONS_MAX {
            sessions.0.pop_front();
        }
        let begun = Begun { id: id.to_owned(), node: node.to_owned(), is_over: false };
        sessions.0.push_back(begun);
        client.note(sessions);
    }

    fn check(client: &Resource, id: &str, node: &str) -> Result<(), StanzaError> {
        let sessions = client.noted::<Self>().unwrap_or_default();
        match sessions.0.iter().find(|begun| begun.id == id && begun.node == node) {
            None => Err(bad_request("bad-sessionid")),
            Some(Begun { is_over: true, .. }) => {
                Err(StanzaError::new(Condition::NotAllowed).with_app("session-expired", NS))
            }
            Some(_) => Ok(()),
        }
    }

    fn end(client: &Resource, id: &str) {
        let mut sessions = client.noted::<Self>().unwrap_or_default();
        sessions.0.iter_mut().filter(|b| b.id == id).for_each(|begun| begun.is_over = true);
        client.note(sessions);
    }
}

/// The list of commands (§2.2).
impl DiscoNode for Commands {
    fn info<'a>(&'a self, cx: &'a IqCx<'a>) -> BoxFuture<'a, Result<NodeInfo, StanzaError>> {
        Box::pin(async move {
            may_look(cx)?;
            let (category, kind) = ("automation", "command-list");
            Ok(NodeInfo { category, kind, features: vec![NS], form: None })
        })
    }

    fn items<'a>(&'a self, cx: &'a IqCx<'a>) -> BoxFuture<'a, Result<Vec<NodeItem>, StanzaError>> {
        Box::pin(async move {
            may_look(cx)?;
            let Some(account) = cx.account.filter(|_| cx.is_own_account()) else {
                return Ok(Vec::new());
            };
            let item = |(node, command): &(&str, Arc<dyn Executes>)| NodeItem {
                jid: account.jid.to_string(),
                node: Some((*node).to_owned()),
                name: Some(command.name().to_owned()),
            };
            Ok(cx.host.profile.commands().iter().map(item).collect())
        })
    }
}

/// The commands themselves.
impl DiscoNodes for Commands {
    fn info<'a>(
        &'a self,
        cx: &'a IqCx<'a>,
        node: &'a str,
    ) -> BoxFuture<'a, Result<Option<NodeInfo>, StanzaError>> {
        Box::pin(async move {
            if find(cx, node).is_none() {
                return Ok(None);
            }
            // §2.2: if it is not for the asker.
            cx.own_account()?;
            let (category, kind) = ("automation", "command-node");
            Ok(Some(NodeInfo { category, kind, features: vec![NS, NS_FORM], form: None }))
        })
    }

    fn items<'a>(
        &'a self,
        cx: &'a IqCx<'a>,
        node: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Option<Vec<NodeItem>>, StanzaError>> {
        Box::pin(async move {
            let is_one = node.is_some_and(|node| find(cx, node).is_some());
            Ok(is_one.then(Vec::new))
        })
    }
}

fn find<'a>(cx: &IqCx<'a>, node: &str) -> Option<&'a Arc<dyn Executes>> {
    let mut commands = cx.host.profile.commands().iter();
    commands.find(|(known, _)| *known == node).map(|(_, command)| command)
}

/// RFC 6121 §8.1: who may not see an account does not learn that it exists.
fn may_look(cx: &IqCx<'_>) -> Result<(), StanzaError> {
    if cx.sees_account() { Ok(()) } else { Err(StanzaError::new(Condition::ServiceUnavailable)) }
}

fn bad_request(name: &'static str) -> StanzaError {
    StanzaError::new(Condition::BadRequest).with_app(name, NS)
}

fn refusal(why: NotCompleted) -> StanzaError {
    match why {
        NotCompleted::Form(text) => bad_request("bad-payload").with_text(text),
        NotCompleted::Error(error) => error,
    }
}
