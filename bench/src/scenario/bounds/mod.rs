//! What the server stands: one trouble after the other is made while honest clients go on, and what
//! it takes is held against stated bounds.
//!
//! Each trouble has a server of its own, unless one is named. Honest pairs chat at a steady rate, and
//! a visitor signs in ten times a second, before the trouble, during it and after it; they have a
//! thread to themselves, so that what the generator does else is not in their times. Memory is what
//! the process has written and nobody shares, looked at ten times a second.

mod crowd;
mod deaf;
mod dribble;
mod guesses;
mod handshakes;
mod honest;
mod large;
mod roster;

use std::borrow::Cow;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use clap::{Args, ValueEnum};

use self::honest::{Honest, Seen};
use super::MIB;
use crate::cli::complain;
use crate::fleet::{Fleet, Login, News, Server};
use crate::process::Process;
use crate::report::Report;
use crate::split::attribute;
use crate::target::Target;

/// Options of the scenario.
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// Only these; all of them without.
    #[arg(long, value_enum)]
    pub only: Vec<Name>,
    /// Honest pairs that chat.
    #[arg(long, default_value_t = 20)]
    pub pairs: usize,
    /// Messages a second between them.
    #[arg(long, default_value_t = 400)]
    pub rate: u32,
    /// Seconds before the trouble and after it, and of a trouble that has no end of its own.
    #[arg(long, default_value_t = 10)]
    pub secs: u64,
    /// How many times as long 99 % of the honest may wait during the trouble as before.
    #[arg(long, default_value_t = 10.0)]
    pub factor: f64,
    /// Clients that stop reading.
    #[arg(long, default_value_t = 20)]
    pub deaf: usize,
    /// Connections that stop in the middle of a handshake.
    #[arg(long, default_value_t = 1_000)]
    pub half_open: usize,
    /// Addresses from which passwords are guessed, besides the one from which many are at a time.
    #[arg(long, default_value_t = 500)]
    pub sources: usize,
    /// Clients that send a byte a second.
    #[arg(long, default_value_t = 500)]
    pub slow: usize,
    /// Sessions that get the largest stanza.
    #[arg(long, default_value_t = 10_000)]
    pub sessions: usize,
    /// Contacts that come online at once.
    #[arg(long, default_value_t = 5_000)]
    pub contacts: usize,
}

/// A trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Name {
    /// Readers that stop reading while they are written to.
    Deaf,
    /// Connections that stop in the middle of a handshake.
    Handshakes,
    /// Wrong passwords, from one address and from many.
    Guesses,
    /// Clients that send a byte a second.
    Dribble,
    /// A stanza of the largest size to very many sessions, of which half do not read.
    Large,
    /// Very many contacts of one account that come at once.
    Roster,
}

/// Something that goes wrong, or somebody who makes it.
trait Trouble {
    /// What it is, with its numbers.
    fn about(&self) -> String;

    /// Keys of the configuration that the server has for it, as variables.
    fn settings(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// Accounts that it needs.
    fn accounts(&self) -> usize {
        0
    }

    /// Bytes that the server's private memory may grow by.
    fn memory_max(&self) -> u64;

    /// What 99 % of others' messages, and of their sign-ins, may always take, however quick they were
    /// before.
    fn others_least(&self) -> [Duration; 2] {
        [MESSAGE_LEAST, SIGN_IN_LEAST]
    }

    /// What must be there before it begins; that is not measured.
    fn prepare(&mut self, stage: &Stage<'_>) -> anyhow::Result<()>;

    /// Makes it, to its end.
    fn make(&mut self, stage: &Stage<'_>) -> anyhow::Result<Outcome>;
}

/// Where a trouble is made.
struct Stage<'a> {
    target: &'a Target,
    server: Server,
    /// The port without TLS or with STARTTLS.
    plain: SocketAddr,
    /// The port with TLS from the first byte, if it is known.
    direct: Option<SocketAddr>,
    first_account: usize,
    secs: u64,
}

impl Stage<'_> {
    /// Clients of the trouble, so many.
    fn fleet(&self, clients: usize) -> anyhow::Result<Fleet> {
        let mut fleet = Fleet::new(self.server.clone())?;
        (0..clients).for_each(|_| _ = fleet.add());
        Ok(fleet)
    }

    /// The server's private memory now, in MiB.
    fn private_mib(&self) -> Option<f64> {
        let memory = self.target.process?.memory().ok()?;
        Some(memory.private as f64 / MIB)
    }

    fn login(&self, number: usize) -> Login {
        self.target.login(self.first_account + number)
    }

    fn jid(&self, number: usize) -> String {
        self.target.jid(self.first_account + number)
    }

    fn say(&self, text: &str) {
        if !self.target.common.quiet {
            complain(text);
        }
    }
}

/// What a trouble came to.
#[derive(Default)]
struct Outcome {
    /// What became of those who made it, and of how many.
    ends: Vec<(Cow<'static, str>, u64)>,
    /// What was to be, and whether it was.
    checks: Vec<(String, bool)>,
    figures: Vec<(&'static str, f64, &'static str)>,
}

impl Outcome {
    fn end(&mut self, what: impl Into<Cow<'static, str>>, count: usize) {
        if count > 0 {
            self.ends.push((what.into(), count as u64));
        }
    }

    fn check(&mut self, what: impl Into<String>, holds: bool) {
        self.checks.push((what.into(), holds));
    }
}

/// Runs it.
///
/// # Errors
/// Clients cannot sign in or do not stay; or a bound is broken, once all have been told.
pub fn run(target: &mut Target, options: &Options) -> anyhow::Result<()> {
    let mut broken = Vec::new();
    for name in Name::value_variants() {
        if !options.only.is_empty() && !options.only.contains(name) {
            continue;
        }
        let mut trouble = name.with(options);
        let report = face(target, options, &mut *trouble)?;
        if !report.holds() {
            broken.push(format!("{name:?}").to_lowercase());
        }
        target.tell(&report)?;
    }
    ensure!(broken.is_empty(), "bounds are broken: {}", broken.join(", "));
    Ok(())
}

impl Name {
    fn with(self, options: &Options) -> Box<dyn Trouble> {
        match self {
            Self::Deaf => Box::new(deaf::Deaf::new(options.deaf)),
            Self::Handshakes => Box::new(handshakes::HalfOpen::new(options.half_open)),
            Self::Guesses => Box::new(guesses::Guesses::new(options.sources)),
            Self::Dribble => Box::new(dribble::Dribble::new(options.slow)),
            Self::Large => Box::new(large::Large::new(options.sessions)),
            Self::Roster => Box::new(roster::Gathering::new(options.contacts)),
        }
    }
}

/// Makes one trouble, with its server, and judges.
fn face(
    target: &mut Target,
    options: &Options,
    trouble: &mut dyn Trouble,
) -> anyhow::Result<Report> {
    let first_account = 2 * options.pairs + 1;
    target.begin_anew(trouble.settings());
    let fleet = target.fleet(first_account + trouble.accounts())?;
    let server = fleet.server().clone();
    let (plain, direct) = target.ports().context("no address")?;
    let honest = Honest::sign_in(target, fleet, options)?;
    let stage = Stage { target, server, plain, direct, first_account, secs: options.secs };
    stage.say(&trouble.about());
    trouble.prepare(&stage)?;
    let (phase, process) = (&AtomicUsize::new(BEFORE), stage.target.process);
    let (outcome, seen, memory) = thread::scope(|scope| {
        let honest = scope.spawn(move || honest.run(phase));
        let watcher = scope.spawn(move || Memory::watch(process, phase));
        crate::pause(Duration::from_secs(options.secs));
        phase.store(DURING, Ordering::Release);
        let begun = Instant::now();
        let outcome = trouble.make(&stage).map(|outcome| (outcome, begun.elapsed()));
        phase.store(AFTER, Ordering::Release);
        crate::pause(Duration::from_secs(options.secs));
        phase.store(OVER, Ordering::Release);
        (outcome, honest.join(), watcher.join())
    });
    let (outcome, length) = outcome?;
    let seen = seen.map_err(|_| anyhow::anyhow!("the honest clients broke off"))??;
    let memory = memory.map_err(|_| anyhow::anyhow!("nobody looked at memory"))?;
    let mut report = Report::new(trouble.about(), target.label());
    report.figure("secs", length.as_secs_f64(), "s");
    judge_honest(&mut report, &seen, options.factor, trouble.others_least());
    judge_memory(&mut report, memory, trouble.memory_max());
    for (name, value, unit) in outcome.figures {
        report.figure(name, value, unit);
    }
    for (what, count) in outcome.ends {
        report.remark(format!("{count} {what}"));
    }
    for (what, holds) in outcome.checks {
        report.bound(what, holds);
    }
    Ok(report)
}

/// What others noticed.
fn judge_honest(report: &mut Report, seen: &[Seen; 3], times: f64, least: [Duration; 2]) {
    let micros = |time: Duration| time.as_nanos() as f64 / 1e3;
    let names = [
        ["before_p50_us", "before_p99_us", "before_sign_in_p99_us"],
        ["during_p50_us", "during_p99_us", "during_sign_in_p99_us"],
        ["after_p50_us", "after_p99_us", "after_sign_in_p99_us"],
    ];
    for (names, seen) in names.iter().zip(seen) {
        report.figure(names[0], micros(seen.messages.latencies.quantile(0.5)), "µs");
        report.figure(names[1], micros(seen.messages.latencies.quantile(0.99)), "µs");
        report.figure(names[2], micros(seen.sign_ins.quantile(0.99)), "µs");
    }
    let [before, during, _] = seen;
    let of_messages = [before, during].map(|seen| seen.messages.latencies.quantile(0.99));
    let of_sign_ins = [before, during].map(|seen| seen.sign_ins.quantile(0.99));
    for (what, [before, during], least) in [
        ("messages of others", of_messages, least[0]),
        ("sign-ins of others", of_sign_ins, least[1]),
    ] {
        let factor = during.as_secs_f64() / before.as_secs_f64().max(1e-9);
        let max = before.mul_f64(times).max(least);
        let least = least.as_millis();
        let text = format!(
            "99 % of the {what} took {factor:.1} times as long as before: at most {times} times, or \
             {least} ms"
        );
        report.bound(text, !during.is_zero() && during <= max);
    }
    let wrong: u64 = seen.iter().map(|seen| seen.messages.wrong).sum();
    let failed: u64 = seen.iter().map(|seen| seen.failed_sign_ins).sum();
    let text = format!(
        "of others' messages {wrong} were lost, doubled or out of order and {failed} sign-ins \
         failed: none"
    );
    report.bound(text, wrong + failed == 0);
}

/// Private memory of the server.
#[derive(Clone, Copy, Debug, Default)]
struct Memory {
    before: u64,
    peak: u64,
    after: u64,
}

impl Memory {
    fn watch(process: Option<Process>, phase: &AtomicUsize) -> Option<Self> {
        let process = process?;
        let mut memory = Self::default();
        loop {
            let private = process.memory().ok()?.private;
            match phase.load(Ordering::Acquire) {
                BEFORE => memory.before = private,
                DURING => memory.peak = memory.peak.max(private),
                AFTER => memory.after = private,
                _ => return Some(memory),
            }
            crate::pause(MEMORY_EVERY);
        }
    }
}

/// What it grew by, where the process is known.
fn judge_memory(report: &mut Report, memory: Option<Memory>, growth_max: u64) {
    let Some(Memory { before, peak, after }) = memory else {
        return report.remark("The server's process is not known: memory was not looked at.");
    };
    let mib = |bytes: u64| bytes as f64 / MIB;
    for (name, bytes) in
        [("private_mib_before", before), ("private_mib_peak", peak), ("private_mib_after", after)]
    {
        report.figure(name, mib(bytes), "MiB");
    }
    let growth = peak.saturating_sub(before);
    let text = format!("memory grew by {:.1} MiB: at most {:.1} MiB", mib(growth), mib(growth_max));
    report.bound(text, growth <= growth_max);
}

/// Waits until the server has dealt with all that these clients sent.
fn finish(fleet: &mut Fleet, clients: Range<usize>) -> anyhow::Result<()> {
    let ping = b"<iq type='get' id='done'><ping xmlns='urn:xmpp:ping'/></iq>";
    clients.clone().for_each(|who| fleet.outs().of(who).extend_from_slice(ping));
    let (mut left, begun) = (clients.len(), Instant::now());
    while left > 0 {
        fleet.turn(Duration::from_millis(20), &mut |_, xml, _| {
            left -= usize::from(attribute(xml, "id") == Some(b"done"));
        })?;
        if let Some(News::Closed { who, reason }) = fleet.take_news().into_iter().next() {
            anyhow::bail!("{who} was thrown out: {reason}");
        }
        ensure!(begun.elapsed() < FINISH_WAIT, "{left} have no answer");
    }
    Ok(())
}

const BEFORE: usize = 0;
const DURING: usize = 1;
const AFTER: usize = 2;
const OVER: usize = 3;

/// What always may be waited, however quick it was before; in a burst with which the whole machine is
/// busy.
const BURST_LEAST: Duration = Duration::from_secs(1);
const MESSAGE_LEAST: Duration = Duration::from_millis(20);
const SIGN_IN_LEAST: Duration = Duration::from_millis(250);
const FINISH_WAIT: Duration = Duration::from_secs(240);
const MEMORY_EVERY: Duration = Duration::from_millis(100);
/// What memory grows by whoever does what: caches of the database, pages of the allocator.
const SLACK_BYTES: u64 = 16 << 20;
