//! Mixed traffic for as long as one likes: memory, open files and threads must end as they began.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Args;

use super::chat::{Chat, Options as ChatOptions, Pair};
use super::{Load, MIB, Measured, Meter, Stopwatch, Timing, settle};
use crate::fleet::{Fleet, Login, News};
use crate::process::Process;
use crate::report::Report;
use crate::target::{Progress, Target};

/// Options of the scenario.
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// Minutes that are measured.
    #[arg(long, default_value_t = 60.0)]
    pub minutes: f64,
    /// Minutes before that: caches fill.
    #[arg(long, default_value_t = 10.0)]
    pub warm_up_minutes: f64,
    /// Pairs that chat under stream management.
    #[arg(long, default_value_t = 25)]
    pub pairs: usize,
    /// Messages a second between them.
    #[arg(long, default_value_t = 500)]
    pub rate: u32,
    /// Clients that come, say something and are cut off, over and over.
    #[arg(long, default_value_t = 20)]
    pub guests: usize,
    /// How long each of those stays, in milliseconds.
    #[arg(long, default_value_t = 500)]
    pub stay_ms: u64,
}

/// Runs it.
///
/// # Errors
/// Clients cannot sign in or do not stay, or the server's process is not known.
pub fn run(target: &mut Target, options: &Options) -> anyhow::Result<Report> {
    let chatting = options.pairs * 2;
    let all = chatting + options.guests;
    let mut fleet = target.fleet(all)?;
    let process = target.process.context("name the server's process by `--pid`")?;
    for _ in 0..all {
        fleet.add();
    }
    let login = |who| Login { manages: true, ..target.login(who) };
    target.sign_in(&mut fleet, 0..all, login)?;
    (0..all).for_each(|who| fleet.outs().of(who).extend_from_slice(b"<presence/>"));
    settle(&mut fleet)?;
    let mut soak = Soak::new(target, options);
    soak.chat.begin(fleet.outs());
    soak.pass(&mut fleet, target, options, options.warm_up_minutes)?;
    let before = Use::of(process)?;
    let stopwatch = Stopwatch::start(target)?;
    soak.meter = Meter::default();
    soak.visits = 0;
    soak.pass(&mut fleet, target, options, options.minutes)?;
    let measured = stopwatch.stop(std::mem::take(&mut soak.meter))?;
    let after = Use::of(process)?;
    Ok(report(target, options, &measured, [before, after], soak.visits))
}

fn report(
    target: &Target,
    options: &Options,
    measured: &Measured,
    [before, after]: [Use; 2],
    visits: u64,
) -> Report {
    let tls = format!("{:?}", target.common.tls).to_lowercase();
    let Options { minutes, pairs, rate, guests, .. } = options;
    let scenario = format!(
        "soak {minutes} minutes, {pairs} pairs, {rate} messages/s, {guests} guests, tls {tls}"
    );
    let mut report = Report::new(scenario, target.label());
    measured.tell(&mut report);
    report.figure("visits", visits as f64, "");
    report.figure("private_mib_before", before.private as f64 / MIB, "MiB");
    report.figure("private_mib_after", after.private as f64 / MIB, "MiB");
    let growth = (after.private as f64 / before.private as f64 - 1.0) * 100.0;
    report.figure("private_growth_percent", growth, "%");
    report.figure("open_files_before", before.open_files as f64, "");
    report.figure("open_files_after", after.open_files as f64, "");
    report.figure("threads_before", before.threads as f64, "");
    report.figure("threads_after", after.threads as f64, "");
    report
}

struct Use {
    private: u64,
    open_files: usize,
    threads: usize,
}

impl Use {
    fn of(process: Process) -> anyhow::Result<Self> {
        let private = process.memory()?.private;
        Ok(Self { private, open_files: process.open_files()?, threads: process.threads()? })
    }
}

struct Soak {
    chat: Chat,
    meter: Meter,
    /// When each guest came, if it is there.
    guests: Vec<Option<Instant>>,
    visits: u64,
}

impl Soak {
    fn new(target: &Target, options: &Options) -> Self {
        let chat = ChatOptions {
            pairs: options.pairs,
            window: 1,
            body: 100,
            rate: Some(options.rate),
            both_ways: false,
            full: false,
            management: true,
            idle: 0,
            relay: None,
            timing: Timing { secs: 0, warm_up_secs: 0 },
        };
        let pair = |n| Pair::new(2 * n, 2 * n + 1, &target.jid(2 * n + 1), &chat);
        let pairs = (0..options.pairs).map(pair).collect();
        Self {
            chat: Chat::new(pairs, options.pairs * 2 + options.guests, &chat),
            meter: Meter::default(),
            guests: vec![Some(Instant::now()); options.guests],
            visits: 0,
        }
    }

    fn pass(
        &mut self,
        fleet: &mut Fleet,
        target: &Target,
        options: &Options,
        minutes: f64,
    ) -> anyhow::Result<()> {
        let mut progress = Progress::new(target);
        let (begun, length) = (Instant::now(), Duration::from_secs_f64(minutes * 60.0));
        let first_guest = options.pairs * 2;
        while begun.elapsed() < length {
            let wait = self.chat.tick(fleet.outs(), &mut self.meter);
            let (chat, meter) = (&mut self.chat, &mut self.meter);
            fleet.turn(wait, &mut |who, element, outs| {
                if who < first_guest {
                    chat.hear(who, element, outs, meter);
                }
            })?;
            for news in fleet.take_news() {
                match news {
                    News::Ready { who, .. } => {
                        self.guests[who - first_guest] = Some(Instant::now());
                        let said = guest(&target.jid(first_guest));
                        fleet.outs().of(who).extend_from_slice(said.as_bytes());
                    }
                    News::Closed { who, reason } => {
                        anyhow::bail!("client {who} was thrown out: {reason}");
                    }
                }
            }
            self.come_and_go(fleet, target, options)?;
            let (visits, minutes) = (self.visits, begun.elapsed().as_secs_f64() / 60.0);
            progress.say(|| {
                let memory = target.process.and_then(|process| process.memory().ok());
                let mib = memory.map_or(0.0, |memory| memory.private as f64 / MIB);
                format!("{minutes:.1} min, {visits} visits, {mib:.1} MiB")
            });
        }
        Ok(())
    }

    /// Guests who have stayed long enough lose their connections and come anew.
    fn come_and_go(
        &mut self,
        fleet: &mut Fleet,
        target: &Target,
        options: &Options,
    ) -> anyhow::Result<()> {
        let stay = Duration::from_millis(options.stay_ms);
        for (index, guest) in self.guests.iter_mut().enumerate() {
            if guest.is_some_and(|since| since.elapsed() >= stay) {
                let who = options.pairs * 2 + index;
                fleet.cut(who);
                fleet.connect(who, Some(target.login(who)))?;
                *guest = None;
                self.visits += 1;
            }
        }
        Ok(())
    }
}

/// What a guest says: presence, a question, and a message, often to one who is not there.
fn guest(to: &str) -> String {
    format!(
        "<presence/><iq type='get' id='roster'><query xmlns='jabber:iq:roster'/></iq>\
         <iq type='get' id='ping'><ping xmlns='urn:xmpp:ping'/></iq>\
         <message to='{to}' type='chat' id='visit'><body>{}</body></message>",
        "x".repeat(100)
    )
}
