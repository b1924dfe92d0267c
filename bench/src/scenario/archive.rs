//! Clients that page through their archive (XEP-0313).

use std::time::Instant;

use clap::Args;

use super::{Load, Meter, Timing, measure, settle};
use crate::fleet::{Fleet, Outs};
use crate::report::Report;
use crate::split::{attribute, has};
use crate::target::Target;

/// Options of the scenario.
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// Clients.
    #[arg(long, default_value_t = 20)]
    pub clients: usize,
    /// Messages in each archive.
    #[arg(long, default_value_t = 500)]
    pub messages: usize,
    /// Messages of a page.
    #[arg(long, default_value_t = 50)]
    pub page: usize,
    /// How long.
    #[command(flatten)]
    pub timing: Timing,
}

/// Runs it.
///
/// # Errors
/// Clients cannot sign in or do not stay, or the server keeps no archive.
pub fn run(target: &mut Target, options: &Options) -> anyhow::Result<Report> {
    let Options { clients, messages, page, .. } = *options;
    let mut fleet = target.fleet(clients)?;
    for _ in 0..clients {
        fleet.add();
    }
    target.sign_in(&mut fleet, 0..clients, |who| target.login(who))?;
    (0..clients).for_each(|who| fleet.outs().of(who).extend_from_slice(b"<presence/>"));
    settle(&mut fleet)?;
    fill(target, &mut fleet, clients, messages)?;
    let mut load = Archive { page, sent: vec![Instant::now(); clients] };
    let measured = measure(target, &mut fleet, &mut load, options.timing)?;
    let tls = format!("{:?}", target.common.tls).to_lowercase();
    let scenario = format!("archive {clients} clients, pages of {page}, tls {tls}");
    let mut report = Report::new(scenario, target.label());
    let pages = measured.meter.latencies.len() as f64;
    report.figure("pages_per_sec", pages / measured.elapsed.as_secs_f64(), "/s");
    measured.tell(&mut report);
    if measured.meter.wrong > 0 {
        report.remark("The server refused queries; is its archive switched on?");
    }
    Ok(report)
}

/// Each writes to the next one.
fn fill(target: &Target, fleet: &mut Fleet, clients: usize, messages: usize) -> anyhow::Result<()> {
    for number in 0..messages {
        for who in 0..clients {
            let to = target.jid((who + 1) % clients);
            let message = format!(
                "<message to='{to}' type='chat' id='a{number}'><body>{}</body></message>",
                "x".repeat(BODY_BYTES)
            );
            fleet.outs().of(who).extend_from_slice(message.as_bytes());
        }
        if number % BATCH == BATCH - 1 {
            settle(fleet)?;
        }
    }
    settle(fleet)
}

struct Archive {
    page: usize,
    sent: Vec<Instant>,
}

impl Archive {
    fn ask(&mut self, who: usize, outs: &mut Outs, before: &str) {
        let query = format!(
            "<iq type='set' id='page'><query xmlns='urn:xmpp:mam:2'>\
             <set xmlns='http://jabber.org/protocol/rsm'><max>{}</max><before>{before}</before>\
             </set></query></iq>",
            self.page
        );
        self.sent[who] = Instant::now();
        outs.of(who).extend_from_slice(query.as_bytes());
    }
}

impl Load for Archive {
    fn begin(&mut self, outs: &mut Outs) {
        (0..self.sent.len()).for_each(|who| self.ask(who, outs, ""));
    }

    fn hear(&mut self, who: usize, element: &[u8], outs: &mut Outs, meter: &mut Meter) {
        if element.starts_with(b"<message") {
            meter.delivered += 1;
            return;
        }
        if !element.starts_with(b"<iq") {
            return;
        }
        meter.latencies.record(self.sent[who].elapsed());
        let is_good = attribute(element, "type") == Some(b"result");
        meter.wrong += u64::from(!is_good);
        let first = crate::split::text(element, "first").map(String::from_utf8_lossy);
        // From the end to the beginning, and again.
        let is_last = has(element, "complete='true'") || has(element, "complete=\"true\"");
        let before = first.filter(|_| !is_last).unwrap_or_default();
        self.ask(who, outs, &before);
    }
}

const BODY_BYTES: usize = 100;
/// Messages of each client that are sent before it is waited for their arrival.
const BATCH: usize = 50;
