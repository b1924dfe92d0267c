//! Commands about the server as a whole.

use std::path::PathBuf;

use serde::Deserialize;
use serde_json::json;

use crate::command::{AdminError, Spec, input};
use crate::{Host, Wish};

pub(crate) const STATUS: Spec = Spec::new("status", "Tell how the server is.", |cx, _| {
    Box::pin(async move {
        let engine = &cx.engine;
        let hosts: Vec<String> = engine.hosts.load().iter().map(|h| h.domain.to_string()).collect();
        let mut accounts = 0;
        for host in &hosts {
            accounts += engine.stores.accounts.count(host).await?;
        }
        let metrics = &engine.metrics;
        Ok(json!({
            "version": env!("CARGO_PKG_VERSION"),
            "running": cx.wishes.is_some(),
            "uptime_secs": (engine.clock.unix_ms() - engine.started_ms) / 1_000,
            "hosts": hosts,
            "accounts": accounts,
            "sessions": metrics.sessions.get(),
            "messages_in": metrics.messages_in.get(),
            "offline_stored": metrics.offline_stored.get(),
            "offline_delivered": metrics.offline_delivered.get(),
            "sign_ins": metrics.sign_ins.get(),
            "sign_ins_failed": metrics.sign_ins_failed.get(),
        }))
    })
});

pub(crate) const BACKUP: Spec =
    Spec::new("backup", "Copy the database to a file, while it is in use.", |cx, value| {
        Box::pin(async move {
            let Destination { path } = input(value)?;
            if !path.is_absolute() {
                return Err(AdminError::Refused("name the file by its whole path".into()));
            }
            (cx.back_up)(path.clone()).await.map_err(AdminError::Refused)?;
            tracing::info!(event = "backup", path = %path.display(), "The database was copied.");
            Ok(json!({ "path": path }))
        })
    });

pub(crate) const RELOAD: Spec = Spec::new("reload", "Read the configuration again.", |cx, _| {
    Box::pin(async move {
        let (answer, told) = tokio::sync::oneshot::channel();
        wish(&cx, Wish::Reload(answer)).await?;
        let outcome =
            told.await.map_err(|_| AdminError::Refused("the server is stopping".into()))?;
        outcome.map(|words| json!({ "told": words })).map_err(AdminError::Refused)
    })
});

pub(crate) const STOP: Spec = Spec::new("stop", "Stop the server in good order.", |cx, _| {
    Box::pin(async move {
        wish(&cx, Wish::Stop).await?;
        Ok(json!({ "stopping": true }))
    })
});

#[derive(Deserialize)]
struct Destination {
    path: PathBuf,
}

async fn wish(cx: &Host, wish: Wish) -> Result<(), AdminError> {
    let nobody = || AdminError::Refused("no server is running on this data folder".into());
    let wishes = cx.wishes.as_ref().ok_or_else(nobody)?;
    wishes.send(wish).await.map_err(|_| nobody())
}
