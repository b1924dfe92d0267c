//! Stream management at the end of who connected (XEP-0198).

use std::mem;

use stentor_xml::ElementRef;

use super::{Event, How, Outgoing, Pair};
use crate::Millis;
use crate::fault::{Fault, Misbehaviour};
use crate::s2s::Tally;
use crate::s2s::xep0198_sm::{self, Management, Reply};
use crate::xep0198_sm::{self as elements, Element as Managed, wrapped};

/// How far stream management has got (XEP-0198).
pub(super) enum Managing {
    Off,
    /// The peer has been asked for it; with the pairs whose stanzas wait for the answer.
    Asked(Vec<(Pair, How)>),
    /// The peer does not want it.
    Refused,
    On(Box<Management>),
}

impl Outgoing {
    /// What has been counted; none while stream management is off.
    #[must_use]
    pub fn tally(&self) -> Option<Tally> {
        match &self.managing {
            Managing::On(management) => Some(management.tally()),
            _ => None,
        }
    }

    /// Tells the peer that so many of its stanzas have been handled, in all.
    pub fn acknowledge(&mut self, handled: u64) {
        if self.management().is_some() && self.wire.may_speak() {
            self.wire.write(|w| elements::write_ack(w, wrapped(handled)));
        }
    }

    /// Asks what the peer has, unless it has been asked.
    pub fn ask_for_ack(&mut self, now: Millis) {
        if let (Managing::On(management), true) = (&mut self.managing, self.wire.may_speak()) {
            self.wire.write(|w| management.ask(now, w));
        }
    }

    /// XEP-0198: the answer to what we asked for, and then acknowledgements.
    pub(super) fn manage(&mut self, root: ElementRef<'_>) -> Result<(), Fault> {
        let now = self.wire.now;
        match (&mut self.managing, Managed::read(root), Reply::read(root)) {
            (Managing::On(_), Some(Managed::Request), _) => {
                self.wire.events.push_back(Event::AckRequested);
            }
            (Managing::On(management), Some(Managed::Ack(h)), _) => {
                let acked = management.ack(h, now)?;
                self.wire.events.push_back(Event::Acked(acked));
            }
            (Managing::Asked(_), _, Some(Reply::Enabled { id, max_secs }))
                if self.former.is_none() =>
            {
                self.count(Tally::default(), None)?;
                self.wire.events.push_back(Event::Managed { id, max_secs });
                self.admit_all();
            }
            (Managing::Asked(_), _, Some(Reply::Resumed { h })) if self.former.is_some() => {
                let former = self.former.take().map(|former| former.tally).unwrap_or_default();
                let acked = self.count(former, Some(h))?;
                self.wire.events.push_back(Event::Resumed(acked));
                self.admit_all();
            }
            (Managing::Asked(_), _, Some(Reply::Failed { h })) => match self.former.take() {
                Some(former) => {
                    let mut counted = Management::new(former.tally, self.settings.silence, now);
                    let acked = h.and_then(|h| counted.ack(h, now).ok());
                    self.wire.events.push_back(Event::NotResumed(acked));
                    self.wire.write(xep0198_sm::write_enable);
                }
                None => {
                    self.admit_all();
                    self.managing = Managing::Refused;
                }
            },
            _ if matches!(root.name(), "a" | "r") => {
                return Err(Fault::Peer(Misbehaviour::BadAck));
            }
            _ => return Err(Fault::Peer(Misbehaviour::OutOfTurn)),
        }
        Ok(())
    }

    /// Counts from here on, or goes on for a former stream of which the peer has `h` stanzas.
    fn count(&mut self, tally: Tally, h: Option<u32>) -> Result<u64, Fault> {
        let now = self.wire.now;
        let mut management = Management::new(tally, self.settings.silence, now);
        let acked = h.map_or(Ok(0), |h| management.resume(h, now))?;
        let counting = Managing::On(Box::new(management));
        if let Managing::Asked(waiting) = mem::replace(&mut self.managing, counting) {
            self.granted = waiting;
        }
        Ok(acked)
    }

    fn admit_all(&mut self) {
        if let Managing::Asked(waiting) = &mut self.managing {
            self.granted = mem::take(waiting);
        }
        for (pair, how) in mem::take(&mut self.granted) {
            self.admit(pair, how);
        }
    }
}
