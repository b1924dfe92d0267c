//! Resource binding is due (RFC 6120 §7).

use stentor_jid::{Jid, prep_resource};
use stentor_stanza::{Condition, IqType, Kind, Stanza, StanzaError};
use stentor_xml::{ElementRef, Frame, ns as xml_ns};

use super::established::Established;
use super::known::Known;
use super::wire::Wire;
use super::{Next, stray};
use crate::event::{Answer, Ask};
use crate::fault::{Fault, Limit, Misbehaviour};
use crate::feature::Bits;
use crate::ns;
use crate::xep0198_sm::{self, Element, wrapped};

/// Waits for a bind request, then for the shell's answer to it.
#[derive(Default)]
pub(super) struct ExpectBind {
    /// The request that the shell is asked about.
    request: Option<Stanza>,
    /// The session to be resumed that the shell is asked about.
    previd: Option<String>,
}

impl ExpectBind {
    pub(super) const fn is_asking(&self) -> bool {
        self.request.is_some() || self.previd.is_some()
    }

    pub(super) fn handle_frame(
        &mut self,
        frame: Frame,
        known: &mut Known,
        wire: &mut Wire,
    ) -> Result<Next, Fault> {
        let root = frame.root();
        if Element::is(root) {
            return self.manage(root, known, wire);
        }
        if !is_bind(root) {
            return Err(stray(root, Misbehaviour::StanzaBeforeBind));
        }
        let mut request = match Stanza::from_frame(frame) {
            Ok(request) => request,
            Err(bad) => {
                super::answer_refused(bad, None, wire)?;
                return count_refusal(known, wire);
            }
        };
        let Some(account) = known.account.clone() else { return Ok(Next::Stay) };
        // §7.1: to nobody but the server or the own account.
        let is_for_us = |to: &Jid| to.as_str() == account.domain() || to == account.as_jid();
        if !request.head.to.as_ref().is_none_or(is_for_us) {
            return Err(Fault::Peer(Misbehaviour::StanzaBeforeBind));
        }
        request.head.from = None;
        match wished_resource(&request) {
            Ok(resource) => {
                self.request = Some(request);
                wire.ask(Ask::Bind { account, resource });
                Ok(Next::Stay)
            }
            Err(condition) => refuse(&request, &StanzaError::new(condition), known, wire),
        }
    }

    pub(super) fn handle_answer(
        &mut self,
        answer: Answer,
        known: &mut Known,
        wire: &mut Wire,
    ) -> Result<Next, Fault> {
        match answer {
            Answer::Bound(jid) => {
                let Some(request) = self.request.take() else { return Ok(Next::Stay) };
                wire.write_stanza(&request.reply_result(|w| {
                    w.open("bind", ns::BIND);
                    w.text_element("jid", ns::BIND, jid.as_str());
                    w.close();
                }));
                Ok(Next::Bound(Established::new(jid, known.lang.take(), wire)))
            }
            Answer::BindRefused(error) => match self.request.take() {
                Some(request) => refuse(&request, &error, known, wire),
                None => Ok(Next::Stay),
            },
            Answer::Resumed { jid, received } => {
                let Some(previd) = self.previd.take() else { return Ok(Next::Stay) };
                wire.write(|w| xep0198_sm::write_resumed(w, &previd, wrapped(received)));
                let lang = known.lang.take();
                Ok(Next::Bound(Established::resumed(jid, lang, received, wire)))
            }
            Answer::ResumeFailed { condition, h } => {
                if self.previd.take().is_some() {
                    wire.write(|w| xep0198_sm::write_failed(w, condition, h));
                    return count_refusal(known, wire);
                }
                Ok(Next::Stay)
            }
            Answer::ResumeTooHigh { h, sent } if self.previd.take().is_some() => {
                Err(Fault::AckTooHigh { h, sent })
            }
            _ => Ok(Next::Stay),
        }
    }

    /// XEP-0198 §3, §5: before binding there is nothing but resumption.
    fn manage(
        &mut self,
        root: ElementRef<'_>,
        known: &mut Known,
        wire: &mut Wire,
    ) -> Result<Next, Fault> {
        let has_management = known.bits().has(Bits::MANAGEMENT);
        let condition = match (Element::read(root), known.account.clone()) {
            (Some(Element::Resume { h, previd }), Some(account)) if has_management => {
                self.previd = Some(previd.clone());
                wire.ask(Ask::Resume { account, previd, h });
                return Ok(Next::Stay);
            }
            (Some(Element::Resume { .. }), _) => Condition::FeatureNotImplemented,
            (None, _) if root.name() == "resume" => Condition::BadRequest,
            _ => Condition::UnexpectedRequest,
        };
        wire.write(|w| xep0198_sm::write_failed(w, condition, None));
        count_refusal(known, wire)
    }
}

/// Whether it is an IQ with a bind payload, of whatever type.
pub(super) fn is_bind(root: ElementRef<'_>) -> bool {
    root.is(xml_ns::CLIENT, "iq") && root.child(ns::BIND, "bind").is_some()
}

fn wished_resource(request: &Stanza) -> Result<Option<String>, Condition> {
    if request.head.kind != Kind::Iq(IqType::Set) {
        return Err(Condition::BadRequest);
    }
    let Some(bind) = request.child(ns::BIND, "bind") else { return Err(Condition::BadRequest) };
    let Some(resource) = bind.child(ns::BIND, "resource") else { return Ok(None) };
    let resource = resource.text();
    // §7.7.2.1: an empty one is brought into conformance: the server chooses.
    if resource.is_empty() {
        return Ok(None);
    }
    let prepared = prep_resource(&resource).map_err(|_| Condition::BadRequest)?;
    Ok(Some(prepared.into_owned()))
}

fn refuse(
    request: &Stanza,
    error: &StanzaError,
    known: &mut Known,
    wire: &mut Wire,
) -> Result<Next, Fault> {
    if let Some(reply) = request.reply_error(error) {
        wire.write_stanza(&reply);
    }
    count_refusal(known, wire)
}

/// §7.7.3: too many end the stream.
fn count_refusal(known: &mut Known, wire: &Wire) -> Result<Next, Fault> {
    known.bind_failures = known.bind_failures.saturating_add(1);
    if known.bind_failures > wire.settings.bind_retries_max {
        return Err(Fault::Limit(Limit::BindRetries));
    }
    Ok(Next::Stay)
}
