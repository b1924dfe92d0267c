//! A bound session: stanzas both ways (RFC 6120 §8), and the watch over silent clients (§4.6).

use stentor_jid::FullJid;
use stentor_payload::xep0352_csi::ClientState;
use stentor_stanza::{BadStanza, Condition, IqType, Kind, Lang, PresenceType, Stanza, StanzaError};
use stentor_xml::{ElementRef, Frame};

use super::question::{self, Question};
use super::wire::Wire;
use super::{Idle, Probe, answer_refused, stray};
use crate::event::Event;
use crate::fault::{Fault, Misbehaviour, Wait};
use crate::xep0198_sm::{self, Counts, Element};
use crate::{Millis, ns};

/// What an idle session costs, beside the scanner.
pub(super) struct Established {
    jid: FullJid,
    /// The default language of the client's stanzas (§4.7.4).
    lang: Option<Lang>,
    /// When the client was last heard.
    heard: Millis,
    /// When to send the next space, if we stay quiet until then.
    keepalive_at: Millis,
    /// Whether we sent anything since `keepalive_at` was set.
    has_sent: bool,
    /// Until when the client may answer what it was asked; none while nothing is open.
    answer_by: Option<Millis>,
    /// Whether it is asked once more then.
    is_asked_again: bool,
    /// How many questions it was asked.
    questions: u32,
    /// What is counted, once stream management is on.
    counts: Option<Box<Counts>>,
}

impl Established {
    pub(super) fn new(jid: FullJid, lang: Option<Lang>, wire: &Wire) -> Self {
        Self {
            jid,
            lang,
            heard: wire.now,
            keepalive_at: wire.now.plus(wire.settings.idle.keepalive_ms),
            has_sent: false,
            answer_by: None,
            is_asked_again: false,
            questions: 0,
            counts: None,
        }
    }

    /// A session that goes on after its former stream broke (XEP-0198 §5).
    pub(super) fn resumed(jid: FullJid, lang: Option<Lang>, received: u64, wire: &Wire) -> Self {
        let counts = Some(Box::new(Counts::resumed(received)));
        Self { counts, ..Self::new(jid, lang, wire) }
    }

    pub(super) const fn jid(&self) -> &FullJid {
        &self.jid
    }

    pub(super) fn handle_frame(&mut self, frame: Frame, wire: &mut Wire) -> Result<(), Fault> {
        if !is_stanza(&frame) {
            if Element::is(frame.root()) {
                return self.manage(frame.root(), wire);
            }
            if let Some(state) = ClientState::read(frame.root()) {
                wire.emit(Event::Indicated(state));
                return Ok(());
            }
            return Err(stray(frame.root(), Misbehaviour::UnknownElement));
        }
        if let Some(counts) = &mut self.counts {
            counts.received += 1;
        }
        // §8.1.2.1: the full address, or the bare one where subscriptions are concerned.
        let mut stanza = match Stanza::from_frame_by(frame, self.jid.as_jid()) {
            Ok(stanza) => stanza,
            Err(BadStanza::Refused(mut refusal)) => {
                refusal.head.from = Some(self.jid.clone().into());
                self.reply(refusal.reply(), wire);
                return Ok(());
            }
            Err(bad) => return answer_refused(bad, Some(self.jid.as_jid()), wire),
        };
        if stanza.presence_type().is_some_and(PresenceType::is_subscription) {
            stanza.head.from = Some(self.jid.to_bare().into());
        }
        if stanza.head.lang.is_none() {
            stanza.head.lang.clone_from(&self.lang);
        }
        if self.answers_itself(&stanza, wire) {
            return Ok(());
        }
        wire.emit(Event::Stanza(stanza));
        Ok(())
    }

    /// Notes that the client is there.
    pub(super) fn hear(&mut self, now: Millis) {
        self.heard = now;
        self.answer_by = None;
    }

    /// Notes that we sent a stanza; whether the client is to be asked whether it has it.
    pub(super) fn note_sent(&mut self, now: Millis) -> bool {
        self.has_sent = true;
        self.counts.as_mut().is_some_and(|counts| counts.note_sent(now))
    }

    /// Starts counting (XEP-0198 §3).
    pub(super) fn enable(&mut self, id: Option<&str>, max_secs: u32, wire: &mut Wire) {
        wire.write(|w| xep0198_sm::write_enabled(w, id, max_secs));
        self.count();
    }

    /// Counts from here on; the client has been told, or is told elsewhere.
    pub(super) fn count(&mut self) {
        self.counts = Some(Box::default());
    }

    /// Stanzas that came since stream management is on.
    pub(super) fn received(&self) -> u64 {
        self.counts.as_ref().map_or(0, |counts| counts.received)
    }

    /// XEP-0198 once a resource is bound.
    fn manage(&mut self, root: ElementRef<'_>, wire: &mut Wire) -> Result<(), Fault> {
        let element = Element::read(root);
        match (element, &mut self.counts) {
            (Some(Element::Enable { resume, max_secs }), None) => {
                wire.emit(Event::Enable { resume, max_secs });
            }
            (Some(Element::Request), Some(_)) => wire.emit(Event::AckRequested),
            (Some(Element::Ack(h)), Some(counts)) => {
                counts.note_answer(wire.now);
                wire.emit(Event::Acked(h));
            }
            // What was asked of us cannot be read; the counts are of no more use.
            (None, Some(_)) if matches!(root.name(), "a" | "r") => {
                return Err(Fault::Peer(Misbehaviour::BadAck));
            }
            (None, _) if matches!(root.name(), "enable" | "resume") => {
                wire.write(|w| xep0198_sm::write_failed(w, Condition::BadRequest, None));
            }
            (None, None) if root.name() == "a" => {
                wire.write(|w| xep0198_sm::write_failed(w, Condition::UnexpectedRequest, None));
            }
            (None, _) => return Err(Fault::Peer(Misbehaviour::UnknownElement)),
            _ => wire.write(|w| xep0198_sm::write_failed(w, Condition::UnexpectedRequest, None)),
        }
        Ok(())
    }

    /// Answers a stanza. Where stanzas are counted the answer takes its place among the others.
    fn reply(&self, stanza: Stanza, wire: &mut Wire) {
        if self.counts.is_some() {
            wire.emit(Event::Reply(stanza));
        } else {
            wire.write_stanza(&stanza);
        }
    }

    fn ask_for_ack(&mut self, wire: &mut Wire) {
        if let Some(counts) = &mut self.counts {
            counts.ask();
            wire.write(|w| {
                w.leaf("r", ns::SM);
            });
        }
    }

    pub(super) fn next_timeout(&self, idle: &Idle) -> Option<Millis> {
        let probe =
            self.answer_by.or_else(|| (idle.after_ms > 0).then(|| self.heard.plus(idle.after_ms)));
        let keepalive = (idle.keepalive_ms > 0).then_some(self.keepalive_at);
        let ask = self.counts.as_ref().and_then(|counts| counts.ask_at());
        probe.into_iter().chain(keepalive).chain(ask).min()
    }

    pub(super) fn handle_timeout(&mut self, wire: &mut Wire) -> Result<(), Fault> {
        let idle = wire.settings.idle;
        let now = wire.now;
        if self.answer_by.is_some_and(|by| by <= now) {
            if !std::mem::take(&mut self.is_asked_again) {
                return Err(Fault::Timeout(Wait::Answer));
            }
            self.answer_by = Some(now.plus(idle.answer_wait_ms.div_ceil(2)));
            self.ask(Question::Ping, wire);
        }
        if self.counts.as_ref().and_then(|counts| counts.ask_at()).is_some_and(|at| at <= now) {
            self.ask_for_ack(wire);
        }
        let is_silent = idle.after_ms > 0 && self.heard.plus(idle.after_ms) <= now;
        if is_silent && self.answer_by.is_none() {
            self.probe(&idle, wire);
        }
        if idle.keepalive_ms > 0 && self.keepalive_at <= now {
            if !std::mem::take(&mut self.has_sent) {
                wire.out().push(b' ');
            }
            self.keepalive_at = now.plus(idle.keepalive_ms);
        }
        Ok(())
    }

    fn probe(&mut self, idle: &Idle, wire: &mut Wire) {
        self.has_sent = true;
        match idle.probe {
            // A question about stanzas is one more sign of life, and no stanza itself.
            Probe::Question if self.counts.is_some() => {
                self.ask_for_ack(wire);
                self.answer_by = Some(wire.now.plus(idle.answer_wait_ms));
                self.is_asked_again = false;
            }
            Probe::Question => {
                self.ask(Question::Version, wire);
                self.answer_by = Some(wire.now.plus(idle.answer_wait_ms / 2));
                self.is_asked_again = true;
            }
            // Nobody answers a space: the silence starts again.
            Probe::Whitespace => {
                wire.out().push(b' ');
                self.heard = wire.now;
            }
        }
    }

    fn ask(&mut self, question: Question, wire: &mut Wire) {
        self.questions = self.questions.wrapping_add(1);
        if let Some(stanza) = question.ask(&self.jid, self.questions) {
            wire.write_stanza(&stanza);
        }
    }

    /// Whether the stanza concerns the stream itself and is dealt with here.
    fn answers_itself(&self, stanza: &Stanza, wire: &mut Wire) -> bool {
        let Kind::Iq(kind) = stanza.head.kind else { return false };
        let is_to_server =
            stanza.head.to.as_ref().is_none_or(|to| to.as_str() == self.jid.domain());
        if !is_to_server {
            return false;
        }
        if !kind.is_request() {
            return self.questions > 0 && question::is_answer(stanza, self.questions);
        }
        if stanza.has_child(ns::BIND, "bind") {
            // §7.3: one stream, one resource.
            let error = StanzaError::new(Condition::NotAllowed);
            if let Some(reply) = stanza.reply_error(&error) {
                self.reply(reply, wire);
            }
            return true;
        }
        // RFC 6121 Appendix E: the session step of RFC 3921 does nothing.
        let is_session = kind == IqType::Set && stanza.has_child(ns::SESSION, "session");
        if is_session {
            self.reply(stanza.reply_result(|_| ()), wire);
        }
        is_session
    }
}

fn is_stanza(frame: &Frame) -> bool {
    frame.root().ns() == stentor_xml::ns::CLIENT
        && matches!(frame.root().name(), "message" | "presence" | "iq")
}
