//! Authentication is due (RFC 6120 §6).

use stentor_jid::{BareJid, Jid, prep_local};
use stentor_sasl::server::{self, Exchange, ServerContext, Step, Success};
use stentor_sasl::{Bindings, Condition, Mechanism, check_authzid};
use stentor_stanza::Stanza;
use stentor_xml::{ElementRef, Frame, ns as xml_ns};

use super::expect_header::ExpectHeader;
use super::known::Known;
use super::wire::Wire;
use super::{Next, State, expect_tls, stray};
use crate::event::{Answer, Ask, Event};
use crate::fault::{Fault, Limit, Misbehaviour};
use crate::feature::Bits;
use crate::sasl_text::{self, BadData};
use crate::{limits, ns};

/// Waits for `<auth/>` and carries its exchange to the end.
#[derive(Default)]
pub(super) struct ExpectAuth {
    attempt: Option<Attempt>,
    asked: Option<Asked>,
}

/// One attempt to sign in.
struct Attempt {
    mechanism: Mechanism,
    exchange: Exchange,
    /// The name tried, for the log, once it is known.
    username: Option<String>,
    /// What even the right password is answered with.
    barred: Option<Condition>,
}

/// Which answer the shell owes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    Keys,
    Password,
    External,
    Anonymous,
    StreamIq,
}

impl ExpectAuth {
    pub(super) const fn is_asking(&self) -> bool {
        self.asked.is_some()
    }

    pub(super) fn handle_frame(
        &mut self,
        frame: Frame,
        known: &mut Known,
        wire: &mut Wire,
    ) -> Result<Next, Fault> {
        let root = frame.root();
        if root.ns() == ns::SASL {
            return match root.name() {
                "auth" => self.handle_auth(root, known, wire),
                "response" => self.handle_response(root, known, wire),
                "abort" => self.refuse(Condition::Aborted, known, wire),
                _ => Err(stray(root, Misbehaviour::StanzaBeforeAuth)),
            };
        }
        if root.is(ns::TLS, "starttls") {
            return expect_tls::begin(root, known, wire);
        }
        if known.bits().has(Bits::REGISTRATION) && is_registration(root) {
            return self.handle_registration(frame, known, wire);
        }
        Err(stray(root, Misbehaviour::StanzaBeforeAuth))
    }

    pub(super) fn handle_answer(
        &mut self,
        answer: Answer,
        known: &mut Known,
        wire: &mut Wire,
    ) -> Result<Next, Fault> {
        let fits = match answer {
            Answer::Keys { .. } => self.asked == Some(Asked::Keys),
            Answer::Accepted(_) => {
                matches!(self.asked, Some(Asked::Password | Asked::External | Asked::Anonymous))
            }
            Answer::Refused(_) => self.asked.is_some_and(|asked| asked != Asked::StreamIq),
            Answer::Reply(_) => self.asked == Some(Asked::StreamIq),
            Answer::Host(_) | Answer::Bound(_) | Answer::BindRefused(_) => false,
        };
        if !fits {
            return Ok(Next::Stay);
        }
        self.asked = None;
        let answer = match answer {
            Answer::Keys { keys, exists, barred } => {
                if let Some(attempt) = &mut self.attempt {
                    attempt.barred = barred;
                }
                server::Answer::Keys { keys, exists }
            }
            Answer::Accepted(username) => server::Answer::Accepted { username },
            Answer::Refused(condition) => server::Answer::Refused(condition),
            Answer::Reply(reply) => {
                wire.write_stanza(&reply);
                return Ok(Next::Stay);
            }
            Answer::Host(_) | Answer::Bound(_) | Answer::BindRefused(_) => return Ok(Next::Stay),
        };
        let Some(attempt) = &mut self.attempt else { return Ok(Next::Stay) };
        let step = attempt.exchange.answer(answer);
        self.advance(step, known, wire)
    }

    /// §6.4.2: a new `<auth/>` replaces an exchange that is not finished.
    fn handle_auth(
        &mut self,
        auth: ElementRef<'_>,
        known: &mut Known,
        wire: &mut Wire,
    ) -> Result<Next, Fault> {
        self.attempt = None;
        let named = auth.attr("mechanism");
        let mechanism = match choose(named.as_deref(), known) {
            Ok(mechanism) => mechanism,
            Err(condition) => return self.refuse(condition, known, wire),
        };
        let nonce = (known.tokens)();
        let none = Bindings::default();
        let cx = ServerContext {
            bindings: known.tls.as_ref().map_or(&none, |tls| &tls.bindings),
            plus_offered: known.mechanisms().iter().any(|m| m.is_plus()),
            nonce: &nonce,
        };
        let exchange = Exchange::start(mechanism, &cx);
        let attempt = Attempt { mechanism, exchange, username: None, barred: None };
        let attempt = self.attempt.insert(attempt);
        match sasl_text::read(auth) {
            Ok(data) => {
                let step = attempt.exchange.begin(data.as_deref());
                self.advance(step, known, wire)
            }
            Err(bad) => self.refuse(bad.condition(), known, wire),
        }
    }

    fn handle_response(
        &mut self,
        response: ElementRef<'_>,
        known: &mut Known,
        wire: &mut Wire,
    ) -> Result<Next, Fault> {
        let Some(attempt) = &mut self.attempt else {
            return self.refuse(Condition::MalformedRequest, known, wire);
        };
        match sasl_text::read(response) {
            Ok(data) => {
                let step = attempt.exchange.step(&data.unwrap_or_default());
                self.advance(step, known, wire)
            }
            Err(bad) => self.refuse(bad.condition(), known, wire),
        }
    }

    fn advance(
        &mut self,
        step: Result<Step, Condition>,
        known: &mut Known,
        wire: &mut Wire,
    ) -> Result<Next, Fault> {
        let (asked, ask) = match step {
            Err(condition) => return self.refuse(condition, known, wire),
            Ok(Step::Done(success)) => return self.finish(success, known, wire),
            Ok(Step::Challenge(data)) => {
                wire.write(|w| sasl_text::write(w, "challenge", Some(&data), false));
                return Ok(Next::Stay);
            }
            Ok(Step::NeedKeys { username, hash }) => {
                (Asked::Keys, Ask::Keys { username: self.note(&username), hash })
            }
            Ok(Step::NeedPassword { username, password }) => {
                (Asked::Password, Ask::Password { username: self.note(&username), password })
            }
            Ok(Step::NeedExternal { authzid }) => (Asked::External, Ask::External { authzid }),
            Ok(Step::NeedAnonymous { .. }) => (Asked::Anonymous, Ask::Anonymous),
        };
        self.asked = Some(asked);
        wire.ask(ask);
        Ok(Next::Stay)
    }

    /// The user's name as a localpart; one that cannot be a localpart is looked up all the same,
    /// so that it fails like any name without an account.
    fn note(&mut self, username: &str) -> String {
        let local = prep_local(username).map_or_else(|_| username.to_owned(), |l| l.into_owned());
        if let Some(attempt) = &mut self.attempt {
            attempt.username = Some(local.clone());
        }
        local
    }

    fn finish(
        &mut self,
        success: Success,
        known: &mut Known,
        wire: &mut Wire,
    ) -> Result<Next, Fault> {
        let (Some(attempt), Some(host)) = (&self.attempt, known.host.as_deref()) else {
            return Ok(Next::Stay);
        };
        if let Some(condition) = attempt.barred {
            return self.refuse(condition, known, wire);
        }
        let mechanism = attempt.mechanism;
        let username = success.username.or_else(|| attempt.username.clone());
        let account = username
            .filter(|username| !username.is_empty())
            .and_then(|username| BareJid::from_parts(Some(&username), &host.domain).ok());
        let Some(account) = account else {
            return self.refuse(Condition::NotAuthorized, known, wire);
        };
        let canonical = |authzid: &str| Jid::new(authzid).ok().map(|jid| jid.as_str().to_owned());
        let authzid = success.authzid.as_deref();
        if let Err(condition) = check_authzid(authzid, account.as_str(), canonical) {
            return self.refuse(condition, known, wire);
        }
        // §6.4.6: a `from` that came over TLS must be who signs in; before TLS it binds nobody.
        let is_claim_false = known.claimed.as_ref().is_some_and(|claimed| *claimed != account);
        if known.tls.is_some() && is_claim_false {
            return Err(Fault::Peer(Misbehaviour::FromMismatch));
        }
        wire.write(|w| sasl_text::write(w, "success", success.data.as_deref(), true));
        wire.emit(Event::AuthOk { account: account.clone(), mechanism });
        known.account = Some(account);
        known.restart(wire);
        wire.scanner.set_limits(wire.settings.limits);
        Ok(Next::Go(State::Header(ExpectHeader::default())))
    }

    fn refuse(
        &mut self,
        condition: Condition,
        known: &mut Known,
        wire: &mut Wire,
    ) -> Result<Next, Fault> {
        let attempt = self.attempt.take();
        let (mechanism, username) = match attempt {
            Some(attempt) => (Some(attempt.mechanism), attempt.username),
            None => (None, None),
        };
        fail(condition, mechanism, username, known, wire)
    }

    fn handle_registration(
        &mut self,
        frame: Frame,
        known: &mut Known,
        wire: &mut Wire,
    ) -> Result<Next, Fault> {
        let stanza = match Stanza::from_frame(frame) {
            Ok(stanza) => stanza,
            Err(bad) => {
                super::answer_refused(bad, None, wire)?;
                return Ok(Next::Stay);
            }
        };
        // §4.3.5: to nobody but the server itself.
        let host = known.host.as_deref().map(|host| host.domain.as_str());
        if stanza.head.to.as_ref().is_some_and(|to| Some(to.as_str()) != host) {
            return Err(Fault::Peer(Misbehaviour::StanzaBeforeAuth));
        }
        known.stream_iqs += 1;
        if known.stream_iqs > limits::STREAM_IQS_MAX {
            return Err(Fault::Limit(Limit::StreamIqs));
        }
        // A person may be filling in the form.
        known.sign_in_by = wire.now.plus(wire.settings.sign_in_wait_ms);
        let mut stanza = stanza;
        stanza.head.from = None;
        self.asked = Some(Asked::StreamIq);
        wire.ask(Ask::StreamIq(stanza));
        Ok(Next::Stay)
    }
}

/// Answers `<auth/>` where TLS comes first (§6.5.4).
pub(super) fn refuse_unencrypted(
    auth: ElementRef<'_>,
    known: &mut Known,
    wire: &mut Wire,
) -> Result<Next, Fault> {
    let mechanism = auth.attr("mechanism").and_then(|name| Mechanism::from_name(&name));
    fail(Condition::EncryptionRequired, mechanism, None, known, wire)
}

/// Tells the client and the shell that an attempt failed; too many end the stream (§6.4.5).
fn fail(
    condition: Condition,
    mechanism: Option<Mechanism>,
    username: Option<String>,
    known: &mut Known,
    wire: &mut Wire,
) -> Result<Next, Fault> {
    wire.write(|w| {
        w.open("failure", ns::SASL);
        w.leaf(condition.name(), ns::SASL);
        w.close();
    });
    wire.emit(Event::AuthFailed { username, mechanism, condition });
    known.auth_failures = known.auth_failures.saturating_add(1);
    if known.auth_failures > wire.settings.auth_retries_max {
        return Err(Fault::Limit(Limit::AuthRetries));
    }
    Ok(Next::Stay)
}

/// The mechanism named by the client, if it may be used here.
fn choose(named: Option<&str>, known: &Known) -> Result<Mechanism, Condition> {
    let mechanism = named.and_then(Mechanism::from_name).ok_or(Condition::InvalidMechanism)?;
    if known.mechanisms().contains(&mechanism) {
        return Ok(mechanism);
    }
    let is_for_tls = known.host.as_ref().is_some_and(|host| host.mechanisms.contains(&mechanism));
    let lacks_tls = !known.bits().has(Bits::TLS);
    // §6.5.4: what the host would take over TLS is refused for the lack of it.
    if lacks_tls && is_for_tls && mechanism == Mechanism::Plain {
        return Err(Condition::EncryptionRequired);
    }
    Err(Condition::InvalidMechanism)
}

/// Whether it is an IQ of XEP-0077.
fn is_registration(root: ElementRef<'_>) -> bool {
    root.is(xml_ns::CLIENT, "iq") && root.first_child().is_some_and(|c| c.is(ns::REGISTER, "query"))
}

impl BadData {
    const fn condition(self) -> Condition {
        match self {
            Self::NotText => Condition::MalformedRequest,
            Self::NotBase64 => Condition::IncorrectEncoding,
        }
    }
}
