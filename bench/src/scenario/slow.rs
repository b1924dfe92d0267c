//! Pairs that chat beside clients that have stopped reading.

use std::time::{Duration, Instant};

use clap::Args;

use super::chat::{Chat, Options as ChatOptions, Pair};
use super::{Load, Meter, Stopwatch, Timing, settle};
use crate::fleet::{News, Outs};
use crate::report::Report;
use crate::target::{Progress, Target};

/// Options of the scenario.
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// Pairs that chat.
    #[arg(long, default_value_t = 20)]
    pub pairs: usize,
    /// Clients that do not read.
    #[arg(long, default_value_t = 50)]
    pub deaf: usize,
    /// Messages a second between the pairs, and as many to those who do not read.
    #[arg(long, default_value_t = 2_000)]
    pub rate: u32,
    /// How long.
    #[command(flatten)]
    pub timing: Timing,
}

/// Runs it: once with everybody reading, once without.
///
/// # Errors
/// Clients cannot sign in, or one that reads does not stay.
pub fn run(target: &mut Target, options: &Options) -> anyhow::Result<Report> {
    let Options { pairs, deaf, rate, timing } = *options;
    // Behind the pairs come those who do not read, and one that writes to them.
    let (first_deaf, writer) = (2 * pairs, 2 * pairs + deaf);
    let mut fleet = target.fleet(writer + 1)?;
    for _ in 0..=writer {
        fleet.add();
    }
    target.sign_in(&mut fleet, 0..writer + 1, |who| target.login(who))?;
    (0..writer).for_each(|who| fleet.outs().of(who).extend_from_slice(b"<presence/>"));
    settle(&mut fleet)?;
    let chat = ChatOptions {
        pairs,
        window: 1,
        body: 1_000,
        rate: Some(rate),
        both_ways: false,
        full: false,
        management: false,
        idle: 0,
        relay: None,
        timing,
    };
    let all = (0..pairs).map(|n| Pair::new(2 * n, 2 * n + 1, &target.jid(2 * n + 1), &chat));
    let chatting = Chat::new(all.collect(), writer + 1, &chat);
    let to_deaf =
        (0..deaf).map(|n| Pair::new(writer, first_deaf + n, &target.jid(first_deaf + n), &chat));
    let mut load = Slow {
        chatting,
        to_deaf: to_deaf.collect(),
        writer,
        next: 0,
        sent: 0,
        rate,
        begun: Instant::now(),
    };
    let mut report = Report::new(format!("{deaf} of {writer} clients do not read"), target.label());
    let mut progress = Progress::new(target);
    let mut closed = 0;
    for is_deaf in [false, true] {
        (first_deaf..writer).for_each(|who| fleet.set_deaf(who, is_deaf));
        let (mut meter, stopwatch) = (Meter::default(), Stopwatch::start(target)?);
        let (begun, length) = (Instant::now(), Duration::from_secs(timing.secs));
        load.chatting.begin(fleet.outs());
        (load.begun, load.sent) = (Instant::now(), 0);
        let (mut peak, mut looked) = (0, Instant::now());
        while begun.elapsed() < length {
            let wait = load.tick(fleet.outs(), &mut meter);
            fleet.turn(wait, &mut |who, xml, outs| load.hear(who, xml, outs, &mut meter))?;
            for news in fleet.take_news() {
                match news {
                    News::Closed { who, .. } if (first_deaf..writer).contains(&who) => closed += 1,
                    news => anyhow::bail!("one that reads was thrown out: {news:?}"),
                }
            }
            if looked.elapsed() >= MEMORY_EVERY {
                looked = Instant::now();
                let memory = target.process.and_then(|process| process.memory().ok());
                peak = peak.max(memory.map_or(0, |memory| memory.private));
            }
            progress.say(|| format!("{} delivered, {closed} thrown out", meter.delivered));
        }
        let measured = stopwatch.stop(meter)?;
        let names = match is_deaf {
            false => ["all_read_p50_us", "all_read_p99_us", "all_read_peak_mib"],
            true => ["some_deaf_p50_us", "some_deaf_p99_us", "some_deaf_peak_mib"],
        };
        for (name, share) in [(names[0], 0.5), (names[1], 0.99)] {
            let micros = measured.meter.latencies.quantile(share).as_nanos() as f64 / 1e3;
            report.figure(name, micros, "µs");
        }
        report.figure(names[2], peak as f64 / 1_048_576.0, "MiB");
    }
    report.figure("thrown_out", f64::from(closed), "");
    Ok(report)
}

struct Slow {
    chatting: Chat,
    to_deaf: Vec<Pair>,
    writer: usize,
    next: usize,
    sent: u64,
    rate: u32,
    begun: Instant,
}

impl Load for Slow {
    fn begin(&mut self, _: &mut Outs) {}

    fn hear(&mut self, who: usize, element: &[u8], outs: &mut Outs, meter: &mut Meter) {
        // What comes to the writer are errors, which are due when somebody is thrown out.
        if who < self.writer && self.chatting.receives(who) {
            self.chatting.hear(who, element, outs, meter);
        }
    }

    fn tick(&mut self, outs: &mut Outs, meter: &mut Meter) -> Duration {
        let nanos = self.begun.elapsed().as_nanos() * u128::from(self.rate);
        let due = u64::try_from(nanos / 1_000_000_000).unwrap_or(u64::MAX);
        while self.sent < due && !self.to_deaf.is_empty() {
            self.to_deaf[self.next].send(outs);
            self.next = (self.next + 1) % self.to_deaf.len();
            self.sent += 1;
        }
        self.chatting.tick(outs, meter)
    }
}

/// How often the server's memory is looked at.
const MEMORY_EVERY: Duration = Duration::from_millis(500);
