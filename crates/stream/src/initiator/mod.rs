//! The connecting end of a client's stream: TLS, sign-in, binding, then stanzas.
//!
//! Used by clients, by the load generator and by tests.

mod extended;
mod negotiation;
mod settings;

use std::collections::VecDeque;
use std::sync::Arc;

use stentor_jid::FullJid;
use stentor_sasl::{Bindings, Condition, Mechanism};
use stentor_stanza::{Stanza, StanzaError};
use stentor_xml::{ElementRef, Frame, Item, Scanner, ns as xml_ns};

use self::negotiation::{Negotiation, Next};
pub use self::settings::{Credentials, Extended, HeldToken, Settings, TlsPolicy};
use crate::Millis;
use crate::fault::{Fault, Misbehaviour, PeerError, Wait};
use crate::framing::tcp;
use crate::sign_in::IssuedToken;
pub use crate::xep0478_limits::StreamLimits;

/// What the shell must do, or know.
#[derive(Debug)]
pub enum Event {
    /// Send what `take_output` has, let the TLS handshake begin, verify the server's certificate
    /// for the domain, then call `handle_tls`.
    StartTls,
    /// An attempt to sign in failed; another mechanism is tried, or the stream ends.
    AuthFailed {
        /// The mechanism tried.
        mechanism: Mechanism,
        /// What the server said; one that we do not know is `not-authorized` (RFC 6120 §6.5).
        condition: Condition,
    },
    /// The server gave us a token to come back with (XEP-0484).
    Token {
        /// What it is good for.
        mechanism: Mechanism,
        /// The token and its end.
        token: IssuedToken,
    },
    /// The server refused to bind a resource; the stream ends.
    BindFailed(Option<StanzaError>),
    /// The session is there; stanzas may be sent.
    Ready {
        /// Our address, as the server chose it.
        jid: FullJid,
    },
    /// A stanza from the server.
    Stanza(Stanza),
    /// The server closed its stream. What is still owed may be sent, then `close` is due.
    PeerClosed,
    /// The stream is over: write what `take_output` has, then close the connection.
    Ended {
        /// Why, if not for an ordinary close.
        fault: Option<Fault>,
        /// Whether the server ended it first.
        by_peer: bool,
    },
}

/// The machine of one stream to a server.
pub struct Initiator {
    wire: Wire,
    phase: Phase,
}

impl Initiator {
    /// A machine for a connection that has just been made; it speaks first.
    ///
    /// `tls` is the handshake's binding data if TLS came first (XEP-0368). `nonce` is an
    /// unguessable text of printable ASCII without a comma, of at least 128 random bits; each
    /// attempt to sign in derives its own from it.
    #[must_use]
    pub fn new(settings: Arc<Settings>, tls: Option<Bindings>, nonce: String, now: Millis) -> Self {
        let mut wire = Wire {
            scanner: Scanner::new(settings.limits),
            settings,
            now,
            out: Vec::new(),
            events: VecDeque::new(),
            peer_limits: StreamLimits::default(),
        };
        let negotiation = Negotiation::begin(tls, nonce, &mut wire);
        Self { wire, phase: Phase::Negotiating(Box::new(negotiation)) }
    }

    /// Reads what the server sent, one event at a time; what is left in `input` is handed in
    /// again when [`Initiator::may_read`] says so.
    ///
    /// When the handshake is due, what is left belongs to it. When the stream has ended, nothing
    /// is left.
    pub fn handle_bytes(&mut self, input: &mut &[u8], now: Millis) {
        self.wire.now = now;
        while !input.is_empty() && self.may_read() {
            match self.wire.scanner.feed(input) {
                Ok(Some(item)) => self.handle_item(item),
                Ok(None) => break,
                Err(malformed) => self.finish(Some(Fault::Xml(malformed))),
            }
        }
        if matches!(self.phase, Phase::Owing { .. } | Phase::Ended) {
            *input = &[];
        }
    }

    /// Tells that the TLS handshake is done and the server's certificate is good.
    pub fn handle_tls(&mut self, bindings: Bindings, now: Millis) {
        self.wire.now = now;
        if let Phase::Negotiating(negotiation) = &mut self.phase {
            negotiation.handle_tls(bindings, &mut self.wire);
        }
    }

    /// When [`Initiator::handle_timeout`] is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Millis> {
        match &self.phase {
            Phase::Negotiating(negotiation) => Some(negotiation.done_by),
            Phase::Ready(_) | Phase::Ended => None,
            Phase::Owing { until } | Phase::Closing { until, .. } => Some(*until),
        }
    }

    /// Does what the time demands.
    pub fn handle_timeout(&mut self, now: Millis) {
        self.wire.now = now;
        match &mut self.phase {
            Phase::Negotiating(negotiation) if negotiation.done_by <= now => {
                self.finish(Some(Fault::Timeout(Wait::SignIn)));
            }
            Phase::Owing { until } if *until <= now => self.finish(None),
            Phase::Closing { until, fault } if *until <= now => {
                let fault = fault.take();
                self.end(fault, false);
            }
            _ => {}
        }
    }

    /// The next thing that the shell must do or know.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.wire.events.pop_front()
    }

    /// Moves what the machine wants to write behind what is in `out`.
    pub fn take_output(&mut self, out: &mut Vec<u8>) {
        out.append(&mut self.wire.out);
    }

    /// Writes a stanza for the server behind what is in `out`, and behind what the machine itself
    /// has to write. False, and nothing is written, unless the session is open.
    pub fn send(&mut self, stanza: &Stanza, out: &mut Vec<u8>) -> bool {
        let is_open = matches!(self.phase, Phase::Ready(_) | Phase::Owing { .. });
        if is_open {
            out.append(&mut self.wire.out);
            stanza.write(out);
        }
        is_open
    }

    /// Ends the stream, with an error if there is a fault. [`Event::Ended`] follows.
    pub fn close(&mut self, fault: Option<Fault>, now: Millis) {
        self.wire.now = now;
        self.finish(fault);
    }

    /// Tells that the connection broke, or that the server sent its last byte.
    pub fn handle_eof(&mut self, now: Millis) {
        self.wire.now = now;
        match &mut self.phase {
            Phase::Negotiating(_) | Phase::Ready(_) => self.end(Some(Fault::Lost), true),
            Phase::Owing { .. } => self.finish(None),
            Phase::Closing { fault, .. } => {
                let fault = fault.take();
                self.end(fault, false);
            }
            Phase::Ended => {}
        }
    }

    /// Whether [`Initiator::handle_bytes`] would read anything now.
    #[must_use]
    pub fn may_read(&self) -> bool {
        let is_listening = match &self.phase {
            Phase::Negotiating(negotiation) => !negotiation.is_shaking_hands(),
            Phase::Ready(_) | Phase::Closing { .. } => true,
            Phase::Owing { .. } | Phase::Ended => false,
        };
        is_listening && self.wire.events.is_empty()
    }

    /// Our address, once bound and until the stream ends.
    #[must_use]
    pub const fn jid(&self) -> Option<&FullJid> {
        if let Phase::Ready(jid) = &self.phase { Some(jid) } else { None }
    }

    /// Whether the stream is over; the last output and events may still wait.
    #[must_use]
    pub const fn is_ended(&self) -> bool {
        matches!(self.phase, Phase::Ended)
    }

    /// What the server last announced about its limits (XEP-0478).
    #[must_use]
    pub const fn peer_limits(&self) -> StreamLimits {
        self.wire.peer_limits
    }

    fn handle_item(&mut self, item: Item) {
        let next = match (&mut self.phase, item) {
            (_, Item::End) => return self.handle_end(),
            (Phase::Negotiating(negotiation), Item::Header(header)) => {
                negotiation.handle_header(&header)
            }
            (Phase::Negotiating(negotiation), Item::Frame(frame)) => {
                match stream_error(frame.root()) {
                    Some(fault) => Err(fault),
                    None => negotiation.handle_frame(frame, &mut self.wire),
                }
            }
            (Phase::Ready(_), Item::Frame(frame)) => handle_stanza(frame, &mut self.wire),
            _ => Ok(Next::Stay),
        };
        match next {
            Ok(Next::Stay) => {}
            Ok(Next::Ready(jid)) => {
                self.wire.events.push_back(Event::Ready { jid: jid.clone() });
                self.phase = Phase::Ready(jid);
            }
            Err(fault) => self.finish(Some(fault)),
        }
    }

    fn handle_end(&mut self) {
        match &mut self.phase {
            Phase::Ready(_) => {
                let until = self.wire.now.plus(self.wire.settings.close_wait_ms);
                self.phase = Phase::Owing { until };
                self.wire.events.push_back(Event::PeerClosed);
            }
            Phase::Negotiating(_) => {
                tcp::write_end(&mut self.wire.out);
                self.end(None, true);
            }
            Phase::Closing { fault, .. } => {
                let fault = fault.take();
                self.end(fault, false);
            }
            Phase::Owing { .. } | Phase::Ended => {}
        }
    }

    /// Says the last words of our side and waits for the server's, unless it has said them.
    fn finish(&mut self, fault: Option<Fault>) {
        let is_by_peer = matches!(fault, Some(Fault::ByPeer(_)));
        let is_deaf = fault.as_ref().is_some_and(Fault::is_deaf);
        match &mut self.phase {
            // RFC 6120 §5.4.3.2: no XML while the handshake is under way.
            Phase::Negotiating(negotiation) if negotiation.is_shaking_hands() => {
                return self.end(fault, false);
            }
            Phase::Closing { fault: first, .. } => {
                if is_deaf || is_by_peer {
                    let fault = first.take().or(fault);
                    self.end(fault, is_by_peer);
                }
                return;
            }
            Phase::Ended => return,
            Phase::Negotiating(_) | Phase::Ready(_) | Phase::Owing { .. } => {}
        }
        if let Some(fault) = &fault {
            fault.write(&mut self.wire.out);
        }
        tcp::write_end(&mut self.wire.out);
        let has_peer_closed = matches!(self.phase, Phase::Owing { .. });
        if has_peer_closed || is_by_peer || is_deaf {
            return self.end(fault, has_peer_closed || is_by_peer);
        }
        let until = self.wire.now.plus(self.wire.settings.close_wait_ms);
        self.phase = Phase::Closing { fault, until };
    }

    fn end(&mut self, fault: Option<Fault>, by_peer: bool) {
        self.phase = Phase::Ended;
        self.wire.events.push_back(Event::Ended { fault, by_peer });
    }
}

/// What every state works with.
struct Wire {
    settings: Arc<Settings>,
    scanner: Scanner,
    now: Millis,
    out: Vec<u8>,
    events: VecDeque<Event>,
    peer_limits: StreamLimits,
}

enum Phase {
    Negotiating(Box<Negotiation>),
    Ready(FullJid),
    /// The server has closed, we have not.
    Owing {
        until: Millis,
    },
    /// We have closed, the server has not.
    Closing {
        fault: Option<Fault>,
        until: Millis,
    },
    Ended,
}

fn stream_error(root: ElementRef<'_>) -> Option<Fault> {
    root.is(xml_ns::STREAM, "error").then(|| Fault::ByPeer(Box::new(PeerError::read(root))))
}

/// A stanza that cannot be read is ignored: the server is not ours to educate.
fn handle_stanza(frame: Frame, wire: &mut Wire) -> Result<Next, Fault> {
    let root = frame.root();
    if let Some(fault) = stream_error(root) {
        return Err(fault);
    }
    if root.ns() != xml_ns::CLIENT || !matches!(root.name(), "message" | "presence" | "iq") {
        return Err(Fault::Peer(Misbehaviour::UnknownElement));
    }
    if let Ok(stanza) = Stanza::from_frame(frame) {
        wire.events.push_back(Event::Stanza(stanza));
    }
    Ok(Next::Stay)
}
