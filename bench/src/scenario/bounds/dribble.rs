//! Clients that send a byte a second. Before sign-in that is as good as silence: the waits are not for
//! bytes but for what they are to become. A session may be as slow as it likes; what it has begun is
//! kept for it, up to the largest stanza, and it is served once the rest has come.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::crowd::{Crowd, End};
use super::handshakes::half_hello;
use super::{Outcome, SLACK_BYTES, Stage, Trouble};
use crate::fleet::{Fleet, News, header};
use crate::scenario::settle;
use crate::split::has;

pub(super) struct Dribble {
    count: usize,
    /// Who reads what the sessions finish at last, and behind it those sessions.
    fleet: Option<Fleet>,
}

impl Dribble {
    pub(super) const fn new(count: usize) -> Self {
        Self { count, fleet: None }
    }

    /// Sessions in the middle of a stanza.
    const fn sessions(&self) -> usize {
        self.count / 2
    }

    /// Those of them that have sent most of the largest stanza.
    const fn large(&self) -> usize {
        self.sessions() / 5
    }

    /// Sends a byte of each, once a second, until the time is over.
    fn wait(
        &self,
        stage: &Stage<'_>,
        fleet: &mut Fleet,
        crowd: &mut Crowd,
        bytes: &[Vec<u8>; 2],
    ) -> anyhow::Result<()> {
        let length = Duration::from_secs(stage.secs.max(TLS_WAIT_SECS + 4));
        let (begun, mut said) = (Instant::now(), 0);
        while begun.elapsed() < length {
            if begun.elapsed() >= Duration::from_secs(said as u64) {
                for who in 1..=self.sessions() {
                    fleet.outs().of(who).push(b'x');
                }
                for who in 0..crowd.members().len() {
                    let bytes = &bytes[who % 2];
                    crowd.say(who, &bytes[said.min(bytes.len() - 1)..][..1]);
                }
                said += 1;
            }
            fleet.turn(Duration::from_millis(10), &mut |_, _, _| {})?;
            crowd.turn(Duration::from_millis(10))?;
            if let Some(news) = fleet.take_news().into_iter().next() {
                anyhow::bail!("a slow session did not stay: {news:?}");
            }
        }
        Ok(())
    }
}

impl Trouble for Dribble {
    fn about(&self) -> String {
        format!(
            "{} clients send a byte a second: {} sessions within a stanza, {} of them near its \
             largest size, the others before sign-in",
            self.count,
            self.sessions(),
            self.large()
        )
    }

    fn settings(&self) -> Vec<(&'static str, String)> {
        vec![("STENTOR__LIMITS__HEADER_WAIT_SECS", HEADER_WAIT_SECS.to_string())]
    }

    fn accounts(&self) -> usize {
        self.sessions() + 1
    }

    fn memory_max(&self) -> u64 {
        // A buffer that grows is copied to one of twice its size.
        let large = self.large() as u64 * (2 * STANZA_BYTES_MAX as u64);
        large + self.count as u64 * CONNECTION_BYTES + SLACK_BYTES
    }

    fn prepare(&mut self, stage: &Stage<'_>) -> anyhow::Result<()> {
        let mut fleet = stage.fleet(self.sessions() + 1)?;
        stage.target.sign_in(&mut fleet, 0..self.sessions() + 1, |who| stage.login(who))?;
        fleet.outs().of(0).extend_from_slice(b"<presence/>");
        settle(&mut fleet)?;
        self.fleet = Some(fleet);
        Ok(())
    }

    fn make(&mut self, stage: &Stage<'_>) -> anyhow::Result<Outcome> {
        let mut fleet = self.fleet.take().context("nobody is signed in")?;
        let begin = format!("<message to='{}' type='chat' id='slow'><body>", stage.jid(0));
        for who in 1..=self.sessions() {
            let out = fleet.outs().of(who);
            out.extend_from_slice(begin.as_bytes());
            if who <= self.large() {
                out.resize(out.len() + LARGE_BYTES, b'y');
            }
        }
        let mut crowd = Crowd::new()?;
        let slow_header = header(&stage.target.common.domain);
        let slow_hello = half_hello(&stage.target.common.domain)?;
        for n in self.sessions()..self.count {
            let direct = stage.direct.filter(|_| n % 2 == 1).unwrap_or(stage.plain);
            crowd.connect(direct, FROM)?;
        }
        let is_tls = |who: usize| stage.direct.is_some() && (who + self.sessions()) % 2 == 1;
        let of_even = if is_tls(0) { slow_hello.clone() } else { slow_header.clone() };
        let of_odd = if is_tls(1) { slow_hello } else { slow_header };
        self.wait(stage, &mut fleet, &mut crowd, &[of_even, of_odd])?;

        let (mut served, mut large_served) = (0, 0);
        for who in 1..=self.sessions() {
            fleet.outs().of(who).extend_from_slice(b"</body></message>");
        }
        let begun = Instant::now();
        while served < self.sessions() && begun.elapsed() < PATIENCE {
            fleet.turn(Duration::from_millis(50), &mut |who, element, _| {
                if who == 0 && has(element, "id='slow'") {
                    served += 1;
                    large_served += usize::from(element.len() > LARGE_BYTES);
                }
            })?;
            if let Some(News::Closed { reason, .. }) = fleet.take_news().into_iter().next() {
                anyhow::bail!("a slow session did not stay: {reason}");
            }
        }
        let mut outcome = Outcome::default();
        outcome.end("sessions stayed, and what they sent was delivered when it was whole", served);
        let (ends, last) = crowd.ends();
        ends.iter().for_each(|(end, count)| outcome.end(end.describe(), *count));
        outcome.figures.push(("last_end_secs", last.as_secs_f64(), "s"));
        outcome.check(
            "each session was served in the end",
            (served, large_served) == (self.sessions(), self.large()),
        );
        let timeout = End::Error("connection-timeout".to_owned());
        let fits = crowd.members().iter().enumerate().all(|(who, member)| {
            let Some((end, after)) = &member.end else { return false };
            let wait_secs = if is_tls(who) { TLS_WAIT_SECS } else { HEADER_WAIT_SECS };
            *after <= Duration::from_secs(wait_secs) + LATE_MAX && (is_tls(who) || *end == timeout)
        });
        outcome.check(
            "who was within the stream's header was told connection-timeout, who was within the \
             handshake of TLS was closed: each within its time and three seconds",
            fits,
        );
        Ok(outcome)
    }
}

/// What is configured for the run, so that it does not take long.
const HEADER_WAIT_SECS: u64 = 5;
const TLS_WAIT_SECS: u64 = 10;
const LATE_MAX: Duration = Duration::from_secs(3);
const PATIENCE: Duration = Duration::from_secs(60);
/// `stanza_bytes_max`, as it is by default.
const STANZA_BYTES_MAX: usize = 262_144;
const LARGE_BYTES: usize = 250_000;
const CONNECTION_BYTES: u64 = 16 * 1024;
const FROM: Ipv4Addr = Ipv4Addr::new(127, 8, 0, 2);
