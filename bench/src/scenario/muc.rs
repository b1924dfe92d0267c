//! Rooms in which everybody hears everybody (XEP-0045).

use std::time::{Duration, Instant};

use clap::Args;

use super::{Load, Meter, Timing, measure, settle};
use crate::fleet::{Fleet, Outs};
use crate::report::Report;
use crate::split::{attribute, has};
use crate::target::Target;

/// Options of the scenario.
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// Rooms.
    #[arg(long, default_value_t = 10)]
    pub rooms: usize,
    /// Occupants of each.
    #[arg(long, default_value_t = 50)]
    pub occupants: usize,
    /// Messages of a room that are on their way at a time.
    #[arg(long, default_value_t = 2)]
    pub window: usize,
    /// Bytes of a body.
    #[arg(long, default_value_t = 100)]
    pub body: usize,
    /// Where rooms are; by default `conference.` and the domain.
    #[arg(long)]
    pub service: Option<String>,
    /// How long.
    #[command(flatten)]
    pub timing: Timing,
}

/// Runs it.
///
/// # Errors
/// Clients cannot sign in or join, or do not stay.
pub fn run(target: &mut Target, options: &Options) -> anyhow::Result<Report> {
    let Options { rooms, occupants, window, body, .. } = *options;
    let clients = rooms * occupants;
    let mut fleet = target.fleet(clients)?;
    for _ in 0..clients {
        fleet.add();
    }
    let default = format!("conference.{}", target.common.domain);
    let service = options.service.clone().unwrap_or(default);
    target.sign_in(&mut fleet, 0..clients, |who| target.login(who))?;
    // The first of each room makes it before the others come.
    let first: Vec<usize> = (0..rooms).map(|room| room * occupants).collect();
    join(&mut fleet, &service, occupants, &first)?;
    for who in &first {
        let open = format!(
            "<iq type='set' id='open' to='{}'><query xmlns='http://jabber.org/protocol/muc#owner'>\
             <x xmlns='jabber:x:data' type='submit'/></query></iq>",
            room(&service, who / occupants)
        );
        fleet.outs().of(*who).extend_from_slice(open.as_bytes());
    }
    settle(&mut fleet)?;
    let others: Vec<usize> = (0..clients).filter(|who| who % occupants != 0).collect();
    join(&mut fleet, &service, occupants, &others)?;
    settle(&mut fleet)?;
    let mut load = Rooms {
        heads: (0..rooms).map(|n| head(&room(&service, n))).collect(),
        tail: format!("'><body>{}</body></message>", "x".repeat(body)),
        occupants,
        window,
        flights: Vec::new(),
    };
    let measured = measure(target, &mut fleet, &mut load, options.timing)?;
    let tls = format!("{:?}", target.common.tls).to_lowercase();
    let scenario = format!("group chat, {rooms} rooms of {occupants}, window {window}, tls {tls}");
    let mut report = Report::new(scenario, target.label());
    measured.tell(&mut report);
    Ok(report)
}

fn room(service: &str, number: usize) -> String {
    format!("room{number}@{service}")
}

fn head(room: &str) -> String {
    format!("<message to='{room}' type='groupchat' id='g")
}

fn join(
    fleet: &mut Fleet,
    service: &str,
    occupants: usize,
    clients: &[usize],
) -> anyhow::Result<()> {
    for who in clients {
        let room = room(service, who / occupants);
        let join = format!(
            "<presence to='{room}/nick{who}'><x xmlns='http://jabber.org/protocol/muc'>\
             <history maxstanzas='0'/></x></presence>"
        );
        fleet.outs().of(*who).extend_from_slice(join.as_bytes());
    }
    let mut joined = 0;
    let mut refusal = None;
    let begun = Instant::now();
    while joined < clients.len() {
        fleet.turn(Duration::from_millis(100), &mut |_, element, _| {
            // Status 110 marks a client's own presence, the last of those it gets.
            joined += usize::from(element.starts_with(b"<presence") && has(element, "110"));
            if attribute(element, "type") == Some(b"error") {
                refusal.get_or_insert_with(|| String::from_utf8_lossy(element).into_owned());
            }
        })?;
        if let Some(refusal) = refusal {
            anyhow::bail!("a room refused a client: {refusal}");
        }
        anyhow::ensure!(begun.elapsed() < JOIN_WAIT, "only {joined} could join");
    }
    Ok(())
}

struct Rooms {
    heads: Vec<String>,
    tail: String,
    occupants: usize,
    window: usize,
    /// What was said, by its number in the id.
    flights: Vec<Flight>,
}

struct Flight {
    room: usize,
    speaker: usize,
    sent: Instant,
    heard: usize,
}

impl Rooms {
    fn send(&mut self, number: usize, outs: &mut Outs) {
        let Flight { room, speaker, .. } = self.flights[number];
        let message = format!("{}{number:08}{}", self.heads[room], self.tail);
        outs.of(room * self.occupants + speaker).extend_from_slice(message.as_bytes());
    }
}

impl Load for Rooms {
    fn begin(&mut self, outs: &mut Outs) {
        for room in 0..self.heads.len() {
            for slot in 0..self.window {
                let speaker = slot % self.occupants;
                self.flights.push(Flight { room, speaker, sent: Instant::now(), heard: 0 });
                self.send(self.flights.len() - 1, outs);
            }
        }
    }

    fn hear(&mut self, _: usize, element: &[u8], outs: &mut Outs, meter: &mut Meter) {
        if !element.starts_with(b"<message") {
            return;
        }
        let id = attribute(element, "id").and_then(|id| id.strip_prefix(b"g"));
        let number = id.and_then(super::number).and_then(|number| usize::try_from(number).ok());
        let Some(number) = number.filter(|number| *number < self.flights.len()) else {
            meter.wrong += 1;
            return;
        };
        let flight = &mut self.flights[number];
        flight.heard += 1;
        meter.delivered_since(flight.sent);
        if flight.heard == self.occupants {
            // The next one is somebody else's turn; the number is free again.
            flight.speaker = (flight.speaker + 1) % self.occupants;
            (flight.sent, flight.heard) = (Instant::now(), 0);
            self.send(number, outs);
        }
    }
}

const JOIN_WAIT: Duration = Duration::from_secs(60);
