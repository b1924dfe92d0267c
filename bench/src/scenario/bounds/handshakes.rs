//! Connections that stop in the middle of a handshake. Each has its time: `header_wait_secs` until the
//! stream's header, `sign_in_wait_secs` until it is signed in, ten seconds for TLS.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use rustls::ClientConnection;
use rustls::pki_types::ServerName;

use super::crowd::{Crowd, End, has_features};
use super::{Outcome, SLACK_BYTES, Stage, Trouble};
use crate::fleet::{header, tls_config};
use crate::split::has;

pub(super) struct HalfOpen {
    count: usize,
}

/// Where a connection stops.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stop {
    /// It says nothing.
    AtOnce,
    /// Behind the stream's header.
    BehindHeader,
    /// In the middle of the first message of TLS, on the port with TLS from the first byte.
    InHello,
    /// The same after STARTTLS.
    InHelloOfStartTls,
}

impl HalfOpen {
    pub(super) const fn new(count: usize) -> Self {
        Self { count }
    }
}

impl Trouble for HalfOpen {
    fn about(&self) -> String {
        format!("{} connections stop in the middle of a handshake", self.count)
    }

    fn settings(&self) -> Vec<(&'static str, String)> {
        let secs = |secs: u64| secs.to_string();
        vec![
            ("STENTOR__LIMITS__HEADER_WAIT_SECS", secs(HEADER_WAIT_SECS)),
            ("STENTOR__LIMITS__SIGN_IN_WAIT_SECS", secs(SIGN_IN_WAIT_SECS)),
        ]
    }

    fn memory_max(&self) -> u64 {
        self.count as u64 * CONNECTION_BYTES + SLACK_BYTES
    }

    fn prepare(&mut self, _: &Stage<'_>) -> anyhow::Result<()> {
        Ok(())
    }

    fn make(&mut self, stage: &Stage<'_>) -> anyhow::Result<Outcome> {
        let hello = half_hello(&stage.target.common.domain)?;
        let first = header(&stage.target.common.domain);
        let mut crowd = Crowd::new()?;
        let mut stops = Vec::new();
        let kinds = [Stop::AtOnce, Stop::BehindHeader, Stop::InHello, Stop::InHelloOfStartTls];
        for n in 0..self.count {
            let stop = kinds[n % kinds.len()];
            let address = match (stop, stage.direct) {
                (Stop::InHello, Some(direct)) => direct,
                (Stop::InHello, None) => continue,
                _ => stage.plain,
            };
            let who = crowd.connect(address, FROM)?;
            stops.push(stop);
            match stop {
                Stop::AtOnce => {}
                Stop::InHello => crowd.say(who, &hello),
                Stop::BehindHeader | Stop::InHelloOfStartTls => crowd.say(who, &first),
            }
        }
        let begun = Instant::now();
        let is_over = |crowd: &Crowd| crowd.members().iter().all(|member| member.end.is_some());
        while !is_over(&crowd) && begun.elapsed() < PATIENCE {
            for who in crowd.turn(Duration::from_millis(100))? {
                let heard = &crowd.members()[who].heard;
                if stops[who] != Stop::InHelloOfStartTls {
                    continue;
                }
                if has(heard, "<proceed") {
                    crowd.take_heard(who);
                    crowd.say(who, &hello);
                } else if has_features(heard) {
                    crowd.take_heard(who);
                    crowd.say(who, b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>");
                }
            }
        }
        let mut outcome = Outcome::default();
        let (ends, last) = crowd.ends();
        ends.iter().for_each(|(end, count)| outcome.end(end.describe(), *count));
        outcome.figures.push(("last_end_secs", last.as_secs_f64(), "s"));
        let timeout = End::Error("connection-timeout".to_owned());
        let fits = crowd.members().iter().zip(&stops).all(|(member, stop)| {
            let Some((end, after)) = &member.end else { return false };
            let (wait_secs, is_told) = match stop {
                Stop::AtOnce => (HEADER_WAIT_SECS, true),
                Stop::BehindHeader => (SIGN_IN_WAIT_SECS, true),
                Stop::InHello | Stop::InHelloOfStartTls => (TLS_WAIT_SECS, false),
            };
            let is_in_time = *after <= Duration::from_secs(wait_secs) + LATE_MAX;
            is_in_time && (!is_told || *end == timeout)
        });
        outcome.check(
            "who sent no header, or nothing behind it, was told connection-timeout, and the others \
             were closed: each within its time and three seconds",
            fits,
        );
        Ok(outcome)
    }
}

/// The first half of what TLS begins with.
pub(super) fn half_hello(domain: &str) -> anyhow::Result<Vec<u8>> {
    let name = ServerName::try_from(domain.to_owned())?;
    let mut tls = ClientConnection::new(tls_config(false)?, name)?;
    let mut hello = Vec::new();
    tls.write_tls(&mut hello)?;
    hello.truncate(hello.len() / 2);
    Ok(hello)
}

/// What is configured for the run, so that it does not take long.
const HEADER_WAIT_SECS: u64 = 5;
const SIGN_IN_WAIT_SECS: u64 = 8;
/// What TLS always has.
const TLS_WAIT_SECS: u64 = 10;
const LATE_MAX: Duration = Duration::from_secs(3);
const PATIENCE: Duration = Duration::from_secs(75);
/// What the server may keep for each: a task, and what TLS has of its first message.
const CONNECTION_BYTES: u64 = 32 * 1024;
const FROM: Ipv4Addr = Ipv4Addr::new(127, 8, 0, 1);
