//! Clients that have signed in and say nothing: the memory that each takes of the server.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Args;

use super::settle;
use crate::fleet::{Fleet, Login, News};
use crate::process::Process;
use crate::report::Report;
use crate::target::Target;

/// Options of the scenario.
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// How many sessions.
    #[arg(long, default_value_t = 1_000)]
    pub sessions: usize,
    /// Sessions of one account.
    #[arg(long, default_value_t = 1)]
    pub per_account: usize,
    /// Each sends its presence.
    #[arg(long)]
    pub presence: bool,
    /// Each asks for carbons (XEP-0280).
    #[arg(long)]
    pub carbons: bool,
    /// Each asks for stream management with resumption (XEP-0198).
    #[arg(long)]
    pub management: bool,
    /// Seconds to wait before memory is read.
    #[arg(long, default_value_t = 12)]
    pub settle_secs: u64,
}

/// Runs it.
///
/// # Errors
/// Clients cannot sign in, or the server's process is not known.
pub fn run(target: &mut Target, options: &Options) -> anyhow::Result<Report> {
    let all = WARM_UP + options.sessions;
    let files = target.open_files_max;
    anyhow::ensure!(
        files > all as u64 + SPARE_FILES,
        "{all} sessions need more open files than the {files} that this process may have"
    );
    let mut fleet = target.fleet(all.div_ceil(options.per_account))?;
    let process = target.process.context("name the server's process by `--pid`")?;
    for _ in 0..all {
        fleet.add();
    }
    // The first sessions fill the buffers of threads and the allocator's arenas.
    sign_in(target, &mut fleet, 0..WARM_UP, options)?;
    rest(&mut fleet, options)?;
    let before = process.memory()?;
    let begun = Instant::now();
    let cpu = process.cpu()?;
    sign_in(target, &mut fleet, WARM_UP..all, options)?;
    let took = begun.elapsed();
    let cpu = process.cpu()?.saturating_sub(cpu);
    rest(&mut fleet, options)?;
    let after = process.memory()?;
    let at_rest = use_at_rest(process)?;

    let sessions = options.sessions as f64;
    let each = |before: u64, after: u64| after.saturating_sub(before) as f64 / sessions;
    let tls = format!("{:?}", target.common.tls).to_lowercase();
    let extras = [
        (options.presence, ", presence"),
        (options.carbons, ", carbons"),
        (options.management, ", management"),
    ];
    let extras: String = extras.iter().filter(|(is_on, _)| *is_on).map(|(_, name)| *name).collect();
    let scenario = format!("idle {sessions} sessions, tls {tls}{extras}");
    let mut report = Report::new(scenario, target.label());
    report.figure("private_bytes_per_session", each(before.private, after.private), "bytes");
    report.figure("resident_bytes_per_session", each(before.resident, after.resident), "bytes");
    report.figure("private_mib_before", before.private as f64 / MIB, "MiB");
    report.figure("private_mib_after", after.private as f64 / MIB, "MiB");
    report.figure("server_cpu_ms_per_sign_in", cpu.as_secs_f64() * 1e3 / sessions, "ms");
    report.figure("sign_ins_per_sec", sessions / took.as_secs_f64(), "/s");
    report.figure("cores_at_rest", at_rest, "");
    report.figure("open_files_max", files as f64, "");
    Ok(report)
}

fn sign_in(
    target: &Target,
    fleet: &mut Fleet,
    clients: std::ops::Range<usize>,
    options: &Options,
) -> anyhow::Result<()> {
    let login = |who: usize| Login {
        username: target.username(who / options.per_account),
        resource: format!("r{}", who % options.per_account),
        manages: options.management,
        resume: None,
    };
    target.sign_in(fleet, clients.clone(), login)?;
    for who in clients {
        if options.carbons {
            let enable = "<iq type='set' id='c'><enable xmlns='urn:xmpp:carbons:2'/></iq>";
            fleet.outs().of(who).extend_from_slice(enable.as_bytes());
        }
        if options.presence {
            fleet.outs().of(who).extend_from_slice(b"<presence/>");
        }
    }
    settle(fleet)
}

/// Clients only answer for a while: the server asks seconds later what they got (XEP-0198), and keeps
/// it until they say.
fn rest(fleet: &mut Fleet, options: &Options) -> anyhow::Result<()> {
    let until = Instant::now() + Duration::from_secs(options.settle_secs);
    while let Some(left) = until.checked_duration_since(Instant::now()) {
        fleet.turn(left, &mut |_, _, _| {})?;
        if let Some(News::Closed { who, reason }) = fleet.take_news().into_iter().next() {
            anyhow::bail!("client {who} was thrown out: {reason}");
        }
    }
    Ok(())
}

/// The share of a processor that the server uses while nothing happens.
fn use_at_rest(process: Process) -> anyhow::Result<f64> {
    let wait = Duration::from_secs(2);
    let before = process.cpu()?;
    crate::pause(wait);
    Ok(process.cpu()?.saturating_sub(before).as_secs_f64() / wait.as_secs_f64())
}

const WARM_UP: usize = 200;
const SPARE_FILES: u64 = 32;
const MIB: f64 = 1_048_576.0;
