//! XEP-0012: Last Activity, version 2.0.
//!
//! The question since when somebody is away, and the answer.
//! Implements: §3 to §5 (the element).
//! Left out: nothing.
//! Status: complete

use stentor_stanza::StanzaError;
use stentor_xml::{ElementRef, Writer};

use crate::{Decode, Encode};

/// The question.
#[derive(Clone, Copy, Debug)]
pub struct Ask;

/// The answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Seconds since the last activity, or since the server was started.
    pub seconds: i64,
    /// The words with which somebody left.
    pub status: Option<String>,
}

impl Decode for Ask {
    const NS: &'static str = NS;
    const NAME: &'static str = "query";

    fn decode(_: ElementRef<'_>) -> Result<Self, StanzaError> {
        Ok(Self)
    }
}

impl Encode for Answer {
    fn encode(&self, w: &mut Writer) {
        w.open("query", NS).attr("seconds", &self.seconds.to_string());
        if let Some(status) = &self.status {
            w.text(status);
        }
        w.close();
    }
}

/// The namespace of both.
pub const NS: &str = "jabber:iq:last";
