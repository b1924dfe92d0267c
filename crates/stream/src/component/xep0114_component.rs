//! XEP-0114: Jabber Component Protocol, version 1.6.
//!
//! The server's end of the stream of a component that connects to it.
//! Implements: §3 (`jabber:component:accept`: the headers, the handshake, every error, and what
//! the addresses of stanzas must be).
//! Left out: `jabber:component:connect`, by which the server would connect to the component and
//! which no library speaks; it is answered by `invalid-namespace`, as §3 demands.
//! Status: complete

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::mem;
use std::sync::Arc;

use sha1::{Digest as _, Sha1};
use stentor_jid::{Jid, prep_domain};
use stentor_stanza::{BadStanza, Stanza};
use stentor_xml::{Content, ElementRef, Frame, Header, Item, Limits, Scanner, ns as xml_ns};
use subtle::ConstantTimeEq as _;

use super::{Offer, Settings};
use crate::fault::{Fault, Misbehaviour, PeerError, Wait};
use crate::framing::{OurHeader, tcp};
use crate::{Millis, limits};

/// The machine of one component's stream.
pub struct Component {
    settings: Arc<Settings>,
    scanner: Scanner,
    /// The last time that the shell told.
    now: Millis,
    out: Vec<u8>,
    events: VecDeque<Event>,
    phase: Phase,
    /// The id in our header, which the handshake is made for; empty until that is written.
    stream_id: String,
    make_id: Box<dyn FnMut() -> String + Send>,
    /// The domain that the component speaks for.
    domain: String,
    header_by: Option<Millis>,
    handshake_by: Option<Millis>,
    /// When we last wrote something.
    spoke: Millis,
}

/// What the shell must do, or know.
#[derive(Debug)]
pub enum Event {
    /// The machine needs the outside; it reads nothing more until `handle_answer`.
    Ask(Ask),
    /// A stanza of the component: well-formed, addresses valid, the sender of its domain.
    Stanza(Stanza),
    /// A stanza of the component was refused: this error is for it.
    Refused(Stanza),
    /// The component closed its stream; `close` is due.
    PeerClosed,
    /// The stream is over: write what `take_output` has, then close the connection.
    Ended {
        /// Why, if not for an ordinary close.
        fault: Option<Fault>,
        /// Whether the peer ended it first.
        by_peer: bool,
    },
}

/// A question of the machine. Each is answered exactly once, by the [`Answer`] named with it.
#[derive(Debug, PartialEq, Eq)]
pub enum Ask {
    /// What is known of the component of this domain? [`Answer::Offer`].
    Domain(String),
    /// The component knows the secret: may it have another stream? [`Answer::Admitted`].
    Admit(String),
}

/// What the shell found out. An answer to something that was not asked is ignored.
#[derive(Clone, Debug)]
pub enum Answer {
    /// What is known, or why the stream ends: as a rule [`Fault::HostUnknown`].
    Offer(Result<Offer, Fault>),
    /// Whether the stream may stay, or why not: as a rule [`Fault::Occupied`].
    Admitted(Result<(), Fault>),
}

#[derive(Debug)]
enum Phase {
    /// A header is due.
    Header,
    /// The shell is asked whose domain it is.
    Asking,
    /// The handshake is due.
    Handshake(Offer),
    /// The shell is asked whether the stream may stay.
    Admission(usize),
    Open,
    /// The peer has closed, we have not.
    Owing(Millis),
    /// We have closed, the peer has not.
    Closing(Millis, Option<Fault>),
    Ended,
}

impl Component {
    /// A machine for a connection that has just come in. `make_id` makes unguessable stream ids.
    #[must_use]
    pub fn new(
        settings: Arc<Settings>,
        make_id: Box<dyn FnMut() -> String + Send>,
        now: Millis,
    ) -> Self {
        let mut scanner = Scanner::new(settings.limits_before_auth);
        scanner.set_content(Content::Component);
        Self {
            scanner,
            now,
            out: Vec::new(),
            events: VecDeque::new(),
            phase: Phase::Header,
            stream_id: String::new(),
            make_id,
            domain: String::new(),
            header_by: Some(now.plus(settings.header_wait_ms)),
            handshake_by: Some(now.plus(settings.handshake_wait_ms)),
            spoke: now,
            settings,
        }
    }

    /// Reads what the peer sent, as far as it may be read now; the rest stays in `input`, unless
    /// it came behind the end, where it is thrown away.
    pub fn handle_bytes(&mut self, input: &mut &[u8], now: Millis) {
        self.now = now;
        while !input.is_empty() && self.may_read() {
            match self.scanner.feed(input) {
                Ok(Some(item)) => self.handle_item(item),
                Ok(None) => break,
                Err(malformed) => self.finish(Some(Fault::Xml(malformed))),
            }
        }
        if matches!(self.phase, Phase::Owing(_) | Phase::Ended) {
            *input = &[];
        }
    }

    /// Hands in what an [`Event::Ask`] asked for.
    pub fn handle_answer(&mut self, answer: Answer, now: Millis) {
        self.now = now;
        let outcome = match (&self.phase, answer) {
            (Phase::Asking, Answer::Offer(offer)) => offer.map(|offer| {
                self.answer_header();
                self.phase = Phase::Handshake(offer);
            }),
            (Phase::Admission(frame_bytes_max), Answer::Admitted(admitted)) => {
                let limits = Limits { frame_bytes_max: *frame_bytes_max, ..Limits::default() };
                admitted.map(|()| {
                    self.scanner.set_limits(limits);
                    self.handshake_by = None;
                    self.out.extend_from_slice(b"<handshake/>");
                    self.spoke = now;
                    self.phase = Phase::Open;
                })
            }
            _ => Ok(()),
        };
        if let Err(fault) = outcome {
            self.finish(Some(fault));
        }
    }

    /// When [`Component::handle_timeout`] is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Millis> {
        match self.phase {
            Phase::Owing(until) | Phase::Closing(until, _) => Some(until),
            Phase::Ended => None,
            Phase::Open => (self.settings.keepalive_ms > 0)
                .then(|| self.spoke.plus(self.settings.keepalive_ms)),
            _ => self.header_by.into_iter().chain(self.handshake_by).min(),
        }
    }

    /// Does what the time demands.
    pub fn handle_timeout(&mut self, now: Millis) {
        self.now = now;
        let keepalive_at = self.poll_timeout();
        let is_due = |by: Option<Millis>| by.is_some_and(|by| by <= now);
        match &mut self.phase {
            Phase::Owing(until) if *until <= now => self.finish(None),
            Phase::Closing(until, fault) if *until <= now => {
                let fault = fault.take();
                self.end(fault, false);
            }
            Phase::Owing(_) | Phase::Closing(..) | Phase::Ended => {}
            Phase::Open if is_due(keepalive_at) => {
                self.out.push(b' ');
                self.spoke = now;
            }
            Phase::Open => {}
            _ if is_due(self.header_by) => self.finish(Some(Fault::Timeout(Wait::Header))),
            _ if is_due(self.handshake_by) => self.finish(Some(Fault::Timeout(Wait::SignIn))),
            _ => {}
        }
    }

    /// The next thing that the shell must do or know.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Moves what the machine wants to write behind what is in `out`.
    pub fn take_output(&mut self, out: &mut Vec<u8>) {
        out.append(&mut self.out);
        self.out = Vec::new();
    }

    /// Writes a stanza for the component; false, and nothing is written, unless the stream stands.
    pub fn send(&mut self, stanza: &Stanza, out: &mut Vec<u8>, now: Millis) -> bool {
        let may = matches!(self.phase, Phase::Open);
        if may {
            self.take_output(out);
            stanza.write(out);
            self.spoke = now;
        }
        may
    }

    /// Ends the stream, with an error if there is a fault. [`Event::Ended`] follows.
    pub fn close(&mut self, fault: Option<Fault>, now: Millis) {
        self.now = now;
        self.finish(fault);
    }

    /// Tells that the connection broke, or that the peer sent its last byte.
    pub fn handle_eof(&mut self, now: Millis) {
        self.now = now;
        match &mut self.phase {
            Phase::Owing(_) => self.finish(None),
            Phase::Closing(_, fault) => {
                let fault = fault.take();
                self.end(fault, false);
            }
            Phase::Ended => {}
            _ => self.end(Some(Fault::Lost), true),
        }
    }

    /// Whether [`Component::handle_bytes`] would read anything now.
    #[must_use]
    pub fn may_read(&self) -> bool {
        let reads = matches!(
            self.phase,
            Phase::Header | Phase::Handshake(_) | Phase::Open | Phase::Closing(..)
        );
        reads && self.events.is_empty() && self.out.len() < limits::OUTPUT_BYTES_MAX
    }

    /// Whether the component has been admitted and neither side has closed.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open)
    }

    /// Whether the stream is over; the last output and events may still wait.
    #[must_use]
    pub const fn is_ended(&self) -> bool {
        matches!(self.phase, Phase::Ended)
    }

    fn handle_item(&mut self, item: Item) {
        let outcome = match (&self.phase, item) {
            (_, Item::End) => return self.handle_end(),
            (Phase::Header, Item::Header(header)) => self.handle_header(&header),
            (Phase::Handshake(_), Item::Frame(frame)) => self.handle_first(&frame),
            (Phase::Open, Item::Frame(frame)) => self.handle_frame(frame),
            _ => Ok(()),
        };
        if let Err(fault) = outcome {
            self.finish(Some(fault));
        }
    }

    /// §3: the value of `to` is the component's name, not the server's.
    fn handle_header(&mut self, header: &Header) -> Result<(), Fault> {
        self.header_by = None;
        judge(header).map_err(Fault::Peer)?;
        let to = header.to.as_deref().ok_or(Fault::HostUnknown)?;
        let domain = prep_domain(to).map_err(|_| Fault::HostUnknown)?;
        self.domain = domain.into_owned();
        self.phase = Phase::Asking;
        self.events.push_back(Event::Ask(Ask::Domain(self.domain.clone())));
        Ok(())
    }

    /// Writes our header, once. It has no version: there are no features to come (§3).
    fn answer_header(&mut self) {
        if !self.stream_id.is_empty() {
            return;
        }
        self.stream_id = (self.make_id)();
        let is_known = matches!(self.phase, Phase::Asking);
        let from = if is_known { &self.domain } else { &self.settings.name };
        let header = OurHeader {
            content_ns: xml_ns::COMPONENT,
            from: Some(from),
            id: Some(&self.stream_id),
            lang: "en",
            ..OurHeader::default()
        };
        tcp::write_header(&mut self.out, &header);
    }

    fn handle_first(&mut self, frame: &Frame) -> Result<(), Fault> {
        let root = frame.root();
        if let Some(error) = peer_error(root) {
            return Err(error);
        }
        if !root.is(xml_ns::CLIENT, "handshake") {
            return Err(Fault::Peer(Misbehaviour::StanzaBeforeAuth));
        }
        let Phase::Handshake(offer) = &self.phase else { return Ok(()) };
        let expected = handshake(&self.stream_id, &offer.secret);
        // Nobody shall find the digest out by how long a wrong one takes.
        let is_right = root.first_child().is_none()
            && bool::from(expected.as_bytes().ct_eq(root.text().as_bytes()));
        if !is_right {
            return Err(Fault::Peer(Misbehaviour::FalseHandshake));
        }
        self.phase = Phase::Admission(offer.frame_bytes_max);
        self.events.push_back(Event::Ask(Ask::Admit(self.domain.clone())));
        Ok(())
    }

    fn handle_frame(&mut self, frame: Frame) -> Result<(), Fault> {
        if let Some(error) = peer_error(frame.root()) {
            return Err(error);
        }
        let stanza = match Stanza::from_frame(frame) {
            Ok(stanza) => stanza,
            Err(BadStanza::NotAStanza) => return Err(Fault::Peer(Misbehaviour::UnknownElement)),
            Err(BadStanza::Refused(refusal)) => {
                let from = refusal.head.from.as_ref();
                if from.is_some_and(|from| from.domain() == self.domain) {
                    let mut reply = refusal.reply();
                    if reply.head.from.is_none() {
                        reply.head.from = Jid::new(&self.domain).ok();
                    }
                    self.events.push_back(Event::Refused(reply));
                }
                return Ok(());
            }
            Err(BadStanza::Dropped(_)) => return Ok(()),
        };
        // §3: both addresses, as between servers; the sender is of the component's domain.
        let (Some(from), Some(_)) = (&stanza.head.from, &stanza.head.to) else {
            return Err(Fault::Peer(Misbehaviour::NoAddress));
        };
        if from.domain() != self.domain {
            return Err(Fault::Peer(Misbehaviour::ForeignFrom));
        }
        self.events.push_back(Event::Stanza(stanza));
        Ok(())
    }

    fn handle_end(&mut self) {
        match &mut self.phase {
            Phase::Closing(_, fault) => {
                let fault = fault.take();
                self.end(fault, false);
            }
            Phase::Owing(_) | Phase::Ended => {}
            _ => {
                self.phase = Phase::Owing(self.now.plus(self.settings.close_wait_ms));
                self.events.push_back(Event::PeerClosed);
            }
        }
    }

    /// Says the last words of our side and waits for the peer's, unless it has said them.
    fn finish(&mut self, fault: Option<Fault>) {
        let is_by_peer = matches!(fault, Some(Fault::ByPeer(_)));
        let is_deaf = fault.as_ref().is_some_and(Fault::is_deaf);
        let has_peer_closed = matches!(self.phase, Phase::Owing(_));
        match &mut self.phase {
            Phase::Closing(_, first) => {
                if is_deaf || is_by_peer {
                    let fault = first.take().or(fault);
                    self.end(fault, is_by_peer);
                }
                return;
            }
            Phase::Ended => return,
            // RFC 6120 §4.9.1.3: a domain that is not served is not said to be ours.
            Phase::Asking => self.phase = Phase::Header,
            _ => {}
        }
        // §3: an error has a stream round it.
        self.answer_header();
        if let Some(fault) = &fault {
            fault.write(&mut self.out);
        }
        tcp::write_end(&mut self.out);
        if has_peer_closed || is_by_peer || is_deaf {
            return self.end(fault, has_peer_closed || is_by_peer);
        }
        self.phase = Phase::Closing(self.now.plus(self.settings.close_wait_ms), fault);
    }

    fn end(&mut self, fault: Option<Fault>, by_peer: bool) {
        self.phase = Phase::Ended;
        self.events.push_back(Event::Ended { fault, by_peer });
    }
}

/// What a component shows to prove that it knows the secret (§3): a SHA-1 in lowercase hexadecimal.
#[must_use]
pub fn handshake(stream_id: &str, secret: &str) -> String {
    let digest = Sha1::new().chain_update(stream_id).chain_update(secret).finalize();
    digest.iter().fold(String::with_capacity(2 * digest.len()), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// As [`crate::opening::judge`], for a protocol that knows no versions.
fn judge(header: &Header) -> Result<(), Misbehaviour> {
    if header.ns != xml_ns::STREAM {
        return Err(Misbehaviour::WrongStreamNamespace);
    }
    if header.name != "stream" {
        return Err(Misbehaviour::NotAStream);
    }
    if header.prefix != "stream" {
        return Err(Misbehaviour::WrongStreamPrefix);
    }
    if header.content_ns.as_deref() != Some(xml_ns::COMPONENT) {
        return Err(Misbehaviour::WrongContentNamespace);
    }
    Ok(())
}

fn peer_error(root: ElementRef<'_>) -> Option<Fault> {
    root.is(xml_ns::STREAM, "error").then(|| Fault::ByPeer(Box::new(PeerError::read(root))))
}

impl std::fmt::Debug for Component {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let phase = mem::discriminant(&self.phase);
        f.debug_struct("Component").field("domain", &self.domain).field("phase", &phase).finish()
    }
}
