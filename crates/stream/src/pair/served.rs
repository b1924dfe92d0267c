//! A server's machine with its questions answered: bytes in, bytes out.

use std::sync::Arc;

use super::Accounts;
use crate::Millis;
use crate::c2s::{C2s, ConnInfo, Settings, TlsInfo, Tokens};
use crate::event::Event;
use crate::fault::Fault;

/// A server's end whose shell is a table.
pub struct Served {
    /// The machine itself.
    pub machine: C2s,
    /// What its questions are answered from.
    pub accounts: Accounts,
    /// What it said, questions left out, oldest first.
    pub events: Vec<Event>,
    is_ready_for_tls: bool,
    now: Millis,
}

impl Served {
    /// A machine for a connection that has just come in.
    #[must_use]
    pub fn new(settings: Settings, accounts: Accounts, conn: ConnInfo, now: Millis) -> Self {
        let machine = C2s::new(Arc::new(settings), conn, now);
        Self { machine, accounts, events: Vec::new(), is_ready_for_tls: false, now }
    }

    /// A machine with default settings on a connection without TLS.
    #[must_use]
    pub fn plain(accounts: Accounts) -> Self {
        let conn = ConnInfo { tls: None, tokens: tokens("t") };
        Self::new(Settings::default(), accounts, conn, Millis(0))
    }

    /// A machine with default settings on a connection that began with TLS.
    #[must_use]
    pub fn direct_tls(accounts: Accounts, tls: TlsInfo) -> Self {
        let conn = ConnInfo { tls: Some(tls), tokens: tokens("t") };
        Self::new(Settings::default(), accounts, conn, Millis(0))
    }

    /// Sends text to the machine and returns what it wrote; what follows `<starttls/>` is lost.
    pub fn say(&mut self, text: &str) -> String {
        self.say_bytes(text.as_bytes())
    }

    /// Sends bytes to the machine and returns what it wrote.
    pub fn say_bytes(&mut self, bytes: &[u8]) -> String {
        let mut rest = bytes;
        let mut out = Vec::new();
        loop {
            let before = rest.len();
            self.receive(&mut rest);
            let settled = self.settle();
            out.append(&mut self.take());
            if rest.len() == before && !settled {
                break;
            }
        }
        String::from_utf8_lossy(&out).into_owned()
    }

    /// Lets the clock run and returns what the machine wrote when it was told.
    pub fn wait(&mut self, ms: u64) -> String {
        self.now = self.now.plus(ms);
        self.machine.handle_timeout(self.now);
        self.settle();
        String::from_utf8_lossy(&self.take()).into_owned()
    }

    /// Sends bytes to the machine.
    pub fn receive(&mut self, bytes: &mut &[u8]) {
        self.machine.handle_bytes(bytes, self.now);
    }

    /// Answers every question that is open and notes every other event; true if there was any.
    pub fn settle(&mut self) -> bool {
        let mut had_any = false;
        while let Some(event) = self.machine.poll_event() {
            had_any = true;
            match event {
                Event::Ask(ask) => {
                    let answer = self.accounts.answer(ask);
                    self.machine.handle_answer(answer, self.now);
                }
                event => {
                    self.is_ready_for_tls |= matches!(event, Event::StartTls);
                    if matches!(event, Event::PeerClosed) {
                        self.machine.close(None, self.now);
                    }
                    self.events.push(event);
                }
            }
        }
        had_any
    }

    /// What the machine wants to write.
    pub fn take(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        self.machine.take_output(&mut out);
        out
    }

    /// Whether it waits for the handshake.
    #[must_use]
    pub const fn is_ready_for_tls(&self) -> bool {
        self.is_ready_for_tls
    }

    /// Ends the handshake.
    pub fn handle_tls(&mut self, tls: TlsInfo) {
        self.is_ready_for_tls = false;
        self.machine.handle_tls(tls, self.now);
    }

    /// Sets the clock.
    pub const fn set_now(&mut self, now: Millis) {
        self.now = now;
    }

    /// The fault with which the stream is over; the outer none while it is not.
    #[must_use]
    pub fn ended(&self) -> Option<Option<&Fault>> {
        self.events.iter().find_map(|event| match event {
            Event::Ended { fault, .. } => Some(fault.as_ref()),
            _ => None,
        })
    }
}

/// Texts that count up: good for tests, and for nothing else.
#[must_use]
pub fn tokens(prefix: &'static str) -> Tokens {
    let mut count = 0_u32;
    Box::new(move || {
        count += 1;
        format!("{prefix}{count:016}")
    })
}
