//! RFC 4505: what visitors without an account may do.
//!
//! A visitor's account lasts as long as its session. It may talk to its own domain and to accounts
//! and domains that the operator lists; rosters and everything that is stored are refused where
//! they are handled.

use std::sync::Arc;

use serde::Deserialize;
use stentor_engine::{
    AccountState, Cx, Direction, Factory, Module, OptionDoc, Registrar, Screen, Spec, Verdict,
};
use stentor_stanza::{Condition, Stanza, StanzaError};

/// The module.
pub(crate) const MODULE: Factory = Factory::of::<Anonymous>();

struct Anonymous {
    config: Config,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Config {
    allow: Vec<String>,
}

impl Module for Anonymous {
    const SPEC: &'static Spec = &Spec {
        name: "anonymous",
        xeps: &[],
        requires: &[],
        options: &[OptionDoc {
            key: "allow",
            default: "[]",
            help: "Bare addresses and domains that visitors may write to, besides their own domain.",
        }],
    };
    type Config = Config;

    fn build(config: Config) -> Result<Self, String> {
        Ok(Self { config })
    }

    fn register(self: Arc<Self>, r: &mut Registrar) {
        r.screen(self);
    }
}

impl Screen for Anonymous {
    fn screen(&self, cx: &Cx<'_>, stanza: &Stanza, _: &AccountState) -> Verdict {
        let Some(to) = &stanza.head.to else { return Verdict::Pass };
        if cx.direction != Direction::Sent || !cx.account.is_ephemeral {
            return Verdict::Pass;
        }
        let is_listed = self.config.allow.iter().any(|a| a == to.bare_str() || a == to.domain());
        if is_listed || to.domain() == &*cx.host.domain {
            Verdict::Pass
        } else {
            Verdict::Refuse(StanzaError::new(Condition::NotAllowed))
        }
    }
}
