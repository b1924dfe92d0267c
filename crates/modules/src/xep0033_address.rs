//! XEP-0033: Extended Stanza Addressing, version 1.2.1.
//!
//! Lets the domain send one stanza on to several, and says to how many.
//! Implements: §2.1 (discovery), §9 (the limit). The sending is `engine/src/xep0033_address.rs`, the
//! element `payload/src/xep0033_address.rs`.
//! Left out: other servers' multicast services (§6, steps 9 and 11) are not made use of.
//! Status: complete

use std::sync::Arc;

use serde::Deserialize;
use stentor_engine::registrar::DiscoForm;
use stentor_engine::{Factory, Module, OptionDoc, Registrar, Scope, Spec, Status, Xep};
use stentor_payload::xep0004_forms::FieldKind;
use stentor_payload::xep0033_address::NS;

use crate::limits::RECEIVERS_MAX;

/// The module.
pub(crate) const MODULE: Factory = Factory::of::<Multicast>();

struct Multicast {
    config: Config,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Config {
    receivers_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { receivers_max: 50 }
    }
}

impl Module for Multicast {
    const SPEC: &'static Spec = &Spec {
        name: "multicast",
        xeps: &[Xep { number: 33, version: "1.2.1", status: Status::Complete, note: "" }],
        requires: &["disco"],
        options: &[OptionDoc {
            key: "receivers_max",
            default: "50",
            help: "Receivers of one stanza that is sent to the domain for several, 1 to 1000; more \
                   are `not-acceptable`. Service discovery tells the limit. For rates and limits of \
                   messages each receiver counts.",
        }],
    };
    type Config = Config;

    fn build(config: Config) -> Result<Self, String> {
        if !(1..=RECEIVERS_MAX).contains(&config.receivers_max) {
            let max = config.receivers_max;
            return Err(format!("`receivers_max` is {max}; 1 to {RECEIVERS_MAX} are possible"));
        }
        Ok(Self { config })
    }

    fn register(self: Arc<Self>, r: &mut Registrar) {
        let max = self.config.receivers_max;
        r.multicast(max);
        r.disco_stored(Scope::Host, &[NS]);
        let limit = || vec![max.to_string()];
        let fields = vec![("message", limit()), ("presence", limit())];
        r.disco_form(DiscoForm { form_type: NS, kind: FieldKind::TextSingle, fields });
    }
}
