//! XEP-0386: Bind 2, version 1.1.0.
//!
//! Binds a resource within sign-in: `tag/id`, where the id stays the same for a client that tells
//! its own. Earlier sessions of the client end. What can be wished for with the resource, the
//! modules of those features say.
//! Implements: §3.1, §3.2.
//! Left out: stored messages that the archive does not have are not cleared (§3.2) but delivered as
//! ever: nothing else would provide them.
//! Status: complete

use std::sync::Arc;

use serde::Deserialize;
use stentor_engine::{Factory, Module, OptionDoc, Registrar, Spec, Status, Xep};

/// The module.
pub(crate) const MODULE: Factory = Factory::of::<Bind2>();

struct Bind2 {
    config: Config,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Config {
    clear_offline: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self { clear_offline: true }
    }
}

impl Module for Bind2 {
    const SPEC: &'static Spec = &Spec {
        name: "bind2",
        xeps: &[Xep { number: 386, version: "1.1.0", status: Status::Complete, note: "" }],
        requires: &["sasl2"],
        options: &[OptionDoc {
            key: "clear_offline",
            default: "true",
            help: "Whether stored messages that the archive has are left to it when a client binds \
                   that way, as XEP-0386 demands; clients that do not read the archive, such as \
                   those built on @xmpp/client, see them only with `false`.",
        }],
    };
    type Config = Config;

    fn build(config: Config) -> Result<Self, String> {
        Ok(Self { config })
    }

    fn register(self: Arc<Self>, r: &mut Registrar) {
        let rules = r.sign_in();
        rules.binds = true;
        rules.clears_offline = self.config.clear_offline;
    }
}
