//! The task of a stream that another server opened to us.

mod ending;

use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use stentor_engine::Inbound;
use stentor_stanza::Condition;
use stentor_stream::fault::Fault;
use stentor_stream::s2s::{Answer, Ask, How, Incoming, IncomingEvent, Key, Offer, Pair, Verdict};
use stentor_stream::{Ending, Machine as _, Millis};
use stentor_transport::Conn;
use tokio::sync::{Notify, Semaphore, mpsc, watch};

use super::carrier::{Acks, drain, settle, take_ack, take_in};
use super::certificates::{Proof, proven_by_caller};
use super::link::Link;
use super::listener::S2sListener;
use super::pump::{Pump, Wake, encryption};
use super::queue::Doubt;
use super::resume::End;
use super::standing::{Place, StreamFacts, until_unwanted};
use super::verify::verify;
use super::xep0368_direct_tls::is_for_servers;
use super::{Federation, IN_OUR_NAME, UNWANTED};
use crate::limits::{
    S2S_FIRST_WORD_WAIT_MS, S2S_HANDSHAKE_WAIT_MS, S2S_RESUME_SECS, S2S_SETTLE_WAIT_MS,
    S2S_UNACKED_MAX, S2S_VERIFICATIONS_PER_STREAM_MAX,
};
use crate::monotonic;

/// What a stream waits for beside its socket.
enum News {
    /// What came of a call back.
    Verdict(Pair, Verdict),
    /// So much of what came is on disk.
    Handled(u64),
    /// Something waits for its peer.
    Waiting,
    /// Another stream is to go on for this one.
    Wanted,
    /// Somebody wants it ended.
    Unwanted,
}

/// One stream while it lasts.
pub(super) struct Stream {
    listener: Arc<S2sListener>,
    peer: SocketAddr,
    pump: Pump,
    machine: Incoming,
    inbound: Arc<Inbound>,
    /// Verdicts about keys, from the tasks that call back.
    verdicts: mpsc::Receiver<(Pair, Verdict)>,
    judge: mpsc::Sender<(Pair, Verdict)>,
    /// Queues that this stream drains (XEP-0288).
    back: Vec<(Arc<Link>, u64)>,
    remote: Option<String>,
    /// How many call-backs of this stream may be under way.
    calls: Arc<Semaphore>,
    stopping: watch::Receiver<bool>,
    /// What has been charged to the domain, and when more may be read.
    charged: u64,
    may_read_at: Millis,
    is_authorized: bool,
    /// Another server had a key of ours verified, which may be all that it wants (XEP-0220 §2.3).
    has_verified: bool,
    /// Its place among the streams that stand.
    place: Option<Place>,
    /// Whether we have said that we close.
    is_closing: bool,
    /// What the certificate has been found to prove, of the domain asked about last.
    proof: Option<(String, Result<Proof, String>)>,
    /// What the certificate lacks to prove the domain that the peer's header names.
    doubt: Option<String>,
    fault: Option<String>,
    end: End,
    /// By which id the stream may be resumed, and who tells that another wants to.
    resumable: Option<(String, Arc<Notify>)>,
    /// Whether it is known if the stream goes on for a former one.
    is_settled: bool,
    /// When stanzas may go back although the peer has not said anything.
    first_word_by: Millis,
    /// When it is as good as known that the peer does not count stanzas.
    settled_by: Millis,
    acks: Acks,
}

impl Stream {
    pub(super) fn new(listener: Arc<S2sListener>, conn: Conn, peer: SocketAddr) -> Self {
        let is_tls = conn.facts().tls.is_some();
        let settings = listener.settings.clone();
        let machine = Incoming::new(settings, is_tls, Box::new(token), monotonic::now());
        let (judge, verdicts) = mpsc::channel(stentor_stream::limits::DIALBACKS_MAX);
        let inbound = Arc::new(Inbound::new(listener.links.federation.engine.clone()));
        let pump = Pump::new(conn);
        let back = Vec::new();
        let stopping = listener.links.federation.stopping();
        Self {
            listener,
            peer,
            pump,
            machine,
            inbound,
            verdicts,
            judge,
            back,
            remote: None,
            calls: Arc::new(Semaphore::new(S2S_VERIFICATIONS_PER_STREAM_MAX)),
            stopping,
            charged: 0,
            may_read_at: monotonic::now(),
            is_authorized: false,
            has_verified: false,
            place: None,
            is_closing: false,
            proof: None,
            doubt: None,
            fault: None,
            end: End::Broken,
            resumable: None,
            is_settled: false,
            first_word_by: monotonic::now(),
            settled_by: monotonic::now(),
            acks: Acks::default(),
        }
    }

    /// Runs the stream until it ends.
    pub(super) async fn turn(&mut self) -> std::io::Result<()> {
        loop {
            self.events().await?;
            self.machine.take_output(&mut self.pump.out);
            if self.machine.is_ended() {
                return self.pump.flush_last().await;
            }
            self.fill();
            if *self.stopping.borrow() && !self.is_closing && self.has_nothing_to_say() {
                self.is_closing = true;
                self.close(Some(Fault::Shutdown)).await;
                continue;
            }
            let has_room = self.pump.has_room();
            let now = monotonic::now();
            let is_paid = self.may_read_at <= now;
            let paid_at = (!is_paid).then_some(self.may_read_at);
            let held_until = self.held_until();
            let due =
                self.machine.poll_timeout().into_iter().chain(paid_at).chain(held_until).min();
            let (back, verdicts, stopping) = (&self.back, &mut self.verdicts, &mut self.stopping);
            let may_read = self.machine.may_read() && has_room && is_paid && !self.acks.is_full();
            let (acks, resumable) = (&mut self.acks, &self.resumable);
            let wake = self.pump.wait(due, may_read, |cx| {
                if let Poll::Ready(Some((pair, verdict))) = verdicts.poll_recv(cx) {
                    return Poll::Ready(News::Verdict(pair, verdict));
                }
                if let Poll::Ready(handled) = acks.poll(cx) {
                    return Poll::Ready(News::Handled(handled));
                }
                let is_ready = |(link, taker): &(Arc<Link>, u64)| {
                    link.is_taken_by(*taker) && link.queue.poll_ready(*taker, cx).is_ready()
                };
                if has_room && held_until.is_none() && back.iter().any(is_ready) {
                    return Poll::Ready(News::Waiting);
                }
                Poll::Pending
            });
            let place = self.place.as_ref();
            let wake = tokio::select! {
                wake = wake => wake?,
                _ = stopping.changed() => Wake::Other(News::Waiting),
                () = until_wanted(resumable.as_ref()) => Wake::Other(News::Wanted),
                () = until_unwanted(place) => Wake::Other(News::Unwanted),
            };
            self.settle_back();
            match wake {
                Wake::Socket | Wake::Other(News::Waiting) => {}
                Wake::Other(News::Verdict(pair, verdict)) => {
                    let answer = Answer::Dialback(pair, verdict);
                    self.machine.handle_answer(answer, monotonic::now());
                }
                Wake::Other(News::Handled(handled)) => self.machine.acknowledge(handled),
                Wake::Other(News::Wanted) => {
                    self.machine.close(Some(Fault::Replaced), monotonic::now());
                }
                Wake::Other(News::Unwanted) => {
                    if !std::mem::replace(&mut self.is_closing, true) {
                        self.close(None).await;
                    }
                }
                Wake::Timer => self.machine.handle_timeout(monotonic::now()),
            }
        }
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

    fn charge(&mut self, now: Millis) {
        let bytes = self.pump.read_bytes - self.charged;
        self.charged = self.pump.read_bytes;
        // Whoever has proven nothing sends little, and is not charged to somebody else.
        if let (true, true, Some(remote)) = (bytes > 0, self.is_authorized, &self.remote) {
            let federation = &self.listener.links.federation;
            let per_sec = federation.policy.terms(remote).bytes_per_sec;
            self.may_read_at = federation.throttle.charge(remote, bytes, per_sec, now);
        }
    }

    async fn event(&mut self, event: IncomingEvent) -> std::io::Result<()> {
        match event {
            IncomingEvent::StartTls => self.start_tls().await?,
            IncomingEvent::Ask(Ask::Host { to, from }) => {
                let proven = match from.as_deref() {
                    Some(from) if self.federation().may_be(from) => Some(self.prove(from).await),
                    _ => None,
                };
                let is_proven = matches!(proven, Some(Ok(_)));
                let offer = self.offer(to.as_deref(), from.as_deref(), is_proven);
                self.doubt = proven.and_then(Result::err);
                self.remote = from;
                self.machine.handle_answer(Answer::Host(offer), monotonic::now());
            }
            IncomingEvent::Ask(Ask::Dialback { pair, key }) => self.dial_back(pair, key).await,
            IncomingEvent::Ask(Ask::Verify { pair, key }) => {
                let verdict = self.about_our_key(&pair, &key);
                self.has_verified |= verdict == Verdict::Valid;
                self.machine.handle_answer(Answer::Verify(pair, key, verdict), monotonic::now());
            }
            IncomingEvent::Ask(Ask::Resume { previd }) => self.resume(previd).await,
            IncomingEvent::Authorized(pair, how) => self.authorized(&pair, how).await,
            IncomingEvent::Managed(id) => self.managed(id),
            IncomingEvent::AckRequested => {
                let received = self.machine.tally().map_or(0, |tally| tally.received);
                self.acks.note(&self.listener.links.federation.engine, received);
            }
            IncomingEvent::Acked(acked) => {
                for (link, taker) in &self.back {
                    take_ack((link, *taker), acked, &mut self.machine, &mut self.pump);
                }
            }
            IncomingEvent::Stanza(stanza) => {
                if let Some(fault) = self.federation().ends_with(&stanza) {
                    self.machine.close(Some(fault), monotonic::now());
                    return Ok(());
                }
                self.is_settled = true;
                self.federation().metrics.stanzas_in.inc();
                self.pump.counts.note_in(&stanza);
                take_in(&self.inbound, stanza).await;
            }
            IncomingEvent::Refused(reply) => self.federation().engine.send_answer(reply),
            IncomingEvent::Ending(Ending::PeerClosed) => {
                if self.machine.tally().is_none() {
                    self.fill();
                }
                self.close(None).await;
            }
            IncomingEvent::Ending(Ending::Ended { fault, .. }) => {
                self.end = End::of(fault.as_ref());
                self.fault = fault.map(|fault| fault.to_string());
            }
        }
        Ok(())
    }

    fn federation(&self) -> &Arc<Federation> {
        &self.listener.links.federation
    }

    async fn start_tls(&mut self) -> std::io::Result<()> {
        let Some(acceptor) = self.listener.acceptor.clone() else { return Ok(()) };
        self.machine.take_output(&mut self.pump.out);
        self.pump.flush().await?;
        // RFC 6120 §5.4.3.3: whatever came in clear behind the request is not read again.
        self.pump.take_input();
        let hint = self.machine.domain().map(str::to_owned);
        let handshake = self.pump.conn.start_tls(&acceptor, &[], hint.as_deref());
        let wait = Duration::from_millis(S2S_HANDSHAKE_WAIT_MS);
        let error = match tokio::time::timeout(wait, handshake).await {
            Ok(Ok(())) => {
                self.machine.handle_tls(monotonic::now());
                return Ok(());
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "it took too long".to_owned(),
        };
        self.federation().metrics.handshakes_failed.inc();
        tracing::info!(event = "tls_failed", peer = %self.peer, error, "A TLS handshake with a server failed.");
        self.machine.handle_eof(monotonic::now());
        Ok(())
    }

    /// What is offered to a server that says it is `from`.
    fn offer(
        &self,
        to: Option<&str>,
        from: Option<&str>,
        is_proven: bool,
    ) -> Result<Arc<Offer>, Fault> {
        let federation = self.federation();
        let to = to.ok_or(Fault::HostUnknown)?;
        let hosts = federation.engine.hosts.load();
        if !federation.engine.federates(to) {
            return Err(if hosts.is_gone(to) { Fault::HostGone } else { Fault::HostUnknown });
        }
        if from.is_some_and(|from| !federation.allows(from)) {
            return Err(UNWANTED);
        }
        // Nobody else speaks for a domain of ours, whatever they show.
        if from.is_some_and(|from| federation.engine.is_local(from)) {
            return Err(IN_OUR_NAME);
        }
        let terms = from.map_or(&federation.policy.terms, |from| federation.policy.terms(from));
        Ok(Arc::new(Offer {
            domain: to.to_owned(),
            starttls: self.listener.acceptor.is_some(),
            tls_required: terms.tls_required,
            external: is_proven,
            dialback: terms.allows_dialback,
            bidi: true,
            management: Some(if self.listener.links.resumable.has_room() {
                S2S_RESUME_SECS
            } else {
                0
            }),
            frame_bytes_max: u64::try_from(self.listener.settings.limits.frame_bytes_max).ok(),
        }))
    }

    /// What the peer's certificate proves a domain by; the reason if it does not.
    async fn prove(&mut self, domain: &str) -> Result<Proof, String> {
        if let Some((_, proof)) = self.proof.as_ref().filter(|(of, _)| of == domain) {
            return proof.clone();
        }
        let Some(facts) = &self.pump.conn.facts().tls else {
            return Err("the connection is not encrypted".to_owned());
        };
        let proof = if is_for_servers(facts.alpn.as_deref()) {
            let chain = facts.client_certs.clone();
            proven_by_caller(self.federation().clone(), chain, domain.to_owned()).await
        } else {
            Err("the connection was not made for servers".to_owned())
        };
        self.proof = Some((domain.to_owned(), proof.clone()));
        proof
    }

    /// XEP-0220 §2.2.1: the key is verified, unless the certificate says enough.
    async fn dial_back(&mut self, pair: Pair, key: Key) {
        let federation = self.federation().clone();
        let is_ours = federation.engine.federates(&pair.local);
        let verdict = if !is_ours {
            Some(Verdict::Error(Condition::ItemNotFound))
        } else if !federation.allows(&pair.remote) {
            Some(Verdict::Error(Condition::PolicyViolation))
        } else if federation.engine.is_local(&pair.remote) {
            // Nobody else speaks for a domain of ours.
            Some(Verdict::Error(Condition::NotAcceptable))
        } else if self.prove(&pair.remote).await.is_ok() {
            Some(Verdict::Valid)
        } else {
            // The terms of the domain in the header need not be those of this one.
            let terms = federation.policy.terms(&pair.remote);
            let is_bare = terms.tls_required && self.pump.conn.facts().tls.is_none();
            let may = terms.allows_dialback && !is_bare;
            (!may).then_some(Verdict::Error(Condition::PolicyViolation))
        };
        if let Some(verdict) = verdict {
            let answer = Answer::Dialback(pair, verdict);
            return self.machine.handle_answer(answer, monotonic::now());
        }
        let (judge, calls) = (self.judge.clone(), self.calls.clone());
        tokio::spawn(async move {
            let _permit = calls.acquire_owned().await;
            let verdict = verify(&federation, pair.clone(), key).await;
            if verdict == Verdict::Invalid {
                let (local, remote) = (&pair.local, &pair.remote);
                tracing::warn!(
                    event = "dialback_invalid",
                    local,
                    remote,
                    "A server showed a key that its domain did not make."
                );
            }
            // The stream may be gone meanwhile.
            let _ = judge.send((pair, verdict)).await;
        });
    }

    fn about_our_key(&self, pair: &Pair, key: &Key) -> Verdict {
        let federation = self.federation();
        if !federation.engine.federates(&pair.local) {
            Verdict::Error(Condition::ItemNotFound)
        } else if federation.keys.is_ours(pair, &key.stream_id, &key.key) {
            Verdict::Valid
        } else {
            Verdict::Invalid
        }
    }

    async fn authorized(&mut self, pair: &Pair, how: How) {
        if !std::mem::replace(&mut self.is_authorized, true) {
            self.first_word_by = monotonic::now().plus(S2S_FIRST_WORD_WAIT_MS);
            self.settled_by = monotonic::now().plus(S2S_SETTLE_WAIT_MS);
        }
        self.federation().metrics.accepted.inc();
        self.listener.links.reached(pair);
        let certificate = Proof::name(&self.prove(&pair.remote).await);
        self.note_standing(pair, certificate, how);
        let (tls, cipher) = encryption(self.pump.conn.facts());
        let Pair { local, remote } = pair;
        tracing::info!(
            event = "s2s_in",
            local,
            remote,
            peer = %self.peer,
            tls,
            cipher,
            certificate,
            how = how.name(),
            "A stream from another server stands."
        );
    }

    fn note_standing(&mut self, pair: &Pair, certificate: &'static str, how: How) {
        if let Some(place) = &self.place {
            return place.add(pair.clone());
        }
        let (federation, facts) = (&self.listener.links.federation, self.pump.conn.facts());
        let (is_bidi, now_ms) = (self.machine.may_send(pair), federation.engine.clock.unix_ms());
        let shown = (facts, certificate);
        let stream = StreamFacts::new(false, pair.clone(), shown, how, (is_bidi, now_ms));
        self.place = Some(federation.standing.enter(stream));
    }

    /// Takes from the queues of pairs that may go back on this stream.
    fn fill(&mut self) {
        let pairs: Vec<Pair> = self.machine.pairs().cloned().collect();
        let links = &self.listener.links;
        for pair in pairs {
            let is_known = self.back.iter().any(|(link, _)| link.pair == pair);
            // What a broken stream left comes first, and the peer has not said yet what it has.
            let may = !is_known
                && self.machine.may_send(&pair)
                && (self.is_settled || !links.resumable.is_awaited(&pair));
            if may {
                self.back.extend(links.for_bidi(&pair));
            }
        }
        if self.held_until().is_some() {
            return;
        }
        for (link, taker) in self.back.iter().filter(|(link, taker)| link.is_taken_by(*taker)) {
            drain(&links.federation, (link, *taker), &mut self.machine, &mut self.pump);
        }
    }

    fn settle_back(&self) {
        // Until then the peer may begin to count, and what the socket has is not there yet.
        let counts_not = self.settled_by <= monotonic::now();
        for (link, taker) in &self.back {
            if counts_not || link.queue.unacked(*taker) >= S2S_UNACKED_MAX / 2 {
                settle((link, *taker), &self.machine, &self.pump);
            }
        }
    }

    /// Until when what waits for the peer may not leave: it has not had the time to say that it counts.
    fn held_until(&self) -> Option<Millis> {
        Some(self.first_word_by).filter(|by| !self.is_settled && *by > monotonic::now())
    }

    fn has_nothing_to_say(&self) -> bool {
        let mut back = self.back.iter();
        back.all(|(link, taker)| link.queue.is_empty() && link.queue.unacked(*taker) == 0)
    }

    /// Closes: the peer is told what has been handled (XEP-0198 §4).
    async fn close(&mut self, fault: Option<Fault>) {
        if let Some(tally) = self.machine.tally() {
            self.inbound.settle_all().await;
            self.machine.acknowledge(tally.received);
        }
        self.machine.close(fault, monotonic::now());
    }

    /// Stanzas are counted from now on. Whatever left before is not; it is there once anything that
    /// left later is.
    fn managed(&mut self, id: Option<String>) {
        self.is_settled = true;
        self.back.iter().for_each(|(link, taker)| link.queue.count_anew(*taker));
        let pairs: Vec<Pair> = self.machine.pairs().cloned().collect();
        let resumable = &self.listener.links.resumable;
        resumable.give_up(&pairs);
        self.resumable = id.map(|id| (id.clone(), resumable.enter(id, pairs)));
        if self.back.iter().any(|(link, taker)| link.queue.unacked(*taker) > 0) {
            self.machine.ask_for_ack(monotonic::now());
        }
    }

    /// XEP-0198 §5: the peer wants to go on for a former stream.
    async fn resume(&mut self, previd: String) {
        let pairs: Vec<Pair> = self.machine.pairs().cloned().collect();
        let resumable = &self.listener.links.resumable;
        let Some(left) = resumable.claim(&previd, &pairs).await else {
            return self.machine.handle_answer(Answer::Resume(Err(None)), monotonic::now());
        };
        self.is_settled = true;
        self.resumable = Some((previd.clone(), resumable.enter(previd, pairs)));
        self.federation().metrics.resumed.inc();
        self.back.extend(left.back);
        self.machine.handle_answer(Answer::Resume(Ok(left.tally)), monotonic::now());
        let Some(tally) = self.machine.tally() else { return };
        for (link, taker) in &self.back {
            link.queue.acked(*taker, tally.acked);
            self.listener.links.restore(link, *taker, Doubt::None);
        }
    }
}

/// Waits until another stream is to go on for one, if it may be resumed.
async fn until_wanted(resumable: Option<&(String, Arc<Notify>)>) {
    match resumable {
        Some((_, wanted)) => wanted.notified().await,
        None => std::future::pending().await,
    }
}

/// An id of 160 random bits.
fn token() -> String {
    let id = || stentor_engine::random_id().map(|id| id.to_string());
    match (id(), id()) {
        (Ok(one), Ok(two)) => one + &two,
        // Without randomness no key could be trusted: an id that nothing is made for.
        _ => String::new(),
    }
}
