//! The one loop over a client's socket. It polls side by side: the work in hand (a stanza being
//! decided, a question being answered), the outbox, the socket in both directions, the timers.
//!
//! What is parked while nothing happens is this struct and no buffer: input is read into a buffer
//! of the thread, output is kept only as long as the socket does not take it.

mod ending;
mod intake;
mod managed;
mod refused;
mod writing;

use std::collections::VecDeque;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use stentor_engine::{BoxFuture, Close, Fate, Item, Session, Stored, backlog, random_id};
use stentor_sasl::Mechanism;
use stentor_stream::c2s::{C2s, ConnInfo};
use stentor_stream::event::{Answer, Ask, Event};
use stentor_stream::fault::Fault;
use stentor_transport::{Conn, HandshakeError, TlsVersion};
use tokio::time::Sleep;

use crate::admission::Permit;
use crate::asks::{self, Answered, Caller};
use crate::c2s::C2sListener;
use crate::finding::Finding;
use crate::limits::{
    ACKS_DUE_MAX, BATCH_STANZAS_MAX, HANDSHAKE_WAIT_MS, OUT_BYTES_MAX, ROUNDS_MAX,
};
use crate::monotonic;
use crate::out::{Out, write_all};
use crate::sign_in::Begun;
use crate::stored::Confirmations;

pub use self::intake::Rates;

/// Where a connection comes from. It counts as open until this is dropped.
pub struct Link {
    /// The port it came in on.
    pub listener: Arc<C2sListener>,
    /// The peer's address.
    pub peer: SocketAddr,
    permit: Permit,
}

impl Link {
    /// A connection from this peer, with its right to be there.
    #[must_use]
    pub fn new(listener: Arc<C2sListener>, peer: SocketAddr, permit: Permit) -> Self {
        listener.shared.metrics.open.inc();
        Self { listener, peer, permit }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.listener.shared.metrics.open.dec();
    }
}

/// One client's connection. A future that is ready when all is over.
pub struct Driver {
    link: Link,
    /// Away only while a handshake has it.
    conn: Option<Conn>,
    machine: C2s,
    session: Option<Arc<Session>>,
    /// What must be finished before more input is read.
    work: Option<BoxFuture<'static, Done>>,
    /// Input that the machine would not take yet.
    rest: intake::Rest,
    out: Out,
    /// Stored messages on their way to the client.
    stored: Confirmations,
    /// Acknowledgements that the client asked for, in order: once so many commits are decided, so
    /// many stanzas are handled.
    acks_due: VecDeque<(u64, u64)>,
    silence: Silence,
    paces: intake::Paces,
    /// When more is read from one who was too fast, in milliseconds modulo 2³².
    paused_until: u32,
    is_paused: bool,
    timer: Option<Pin<Box<Sleep>>>,
    phase: Phase,
    /// How it is secured, for logs.
    tls: Option<TlsVersion>,
    /// Away once the client has a session.
    signing_in: Option<Box<SigningIn>>,
}

/// What only signing in needs.
#[derive(Default)]
struct SigningIn {
    /// The addresses that the client's certificate proves.
    cert_addrs: Arc<[String]>,
    /// When credentials were last judged, by [`Engine::moment`](stentor_engine::Engine::moment).
    proven: u64,
    /// What that brought to light.
    finding: Option<Finding>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The stream is open, or being opened or closed.
    Open,
    /// It is over: the last bytes leave and the session is told to end.
    Ending,
    /// All is done.
    Gone,
}

/// Why nothing is sent for now.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Silence {
    /// It is.
    None,
    /// Stream management is being turned on: what is sent now would not be counted.
    Enabling,
    /// Answers wait for who tries too often.
    LateAnswer,
}

enum Done {
    Answered(Answered),
    Handled,
    /// What was sent on a stream that its client has closed.
    Settled,
    /// The id of the session and the seconds for which it may be resumed, if it may be.
    Enabled(Option<(String, u32)>),
    Secured(Box<(Conn, Result<(), HandshakeError>)>),
    Waited,
    Ended,
}

impl Driver {
    /// A driver for a connection that has just come in, TLS or not.
    #[must_use]
    pub fn new(conn: Conn, link: Link) -> Self {
        let offers = &link.listener.shared.offers;
        let facts = conn.facts().tls.as_ref();
        let tls = facts.map(|facts| facts.version);
        let (info, cert_addrs) = facts.map(|facts| offers.tls_info(facts)).unzip();
        let signing_in =
            cert_addrs.map(|cert_addrs| Box::new(SigningIn { cert_addrs, ..Default::default() }));
        let info = ConnInfo { tls: info, tokens: Box::new(token) };
        let machine = C2s::new(link.listener.stream_settings(), info, monotonic::now());
        Self {
            link,
            conn: Some(conn),
            machine,
            session: None,
            work: None,
            rest: intake::Rest::default(),
            out: Out::default(),
            stored: Confirmations::default(),
            acks_due: VecDeque::new(),
            silence: Silence::None,
            paces: intake::Paces::default(),
            paused_until: 0,
            is_paused: false,
            timer: None,
            phase: Phase::Open,
            tls,
            signing_in,
        }
    }

    /// One round. Whether anything moved.
    fn round(&mut self, cx: &mut Context<'_>) -> bool {
        // Before anything else is dealt with.
        let mut moved = self.out.is_amid() && self.write(cx);
        if self.is_amid() {
            return false;
        }
        moved |= self.deal(cx);
        moved |= self.poll_acks(cx);
        moved |= self.fill(cx);
        moved |= self.write(cx);
        if self.is_amid() {
            return false;
        }
        moved |= self.read(cx);
        moved |= self.poll_timer(cx);
        moved |= self.leave_work();
        moved
    }

    /// Deals with what was read, as far as nothing has to be waited for: one stanza after the
    /// other, so that all that this brings leaves in one write. Whether anything moved.
    fn deal(&mut self, cx: &mut Context<'_>) -> bool {
        for dealt in 0..BATCH_STANZAS_MAX {
            let moved =
                self.poll_work(cx) | self.let_go() | self.poll_events(cx) | self.take_rest();
            if !moved {
                return dealt > 0;
            }
            if self.has_much_to_write() {
                break;
            }
        }
        true
    }

    /// Answers can be much longer than what asks for them.
    fn has_much_to_write(&self) -> bool {
        let outbox = self.session.as_ref().map(|session| &session.resource.outbox);
        !self.out.is_whole() || outbox.is_some_and(|outbox| outbox.bytes() > OUT_BYTES_MAX)
    }

    fn poll_work(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(work) = &mut self.work else { return false };
        let Poll::Ready(done) = work.as_mut().poll(cx) else { return false };
        self.work = None;
        let now = monotonic::now();
        match done {
            Done::Handled | Done::Answered(Answered::Nothing) => {}
            Done::Settled => self.say_last(),
            Done::Waited => self.silence = Silence::None,
            Done::Ended => self.phase = Phase::Gone,
            Done::Answered(Answered::Machine(answer)) => self.machine.handle_answer(answer, now),
            Done::Answered(Answered::Judged(answer, finding)) => {
                self.signing_in.get_or_insert_default().finding = Some(finding);
                self.machine.handle_answer(answer, now);
            }
            Done::Answered(Answered::Bound(session)) => {
                let jid = session.resource.jid.clone();
                self.bound(session);
                self.machine.handle_answer(Answer::Bound(jid), now);
            }
            Done::Answered(Answered::SignedIn(begun, signed_in)) => {
                match begun {
                    Begun::New(session) => self.bound(session),
                    Begun::Resumed(resumed) => self.attach(resumed),
                    Begun::Nothing => {}
                }
                self.machine.handle_answer(Answer::SignedIn(signed_in), now);
            }
            Done::Answered(Answered::Resumed(resumed)) => {
                let jid = resumed.session.resource.jid.clone();
                let received = resumed.received;
                self.attach(resumed);
                self.machine.handle_answer(Answer::Resumed { jid, received }, now);
            }
            Done::Enabled(allowed) => {
                self.silence = Silence::None;
                let (id, secs) = allowed.unzip();
                self.machine.enable_sm(id.as_deref(), secs.unwrap_or(0));
            }
            Done::Secured(secured) => self.secured(*secured),
        }
        true
    }

    fn bound(&mut self, session: Arc<Session>) {
        let jid = &session.resource.jid;
        tracing::info!(event = "bound", %jid, peer = %self.link.peer, "A session was bound.");
        self.begin(session);
    }

    /// The client has a session; what signing in needed is not kept.
    fn begin(&mut self, session: Arc<Session>) {
        self.session = Some(session);
        self.link.permit.signed_in();
        self.signing_in = None;
        if let Some(mut facts) = self.conn.as_mut().and_then(Conn::take_tls_facts) {
            facts.forget_bindings();
        }
    }

    fn secured(&mut self, (conn, outcome): (Conn, Result<(), HandshakeError>)) {
        let shared = &self.link.listener.shared;
        match (outcome, &conn.facts().tls) {
            (Ok(()), Some(facts)) => {
                let (info, addrs) = shared.offers.tls_info(facts);
                self.tls = Some(facts.version);
                self.signing_in.get_or_insert_default().cert_addrs = addrs;
                self.machine.handle_tls(info, monotonic::now());
            }
            (outcome, _) => {
                shared.metrics.handshakes_failed.inc();
                let error = outcome.err();
                tracing::info!(event = "tls_failed", peer = %self.link.peer, ?error, "A TLS handshake failed.");
                self.machine.handle_eof(monotonic::now());
            }
        }
        self.conn = Some(conn);
    }

    fn poll_events(&mut self, cx: &mut Context<'_>) -> bool {
        let mut moved = false;
        while self.work.is_none()
            && self.phase == Phase::Open
            && self.acks_due.len() < ACKS_DUE_MAX
            && !self.is_held_up()
        {
            let Some(event) = self.machine.poll_event() else { break };
            moved = true;
            self.handle_event(event, cx);
        }
        moved
    }

    fn handle_event(&mut self, event: Event, cx: &mut Context<'_>) {
        match event {
            Event::StartTls => self.start_tls(),
            Event::Ask(ask) => {
                let listener = self.link.listener.clone();
                let engine = listener.shared.engine.clone();
                if is_about_credentials(&ask) {
                    let signing_in = self.signing_in.get_or_insert_default();
                    (signing_in.proven, signing_in.finding) = (engine.moment(), None);
                }
                let caller = self.caller();
                let asked = asks::answer(engine, ask, caller, |host| {
                    let has_tls = listener.acceptor.is_some();
                    listener.shared.offers.of_host(host, has_tls, listener.tls_required)
                });
                self.work = Some(Box::pin(async move { Done::Answered(asked.await) }));
            }
            Event::Stanza(stanza) => self.handle_stanza(stanza, cx),
            Event::Reply(stanza) => {
                if let Some(session) = &self.session {
                    session.note_received(self.machine.received());
                    session.reply(stanza);
                }
            }
            Event::Enable { resume, max_secs } => self.enable(resume, max_secs),
            Event::AckRequested => {
                let Some(session) = &self.session else { return };
                session.note_received(self.machine.received());
                session.note_handled();
                self.acks_due.push_back((session.awaited(), self.machine.received()));
            }
            Event::Acked(h) => self.acked(h),
            Event::Indicated(state) => self.indicated(state),
            Event::PeerClosed => self.close_politely(),
            Event::Ended { fault, by_peer } => self.ended(fault.as_ref(), by_peer),
            Event::AuthFailed { tried, condition } => self.sign_in_failed(&tried, Some(condition)),
            Event::AuthBrokenOff(tried) => self.sign_in_failed(&tried, None),
            Event::AuthOk { account, mechanism } => {
                let shared = &self.link.listener.shared;
                shared.engine.metrics.sign_ins.inc();
                // Who signs in without the password says nothing about guesses at it.
                if is_by_password(mechanism) {
                    shared.engine.credentials.guard.forgive_account(&account);
                }
                tracing::info!(
                    event = "signed_in",
                    source = %self.link.peer.ip(),
                    %account,
                    mechanism = mechanism.name(),
                    tls = self.tls_version(),
                    "Somebody signed in."
                );
            }
        }
    }

    fn caller(&self) -> Caller {
        let (cert_addrs, proven) = match &self.signing_in {
            Some(signing_in) => (signing_in.cert_addrs.clone(), signing_in.proven),
            None => Default::default(),
        };
        let domain = self.machine.domain().map(Box::from);
        Caller { peer: self.link.peer, domain, cert_addrs, proven }
    }

    fn tls_version(&self) -> &'static str {
        self.tls.map_or("none", TlsVersion::as_str)
    }

    fn start_tls(&mut self) {
        let Some(acceptor) = self.link.listener.acceptor.clone() else { return };
        let Some(mut conn) = self.conn.take() else { return };
        let mut last_plain = Vec::new();
        self.machine.take_output(&mut last_plain);
        let hint = self.machine.domain().map(str::to_owned);
        // RFC 6120 §5.4.3.3: whatever came in clear behind the request is not read again.
        self.rest = intake::Rest::default();
        self.work = Some(Box::pin(async move {
            let outcome = {
                let handshake = async {
                    write_all(&mut conn, &last_plain).await?;
                    conn.start_tls(&acceptor, &[], hint.as_deref()).await
                };
                tokio::time::timeout(Duration::from_millis(HANDSHAKE_WAIT_MS), handshake).await
            };
            let outcome = outcome
                .unwrap_or_else(|_| Err(HandshakeError::Io(std::io::ErrorKind::TimedOut.into())));
            Done::Secured(Box::new((conn, outcome)))
        }));
    }

    /// Takes from the outbox what there is room for.
    fn fill(&mut self, cx: &mut Context<'_>) -> bool {
        if self.phase != Phase::Open || self.conn.is_none() {
            return false;
        }
        let before = self.out.bytes.len();
        if self.silence == Silence::LateAnswer {
            return false;
        }
        let Some(session) = &self.session else {
            self.machine.take_output(&mut self.out.bytes);
            return self.out.bytes.len() != before;
        };
        self.out.go_on();
        let may_send = self.machine.is_established() && self.silence == Silence::None;
        let has_room = self.has_room(OUT_BYTES_MAX) && may_send;
        let outbox = &session.resource.outbox;
        if !has_room {
            // Another stream may want the session meanwhile.
            outbox.watch(cx);
        }
        // Who makes no room is not waited for when too much waits for him.
        let is_too_slow = may_send && outbox.closing() == Some(Close::Overflow);
        let is_ready = is_too_slow || (has_room && outbox.poll_ready(cx).is_ready());
        if is_ready {
            let closing = outbox.closing();
            // A receiver that is too slow will not take its backlog now either.
            if !is_too_slow {
                self.fill_from_outbox(OUT_BYTES_MAX);
            }
            if let Some(reason) = closing
                && (is_too_slow || self.has_room(OUT_BYTES_MAX))
            {
                self.out.complete();
                self.machine.close(Some(fault_of(reason)), monotonic::now());
                self.poll_events(cx);
                return true;
            }
        }
        if self.out.is_whole() {
            self.machine.take_output(&mut self.out.bytes);
        }
        // Ready and nothing to take: what it was woken for is looked at in another round.
        is_ready || self.out.bytes.len() != before
    }

    fn has_room(&self, bytes_max: usize) -> bool {
        self.out.is_whole() && self.out.waiting() < bytes_max
    }

    fn fill_from_outbox(&mut self, bytes_max: usize) {
        let Some(session) = &self.session else { return };
        let is_counting = session.resource.outbox.is_counting();
        while self.has_room(bytes_max) {
            let Some(item) = session.resource.outbox.pop() else { return };
            match item {
                Item::Stanza(stanza, fate, since) => {
                    // Only what has a fate beyond the wire is remembered, and only where nothing
                    // keeps it until it is acknowledged.
                    let is_kept = !is_counting && !matches!(fate, Fate::Forget);
                    let behind = self.machine.note_sent(&mut self.out.bytes);
                    self.out.put(stanza, is_kept.then_some((fate, since)), behind);
                    if bytes_max == usize::MAX {
                        self.out.complete();
                    }
                }
                // An acknowledgement of what stands before it confirms it.
                Item::Stored(_) if is_counting => {}
                Item::Stored(stored) => {
                    if let Some(ping) = self.stored.ask(stored, &session.resource.jid) {
                        self.machine.send(&ping, &mut self.out.bytes);
                    }
                }
            }
        }
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>) -> bool {
        if self.phase != Phase::Open {
            return false;
        }
        let now = monotonic::now();
        if self.go_on(now) {
            return true;
        }
        let machine = self.machine.poll_timeout();
        let Some(due) = machine.into_iter().chain(self.pause_ends(now)).min() else {
            return false;
        };
        if machine.is_some_and(|due| due <= now) {
            self.machine.handle_timeout(now);
            return true;
        }
        // A timer that goes off early is set again then; moving it at each stanza would cost more.
        let deadline = monotonic::instant(due);
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if timer.deadline() > deadline || timer.is_elapsed() {
            timer.as_mut().reset(deadline);
        }
        timer.as_mut().poll(cx).is_ready()
    }
}

impl Future for Driver {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        for _ in 0..ROUNDS_MAX {
            if self.phase == Phase::Gone {
                return Poll::Ready(());
            }
            if !self.round(cx) {
                return Poll::Pending;
            }
        }
        // Others want to run as well.
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// The client has these stored messages: they may leave the store.
fn confirm(session: &Session, confirmed: Vec<Stored>) {
    for stored in confirmed {
        backlog::written(&session.engine, &session.account, stored);
    }
}

fn is_by_password(mechanism: Mechanism) -> bool {
    mechanism == Mechanism::Plain || mechanism.hash().is_some()
}

const fn is_about_credentials(ask: &Ask) -> bool {
    matches!(
        ask,
        Ask::Keys { .. }
            | Ask::Password { .. }
            | Ask::Token { .. }
            | Ask::External { .. }
            | Ask::Anonymous
    )
}

fn fault_of(reason: Close) -> Fault {
    match reason {
        Close::Conflict => Fault::Replaced,
        Close::Deleted => Fault::AccountClosed,
        Close::Suspended => Fault::Policy("The account is suspended."),
        // RFC 6120 §4.9.3.16: what secured the stream has been revoked.
        Close::Revoked => Fault::Reset,
        Close::Overflow => Fault::Overloaded,
        Close::HostGone => Fault::HostGone,
        Close::Shutdown => Fault::Shutdown,
    }
}

/// 160 bits of randomness: more than any one stream needs.
fn token() -> String {
    let half = || random_id().map(|id| id.to_string()).unwrap_or_default();
    half() + &half()
}
