//! The server is killed under load, over and over, and comes back with the same data.
//!
//! Clients keep to XEP-0198: they resume their sessions, and send again what was not acknowledged.
//! At the end the archives in the database are held against what the clients know: nothing that was
//! acknowledged may be missing, nothing may be there twice. The first account has two devices, of which
//! one only listens: what is for both arrives at one of them or, by itself or as a copy (XEP-0280), at
//! both.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use stentor_jid::BareJid;
use stentor_store::{ArchiveFilter, ArchiveRange, Edge, Stores};
use stentor_store_sqlite::{Options as StoreOptions, Sqlite};
use stentor_testkit::{Broken, Device, Wire};
use stentor_transport::dial;
use stentor_xml::Frame;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::report::Report;
use crate::stentor::{Stentor, beside_own};
use crate::target::{Progress, Target};

/// Options of the scenario.
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// How often the server is killed.
    #[arg(long, default_value_t = 50)]
    pub times: u32,
    /// Clients, each of which writes to all others.
    #[arg(long, default_value_t = 12)]
    pub clients: usize,
    /// Milliseconds that the server lives at most, counted from when somebody is signed in.
    #[arg(long, default_value_t = 1_000)]
    pub life_ms: u64,
    /// Milliseconds between two messages of a client, on average.
    #[arg(long, default_value_t = 4)]
    pub pause_ms: u64,
}

/// What everybody shares.
struct Run {
    people: Vec<BareJid>,
    password: String,
    pause_ms: u64,
    /// Where the server listens; nowhere while it is dead.
    address: watch::Receiver<Option<SocketAddr>>,
    /// Whether no more messages are to be written.
    is_calm: AtomicBool,
    signed_in: AtomicU64,
    /// Clients that have nothing left to wait for.
    settled: AtomicU64,
}

/// Runs it.
///
/// # Errors
/// Something was lost, doubled, or out of order; or the server does not start.
pub fn run(target: &mut Target, options: &Options) -> anyhow::Result<Report> {
    ensure!(target.common.server.is_none(), "only a server that is started here can be killed");
    ensure!(options.clients >= 2, "nobody writes to oneself here");
    let folder = tempfile::tempdir()?;
    let data = target.common.data.clone().unwrap_or_else(|| folder.path().to_path_buf());
    let people: Vec<BareJid> = (0..options.clients)
        .map(|number| BareJid::new(&target.jid(number)).context("not an account"))
        .collect::<Result<_, _>>()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let devices = runtime.block_on(live(target, options, &data, people))?;
    let sqlite = Sqlite::open(&data.join("data"), &StoreOptions::default())?;
    runtime.block_on(judge(target, options, &devices, &sqlite.stores()))
}

async fn live(
    target: &Target,
    options: &Options,
    data: &Path,
    people: Vec<BareJid>,
) -> anyhow::Result<Vec<Device>> {
    let binary = target.common.stentor.clone().map_or_else(beside_own, Ok)?;
    let more = target.common.configure.as_deref().unwrap_or_default();
    let start = || Stentor::start(&binary, Some(data), more, target.common.server_cpu);
    let mut server = start()?;
    server.import(people.iter().map(ToString::to_string), &target.common.password)?;
    let (tell, address) = watch::channel(Some(server.plain));
    let run = Arc::new(Run {
        people: people.clone(),
        password: target.common.password.clone(),
        pause_ms: options.pause_ms.max(1),
        address,
        is_calm: AtomicBool::new(false),
        signed_in: AtomicU64::new(0),
        settled: AtomicU64::new(0),
    });
    let mut devices = JoinSet::new();
    let twin = people.first().cloned();
    for me in people {
        let mut device = Device::new(me, "bench", &run.password);
        device.has_twin = Some(&device.me) == twin.as_ref();
        // Then the other gets copies.
        device.priority = i8::from(device.has_twin);
        devices.spawn(inhabit(run.clone(), device, true));
    }
    if let Some(me) = twin {
        let mut device = Device::new(me, "twin", &run.password);
        device.has_twin = true;
        devices.spawn(inhabit(run.clone(), device, false));
    }
    let mut progress = Progress::new(target);
    for time in 1..=options.times {
        while run.signed_in.load(Ordering::Relaxed) == 0 {
            ensure!(devices.try_join_next().is_none(), "a client stopped");
            sleep(Duration::from_millis(5)).await;
        }
        sleep(Duration::from_millis(random(options.life_ms.max(1))?)).await;
        tell.send_replace(None);
        run.signed_in.store(0, Ordering::Relaxed);
        drop(server);
        server = start()?;
        tell.send_replace(Some(server.plain));
        progress.say(|| format!("killed {time} of {}", options.times));
    }
    run.is_calm.store(true, Ordering::Relaxed);
    let mut lives = Vec::new();
    let ended = timeout(CALM_WAIT, async {
        while let Some(device) = devices.join_next().await {
            lives.push(device??);
        }
        anyhow::Ok(())
    });
    ended.await.context("something never arrived")??;
    Ok(lives)
}

/// The life of a client: connection after connection.
async fn inhabit(run: Arc<Run>, mut device: Device, is_writing: bool) -> anyhow::Result<Device> {
    let mut address = run.address.clone();
    let mut has_settled = false;
    loop {
        let to = *address.wait_for(Option::is_some).await?;
        let connected = match to {
            Some(to) => timeout(CONNECT_WAIT, dial(to)).await.ok().and_then(Result::ok),
            None => None,
        };
        let Some(conn) = connected else {
            sleep(Duration::from_millis(20)).await;
            continue;
        };
        let mut wire = Wire::new(conn);
        if stay(&run, &mut device, &mut wire, is_writing, &mut has_settled).await.is_ok() {
            return Ok(device);
        }
        sleep(Duration::from_millis(random(100)?)).await;
    }
}

/// One connection, to its end or to the end of the run.
async fn stay(
    run: &Run,
    device: &mut Device,
    wire: &mut Wire,
    is_writing: bool,
    has_settled: &mut bool,
) -> Result<(), Broken> {
    device.establish(wire).await?;
    run.signed_in.fetch_add(1, Ordering::Relaxed);
    let mut next = Instant::now();
    let mut written = 0_u64;
    loop {
        tokio::select! {
            biased;
            frame = wire.frame() => {
                let frame: Frame = frame?;
                device.hear(wire, &frame)?;
                continue;
            }
            () = sleep_until(next) => {}
        }
        if run.is_calm.load(Ordering::Relaxed) {
            next = Instant::now() + Duration::from_millis(200);
            device.acknowledge(wire)?;
            device.request_ack(wire)?;
            if device.is_settled() && !std::mem::replace(has_settled, true) {
                run.settled.fetch_add(1, Ordering::Relaxed);
                next = Instant::now() + SETTLE_WAIT;
            }
            if run.settled.load(Ordering::Relaxed) == run.people.len() as u64 + 1 && *has_settled {
                // What was sent last has had time to arrive.
                sleep(SETTLE_WAIT).await;
                return Ok(());
            }
            continue;
        }
        let pause = random(run.pause_ms * 2).unwrap_or(run.pause_ms);
        next = Instant::now() + Duration::from_millis(pause);
        if !is_writing {
            continue;
        }
        let others = run.people.len() as u64 - 1;
        let other = random(others).unwrap_or(1) - 1;
        let mut people = run.people.iter().filter(|jid| **jid != device.me);
        let Some(to) = people.nth(usize::try_from(other).unwrap_or(0)).cloned() else { continue };
        device.say(wire, &to)?;
        written += 1;
        if written.is_multiple_of(5) {
            device.request_ack(wire)?;
        }
    }
}

async fn judge(
    target: &Target,
    options: &Options,
    devices: &[Device],
    stores: &Stores,
) -> anyhow::Result<Report> {
    let mut archives = BTreeMap::new();
    for device in devices {
        archives.insert(device.me.clone(), archive(stores, &device.me).await?);
    }
    let (mut acknowledged, mut lost, mut missed, mut arrived) = (0_u64, 0_u64, 0_u64, 0_u64);
    let rows = archives.values().flat_map(BTreeMap::values);
    let doubled: u64 = rows.map(|count| u64::from(*count) - 1).sum();
    for device in devices {
        for (to, last) in &device.acknowledged {
            acknowledged += u64::from(*last);
            let got = got(devices, to, &device.me);
            arrived += got.len() as u64;
            for number in 1..=*last {
                let sent = (to.clone(), true, number);
                let received = (device.me.clone(), false, number);
                let is_kept = archives[&device.me].contains_key(&sent)
                    && archives[to].contains_key(&received);
                lost += u64::from(!is_kept);
            }
            missed += u64::from(*last).saturating_sub(got.len() as u64);
        }
    }
    let sum = |count: fn(&Device) -> u64| devices.iter().map(count).sum::<u64>() as f64;
    let clients = options.clients;
    let mut report = Report::new(format!("kills {clients} clients"), target.label());
    report.figure("kills", f64::from(options.times), "");
    report.figure("messages_acknowledged", acknowledged as f64, "");
    report.figure("messages_arrived", arrived as f64, "");
    report.figure("acknowledged_and_lost", lost as f64, "");
    report.figure("acknowledged_and_not_arrived", missed as f64, "");
    report.figure("doubled_in_archives", doubled as f64, "");
    report.figure("sessions_resumed", sum(|d| d.counts.resumed), "");
    report.figure("resumptions_refused", sum(|d| d.counts.refused), "");
    report.figure("stanzas_sent_again", sum(|d| d.counts.repeated), "");
    if lost + doubled + missed > 0 {
        bail!("something was lost or doubled:\n{}", report.text());
    }
    Ok(report)
}

/// What the devices of an account got of somebody, together.
fn got(devices: &[Device], account: &BareJid, from: &BareJid) -> BTreeSet<u32> {
    let own = devices.iter().filter(|device| device.me == *account);
    own.filter_map(|device| device.got.get(from)).flatten().map(|got| got.number).collect()
}

/// How often each message is in an archive: with whom, whether sent, and its number.
async fn archive(
    stores: &Stores,
    owner: &BareJid,
) -> anyhow::Result<BTreeMap<(BareJid, bool, u32), u32>> {
    let mut counts = BTreeMap::new();
    let mut from = Edge::First;
    loop {
        let range = ArchiveRange { limit: 500, from };
        let page = stores.archive.page(owner, ArchiveFilter::default(), range).await?;
        let page = page.context("no archive")?;
        for row in &page.rows {
            let frame = Frame::parse(&row.body).map_err(|error| anyhow::anyhow!("{error}"))?;
            let body = frame.root().children().find(|child| child.name() == "body");
            let number = body.context("a message without a body")?.text().parse()?;
            *counts.entry((row.peer.to_bare(), row.is_sent, number)).or_insert(0) += 1;
            from = Edge::After(row.id);
        }
        if page.is_complete {
            return Ok(counts);
        }
    }
}

/// A number from 1 to `most`.
fn random(most: u64) -> anyhow::Result<u64> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|error| anyhow::anyhow!("no randomness: {error}"))?;
    Ok(u64::from_le_bytes(bytes) % most.max(1) + 1)
}

const CONNECT_WAIT: Duration = Duration::from_secs(5);
const SETTLE_WAIT: Duration = Duration::from_secs(2);
const CALM_WAIT: Duration = Duration::from_secs(120);
