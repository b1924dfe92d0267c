//! Authentication is due, by RFC 6120 §6 or by XEP-0388: two ways to write the same exchange.

use stentor_jid::{BareJid, Jid, prep_local};
use stentor_sasl::server::{self, Exchange, ServerContext, Step, Success};
use stentor_sasl::{
    Bindings, ChannelBinding, Condition, Mechanism, Offered, TokenProof, check_authzid,
};
use stentor_stanza::Stanza;
use stentor_xml::{ElementRef, Frame, ns as xml_ns};

use super::expect_header::ExpectHeader;
use super::expect_task::{ExpectTask, Proven};
use super::known::Known;
use super::wire::Wire;
use super::{Next, State, expect_tls, stray};
use crate::event::{Answer, Ask, Event, Tried};
use crate::fault::{Fault, Limit, Misbehaviour};
use crate::feature::Bits;
use crate::sasl_text::{self, BadData};
use crate::xep0388_sasl2::{self, Authenticate};
use crate::xep0484_fast::Fast;
use crate::{limits, ns, xep0509_pipelining};

/// Waits for `<auth/>` or `<authenticate/>` and carries its exchange to the end.
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
    /// What else the client asked for; none by the profile of RFC 6120.
    request: Option<Box<Authenticate>>,
}

/// How an exchange is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Profile {
    /// RFC 6120 §6.
    Rfc6120,
    /// XEP-0388.
    Extended,
}

/// Which answer the shell owes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    Keys,
    Password,
    Token,
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
        let is_extended = root.ns() == xep0388_sasl2::NS;
        // XEP-0388 §2.4: while an exchange is under way nothing else may come.
        if self.is_exchanging() && !(is_extended && matches!(root.name(), "response" | "abort")) {
            return Err(stray(root, Misbehaviour::OutOfTurn));
        }
        if is_extended {
            return match root.name() {
                "authenticate" => self.handle_authenticate(root, known, wire),
                "response" => self.handle_response(root, Profile::Extended, known, wire),
                "abort" => self.refuse(Condition::Aborted, Profile::Extended, known, wire),
                _ => Err(stray(root, Misbehaviour::StanzaBeforeAuth)),
            };
        }
        if root.ns() == ns::SASL {
            return match root.name() {
                "auth" => self.handle_auth(root, known, wire),
                "response" => self.handle_response(root, Profile::Rfc6120, known, wire),
                "abort" => self.refuse(Condition::Aborted, Profile::Rfc6120, known, wire),
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
            Answer::Token(_) => self.asked == Some(Asked::Token),
            Answer::Accepted(_) => {
                matches!(self.asked, Some(Asked::Password | Asked::External | Asked::Anonymous))
            }
            Answer::Refused(_) => self.asked.is_some_and(|asked| asked != Asked::StreamIq),
            Answer::Reply(_) => self.asked == Some(Asked::StreamIq),
            _ => false,
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
            Answer::Token(data) => server::Answer::Token { data },
            Answer::Refused(condition) => server::Answer::Refused(condition),
            Answer::Reply(reply) => {
                wire.write_stanza(&reply);
                return Ok(Next::Stay);
            }
            _ => return Ok(Next::Stay),
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
        self.break_off(known, wire);
        let named = auth.attr("mechanism");
        let mechanism = match choose(named.as_deref(), known) {
            Ok(mechanism) => mechanism,
            Err(condition) => {
                let tried = named_only(auth, known);
                return fail(condition, Profile::Rfc6120, tried, known, wire);
            }
        };
        let attempt = self.attempt.insert(Attempt::begin(mechanism, None, known));
        match sasl_text::read(auth) {
            Ok(data) => {
                let step = attempt.exchange.begin(data.as_deref());
                self.advance(step, known, wire)
            }
            Err(bad) => self.refuse(bad.condition(), Profile::Rfc6120, known, wire),
        }
    }

    /// XEP-0388 §2.3.
    fn handle_authenticate(
        &mut self,
        authenticate: ElementRef<'_>,
        known: &mut Known,
        wire: &mut Wire,
    ) -> Result<Next, Fault> {
        self.break_off(known, wire);
        let request = Authenticate::read(authenticate).and_then(|request| {
            let mechanism = choose_extended(&request, known)?;
            Ok((mechanism, request))
        });
        let (mechanism, mut request) = match request {
            Ok(request) => request,
            Err(condition) => {
                let tried = named_only(authenticate, known);
                return fail(condition, Profile::Extended, tried, known, wire);
            }
        };
        // XEP-0509 §2.2: a client that speaks for other features is told so, without prejudice.
        if request.config_version.is_some() && request.config_version != known.config_version {
            wire.write(|w| {
                let mismatch = xep0509_pipelining::write_mismatch;
                xep0388_sasl2::write_failure(w, Condition::Aborted, mismatch);
            });
            return Ok(Next::Stay);
        }
        let initial = request.initial.take();
        let attempt = Attempt::begin(mechanism, Some(Box::new(request)), known);
        let step = self.attempt.insert(attempt).exchange.begin(initial.as_deref());
        self.advance(step, known, wire)
    }

    fn handle_response(
        &mut self,
        response: ElementRef<'_>,
        profile: Profile,
        known: &mut Known,
        wire: &mut Wire,
    ) -> Result<Next, Fault> {
        let Some(attempt) = self.attempt.as_mut().filter(|a| a.profile() == profile) else {
            return self.refuse(Condition::MalformedRequest, profile, known, wire);
        };
        let data = match profile {
            Profile::Rfc6120 => {
                sasl_text::read(response).map(Option::unwrap_or_default).map_err(BadData::condition)
            }
            Profile::Extended => xep0388_sasl2::read_data(response),
        };
        match data {
            Ok(data) => {
                let step = attempt.exchange.step(&data);
                self.advance(step, known, wire)
            }
            Err(condition) => self.refuse(condition, profile, known, wire),
        }
    }

    fn advance(
        &mut self,
        step: Result<Step, Condition>,
        known: &mut Known,
        wire: &mut Wire,
    ) -> Result<Next, Fault> {
        let profile = self.attempt.as_ref().map_or(Profile::Rfc6120, Attempt::profile);
        let (asked, ask) = match step {
            Err(condition) => return self.refuse(condition, profile, known, wire),
            Ok(Step::Done(success)) => return self.finish(success, profile, known, wire),
            Ok(Step::Challenge(data)) => {
                wire.write(|w| match profile {
                    Profile::Rfc6120 => sasl_text::write(w, "challenge", Some(&data), false),
                    Profile::Extended => xep0388_sasl2::write_data(w, "challenge", &data),
                });
                return Ok(Next::Stay);
            }
            Ok(Step::NeedToken { username, proof }) => {
                let username = self.note(&username);
                match self.token_question(username, proof, known) {
                    Ok(ask) => (Asked::Token, ask),
                    Err(condition) => return self.refuse(condition, profile, known, wire),
                }
            }
            Ok(Step::NeedKeys { username, hash }) => {
                (Asked::Keys, Ask::Keys { username: self.note(&username), hash })
            }
            Ok(Step::NeedPassword { username, password }) => {
                (Asked::Password, Ask::Password { username: self.note(&username), password })
            }
            Ok(Step::NeedExternal { authzid }) => {
                if let Some(attempt) = &mut self.attempt {
                    attempt.username.clone_from(&authzid);
                }
                (Asked::External, Ask::External { authzid })
            }
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

    /// XEP-0484 §4.1: whose token it is says the id of the client.
    fn token_question(
        &mut self,
        username: String,
        proof: TokenProof,
        known: &Known,
    ) -> Result<Ask, Condition> {
        let request = self.attempt.as_mut().and_then(|attempt| attempt.request.as_mut());
        let request = request.ok_or(Condition::InvalidMechanism)?;
        let client = request.user_agent.id.clone().ok_or(Condition::MalformedRequest)?;
        let domain = known.domain().unwrap_or_default();
        let account = BareJid::from_parts(Some(&username), domain);
        // Who answers the question notes that the token was used: not for nothing.
        if account.is_ok_and(|account| known.is_claimed_by_another(&account)) {
            return Err(Condition::InvalidAuthzid);
        }
        let Fast { count, invalidates } = request.fast.unwrap_or_default();
        Ok(Ask::Token { username, client, proof, count, invalidates })
    }

    fn finish(
        &mut self,
        success: Success,
        profile: Profile,
        known: &mut Known,
        wire: &mut Wire,
    ) -> Result<Next, Fault> {
        let (Some(attempt), Some(host)) = (&mut self.attempt, known.host.as_deref()) else {
            return Ok(Next::Stay);
        };
        if let Some(condition) = attempt.barred {
            return self.refuse(condition, profile, known, wire);
        }
        let mechanism = attempt.mechanism;
        let username = success.username.or_else(|| attempt.username.clone());
        let account = username
            .filter(|username| !username.is_empty())
            .and_then(|username| BareJid::from_parts(Some(&username), &host.domain).ok());
        let Some(account) = account else {
            return self.refuse(Condition::NotAuthorized, profile, known, wire);
        };
        let canonical = |authzid: &str| Jid::new(authzid).ok().map(|jid| jid.as_str().to_owned());
        let authzid = success.authzid.as_deref();
        if let Err(condition) = check_authzid(authzid, account.as_str(), canonical) {
            return self.refuse(condition, profile, known, wire);
        }
        let is_claim_false = known.is_claimed_by_another(&account);
        if let Some(request) = attempt.request.take() {
            // XEP-0388 §2.3: there it is a failure, not the end of the stream.
            if is_claim_false {
                return self.refuse(Condition::InvalidAuthzid, profile, known, wire);
            }
            let proven = Proven { account, mechanism, data: success.data };
            return Ok(Next::Go(State::Task(ExpectTask::begin(proven, *request, known, wire))));
        }
        if is_claim_false {
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
        profile: Profile,
        known: &mut Known,
        wire: &mut Wire,
    ) -> Result<Next, Fault> {
        let tried = self.attempt(known).unwrap_or_else(|| nothing(known));
        self.attempt = None;
        fail(condition, profile, tried, known, wire)
    }

    /// Tells of an attempt that will not be decided.
    pub(super) fn break_off(&mut self, known: &Known, wire: &mut Wire) {
        if let Some(tried) = self.attempt(known) {
            self.attempt = None;
            wire.emit(Event::AuthBrokenOff(tried));
        }
    }

    /// The attempt that is under way.
    fn attempt(&self, known: &Known) -> Option<Tried> {
        let attempt = self.attempt.as_ref()?;
        Some(tried(attempt.mechanism, attempt.username.as_deref(), known))
    }

    /// Whether an exchange by XEP-0388 waits for its client.
    pub(super) fn is_exchanging(&self) -> bool {
        self.attempt.as_ref().is_some_and(|attempt| attempt.profile() == Profile::Extended)
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

impl Attempt {
    fn begin(mechanism: Mechanism, request: Option<Box<Authenticate>>, known: &mut Known) -> Self {
        let nonce = (known.tokens)();
        let none = Bindings::default();
        let bindings = known.tls.as_ref().map_or(&none, |tls| &tls.bindings);
        let offered = known.mechanisms();
        let names: Vec<_> = offered.iter().map(|m| m.name()).collect();
        let listed = known.listed_bindings(&offered).into_iter();
        let types: Vec<_> =
            listed.flat_map(Bindings::available).map(ChannelBinding::name).collect();
        let cx = ServerContext {
            bindings,
            plus_offered: offered.iter().any(|m| m.is_plus()),
            nonce: &nonce,
            offered: Some(Offered { mechanisms: &names, bindings: &types }),
        };
        let exchange = Exchange::start(mechanism, &cx);
        Self { mechanism, exchange, username: None, barred: None, request }
    }

    const fn profile(&self) -> Profile {
        if self.request.is_some() { Profile::Extended } else { Profile::Rfc6120 }
    }
}

/// Answers `<auth/>` or `<authenticate/>` where TLS comes first (§6.5.4).
pub(super) fn refuse_unencrypted(
    element: ElementRef<'_>,
    known: &mut Known,
    wire: &mut Wire,
) -> Result<Next, Fault> {
    let is_extended = element.ns() == xep0388_sasl2::NS;
    let profile = if is_extended { Profile::Extended } else { Profile::Rfc6120 };
    fail(Condition::EncryptionRequired, profile, named_only(element, known), known, wire)
}

/// Tells the client and the shell that an attempt failed; too many end the stream (§6.4.5).
pub(super) fn fail(
    condition: Condition,
    profile: Profile,
    tried: Tried,
    known: &mut Known,
    wire: &mut Wire,
) -> Result<Next, Fault> {
    wire.write(|w| match profile {
        Profile::Rfc6120 => {
            w.open("failure", ns::SASL).leaf(condition.name(), ns::SASL).close();
        }
        Profile::Extended => xep0388_sasl2::write_failure(w, condition, |_| ()),
    });
    wire.emit(Event::AuthFailed { tried, condition });
    known.auth_failures = known.auth_failures.saturating_add(1);
    if known.auth_failures > wire.settings.auth_retries_max {
        return Err(Fault::Limit(Limit::AuthRetries));
    }
    Ok(Next::Stay)
}

/// An attempt by a mechanism of ours.
pub(super) fn tried(mechanism: Mechanism, username: Option<&str>, known: &Known) -> Tried {
    let mechanism = Some(mechanism.name().into());
    Tried { mechanism, username: username.map(str::to_owned), ..nothing(known) }
}

/// An attempt that did not get beyond the name of a mechanism.
fn named_only(element: ElementRef<'_>, known: &Known) -> Tried {
    // RFC 4422 §3.1; what is not such a name is not repeated.
    let is_name = |name: &str| {
        let may_hold = |c: u8| c.is_ascii_uppercase() || c.is_ascii_digit() || b"-_".contains(&c);
        (1..=limits::MECHANISM_NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(may_hold)
    };
    let named = element.attr("mechanism").filter(|name| is_name(name));
    Tried { mechanism: named.map(|name| name.into_owned().into()), ..nothing(known) }
}

fn nothing(known: &Known) -> Tried {
    Tried { domain: known.domain().map(str::to_owned), ..Tried::default() }
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

/// The mechanism of a request by XEP-0388: with `<fast/>` one of those for tokens, which are not
/// among the others (XEP-0484 §3.4).
fn choose_extended(request: &Authenticate, known: &Known) -> Result<Mechanism, Condition> {
    let named = request.mechanism.as_deref();
    let bits = known.bits();
    if !bits.has(Bits::EXTENDED) {
        let lacks_tls = !bits.has(Bits::TLS);
        let is_offered = known.host.as_ref().is_some_and(|host| host.extended.is_some());
        let condition = if lacks_tls && is_offered {
            Condition::EncryptionRequired
        } else {
            Condition::InvalidMechanism
        };
        return Err(condition);
    }
    let token = request.fast.and(named).and_then(Mechanism::token_from_name);
    match token {
        Some(token) if known.token_mechanisms().contains(&token) => Ok(token),
        Some(_) => Err(Condition::InvalidMechanism),
        None => choose(named, known),
    }
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
