//! What both ends of a stream between servers work with: scanner, output, events.

use std::collections::VecDeque;
use std::mem;

use stentor_xml::{Content, Limits, Scanner, Writer, ns as xml_ns};

use crate::framing::{OurHeader, tcp};
use crate::opening::SUPPORTED_VERSION;
use crate::{Millis, limits, ns};

pub(super) struct Wire<E> {
    pub(super) scanner: Scanner,
    /// The last time that the shell told.
    pub(super) now: Millis,
    pub(super) out: Vec<u8>,
    pub(super) events: VecDeque<E>,
}

impl<E> Wire<E> {
    pub(super) fn new(limits: Limits, now: Millis) -> Self {
        let mut scanner = Scanner::new(limits);
        scanner.set_content(Content::Server);
        Self { scanner, now, out: Vec::new(), events: VecDeque::new() }
    }

    /// Whether the shell has nothing to fetch first.
    pub(super) fn has_room(&self) -> bool {
        self.events.is_empty() && self.out.len() < limits::OUTPUT_BYTES_MAX
    }

    /// Writes with a [`Writer`] at the first level of the stream.
    pub(super) fn write(&mut self, f: impl FnOnce(&mut Writer)) {
        let mut w = Writer::over(mem::take(&mut self.out));
        f(&mut w);
        self.out = w.into_bytes();
    }

    /// Writes our header. It declares the prefix of dialback (XEP-0220 §2.4.1).
    pub(super) fn write_header(&mut self, from: &str, to: Option<&str>, id: Option<&str>) {
        let header = OurHeader {
            content_ns: xml_ns::SERVER,
            from: Some(from),
            to,
            id,
            version: Some(SUPPORTED_VERSION),
            lang: "en",
        };
        tcp::write_header(&mut self.out, &header);
        // Behind the other attributes: the tag is still open but for its last byte.
        self.out.pop();
        self.out.extend_from_slice(b" xmlns:db='");
        self.out.extend_from_slice(ns::DIALBACK.as_bytes());
        self.out.extend_from_slice(b"'>");
    }
}
