//! The client's stream header is due (RFC 6120 §4.2, §4.7).

use stentor_jid::{BareJid, Jid, prep_domain};
use stentor_stanza::Lang;
use stentor_xml::{Header, ns as xml_ns};

use super::known::Known;
use super::wire::Wire;
use super::{Next, State, expect_auth::ExpectAuth, expect_bind::ExpectBind, expect_tls::ExpectTls};
use crate::event::{Answer, Ask};
use crate::fault::{Fault, Misbehaviour};
use crate::feature::Bits;
use crate::opening::{answered_version, is_lang, judge};

/// Waits for a header, then for what the shell says about the domain in it.
#[derive(Default)]
pub(super) struct ExpectHeader {
    is_asking: bool,
}

impl ExpectHeader {
    pub(super) const fn is_asking(&self) -> bool {
        self.is_asking
    }

    pub(super) fn handle_header(
        &mut self,
        header: &Header,
        known: &mut Known,
        wire: &mut Wire,
    ) -> Result<Next, Fault> {
        known.header_by = None;
        known.version = answered_version(header.version.as_deref());
        let from = header.from.as_deref().map(Jid::new).transpose();
        // §4.7.2: our `to` is the bare address of the client's `from`, in an error's header too.
        known.claimed = from.as_ref().ok().cloned().flatten().map(|from| from.to_bare());
        known.lang = header.lang.as_deref().filter(|lang| is_lang(lang)).map(Lang::from);
        judge(header, xml_ns::CLIENT).map_err(Fault::Peer)?;
        let to = match &header.to {
            Some(to) => Some(prep_domain(to).map_err(|_| Fault::HostUnknown)?.into_owned()),
            None => None,
        };
        if from.is_err() {
            return Err(Fault::Peer(Misbehaviour::BadFrom));
        }
        if let Some(account) = known.account.clone() {
            return resume(&account, to.as_deref(), known, wire);
        }
        // §5.4.3.3: nothing that was said before TLS counts, so the domain may be another one.
        known.host = None;
        let sni = known.tls.as_ref().and_then(|tls| tls.sni.as_deref());
        let host = to
            .or_else(|| sni.and_then(|sni| prep_domain(sni).ok()).map(|sni| sni.into_owned()))
            .or_else(|| wire.settings.default_host.clone())
            .ok_or(Fault::HostUnknown)?;
        self.is_asking = true;
        let from = known.claimed.clone().filter(|_| known.tls.is_some());
        wire.ask(Ask::Host { domain: host, from });
        Ok(Next::Stay)
    }

    pub(super) fn handle_answer(
        &mut self,
        answer: Answer,
        known: &mut Known,
        wire: &mut Wire,
    ) -> Result<Next, Fault> {
        let Answer::Host(offer) = answer else { return Ok(Next::Stay) };
        if !std::mem::take(&mut self.is_asking) {
            return Ok(Next::Stay);
        }
        let host = offer?;
        let is_elsewhere = |claimed: &BareJid| claimed.domain() != host.domain;
        let is_elsewhere = known.tls.is_some() && known.claimed.as_ref().is_some_and(is_elsewhere);
        let is_extended = host.extended.is_some();
        known.host = Some(host);
        // XEP-0388 §2.1.
        if is_extended && is_elsewhere {
            return Err(Fault::Peer(Misbehaviour::FromElsewhere));
        }
        Ok(proceed(known, wire))
    }
}

/// The header after sign-in: the same domain and the same user, or none.
fn resume(
    account: &BareJid,
    to: Option<&str>,
    known: &mut Known,
    wire: &mut Wire,
) -> Result<Next, Fault> {
    if to.is_some_and(|to| to != account.domain()) {
        return Err(Fault::Peer(Misbehaviour::HostChanged));
    }
    if known.claimed.as_ref().is_some_and(|claimed| claimed != account) {
        return Err(Fault::Peer(Misbehaviour::FromMismatch));
    }
    Ok(proceed(known, wire))
}

/// Answers with our header and features; what is still missing says what comes next.
fn proceed(known: &mut Known, wire: &mut Wire) -> Next {
    known.answer_header(wire);
    let Some(host) = known.host.clone() else { return Next::Stay };
    known.write_features(&host, wire);
    let bits = known.bits();
    Next::Go(if bits.has(Bits::AUTHENTICATED) {
        State::Bind(ExpectBind::default())
    } else if bits.has(Bits::SEALED) {
        State::Auth(ExpectAuth::default())
    } else {
        State::Tls(ExpectTls::default())
    })
}
