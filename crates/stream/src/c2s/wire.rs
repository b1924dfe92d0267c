//! What every state of the machine works with: the scanner, the output, the events.

use std::mem;
use std::sync::Arc;

use stentor_stanza::Stanza;
use stentor_xml::{Scanner, Writer};

use super::Settings;
use crate::event::{Ask, Event};
use crate::{Millis, limits};

pub(super) struct Wire {
    pub(super) settings: Arc<Settings>,
    pub(super) scanner: Scanner,
    /// The last time that the shell told.
    pub(super) now: Millis,
    out: Vec<u8>,
    /// The next event; inline, because a stanza passes here each time.
    event: Option<Event>,
    /// Events behind it; almost always none.
    more: Vec<Event>,
}

impl Wire {
    pub(super) fn new(settings: Arc<Settings>, now: Millis) -> Self {
        let scanner = Scanner::new(settings.limits_before_auth);
        Self { settings, scanner, now, out: Vec::new(), event: None, more: Vec::new() }
    }

    pub(super) fn emit(&mut self, event: Event) {
        if self.event.is_none() {
            self.event = Some(event);
        } else {
            self.more.push(event);
        }
    }

    pub(super) fn ask(&mut self, ask: Ask) {
        self.emit(Event::Ask(ask));
    }

    pub(super) fn next_event(&mut self) -> Option<Event> {
        let event = self.event.take()?;
        if self.more.is_empty() {
            self.more = Vec::new();
        } else {
            self.event = Some(self.more.remove(0));
        }
        Some(event)
    }

    /// Whether the shell has nothing to fetch first.
    pub(super) fn has_room(&self) -> bool {
        self.event.is_none() && self.out.len() < limits::OUTPUT_BYTES_MAX
    }

    pub(super) const fn out(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// Writes with a [`Writer`] at the first level of the stream.
    pub(super) fn write(&mut self, f: impl FnOnce(&mut Writer)) {
        let mut w = Writer::over(mem::take(&mut self.out));
        f(&mut w);
        self.out = w.into_bytes();
    }

    pub(super) fn write_stanza(&mut self, stanza: &Stanza) {
        stanza.write(&mut self.out);
    }

    /// Moves what is to be written; no buffer stays behind on an idle stream.
    pub(super) fn take_output(&mut self, out: &mut Vec<u8>) {
        if out.is_empty() {
            mem::swap(out, &mut self.out);
        } else {
            out.extend_from_slice(&self.out);
        }
        self.out = Vec::new();
    }
}
