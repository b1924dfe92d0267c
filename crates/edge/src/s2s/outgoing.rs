//! The task that connects to another server and drains the queue of one domain pair.

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use stentor_engine::Inbound;
use stentor_stanza::Stanza;
use stentor_stream::fault::{Fault, Misbehaviour};
use stentor_stream::s2s::{Former, How, Outgoing, OutgoingEvent, Pair};
use stentor_stream::{Ending, Machine as _, Millis};
use stentor_transport::Conn;
use tokio::sync::watch;

use super::carrier::{Acks, drain, settle, take_ack, take_in};
use super::certificates::Proof;
use super::dial::{admit, connect, judge, secure};
use super::discovery::{NotFound, Target};
use super::failure::Failure;
use super::link::Link;
use super::links::Links;
use super::pump::{Counts, Pump, Wake, encryption};
use super::queue::Doubt;
use super::resume::End;
use super::rfc7673_dane::Dane;
use super::standing::{Place, StreamFacts, until_unwanted};
use crate::limits::{S2S_BRIEF_MS, S2S_RESUME_SECS};
use crate::monotonic;

/// Drains a link's queue until it is idle, or nobody can be reached. `taker` is its right to.
pub(crate) async fn run(links: Arc<Links>, link: Arc<Link>, taker: u64) {
    let mut stopping = links.federation.stopping();
    let mut broken = None;
    loop {
        let began = monotonic::now();
        let per_minute = links.federation.policy.attempts_per_minute;
        let outcome = match link.call_after(per_minute, began) {
            Some(wait) => Err(wait),
            None => Ok(attempt(&links, &link, taker, &mut broken).await),
        };
        let wait = match outcome {
            Err(wait) => wait,
            // The stream did its work.
            Ok(Ok(())) if broken.is_none() && link.queue.is_empty() => break,
            // XEP-0198 §5: it broke, and goes on over another; or there is more to be sent.
            Ok(Ok(())) if began.plus(S2S_BRIEF_MS) > monotonic::now() => S2S_BRIEF_MS,
            Ok(Ok(())) => 0,
            Ok(Err(failure)) => {
                let (local, remote) = (&link.pair.local, &link.pair.remote);
                let reason = failure.to_string();
                tracing::info!(
                    event = "s2s_failed",
                    local,
                    remote,
                    reason,
                    "A server could not be reached."
                );
                let until = broken.as_ref().map(|broken| broken.until);
                let Some(wait) = links.give_up(&link, taker, &failure, until) else { break };
                wait
            }
        };
        link.note_broken(taker, broken.is_some());
        links.look_after(&link);
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(wait)) => {}
            () = link.until_reached() => {}
            _ = stopping.changed() => {}
        }
        if broken.take_if(|broken| broken.until <= monotonic::now()).is_some() {
            link.note_broken(taker, false);
            links.restore(&link, taker, Doubt::Arrived);
        }
        let is_needless = broken.is_none() && !link.is_taken_by(taker);
        if *stopping.borrow() || is_needless {
            link.note_broken(taker, false);
            links.restore(&link, taker, Doubt::Arrived);
            if link.leave(taker) {
                links.return_all(&link);
            }
            return;
        }
    }
    link.note_broken(taker, false);
    // What came meanwhile starts another.
    links.return_queue(&link, taker, Doubt::Arrived);
    links.look_after(&link);
}

/// A stream that broke and may go on over another one (XEP-0198 §5).
struct Broken {
    former: Former,
    /// How many milliseconds the peer gives for that, and until when.
    wait_ms: u64,
    until: Millis,
}

async fn attempt(
    links: &Arc<Links>,
    link: &Arc<Link>,
    taker: u64,
    broken: &mut Option<Broken>,
) -> Result<(), Failure> {
    let federation = &links.federation;
    let found = {
        let _permit = federation.connecting.acquire().await;
        federation.discovery.find(&link.pair.remote).await
    };
    let found = found.map_err(Failure::NotFound)?;
    log_found(&link.pair, &found);
    let mut last = None;
    for target in found {
        let connected = {
            let _permit = federation.connecting.acquire().await;
            connect(federation, &link.pair.local, &link.pair.remote, &target).await
        };
        let conn = match connected {
            Ok(conn) => conn,
            Err(failure) => {
                let Pair { local, remote } = &link.pair;
                tracing::info!(
                    event = "s2s_tried",
                    local,
                    remote,
                    reason = %failure,
                    "A server was called in vain."
                );
                last = Some(failure);
                continue;
            }
        };
        let mut stream = Stream::new(links, link, taker, conn, target);
        match stream.run(broken).await {
            Ok(()) => return Ok(()),
            Err(failure) => last = Some(failure),
        }
    }
    Err(last.unwrap_or(Failure::NotFound(NotFound::NoServer)))
}

/// What DNS, or a route, says of a domain.
fn log_found(pair: &Pair, targets: &[Target]) {
    let Pair { local, remote } = pair;
    let shown = targets.iter().map(|target| {
        let tls = if target.is_direct_tls { "direct TLS" } else { "STARTTLS" };
        let addresses: Vec<String> = target.addresses.iter().map(ToString::to_string).collect();
        let dane = if target.dane.has_records { ", TLSA" } else { "" };
        format!("{} ({tls}{dane})", addresses.join(", "))
    });
    let servers = shown.collect::<Vec<_>>().join("; ");
    tracing::info!(event = "s2s_found", local, remote, servers, "Where another server is.");
}

/// What a stream waits for beside its socket.
enum News {
    /// So much of what came is on disk.
    Handled(u64),
    /// Something waits for its peer, or it is to stop.
    Waiting,
    /// Somebody wants it ended.
    Unwanted,
}

/// One stream while it lasts.
struct Stream<'a> {
    links: &'a Arc<Links>,
    link: &'a Arc<Link>,
    taker: u64,
    pump: Pump,
    machine: Outgoing,
    inbound: Arc<Inbound>,
    /// What DNS says of the server's certificate.
    dane: Dane,
    is_authorized: bool,
    /// Its place among the streams that stand.
    place: Option<Place>,
    /// Whether we have said that we close.
    is_closing: bool,
    failure: Option<Failure>,
    /// By which id the stream may be resumed, and for how many milliseconds.
    resumable: Option<(String, u64)>,
    /// The stream for which this one was to go on, and does not any longer.
    is_former_over: bool,
    acks: Acks,
    end: End,
    stopping: watch::Receiver<bool>,
    /// What has been charged to the domain, and when more may be read.
    charged: u64,
    may_read_at: Millis,
    /// When the stream has been idle for too long.
    idle_at: Millis,
}

impl<'a> Stream<'a> {
    fn new(
        links: &'a Arc<Links>,
        link: &'a Arc<Link>,
        taker: u64,
        conn: Conn,
        target: Target,
    ) -> Self {
        let federation = &links.federation;
        let now = monotonic::now();
        let Target { is_direct_tls, dane, .. } = target;
        let settings = Arc::new(federation.outgoing_settings(&link.pair.remote, &dane));
        let machine = Outgoing::new(settings, link.pair.clone(), is_direct_tls, true, now);
        let inbound = Arc::new(Inbound::new(federation.engine.clone()));
        Self {
            links,
            link,
            taker,
            pump: Pump::new(conn),
            machine,
            inbound,
            dane,
            is_authorized: false,
            place: None,
            is_closing: false,
            failure: None,
            resumable: None,
            is_former_over: false,
            acks: Acks::default(),
            end: End::Broken,
            stopping: federation.stopping(),
            charged: 0,
            may_read_at: now,
            idle_at: now.plus(federation.policy.idle_ms),
        }
    }

    /// Runs the stream to its end.
    async fn run(&mut self, broken: &mut Option<Broken>) -> Result<(), Failure> {
        if let Some(Broken { former, wait_ms, .. }) = broken {
            self.machine.go_on_for(former.clone());
            self.resumable = Some((former.previd.clone(), *wait_ms));
        }
        let outcome = self.turn().await;
        self.inbound.settle_all().await;
        // It goes another way, and must not come on this one after all.
        let is_counted = self.machine.tally().is_some();
        if self.end == End::Broken && is_counted && self.link.queue.unacked(self.taker) > 0 {
            self.pump.conn.abort();
        }
        if self.is_authorized || self.is_former_over {
            *broken = self.what_goes_on();
            if broken.is_none() {
                let doubt = self.end.doubt(self.machine.tally().is_some());
                self.links.restore(self.link, self.taker, doubt);
            }
        }
        if self.is_authorized && self.end.may_be_gone() {
            self.link.doubt();
        }
        self.place = None;
        let unsent = std::mem::take(&mut self.failure);
        match outcome {
            Ok(()) if self.is_authorized => Ok(()),
            Ok(()) => {
                Err(unsent.unwrap_or_else(|| Failure::Ended("without a word".to_owned(), None)))
            }
            Err(_) if self.is_authorized => Ok(()),
            Err(error) => Err(unsent.unwrap_or_else(|| Failure::Unreachable(error.to_string()))),
        }
    }

    /// What another stream may go on with; everything that came has been handled.
    fn what_goes_on(&mut self) -> Option<Broken> {
        let (previd, wait_ms) = self.resumable.take()?;
        if !self.machine.is_bidi() && !self.link.is_taken_by(self.taker) {
            return None;
        }
        let tally = self.machine.tally().filter(|_| self.end == End::Broken)?;
        let until = monotonic::now().plus(wait_ms);
        Some(Broken { former: Former { previd, tally }, wait_ms, until })
    }

    async fn turn(&mut self) -> std::io::Result<()> {
        loop {
            self.events().await?;
            self.machine.take_output(&mut self.pump.out);
            if self.machine.is_ended() {
                return self.pump.flush_last().await;
            }
            self.fill();
            let is_stopping = *self.stopping.borrow();
            if self.is_spare() || (is_stopping && self.has_nothing_to_say()) {
                if self.link.queue.unacked(self.taker) == 0 {
                    self.close().await;
                    self.is_closing = true;
                    continue;
                }
                self.machine.ask_for_ack(monotonic::now());
                self.machine.take_output(&mut self.pump.out);
            }
            let now = monotonic::now();
            let is_paid = self.may_read_at <= now;
            let may_send = self.may_send() && self.pump.has_room();
            let mut due =
                self.machine.poll_timeout().map_or(self.idle_at, |at| at.min(self.idle_at));
            if !is_paid {
                due = due.min(self.may_read_at);
            }
            let (link, taker, stopping) = (self.link, self.taker, &mut self.stopping);
            let is_bearable = self.pump.has_room() && !self.acks.is_full();
            let may_read = self.machine.may_read() && is_bearable && is_paid;
            let acks = &mut self.acks;
            let wake = self.pump.wait(Some(due), may_read, |cx| {
                if let Poll::Ready(handled) = acks.poll(cx) {
                    return Poll::Ready(News::Handled(handled));
                }
                let is_ready = may_send && link.queue.poll_ready(taker, cx).is_ready();
                if is_ready { Poll::Ready(News::Waiting) } else { Poll::Pending }
            });
            let place = self.place.as_ref();
            let wake = tokio::select! {
                wake = wake => wake?,
                _ = stopping.changed() => Wake::Other(News::Waiting),
                () = until_unwanted(place) => Wake::Other(News::Unwanted),
            };
            // Before that it is the former stream's stanzas that wait for a word.
            if self.is_authorized {
                settle((self.link, self.taker), &self.machine, &self.pump);
            }
            match wake {
                Wake::Socket | Wake::Other(News::Waiting) => {}
                Wake::Other(News::Handled(handled)) => self.machine.acknowledge(handled),
                Wake::Other(News::Unwanted) => {
                    if !std::mem::replace(&mut self.is_closing, true) {
                        self.close().await;
                    }
                }
                Wake::Timer => self.timer().await,
            }
        }
    }

    async fn timer(&mut self) {
        let now = monotonic::now();
        self.machine.handle_timeout(now);
        if self.is_authorized && self.idle_at <= now {
            if self.link.queue.unacked(self.taker) == 0 {
                self.close().await;
            }
            self.idle_at = now.plus(self.links.federation.policy.idle_ms);
        }
    }

    /// Whether the queue is this stream's to drain, and the peer takes what is in it.
    fn may_send(&self) -> bool {
        self.is_authorized
            && self.machine.may_send(&self.link.pair)
            && self.link.is_taken_by(self.taker)
    }

    /// Whether another stream drains the queue now, so that this one may close.
    fn is_spare(&self) -> bool {
        self.is_authorized
            && !self.is_closing
            && !self.machine.is_bidi()
            && !self.link.is_taken_by(self.taker)
    }

    fn has_nothing_to_say(&self) -> bool {
        !self.is_closing && self.link.queue.is_empty()
    }

    fn fill(&mut self) {
        let from = (&**self.link, self.taker);
        let federation = &self.links.federation;
        if self.may_send() && drain(federation, from, &mut self.machine, &mut self.pump) {
            self.stir();
        }
    }

    /// Notes that the stream is not idle.
    fn stir(&mut self) {
        self.idle_at = monotonic::now().plus(self.links.federation.policy.idle_ms);
    }

    /// Closes in order: the peer is told what has been handled (XEP-0198 §4).
    async fn close(&mut self) {
        if let Some(tally) = self.machine.tally() {
            self.inbound.settle_all().await;
            self.machine.acknowledge(tally.received);
        }
        self.machine.close(None, monotonic::now());
    }

    /// Reads and acts until nothing moves.
    async fn events(&mut self) -> std::io::Result<()> {
        loop {
            let now = monotonic::now();
            let mut moved = self.pump.feed(|input| self.machine.handle_bytes(input, now));
            self.charge(now);
            if self.pump.is_eof() {
                self.machine.handle_eof(now);
            }
            while let Some(event) = self.machine.poll_event() {
                moved = true;
                self.event(event).await?;
            }
            if !moved {
                return Ok(());
            }
        }
    }

    /// What comes back on the stream is paid for like what comes on others of the domain.
    fn charge(&mut self, now: Millis) {
        let federation = &self.links.federation;
        let remote = &self.link.pair.remote;
        let per_sec = federation.policy.terms(remote).bytes_per_sec;
        let bytes = self.pump.read_bytes - self.charged;
        self.charged = self.pump.read_bytes;
        if bytes > 0 {
            self.may_read_at = federation.throttle.charge(remote, bytes, per_sec, now);
        }
    }

    /// What comes back on the stream (XEP-0288).
    async fn stanza(&mut self, stanza: Stanza) {
        let (federation, now) = (&self.links.federation, monotonic::now());
        if let Some(fault) = federation.ends_with(&stanza) {
            return self.machine.close(Some(fault), now);
        }
        self.idle_at = now.plus(federation.policy.idle_ms);
        federation.metrics.stanzas_in.inc();
        self.pump.counts.note_in(&stanza);
        take_in(&self.inbound, stanza).await;
    }

    async fn event(&mut self, event: OutgoingEvent) -> std::io::Result<()> {
        let federation = &self.links.federation;
        let now = monotonic::now();
        match event {
            OutgoingEvent::StartTls => self.start_tls().await?,
            OutgoingEvent::Key { pair, stream_id } => {
                let key = federation.keys.make(&pair, &stream_id);
                self.machine.handle_key(&pair, &key, now);
            }
            OutgoingEvent::Authorized(pair, how) => {
                self.is_authorized = true;
                self.link.succeeded(self.taker);
                federation.metrics.opened.inc();
                self.note_open(pair, how);
            }
            OutgoingEvent::Denied(_, verdict) => {
                self.failure = Some(Failure::Denied(verdict));
                self.machine.close(None, now);
            }
            OutgoingEvent::Verified(..) => {}
            OutgoingEvent::Managed { id, max_secs } => {
                let secs = max_secs.filter(|secs| *secs > 0).unwrap_or(S2S_RESUME_SECS);
                let wait_ms = u64::from(secs).saturating_mul(1_000).min(federation.policy.hold_ms);
                self.resumable = id.map(|id| (id, wait_ms));
            }
            OutgoingEvent::Resumed(acked) => self.resumed(acked),
            OutgoingEvent::NotResumed(acked) => {
                self.is_former_over = true;
                self.resumable = None;
                self.link.queue.acked(self.taker, acked.unwrap_or_default());
                // XEP-0198 §5: whoever has forgotten the stream may know what came over it all the same.
                let doubt = if acked.is_some() { Doubt::None } else { Doubt::Arrived };
                self.links.restore(self.link, self.taker, doubt);
            }
            OutgoingEvent::AckRequested => {
                let received = self.machine.tally().map_or(0, |tally| tally.received);
                self.acks.note(&federation.engine, received);
            }
            OutgoingEvent::Acked(acked) => {
                let from = (&**self.link, self.taker);
                take_ack(from, acked, &mut self.machine, &mut self.pump);
            }
            OutgoingEvent::Stanza(stanza) => self.stanza(stanza).await,
            OutgoingEvent::Ending(Ending::PeerClosed) => {
                // What left now would have to leave again.
                if self.machine.tally().is_none() {
                    self.fill();
                }
                self.close().await;
            }
            OutgoingEvent::Ending(Ending::Ended { fault, by_peer }) => {
                self.ended(fault.as_ref(), by_peer)
            }
        }
        Ok(())
    }

    async fn start_tls(&mut self) -> std::io::Result<()> {
        self.machine.take_output(&mut self.pump.out);
        self.pump.flush().await?;
        let leftover = self.pump.take_input();
        let pair = &self.link.pair;
        let federation = &self.links.federation;
        let conn = &mut self.pump.conn;
        let secured = secure(federation, conn, &pair.local, &pair.remote, false, &leftover).await;
        if let Err(reason) = secured {
            self.failure = Some(Failure::Unreachable(reason));
            self.machine.handle_eof(monotonic::now());
            return Ok(());
        }
        match admit(federation, &self.pump.conn, &pair.remote, &self.dane) {
            Ok(()) => self.machine.handle_tls(monotonic::now()),
            Err(failure) => {
                self.failure = Some(failure);
                self.machine.handle_eof(monotonic::now());
            }
        }
        Ok(())
    }

    /// The stream goes on: the peer has so many of the former one's stanzas, and gets the others.
    fn resumed(&mut self, acked: u64) {
        let Pair { local, remote } = &self.link.pair;
        tracing::info!(event = "s2s_resumed", local, remote, "A stream to another server goes on.");
        self.link.queue.acked(self.taker, acked);
        self.links.restore(self.link, self.taker, Doubt::None);
        let links = self.links;
        links.federation.metrics.resumed.inc();
    }

    fn note_open(&mut self, pair: Pair, how: How) {
        let (federation, facts) = (&self.links.federation, self.pump.conn.facts());
        let certificate =
            Proof::name(&judge(federation, &self.pump.conn, &pair.remote, &self.dane));
        let (bidi, now_ms) = (self.machine.is_bidi(), federation.engine.clock.unix_ms());
        let (tls, cipher) = encryption(facts);
        let Pair { local, remote } = &pair;
        tracing::info!(
            event = "s2s_out",
            local,
            remote,
            peer = %facts.peer,
            tls,
            cipher,
            certificate,
            how = how.name(),
            bidi,
            "A stream to another server stands."
        );
        let stream = StreamFacts::new(true, pair, (facts, certificate), how, (bidi, now_ms));
        self.place = Some(federation.standing.enter(stream));
    }

    fn ended(&mut self, fault: Option<&Fault>, by_peer: bool) {
        self.end = End::of(fault);
        let (local, remote) = (&self.link.pair.local, &self.link.pair.remote);
        let reason = fault.map_or_else(|| "closed".to_owned(), ToString::to_string);
        let Counts { presences_out, others_out, presences_in, others_in } = self.pump.counts;
        tracing::info!(
            event = "s2s_out_ended",
            local,
            remote,
            by_peer,
            reason,
            presences_out,
            others_out,
            presences_in,
            others_in,
            "A stream to another server ended."
        );
        if let (false, None) = (self.is_authorized, &self.failure) {
            self.failure = Some(match fault {
                Some(Fault::Peer(Misbehaviour::NoTls)) => Failure::NoTls,
                _ => Failure::Ended(reason, fault.map(Fault::condition)),
            });
        }
    }
}
