//! What clients do, and how a run is measured.

pub mod archive;
pub mod bounds;
pub mod chat;
pub mod idle;
pub mod kills;
pub mod login;
pub mod muc;
pub mod ping;
pub mod presence;
pub mod slow;
pub mod soak;
pub mod storm;

use std::time::{Duration, Instant};

use clap::Args;

use crate::fleet::{Fleet, News, Outs};
use crate::histogram::Histogram;
use crate::process::{Memory, Process};
use crate::report::Report;
use crate::target::{Progress, Target};

/// How long a run takes.
#[derive(Clone, Copy, Debug, Args)]
pub struct Timing {
    /// Seconds that are measured.
    #[arg(long, default_value_t = 10)]
    pub secs: u64,
    /// Seconds before that.
    #[arg(long, default_value_t = 2)]
    pub warm_up_secs: u64,
}

/// What signed-in clients do.
pub trait Load {
    /// The first stanzas.
    fn begin(&mut self, outs: &mut Outs);

    /// A client was sent an element.
    fn hear(&mut self, who: usize, element: &[u8], outs: &mut Outs, meter: &mut Meter);

    /// Time has passed. How long to wait for input at most.
    fn tick(&mut self, _outs: &mut Outs, _meter: &mut Meter) -> Duration {
        Duration::from_millis(100)
    }
}

/// What is counted while a run is measured.
#[derive(Default)]
pub struct Meter {
    /// How long deliveries took.
    pub latencies: Histogram,
    /// Deliveries.
    pub delivered: u64,
    /// What came that should not have come, or not then.
    pub wrong: u64,
}

impl Meter {
    /// Counts a delivery of what was sent then.
    pub fn delivered_since(&mut self, sent: Instant) {
        self.delivered += 1;
        self.latencies.record(sent.elapsed());
    }
}

/// What a run used.
pub struct Measured {
    /// What was counted.
    pub meter: Meter,
    /// How long it took.
    pub elapsed: Duration,
    /// Processor time of the server, if its process is known.
    pub server_cpu: Option<Duration>,
    /// Processor time of the generator.
    pub own_cpu: Duration,
    /// Memory of the server at the end.
    pub memory: Option<Memory>,
}

/// Processor times at one moment.
pub struct Stopwatch {
    process: Option<Process>,
    server: Option<Duration>,
    own: Duration,
    begun: Instant,
}

impl Stopwatch {
    /// Starts it.
    ///
    /// # Errors
    /// The server is gone.
    pub fn start(target: &Target) -> anyhow::Result<Self> {
        let process = target.process;
        let server = process.map(Process::cpu).transpose()?;
        let own = Process::own().cpu()?;
        Ok(Self { process, server, own, begun: Instant::now() })
    }

    /// What was used since.
    ///
    /// # Errors
    /// The server is gone.
    pub fn stop(self, meter: Meter) -> anyhow::Result<Measured> {
        let elapsed = self.begun.elapsed();
        let server = self.process.map(Process::cpu).transpose()?;
        Ok(Measured {
            meter,
            elapsed,
            server_cpu: server.zip(self.server).map(|(now, then)| now.saturating_sub(then)),
            own_cpu: Process::own().cpu()?.saturating_sub(self.own),
            memory: self.process.and_then(|process| process.memory().ok()),
        })
    }
}

/// Runs a load and measures it.
///
/// # Errors
/// A client lost its connection, or the server is gone.
pub fn measure(
    target: &Target,
    fleet: &mut Fleet,
    load: &mut dyn Load,
    timing: Timing,
) -> anyhow::Result<Measured> {
    let mut progress = Progress::new(target);
    let mut meter = Meter::default();
    load.begin(fleet.outs());
    pass(fleet, load, &mut meter, &mut progress, timing.warm_up_secs)?;
    let stopwatch = Stopwatch::start(target)?;
    let mut meter = Meter::default();
    pass(fleet, load, &mut meter, &mut progress, timing.secs)?;
    stopwatch.stop(meter)
}

fn pass(
    fleet: &mut Fleet,
    load: &mut dyn Load,
    meter: &mut Meter,
    progress: &mut Progress,
    secs: u64,
) -> anyhow::Result<()> {
    let begun = Instant::now();
    let length = Duration::from_secs(secs);
    while begun.elapsed() < length {
        let wait = load.tick(fleet.outs(), meter);
        fleet.turn(wait, &mut |who, element, outs| load.hear(who, element, outs, meter))?;
        for news in fleet.take_news() {
            if let News::Closed { who, reason } = news {
                anyhow::bail!("client {who} was thrown out: {reason}");
            }
        }
        progress.say(|| {
            let (secs, delivered) = (begun.elapsed().as_secs_f64(), meter.delivered as f64);
            let p99 = meter.latencies.quantile(0.99).as_micros();
            format!("{secs:.0} s, {:.0} deliveries a second, p99 {p99} µs", delivered / secs)
        });
    }
    Ok(())
}

/// Shows what comes to nobody until it is quiet for a moment.
///
/// # Errors
/// A client lost its connection.
pub fn settle(fleet: &mut Fleet) -> anyhow::Result<()> {
    let mut heard = Instant::now();
    let begun = Instant::now();
    while heard.elapsed() < QUIET && begun.elapsed() < QUIET_WAIT {
        fleet.turn(QUIET / 4, &mut |_, _, _| heard = Instant::now())?;
        if let Some(News::Closed { who, reason }) = fleet.take_news().into_iter().next() {
            anyhow::bail!("client {who} was thrown out: {reason}");
        }
    }
    Ok(())
}

impl Measured {
    /// The figures that every scenario with deliveries has.
    pub fn tell(&self, report: &mut Report) {
        let Meter { latencies, delivered, wrong } = &self.meter;
        let (secs, delivered) = (self.elapsed.as_secs_f64(), *delivered as f64);
        report.figure("deliveries_per_sec", delivered / secs, "/s");
        if !latencies.is_empty() {
            for (name, share) in [("p50_us", 0.5), ("p99_us", 0.99), ("p99_9_us", 0.999)] {
                report.figure(name, latencies.quantile(share).as_nanos() as f64 / 1e3, "µs");
            }
        }
        report.figure("wrong", *wrong as f64, "");
        if let Some(cpu) = self.server_cpu {
            let per_million = cpu.as_secs_f64() * 1e6 / delivered.max(1.0);
            report.figure("server_cpu_secs_per_million", per_million, "s");
        }
        self.tell_use(report);
        if delivered == 0.0 {
            report.remark("Nothing was delivered.");
        }
    }

    /// How busy both sides were, and whether the generator was the bottleneck.
    pub fn tell_use(&self, report: &mut Report) {
        let secs = self.elapsed.as_secs_f64();
        let own = self.own_cpu.as_secs_f64() / secs;
        if let Some(cpu) = self.server_cpu {
            report.figure("server_cores", cpu.as_secs_f64() / secs, "");
        }
        report.figure("generator_cores", own, "");
        if let Some(memory) = self.memory {
            report.figure("server_private_mib", memory.private as f64 / MIB, "MiB");
            report.figure("server_resident_mib", memory.resident as f64 / MIB, "MiB");
        }
        let server = self.server_cpu.map_or(0.0, |cpu| cpu.as_secs_f64() / secs);
        if own > BUSY && own > server {
            report.remark(
                "The generator was the bottleneck: the server could have delivered more; its \
                 processor time for each delivery stands.",
            );
        }
    }
}

/// Writes a number with eight digits.
pub(crate) fn digits(number: u32) -> [u8; 8] {
    let mut digits = [b'0'; 8];
    let mut rest = number;
    for digit in digits.iter_mut().rev() {
        *digit += u8::try_from(rest % 10).unwrap_or(0);
        rest /= 10;
    }
    digits
}

/// Reads a number of digits.
pub(crate) fn number(digits: &[u8]) -> Option<u32> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// The number in front of something, as in `bench17@localhost/bench`.
pub(crate) fn account_number(jid: &[u8], prefix: &str) -> Option<usize> {
    let rest = jid.strip_prefix(prefix.as_bytes())?;
    let len = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    std::str::from_utf8(&rest[..len]).ok()?.parse().ok()
}

const MIB: f64 = 1_048_576.0;
/// Share of its time above which the generator counts as busy.
const BUSY: f64 = 0.9;
const QUIET: Duration = Duration::from_millis(400);
const QUIET_WAIT: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_with_their_digits_and_read_again() {
        for n in [0, 7, 1_234_567, 99_999_999] {
            assert_eq!(number(&digits(n)), Some(n));
        }
        assert_eq!(account_number(b"bench17@localhost/a", "bench"), Some(17));
        assert_eq!(account_number(b"other17@localhost/a", "bench"), None);
    }
}
