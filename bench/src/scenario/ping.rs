//! Clients that ping the server (XEP-0199).

use std::collections::VecDeque;
use std::time::Instant;

use clap::Args;

use super::{Load, Meter, Timing, measure, settle};
use crate::fleet::Outs;
use crate::report::Report;
use crate::target::Target;

/// Options of the scenario.
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// Clients.
    #[arg(long, default_value_t = 50)]
    pub clients: usize,
    /// Pings of a client that are on their way at a time.
    #[arg(long, default_value_t = 10)]
    pub window: usize,
    /// How long.
    #[command(flatten)]
    pub timing: Timing,
}

/// Runs it.
///
/// # Errors
/// Clients cannot sign in or do not stay.
pub fn run(target: &mut Target, options: &Options) -> anyhow::Result<Report> {
    let mut fleet = target.fleet(options.clients)?;
    for _ in 0..options.clients {
        fleet.add();
    }
    target.sign_in(&mut fleet, 0..options.clients, |who| target.login(who))?;
    settle(&mut fleet)?;
    let domain = &target.common.domain;
    let mut load = Ping {
        stanza: format!(
            "<iq type='get' id='ping' to='{domain}'><ping xmlns='urn:xmpp:ping'/></iq>"
        )
        .into_bytes(),
        sent: vec![VecDeque::new(); options.clients],
        window: options.window,
    };
    let measured = measure(target, &mut fleet, &mut load, options.timing)?;
    let Options { clients, window, .. } = options;
    let tls = format!("{:?}", target.common.tls).to_lowercase();
    let mut report =
        Report::new(format!("ping {clients} clients, window {window}, tls {tls}"), target.label());
    measured.tell(&mut report);
    Ok(report)
}

struct Ping {
    stanza: Vec<u8>,
    sent: Vec<VecDeque<Instant>>,
    window: usize,
}

impl Ping {
    fn send(&mut self, who: usize, outs: &mut Outs) {
        outs.of(who).extend_from_slice(&self.stanza);
        self.sent[who].push_back(Instant::now());
    }
}

impl Load for Ping {
    fn begin(&mut self, outs: &mut Outs) {
        for who in 0..self.sent.len() {
            (0..self.window).for_each(|_| self.send(who, outs));
        }
    }

    fn hear(&mut self, who: usize, element: &[u8], outs: &mut Outs, meter: &mut Meter) {
        if !element.starts_with(b"<iq") {
            return;
        }
        let is_result = crate::split::attribute(element, "type") == Some(b"result");
        match self.sent[who].pop_front().filter(|_| is_result) {
            Some(sent) => meter.delivered_since(sent),
            None => meter.wrong += 1,
        }
        self.send(who, outs);
    }
}
