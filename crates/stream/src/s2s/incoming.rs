//! Our end of a stream that another server opened.

mod managed;

use std::sync::Arc;

use stentor_jid::prep_domain;
use stentor_sasl::Condition as SaslCondition;
use stentor_stanza::{BadStanza, Condition, Lang, Stanza};
use stentor_xml::{Content, ElementRef, Frame, Header, Item, ns as xml_ns};

use super::addresses::{judge_addresses, pair_from_us};
use super::header::{default_lang, write_header};
use super::incoming_event::{Answer, Ask, Event, Offer};
use super::xep0178_external::names;
use super::xep0198_sm::Management;
use super::xep0220_dialback::{self as dialback, Content as Said, Element, Key, Name, Verdict};
use super::{How, IncomingSettings, Pair, xep0288_bidi};
use crate::fault::{Fault, Limit, Misbehaviour, Wait};
use crate::machine::{Says, Steps, Wire, error_of_peer};
use crate::opening::judge;
use crate::xep0198_sm::{self as elements, ASK, Element as Managed};
use crate::xep0478_limits::StreamLimits;
use crate::{Millis, limits, ns, sasl_text};

/// The machine of one stream that another server opened.
pub struct Incoming {
    settings: Arc<IncomingSettings>,
    wire: Wire<Event>,
    phase: Phase,
    is_tls: bool,
    /// The id in our present header; dialback keys are made for it.
    stream_id: String,
    make_id: Box<dyn FnMut() -> String + Send>,
    /// What the peer's header said.
    claimed: Claimed,
    /// The default language of the peer's stanzas, unless that is ours (§4.7.4).
    lang: Option<Lang>,
    offer: Option<Arc<Offer>>,
    /// Who is authorized to send what.
    pairs: Vec<(Pair, How)>,
    /// Dialback requests that the shell has not answered.
    asked: Vec<Pair>,
    /// Questions about our keys that the shell has not answered.
    verifying: usize,
    is_bidi: bool,
    /// What is counted, once stream management is on.
    management: Option<Box<Management>>,
    /// What the peer wants to resume, while the shell looks for it, and its count.
    resuming: Option<(String, u32)>,
    sasl_failures: u8,
    /// Pairs that were refused.
    refusals: u8,
    /// When the first header must be here; none once it is.
    header_by: Option<Millis>,
    /// When the first pair must be authorized; none once one is.
    sign_in_by: Option<Millis>,
}

#[derive(Default)]
struct Claimed {
    from: Option<String>,
    to: Option<String>,
}

enum Phase {
    /// A header is due.
    Header,
    /// The shell is asked what to offer.
    Asking,
    /// The TLS handshake is under way.
    Handshake,
    Open,
}

impl Incoming {
    /// A machine for a connection that has just come in. `is_tls` if TLS came first (XEP-0368);
    /// `make_id` makes unguessable stream ids of at least 128 random bits.
    #[must_use]
    pub fn new(
        settings: Arc<IncomingSettings>,
        is_tls: bool,
        make_id: Box<dyn FnMut() -> String + Send>,
        now: Millis,
    ) -> Self {
        Self {
            wire: Wire::new(
                Content::Server,
                settings.limits_before_auth,
                settings.close_wait_ms,
                now,
            ),
            phase: Phase::Header,
            is_tls,
            stream_id: String::new(),
            make_id,
            claimed: Claimed::default(),
            lang: None,
            offer: None,
            pairs: Vec::new(),
            asked: Vec::new(),
            verifying: 0,
            is_bidi: false,
            management: None,
            resuming: None,
            sasl_failures: 0,
            refusals: 0,
            header_by: Some(now.plus(settings.header_wait_ms)),
            sign_in_by: Some(now.plus(settings.sign_in_wait_ms)),
            settings,
        }
    }

    /// Tells that the TLS handshake is done.
    pub fn handle_tls(&mut self, now: Millis) {
        self.wire.now = now;
        if self.is_in_handshake() && self.wire.is_open() {
            self.is_tls = true;
            self.is_bidi = false;
            self.restart();
        }
    }

    /// Hands in what an [`Event::Ask`] asked for.
    pub fn handle_answer(&mut self, answer: Answer, now: Millis) {
        self.wire.now = now;
        if !self.wire.is_open() {
            return;
        }
        let outcome = match answer {
            Answer::Host(offer) if matches!(self.phase, Phase::Asking) => self.open(offer),
            Answer::Dialback(pair, verdict) => self.decide(&pair, &verdict),
            Answer::Verify(pair, key, verdict) if self.is_open() && self.verifying > 0 => {
                self.verifying -= 1;
                let id = Some(key.stream_id.as_str());
                dialback::write_answer(&mut self.wire.out, &pair, id, &verdict);
                Ok(())
            }
            Answer::Resume(former) => self.resume(former),
            Answer::Host(_) | Answer::Verify(..) => Ok(()),
        };
        self.go_on(outcome);
        self.read_owed_end();
    }

    /// Writes a stanza back on the same stream (XEP-0288). False, and nothing is written, unless
    /// the peer asked for that and the stanza's pair is authorized.
    pub fn send(&mut self, stanza: &Stanza, out: &mut Vec<u8>) -> bool {
        let may =
            self.is_bidi && self.is_open() && pair_from_us(stanza).is_some_and(|p| self.has(&p));
        if may {
            self.wire.take_output(out);
            stanza.write(out);
            if self.management.as_mut().is_some_and(|m| m.note_sent(self.wire.now)) {
                out.extend_from_slice(ASK.as_bytes());
            }
        }
        may
    }

    /// Whether stanzas of the pair may go back on this stream (XEP-0288 §2.2).
    #[must_use]
    pub fn may_send(&self, pair: &Pair) -> bool {
        self.is_bidi && self.is_open() && self.has(pair)
    }

    /// The domain of ours that the stream is for, once the shell has answered for it.
    #[must_use]
    pub fn domain(&self) -> Option<&str> {
        self.offer.as_deref().map(|offer| offer.domain.as_str())
    }

    /// The pairs that have been authorized.
    pub fn pairs(&self) -> impl Iterator<Item = &Pair> + Clone {
        self.pairs.iter().map(|(pair, _)| pair)
    }

    const fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open) && self.wire.is_open()
    }

    fn has(&self, pair: &Pair) -> bool {
        self.pairs().any(|p| p == pair)
    }

    fn restart(&mut self) {
        self.wire.scanner.restart();
        self.claimed = Claimed::default();
        self.stream_id = String::new();
        self.phase = Phase::Header;
    }

    fn handle_header(&mut self, header: &Header) -> Result<(), Fault> {
        self.header_by = None;
        let domain = |name: &Option<String>| {
            name.as_deref()
                .map(|name| prep_domain(name).map(std::borrow::Cow::into_owned))
                .transpose()
        };
        let (from, to) = (domain(&header.from), domain(&header.to));
        self.claimed.from = from.clone().ok().flatten();
        self.lang = default_lang(header);
        judge(header, xml_ns::SERVER).map_err(Fault::Peer)?;
        if from.is_err() {
            return Err(Fault::Peer(Misbehaviour::BadFrom));
        }
        self.claimed.to = to.map_err(|_| Fault::HostUnknown)?;
        // §4.7.1 and §4.7.2: the stream after SASL is between the same two.
        let external = self.pairs.iter().find(|(_, how)| *how == How::External).map(|(p, _)| p);
        if let Some(pair) = external {
            if self.claimed.from.as_ref().is_some_and(|from| *from != pair.remote) {
                return Err(Fault::Peer(Misbehaviour::FromMismatch));
            }
            if self.claimed.to.as_ref().is_some_and(|to| *to != pair.local) {
                return Err(Fault::Peer(Misbehaviour::HostChanged));
            }
        }
        self.phase = Phase::Asking;
        let (to, from) = (self.claimed.to.clone(), self.claimed.from.clone());
        self.wire.events.push_back(Event::Ask(Ask::Host { to, from }));
        Ok(())
    }

    fn open(&mut self, offer: Result<Arc<Offer>, Fault>) -> Result<(), Fault> {
        let offer = offer?;
        self.offer = Some(offer.clone());
        self.answer_header();
        self.phase = Phase::Open;
        let is_sealed = self.is_tls || !offer.tls_required;
        let has_external = is_sealed && self.may_use_external();
        let may_send = !self.pairs.is_empty() || (is_sealed && offer.dialback && !has_external);
        self.wire.write(|w| {
            w.raw(b"<stream:features>");
            if offer.starttls && !self.is_tls {
                w.open("starttls", ns::TLS);
                if offer.tls_required {
                    w.leaf("required", ns::TLS);
                }
                w.close();
            }
            if has_external {
                w.open("mechanisms", ns::SASL);
                w.text_element("mechanism", ns::SASL, "EXTERNAL").close();
            }
            if is_sealed && offer.dialback {
                // XEP-0220 §2.4.2.
                w.open("dialback", ns::DIALBACK_FEATURE).leaf("errors", ns::DIALBACK_FEATURE);
                w.close();
            }
            if offer.bidi {
                xep0288_bidi::write_feature(w);
            }
            // XEP-0198 §5: where stanzas may follow. Behind dialback no features come again.
            if may_send && offer.management.is_some() {
                elements::write_feature(w);
            }
            if may_send && offer.frame_bytes_max.is_some() {
                StreamLimits { bytes_max: offer.frame_bytes_max, idle_secs: None }.write(w);
            }
            w.raw(b"</stream:features>");
        });
        Ok(())
    }

    /// Writes our header, once for each stream.
    fn answer_header(&mut self) {
        if self.stream_id.is_empty() {
            self.stream_id = (self.make_id)();
            let from = self.offer.as_ref().map_or(&self.settings.name, |offer| &offer.domain);
            let to = self.claimed.from.as_deref();
            write_header(&mut self.wire.out, from, to, Some(&self.stream_id));
        }
    }

    fn may_use_external(&self) -> bool {
        let is_done = self.pairs.iter().any(|(_, how)| *how == How::External);
        let offers = self.offer.as_ref().is_some_and(|offer| offer.external);
        offers && self.is_tls && !is_done && self.claimed.from.is_some()
    }

    fn handle_frame(&mut self, frame: Frame) -> Result<(), Fault> {
        let root = frame.root();
        if let Some(error) = error_of_peer(root) {
            return Err(error);
        }
        if root.ns() == xml_ns::CLIENT {
            return self.handle_stanza(frame);
        }
        if Element::is(root) {
            return match Element::read(root) {
                Some(element) => self.handle_dialback(element),
                None => Err(Fault::Peer(Misbehaviour::BadDialback)),
            };
        }
        if root.is(ns::TLS, "starttls") {
            return self.start_tls(root);
        }
        if root.is(ns::SASL, "auth") {
            return self.authenticate(root);
        }
        if Managed::is(root) {
            return self.manage(root);
        }
        if xep0288_bidi::is_request(root) {
            // XEP-0288 §2.2: before authentication, and with TLS behind it.
            let is_offered = self.offer.as_ref().is_some_and(|offer| offer.bidi);
            self.is_bidi |= is_offered && self.pairs.is_empty();
            return Ok(());
        }
        Err(Fault::Peer(Misbehaviour::UnknownElement))
    }

    fn start_tls(&mut self, root: ElementRef<'_>) -> Result<(), Fault> {
        let is_offered = self.offer.as_ref().is_some_and(|offer| offer.starttls) && !self.is_tls;
        if !is_offered || root.first_child().is_some() || root.has_text() {
            return Err(Fault::Peer(Misbehaviour::StartTlsRefused));
        }
        self.wire.write(|w| {
            w.leaf("proceed", ns::TLS);
        });
        self.phase = Phase::Handshake;
        // Nothing that was said before TLS counts.
        self.pairs.clear();
        self.asked.clear();
        self.wire.events.push_back(Event::StartTls);
        Ok(())
    }

    /// SASL EXTERNAL (XEP-0178 §3): the certificate has been looked at with the offer.
    fn authenticate(&mut self, root: ElementRef<'_>) -> Result<(), Fault> {
        let refusal = match (root.attr("mechanism").as_deref(), self.claimed.from.clone()) {
            (Some("EXTERNAL"), Some(from)) if self.may_use_external() => {
                match sasl_text::read(root) {
                    Err(_) => Some(SaslCondition::IncorrectEncoding),
                    Ok(authzid) if names(authzid.as_deref(), &from) => None,
                    Ok(_) => Some(SaslCondition::InvalidAuthzid),
                }
            }
            (Some("EXTERNAL"), _) => Some(SaslCondition::NotAuthorized),
            _ => Some(SaslCondition::InvalidMechanism),
        };
        if let Some(condition) = refusal {
            self.wire.write(|w| {
                w.open("failure", ns::SASL).leaf(condition.name(), ns::SASL).close();
            });
            self.sasl_failures = self.sasl_failures.saturating_add(1);
            let is_too_often = self.sasl_failures > limits::AUTH_RETRIES_MAX;
            return if is_too_often { Err(Fault::Limit(Limit::AuthRetries)) } else { Ok(()) };
        }
        let local = self.offer.as_ref().map(|offer| offer.domain.clone()).unwrap_or_default();
        let pair = Pair { local, remote: self.claimed.from.clone().unwrap_or_default() };
        self.wire.write(|w| {
            w.leaf("success", ns::SASL);
        });
        self.authorize(pair, How::External);
        self.restart();
        Ok(())
    }

    fn authorize(&mut self, pair: Pair, how: How) {
        self.sign_in_by = None;
        self.wire.scanner.set_limits(self.settings.limits);
        if !self.has(&pair) {
            self.pairs.push((pair.clone(), how));
            self.wire.events.push_back(Event::Authorized(pair, how));
        }
    }

    fn handle_dialback(&mut self, element: Element) -> Result<(), Fault> {
        let Element { name, from, to, content } = element;
        let pair = Pair { local: to, remote: from };
        let Said::Request(key) = content else {
            // §3.1: we ask nothing on streams that others opened.
            return Err(Fault::Peer(Misbehaviour::UnsolicitedDialback));
        };
        match name {
            Name::Verify if self.verifying >= limits::DIALBACKS_MAX => {
                let verdict = Verdict::Error(Condition::ResourceConstraint);
                let id = Some(key.stream_id.as_str());
                dialback::write_answer(&mut self.wire.out, &pair, id, &verdict);
            }
            Name::Verify => {
                self.verifying += 1;
                self.wire.events.push_back(Event::Ask(Ask::Verify { pair, key }));
            }
            Name::Result => return self.handle_request(pair, key),
        }
        Ok(())
    }

    /// The peer asks for the authorization of a pair (§2.2.1).
    fn handle_request(&mut self, pair: Pair, key: Key) -> Result<(), Fault> {
        let offer = self.offer.clone().unwrap_or_default();
        if self.has(&pair) {
            dialback::write_answer(&mut self.wire.out, &pair, None, &Verdict::Valid);
            return Ok(());
        }
        let refusal = if offer.tls_required && !self.is_tls {
            Some(Condition::PolicyViolation)
        } else if !offer.dialback {
            Some(Condition::NotAuthorized)
        } else if self.asked.len() + self.pairs.len() >= limits::DIALBACKS_MAX {
            Some(Condition::ResourceConstraint)
        } else {
            None
        };
        if let Some(condition) = refusal {
            let verdict = Verdict::Error(condition);
            dialback::write_answer(&mut self.wire.out, &pair, None, &verdict);
            return self.note_refusal();
        }
        if !self.asked.contains(&pair) {
            self.asked.push(pair.clone());
            let key = Key { stream_id: self.stream_id.clone(), key: key.key };
            self.wire.events.push_back(Event::Ask(Ask::Dialback { pair, key }));
        }
        Ok(())
    }

    /// Who tries one domain after another makes us call them all.
    const fn note_refusal(&mut self) -> Result<(), Fault> {
        self.refusals = self.refusals.saturating_add(1);
        if self.refusals > limits::DIALBACK_REFUSALS_MAX {
            return Err(Fault::Limit(Limit::AuthRetries));
        }
        Ok(())
    }

    fn decide(&mut self, pair: &Pair, verdict: &Verdict) -> Result<(), Fault> {
        let Some(at) = self.asked.iter().position(|asked| asked == pair) else { return Ok(()) };
        self.asked.swap_remove(at);
        if !self.is_open() {
            return Ok(());
        }
        dialback::write_answer(&mut self.wire.out, pair, None, verdict);
        match verdict {
            Verdict::Valid => {
                self.authorize(pair.clone(), How::Dialback);
                Ok(())
            }
            // §2.2.1: whoever shows a false key first has nothing more to say.
            Verdict::Invalid if self.pairs.is_empty() => Err(Fault::Peer(Misbehaviour::FalseKey)),
            Verdict::Invalid | Verdict::Error(_) => self.note_refusal(),
        }
    }

    fn handle_stanza(&mut self, frame: Frame) -> Result<(), Fault> {
        if self.pairs.is_empty() {
            return Err(Fault::Peer(Misbehaviour::StanzaBeforeAuth));
        }
        let stanza = Stanza::from_frame(frame);
        if let (Some(management), false) =
            (&mut self.management, matches!(stanza, Err(BadStanza::NotAStanza)))
        {
            management.note_received();
        }
        let mut stanza = match stanza {
            Ok(stanza) => stanza,
            Err(BadStanza::NotAStanza) => {
                return Err(Fault::Peer(Misbehaviour::UnknownElement));
            }
            Err(BadStanza::Refused(refusal)) => {
                judge_addresses(&refusal.head, self.pairs())?;
                self.wire.events.push_back(Event::Refused(refusal.reply()));
                return Ok(());
            }
            Err(BadStanza::Dropped(refusal)) => {
                return judge_addresses(&refusal.head, self.pairs());
            }
        };
        judge_addresses(&stanza.head, self.pairs())?;
        if stanza.head.lang.is_none() {
            stanza.head.lang.clone_from(&self.lang);
        }
        self.wire.events.push_back(Event::Stanza(stanza));
        Ok(())
    }
}

impl Says for Incoming {
    type Event = Event;
}

impl Steps for Incoming {
    fn wire(&self) -> &Wire<Event> {
        &self.wire
    }

    fn wire_mut(&mut self) -> &mut Wire<Event> {
        &mut self.wire
    }

    fn is_listening(&self) -> bool {
        matches!(self.phase, Phase::Header | Phase::Open) && self.resuming.is_none()
    }

    fn hear(&mut self) {
        let now = self.wire.now;
        if let Some(management) = &mut self.management {
            management.hear(now);
        }
    }

    fn is_discarding(&self) -> bool {
        self.is_in_handshake()
    }

    fn is_in_handshake(&self) -> bool {
        matches!(self.phase, Phase::Handshake)
    }

    fn handle_item(&mut self, item: Item) -> Result<(), Fault> {
        match (&self.phase, item) {
            (Phase::Header, Item::Header(header)) => self.handle_header(&header),
            (Phase::Open, Item::Frame(frame)) => self.handle_frame(frame),
            _ => Ok(()),
        }
    }

    fn due(&self) -> Option<Millis> {
        let managed = self.management.as_ref().and_then(|management| management.due());
        self.header_by.into_iter().chain(self.sign_in_by).chain(managed).min()
    }

    fn handle_due(&mut self) -> Result<(), Fault> {
        let is_due = |by: Option<Millis>| by.is_some_and(|by| by <= self.wire.now);
        if is_due(self.header_by) {
            return Err(Fault::Timeout(Wait::Header));
        }
        if is_due(self.sign_in_by) {
            return Err(Fault::Timeout(Wait::SignIn));
        }
        let now = self.wire.now;
        match &mut self.management {
            Some(management) => {
                let mut outcome = Ok(());
                self.wire.write(|w| outcome = management.handle_due(now, w));
                outcome
            }
            None => Ok(()),
        }
    }

    fn begin_last_words(&mut self) {
        self.answer_header();
    }
}
