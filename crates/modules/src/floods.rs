//! How many messages somebody may send within a minute, whoever they are for.
//!
//! Who sends faster than he may is read more slowly first (`[limits]`); what is refused here has come
//! in spite of that, in many connections or from another server. Each message too many comes back
//! (RFC 6120 §8.3.3.12), none ends a stream, and nobody else is slowed down for it.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde::Deserialize;
use stentor_engine::tally::Tally;
use stentor_engine::{
    AccountState, Cx, Direction, Factory, Module, OptionDoc, Registrar, Screen, Spec, Verdict,
};
use stentor_jid::BareJid;
use stentor_stanza::{Condition, ErrorType, MessageType, Stanza, StanzaError};

/// The module.
pub(crate) const MODULE: Factory = Factory::of::<Floods>();

struct Floods {
    config: Config,
    /// Messages of accounts of ours.
    accounts: Mutex<Tally<BareJid>>,
    /// Messages of other domains.
    domains: Mutex<Tally<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Config {
    messages_per_minute: u32,
    administrator_messages_per_minute: u32,
    domain_messages_per_minute: u32,
}

impl Module for Floods {
    const SPEC: &'static Spec = &Spec {
        name: "floods",
        xeps: &[],
        requires: &[],
        options: &[
            OptionDoc {
                key: "messages_per_minute",
                default: "0",
                help: "Messages that all clients of one account may send in a minute; beyond, \
                       `policy-violation` (wait) for each. 0 for no limit but the rates of \
                       `[limits]`.",
            },
            OptionDoc {
                key: "administrator_messages_per_minute",
                default: "0",
                help: "The same for administrators, who are those at `xmpp:` in `admin` of the \
                       module `contact`.",
            },
            OptionDoc {
                key: "domain_messages_per_minute",
                default: "0",
                help: "Messages that all users of one other domain may send to the accounts of \
                       this in a minute; beyond, the same error. 0 for no limit.",
            },
        ],
    };
    type Config = Config;

    fn build(config: Config) -> Result<Self, String> {
        Ok(Self { config, accounts: Mutex::default(), domains: Mutex::default() })
    }

    fn register(self: Arc<Self>, r: &mut Registrar) {
        r.screen(self);
    }
}

impl Screen for Floods {
    fn screen(&self, cx: &Cx<'_>, stanza: &Stanza, _: &AccountState) -> Verdict {
        // §8.3.1: what is itself an error is not answered by one.
        if stanza.message_type().is_none_or(|kind| kind == MessageType::Error) {
            return Verdict::Pass;
        }
        let sender = &cx.account.jid;
        let is_admitted = match (cx.direction, &stanza.head.from) {
            (Direction::Sent, _) => {
                let max = self.max_of(sender, &cx.host.profile.administrators);
                admits(&self.accounts, sender, max, cx.now_ms)
            }
            (Direction::Received, Some(from)) if cx.engine.host(from.domain()).is_none() => {
                let max = self.config.domain_messages_per_minute;
                max == 0 || admits(&self.domains, &from.domain().to_owned(), max, cx.now_ms)
            }
            (Direction::Received, _) => true,
        };
        if is_admitted {
            return Verdict::Pass;
        }
        cx.engine.metrics.floods_refused.inc();
        let error = StanzaError::new(Condition::PolicyViolation).of_type(ErrorType::Wait);
        Verdict::Refuse(error)
    }
}

impl Floods {
    fn max_of(&self, sender: &BareJid, administrators: &[BareJid]) -> u32 {
        match administrators.contains(sender) {
            true => self.config.administrator_messages_per_minute,
            false => self.config.messages_per_minute,
        }
    }
}

/// Counts one more, unless it is one too many; then it does not count. 0 is no limit.
fn admits<K: Eq + std::hash::Hash + Clone>(
    sent: &Mutex<Tally<K>>,
    sender: &K,
    max: u32,
    now_ms: i64,
) -> bool {
    if max == 0 {
        return true;
    }
    let mut sent = sent.lock();
    let has_room = sent.count(sender, now_ms) < max;
    if has_room {
        sent.add(sender.clone(), MINUTE, u32::MAX, now_ms);
    }
    has_room
}

const MINUTE: Duration = Duration::from_secs(60);
