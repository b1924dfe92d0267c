//! The task of a component's stream.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use stentor_engine::{BoxFuture, Handling, Inbound};
use stentor_stanza::Stanza;
use stentor_stream::component::{Answer, Ask, Component, Event, Offer, Settings};
use stentor_stream::fault::{Fault, Misbehaviour};
use stentor_stream::{Ending, Machine as _, Millis};
use stentor_transport::{Conn, TlsAcceptor};
use tokio::net::TcpStream;

use super::Components;
use super::attached::Attached;
use super::lane::{Lane, Parcel, Shard};
use crate::accept::{Serve, open};
use crate::admission::Permit;
use crate::c2s::Shared;
use crate::limits::{COMPONENT_STALL_MS, HANDSHAKE_WAIT_MS, S2S_UNSETTLED_MAX};
use crate::monotonic;
use crate::s2s::pump::{Pump, Wake};

/// A listening port for components.
pub struct ComponentListener {
    /// For TLS from the first byte; none on a port in clear.
    acceptor: Option<Arc<TlsAcceptor>>,
    components: Arc<Components>,
    shared: Arc<Shared>,
    settings: Arc<Settings>,
}

impl ComponentListener {
    /// A port. With an acceptor connections begin by a TLS handshake. `name` is told to those that
    /// ask for no component of ours.
    #[must_use]
    pub fn new(
        acceptor: Option<Arc<TlsAcceptor>>,
        components: Arc<Components>,
        shared: Arc<Shared>,
        name: String,
    ) -> Arc<Self> {
        let settings = Arc::new(Settings { name, ..Settings::default() });
        Arc::new(Self { acceptor, components, shared, settings })
    }
}

impl Serve for ComponentListener {
    fn admit(&self, peer: SocketAddr) -> Option<Permit> {
        self.shared.admit(peer)
    }

    fn serve(self: Arc<Self>, tcp: TcpStream, peer: SocketAddr, permit: Permit) {
        let open = self.shared.metrics.open.clone();
        open.inc();
        tokio::spawn(async move {
            if let Some(conn) = self.connection(tcp, peer).await {
                let mut stream = Stream::new(self, conn, peer);
                let outcome = stream.turn().await;
                stream.finish(outcome.err()).await;
            }
            open.dec();
            drop(permit);
        });
    }
}

impl ComponentListener {
    /// The connection, with TLS if that comes first.
    async fn connection(&self, tcp: TcpStream, peer: SocketAddr) -> Option<Conn> {
        let opened = open(tcp, peer, self.acceptor.as_deref(), HANDSHAKE_WAIT_MS).await;
        opened
            .inspect_err(|error| {
                self.shared.metrics.handshakes_failed.inc();
                tracing::info!(event = "tls_failed", %peer, error, "A TLS handshake with a component failed.");
            })
            .ok()
    }
}

/// One stream while it lasts.
struct Stream {
    listener: Arc<ComponentListener>,
    peer: SocketAddr,
    pump: Pump,
    machine: Component,
    inbound: Arc<Inbound>,
    /// What the component's last stanza still takes; no other is read meanwhile.
    work: Option<BoxFuture<'static, ()>>,
    /// The component, once it has been admitted.
    place: Option<(Arc<Attached>, Arc<Lane>)>,
    /// Written stanzas, and where each ends in the stream of bytes, until the socket has them.
    sent: VecDeque<(u64, Shard, Parcel)>,
    /// Bytes handed to the pump so far, and how many of them the socket has taken.
    appended: u64,
    taken: u64,
    /// When the socket last took something, or had nothing to take.
    moved: Millis,
    domain: Option<String>,
    fault: Option<Fault>,
}

impl Stream {
    fn new(listener: Arc<ComponentListener>, conn: Conn, peer: SocketAddr) -> Self {
        let now = monotonic::now();
        let make_id = Box::new(|| stentor_engine::random_id().unwrap_or_default().to_string());
        let machine = Component::new(listener.settings.clone(), make_id, now);
        let inbound = Arc::new(Inbound::new(listener.components.engine.clone()));
        Self {
            listener,
            peer,
            pump: Pump::new(conn),
            machine,
            inbound,
            work: None,
            place: None,
            sent: VecDeque::new(),
            appended: 0,
            taken: 0,
            moved: now,
            domain: None,
            fault: None,
        }
    }

    async fn turn(&mut self) -> io::Result<()> {
        loop {
            self.events();
            if let Some(fault) = self.place.as_ref().and_then(|(_, lane)| lane.take_close()) {
                self.fault = Some(fault.clone());
                self.machine.close(Some(fault), monotonic::now());
                self.events();
            }
            self.fill();
            self.write(|machine, out| machine.take_output(out));
            if self.machine.is_ended() {
                return self.flush().await;
            }
            match self.wait().await? {
                Wake::Socket => self.settle(),
                Wake::Other(is_done) => {
                    if is_done {
                        self.work = None;
                    }
                }
                Wake::Timer => {
                    let now = monotonic::now();
                    if self.stalls_at().is_some_and(|at| at <= now) {
                        return Err(io::Error::new(io::ErrorKind::TimedOut, "it does not read"));
                    }
                    self.machine.handle_timeout(now);
                }
            }
        }
    }

    /// True if the work is done.
    async fn wait(&mut self) -> io::Result<Wake<bool>> {
        let due = self.machine.poll_timeout().into_iter().chain(self.stalls_at()).min();
        let has_room = self.pump.has_room();
        let may_read = self.work.is_none() && self.machine.may_read() && has_room;
        let (work, place) = (&mut self.work, &self.place);
        let wake = self.pump.wait(due, may_read, |cx| {
            if work.as_mut().is_some_and(|work| work.as_mut().poll(cx).is_ready()) {
                return Poll::Ready(true);
            }
            match place {
                Some((_, lane)) => lane.poll_ready(has_room, cx).map(|()| false),
                None => Poll::Pending,
            }
        });
        wake.await
    }

    /// Reads and acts until nothing moves, or until a stanza takes longer.
    fn events(&mut self) {
        while self.work.is_none() {
            let now = monotonic::now();
            let mut moved = self.pump.feed(|input| self.machine.handle_bytes(input, now));
            if self.pump.is_eof() {
                self.machine.handle_eof(now);
            }
            while let Some(event) = self.machine.poll_event() {
                moved = true;
                self.event(event);
            }
            if !moved {
                return;
            }
        }
    }

    fn event(&mut self, event: Event) {
        let now = monotonic::now();
        match event {
            Event::Ask(Ask::Domain(domain)) => {
                let offer = self.offer(&domain);
                self.domain = Some(domain);
                self.machine.handle_answer(Answer::Offer(offer), now);
            }
            Event::Ask(Ask::Admit(domain)) => {
                let admitted = self.admit(&domain);
                self.machine.handle_answer(Answer::Admitted(admitted), now);
            }
            Event::Stanza(stanza) => self.stanza(stanza),
            Event::Refused(reply) => {
                self.write(|machine, out| {
                    machine.send(&reply, out, now);
                });
            }
            Event::Ending(Ending::PeerClosed) => {
                self.fill();
                self.machine.close(None, now);
            }
            Event::Ending(Ending::Ended { fault, .. }) => self.fault = fault,
        }
    }

    fn offer(&self, domain: &str) -> Result<Offer, Fault> {
        let component = self.listener.components.find(domain).ok_or(Fault::HostUnknown)?;
        let settings = component.settings();
        Ok(Offer { secret: settings.secret.clone(), frame_bytes_max: settings.stanza_bytes_max })
    }

    fn admit(&mut self, domain: &str) -> Result<(), Fault> {
        let components = &self.listener.components;
        let component = components.find(domain).ok_or(Fault::HostGone)?;
        let lane = {
            let _turn = component.turn();
            let (lane, is_first) = component.enter()?;
            let mut give = |stanza| lane.hand_over(stanza);
            components.engine.component_attached(domain, is_first, &mut give);
            lane
        };
        components.metrics.admitted.inc();
        components.metrics.streams_of(domain).inc();
        self.place = Some((component, lane));
        let tls = self.pump.conn.facts().tls.as_ref().map_or("none", |tls| tls.version.as_str());
        tracing::info!(event = "component_in", domain, peer = %self.peer, tls, "A component has connected.");
        Ok(())
    }

    fn stanza(&mut self, stanza: Stanza) {
        let Some((attached, lane)) = &self.place else { return };
        self.listener.components.metrics.stanzas_in.inc();
        attached.note(lane, &stanza);
        if self.inbound.unsettled() >= S2S_UNSETTLED_MAX {
            let inbound = self.inbound.clone();
            self.work = Some(Box::pin(async move {
                inbound.settle_all().await;
                if let Handling::Later(rest) = inbound.handle(stanza) {
                    rest.await;
                }
            }));
        } else if let Handling::Later(rest) = self.inbound.handle(stanza) {
            self.work = Some(rest);
        }
    }

    /// Takes from the queue as long as the socket keeps up.
    fn fill(&mut self) {
        let Some((_, lane)) = self.place.clone() else { return };
        while self.machine.is_open() && self.pump.has_room() {
            let Some((shard, parcel)) = lane.pop() else { break };
            if self.pump.waiting() == 0 {
                self.moved = monotonic::now();
            }
            self.write(|machine, out| {
                machine.send(&parcel.stanza, out, monotonic::now());
            });
            self.sent.push_back((self.appended, shard, parcel));
            self.listener.components.metrics.stanzas_out.inc();
        }
    }

    fn write(&mut self, f: impl FnOnce(&mut Component, &mut Vec<u8>)) {
        let before = self.pump.out.len();
        f(&mut self.machine, &mut self.pump.out);
        self.appended += (self.pump.out.len() - before) as u64;
    }

    /// What the socket has taken is no longer ours.
    fn settle(&mut self) {
        let taken = self.appended - self.pump.waiting() as u64;
        if taken > self.taken {
            self.taken = taken;
            self.moved = monotonic::now();
        }
        let Some((_, lane)) = &self.place else { return };
        let mut numbers = Vec::new();
        while let Some((end, shard, parcel)) = self.sent.front()
            && *end <= taken
        {
            lane.settle(*shard);
            numbers.extend(parcel.kept);
            self.sent.pop_front();
        }
        self.listener.components.drop_kept(numbers);
    }

    /// When a component that reads nothing has had its time.
    fn stalls_at(&self) -> Option<Millis> {
        (self.pump.waiting() > 0).then(|| self.moved.plus(COMPONENT_STALL_MS))
    }

    /// Lets the last bytes leave, for a bounded time.
    async fn flush(&mut self) -> io::Result<()> {
        let wait = Duration::from_millis(crate::limits::LINGER_WAIT_MS);
        match tokio::time::timeout(wait, self.pump.flush()).await {
            Ok(Ok(())) => {
                self.taken = self.appended;
                self.settle();
                Ok(())
            }
            Ok(Err(error)) => Err(error),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    /// The stream is over: what it did not take goes to another or back, and whoever saw the
    /// component's entities hears that they are gone if it was the last.
    async fn finish(&mut self, broken: Option<io::Error>) {
        let components = self.listener.components.clone();
        if let Some(work) = self.work.take() {
            work.await;
        }
        let mut returned = 0;
        if let Some((attached, lane)) = self.place.take() {
            let unwritten = std::mem::take(&mut self.sent).into_iter().map(|(.., parcel)| parcel);
            returned = self.leave(&components, &attached, &lane, unwritten.collect());
        } else if self.fault.is_some() {
            components.metrics.refused.inc();
        }
        self.inbound.settle_all().await;
        self.tell(broken, returned);
    }

    /// Gives the place up and tells everyone; how many stanzas went back.
    fn leave(
        &self,
        components: &Components,
        attached: &Attached,
        lane: &Lane,
        unwritten: Vec<Parcel>,
    ) -> usize {
        let domain = self.domain.as_deref().unwrap_or_default();
        let _turn = attached.turn();
        let mut leftover = attached.leave(lane, unwritten);
        components.metrics.streams_of(domain).dec();
        if self.fault == Some(Fault::Shutdown) {
            // The next process gives it what is in the store.
            leftover.homeless.retain(|parcel| parcel.kept.is_none());
        }
        let returned = leftover.homeless.len();
        components.send_back(leftover.homeless);
        if leftover.is_gone {
            components.engine.component_left(domain);
        }
        for farewell in leftover.farewells {
            drop(self.inbound.handle(farewell));
        }
        returned
    }

    fn tell(&self, broken: Option<io::Error>, returned: usize) {
        let (domain, peer) = (self.domain.as_deref(), self.peer);
        if self.fault == Some(Fault::Peer(Misbehaviour::FalseHandshake)) {
            tracing::warn!(event = "component_refused", domain, %peer, "A component did not know its secret.");
            return;
        }
        let reason = self.fault.as_ref().map(ToString::to_string);
        let reason = reason.or_else(|| broken.map(|error| error.to_string()));
        let reason = reason.as_deref().unwrap_or("closed");
        tracing::info!(event = "component_ended", domain, %peer, reason, returned, "A component's stream ended.");
    }
}
