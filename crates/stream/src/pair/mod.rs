//! Both ends of a stream joined by a link and a virtual clock, for tests.
//!
//! [`Served`] is a server's machine whose questions are answered from a table, with bytes in and
//! bytes out. [`Pair`] joins it to an [`Initiator`].

mod accounts;
mod link;
mod served;

use std::sync::Arc;

use stentor_sasl::Bindings;

pub use self::accounts::{Accounts, HeldToken};
pub use self::link::Link;
pub use self::served::{Served, tokens};
use crate::c2s::{self, ConnInfo, TlsInfo};
use crate::event::Event;
use crate::initiator::{self, Initiator};
use crate::{Millis, fault::Fault};

/// Both ends, joined.
pub struct Pair {
    /// The server's end.
    pub server: Served,
    /// The connecting end.
    pub client: Initiator,
    /// What the client writes.
    pub to_server: Link,
    /// What the server writes.
    pub to_client: Link,
    /// What the client's machine said, oldest first.
    pub client_events: Vec<initiator::Event>,
    bindings: [Bindings; 2],
    is_client_ready_for_tls: bool,
    now: Millis,
}

impl Pair {
    /// A pair whose client wants what `client` says and whose server offers what `accounts` has.
    ///
    /// `direct` is the binding data where TLS came before the stream (XEP-0368).
    #[must_use]
    pub fn new(
        server: c2s::Settings,
        accounts: Accounts,
        client: initiator::Settings,
        direct: Option<Bindings>,
    ) -> Self {
        let now = Millis(1_000);
        let tls = direct.clone().map(|bindings| TlsInfo { bindings, ..TlsInfo::default() });
        let conn = ConnInfo { tls, tokens: tokens("server") };
        Self {
            server: Served::new(server, accounts, conn, now),
            client: Initiator::new(Arc::new(client), direct, "nonce-of-24-characters-".into(), now),
            to_server: Link::default(),
            to_client: Link::default(),
            client_events: Vec::new(),
            bindings: [both_bindings(), both_bindings()],
            is_client_ready_for_tls: false,
            now,
        }
    }

    /// Lets the ends of the coming handshake have this binding data: the server's, the client's.
    pub fn set_bindings(&mut self, server: Bindings, client: Bindings) {
        self.bindings = [server, client];
    }

    /// The virtual time.
    #[must_use]
    pub const fn now(&self) -> Millis {
        self.now
    }

    /// Moves bytes and answers questions until nothing happens any more.
    pub fn run(&mut self) {
        while self.step() {}
    }

    /// Lets time pass, with everything that falls due on the way.
    pub fn advance(&mut self, ms: u64) {
        let end = self.now.plus(ms);
        self.run();
        loop {
            let due = [self.server.machine.poll_timeout(), self.client.poll_timeout()];
            let Some(next) = due.into_iter().flatten().min().filter(|&next| next <= end) else {
                break;
            };
            self.now = self.now.max(next);
            self.server.set_now(self.now);
            self.server.machine.handle_timeout(self.now);
            self.client.handle_timeout(self.now);
            self.run();
        }
        self.now = end;
        self.server.set_now(end);
    }

    /// Breaks the connection for both ends.
    pub fn cut(&mut self) {
        self.to_server.clear();
        self.to_client.clear();
        self.server.machine.handle_eof(self.now);
        self.client.handle_eof(self.now);
        self.run();
    }

    /// The fault with which the client's end is over; the outer none while it is not.
    #[must_use]
    pub fn client_ended(&self) -> Option<Option<&Fault>> {
        self.client_events.iter().find_map(|event| match event {
            initiator::Event::Ended { fault, .. } => Some(fault.as_ref()),
            _ => None,
        })
    }

    fn step(&mut self) -> bool {
        let mut moved = self.server.settle();
        moved |= self.to_client.push(&self.server.take());
        let mut out = Vec::new();
        self.client.take_output(&mut out);
        moved |= self.to_server.push(&out);
        while let Some(event) = self.client.poll_event() {
            self.is_client_ready_for_tls |= matches!(event, initiator::Event::StartTls);
            self.client_events.push(event);
            moved = true;
        }
        if self.is_client_ready_for_tls && self.server.is_ready_for_tls() {
            self.is_client_ready_for_tls = false;
            let [server, client] = self.bindings.clone();
            self.server.handle_tls(TlsInfo { bindings: server, ..TlsInfo::default() });
            self.client.handle_tls(client, self.now);
            return true;
        }
        let (server, now) = (&mut self.server, self.now);
        moved |= self.to_server.deliver(|bytes| server.receive(bytes));
        let client = &mut self.client;
        moved |= self.to_client.deliver(|bytes| client.handle_bytes(bytes, now));
        moved
    }
}

/// Binding data of both types.
#[must_use]
pub fn both_bindings() -> Bindings {
    Bindings { exporter: Some([7; 32]), server_end_point: Some(vec![9; 32]) }
}

/// The events of a server's machine that tests look for by name.
#[must_use]
pub fn stanzas(events: &[Event]) -> Vec<String> {
    let text = |event: &Event| match event {
        Event::Stanza(stanza) => Some(String::from_utf8_lossy(&stanza.to_bytes()).into_owned()),
        _ => None,
    };
    events.iter().filter_map(text).collect()
}
