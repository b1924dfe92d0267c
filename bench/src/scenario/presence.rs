//! Clients whose contacts hear of each change of their presence.

use std::time::{Duration, Instant};

use clap::Args;

use super::{Load, Meter, Timing, account_number, measure, settle};
use crate::fleet::{Fleet, Outs};
use crate::report::Report;
use crate::split::{attribute, has};
use crate::target::{Progress, Target};

/// Options of the scenario.
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// Contacts of each client.
    #[arg(long, default_value_t = 20)]
    pub contacts: usize,
    /// Groups of clients who are all each other's contacts.
    #[arg(long, default_value_t = 5)]
    pub groups: usize,
    /// How long.
    #[command(flatten)]
    pub timing: Timing,
}

/// Runs it.
///
/// # Errors
/// Clients cannot sign in, do not become contacts, or do not stay.
pub fn run(target: &mut Target, options: &Options) -> anyhow::Result<Report> {
    let size = options.contacts + 1;
    let clients = size * options.groups;
    let mut fleet = target.fleet(clients)?;
    for _ in 0..clients {
        fleet.add();
    }
    target.sign_in(&mut fleet, 0..clients, |who| target.login(who))?;
    (0..clients).for_each(|who| fleet.outs().of(who).extend_from_slice(b"<presence/>"));
    settle(&mut fleet)?;
    befriend(target, &mut fleet, size, clients)?;
    settle(&mut fleet)?;
    let mut load = Presence {
        prefix: target.common.prefix.clone(),
        changes: (0..clients)
            .map(|_| Change { sent: Instant::now(), heard: 0, count: 0 })
            .collect(),
        contacts: options.contacts,
    };
    let measured = measure(target, &mut fleet, &mut load, options.timing)?;
    let tls = format!("{:?}", target.common.tls).to_lowercase();
    let scenario = format!("presence {} contacts, {clients} clients, tls {tls}", options.contacts);
    let mut report = Report::new(scenario, target.label());
    measured.tell(&mut report);
    Ok(report)
}

/// Has the members of each group subscribe to each other, both ways.
fn befriend(target: &Target, fleet: &mut Fleet, size: usize, clients: usize) -> anyhow::Result<()> {
    let mut progress = Progress::new(target);
    // Contacts from an earlier run count as well.
    let roster = "<iq type='get' id='roster'><query xmlns='jabber:iq:roster'/></iq>";
    (0..clients).for_each(|who| fleet.outs().of(who).extend_from_slice(roster.as_bytes()));
    let mut is_asked = vec![false; clients];
    let mut both = vec![0; clients];
    let mut heard = Instant::now();
    let wanted = size - 1;
    while both.iter().any(|count| *count < wanted) {
        fleet.turn(Duration::from_millis(50), &mut |who, element, outs| {
            heard = Instant::now();
            if element.starts_with(b"<iq") && has(element, "iq:roster") {
                let count = memchr::memmem::find_iter(element, b"subscription='both'").count()
                    + memchr::memmem::find_iter(element, b"subscription=\"both\"").count();
                if attribute(element, "type") == Some(b"result") {
                    both[who] = count;
                } else {
                    both[who] += count;
                }
                if count < wanted && !is_asked[who] {
                    is_asked[who] = true;
                    ask(target, who, size, outs);
                }
            } else if attribute(element, "type") == Some(b"subscribe")
                && let Some(from) = attribute(element, "from")
            {
                let to = String::from_utf8_lossy(from);
                let yes = format!("<presence type='subscribed' to='{to}'/>");
                outs.of(who).extend_from_slice(yes.as_bytes());
            }
        })?;
        if let Some(news) = fleet.take_news().into_iter().next() {
            anyhow::bail!("while subscribing: {news:?}");
        }
        anyhow::ensure!(heard.elapsed() < FRIENDS_WAIT, "not all became contacts: {both:?}");
        progress.say(|| format!("{} contacts made", both.iter().sum::<usize>()));
    }
    Ok(())
}

fn ask(target: &Target, who: usize, size: usize, outs: &mut Outs) {
    let group = who / size * size;
    for other in (group..group + size).filter(|other| *other != who) {
        let ask = format!("<presence type='subscribe' to='{}'/>", target.jid(other));
        outs.of(who).extend_from_slice(ask.as_bytes());
    }
}

struct Presence {
    prefix: String,
    changes: Vec<Change>,
    contacts: usize,
}

/// The last change of one client's presence.
struct Change {
    sent: Instant,
    heard: usize,
    count: u32,
}

impl Presence {
    fn send(&mut self, who: usize, outs: &mut Outs) {
        let change = &mut self.changes[who];
        (change.sent, change.heard) = (Instant::now(), 0);
        change.count += 1;
        let show = if change.count.is_multiple_of(2) { "away" } else { "chat" };
        let stanza = format!(
            "<presence><show>{show}</show><status>change {}</status></presence>",
            change.count
        );
        outs.of(who).extend_from_slice(stanza.as_bytes());
    }
}

impl Load for Presence {
    fn begin(&mut self, outs: &mut Outs) {
        (0..self.changes.len()).for_each(|who| self.send(who, outs));
    }

    fn hear(&mut self, who: usize, element: &[u8], outs: &mut Outs, meter: &mut Meter) {
        let from = attribute(element, "from").and_then(|from| account_number(from, &self.prefix));
        let Some(from) = from.filter(|from| *from < self.changes.len()) else {
            meter.wrong += 1;
            return;
        };
        // A client's own presence comes back to it (RFC 6121 §4.4.2): no delivery to a contact.
        if from == who {
            return;
        }
        let change = &mut self.changes[from];
        change.heard += 1;
        meter.delivered_since(change.sent);
        if change.heard == self.contacts {
            self.send(from, outs);
        }
    }
}

const FRIENDS_WAIT: Duration = Duration::from_secs(20);
