//! A stanza of the largest size to very many sessions: a presence, which the server itself sends to all
//! who watch somebody. There is one copy of its content; a session has of it what is on its way to its
//! socket. Half of the sessions do not read before all others have it.

use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::{BURST_LEAST, Outcome, SLACK_BYTES, Stage, Trouble, finish};
use crate::fleet::{Fleet, Narrow, News};
use crate::scenario::settle;
use crate::split::has;

pub(super) struct Large {
    sessions: usize,
    /// Who is watched, and behind it the sessions.
    fleet: Option<Fleet>,
}

impl Large {
    pub(super) const fn new(sessions: usize) -> Self {
        Self { sessions, fleet: None }
    }

    fn watchers(&self) -> usize {
        self.sessions.div_ceil(SESSIONS_EACH)
    }

    /// Has everybody who may read do so until so many have the stanza.
    fn spread(
        &self,
        fleet: &mut Fleet,
        has_it: &mut [bool],
        mut wake: Vec<usize>,
        wanted: usize,
    ) -> anyhow::Result<Duration> {
        let mut count = has_it.iter().filter(|has_it| **has_it).count();
        let begun = Instant::now();
        let mut hear = |who: usize, element: &[u8]| {
            if element.len() >= STANZA_BYTES_MAX && has(&element[..200], "large") && !has_it[who] {
                has_it[who] = true;
                count += 1;
            }
            count
        };
        let mut heard = hear(0, b"");
        while heard < wanted && begun.elapsed() < PATIENCE {
            for who in wake.drain(wake.len().saturating_sub(100)..) {
                fleet.wake(who, &mut |who, xml, _| heard = hear(who, xml));
            }
            let wait = Duration::from_millis(if wake.is_empty() { 50 } else { 0 });
            fleet.turn(wait, &mut |who, xml, _| heard = hear(who, xml))?;
            if let Some(News::Closed { who, reason }) = fleet.take_news().into_iter().next() {
                anyhow::bail!("session {who} did not stay: {reason}");
            }
        }
        Ok(begun.elapsed())
    }
}

impl Trouble for Large {
    fn about(&self) -> String {
        format!(
            "a presence of {STANZA_BYTES_MAX} bytes to {} sessions of {} accounts, of which half do \
             not read at first",
            self.sessions,
            self.watchers()
        )
    }

    fn accounts(&self) -> usize {
        self.watchers() + 1
    }

    fn memory_max(&self) -> u64 {
        self.sessions as u64 * SESSION_BYTES + SLACK_BYTES
    }

    fn others_least(&self) -> [Duration; 2] {
        [BURST_LEAST; 2]
    }

    fn prepare(&mut self, stage: &Stage<'_>) -> anyhow::Result<()> {
        let mut fleet = stage.fleet(self.sessions + 1)?;
        stage.target.sign_in(&mut fleet, 0..1, |_| stage.login(0))?;
        // As over Ethernet: on the loopback interface the kernel would take all for who does not read.
        fleet.narrow(Some(Narrow::default()));
        stage.target.sign_in(&mut fleet, 1..self.sessions + 1, |who| {
            let mut login = stage.login(1 + (who - 1) / SESSIONS_EACH);
            login.resource = format!("bench{who}");
            login
        })?;
        // RFC 6121 §3.4: approved before they ask, they need not wait for each other.
        for number in 1..=self.watchers() {
            let yes = format!("<presence type='subscribed' to='{}'/>", stage.jid(number));
            fleet.outs().of(0).extend_from_slice(yes.as_bytes());
        }
        finish(&mut fleet, 0..1)?;
        let ask = format!("<presence type='subscribe' to='{}'/>", stage.jid(0));
        for who in (1..=self.sessions).step_by(SESSIONS_EACH) {
            fleet.outs().of(who).extend_from_slice(ask.as_bytes());
        }
        finish(&mut fleet, 1..self.sessions + 1)?;
        (0..=self.sessions).for_each(|who| fleet.outs().of(who).extend_from_slice(b"<presence/>"));
        finish(&mut fleet, 0..self.sessions + 1)?;
        settle(&mut fleet)?;
        (1..=self.sessions).step_by(2).for_each(|who| fleet.set_deaf(who, true));
        self.fleet = Some(fleet);
        Ok(())
    }

    fn make(&mut self, stage: &Stage<'_>) -> anyhow::Result<Outcome> {
        let mut fleet = self.fleet.take().context("nobody is signed in")?;
        let (open, close) = ("<presence id='large'><status>", "</status></presence>");
        let out = fleet.outs().of(0);
        out.extend_from_slice(open.as_bytes());
        out.resize(out.len() + STANZA_BYTES_MAX - open.len() - close.len(), b'x');
        out.extend_from_slice(close.as_bytes());
        let mut has_it = vec![false; self.sessions + 1];
        let deaf: Vec<usize> = (1..=self.sessions).step_by(2).collect();
        // It comes back to who sent it as well.
        let readers = self.sessions + 1 - deaf.len();
        let first = self.spread(&mut fleet, &mut has_it, Vec::new(), readers)?;
        // Everybody who does not read is offered as much as is taken.
        crate::pause(Duration::from_secs(3));
        let waiting = stage.private_mib();
        let second = self.spread(&mut fleet, &mut has_it, deaf, self.sessions + 1)?;

        let mut outcome = Outcome::default();
        let count = has_it.iter().filter(|has_it| **has_it).count();
        outcome
            .end("sessions have it whole, those that did not read at first among them", count - 1);
        outcome.figures.push(("readers_secs", first.as_secs_f64(), "s"));
        outcome.figures.push(("others_secs", second.as_secs_f64(), "s"));
        if let Some(mib) = waiting {
            outcome.figures.push(("private_mib_while_half_do_not_read", mib, "MiB"));
        }
        outcome.check("each session has it, and all stayed", count == self.sessions + 1);
        Ok(outcome)
    }
}

/// `stanza_bytes_max`, as it is by default.
const STANZA_BYTES_MAX: usize = 262_144;
/// `sessions_max`, as it is by default.
const SESSIONS_EACH: usize = 50;
/// What a session may have of a stanza on its way: one part and its surroundings.
const SESSION_BYTES: u64 = 20 * 1024;
const PATIENCE: Duration = Duration::from_secs(240);
