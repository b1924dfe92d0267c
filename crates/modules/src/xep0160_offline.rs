//! XEP-0160: Best Practices for Handling Offline Messages, version 1.0.1.
//!
//! Keeps messages for accounts of which no resource takes them; those that are archived by their
//! id in the archive.
//! Implements: §2 (flow), §4 (discovery); §3 (which messages) is `engine/src/worth`.
//! Left out: nothing. Handing them over, stamped (XEP-0203), is `engine/src/backlog.rs`.

use std::sync::Arc;

use serde::Deserialize;
use stentor_engine::kept::{About, Became};
use stentor_engine::worth::Offline as Worth;
use stentor_engine::{
    AccountState, BoxFuture, Chore, Cx, Engine, Factory, Host, Miss, Module, OptionDoc, Registrar,
    Resource, Scope, Spec, Status, Taken, Xep, backlog,
};
use stentor_stanza::{Condition, Stanza, StanzaError};
use stentor_store::{OfflineBody, Stage, StoreError, Write};

use crate::xep0013_offline;

/// The module.
pub(crate) const MODULE: Factory = Factory::of::<Offline>();

struct Offline {
    config: Config,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Config {
    messages_max: u64,
    bytes_max: u64,
    expire_days: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self { messages_max: 10_000, bytes_max: 64 * 1024 * 1024, expire_days: 0 }
    }
}

impl Module for Offline {
    const SPEC: &'static Spec = &Spec {
        name: "offline",
        xeps: &[
            Xep { number: 13, version: "1.3", status: Status::Complete, note: "" },
            Xep { number: 160, version: "1.0.1", status: Status::Complete, note: "" },
            Xep { number: 203, version: "2.0", status: Status::Complete, note: "" },
        ],
        requires: &[],
        options: &[
            OptionDoc {
                key: "messages_max",
                default: "10000",
                help: "Messages kept for one account; the next comes back with `service-unavailable`.",
            },
            OptionDoc {
                key: "bytes_max",
                default: "67108864",
                help: "Bytes kept for one account; beyond, the same.",
            },
            OptionDoc {
                key: "expire_days",
                default: "0",
                help: "Days after which a message that nobody fetched is removed; 0 keeps it for ever.",
            },
        ],
    };
    type Config = Config;

    fn build(config: Config) -> Result<Self, String> {
        Ok(Self { config })
    }

    fn register(self: Arc<Self>, r: &mut Registrar) {
        r.disco_stored(Scope::Host, &[MSGOFFLINE]);
        r.miss(self.clone());
        r.chore(self);
        xep0013_offline::register(r);
    }
}

impl Miss for Offline {
    fn miss(
        &self,
        cx: &Cx<'_>,
        stanza: &Stanza,
        kept: Option<u64>,
        state: &mut AccountState,
        stage: &mut Stage,
    ) -> Taken {
        if cx.account.is_ephemeral {
            return Taken::No;
        }
        match cx.worth.of(stanza).offline {
            // What visitors without an account write is not kept.
            Worth::Keep if is_from_visitor(cx, stanza) => {
                return Taken::Refused(StanzaError::new(Condition::NotAllowed));
            }
            Worth::Keep => {}
            Worth::Drop => return Taken::Dropped,
            Worth::Return => return Taken::No,
        }
        // What the archive keeps is not kept twice.
        let body = match kept {
            Some(id) => OfflineBody::Archived(id),
            None => OfflineBody::Bytes(stanza.to_bytes()),
        };
        let size = match &body {
            OfflineBody::Archived(_) => cx.bytes.of(stanza).len(),
            OfflineBody::Bytes(bytes) => bytes.len(),
        } as u64;
        let is_full = state.offline.count >= self.config.messages_max
            || state.offline.bytes.saturating_add(size) > self.config.bytes_max;
        let about = About::of(stanza, &cx.account.jid, size);
        if is_full || !cx.engine.stores.writer.has_room() {
            let became = if is_full { Became::OverQuota } else { Became::Busy };
            cx.engine.note_kept(about, became);
            if is_full {
                cx.engine.note_full(cx.host, &cx.account.jid);
            }
            return Taken::Refused(full(is_full));
        }
        state.offline.count += 1;
        state.offline.bytes += size;
        state.offline.stored = state.offline.stored.wrapping_add(1);
        state.offline.is_waiting = true;
        stage.push(Write::StoreOffline {
            owner: cx.account.jid.clone(),
            received_ms: cx.now_ms,
            body,
        });
        let is_negative = |r: &Arc<Resource>| r.priority().is_some_and(|priority| priority < 0);
        let is_there = state.resources().iter().any(is_negative);
        let became = if is_there { Became::StoredForNegative } else { Became::Stored };
        cx.engine.note_kept(about, became);
        Taken::Kept
    }
}

impl Chore for Offline {
    fn run<'a>(&'a self, engine: &'a Arc<Engine>, host: &'a Arc<Host>) -> BoxFuture<'a, ()> {
        let kept_ms = i64::from(self.config.expire_days).saturating_mul(DAY_MS);
        Box::pin(async move {
            if kept_ms == 0 {
                return;
            }
            let before_ms = engine.clock.unix_ms().saturating_sub(kept_ms);
            if let Err(error) = expire(engine, &host.domain, before_ms).await {
                tracing::error!(event = "store_failed", domain = &*host.domain, %error, "Messages that nobody fetched could not be removed.");
            }
        })
    }
}

async fn expire(engine: &Engine, host: &str, before_ms: i64) -> Result<(), StoreError> {
    let mut last = None;
    loop {
        let owners = engine.stores.offline.overdue(host, before_ms, last.as_ref()).await?;
        for owner in &owners {
            backlog::expire(engine, owner, before_ms).await?;
        }
        let Some(owner) = owners.into_iter().next_back() else { return Ok(()) };
        last = Some(owner);
    }
}

/// §2: a full store is `service-unavailable`. A writer that falls behind is ours to mend.
fn full(is_full: bool) -> StanzaError {
    if is_full {
        StanzaError::new(Condition::ServiceUnavailable)
            .with_text("The recipient's mailbox is full.")
    } else {
        StanzaError::new(Condition::ResourceConstraint)
    }
}

fn is_from_visitor(cx: &Cx<'_>, stanza: &Stanza) -> bool {
    let domain = stanza.head.from.as_ref().map(stentor_jid::Jid::domain);
    let host = domain.and_then(|domain| cx.engine.host(domain));
    host.is_some_and(|host| host.profile.settings.is_anonymous)
}

/// The feature (§4).
const MSGOFFLINE: &str = "msgoffline";

const DAY_MS: i64 = 86_400_000;
