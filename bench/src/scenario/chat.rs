//! Pairs of clients: one sends, the other receives, with a window or at a rate.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use clap::Args;
use memchr::memmem::Finder;

use super::{Load, Meter, Timing, digits, measure, number, settle};
use crate::cli::Relay;
use crate::fleet::{Login, Outs};
use crate::report::Report;
use crate::target::Target;

/// Options of the scenario.
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// Pairs of clients.
    #[arg(long, default_value_t = 50)]
    pub pairs: usize,
    /// Messages of a pair that are on their way at a time.
    #[arg(long, default_value_t = 10)]
    pub window: usize,
    /// Bytes of a body.
    #[arg(long, default_value_t = 100)]
    pub body: usize,
    /// Messages a second in all, instead of as many as the window lets through.
    #[arg(long)]
    pub rate: Option<u32>,
    /// Both of a pair send.
    #[arg(long)]
    pub both_ways: bool,
    /// Address messages to the receiver's device instead of its account.
    #[arg(long)]
    pub full: bool,
    /// With stream management: each side asks for acknowledgements once a window (XEP-0198).
    #[arg(long)]
    pub management: bool,
    /// Sessions beside them that do nothing.
    #[arg(long, default_value_t = 0)]
    pub idle: usize,
    /// Put the load on a bare relay of bytes, for the limit of the machine.
    #[arg(long, value_enum, conflicts_with = "server")]
    pub relay: Option<Relay>,
    /// How long.
    #[command(flatten)]
    pub timing: Timing,
}

/// Runs it.
///
/// # Errors
/// Clients cannot sign in or do not stay.
pub fn run(target: &mut Target, options: &Options) -> anyhow::Result<Report> {
    let clients = options.pairs * 2;
    let address = |target: &Target, n: usize| {
        let resource = if options.full { "/bench" } else { "" };
        format!("{}{resource}", target.jid(n))
    };
    let mut pairs = Vec::new();
    for n in 0..options.pairs {
        let (a, b) = (2 * n, 2 * n + 1);
        pairs.push(Pair::new(a, b, &address(target, b), options));
        if options.both_ways {
            pairs.push(Pair::new(b, a, &address(target, a), options));
        }
    }
    let mut fleet = match options.relay {
        None => target.fleet(clients + options.idle)?,
        Some(kind) => {
            // All messages are as long as the longest, so that the relay can tell them apart.
            let len = pairs.iter().map(Pair::message_len).max().unwrap_or(0);
            pairs.iter_mut().for_each(|pair| pair.lengthen(len));
            target.relay(kind, len)?
        }
    };
    for _ in 0..clients + options.idle {
        fleet.add();
    }
    if options.relay.is_some() {
        (0..clients).try_for_each(|who| fleet.connect(who, None))?;
    } else {
        target.sign_in(&mut fleet, 0..clients + options.idle, |who| Login {
            manages: options.management,
            ..target.login(who)
        })?;
        (0..clients).for_each(|who| fleet.outs().of(who).extend_from_slice(b"<presence/>"));
        settle(&mut fleet)?;
    }
    let mut load = Chat::new(pairs, clients, options);
    let measured = measure(target, &mut fleet, &mut load, options.timing)?;
    let mut report = Report::new(describe(target, options), target.label());
    measured.tell(&mut report);
    Ok(report)
}

fn describe(target: &Target, options: &Options) -> String {
    let Options { pairs, window, body, .. } = options;
    let tls = format!("{:?}", target.common.tls).to_lowercase();
    let pace = match options.rate {
        None => format!("window {window}"),
        Some(rate) => format!("{rate}/s"),
    };
    let ways = if options.both_ways { ", both ways" } else { "" };
    let relay = match options.relay {
        None => "",
        Some(Relay::Batched) => ", batched",
        Some(Relay::Each) => ", one write each",
    };
    let idle = match options.idle {
        0 => String::new(),
        idle => format!(", beside {idle} idle"),
    };
    let management = if options.management { ", management" } else { "" };
    format!("chat {pairs} pairs, {pace}, {body} bytes, tls {tls}{management}{ways}{relay}{idle}")
}

/// Messages from one client to another.
pub(super) struct Pair {
    from: usize,
    to: usize,
    head: Vec<u8>,
    tail: Vec<u8>,
    next: u32,
    due: u32,
    /// Messages behind which an acknowledgement is asked for; 0 for none.
    ask_after: u32,
    sent: VecDeque<Instant>,
}

impl Pair {
    pub(super) fn new(from: usize, to: usize, address: &str, options: &Options) -> Self {
        Self {
            from,
            to,
            head: format!("<message to='{address}' type='chat' id='c").into_bytes(),
            tail: format!("'><body>{}</body></message>", "x".repeat(options.body)).into_bytes(),
            next: 0,
            due: 0,
            ask_after: u32::try_from(options.window).unwrap_or(1) * u32::from(options.management),
            sent: VecDeque::new(),
        }
    }

    fn message_len(&self) -> usize {
        self.head.len() + 8 + self.tail.len()
    }

    fn lengthen(&mut self, len: usize) {
        let more = vec![b'x'; len.saturating_sub(self.message_len())];
        let at = self.tail.len() - b"</body></message>".len();
        self.tail.splice(at..at, more);
    }

    pub(super) fn send(&mut self, outs: &mut Outs) {
        let out = outs.of(self.from);
        out.extend_from_slice(&self.head);
        out.extend_from_slice(&digits(self.next));
        out.extend_from_slice(&self.tail);
        self.next += 1;
        if self.ask_after > 0 && self.next.is_multiple_of(self.ask_after) {
            out.extend_from_slice(b"<r xmlns='urn:xmpp:sm:3'/>");
        }
        self.sent.push_back(Instant::now());
    }
}

/// The load itself.
pub(super) struct Chat {
    pairs: Vec<Pair>,
    /// For each client the pair whose messages it gets.
    incoming: Vec<Option<usize>>,
    window: usize,
    rate: Option<u32>,
    begun: Instant,
    sent: u64,
    id: Finder<'static>,
}

impl Chat {
    pub(super) fn new(pairs: Vec<Pair>, clients: usize, options: &Options) -> Self {
        let mut incoming = vec![None; clients];
        for (index, pair) in pairs.iter().enumerate() {
            incoming[pair.to] = Some(index);
        }
        Self {
            pairs,
            incoming,
            window: options.window,
            rate: options.rate,
            begun: Instant::now(),
            sent: 0,
            id: Finder::new(" id="),
        }
    }

    /// Whether a client gets messages.
    pub(super) fn receives(&self, who: usize) -> bool {
        self.incoming[who].is_some()
    }

    fn sequence(&self, element: &[u8]) -> Option<u32> {
        let at = self.id.find(element)? + b" id='c".len();
        number(element.get(at..at + 8)?)
    }
}

impl Load for Chat {
    fn begin(&mut self, outs: &mut Outs) {
        (self.begun, self.sent) = (Instant::now(), 0);
        if self.rate.is_none() {
            let window = self.window;
            self.pairs.iter_mut().for_each(|pair| (0..window).for_each(|_| pair.send(outs)));
        }
    }

    fn hear(&mut self, who: usize, element: &[u8], outs: &mut Outs, meter: &mut Meter) {
        if !element.starts_with(b"<message") {
            return;
        }
        let sequence = self.sequence(element);
        let Some(pair) = self.incoming[who].map(|index| &mut self.pairs[index]) else {
            meter.wrong += 1;
            return;
        };
        // In order, each once: anything else is lost, doubled or an error.
        let Some(sent) = pair.sent.pop_front().filter(|_| sequence == Some(pair.due)) else {
            meter.wrong += 1;
            return;
        };
        pair.due += 1;
        meter.delivered_since(sent);
        if self.rate.is_none() {
            pair.send(outs);
        }
    }

    fn tick(&mut self, outs: &mut Outs, _: &mut Meter) -> Duration {
        let Some(rate) = self.rate else { return Duration::from_millis(100) };
        let nanos = self.begun.elapsed().as_nanos() * u128::from(rate);
        let due = u64::try_from(nanos / 1_000_000_000).unwrap_or(u64::MAX);
        let count = self.pairs.len() as u64;
        while self.sent < due && count > 0 {
            let index = usize::try_from(self.sent % count).unwrap_or(0);
            self.pairs[index].send(outs);
            self.sent += 1;
        }
        Duration::from_millis(1)
    }
}
