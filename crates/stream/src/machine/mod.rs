//! What the machines of streams that speak for whole domains have in common: those of other
//! servers, both ends, and those of components.
//!
//! [`Machine`] is what a shell does with any of them. What they differ in stands in their own
//! files, behind [`Steps`]; how such a stream ends is the same for all and stands here.

mod wire;

use stentor_xml::{ElementRef, Item, ns as xml_ns};

pub(crate) use self::wire::{Close, Wire};
use crate::Millis;
use crate::fault::{Fault, PeerError};
use crate::framing::tcp;

/// What a machine tells its shell.
pub trait Says {
    /// One thing that it says.
    type Event: From<Ending>;
}

/// The machine of a stream that carries stanzas of domains, as its shell drives it.
pub trait Machine: Says {
    /// Reads what the peer sent, as far as it may be read now; the rest stays in `input` for when
    /// [`Machine::may_read`] says so. Behind the end of the stream it is thrown away, and behind a
    /// `<starttls/>` of the peer's (RFC 6120 §5.4.3.3); behind `<proceed/>` it belongs to the
    /// handshake.
    fn handle_bytes(&mut self, input: &mut &[u8], now: Millis);

    /// Tells that the connection broke, or that the peer sent its last byte.
    fn handle_eof(&mut self, now: Millis);

    /// When [`Machine::handle_timeout`] is due.
    fn poll_timeout(&self) -> Option<Millis>;

    /// Does what the time demands.
    fn handle_timeout(&mut self, now: Millis);

    /// The next thing that the shell must do or know.
    fn poll_event(&mut self) -> Option<Self::Event>;

    /// Moves what the machine wants to write behind what is in `out`.
    fn take_output(&mut self, out: &mut Vec<u8>);

    /// Ends the stream, with an error if there is a fault. [`Ending::Ended`] follows.
    fn close(&mut self, fault: Option<Fault>, now: Millis);

    /// Whether [`Machine::handle_bytes`] would read anything now.
    fn may_read(&self) -> bool;

    /// Whether the stream is over; the last output and events may still wait.
    fn is_ended(&self) -> bool;
}

/// How a stream comes to its end.
#[derive(Debug)]
pub enum Ending {
    /// The peer closed its stream. What is still owed may be sent, then `close` is due.
    PeerClosed,
    /// The stream is over: write what `take_output` has, then close the connection. Whatever was
    /// asked and not answered has failed.
    Ended {
        /// Why, if not for an ordinary close.
        fault: Option<Fault>,
        /// Whether the peer ended it first.
        by_peer: bool,
    },
}

/// What a machine does itself while neither side has closed.
pub(crate) trait Steps: Says {
    fn wire(&self) -> &Wire<Self::Event>;
    fn wire_mut(&mut self) -> &mut Wire<Self::Event>;

    /// Whether input is welcome in this phase.
    fn is_listening(&self) -> bool;

    /// Whether input that cannot be read in this phase is never to be read.
    fn is_discarding(&self) -> bool {
        false
    }

    /// Whether a TLS handshake is under way, which leaves no room for XML (RFC 6120 §5.4.3.2).
    fn is_in_handshake(&self) -> bool {
        false
    }

    fn handle_item(&mut self, item: Item) -> Result<(), Fault>;

    /// When [`Steps::handle_due`] is due.
    fn due(&self) -> Option<Millis>;
    fn handle_due(&mut self) -> Result<(), Fault>;

    /// Notes that the peer has sent something.
    fn hear(&mut self) {}

    /// Writes what comes before the last words: an error has a stream round it (§4.9.1.2).
    fn begin_last_words(&mut self) {}

    /// Takes the outcome of a step: a fault ends the stream.
    fn go_on(&mut self, outcome: Result<(), Fault>) {
        if let Err(fault) = outcome {
            self.finish(Some(fault));
        }
    }

    /// Reads the end of a stream that ended with its header, where that had to wait for an answer.
    fn read_owed_end(&mut self)
    where
        Self: Sized,
    {
        if self.wire().scanner.owes_end() {
            let now = self.wire().now;
            self.handle_bytes(&mut &[][..], now);
        }
    }

    fn handle_end(&mut self) {
        match self.wire_mut().close {
            Close::Closing(..) => self.end_closing(),
            Close::Owing(_) | Close::Ended => {}
            Close::Open => {
                let wire = self.wire_mut();
                wire.close = Close::Owing(wire.now.plus(wire.close_wait_ms));
                wire.events.push_back(Ending::PeerClosed.into());
            }
        }
    }

    /// Says the last words of our side and waits for the peer's, unless it has said them.
    fn finish(&mut self, fault: Option<Fault>) {
        let is_by_peer = matches!(fault, Some(Fault::ByPeer(_)));
        let is_deaf = fault.as_ref().is_some_and(Fault::is_deaf);
        let has_peer_closed = matches!(self.wire().close, Close::Owing(_));
        match &mut self.wire_mut().close {
            Close::Closing(_, first) => {
                if is_deaf || is_by_peer {
                    let fault = first.take().or(fault);
                    self.end(fault, is_by_peer);
                }
                return;
            }
            Close::Ended => return,
            Close::Open | Close::Owing(_) => {}
        }
        if self.is_in_handshake() {
            return self.end(fault, false);
        }
        self.begin_last_words();
        let wire = self.wire_mut();
        if let Some(fault) = &fault {
            fault.write(&mut wire.out);
        }
        tcp::write_end(&mut wire.out);
        if has_peer_closed || is_by_peer || is_deaf {
            return self.end(fault, has_peer_closed || is_by_peer);
        }
        wire.close = Close::Closing(wire.now.plus(wire.close_wait_ms), fault);
    }

    /// Ends a stream that we closed and the peer has nothing more to say on.
    fn end_closing(&mut self) {
        if let Close::Closing(_, fault) = &mut self.wire_mut().close {
            let fault = fault.take();
            self.end(fault, false);
        }
    }

    fn end(&mut self, fault: Option<Fault>, by_peer: bool) {
        let wire = self.wire_mut();
        wire.close = Close::Ended;
        wire.events.push_back(Ending::Ended { fault, by_peer }.into());
    }
}

impl<S: Steps> Machine for S {
    fn handle_bytes(&mut self, input: &mut &[u8], now: Millis) {
        self.wire_mut().now = now;
        if !input.is_empty() {
            self.hear();
        }
        while (!input.is_empty() || self.wire().scanner.owes_end()) && self.may_read() {
            match self.wire_mut().scanner.feed(input) {
                Ok(Some(Item::End)) => self.handle_end(),
                // After our last words nothing more is acted upon.
                Ok(Some(_)) if !self.wire().is_open() => {}
                Ok(Some(item)) => {
                    let outcome = self.handle_item(item);
                    self.go_on(outcome);
                }
                Ok(None) => break,
                Err(malformed) => self.finish(Some(Fault::Xml(malformed))),
            }
        }
        let is_over = matches!(self.wire().close, Close::Owing(_) | Close::Ended);
        if is_over || self.is_discarding() {
            *input = &[];
        }
    }

    fn handle_eof(&mut self, now: Millis) {
        self.wire_mut().now = now;
        match self.wire().close {
            Close::Open => self.end(Some(Fault::Lost), true),
            Close::Owing(_) => self.finish(None),
            Close::Closing(..) => self.end_closing(),
            Close::Ended => {}
        }
    }

    fn poll_timeout(&self) -> Option<Millis> {
        match self.wire().close {
            Close::Open => self.due(),
            Close::Owing(until) | Close::Closing(until, _) => Some(until),
            Close::Ended => None,
        }
    }

    fn handle_timeout(&mut self, now: Millis) {
        self.wire_mut().now = now;
        match self.wire().close {
            Close::Open => {
                let outcome = self.handle_due();
                self.go_on(outcome);
            }
            Close::Owing(until) if until <= now => self.finish(None),
            Close::Closing(until, _) if until <= now => self.end_closing(),
            Close::Owing(_) | Close::Closing(..) | Close::Ended => {}
        }
    }

    fn poll_event(&mut self) -> Option<Self::Event> {
        self.wire_mut().events.pop_front()
    }

    fn take_output(&mut self, out: &mut Vec<u8>) {
        self.wire_mut().take_output(out);
    }

    fn close(&mut self, fault: Option<Fault>, now: Millis) {
        self.wire_mut().now = now;
        self.finish(fault);
    }

    fn may_read(&self) -> bool {
        let reads = match self.wire().close {
            Close::Open => self.is_listening(),
            Close::Closing(..) => true,
            Close::Owing(_) | Close::Ended => false,
        };
        reads && self.wire().has_room()
    }

    fn is_ended(&self) -> bool {
        matches!(self.wire().close, Close::Ended)
    }
}

/// The fault of a stream that the peer ends with this element (RFC 6120 §4.9).
pub(crate) fn error_of_peer(root: ElementRef<'_>) -> Option<Fault> {
    root.is(xml_ns::STREAM, "error").then(|| Fault::ByPeer(Box::new(PeerError::read(root))))
}
