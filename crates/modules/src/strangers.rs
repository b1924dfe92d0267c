//! How much those may send to an account who are not its contacts.
//!
//! Floods are slowed down, and nobody else: a stranger is whoever is not in the roster, was not
//! written to, and got no presence, as a room does that the account is in. No content is looked at.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde::Deserialize;
use stentor_engine::tally::Tally;
use stentor_engine::worth::Content;
use stentor_engine::{
    AccountState, Cx, Direction, Factory, Module, OptionDoc, Registrar, Screen, Spec, Verdict,
};
use stentor_jid::BareJid;
use stentor_stanza::{Condition, ErrorType, MessageType, PresenceType, Stanza, StanzaError};

/// The module.
pub(crate) const MODULE: Factory = Factory::of::<Strangers>();

struct Strangers {
    config: Config,
    /// Messages of a stranger to an account.
    messages: Mutex<Tally<Pair>>,
    /// Accounts that a stranger turned to.
    accounts: Mutex<Tally<BareJid>>,
    /// Subscriptions that strangers asked of an account.
    requests: Mutex<Tally<BareJid>>,
    /// To whom an account wrote.
    spoken: Mutex<Tally<Pair>>,
}

/// An account and somebody else.
type Pair = (BareJid, BareJid);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Config {
    messages_per_hour: u32,
    accounts_per_hour: u32,
    requests_per_hour: u32,
    local: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            messages_per_hour: 1_000,
            accounts_per_hour: 500,
            requests_per_hour: 200,
            local: false,
        }
    }
}

impl Module for Strangers {
    const SPEC: &'static Spec = &Spec {
        name: "strangers",
        xeps: &[],
        requires: &[],
        options: &[
            OptionDoc {
                key: "messages_per_hour",
                default: "1000",
                help: "Messages that one stranger may send to one account; beyond, \
                       `resource-constraint` (wait). 0 for no limit.",
            },
            OptionDoc {
                key: "accounts_per_hour",
                default: "500",
                help: "Accounts that one stranger may write to or ask for a subscription; beyond, \
                       `policy-violation` (wait). 0 for no limit.",
            },
            OptionDoc {
                key: "requests_per_hour",
                default: "200",
                help: "Requests for subscriptions that one account may get from strangers; beyond, \
                       `resource-constraint` (wait). 0 for no limit.",
            },
            OptionDoc {
                key: "local",
                default: "false",
                help: "Whether accounts of this server count as strangers too.",
            },
        ],
    };
    type Config = Config;

    fn build(config: Config) -> Result<Self, String> {
        Ok(Self {
            config,
            messages: Mutex::default(),
            accounts: Mutex::default(),
            requests: Mutex::default(),
            spoken: Mutex::default(),
        })
    }

    fn register(self: Arc<Self>, r: &mut Registrar) {
        r.screen(self);
    }
}

impl Screen for Strangers {
    fn screen(&self, cx: &Cx<'_>, stanza: &Stanza, state: &AccountState) -> Verdict {
        if !is_counted(stanza) {
            return Verdict::Pass;
        }
        let own = &cx.account.jid;
        let peer = match cx.direction {
            Direction::Sent => &stanza.head.to,
            Direction::Received => &stanza.head.from,
        };
        let Some(full) = peer else { return Verdict::Pass };
        let is_ours = cx.engine.host(full.domain()).is_some();
        if full.bare_str() == own.as_str() || (is_ours && !self.config.local) {
            return Verdict::Pass;
        }
        let peer = full.to_bare();
        // Before the roster is asked: this may be what makes them known to each other.
        if cx.direction == Direction::Sent {
            if stanza.message_type().is_some() && state.roster.item(&peer).is_none() {
                let pair = (own.clone(), peer);
                self.spoken.lock().add(pair, SPOKEN, u32::MAX, cx.now_ms);
            }
            return Verdict::Pass;
        }
        let is_contact = state.roster.item(&peer).is_some();
        let is_met = || state.resources().iter().any(|session| session.has_directed(full));
        if is_contact || is_met() {
            return Verdict::Pass;
        }
        let verdict = self.judge((own.clone(), peer), stanza.presence_type().is_some(), cx.now_ms);
        if matches!(verdict, Verdict::Refuse(_)) {
            cx.engine.metrics.strangers_refused.inc();
        }
        verdict
    }
}

impl Strangers {
    /// Counts what a stranger sends, and refuses what is too much, which then does not count.
    fn judge(&self, pair: Pair, is_request: bool, now_ms: i64) -> Verdict {
        if self.spoken.lock().count(&pair, now_ms) > 0 {
            return Verdict::Pass;
        }
        let Config { messages_per_hour, accounts_per_hour, requests_per_hour, .. } = self.config;
        let has_room = |count: u32, max: u32| max == 0 || count < max;
        let (account, stranger) = pair.clone();
        let mut messages = self.messages.lock();
        let (mut accounts, mut requests) = (self.accounts.lock(), self.requests.lock());
        let sent = messages.count(&pair, now_ms);
        if sent == 0 && !has_room(accounts.count(&stranger, now_ms), accounts_per_hour) {
            return refuse(Condition::PolicyViolation, &account, &stranger);
        }
        let is_too_many =
            is_request && !has_room(requests.count(&account, now_ms), requests_per_hour);
        if is_too_many || !has_room(sent, messages_per_hour) {
            return refuse(Condition::ResourceConstraint, &account, &stranger);
        }
        if sent == 0 {
            accounts.add(stranger, HOUR, u32::MAX, now_ms);
        }
        if is_request {
            requests.add(account, HOUR, u32::MAX, now_ms);
        }
        messages.add(pair, HOUR, u32::MAX, now_ms);
        Verdict::Pass
    }
}

/// Whether somebody turns to somebody: a message with content, or a request. A message in a room
/// only comes to those who are in it.
fn is_counted(stanza: &Stanza) -> bool {
    match stanza.message_type() {
        Some(MessageType::Groupchat | MessageType::Error) => false,
        Some(_) => Content::of(stanza) >= Content::Blank,
        None => stanza.presence_type() == Some(PresenceType::Subscribe),
    }
}

fn refuse(condition: Condition, account: &BareJid, stranger: &BareJid) -> Verdict {
    let reason = condition.name();
    tracing::info!(event = "stranger_refused", account = %account, jid = %stranger, reason, "A stranger sent too much.");
    Verdict::Refuse(StanzaError::new(condition).of_type(ErrorType::Wait))
}

const HOUR: Duration = Duration::from_secs(3_600);
/// How long one who was written to is no stranger.
const SPOKEN: Duration = Duration::from_secs(7 * 24 * 3_600);

#[cfg(test)]
mod tests {
    use super::*;

    fn strangers(config: Config) -> Strangers {
        Strangers::build(config).unwrap()
    }

    fn judge(
        strangers: &Strangers,
        account: &str,
        from: &str,
        is_request: bool,
        ms: i64,
    ) -> String {
        let jid = |name: &str| BareJid::new(&format!("{name}@a.example")).unwrap();
        match strangers.judge((jid(account), jid(from)), is_request, ms) {
            Verdict::Pass => "pass".to_owned(),
            Verdict::Refuse(error) => error.to_string(),
            Verdict::Drop => "drop".to_owned(),
        }
    }

    #[test]
    fn a_stranger_has_so_many_messages_an_hour() {
        let strangers = strangers(Config { messages_per_hour: 2, ..Config::default() });
        let message = |ms| judge(&strangers, "juliet", "tybalt", false, ms);
        assert_eq!([0, 1, 2].map(message), ["pass", "pass", "resource-constraint"]);
        assert_eq!(judge(&strangers, "nurse", "tybalt", false, 2), "pass");
        assert_eq!(message(3_600_000), "pass");
    }

    #[test]
    fn a_stranger_turns_to_so_many_accounts_an_hour_and_goes_on_with_those() {
        let strangers = strangers(Config { accounts_per_hour: 2, ..Config::default() });
        let message = |to| judge(&strangers, to, "tybalt", false, 0);
        assert_eq!(
            ["a", "b", "c", "c", "a"].map(message),
            ["pass", "pass", "policy-violation", "policy-violation", "pass"]
        );
        assert_eq!(judge(&strangers, "c", "paris", false, 0), "pass");
    }

    #[test]
    fn an_account_gets_so_many_requests_an_hour_from_all_strangers() {
        let strangers = strangers(Config { requests_per_hour: 2, ..Config::default() });
        let request = |from| judge(&strangers, "juliet", from, true, 0);
        assert_eq!(["a", "b", "c"].map(request), ["pass", "pass", "resource-constraint"]);
        assert_eq!(judge(&strangers, "juliet", "d", false, 0), "pass", "messages still come");
    }

    #[test]
    fn zero_is_no_limit() {
        let config = Config {
            messages_per_hour: 0,
            accounts_per_hour: 0,
            requests_per_hour: 0,
            local: true,
        };
        let strangers = strangers(config);
        for n in 0..100 {
            assert_eq!(judge(&strangers, &format!("j{n}"), "tybalt", n % 2 == 0, 0), "pass");
            assert_eq!(judge(&strangers, "juliet", "tybalt", true, 0), "pass");
        }
    }
}
