//! XEP-0114: Jabber Component Protocol, version 1.6.
//!
//! The server's end of the stream of a component that connects to it.
//! Implements: §3 (`jabber:component:accept`: the headers, the handshake, every error, and what
//! the addresses of stanzas must be).
//! Left out: `jabber:component:connect`, by which the server would connect to the component and
//! which no library speaks; it is answered by `invalid-namespace`, as §3 demands.
//! Status: complete

use std::fmt::Write as _;
use std::mem;
use std::sync::Arc;

use sha1::{Digest as _, Sha1};
use stentor_jid::{Jid, prep_domain};
use stentor_stanza::{BadStanza, Stanza};
use stentor_xml::{Content, Frame, Header, Item, Limits, ns as xml_ns};
use subtle::ConstantTimeEq as _;

use super::{Offer, Settings};
use crate::Millis;
use crate::fault::{Fault, Misbehaviour, Wait};
use crate::framing::{OurHeader, tcp};
use crate::machine::{Ending, Says, Steps, Wire, error_of_peer};

/// The machine of one component's stream.
pub struct Component {
    settings: Arc<Settings>,
    wire: Wire<Event>,
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
    /// The stream comes to its end.
    Ending(Ending),
}

impl From<Ending> for Event {
    fn from(ending: Ending) -> Self {
        Self::Ending(ending)
    }
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
}

impl Component {
    /// A machine for a connection that has just come in. `make_id` makes unguessable stream ids.
    #[must_use]
    pub fn new(
        settings: Arc<Settings>,
        make_id: Box<dyn FnMut() -> String + Send>,
        now: Millis,
    ) -> Self {
        let (limits, wait_ms) = (settings.limits_before_auth, settings.close_wait_ms);
        Self {
            wire: Wire::new(Content::Component, limits, wait_ms, now),
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

    /// Hands in what an [`Event::Ask`] asked for.
    pub fn handle_answer(&mut self, answer: Answer, now: Millis) {
        self.wire.now = now;
        if !self.wire.is_open() {
            return;
        }
        let outcome = match (&self.phase, answer) {
            (Phase::Asking, Answer::Offer(offer)) => offer.map(|offer| {
                self.answer_header();
                self.phase = Phase::Handshake(offer);
            }),
            (Phase::Admission(frame_bytes_max), Answer::Admitted(admitted)) => {
                let limits = Limits { frame_bytes_max: *frame_bytes_max, ..Limits::default() };
                admitted.map(|()| {
                    self.wire.scanner.set_limits(limits);
                    self.handshake_by = None;
                    self.wire.out.extend_from_slice(b"<handshake/>");
                    self.spoke = now;
                    self.phase = Phase::Open;
                })
            }
            _ => Ok(()),
        };
        self.go_on(outcome);
        self.read_owed_end();
    }

    /// Writes a stanza for the component; false, and nothing is written, unless the stream stands.
    pub fn send(&mut self, stanza: &Stanza, out: &mut Vec<u8>, now: Millis) -> bool {
        let may = self.is_open();
        if may {
            self.wire.take_output(out);
            stanza.write(out);
            self.spoke = now;
        }
        may
    }

    /// Whether the component has been admitted and neither side has closed.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open) && self.wire.is_open()
    }

    fn handle_header(&mut self, header: &Header) -> Result<(), Fault> {
        self.header_by = None;
        judge(header).map_err(Fault::Peer)?;
        let to = header.to.as_deref().ok_or(Fault::HostUnknown)?;
        let domain = prep_domain(to).map_err(|_| Fault::HostUnknown)?;
        self.domain = domain.into_owned();
        self.phase = Phase::Asking;
        self.wire.events.push_back(Event::Ask(Ask::Domain(self.domain.clone())));
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
        tcp::write_header(&mut self.wire.out, &header);
    }

    fn handle_first(&mut self, frame: &Frame) -> Result<(), Fault> {
        let root = frame.root();
        if let Some(error) = error_of_peer(root) {
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
        self.wire.events.push_back(Event::Ask(Ask::Admit(self.domain.clone())));
        Ok(())
    }

    fn handle_frame(&mut self, frame: Frame) -> Result<(), Fault> {
        if let Some(error) = error_of_peer(frame.root()) {
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
                    self.wire.events.push_back(Event::Refused(reply));
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
        self.wire.events.push_back(Event::Stanza(stanza));
        Ok(())
    }
}

impl Says for Component {
    type Event = Event;
}

impl Steps for Component {
    fn wire(&self) -> &Wire<Event> {
        &self.wire
    }

    fn wire_mut(&mut self) -> &mut Wire<Event> {
        &mut self.wire
    }

    fn is_listening(&self) -> bool {
        matches!(self.phase, Phase::Header | Phase::Handshake(_) | Phase::Open)
    }

    fn handle_item(&mut self, item: Item) -> Result<(), Fault> {
        match (&self.phase, item) {
            (Phase::Header, Item::Header(header)) => self.handle_header(&header),
            (Phase::Handshake(_), Item::Frame(frame)) => self.handle_first(&frame),
            (Phase::Open, Item::Frame(frame)) => self.handle_frame(frame),
            _ => Ok(()),
        }
    }

    fn due(&self) -> Option<Millis> {
        match self.phase {
            Phase::Open => (self.settings.keepalive_ms > 0)
                .then(|| self.spoke.plus(self.settings.keepalive_ms)),
            _ => self.header_by.into_iter().chain(self.handshake_by).min(),
        }
    }

    fn handle_due(&mut self) -> Result<(), Fault> {
        let now = self.wire.now;
        let is_due = |by: Option<Millis>| by.is_some_and(|by| by <= now);
        match self.phase {
            Phase::Open if is_due(self.due()) => {
                self.wire.out.push(b' ');
                self.spoke = now;
            }
            Phase::Open => {}
            _ if is_due(self.header_by) => return Err(Fault::Timeout(Wait::Header)),
            _ if is_due(self.handshake_by) => return Err(Fault::Timeout(Wait::SignIn)),
            _ => {}
        }
        Ok(())
    }

    fn begin_last_words(&mut self) {
        // RFC 6120 §4.9.1.3: a domain that is not served is not said to be ours.
        if matches!(self.phase, Phase::Asking) {
            self.phase = Phase::Header;
        }
        // §3: an error has a stream round it.
        self.answer_header();
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

impl std::fmt::Debug for Component {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let phase = mem::discriminant(&self.phase);
        f.debug_struct("Component").field("domain", &self.domain).field("phase", &phase).finish()
    }
}
