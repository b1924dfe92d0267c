//! XEP-0484: Fast Authentication Streamlining Tokens, version 0.2.0.
//!
//! Says how long tokens are good. `stream` speaks the protocol, `engine/src/clients/tokens.rs` has
//! the rules by which tokens follow one another.
//! Implements: §3, §4.2, §5.1, with HT-SHA-256-EXPR, -ENDP and -NONE; a `count` that was seen
//! before is refused wherever it comes.
//! Left out: TLS early data (§3.1), which is neither announced nor taken; HT-SHA-256-UNIQ, whose
//! binding TLS 1.3 does not have.

use std::sync::Arc;

use serde::Deserialize;
use stentor_engine::sign_in::TokenRules;
use stentor_engine::{Factory, Module, OptionDoc, Registrar, Spec, Status, Xep};

use crate::limits::{SECS_MAX, millis};

/// The module.
pub(crate) const MODULE: Factory = Factory::of::<Fast>();

struct Fast {
    config: Config,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Config {
    token_secs: u64,
    renew_secs: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self { token_secs: 2_592_000, renew_secs: 1_987_200 }
    }
}

impl Module for Fast {
    const SPEC: &'static Spec = &Spec {
        name: "fast",
        xeps: &[Xep { number: 484, version: "0.2.0", status: Status::Complete, note: "" }],
        requires: &["sasl2"],
        options: &[
            OptionDoc {
                key: "token_secs",
                default: "2592000",
                help: "How long a token is good, in seconds; 30 days. A client that stays away \
                       longer signs in with its password again.",
            },
            OptionDoc {
                key: "renew_secs",
                default: "1987200",
                help: "How long before its end a token is replaced when it is used, in seconds; 23 \
                       days, so that one in use changes each week.",
            },
        ],
    };
    type Config = Config;

    fn build(config: Config) -> Result<Self, String> {
        if config.token_secs == 0 || config.token_secs > SECS_MAX {
            return Err(format!("`token_secs` is from 1 to {SECS_MAX}"));
        }
        if config.renew_secs > config.token_secs {
            return Err("`renew_secs` is at most `token_secs`".into());
        }
        Ok(Self { config })
    }

    fn register(self: Arc<Self>, r: &mut Registrar) {
        r.sign_in().tokens = Some(TokenRules {
            lifetime_ms: millis(self.config.token_secs),
            renew_ms: millis(self.config.renew_secs),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_times_that_make_no_sense() {
        let build = |token_secs, renew_secs| Fast::build(Config { token_secs, renew_secs }).is_ok();
        assert!(build(10, 10) && build(10, 0) && build(SECS_MAX, 1));
        assert!(!build(0, 0) && !build(10, 11) && !build(SECS_MAX + 1, 1));
    }
}
