//! Stream management at the end of who was connected to (XEP-0198).

use stentor_stanza::Condition;
use stentor_xml::ElementRef;

use super::{Ask, Event, Incoming};
use crate::Millis;
use crate::fault::{Fault, Misbehaviour};
use crate::s2s::Tally;
use crate::s2s::xep0198_sm::{self, Management};
use crate::xep0198_sm::{self as elements, Element as Managed, wrapped};

impl Incoming {
    /// What has been counted; none while stream management is off.
    #[must_use]
    pub fn tally(&self) -> Option<Tally> {
        self.management.as_ref().map(|management| management.tally())
    }

    /// Tells the peer that so many of its stanzas have been handled, in all.
    pub fn acknowledge(&mut self, handled: u64) {
        if self.management.is_some() && self.wire.may_speak() {
            self.wire.write(|w| elements::write_ack(w, wrapped(handled)));
        }
    }

    /// Asks what the peer has, unless it has been asked.
    pub fn ask_for_ack(&mut self, now: Millis) {
        if let (Some(management), true) = (&mut self.management, self.wire.may_speak()) {
            self.wire.write(|w| management.ask(now, w));
        }
    }

    /// XEP-0198, once a pair is authorized.
    pub(super) fn manage(&mut self, root: ElementRef<'_>) -> Result<(), Fault> {
        let offer = self.offer.clone().unwrap_or_default();
        let is_in_turn = offer.management.is_some() && !self.pairs.is_empty();
        match (Managed::read(root), &mut self.management) {
            (Some(Managed::Enable { resume, .. }), None) if is_in_turn => {
                let max_secs = offer.management.unwrap_or_default();
                let id = (resume && max_secs > 0).then(|| (self.make_id)());
                let id = id.filter(|id| !id.is_empty());
                self.wire.write(|w| elements::write_enabled(w, id.as_deref(), max_secs));
                self.count(Tally::default());
                self.wire.events.push_back(Event::Managed(id));
            }
            (Some(Managed::Resume { h, previd }), None) if is_in_turn => {
                self.resuming = Some((previd.clone(), h));
                self.wire.events.push_back(Event::Ask(Ask::Resume { previd }));
            }
            (Some(Managed::Request), Some(_)) => self.wire.events.push_back(Event::AckRequested),
            (Some(Managed::Ack(h)), Some(management)) => {
                let acked = management.ack(h, self.wire.now)?;
                self.wire.events.push_back(Event::Acked(acked));
            }
            (None, Some(_)) if matches!(root.name(), "a" | "r") => {
                return Err(Fault::Peer(Misbehaviour::BadAck));
            }
            (None, _) if matches!(root.name(), "enable" | "resume") => {
                self.wire.write(|w| xep0198_sm::refuse(w, Condition::BadRequest));
            }
            (None, _) if root.name() != "a" => {
                return Err(Fault::Peer(Misbehaviour::UnknownElement));
            }
            _ => self.wire.write(|w| xep0198_sm::refuse(w, Condition::UnexpectedRequest)),
        }
        Ok(())
    }

    fn count(&mut self, tally: Tally) -> &mut Management {
        let management = Management::new(tally, self.settings.silence, self.wire.now);
        self.management.insert(Box::new(management))
    }

    /// XEP-0198 §5: the stream goes on for an earlier one, or not.
    pub(super) fn resume(&mut self, former: Result<Tally, Option<u64>>) -> Result<(), Fault> {
        let Some((previd, h)) = self.resuming.take() else { return Ok(()) };
        match former {
            Ok(tally) => {
                let now = self.wire.now;
                let acked = self.count(tally).resume(h, now)?;
                let handled = wrapped(tally.received);
                self.wire.write(|w| elements::write_resumed(w, &previd, handled));
                self.wire.events.push_back(Event::Acked(acked));
            }
            Err(handled) => {
                let condition = Condition::ItemNotFound;
                let handled = handled.map(wrapped);
                self.wire.write(|w| elements::write_failed(w, condition, handled));
            }
        }
        Ok(())
    }
}
