//! XEP-0012: Last Activity, version 2.0.
//!
//! Tells how long ago an account was last there, to those who may see its presence, and how long
//! the server has been running.
//! Implements: §3 (offline user), §4 (online user: the server answers for the account, sessions for
//! themselves; who may not ask is refused in `engine/src/ask.rs`), §5 (server uptime), §8 (security).
//! Left out: idle time of resources, which clients answer themselves.

use std::sync::Arc;

use stentor_engine::{
    Factory, IqCx, Module, NoConfig, OnGet, Registrar, Scope, Spec, Status, Xep, refuse,
};
use stentor_payload::xep0012_last::{Answer, Ask, NS};
use stentor_stanza::{Condition, StanzaError};

/// The module.
pub(crate) const MODULE: Factory = Factory::of::<Last>();

struct Last;

impl Module for Last {
    const SPEC: &'static Spec = &Spec {
        name: "last",
        xeps: &[Xep { number: 12, version: "2.0", status: Status::Complete, note: "" }],
        requires: &["roster"],
        options: &[],
    };
    type Config = NoConfig;

    fn build(_: NoConfig) -> Result<Self, String> {
        Ok(Self)
    }

    fn register(self: Arc<Self>, r: &mut Registrar) {
        r.get::<Ask, _>(Scope::Host, &self);
        r.get::<Ask, _>(Scope::Account, &self);
        r.disco(Scope::Host, &[NS]);
        r.disco(Scope::Account, &[NS]);
    }
}

impl OnGet<Ask> for Last {
    type Reply = Answer;

    async fn get(&self, cx: &IqCx<'_>, _: Ask) -> Result<Answer, StanzaError> {
        let now_ms = cx.engine.clock.unix_ms();
        let seconds_since = |ms: i64| (now_ms.saturating_sub(ms) / 1_000).max(0);
        let Some(account) = cx.account else {
            return Ok(Answer { seconds: seconds_since(cx.engine.started_ms), status: None });
        };
        // §3: only those with a subscription; RFC 6121 §11: others learn nothing.
        if !cx.sees_account() {
            return Err(StanzaError::new(Condition::Forbidden));
        }
        // §3: connected is enough.
        if !account.lock().resources().is_empty() {
            return Ok(Answer { seconds: 0, status: None });
        }
        let last = cx.engine.last_left(account).await;
        let last = last.map_err(|e| refuse::store_error(&e))?;
        let last = last.ok_or(StanzaError::new(Condition::ItemNotFound))?;
        Ok(Answer { seconds: seconds_since(last.at_ms), status: last.status })
    }
}
