//! XEP-0199: XMPP Ping, version 2.0.1.
//!
//! Answers pings to the server, and to an account by those who may see its presence.
//! Implements: §4.1, §4.2 (pings to the server and to an account).
//! §4.2 the other way round, pings to silent clients, is the stream's (`stream/src/c2s/question.rs`).
//! Left out: nothing.

use std::sync::Arc;

use stentor_engine::{Factory, IqCx, Module, NoConfig, OnGet, Registrar, Scope, Spec, Status, Xep};
use stentor_payload::xep0199_ping::{self as ping, Ping as Ask};
use stentor_stanza::{Condition, StanzaError};

/// The module.
pub(crate) const MODULE: Factory = Factory::of::<Ping>();

struct Ping;

impl Module for Ping {
    const SPEC: &'static Spec = &Spec {
        name: "ping",
        xeps: &[Xep { number: 199, version: "2.0.1", status: Status::Complete, note: "" }],
        requires: &[],
        options: &[],
    };
    type Config = NoConfig;

    fn build(_: NoConfig) -> Result<Self, String> {
        Ok(Self)
    }

    fn register(self: Arc<Self>, r: &mut Registrar) {
        r.get::<Ask, _>(Scope::Host, &self);
        r.get::<Ask, _>(Scope::Account, &self);
        r.disco(Scope::Host, &[ping::NS]);
        r.disco(Scope::Account, &[ping::NS]);
    }
}

impl OnGet<Ask> for Ping {
    type Reply = ();

    async fn get(&self, cx: &IqCx<'_>, _: Ask) -> Result<(), StanzaError> {
        // RFC 6121 §8.1: who may not see an account does not learn that it exists.
        if cx.account.is_some() && !cx.sees_account() {
            return Err(StanzaError::new(Condition::ServiceUnavailable));
        }
        Ok(())
    }
}
