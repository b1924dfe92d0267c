//! The server's end of a client's stream.
//!
//! ```text
//! ExpectHeader ─ ExpectTls ─ ExpectHeader ─ ExpectAuth ─ ExpectHeader ─ ExpectBind ─ Established
//!                                           ExpectAuth ─ ExpectTask ──────────────── Established
//! ```
//!
//! The lower way is that of XEP-0388, where a resource may come with success.
//! Each state is a file. What they learn is in `known.rs`, boxed with the state and dropped when
//! the session is bound, so that an idle session is small.

mod closing;
mod established;
mod expect_auth;
mod expect_bind;
mod expect_header;
mod expect_task;
mod expect_tls;
mod known;
mod question;
mod settings;
mod wire;

use std::sync::Arc;

use stentor_jid::{BareJid, FullJid, Jid};
use stentor_stanza::{BadStanza, Condition, Stanza};
use stentor_xml::{ElementRef, Frame, Item, ns as xml_ns};

use self::closing::{Closing, Owing};
use self::established::Established;
use self::expect_auth::ExpectAuth;
use self::expect_bind::ExpectBind;
use self::expect_header::ExpectHeader;
use self::expect_task::ExpectTask;
use self::expect_tls::ExpectTls;
use self::known::Known;
pub use self::settings::{ConnInfo, HostOffer, Idle, Probe, Settings, TlsInfo, Tokens};
use self::wire::Wire;
use crate::Millis;
use crate::event::{Answer, Event};
use crate::fault::{Fault, Misbehaviour, PeerError, Wait};
use crate::framing::tcp;
use crate::xep0198_sm;

/// The machine of one client stream.
pub struct C2s {
    wire: Wire,
    phase: Phase,
    /// Bytes thrown away behind `<starttls/>` or the closing tag.
    discarded_bytes: usize,
}

impl C2s {
    /// A machine for a connection that has just come in.
    #[must_use]
    pub fn new(settings: Arc<Settings>, conn: ConnInfo, now: Millis) -> Self {
        let wire = Wire::new(settings, now);
        let known = Known::new(conn.tls, conn.tokens, &wire);
        let state = State::Header(ExpectHeader::default());
        let phase = Phase::Negotiating(Box::new(Negotiation { known, state }));
        Self { wire, phase, discarded_bytes: 0 }
    }

    /// Reads what the client sent, as far as it may be read now.
    ///
    /// Stops behind what made an event, while an answer is due, and while much output waits. What
    /// is left in `input` is handed in again when [`C2s::may_read`] says so. Nothing is left when
    /// STARTTLS begins or the stream has ended: the rest is thrown away, for plaintext behind
    /// `<starttls/>` must never be taken for part of the encrypted stream (RFC 6120 §5.4.3.3).
    pub fn handle_bytes(&mut self, input: &mut &[u8], now: Millis) {
        self.wire.now = now;
        if let (Phase::Established(session), false) = (&mut self.phase, input.is_empty()) {
            session.hear(now);
        }
        while (!input.is_empty() || self.wire.scanner.owes_end()) && self.may_read() {
            match self.wire.scanner.feed(input) {
                Ok(Some(item)) => self.handle_item(item),
                Ok(None) => break,
                Err(malformed) => self.fail(Fault::Xml(malformed)),
            }
        }
        if self.is_deaf() {
            if !self.is_ended() {
                self.discarded_bytes = self.discarded_bytes.saturating_add(input.len());
            }
            *input = &[];
        }
    }

    /// Tells that the TLS handshake which [`Event::StartTls`] began is done.
    pub fn handle_tls(&mut self, tls: TlsInfo, now: Millis) {
        self.wire.now = now;
        if let Phase::Negotiating(negotiation) = &mut self.phase
            && let State::Tls(state) = &negotiation.state
        {
            let next = state.handle_tls(tls, &mut negotiation.known, &mut self.wire);
            self.go(Ok(next));
        }
    }

    /// Hands in what an [`Event::Ask`] asked for. An answer to nothing asked is ignored: the
    /// stream may have ended meanwhile.
    pub fn handle_answer(&mut self, answer: Answer, now: Millis) {
        self.wire.now = now;
        let Phase::Negotiating(negotiation) = &mut self.phase else { return };
        let Negotiation { known, state } = &mut **negotiation;
        let next = match state {
            State::Header(state) => state.handle_answer(answer, known, &mut self.wire),
            State::Auth(state) => state.handle_answer(answer, known, &mut self.wire),
            State::Task(state) => state.handle_answer(answer, known, &mut self.wire),
            State::Bind(state) => state.handle_answer(answer, known, &mut self.wire),
            State::Tls(_) => Ok(Next::Stay),
        };
        self.go(next);
        if self.wire.scanner.owes_end() {
            self.handle_bytes(&mut &[][..], now);
        }
    }

    /// When [`C2s::handle_timeout`] is due. The moment may move later while bytes come in; calling
    /// too early does no harm.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Millis> {
        match &self.phase {
            Phase::Negotiating(negotiation) => {
                let known = &negotiation.known;
                Some(known.header_by.map_or(known.sign_in_by, |by| by.min(known.sign_in_by)))
            }
            Phase::Established(session) => session.next_timeout(&self.wire.settings.idle),
            Phase::Owing(owing) => Some(owing.until),
            Phase::Closing(closing) => Some(closing.until),
            Phase::Ended => None,
        }
    }

    /// Does what the time demands.
    pub fn handle_timeout(&mut self, now: Millis) {
        self.wire.now = now;
        match &mut self.phase {
            Phase::Negotiating(negotiation) => {
                let known = &negotiation.known;
                if known.header_by.is_some_and(|by| by <= now) {
                    self.fail(Fault::Timeout(Wait::Header));
                } else if known.sign_in_by <= now {
                    self.fail(Fault::Timeout(Wait::SignIn));
                }
            }
            Phase::Established(session) => {
                if let Err(fault) = session.handle_timeout(&mut self.wire) {
                    self.fail(fault);
                }
            }
            Phase::Owing(owing) => {
                if owing.until <= now {
                    self.finish(None);
                }
            }
            Phase::Closing(closing) => {
                if closing.until <= now {
                    let fault = closing.fault.take();
                    self.end(fault, false);
                }
            }
            Phase::Ended => {}
        }
    }

    /// The next thing that the shell must do or know.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.wire.next_event()
    }

    /// Moves what the machine wants to write behind what is in `out`.
    pub fn take_output(&mut self, out: &mut Vec<u8>) {
        self.wire.take_output(out);
    }

    /// Writes a stanza for the client behind what is in `out`, and behind what the machine itself
    /// has to write. False, and nothing is written, unless the session is open.
    pub fn send(&mut self, stanza: &Stanza, out: &mut Vec<u8>) -> bool {
        let Some(behind) = self.note_sent(out) else { return false };
        stanza.write(out);
        out.extend_from_slice(behind.as_bytes());
        true
    }

    /// The same for a stanza that the caller writes itself, behind what is put into `out` and before
    /// what is returned; none if it must not be written.
    pub fn note_sent(&mut self, out: &mut Vec<u8>) -> Option<&'static str> {
        let asks = match &mut self.phase {
            Phase::Established(session) => session.note_sent(self.wire.now),
            Phase::Owing(_) => false,
            _ => return None,
        };
        self.wire.take_output(out);
        Some(if asks { xep0198_sm::ASK } else { "" })
    }

    /// Starts counting stanzas, as [`Event::Enable`] asked. With an id the session may be resumed
    /// for `max_secs` after a stream of it broke.
    pub fn enable_sm(&mut self, id: Option<&str>, max_secs: u32) {
        if let Phase::Established(session) = &mut self.phase {
            session.enable(id, max_secs, &mut self.wire);
        }
    }

    /// Stanzas that came since stream management is on, over all streams of the session.
    #[must_use]
    pub fn received(&self) -> u64 {
        match &self.phase {
            Phase::Established(session) => session.received(),
            Phase::Owing(owing) => owing.session.received(),
            _ => 0,
        }
    }

    /// Tells the client that so many stanzas have been handled (XEP-0198 §4).
    pub fn acknowledge(&mut self, handled: u64) {
        if matches!(self.phase, Phase::Established(_) | Phase::Owing(_)) {
            self.wire.write(|w| xep0198_sm::write_ack(w, xep0198_sm::wrapped(handled)));
        }
    }

    /// Ends the stream, with an error if there is a fault. [`Event::Ended`] follows when the
    /// client has closed too, or when it had its time to.
    pub fn close(&mut self, fault: Option<Fault>, now: Millis) {
        self.wire.now = now;
        match fault {
            Some(fault) => self.fail(fault),
            None => self.finish(None),
        }
    }

    /// Tells that the connection broke, or that the client sent its last byte.
    pub fn handle_eof(&mut self, now: Millis) {
        self.wire.now = now;
        self.break_off_sign_in();
        match &mut self.phase {
            Phase::Negotiating(_) | Phase::Established(_) => self.end(Some(Fault::Lost), true),
            Phase::Owing(_) => self.finish(None),
            Phase::Closing(closing) => {
                let fault = closing.fault.take();
                self.end(fault, false);
            }
            Phase::Ended => {}
        }
    }

    /// Whether [`C2s::handle_bytes`] would read anything now.
    #[must_use]
    pub fn may_read(&self) -> bool {
        let is_listening = match &self.phase {
            Phase::Negotiating(negotiation) => !negotiation.state.is_asking(),
            Phase::Established(_) | Phase::Closing(_) => true,
            Phase::Owing(_) | Phase::Ended => false,
        };
        is_listening && self.wire.has_room() && !self.is_deaf()
    }

    /// The last moment that the shell told, as when it handed in what was read.
    #[must_use]
    pub const fn now(&self) -> Millis {
        self.wire.now
    }

    /// How many bytes came behind `<starttls/>` or the closing tag and were thrown away.
    #[must_use]
    pub const fn discarded_bytes(&self) -> usize {
        self.discarded_bytes
    }

    /// Whether a resource is bound and the stream is open in both directions.
    #[must_use]
    pub const fn is_established(&self) -> bool {
        matches!(self.phase, Phase::Established(_))
    }

    /// Whether the stream is over; the last output and events may still wait.
    #[must_use]
    pub const fn is_ended(&self) -> bool {
        matches!(self.phase, Phase::Ended)
    }

    /// The bound address, from binding to the end of an ordinary close.
    #[must_use]
    pub fn jid(&self) -> Option<&FullJid> {
        match &self.phase {
            Phase::Established(session) => Some(session.jid()),
            Phase::Owing(owing) => Some(owing.session.jid()),
            Phase::Closing(closing) => closing.session.as_ref().map(Established::jid),
            Phase::Negotiating(_) | Phase::Ended => None,
        }
    }

    /// Who has signed in.
    #[must_use]
    pub fn account(&self) -> Option<BareJid> {
        match &self.phase {
            Phase::Negotiating(negotiation) => negotiation.known.account.clone(),
            _ => self.jid().map(FullJid::to_bare),
        }
    }

    /// The domain that serves the client, once the shell has answered for it.
    #[must_use]
    pub fn domain(&self) -> Option<&str> {
        match &self.phase {
            Phase::Negotiating(negotiation) => {
                negotiation.known.host.as_deref().map(|host| host.domain.as_str())
            }
            _ => self.jid().map(FullJid::domain),
        }
    }

    fn handle_item(&mut self, item: Item) {
        match item {
            Item::End => self.handle_end(),
            Item::Header(header) => {
                if let Phase::Negotiating(negotiation) = &mut self.phase
                    && let State::Header(state) = &mut negotiation.state
                {
                    let next = state.handle_header(&header, &mut negotiation.known, &mut self.wire);
                    self.go(next);
                }
            }
            Item::Frame(frame) => self.handle_frame(frame),
        }
    }

    fn handle_frame(&mut self, frame: Frame) {
        match &mut self.phase {
            Phase::Negotiating(negotiation) => {
                let Negotiation { known, state } = &mut **negotiation;
                // XEP-0198 §3: not before sign-in.
                let is_early = match state {
                    State::Header(_) | State::Bind(_) | State::Task(_) => false,
                    State::Tls(_) => true,
                    State::Auth(state) => !state.is_exchanging(),
                };
                if is_early && xep0198_sm::Element::is(frame.root()) {
                    let condition = Condition::UnexpectedRequest;
                    self.wire.write(|w| xep0198_sm::write_failed(w, condition, None));
                    return;
                }
                let next = match state {
                    State::Header(_) => Ok(Next::Stay),
                    State::Tls(state) => state.handle_frame(&frame, known, &mut self.wire),
                    State::Auth(state) => state.handle_frame(frame, known, &mut self.wire),
                    State::Task(state) => state.handle_frame(&frame, known, &mut self.wire),
                    State::Bind(state) => state.handle_frame(frame, known, &mut self.wire),
                };
                self.go(next);
            }
            Phase::Established(session) => {
                if let Err(fault) = session.handle_frame(frame, &mut self.wire) {
                    self.fail(fault);
                }
            }
            Phase::Closing(closing) => {
                if !closing.handle_frame(frame, &mut self.wire) {
                    let fault = closing.fault.take();
                    self.end(fault, false);
                }
            }
            Phase::Owing(_) | Phase::Ended => {}
        }
    }

    /// The client's closing tag.
    fn handle_end(&mut self) {
        self.break_off_sign_in();
        match std::mem::replace(&mut self.phase, Phase::Ended) {
            Phase::Established(session) => {
                let until = self.wire.now.plus(self.wire.settings.close_wait_ms);
                self.phase = Phase::Owing(Owing { session, until });
                self.wire.emit(Event::PeerClosed);
            }
            Phase::Closing(closing) => self.end(closing.fault, false),
            Phase::Negotiating(mut negotiation) => {
                negotiation.known.answer_header(&mut self.wire);
                self.write_last(None);
                self.end(None, true);
            }
            phase @ (Phase::Owing(_) | Phase::Ended) => self.phase = phase,
        }
    }

    fn go(&mut self, next: Result<Next, Fault>) {
        match next {
            Ok(Next::Stay) => {}
            Ok(Next::Go(state)) => {
                if let Phase::Negotiating(negotiation) = &mut self.phase {
                    negotiation.state = state;
                }
            }
            Ok(Next::Bound(session)) => self.phase = Phase::Established(session),
            Err(fault) => self.fail(fault),
        }
    }

    fn fail(&mut self, fault: Fault) {
        self.finish(Some(fault));
    }

    /// Says the last words of our side and waits for the client's, unless it has said them.
    fn finish(&mut self, fault: Option<Fault>) {
        let is_by_peer = matches!(fault, Some(Fault::ByPeer(_)));
        self.break_off_sign_in();
        let session = match std::mem::replace(&mut self.phase, Phase::Ended) {
            Phase::Negotiating(mut negotiation) => {
                // §5.4.3.2: no XML while the handshake is under way.
                if negotiation.state.is_shaking_hands() {
                    return self.end(fault, false);
                }
                // §4.9.1.2: an error has a stream round it.
                negotiation.known.answer_header(&mut self.wire);
                None
            }
            Phase::Established(session) => Some(session),
            Phase::Owing(_) => {
                self.write_last(fault.as_ref());
                return self.end(fault, true);
            }
            // One close is enough.
            Phase::Closing(closing) => {
                if fault.as_ref().is_some_and(Fault::is_deaf) || is_by_peer {
                    return self.end(closing.fault.or(fault), is_by_peer);
                }
                self.phase = Phase::Closing(closing);
                return;
            }
            Phase::Ended => return,
        };
        self.write_last(fault.as_ref());
        if is_by_peer || fault.as_ref().is_some_and(Fault::is_deaf) {
            return self.end(fault, is_by_peer);
        }
        let until = self.wire.now.plus(self.wire.settings.close_wait_ms);
        let session = session.filter(|_| fault.is_none());
        self.phase = Phase::Closing(Closing { fault, until, session });
    }

    /// Tells of an attempt to sign in that the end of the stream leaves undecided.
    fn break_off_sign_in(&mut self) {
        let Phase::Negotiating(negotiation) = &mut self.phase else { return };
        let Negotiation { known, state } = &mut **negotiation;
        match state {
            State::Auth(state) => state.break_off(known, &mut self.wire),
            State::Task(state) => state.break_off(known, &mut self.wire),
            State::Header(_) | State::Tls(_) | State::Bind(_) => {}
        }
    }

    fn write_last(&mut self, fault: Option<&Fault>) {
        if let Some(fault) = fault {
            fault.write(self.wire.out());
        }
        tcp::write_end(self.wire.out());
    }

    fn end(&mut self, fault: Option<Fault>, by_peer: bool) {
        self.phase = Phase::Ended;
        self.wire.emit(Event::Ended { fault, by_peer });
    }

    /// Whether input is thrown away.
    fn is_deaf(&self) -> bool {
        match &self.phase {
            Phase::Negotiating(negotiation) => negotiation.state.is_shaking_hands(),
            Phase::Owing(_) | Phase::Ended => true,
            Phase::Established(_) | Phase::Closing(_) => false,
        }
    }
}

/// Where the stream is in its life.
enum Phase {
    Negotiating(Box<Negotiation>),
    Established(Established),
    /// The client has closed, we have not.
    Owing(Owing),
    /// We have closed, the client has not.
    Closing(Closing),
    Ended,
}

struct Negotiation {
    known: Known,
    state: State,
}

/// What negotiation waits for.
enum State {
    Header(ExpectHeader),
    Tls(ExpectTls),
    Auth(ExpectAuth),
    Task(ExpectTask),
    Bind(ExpectBind),
}

impl State {
    const fn is_asking(&self) -> bool {
        match self {
            Self::Header(state) => state.is_asking(),
            Self::Tls(_) => false,
            Self::Auth(state) => state.is_asking(),
            Self::Task(state) => state.is_asking(),
            Self::Bind(state) => state.is_asking(),
        }
    }

    const fn is_shaking_hands(&self) -> bool {
        matches!(self, Self::Tls(state) if state.is_shaking_hands())
    }
}

/// What follows from one input.
enum Next {
    Stay,
    Go(State),
    Bound(Established),
}

/// The fault of a first-level element that has no place here; `too_early` if it is a stanza.
fn stray(root: ElementRef<'_>, too_early: Misbehaviour) -> Fault {
    let has_stanza_name = matches!(root.name(), "message" | "presence" | "iq");
    if root.is(xml_ns::STREAM, "error") {
        Fault::ByPeer(Box::new(PeerError::read(root)))
    } else if has_stanza_name && root.ns() == xml_ns::CLIENT {
        Fault::Peer(too_early)
    } else if matches!(root.ns(), xml_ns::SERVER | xml_ns::COMPONENT) {
        // §4.8.3: a content namespace that has no place on this stream. What only looks like a
        // stanza is none (§4.8.4).
        Fault::Peer(Misbehaviour::WrongStanzaNamespace)
    } else {
        Fault::Peer(Misbehaviour::UnknownElement)
    }
}

/// Answers a stanza that cannot be routed; `sender` is its address, once there is one.
fn answer_refused(bad: BadStanza, sender: Option<&Jid>, wire: &mut Wire) -> Result<(), Fault> {
    match bad {
        BadStanza::NotAStanza => Err(Fault::Peer(Misbehaviour::UnknownElement)),
        BadStanza::Refused(mut refusal) => {
            refusal.head.from = sender.cloned();
            wire.write_stanza(&refusal.reply());
            Ok(())
        }
        BadStanza::Dropped(_) => Ok(()),
    }
}

/// The most that an established machine may take, in bytes.
#[cfg(test)]
const ESTABLISHED_BYTES_MAX: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_small_when_established() {
        assert!(size_of::<C2s>() <= ESTABLISHED_BYTES_MAX, "{}", size_of::<C2s>());
    }
}
