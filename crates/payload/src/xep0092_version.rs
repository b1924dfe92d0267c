//! XEP-0092: Software Version, version 1.1.
//!
//! The question for name and version.
//! Implements: §3 (the question). The answer is the module's.
//! Left out: nothing.

use stentor_stanza::StanzaError;
use stentor_xml::{ElementRef, Writer};

use crate::{Decode, Encode};

/// What software is this?
#[derive(Clone, Copy, Debug)]
pub struct Ask;

impl Decode for Ask {
    const NS: &'static str = NS;
    const NAME: &'static str = "query";

    fn decode(_: ElementRef<'_>) -> Result<Self, StanzaError> {
        Ok(Self)
    }
}

impl Encode for Ask {
    fn encode(&self, w: &mut Writer) {
        w.leaf(Self::NAME, NS);
    }
}

/// The namespace of software versions.
pub const NS: &str = "jabber:iq:version";
