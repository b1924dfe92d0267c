//! Readers that stop reading while they are written to. What waits for one is bounded: with more its
//! session ends, its senders have been slowed before, and what it did not take is kept for its next
//! session.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::{Outcome, SLACK_BYTES, Stage, Trouble};
use crate::fleet::{Fleet, Narrow, News};
use crate::scenario::settle;
use crate::split::attribute;

pub(super) struct Deaf {
    count: usize,
    fleet: Option<Fleet>,
    writers: Vec<Writer>,
}

/// Who writes to one that does not read.
#[derive(Default)]
struct Writer {
    sent: usize,
    /// Whether the other's session is known to have ended.
    is_over: bool,
    /// What the other has heard.
    heard: BTreeSet<usize>,
}

impl Deaf {
    pub(super) fn new(count: usize) -> Self {
        let writers = (0..count).map(|_| Writer::default()).collect();
        Self { count, fleet: None, writers }
    }

    /// Some messages, one for the other's session alone, which comes back if that has ended, and a
    /// question to the server: its answer says that all before it has been dealt with.
    fn write(&mut self, stage: &Stage<'_>, fleet: &mut Fleet, who: usize) {
        let writer = &mut self.writers[who];
        let (to, body) = (stage.jid(who), "x".repeat(BODY_BYTES));
        let out = fleet.outs().of(self.count + who);
        for number in writer.sent..writer.sent + LOT {
            let message = format!(
                "<message to='{to}' type='chat' id='m{number}'><body>{body}</body></message>"
            );
            out.extend_from_slice(message.as_bytes());
        }
        writer.sent += LOT;
        let there = format!("<message to='{to}/bench' type='headline' id='there'/>");
        out.extend_from_slice(there.as_bytes());
        out.extend_from_slice(b"<iq type='get' id='done'><ping xmlns='urn:xmpp:ping'/></iq>");
    }

    /// Writes until all sessions have ended, or for as long as is waited.
    fn fill(&mut self, stage: &Stage<'_>, fleet: &mut Fleet) -> anyhow::Result<Duration> {
        (0..self.count).for_each(|who| self.write(stage, fleet, who));
        let begun = Instant::now();
        let mut done = Vec::new();
        while !self.writers.iter().all(|writer| writer.is_over) && begun.elapsed() < PATIENCE {
            let (writers, count) = (&mut self.writers, self.count);
            fleet.turn(Duration::from_millis(20), &mut |who, element, _| {
                let Some(who) = who.checked_sub(count) else { return };
                let is_error = attribute(element, "type") == Some(b"error");
                match attribute(element, "id") {
                    Some(b"there") if is_error => writers[who].is_over = true,
                    Some(b"done") => done.push(who),
                    _ => {}
                }
            })?;
            for news in fleet.take_news() {
                if let News::Closed { who, reason } = news
                    && who >= count
                {
                    anyhow::bail!("a writer was thrown out: {reason}");
                }
            }
            for who in std::mem::take(&mut done) {
                if !self.writers[who].is_over {
                    self.write(stage, fleet, who);
                }
            }
        }
        Ok(begun.elapsed())
    }

    /// What the deaf hear once they listen: `wake` says who does.
    fn listen(&mut self, fleet: &mut Fleet, wake: bool) -> anyhow::Result<usize> {
        let (writers, count) = (&mut self.writers, self.count);
        let mut hear = |who: usize, element: &[u8]| {
            let id = attribute(element, "id").and_then(|id| id.strip_prefix(b"m"));
            let number = id.and_then(|id| std::str::from_utf8(id).ok()?.parse().ok());
            if let Some(number) = number.filter(|_| who < count && element.starts_with(b"<message"))
            {
                writers[who].heard.insert(number);
            }
        };
        if wake {
            (0..count).for_each(|who| fleet.wake(who, &mut |who, xml, _| hear(who, xml)));
        }
        let (mut closed, mut quiet) = (0, Instant::now());
        let begun = Instant::now();
        while quiet.elapsed() < QUIET && begun.elapsed() < PATIENCE {
            fleet.turn(Duration::from_millis(50), &mut |who, xml, outs| {
                quiet = Instant::now();
                // Stored messages leave the store once this is answered.
                if let Some(id) = attribute(xml, "id").filter(|id| id.starts_with(b"stored-")) {
                    let answer =
                        format!("<iq type='result' id='{}'/>", String::from_utf8_lossy(id));
                    outs.of(who).extend_from_slice(answer.as_bytes());
                }
                hear(who, xml);
            })?;
            for news in fleet.take_news() {
                quiet = Instant::now();
                match news {
                    News::Closed { .. } => closed += 1,
                    News::Ready { who, .. } => {
                        fleet.outs().of(who).extend_from_slice(b"<presence/>")
                    }
                }
            }
        }
        Ok(closed)
    }
}

impl Trouble for Deaf {
    fn about(&self) -> String {
        format!(
            "{} of {} clients stop reading while they are written to",
            self.count,
            self.count * 2
        )
    }

    fn accounts(&self) -> usize {
        self.count * 2
    }

    fn memory_max(&self) -> u64 {
        // The hard bound of an outbox, the same again while a session that ended stores what it left,
        // and what is read from and written to the socket.
        self.count as u64 * (2 * OUTBOX_BYTES + 512 * 1024) + DISK_QUEUE_BYTES + SLACK_BYTES
    }

    fn prepare(&mut self, stage: &Stage<'_>) -> anyhow::Result<()> {
        let mut fleet = stage.fleet(self.count * 2)?;
        // The kernel would take megabytes for a reader who does not read.
        fleet.narrow(Some(Narrow::default()));
        stage.target.sign_in(&mut fleet, 0..self.count, |who| stage.login(who))?;
        fleet.narrow(None);
        stage.target.sign_in(&mut fleet, self.count..self.count * 2, |who| stage.login(who))?;
        (0..self.count).for_each(|who| fleet.outs().of(who).extend_from_slice(b"<presence/>"));
        settle(&mut fleet)?;
        (0..self.count).for_each(|who| fleet.set_deaf(who, true));
        self.fleet = Some(fleet);
        Ok(())
    }

    fn make(&mut self, stage: &Stage<'_>) -> anyhow::Result<Outcome> {
        let mut fleet = self.fleet.take().context("nobody is signed in")?;
        let filled = self.fill(stage, &mut fleet)?;
        // What ended has had the time that its last bytes may take.
        crate::pause(Duration::from_secs(4));
        let left = stage.private_mib();
        let ended = self.writers.iter().filter(|writer| writer.is_over).count();
        let closed = self.listen(&mut fleet, true)?;
        for who in 0..self.count {
            fleet.connect(who, Some(stage.login(who)))?;
        }
        self.listen(&mut fleet, false)?;
        let sent: usize = self.writers.iter().map(|writer| writer.sent).sum();
        let heard: usize = self.writers.iter().map(|writer| writer.heard.len()).sum();

        let mut outcome = Outcome::default();
        outcome.end("sessions ended for what waited for them", ended);
        outcome.end("of their connections were found closed when they read again", closed);
        outcome.figures.push(("filled_secs", filled.as_secs_f64(), "s"));
        outcome.figures.push(("sent_mib", (sent * BODY_BYTES) as f64 / super::MIB, "MiB"));
        if let Some(mib) = left {
            outcome.figures.push(("private_mib_once_ended", mib, "MiB"));
        }
        outcome.check("each session ended", ended == self.count);
        outcome.check("each connection was closed", closed == self.count);
        outcome.check(
            format!("of {sent} messages {heard} came, to this session or the next: all"),
            heard == sent,
        );
        Ok(outcome)
    }
}

const BODY_BYTES: usize = 32 * 1024;
/// Messages between two questions whether the other is there.
const LOT: usize = 8;
/// What may wait for one session.
const OUTBOX_BYTES: u64 = 4 << 20;
/// What may wait for the disk.
const DISK_QUEUE_BYTES: u64 = 64 << 20;
const PATIENCE: Duration = Duration::from_secs(120);
const QUIET: Duration = Duration::from_secs(3);
