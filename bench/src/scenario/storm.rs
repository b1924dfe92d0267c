//! All clients lose their connections at once and come back.

use std::time::{Duration, Instant};

use clap::Args;

use super::{Meter, Stopwatch, settle};
use crate::fleet::{Fleet, Login, News};
use crate::report::Report;
use crate::target::{Progress, Target};

/// Options of the scenario.
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// Clients.
    #[arg(long, default_value_t = 2_000)]
    pub clients: usize,
    /// Clients that come back at a time.
    #[arg(long, default_value_t = 200)]
    pub at_a_time: usize,
    /// Resume streams where the server offers it (XEP-0198), and TLS sessions.
    #[arg(long)]
    pub resume: bool,
}

/// Runs it.
///
/// # Errors
/// Clients cannot sign in.
pub fn run(target: &mut Target, options: &Options) -> anyhow::Result<Report> {
    let clients = options.clients;
    let fleet = target.fleet(clients)?;
    let mut fleet = Fleet::new(target.server(fleet.server().address, options.resume)?)?;
    for _ in 0..clients {
        fleet.add();
    }
    let login = |who| Login { manages: options.resume, ..target.login(who) };
    target.sign_in(&mut fleet, 0..clients, login)?;
    (0..clients).for_each(|who| fleet.outs().of(who).extend_from_slice(b"<presence/>"));
    settle(&mut fleet)?;

    let mut logins: Vec<_> =
        (0..clients).map(|who| Login { resume: fleet.resumption(who), ..login(who) }).collect();
    let offers = logins.iter().filter(|login| login.resume.is_some()).count();
    let stopwatch = Stopwatch::start(target)?;
    (0..clients).for_each(|who| fleet.cut(who));
    let (meter, resumed) = come_back(target, &mut fleet, &mut logins, options)?;
    let measured = stopwatch.stop(meter)?;

    let tls = format!("{:?}", target.common.tls).to_lowercase();
    let how = if options.resume { "resuming" } else { "signing in" };
    let mut report =
        Report::new(format!("storm {clients} clients {how}, tls {tls}"), target.label());
    let all = clients as f64;
    report.figure("secs_until_all_are_back", measured.elapsed.as_secs_f64(), "s");
    report.figure("returns_per_sec", all / measured.elapsed.as_secs_f64(), "/s");
    if let Some(cpu) = measured.server_cpu {
        report.figure("server_cpu_ms_per_return", cpu.as_secs_f64() * 1e3 / all, "ms");
    }
    for (name, share) in [("p50_ms", 0.5), ("p99_ms", 0.99)] {
        report.figure(name, measured.meter.latencies.quantile(share).as_secs_f64() * 1e3, "ms");
    }
    report.figure("resumed", resumed as f64, "");
    measured.tell_use(&mut report);
    if options.resume && offers == 0 {
        report.remark("The server offers no resumption.");
    }
    Ok(report)
}

fn come_back(
    target: &Target,
    fleet: &mut Fleet,
    logins: &mut [Login],
    options: &Options,
) -> anyhow::Result<(Meter, usize)> {
    let mut progress = Progress::new(target);
    let mut meter = Meter::default();
    let mut begun = vec![Instant::now(); logins.len()];
    let mut waiting = 0..logins.len();
    let (mut in_hand, mut done, mut resumptions) = (0, 0, 0);
    while done < logins.len() {
        while in_hand < options.at_a_time
            && let Some(who) = waiting.next()
        {
            begun[who] = Instant::now();
            fleet.connect(who, Some(std::mem::take(&mut logins[who])))?;
            in_hand += 1;
        }
        fleet.turn(Duration::from_millis(100), &mut |_, _, _| {})?;
        for news in fleet.take_news() {
            match news {
                News::Ready { who, resumed } => {
                    (in_hand, done) = (in_hand - 1, done + 1);
                    resumptions += usize::from(resumed);
                    meter.delivered_since(begun[who]);
                }
                News::Closed { who, reason } => {
                    anyhow::bail!("client {who} could not come back: {reason}");
                }
            }
        }
        progress.say(|| format!("{done} are back"));
    }
    Ok((meter, resumptions))
}
