//! XEP-0160: Best Practices for Handling Offline Messages, version 1.0.1.
//!
//! Keeps messages for accounts of which no resource takes them; those that are archived by their
//! id in the archive.
//! Implements: §2 (flow), §4 (discovery); §3 (which messages) is `engine/src/worth`.
//! Left out: nothing. Handing them over, stamped (XEP-0203), is `engine/src/backlog.rs`.

use std::sync::Arc;

use serde::Deserialize;
use stentor_engine::worth::Offline as Worth;
use stentor_engine::{
    AccountState, Cx, Factory, Miss, Module, OptionDoc, Registrar, Scope, Spec, Status, Taken, Xep,
};
use stentor_stanza::{Condition, Stanza, StanzaError};
use stentor_store::{OfflineBody, Stage, Write};

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
}

impl Default for Config {
    fn default() -> Self {
        Self { messages_max: 10_000, bytes_max: 64 * 1024 * 1024 }
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
        ],
    };
    type Config = Config;

    fn build(config: Config) -> Result<Self, String> {
        Ok(Self { config })
    }

    fn register(self: Arc<Self>, r: &mut Registrar) {
        r.disco(Scope::Host, &[MSGOFFLINE]);
        r.miss(self);
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
        if is_full || !cx.engine.stores.writer.has_room() {
            cx.engine.metrics.offline_rejected.inc();
            return Taken::Refused(full(is_full));
        }
        state.offline.count += 1;
        state.offline.bytes += size;
        state.offline.stored += 1;
        state.offline.is_waiting = true;
        stage.push(Write::StoreOffline {
            owner: cx.account.jid.clone(),
            received_ms: cx.now_ms,
            body,
        });
        cx.engine.metrics.offline_stored.inc();
        Taken::Kept
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
