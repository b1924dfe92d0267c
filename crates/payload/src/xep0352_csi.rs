//! XEP-0352: Client State Indication, version 1.0.0.
//!
//! What a client says about whether somebody looks at it.
//! Implements: §4.1 (the feature), §4.2 (the indications).
//! Left out: nothing. What a server makes of it is `engine/src/outbox/hold.rs`.
//! Status: complete

use stentor_xml::ElementRef;

/// Whether somebody looks at a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientState {
    /// Somebody does, or nothing is known.
    Active,
    /// Nobody does.
    Inactive,
}

impl ClientState {
    /// The state that an element indicates; none if it is no indication.
    #[must_use]
    pub fn read(element: ElementRef<'_>) -> Option<Self> {
        match element.name() {
            "active" if element.ns() == NS => Some(Self::Active),
            "inactive" if element.ns() == NS => Some(Self::Inactive),
            _ => None,
        }
    }
}

/// The namespace of indications, and the feature.
pub const NS: &str = "urn:xmpp:csi:0";

#[cfg(test)]
mod tests {
    use stentor_xml::Frame;

    use super::*;

    #[test]
    fn s4_2_there_are_two_indications() {
        let read = |xml: &str| ClientState::read(Frame::parse(xml.as_bytes()).unwrap().root());
        assert_eq!(read("<active xmlns='urn:xmpp:csi:0'/>"), Some(ClientState::Active));
        assert_eq!(read("<inactive xmlns='urn:xmpp:csi:0'/>"), Some(ClientState::Inactive));
        assert_eq!(read("<csi xmlns='urn:xmpp:csi:0'/>"), None);
        assert_eq!(read("<active xmlns='urn:example:other'/>"), None);
    }
}
