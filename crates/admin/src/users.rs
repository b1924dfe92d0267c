//! Commands about accounts.

use serde::Deserialize;
use serde_json::{Value, json};
use stentor_engine::BoxFuture;
use stentor_jid::BareJid;

use crate::command::{AdminError, Answer, Cx, Spec, input};
use crate::limits::PAGE_ROWS;

pub(crate) const ADD: Spec = Spec::new("account-add", "Make an account.", |cx, value| {
    boxed(async move {
        let Credentials { jid, password } = input(value)?;
        let jid = address(&jid)?;
        cx.engine.create_account(&jid, password).await?;
        tracing::info!(event = "account_added", account = %jid, "An account was made.");
        Ok(json!({ "jid": jid.as_str() }))
    })
});

pub(crate) const LIST: Spec = Spec::new("account-list", "List accounts.", |cx, value| {
    boxed(async move {
        let ListInput { host } = input(value)?;
        let hosts: Vec<String> = match host {
            Some(host) => vec![host],
            None => cx.engine.hosts.load().iter().map(|h| h.domain.to_string()).collect(),
        };
        let mut rows = Vec::new();
        for host in hosts {
            let mut after: Option<BareJid> = None;
            loop {
                let page = cx.engine.stores.accounts.list(&host, after.as_ref(), PAGE_ROWS).await?;
                let Some(last) = page.last() else { break };
                after = Some(last.owner.clone());
                for row in page {
                    let account = cx.engine.directory.find(row.owner.as_str());
                    let sessions = account.map_or(0, |a| a.resources().len());
                    rows.push(json!({
                        "jid": row.owner.as_str(),
                        "created_ms": row.created_ms,
                        "suspended": row.is_suspended,
                        "sessions": sessions,
                    }));
                }
            }
        }
        Ok(Value::Array(rows))
    })
});

pub(crate) const PASSWORD: Spec =
    Spec::new("account-password", "Set an account's password.", |cx, value| {
        boxed(async move {
            let Credentials { jid, password } = input(value)?;
            let jid = address(&jid)?;
            cx.engine.set_password(&jid, password).await?;
            tracing::info!(event = "password_set", account = %jid, "A password was set.");
            Ok(json!({ "jid": jid.as_str() }))
        })
    });

pub(crate) const DELETE: Spec =
    Spec::new("account-delete", "Delete an account with all it owns.", |cx, value| {
        boxed(async move {
            let jid = one(value)?;
            cx.engine.delete_account(&jid).await?;
            tracing::info!(event = "account_deleted", account = %jid, "An account was deleted.");
            Ok(json!({ "jid": jid.as_str() }))
        })
    });

pub(crate) const SUSPEND: Spec =
    Spec::new("account-suspend", "Keep an account from signing in.", |cx, value| {
        boxed(suspend(cx, value, true))
    });

pub(crate) const RESUME: Spec =
    Spec::new("account-resume", "Let a suspended account sign in again.", |cx, value| {
        boxed(suspend(cx, value, false))
    });

pub(crate) const UNLOCK: Spec =
    Spec::new("account-unlock", "Forget an account's failed sign-ins.", |cx, value| {
        boxed(async move {
            let jid = one(value)?;
            let was_counted = cx.engine.credentials.guard.forgive_account(&jid);
            Ok(json!({ "jid": jid.as_str(), "had_failures": was_counted }))
        })
    });

#[derive(Deserialize)]
struct Credentials {
    jid: String,
    password: String,
}

#[derive(Deserialize)]
struct One {
    jid: String,
}

#[derive(Deserialize)]
struct ListInput {
    host: Option<String>,
}

async fn suspend(cx: Cx, value: Value, is_suspended: bool) -> Answer {
    let jid = one(value)?;
    cx.engine.suspend_account(&jid, is_suspended).await?;
    tracing::info!(event = "account_suspended", account = %jid, is_suspended, "An account was suspended, or that was lifted.");
    Ok(json!({ "jid": jid.as_str(), "suspended": is_suspended }))
}

fn one(value: Value) -> Result<BareJid, AdminError> {
    address(&input::<One>(value)?.jid)
}

fn address(text: &str) -> Result<BareJid, AdminError> {
    let jid = BareJid::new(text)
        .map_err(|error| AdminError::Refused(format!("`{text}` is no address: {error}")))?;
    if jid.local().is_none() {
        return Err(AdminError::Refused(format!("`{text}` names no account: write `name@{jid}`")));
    }
    Ok(jid)
}

fn boxed(future: impl Future<Output = Answer> + Send + 'static) -> BoxFuture<'static, Answer> {
    Box::pin(future)
}
