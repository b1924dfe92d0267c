//! XEP-0199: XMPP Ping, version 2.0.1.
//!
//! The question whether somebody is there.
//! Implements: §3 (the element).
//! Left out: nothing.

use stentor_stanza::StanzaError;
use stentor_xml::{ElementRef, Writer};

use crate::{Decode, Encode};

/// Is somebody there?
#[derive(Clone, Copy, Debug)]
pub struct Ping;

impl Decode for Ping {
    const NS: &'static str = NS;
    const NAME: &'static str = "ping";

    fn decode(_: ElementRef<'_>) -> Result<Self, StanzaError> {
        Ok(Self)
    }
}

impl Encode for Ping {
    fn encode(&self, w: &mut Writer) {
        w.leaf(Self::NAME, NS);
    }
}

/// The namespace of pings.
pub const NS: &str = "urn:xmpp:ping";
