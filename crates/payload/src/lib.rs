//! Typed elements of RFC 6121 and the XEPs, one file each: how they are read and written, and
//! nothing of what is done with them.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod limits;
pub mod xep0004_forms;
pub mod xep0012_last;
pub mod xep0016_privacy;
pub mod xep0030_disco;
pub mod xep0033_address;
pub mod xep0050_commands;
pub mod xep0059_rsm;
pub mod xep0060_pubsub;
pub mod xep0077_register;
pub mod xep0082_time;
pub mod xep0092_version;
pub mod xep0115_caps;
pub mod xep0191_blocking;
pub mod xep0199_ping;
pub mod xep0203_delay;
pub mod xep0280_carbons;
pub mod xep0297_forward;
pub mod xep0334_hints;
pub mod xep0352_csi;
pub mod xep0357_push;
pub mod xep0359_sid;
pub mod xep0372_references;
pub mod xep0377_reports;

use stentor_stanza::StanzaError;
use stentor_xml::{ElementRef, Writer};

/// An element that can be read from a request.
pub trait Decode: Sized + Send {
    /// The element's namespace.
    const NS: &'static str;
    /// The element's local name.
    const NAME: &'static str;

    /// Reads the element, whose name the caller has checked.
    ///
    /// # Errors
    /// What the requester gets: `bad-request` unless the specification names something else.
    fn decode(element: ElementRef<'_>) -> Result<Self, StanzaError>;
}

/// The payload of an answer.
pub trait Encode: Send {
    /// Writes the element; nothing for an empty answer.
    fn encode(&self, w: &mut Writer);
}

impl Encode for () {
    fn encode(&self, _: &mut Writer) {}
}

impl<T: Encode> Encode for Option<T> {
    fn encode(&self, w: &mut Writer) {
        if let Some(some) = self {
            some.encode(w);
        }
    }
}
