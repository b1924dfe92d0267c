//! Clients that connect, sign in, bind and leave, over and over.

use std::time::{Duration, Instant};

use clap::Args;

use super::{Meter, Stopwatch, Timing};
use crate::fleet::{Fleet, News};
use crate::report::Report;
use crate::target::{Progress, Target};

/// Options of the scenario.
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// Clients that sign in at a time.
    #[arg(long, default_value_t = 16)]
    pub clients: usize,
    /// Accounts that they take turns with.
    #[arg(long, default_value_t = 100)]
    pub accounts: usize,
    /// Resume TLS sessions.
    #[arg(long)]
    pub resume_tls: bool,
    /// How long.
    #[command(flatten)]
    pub timing: Timing,
}

/// Runs it.
///
/// # Errors
/// Clients cannot sign in.
pub fn run(target: &mut Target, options: &Options) -> anyhow::Result<Report> {
    let fleet = target.fleet(options.accounts)?;
    let mut fleet = Fleet::new(target.server(fleet.server().address, options.resume_tls)?)?;
    let mut progress = Progress::new(target);
    let mut turn = Turn { begun: Vec::new(), next: 0 };
    for who in 0..options.clients.min(options.accounts) {
        fleet.add();
        turn.begun.push(Instant::now());
        turn.connect(&mut fleet, target, options, who)?;
    }
    let mut meter = Meter::default();
    turn.pass(&mut fleet, target, options, &mut meter, &mut progress, options.timing.warm_up_secs)?;
    let stopwatch = Stopwatch::start(target)?;
    let mut meter = Meter::default();
    turn.pass(&mut fleet, target, options, &mut meter, &mut progress, options.timing.secs)?;
    let measured = stopwatch.stop(meter)?;

    let tls = format!("{:?}", target.common.tls).to_lowercase();
    let resumed = if options.resume_tls { ", TLS resumed" } else { "" };
    let mechanism = target.common.mechanism.name();
    let mut report = Report::new(format!("login {mechanism}, tls {tls}{resumed}"), target.label());
    let logins = measured.meter.delivered as f64;
    report.figure("logins_per_sec", logins / measured.elapsed.as_secs_f64(), "/s");
    if let Some(cpu) = measured.server_cpu {
        report.figure("server_cpu_ms_per_login", cpu.as_secs_f64() * 1e3 / logins.max(1.0), "ms");
    }
    for (name, share) in [("p50_ms", 0.5), ("p99_ms", 0.99)] {
        report.figure(name, measured.meter.latencies.quantile(share).as_secs_f64() * 1e3, "ms");
    }
    measured.tell_use(&mut report);
    Ok(report)
}

struct Turn {
    begun: Vec<Instant>,
    next: usize,
}

impl Turn {
    fn connect(
        &mut self,
        fleet: &mut Fleet,
        target: &Target,
        options: &Options,
        who: usize,
    ) -> anyhow::Result<()> {
        self.begun[who] = Instant::now();
        let login = target.login(self.next % options.accounts);
        self.next += 1;
        fleet.connect(who, Some(login))
    }

    fn pass(
        &mut self,
        fleet: &mut Fleet,
        target: &Target,
        options: &Options,
        meter: &mut Meter,
        progress: &mut Progress,
        secs: u64,
    ) -> anyhow::Result<()> {
        let (begun, length) = (Instant::now(), Duration::from_secs(secs));
        while begun.elapsed() < length {
            fleet.turn(Duration::from_millis(100), &mut |_, _, _| {})?;
            for news in fleet.take_news() {
                match news {
                    News::Ready { who, .. } => {
                        meter.delivered_since(self.begun[who]);
                        fleet.cut(who);
                        self.connect(fleet, target, options, who)?;
                    }
                    News::Closed { reason, .. } => anyhow::bail!("a sign-in failed: {reason}"),
                }
            }
            progress.say(|| format!("{} sign-ins", meter.delivered));
        }
        Ok(())
    }
}
