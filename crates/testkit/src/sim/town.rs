//! A run: who lives here, what breaks and when, and that all is well at the end.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use stentor_jid::BareJid;
use stentor_transport::{Conn, Pipe};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::cable::Cable;
use super::chance::Chance;
use super::server::{Disk, PASSWORD, Server, Virtual};
use super::{Trouble, judge};
use crate::device::{Counts, Device};
use crate::wire::{Broken, Wire};

/// What everybody shares.
pub(super) struct Town {
    server: Mutex<Option<Server>>,
    people: Vec<BareJid>,
    clock: Arc<Virtual>,
    story: Mutex<String>,
    chance: Mutex<Chance>,
    /// Whether trouble is over.
    is_calm: AtomicBool,
    /// Devices that have nothing left to wait for.
    settled: Mutex<Vec<String>>,
}

/// How a connection came to its end.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// The stream was closed.
    Closed,
    /// The cable was cut, or went dead.
    Cut,
}

/// Runs what follows from a seed.
pub(super) fn run(seed: u64, trouble: Trouble) -> Result<Counts, String> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let story = Arc::new(Mutex::new(None));
    let told = story.clone();
    let outcome = runtime.unwrap().block_on(async move {
        // A task of its own, so that what fails in it can be told with the story.
        tokio::spawn(live(seed, trouble, told)).await
    });
    outcome.map_err(|error| {
        let town: Option<Arc<Town>> = story.lock().take();
        let story = town.map_or_else(String::new, |town| town.story.lock().clone());
        format!("{story}\n{}", reason(error))
    })
}

async fn live(seed: u64, trouble: Trouble, told: Arc<Mutex<Option<Arc<Town>>>>) -> Counts {
    let mut chance = Chance::new(seed);
    let people = ["romeo@montague.example", "juliet@capulet.example", "nurse@capulet.example"]
        .map(|jid| BareJid::new(jid).unwrap());
    let clock = Arc::new(Virtual::begin());
    let disk = Disk::with_accounts(&people).await;
    let server = Server::start(disk, clock.clone(), &mut chance).await;
    let town = Arc::new(Town {
        server: Mutex::new(Some(server)),
        people: people.to_vec(),
        clock,
        story: Mutex::default(),
        chance: Mutex::new(chance.fork()),
        is_calm: AtomicBool::new(false),
        settled: Mutex::default(),
    });
    *told.lock() = Some(town.clone());
    let mut devices = JoinSet::new();
    for jid in people {
        let has_twin = jid.as_str() == WITH_TWO;
        let mut device = Device::new(jid, "phone", PASSWORD);
        device.has_twin = has_twin;
        // Then the other gets copies of what is for both.
        device.priority = i8::from(has_twin && chance.happens(50));
        let left_to_say = chance.between(5, 20);
        devices.spawn(inhabit(town.clone(), device, chance.fork(), left_to_say));
    }
    let mut tablet = Device::new(BareJid::new(WITH_TWO).unwrap(), "tablet", PASSWORD);
    tablet.has_twin = true;
    devices.spawn(inhabit(town.clone(), tablet, chance.fork(), 0));
    let trouble = make_trouble(&town, trouble, &mut chance);
    tokio::select! {
        biased;
        ended = devices.join_next() => match ended {
            Some(Err(error)) => panic!("{}", reason(error)),
            _ => panic!("nobody leaves before it is calm"),
        },
        () = trouble => {}
    }
    town.is_calm.store(true, Ordering::Relaxed);
    town.tell("calm");
    let mut lives = Vec::new();
    while let Some(device) = devices.join_next().await {
        lives.push(device.unwrap_or_else(|error| panic!("{}", reason(error))));
    }
    let disk = town.take_server().kill().await;
    judge::judge(&disk.stores(), &lives).await
}

/// Kills and restarts the server for a while.
async fn make_trouble(town: &Arc<Town>, trouble: Trouble, chance: &mut Chance) {
    for _ in 0..chance.between(2, 6) {
        sleep(Duration::from_millis(chance.between(500, 15_000))).await;
        if trouble == Trouble::Network {
            continue;
        }
        let down_ms = match chance.between(0, 99) {
            0..4 => chance.between(700_000, 900_000),
            4..60 => chance.between(0, 3_000),
            _ => continue,
        };
        let is_killed = chance.happens(65);
        town.tell(if is_killed { "the server is killed" } else { "the server stops" });
        let server = town.take_server();
        let disk = if is_killed { server.kill().await } else { server.stop().await };
        sleep(Duration::from_millis(down_ms)).await;
        let server = Server::start(disk, town.clock.clone(), chance).await;
        *town.server.lock() = Some(server);
        town.tell("the server is back");
    }
}

/// The life of a device, until it has sent what it had to say and all is settled.
async fn inhabit(
    town: Arc<Town>,
    mut device: Device,
    mut chance: Chance,
    mut left_to_say: u64,
) -> Device {
    loop {
        let Some((cable, pipe)) = town.dial() else {
            sleep(Duration::from_millis(chance.between(50, 2_000))).await;
            continue;
        };
        let mut wire = Wire::new(Conn::piped(pipe, SERVER));
        let outcome =
            stay(&town, &mut device, &mut chance, &mut wire, &cable, &mut left_to_say).await;
        town.tell(&format!("{}: {outcome:?}", device.name()));
        if outcome == Ok(End::Closed) && town.is_settled() {
            return device;
        }
        drop(cable);
        let longest = if town.is_calm.load(Ordering::Relaxed) { 500 } else { 12_000 };
        let away_ms = match chance.between(0, 99) {
            0..2 if longest > 500 => chance.between(650_000, 900_000),
            _ => chance.between(20, longest),
        };
        sleep(Duration::from_millis(away_ms)).await;
    }
}

/// One connection.
async fn stay(
    town: &Town,
    device: &mut Device,
    chance: &mut Chance,
    wire: &mut Wire,
    cable: &Cable,
    left_to_say: &mut u64,
) -> Result<End, Broken> {
    let wait = Duration::from_secs(90);
    match tokio::time::timeout(wait, device.establish(wire)).await {
        Ok(outcome) => outcome?,
        // The connection went dead while it was being made.
        Err(_) => return Ok(End::Cut),
    }
    town.tell(&format!("{}: signed in", device.name()));
    let mut next = Instant::now();
    let mut is_asked = 0;
    loop {
        tokio::select! {
            biased;
            frame = wire.frame() => {
                device.hear(wire, &frame?)?;
                continue;
            }
            () = sleep_until(next) => {}
        }
        if town.is_calm.load(Ordering::Relaxed) && *left_to_say == 0 {
            next = Instant::now() + Duration::from_secs(2);
            is_asked += 1;
            if device.is_settled() {
                town.settle(device.name());
            }
            if town.is_settled() && is_asked > 3 {
                device.acknowledge(wire)?;
                return close(device, wire).await;
            }
            assert!(is_asked < 800, "{}", device.owed());
            device.acknowledge(wire)?;
            device.request_ack(wire)?;
            continue;
        }
        next = Instant::now() + Duration::from_millis(chance.between(5, 1_500));
        if let Some(end) = act(town, device, chance, wire, cable, left_to_say).await? {
            return Ok(end);
        }
    }
}

/// Does one thing.
async fn act(
    town: &Town,
    device: &mut Device,
    chance: &mut Chance,
    wire: &mut Wire,
    cable: &Cable,
    left_to_say: &mut u64,
) -> Result<Option<End>, Broken> {
    let is_calm = town.is_calm.load(Ordering::Relaxed);
    device.is_prompt = chance.happens(80);
    match chance.between(0, 99) {
        0..60 if *left_to_say > 0 => {
            *left_to_say -= 1;
            let to = loop {
                let to = chance.one_of(&town.people).clone();
                if to != device.me {
                    break to;
                }
            };
            device.say(wire, &to)?;
        }
        60..70 => device.request_ack(wire)?,
        70..77 => device.acknowledge(wire)?,
        77..83 => device.ask(wire)?,
        83..86 => {
            let show = *chance.one_of(&["away", "dnd", "xa"]);
            device.show(wire, show)?;
        }
        86..90 if !is_calm => return Ok(Some(End::Cut)),
        90..92 if !is_calm => {
            cable.go_dead();
            let notices_ms = chance.between(1_000, 40_000);
            sleep(Duration::from_millis(notices_ms)).await;
            return Ok(Some(End::Cut));
        }
        92..94 if device.is_settled() => return close(device, wire).await.map(Some),
        _ => {}
    }
    Ok(None)
}

/// Ends the session in good order; all was acknowledged.
async fn close(device: &mut Device, wire: &mut Wire) -> Result<End, Broken> {
    device.acknowledge(wire)?;
    wire.write("</stream:stream>")?;
    while let Ok(frame) = wire.frame().await {
        // Between the two ends it may still be given something.
        if device.hear(wire, &frame).is_err() {
            break;
        }
    }
    device.forget();
    Ok(End::Closed)
}

impl Town {
    fn dial(&self) -> Option<(Cable, Pipe)> {
        let mut server = self.server.lock();
        let server = server.as_mut()?;
        let (cable, mine, theirs) = Cable::lay(&mut self.chance.lock());
        server.accept(theirs);
        Some((cable, mine))
    }

    /// Takes the server's process away: nobody connects to it any more.
    fn take_server(&self) -> Server {
        self.server.lock().take().unwrap()
    }

    pub(super) fn tell(&self, what: &str) {
        let at = self.clock.elapsed();
        let _ = writeln!(self.story.lock(), "{:>9.3} {what}", at.as_secs_f64());
    }

    fn settle(&self, who: String) {
        let mut settled = self.settled.lock();
        if !settled.contains(&who) {
            settled.push(who);
        }
    }

    fn is_settled(&self) -> bool {
        self.settled.lock().len() == self.people.len() + 1
    }
}

fn reason(error: tokio::task::JoinError) -> String {
    let Ok(panic) = error.try_into_panic() else { return "a task was ended".into() };
    match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(panic) => panic.downcast::<&str>().map_or_else(|_| "a panic".into(), |t| (*t).into()),
    }
}

/// Who has a second device, which only listens.
const WITH_TWO: &str = "nurse@capulet.example";

/// Where the server would be.
const SERVER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 5222);
