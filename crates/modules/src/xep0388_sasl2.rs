//! XEP-0388: Extensible SASL Profile, version 1.0.4.
//!
//! Turns the profile on, which `stream` speaks, and says how clients are remembered that tell their
//! id.
//! Implements: §2 whole, §4. Offered over TLS only, beside the profile of RFC 6120.
//! Left out: §2.4, white space during an exchange, which is not told from none; §3, a random order
//! of mechanisms, for the list does not depend on the account; TLS early data, which is not taken.

use std::sync::Arc;

use serde::Deserialize;
use stentor_engine::clients::ClientRows;
use stentor_engine::sign_in::ClientRules;
use stentor_engine::{Factory, Module, OptionDoc, Registrar, Spec, Status, Xep};

use crate::limits::{SECS_MAX, millis};

/// The module.
pub(crate) const MODULE: Factory = Factory::of::<Sasl2>();

struct Sasl2 {
    config: Config,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Config {
    client_secs: u64,
    client_names: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self { client_secs: 15_552_000, client_names: true }
    }
}

impl Module for Sasl2 {
    const SPEC: &'static Spec = &Spec {
        name: "sasl2",
        xeps: &[Xep { number: 388, version: "1.0.4", status: Status::Complete, note: "" }],
        requires: &[],
        options: &[
            OptionDoc {
                key: "client_secs",
                default: "15552000",
                help: "How long a client is remembered that does not come back and has no token, in \
                       seconds; 180 days.",
            },
            OptionDoc {
                key: "client_names",
                default: "true",
                help: "Whether the names of software and device that clients tell are kept, for the \
                       user's own list of clients.",
            },
        ],
    };
    type Config = Config;

    fn build(config: Config) -> Result<Self, String> {
        if config.client_secs > SECS_MAX {
            return Err(format!("`client_secs` is at most {SECS_MAX}"));
        }
        Ok(Self { config })
    }

    fn register(self: Arc<Self>, r: &mut Registrar) {
        r.sign_in().clients = Some(ClientRules {
            keep_ms: millis(self.config.client_secs),
            keeps_names: self.config.client_names,
        });
        r.resident(Arc::new(ClientRows));
    }
}
