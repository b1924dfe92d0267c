//! Our end of a stream to another server.

mod managed;

use std::mem;
use std::sync::Arc;

use stentor_stanza::{BadStanza, Condition, Lang, Stanza};
use stentor_xml::{Content, ElementRef, Frame, Header, Item, ns as xml_ns};

use self::managed::Managing;
use super::addresses::{judge_addresses, pair_from_us};
use super::header::{default_lang, write_header};
use super::outgoing_event::Event;
use super::xep0198_sm::{self, Former, Management};
use super::xep0220_dialback::{self as dialback, Content as Said, Element, Key, Name, Verdict};
use super::{How, OutgoingSettings, Pair, Tls, xep0178_external, xep0288_bidi};
use crate::fault::{Fault, Misbehaviour, Wait};
use crate::machine::{Says, Steps, Wire, error_of_peer};
use crate::opening::judge;
use crate::xep0198_sm::{ASK, Element as Managed};
use crate::xep0478_limits::StreamLimits;
use crate::{Millis, limits, ns};

/// The machine of one stream to another server.
pub struct Outgoing {
    settings: Arc<OutgoingSettings>,
    wire: Wire<Event>,
    phase: Phase,
    /// Whom the stream is between.
    pair: Pair,
    is_tls: bool,
    /// The id in the peer's present header.
    stream_id: String,
    /// The default language of the peer's stanzas, unless that is ours (§4.7.4).
    lang: Option<Lang>,
    /// What the peer's features offer.
    offers: Offers,
    is_bidi: bool,
    /// Whether SASL has succeeded: no stream begins anew after that.
    is_authenticated: bool,
    /// Whether the stream's own pair is wanted, or only verifications.
    wants_pair: bool,
    pairs: Vec<Pair>,
    /// Pairs whose authorization was asked for.
    asked: Vec<Pair>,
    /// Pairs whose key the shell is making.
    keyless: Vec<Pair>,
    /// Keys to be verified, not asked yet.
    waiting: Vec<(Pair, Key)>,
    /// Keys whose verification was asked for.
    verifying: Vec<(Pair, Key)>,
    done_by: Option<Millis>,
    managing: Managing,
    /// Pairs whose stanzas may be sent, as is told next.
    granted: Vec<(Pair, How)>,
    /// The stream to go on for.
    former: Option<Former>,
}

#[derive(Clone, Copy, Default)]
struct Offers {
    starttls: bool,
    external: bool,
    dialback_errors: bool,
    bidi: bool,
    management: bool,
    /// The largest stanza that the peer accepts, in bytes (XEP-0478).
    bytes_max: Option<u64>,
}

enum Phase {
    Header,
    Features,
    Proceed,
    Handshake,
    Sasl,
    /// Negotiated: pairs are authorized and keys verified.
    Open,
}

impl Outgoing {
    /// A machine for a connection that has just been made; it speaks first. `is_tls` if TLS came
    /// first (XEP-0368). Without `wants_pair` the stream only verifies keys.
    #[must_use]
    pub fn new(
        settings: Arc<OutgoingSettings>,
        pair: Pair,
        is_tls: bool,
        wants_pair: bool,
        now: Millis,
    ) -> Self {
        let mut machine = Self {
            wire: Wire::new(Content::Server, settings.limits, settings.close_wait_ms, now),
            phase: Phase::Header,
            pair,
            is_tls,
            stream_id: String::new(),
            lang: None,
            offers: Offers::default(),
            is_bidi: false,
            is_authenticated: false,
            wants_pair,
            pairs: Vec::new(),
            asked: Vec::new(),
            keyless: Vec::new(),
            waiting: Vec::new(),
            verifying: Vec::new(),
            done_by: Some(now.plus(settings.sign_in_wait_ms)),
            managing: Managing::Off,
            granted: Vec::new(),
            former: None,
            settings,
        };
        machine.write_header();
        machine
    }

    /// Goes on for a former stream if the peer lets it (XEP-0198 §5).
    pub fn go_on_for(&mut self, former: Former) {
        self.former = Some(former);
    }

    /// Tells that the TLS handshake is done and the server's certificate is good enough.
    pub fn handle_tls(&mut self, now: Millis) {
        self.wire.now = now;
        if self.is_in_handshake() && self.wire.is_open() {
            self.is_tls = true;
            self.restart();
        }
    }

    /// Hands in the key that an [`Event::Key`] asked for.
    pub fn handle_key(&mut self, pair: &Pair, key: &str, now: Millis) {
        self.wire.now = now;
        let Some(at) = self.keyless.iter().position(|p| p == pair) else { return };
        let pair = self.keyless.swap_remove(at);
        if self.is_open() {
            dialback::write_result_request(&mut self.wire.out, &pair, key);
            self.asked.push(pair);
        }
    }

    /// Asks for another pair on the same stream (XEP-0220 §2.6). False if the peer does not say
    /// that it can refuse that without ending the stream.
    pub fn authorize(&mut self, pair: Pair) -> bool {
        let is_same_target = pair.remote == self.pair.remote;
        let may = self.is_open()
            && self.settings.may_dial_back
            && (self.offers.dialback_errors || is_same_target)
            && self.asked.len() + self.keyless.len() < limits::DIALBACKS_MAX;
        if may && !self.pairs.contains(&pair) && !self.is_asked(&pair) {
            self.ask_key(pair);
        }
        may
    }

    /// Has a key verified by the peer, which is the authoritative server of `pair.remote`. False
    /// if too many are.
    pub fn verify(&mut self, pair: Pair, key: Key) -> bool {
        if self.waiting.len() + self.verifying.len() >= limits::DIALBACKS_MAX {
            return false;
        }
        self.waiting.push((pair, key));
        self.write_waiting();
        true
    }

    /// Writes a stanza behind what is in `out`, and behind what the machine itself has to write.
    /// False, and nothing is written, unless its pair is authorized.
    pub fn send(&mut self, stanza: &Stanza, out: &mut Vec<u8>) -> bool {
        let may = pair_from_us(stanza).is_some_and(|pair| self.may_send(&pair));
        if may {
            self.wire.take_output(out);
            stanza.write(out);
            let now = self.wire.now;
            if self.management().is_some_and(|m| m.note_sent(now)) {
                out.extend_from_slice(ASK.as_bytes());
            }
        }
        may
    }

    /// Whether stanzas of the pair may be sent.
    #[must_use]
    pub fn may_send(&self, pair: &Pair) -> bool {
        matches!(self.phase, Phase::Open)
            && self.wire.may_speak()
            && !matches!(self.managing, Managing::Asked(_))
            && self.pairs.contains(pair)
    }

    /// The largest stanza that the peer says it accepts, in bytes (XEP-0478).
    #[must_use]
    pub const fn bytes_max(&self) -> Option<u64> {
        self.offers.bytes_max
    }

    /// Whether stanzas may come back on this stream (XEP-0288).
    #[must_use]
    pub const fn is_bidi(&self) -> bool {
        self.is_bidi
    }

    fn write_header(&mut self) {
        write_header(&mut self.wire.out, &self.pair.local, Some(&self.pair.remote), None);
    }

    fn restart(&mut self) {
        self.wire.scanner.restart();
        self.write_header();
        self.phase = Phase::Header;
    }

    const fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open) && self.wire.is_open()
    }

    fn is_asked(&self, pair: &Pair) -> bool {
        self.asked.contains(pair) || self.keyless.contains(pair)
    }

    fn handle_header(&mut self, header: Header) -> Result<(), Fault> {
        judge(&header, xml_ns::SERVER).map_err(Fault::Peer)?;
        self.lang = default_lang(&header);
        self.stream_id = header.id.unwrap_or_default();
        self.phase = Phase::Features;
        Ok(())
    }

    fn handle_frame(&mut self, frame: Frame) -> Result<(), Fault> {
        let root = frame.root();
        if let Some(error) = error_of_peer(root) {
            return Err(error);
        }
        match self.phase {
            Phase::Features if root.is(xml_ns::STREAM, "features") => self.handle_features(root),
            Phase::Proceed if root.is(ns::TLS, "proceed") => {
                self.phase = Phase::Handshake;
                self.wire.events.push_back(Event::StartTls);
                Ok(())
            }
            Phase::Proceed if root.is(ns::TLS, "failure") => Err(Fault::Peer(Misbehaviour::NoTls)),
            Phase::Sasl if root.is(ns::SASL, "success") => {
                self.is_authenticated = true;
                self.restart();
                Ok(())
            }
            Phase::Sasl if root.is(ns::SASL, "failure") => {
                // RFC 6120 §13.7.2: then there is dialback, where both sides have it.
                self.offers.external = false;
                self.open()
            }
            Phase::Open if Element::is(root) => match Element::read(root) {
                Some(element) => self.handle_dialback(element),
                None => Err(Fault::Peer(Misbehaviour::BadDialback)),
            },
            Phase::Open if Managed::is(root) => self.manage(root),
            Phase::Open if root.is(xml_ns::STREAM, "features") => Ok(()),
            Phase::Open if root.ns() == xml_ns::CLIENT => self.handle_stanza(frame),
            _ => Err(Fault::Peer(Misbehaviour::OutOfTurn)),
        }
    }

    fn handle_features(&mut self, features: ElementRef<'_>) -> Result<(), Fault> {
        let mechanisms = features.child(ns::SASL, "mechanisms");
        let dialback = features.child(ns::DIALBACK_FEATURE, "dialback");
        self.offers = Offers {
            starttls: features.child(ns::TLS, "starttls").is_some(),
            external: mechanisms.is_some_and(|m| {
                m.children().any(|c| c.is(ns::SASL, "mechanism") && c.text() == "EXTERNAL")
            }),
            dialback_errors: dialback
                .is_some_and(|d| d.child(ns::DIALBACK_FEATURE, "errors").is_some()),
            bidi: xep0288_bidi::is_offered(features),
            management: xep0198_sm::is_offered(features),
            bytes_max: features.children().find_map(StreamLimits::read).and_then(|l| l.bytes_max),
        };
        if !self.is_tls && self.settings.tls != Tls::Never {
            if self.offers.starttls {
                self.wire.write(|w| {
                    w.leaf("starttls", ns::TLS);
                });
                self.phase = Phase::Proceed;
                return Ok(());
            }
            if self.settings.tls == Tls::Required {
                return Err(Fault::Peer(Misbehaviour::NoTls));
            }
        }
        if self.is_authenticated {
            self.phase = Phase::Open;
            self.grant(self.pair.clone(), How::External);
            self.write_waiting();
            return Ok(());
        }
        // XEP-0288 §2.2: before SASL or dialback.
        if self.offers.bidi && self.settings.wants_bidi && self.wants_pair && !self.is_bidi {
            self.is_bidi = true;
            self.wire.write(xep0288_bidi::write_request);
        }
        let may_show = self.is_tls && self.settings.has_certificate && self.wants_pair;
        if self.offers.external && may_show {
            self.phase = Phase::Sasl;
            let domain = &self.pair.local;
            self.wire.write(|w| xep0178_external::write_auth(w, domain));
            return Ok(());
        }
        self.open()
    }

    /// Negotiation has nothing more to offer: what is left is dialback.
    fn open(&mut self) -> Result<(), Fault> {
        self.phase = Phase::Open;
        self.write_waiting();
        if !self.wants_pair {
            return Ok(());
        }
        if !self.settings.may_dial_back {
            return Err(Fault::Peer(Misbehaviour::SignInRefused));
        }
        self.ask_key(self.pair.clone());
        Ok(())
    }

    fn ask_key(&mut self, pair: Pair) {
        let stream_id = self.stream_id.clone();
        self.keyless.push(pair.clone());
        self.wire.events.push_back(Event::Key { pair, stream_id });
    }

    fn write_waiting(&mut self) {
        if !self.is_open() {
            return;
        }
        for (pair, key) in mem::take(&mut self.waiting) {
            dialback::write_verify_request(&mut self.wire.out, &pair, &key);
            self.verifying.push((pair, key));
        }
        if !self.wants_pair {
            self.done_by = self.done_by.filter(|_| !self.verifying.is_empty());
        }
    }

    /// A pair is authorized. Its stanzas wait until it is known whether they are counted.
    fn grant(&mut self, pair: Pair, how: How) {
        self.pairs.push(pair.clone());
        match &mut self.managing {
            Managing::Asked(waiting) => waiting.push((pair, how)),
            Managing::Off if self.offers.management && self.settings.wants_management => {
                self.managing = Managing::Asked(vec![(pair, how)]);
                let former = self.former.as_ref();
                self.wire.write(|w| match former {
                    Some(former) => xep0198_sm::write_resume(w, former),
                    None => xep0198_sm::write_enable(w),
                });
            }
            _ => {
                if self.former.take().is_some() {
                    self.wire.events.push_back(Event::NotResumed(None));
                }
                self.admit(pair, how);
            }
        }
    }

    fn admit(&mut self, pair: Pair, how: How) {
        self.done_by = None;
        self.wire.events.push_back(Event::Authorized(pair, how));
    }

    fn management(&mut self) -> Option<&mut Management> {
        match &mut self.managing {
            Managing::On(management) => Some(management),
            _ => None,
        }
    }

    /// XEP-0220 §3.1: only an answer to what was asked on this stream is believed.
    fn handle_dialback(&mut self, element: Element) -> Result<(), Fault> {
        let Element { name, from, to, content } = element;
        let pair = Pair { local: to, remote: from };
        let Said::Answer { stream_id, verdict } = content else {
            // XEP-0288 §2.2: the peer may ask for more pairs of its own on a stream both ways; we
            // accept those on streams that it opens.
            if self.is_bidi && name == Name::Result {
                let verdict = Verdict::Error(Condition::PolicyViolation);
                dialback::write_answer(&mut self.wire.out, &pair, None, &verdict);
                return Ok(());
            }
            return Err(Fault::Peer(Misbehaviour::UnsolicitedDialback));
        };
        match name {
            Name::Result => {
                let at = self.asked.iter().position(|asked| *asked == pair);
                let at = at.ok_or(Fault::Peer(Misbehaviour::UnsolicitedDialback))?;
                self.asked.swap_remove(at);
                match verdict {
                    Verdict::Valid => self.grant(pair, How::Dialback),
                    verdict => self.wire.events.push_back(Event::Denied(pair, verdict)),
                }
            }
            Name::Verify => {
                let is_it = |(p, k): &(Pair, Key)| *p == pair && k.stream_id == stream_id;
                let at = self.verifying.iter().position(is_it);
                let at = at.ok_or(Fault::Peer(Misbehaviour::UnsolicitedDialback))?;
                let (pair, key) = self.verifying.swap_remove(at);
                self.wire.events.push_back(Event::Verified(pair, key, verdict));
            }
        }
        Ok(())
    }

    fn handle_stanza(&mut self, frame: Frame) -> Result<(), Fault> {
        let stanza = Stanza::from_frame(frame);
        // COMPAT(ejabberd, 23.01): it returns what it cannot decode on the stream of the sender.
        let is_returned = stanza.as_ref().is_ok_and(|stanza| stanza.head.kind.is_error());
        if self.pairs.is_empty() || !(self.is_bidi || is_returned) {
            return Err(Fault::Peer(Misbehaviour::StanzaBeforeAuth));
        }
        if let Some(management) = self.management() {
            management.note_received();
        }
        match stanza {
            Ok(mut stanza) => {
                judge_addresses(&stanza.head, self.pairs.iter())?;
                if stanza.head.lang.is_none() {
                    stanza.head.lang.clone_from(&self.lang);
                }
                self.wire.events.push_back(Event::Stanza(stanza));
                Ok(())
            }
            Err(BadStanza::Refused(refusal) | BadStanza::Dropped(refusal)) => {
                // One that cannot be read is ignored: its server should not have sent it.
                judge_addresses(&refusal.head, self.pairs.iter())
            }
            Err(BadStanza::NotAStanza) => Ok(()),
        }
    }
}

impl Says for Outgoing {
    type Event = Event;
}

impl Steps for Outgoing {
    fn wire(&self) -> &Wire<Event> {
        &self.wire
    }

    fn wire_mut(&mut self) -> &mut Wire<Event> {
        &mut self.wire
    }

    fn is_listening(&self) -> bool {
        !self.is_in_handshake()
    }

    fn is_in_handshake(&self) -> bool {
        matches!(self.phase, Phase::Handshake)
    }

    fn handle_item(&mut self, item: Item) -> Result<(), Fault> {
        match (&self.phase, item) {
            (Phase::Header, Item::Header(header)) => self.handle_header(*header),
            (_, Item::Frame(frame)) => self.handle_frame(frame),
            _ => Ok(()),
        }
    }

    fn hear(&mut self) {
        let now = self.wire.now;
        if let Some(management) = self.management() {
            management.hear(now);
        }
    }

    fn due(&self) -> Option<Millis> {
        let managed = match &self.managing {
            Managing::On(management) => management.due(),
            _ => None,
        };
        self.done_by.into_iter().chain(managed).min()
    }

    fn handle_due(&mut self) -> Result<(), Fault> {
        match self.done_by {
            Some(by) if by <= self.wire.now => return Err(Fault::Timeout(Wait::SignIn)),
            _ => {}
        }
        let now = self.wire.now;
        let mut outcome = Ok(());
        if let Managing::On(management) = &mut self.managing {
            self.wire.write(|w| outcome = management.handle_due(now, w));
        }
        outcome
    }
}
