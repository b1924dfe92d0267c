//! Wrong passwords: from one address over many connections, and from many addresses. After
//! `source_failures_max` of them an address is not served for a while, and before that its answers take
//! ever longer.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::crowd::{Crowd, End, has_features};
use super::{Outcome, SLACK_BYTES, Stage, Trouble};
use crate::fleet::header;
use crate::split::{has, text};

pub(super) struct Guesses {
    sources: usize,
    /// Failures by condition: from the one address, from the many.
    failures: [BTreeMap<String, usize>; 2],
    /// How their connections ended.
    ends: [BTreeMap<End, usize>; 2],
    attempts: usize,
}

impl Guesses {
    pub(super) fn new(sources: usize) -> Self {
        Self { sources, failures: <[_; 2]>::default(), ends: <[_; 2]>::default(), attempts: 0 }
    }

    /// What a connection answers; an attempt is made with a proof that fits nothing.
    fn hear(&mut self, crowd: &mut Crowd, who: usize, is_of_many: bool) {
        let heard = &crowd.members()[who].heard;
        if has_features(heard) {
            crowd.take_heard(who);
            self.attempts += 1;
            let first = format!("n,,n={}{},r=rosebud", "nobody", self.attempts % NAMES);
            let first = BASE64_STANDARD.encode(first);
            let auth = format!("<auth {SASL} mechanism='SCRAM-SHA-1'>{first}</auth>");
            crowd.say(who, auth.as_bytes());
        } else if has(heard, "</challenge>") {
            let heard = crowd.take_heard(who);
            let challenge = text(&heard, "challenge").unwrap_or_default();
            let challenge = BASE64_STANDARD.decode(challenge).unwrap_or_default();
            let challenge = String::from_utf8_lossy(&challenge).into_owned();
            let nonce = challenge.split(',').next().unwrap_or_default();
            let proof = BASE64_STANDARD.encode([0; 20]);
            let last = BASE64_STANDARD.encode(format!("c=biws,{nonce},p={proof}"));
            crowd.say(who, format!("<response {SASL}>{last}</response>").as_bytes());
        } else if has(heard, "</failure>") {
            let heard = crowd.take_heard(who);
            let condition = failure(&heard);
            *self.failures[usize::from(is_of_many)].entry(condition).or_default() += 1;
            // It tries again on the same stream, as long as it may.
            let first = BASE64_STANDARD.encode(format!("n,,n=nobody{},r=rosebud", who % NAMES));
            self.attempts += 1;
            let auth = format!("<auth {SASL} mechanism='SCRAM-SHA-1'>{first}</auth>");
            crowd.say(who, auth.as_bytes());
        }
    }
}

impl Trouble for Guesses {
    fn about(&self) -> String {
        format!(
            "wrong passwords over {AT_ONCE} connections from one address, and from {} addresses",
            self.sources
        )
    }

    fn memory_max(&self) -> u64 {
        // Tables of failures, by address and by account, and of attempts to connect.
        (self.sources + AT_ONCE) as u64 * 32 * 1024 + SLACK_BYTES
    }

    fn prepare(&mut self, _: &Stage<'_>) -> anyhow::Result<()> {
        Ok(())
    }

    fn make(&mut self, stage: &Stage<'_>) -> anyhow::Result<Outcome> {
        let first = header(&stage.target.common.domain);
        let mut crowd = Crowd::new()?;
        // The first are those from one address; the others take turns with the many.
        let many = AT_ONCE.min(self.sources);
        let mut next_source = 0;
        let mut connect = |crowd: &mut Crowd, who: Option<usize>, sources: usize| {
            let is_of_many = who.unwrap_or(crowd.members().len()) >= AT_ONCE;
            let from = if is_of_many {
                next_source += 1;
                address_of(next_source % sources.max(1))
            } else {
                ONE
            };
            let who = match who {
                None => crowd.connect(stage.plain, from)?,
                Some(who) => {
                    crowd.connect_again(who, stage.plain, from)?;
                    who
                }
            };
            crowd.say(who, &first);
            anyhow::Ok(())
        };
        for _ in 0..AT_ONCE + many {
            connect(&mut crowd, None, self.sources)?;
        }
        let (begun, length) = (Instant::now(), Duration::from_secs(stage.secs * 2));
        while begun.elapsed() < length {
            for who in crowd.turn(Duration::from_millis(20))? {
                let is_of_many = who >= AT_ONCE;
                self.hear(&mut crowd, who, is_of_many);
                if let Some((end, _)) = crowd.members()[who].end.clone() {
                    *self.ends[usize::from(is_of_many)].entry(end).or_default() += 1;
                    connect(&mut crowd, Some(who), self.sources)?;
                }
            }
        }
        let mut outcome = Outcome::default();
        for (failures, who) in self.failures.iter().zip(["the one address", "the many"]) {
            for (condition, count) in failures {
                outcome.end(format!("attempts of {who} answered by {condition}"), *count);
            }
        }
        for (ends, who) in self.ends.iter().zip(["the one address", "the many"]) {
            for (end, count) in ends {
                outcome.end(format!("connections of {who} {}", end.describe()), *count);
            }
        }
        let judged = |of: usize| self.failures[of].get("not-authorized").copied().unwrap_or(0);
        outcome.check(
            format!(
                "of one address {} passwords were judged: at most {FAILURES_MAX}, and those that \
                 came at the same time, one a connection",
                judged(0)
            ),
            judged(0) <= FAILURES_MAX + AT_ONCE,
        );
        outcome.check("then it was turned away", self.ends[0].contains_key(&End::TurnedAway));
        outcome.check(
            format!("of each other address at most {FAILURES_MAX}, and one a connection"),
            judged(1) <= self.sources * (FAILURES_MAX + 1) + many,
        );
        Ok(outcome)
    }
}

fn address_of(number: usize) -> Ipv4Addr {
    let byte = |number: usize| u8::try_from(number % 250).unwrap_or(0) + 1;
    Ipv4Addr::new(127, 10, byte(number / 250), byte(number))
}

fn failure(heard: &[u8]) -> String {
    let at = memchr::memmem::find(heard, b"<failure").unwrap_or(0);
    let behind = &heard[at + 1..];
    let begin = memchr::memchr(b'<', behind).map_or(0, |begin| begin + 1);
    let name =
        behind[begin..].iter().take_while(|byte| byte.is_ascii_alphabetic() || **byte == b'-');
    name.map(|byte| char::from(*byte)).collect()
}

const SASL: &str = "xmlns='urn:ietf:params:xml:ns:xmpp-sasl'";
/// Connections of the one address at a time, and of all others together.
const AT_ONCE: usize = 50;
/// `source_failures_max`, as it is by default.
const FAILURES_MAX: usize = 10;
/// Names that are tried.
const NAMES: usize = 1_000;
const ONE: Ipv4Addr = Ipv4Addr::new(127, 9, 9, 9);
