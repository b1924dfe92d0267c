//! A bound session: stanzas both ways (RFC 6120 §8), and the watch over silent clients (§4.6).

use smol_str::SmolStr;
use stentor_jid::FullJid;
use stentor_stanza::{Condition, IqType, Kind, PresenceType, Stanza, StanzaError};
use stentor_xml::Frame;

use super::wire::Wire;
use super::{Idle, Probe, answer_refused, stray};
use crate::event::Event;
use crate::fault::{Fault, Misbehaviour, Wait};
use crate::{Millis, ns, xep0199_ping};

/// What an idle session costs, beside the scanner.
pub(super) struct Established {
    jid: FullJid,
    /// The default language of the client's stanzas (§4.7.4).
    lang: Option<SmolStr>,
    /// When the client was last heard.
    heard: Millis,
    /// When to send the next space, if we stay quiet until then.
    keepalive_at: Millis,
    /// Whether we sent anything since `keepalive_at` was set.
    has_sent: bool,
    /// Until when the client may answer the probe; none while none is out.
    answer_by: Option<Millis>,
    /// How many pings were sent.
    pings: u32,
}

impl Established {
    pub(super) fn new(jid: FullJid, lang: Option<SmolStr>, wire: &Wire) -> Self {
        Self {
            jid,
            lang,
            heard: wire.now,
            keepalive_at: wire.now.plus(wire.settings.idle.keepalive_ms),
            has_sent: false,
            answer_by: None,
            pings: 0,
        }
    }

    pub(super) const fn jid(&self) -> &FullJid {
        &self.jid
    }

    pub(super) fn handle_frame(&mut self, frame: Frame, wire: &mut Wire) -> Result<(), Fault> {
        if !is_stanza(&frame) {
            return Err(stray(frame.root(), Misbehaviour::UnknownElement));
        }
        // §8.1.2.1: the full address, or the bare one where subscriptions are concerned.
        let mut stanza = match Stanza::from_frame_by(frame, self.jid.as_jid()) {
            Ok(stanza) => stanza,
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

    /// Notes that we sent something.
    pub(super) const fn note_sent(&mut self) {
        self.has_sent = true;
    }

    pub(super) fn next_timeout(&self, idle: &Idle) -> Option<Millis> {
        let probe =
            self.answer_by.or_else(|| (idle.after_ms > 0).then(|| self.heard.plus(idle.after_ms)));
        let keepalive = (idle.keepalive_ms > 0).then_some(self.keepalive_at);
        probe.into_iter().chain(keepalive).min()
    }

    pub(super) fn handle_timeout(&mut self, wire: &mut Wire) -> Result<(), Fault> {
        let idle = wire.settings.idle;
        let now = wire.now;
        if self.answer_by.is_some_and(|by| by <= now) {
            return Err(Fault::Timeout(Wait::Answer));
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
            Probe::Ping => {
                self.pings = self.pings.wrapping_add(1);
                if let Some(ping) = xep0199_ping::ask(&self.jid, self.pings) {
                    wire.write_stanza(&ping);
                }
                self.answer_by = Some(wire.now.plus(idle.answer_wait_ms));
            }
            // Nobody answers a space: the silence starts again.
            Probe::Whitespace => {
                wire.out().push(b' ');
                self.heard = wire.now;
            }
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
            return self.pings > 0 && xep0199_ping::is_answer(stanza, self.pings);
        }
        if stanza.has_child(ns::BIND, "bind") {
            // §7.3: one stream, one resource.
            let error = StanzaError::new(Condition::NotAllowed);
            if let Some(reply) = stanza.reply_error(&error) {
                wire.write_stanza(&reply);
            }
            return true;
        }
        // RFC 6121 Appendix E: the session step of RFC 3921 does nothing.
        let is_session = kind == IqType::Set && stanza.has_child(ns::SESSION, "session");
        if is_session {
            wire.write_stanza(&stanza.reply_result(|_| ()));
        }
        is_session
    }
}

fn is_stanza(frame: &Frame) -> bool {
    frame.root().ns() == stentor_xml::ns::CLIENT
        && matches!(frame.root().name(), "message" | "presence" | "iq")
}
