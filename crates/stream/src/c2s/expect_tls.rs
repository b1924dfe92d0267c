//! STARTTLS is due (RFC 6120 §5).

use stentor_xml::{ElementRef, Frame};

use super::expect_header::ExpectHeader;
use super::known::Known;
use super::wire::Wire;
use super::{Next, State, TlsInfo, expect_auth, stray};
use crate::event::Event;
use crate::fault::{Fault, Misbehaviour};
use crate::feature::Bits;
use crate::{ns, xep0388_sasl2};

/// Waits for `<starttls/>`, then for the handshake.
#[derive(Default)]
pub(super) struct ExpectTls {
    is_shaking_hands: bool,
}

impl ExpectTls {
    pub(super) const fn is_shaking_hands(&self) -> bool {
        self.is_shaking_hands
    }

    pub(super) fn handle_frame(
        &self,
        frame: &Frame,
        known: &mut Known,
        wire: &mut Wire,
    ) -> Result<Next, Fault> {
        let root = frame.root();
        if root.is(ns::TLS, "starttls") {
            return begin(root, known, wire);
        }
        if root.is(ns::SASL, "auth") || root.is(xep0388_sasl2::NS, "authenticate") {
            return expect_auth::refuse_unencrypted(root, known, wire);
        }
        Err(stray(root, Misbehaviour::StanzaBeforeTls))
    }

    pub(super) fn handle_tls(&self, tls: TlsInfo, known: &mut Known, wire: &mut Wire) -> Next {
        if !self.is_shaking_hands {
            return Next::Stay;
        }
        known.tls = Some(tls);
        known.host = None;
        known.restart(wire);
        Next::Go(State::Header(ExpectHeader::default()))
    }
}

/// Answers `<starttls/>`, here and where TLS is offered and not required.
pub(super) fn begin(
    starttls: ElementRef<'_>,
    known: &Known,
    wire: &mut Wire,
) -> Result<Next, Fault> {
    let bits = known.bits();
    let is_offered = bits.has(Bits::CERTIFICATE) && !bits.has(Bits::TLS);
    if !is_offered || starttls.first_child().is_some() || starttls.has_text() {
        return Err(Fault::Peer(Misbehaviour::StartTlsRefused));
    }
    wire.write(|w| {
        w.leaf("proceed", ns::TLS);
    });
    wire.emit(Event::StartTls);
    Ok(Next::Go(State::Tls(ExpectTls { is_shaking_hands: true })))
}
