//! XEP-0359: Unique and Stable Stanza IDs, version 0.7.0.
//!
//! Takes out of messages the ids that claim to be of an account and are not. The true ones are
//! added by the engine where a message was archived (`pipeline.rs`).
//! Implements: §2.1 (ids of the account), §2.2 (`<origin-id/>` is passed on), §3 (rules), §5.
//! Left out: §4: references are for clients.
//! Status: complete

use std::sync::Arc;

use stentor_engine::{
    AccountState, Annotate, Cx, Factory, Module, NoConfig, Registrar, Scope, Spec, Status, Xep,
};
use stentor_payload::xep0359_sid::{self as sid, NS};
use stentor_stanza::Stanza;

/// The module.
pub(crate) const MODULE: Factory = Factory::of::<StanzaIds>();

struct StanzaIds;

impl Module for StanzaIds {
    const SPEC: &'static Spec = &Spec {
        name: "stanza-ids",
        xeps: &[Xep { number: 359, version: "0.7.0", status: Status::Complete, note: "" }],
        requires: &[],
        options: &[],
    };
    type Config = NoConfig;

    fn build(_: NoConfig) -> Result<Self, String> {
        Ok(Self)
    }

    fn register(self: Arc<Self>, r: &mut Registrar) {
        r.disco(Scope::Account, &[NS]);
        r.annotate(self);
    }
}

impl Annotate for StanzaIds {
    fn annotate(&self, cx: &Cx<'_>, stanza: &mut Stanza, _: &AccountState) {
        // §3 rule 2: even where no id is added. Others' ids stay (rule 3).
        stanza.cut(|child| sid::is_by(child, &cx.account.jid));
    }
}
