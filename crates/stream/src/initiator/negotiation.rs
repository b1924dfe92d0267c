//! From the first header to a bound session (RFC 6120 §4.3), seen from the client.

use std::mem;
use std::sync::Arc;

use stentor_jid::{BareJid, FullJid, Jid};
use stentor_sasl::client::{self, Exchange};
use stentor_sasl::{Bindings, Condition, Mechanism, Offered};
use stentor_stanza::{Head, IqType, Kind, Stanza};
use stentor_xml::{ElementRef, Frame, Header, Writer, ns as xml_ns};

use super::extended::{Attempt, Done, Offer, Step, Unproven};
use super::{Credentials, Event, TlsPolicy, Wire};
use crate::Millis;
use crate::fault::{Fault, Misbehaviour};
use crate::framing::{OurHeader, tcp};
use crate::opening::{SUPPORTED_VERSION, judge};
use crate::xep0478_limits::StreamLimits;
use crate::{ns, sasl_text, xep0388_sasl2, xep0440_bindings};

/// What negotiation has learnt so far; dropped when the session is there.
pub(super) struct Negotiation {
    state: State,
    /// The handshake's binding data, once there was one.
    tls: Option<Bindings>,
    is_authenticated: bool,
    /// What the server offers, by the profile that will be used.
    offered: Vec<Mechanism>,
    /// What it offers by XEP-0388, if that will be used.
    extended: Option<Offer>,
    /// An attempt that was sent before the features were known.
    pipelined: Option<Attempt>,
    /// Whether the token was tried.
    has_tried_token: bool,
    /// The address that came with success.
    bound: Option<FullJid>,
    /// The names of all mechanisms and channel bindings that the server listed (XEP-0474).
    listed: [Vec<String>; 2],
    /// Our binding data of the types that the server can check.
    bindings: Bindings,
    /// Mechanisms that the server refused as such.
    refused: Vec<Mechanism>,
    nonce: String,
    attempts: u32,
    /// Whether an RFC 3921 server insists on the session step.
    needs_session: bool,
    /// When the session must be there.
    pub(super) done_by: Millis,
}

/// What we wait for.
enum State {
    Header,
    Features,
    Proceed,
    Handshake,
    Sasl(Mechanism, Exchange),
    Extended(Box<Attempt>),
    Bound,
    Session(FullJid),
}

/// What follows from one input.
pub(super) enum Next {
    Stay,
    Ready(FullJid),
}

impl Negotiation {
    pub(super) fn begin(tls: Option<Bindings>, nonce: String, wire: &mut Wire) -> Self {
        let mut negotiation = Self {
            state: State::Header,
            tls,
            is_authenticated: false,
            offered: Vec::new(),
            extended: None,
            pipelined: None,
            has_tried_token: false,
            bound: None,
            listed: [Vec::new(), Vec::new()],
            bindings: Bindings::default(),
            refused: Vec::new(),
            nonce,
            attempts: 0,
            needs_session: false,
            done_by: wire.now.plus(wire.settings.sign_in_wait_ms),
        };
        negotiation.write_header(wire);
        negotiation
    }

    pub(super) const fn is_shaking_hands(&self) -> bool {
        matches!(self.state, State::Handshake)
    }

    pub(super) fn handle_tls(&mut self, bindings: Bindings, wire: &mut Wire) {
        if self.is_shaking_hands() {
            self.tls = Some(bindings);
            self.restart(wire);
        }
    }

    pub(super) fn handle_header(&mut self, header: &Header) -> Result<Next, Fault> {
        judge(header, xml_ns::CLIENT).map_err(Fault::Peer)?;
        self.state = State::Features;
        Ok(Next::Stay)
    }

    pub(super) fn handle_frame(&mut self, frame: Frame, wire: &mut Wire) -> Result<Next, Fault> {
        let root = frame.root();
        match mem::replace(&mut self.state, State::Header) {
            State::Features if root.is(xml_ns::STREAM, "features") => {
                self.choose_feature(root, wire)
            }
            State::Proceed if root.is(ns::TLS, "proceed") => {
                self.state = State::Handshake;
                wire.events.push_back(Event::StartTls);
                Ok(Next::Stay)
            }
            State::Proceed if root.is(ns::TLS, "failure") => Err(Fault::Peer(Misbehaviour::NoTls)),
            State::Sasl(mechanism, exchange) if root.ns() == ns::SASL => {
                self.handle_sasl(mechanism, exchange, root, wire)
            }
            State::Extended(attempt) if root.ns() == xep0388_sasl2::NS => {
                self.handle_extended(attempt, root, wire)
            }
            State::Bound => self.handle_bound(frame, wire),
            State::Session(jid) => {
                // Whatever it answers: the step changes nothing (RFC 6121 Appendix E).
                if is_answer(root, SESSION_ID) {
                    return Ok(Next::Ready(jid));
                }
                self.state = State::Session(jid);
                Ok(Next::Stay)
            }
            _ => Err(Fault::Peer(Misbehaviour::OutOfTurn)),
        }
    }

    fn write_header(&mut self, wire: &mut Wire) {
        // §4.7.1: who we are is said only under encryption.
        let from = match &wire.settings.credentials {
            Credentials::Password { username, .. } if self.tls.is_some() => {
                BareJid::from_parts(Some(username), &wire.settings.domain).ok()
            }
            _ => None,
        };
        let header = OurHeader {
            content_ns: xml_ns::CLIENT,
            from: from.as_ref().map(BareJid::as_str),
            to: Some(&wire.settings.domain),
            id: None,
            version: Some(SUPPORTED_VERSION),
            lang: &wire.settings.lang,
        };
        tcp::write_header(&mut wire.out, &header);
        let settings = Arc::clone(&wire.settings);
        let extended = settings.extended.as_ref().filter(|extended| extended.pipelines);
        if let (Some(extended), Some(bindings), false) =
            (extended, &self.tls, self.is_authenticated)
        {
            write(wire, |w| {
                self.pipelined = Attempt::with_token(&settings, extended, None, bindings, w);
            });
        }
    }

    fn restart(&mut self, wire: &mut Wire) {
        wire.scanner.restart();
        self.write_header(wire);
        self.state = State::Header;
    }

    fn choose_feature(&mut self, features: ElementRef<'_>, wire: &mut Wire) -> Result<Next, Fault> {
        if let Some(limits) = features.children().find_map(StreamLimits::read) {
            wire.peer_limits = limits;
        }
        if self.tls.is_none() && wire.settings.tls != TlsPolicy::Never {
            if features.child(ns::TLS, "starttls").is_some() {
                write(wire, |w| {
                    w.leaf("starttls", ns::TLS);
                });
                self.state = State::Proceed;
                return Ok(Next::Stay);
            }
            if wire.settings.tls == TlsPolicy::Required {
                return Err(Fault::Peer(Misbehaviour::NoTls));
            }
        }
        if !self.is_authenticated {
            self.note_offer(features, wire)?;
            if let Some(attempt) = self.pipelined.take() {
                self.has_tried_token = true;
                self.state = State::Extended(Box::new(attempt));
                return Ok(Next::Stay);
            }
            return self.try_mechanism(wire);
        }
        if let Some(jid) = self.bound.take() {
            return Ok(Next::Ready(jid));
        }
        if features.child(ns::BIND, "bind").is_none() {
            return Err(Fault::Peer(Misbehaviour::BindRefused));
        }
        self.needs_session = features
            .child(ns::SESSION, "session")
            .is_some_and(|session| session.child(ns::SESSION, "optional").is_none());
        let resource = wire.settings.resource.clone();
        request(wire, BIND_ID, |w| {
            w.open("bind", ns::BIND);
            if let Some(resource) = resource {
                w.text_element("resource", ns::BIND, &resource);
            }
            w.close();
        });
        self.state = State::Bound;
        Ok(Next::Stay)
    }

    fn note_offer(&mut self, features: ElementRef<'_>, wire: &Wire) -> Result<(), Fault> {
        let is_wanted = wire.settings.extended.is_some() && self.tls.is_some();
        self.extended = is_wanted.then(|| Offer::read(features)).flatten();
        let names = match &self.extended {
            Some(offer) => offer.mechanisms.clone(),
            None => offered_mechanisms(features),
        };
        self.offered = names.iter().filter_map(|name| Mechanism::from_name(name)).collect();
        let announced = features.children().find_map(xep0440_bindings::read).unwrap_or_default();
        let ours = self.tls.clone().unwrap_or_default();
        let agreed = ours.agreed(&announced);
        self.bindings = agreed.map_err(|_| Fault::Peer(Misbehaviour::ServerUnproven))?;
        self.listed = [names, announced];
        Ok(())
    }

    /// Begins an attempt with the token, or with the strongest mechanism that is left.
    fn try_mechanism(&mut self, wire: &mut Wire) -> Result<Next, Fault> {
        let settings = Arc::clone(&wire.settings);
        if let (Some(offer), Some(extended)) = (&self.extended, &settings.extended)
            && extended.token.as_ref().is_some_and(|token| offer.takes(token))
            && !mem::replace(&mut self.has_tried_token, true)
        {
            let mut attempt = None;
            write(wire, |w| {
                let bindings = &self.bindings;
                attempt = Attempt::with_token(&settings, extended, Some(offer), bindings, w);
            });
            if let Some(attempt) = attempt {
                self.state = State::Extended(Box::new(attempt));
                return Ok(Next::Stay);
            }
        }
        let usable: Vec<Mechanism> = self
            .offered
            .iter()
            .copied()
            .filter(|m| wire.settings.mechanisms.contains(m) && !self.refused.contains(m))
            .filter(|m| fits(*m, &wire.settings.credentials, self.tls.is_some()))
            .collect();
        let Some(mechanism) = client::choose(&usable, &self.bindings) else {
            return Err(Fault::Peer(Misbehaviour::NoMechanism));
        };
        self.attempts += 1;
        let nonce = format!("{}{}", self.nonce, self.attempts);
        // RFC 5802 §6: where -PLUS is offered and not taken, the server must not read into it that
        // somebody took the offer out.
        let may_be_tampered = !self.offered.iter().any(|m| m.is_plus());
        let bindings = if mechanism.is_plus() || may_be_tampered {
            self.bindings.clone()
        } else {
            Bindings::default()
        };
        let mut exchange = exchange(mechanism, wire, &bindings, &nonce)?;
        let [mechanisms, announced] = &self.listed;
        exchange.expect(&Offered { mechanisms: &refs(mechanisms), bindings: &refs(announced) });
        if let (Some(offer), Some(extended)) = (&self.extended, &settings.extended) {
            let ours = &self.bindings;
            write(wire, |w| {
                let attempt = Attempt::begin(exchange, extended, Some(offer), ours, None, w);
                self.state = State::Extended(Box::new(attempt));
            });
            return Ok(Next::Stay);
        }
        let first = exchange.first();
        write(wire, |w| {
            w.open("auth", ns::SASL).attr("mechanism", mechanism.name());
            sasl_text::write_data(w, first.as_deref(), true);
            w.close();
        });
        self.state = State::Sasl(mechanism, exchange);
        Ok(Next::Stay)
    }

    fn handle_sasl(
        &mut self,
        mechanism: Mechanism,
        mut exchange: Exchange,
        element: ElementRef<'_>,
        wire: &mut Wire,
    ) -> Result<Next, Fault> {
        let unproven = Fault::Peer(Misbehaviour::ServerUnproven);
        match element.name() {
            "challenge" => {
                let challenge = sasl_text::read(element).map_err(|_| unproven.clone())?;
                let response =
                    exchange.step(&challenge.unwrap_or_default()).map_err(|_| unproven)?;
                write(wire, |w| sasl_text::write(w, "response", Some(&response), false));
                self.state = State::Sasl(mechanism, exchange);
                Ok(Next::Stay)
            }
            "success" => {
                let data = sasl_text::read(element).map_err(|_| unproven.clone())?;
                exchange.finish(data.as_deref()).map_err(|_| unproven)?;
                self.is_authenticated = true;
                self.restart(wire);
                Ok(Next::Stay)
            }
            "failure" => self.handle_failure(mechanism, element, wire),
            _ => Err(Fault::Peer(Misbehaviour::OutOfTurn)),
        }
    }

    fn handle_extended(
        &mut self,
        mut attempt: Box<Attempt>,
        element: ElementRef<'_>,
        wire: &mut Wire,
    ) -> Result<Next, Fault> {
        let settings = Arc::clone(&wire.settings);
        let mut step = Err(Unproven);
        write(wire, |w| step = attempt.handle(element, &settings, w));
        match step {
            Err(Unproven) => Err(Fault::Peer(Misbehaviour::ServerUnproven)),
            Ok(Step::Stay) => {
                self.state = State::Extended(attempt);
                Ok(Next::Stay)
            }
            Ok(Step::Failed(condition)) => self.refused(attempt.mechanism, condition, wire),
            Ok(Step::Done(Done { jid, token })) => {
                if let Some((mechanism, token)) = token {
                    wire.events.push_back(Event::Token { mechanism, token });
                }
                self.is_authenticated = true;
                self.bound = jid;
                // XEP-0388 §2.6.1: features follow, and no header.
                self.state = State::Features;
                Ok(Next::Stay)
            }
        }
    }

    /// §6.4.5: another mechanism if this one was the trouble, else the end.
    fn handle_failure(
        &mut self,
        mechanism: Mechanism,
        failure: ElementRef<'_>,
        wire: &mut Wire,
    ) -> Result<Next, Fault> {
        let condition = failure
            .children()
            .find(|child| child.ns() == ns::SASL && child.name() != "text")
            .map_or(Condition::NotAuthorized, |child| Condition::from_name(child.name()));
        self.refused(mechanism, condition, wire)
    }

    fn refused(
        &mut self,
        mechanism: Mechanism,
        condition: Condition,
        wire: &mut Wire,
    ) -> Result<Next, Fault> {
        wire.events.push_back(Event::AuthFailed { mechanism, condition });
        // XEP-0484 §4.1: what comes after a token is the password.
        let is_about_mechanism = mechanism.is_token()
            || matches!(condition, Condition::InvalidMechanism | Condition::MechanismTooWeak);
        if !is_about_mechanism {
            return Err(Fault::Peer(Misbehaviour::SignInRefused));
        }
        self.refused.push(mechanism);
        self.try_mechanism(wire)
    }

    fn handle_bound(&mut self, frame: Frame, wire: &mut Wire) -> Result<Next, Fault> {
        if !is_answer(frame.root(), BIND_ID) {
            self.state = State::Bound;
            return Ok(Next::Stay);
        }
        let jid = frame
            .root()
            .child(ns::BIND, "bind")
            .and_then(|bind| bind.child(ns::BIND, "jid"))
            .and_then(|jid| Jid::new(jid.text().trim()).ok()?.as_full());
        let Some(jid) = jid else {
            let error = Stanza::from_frame(frame).ok().and_then(|stanza| stanza.error());
            wire.events.push_back(Event::BindFailed(error));
            return Err(Fault::Peer(Misbehaviour::BindRefused));
        };
        if !self.needs_session {
            return Ok(Next::Ready(jid));
        }
        request(wire, SESSION_ID, |w| {
            w.leaf("session", ns::SESSION);
        });
        self.state = State::Session(jid);
        Ok(Next::Stay)
    }
}

fn offered_mechanisms(features: ElementRef<'_>) -> Vec<String> {
    let Some(list) = features.child(ns::SASL, "mechanisms") else { return Vec::new() };
    list.children()
        .filter(|m| m.is(ns::SASL, "mechanism"))
        .map(|m| m.text().trim().to_owned())
        .collect()
}

fn refs(names: &[String]) -> Vec<&str> {
    names.iter().map(String::as_str).collect()
}

/// Whether a mechanism takes these credentials on this connection.
fn fits(mechanism: Mechanism, credentials: &Credentials, is_encrypted: bool) -> bool {
    match credentials {
        Credentials::Certificate { .. } => mechanism == Mechanism::External && is_encrypted,
        Credentials::Anonymous => mechanism == Mechanism::Anonymous,
        Credentials::Password { .. } => match mechanism {
            Mechanism::External | Mechanism::Anonymous => false,
            Mechanism::Plain => is_encrypted,
            _ => true,
        },
    }
}

fn exchange(
    mechanism: Mechanism,
    wire: &Wire,
    bindings: &Bindings,
    nonce: &str,
) -> Result<Exchange, Fault> {
    let (username, password, authzid) = match &wire.settings.credentials {
        Credentials::Password { username, password } => {
            (username.as_str(), password.as_str(), None)
        }
        Credentials::Certificate { authzid } => ("", "", authzid.as_deref()),
        Credentials::Anonymous => ("", "", None),
    };
    Exchange::new(mechanism, username, password, authzid, bindings, nonce)
        .map_err(|_| Fault::Credentials)
}

fn is_answer(root: ElementRef<'_>, id: &str) -> bool {
    root.is(xml_ns::CLIENT, "iq") && root.attr("id").as_deref() == Some(id)
}

fn request(wire: &mut Wire, id: &str, f: impl FnOnce(&mut Writer)) {
    let head = Head::new(Kind::Iq(IqType::Set)).id(id);
    Stanza::build(head, f).write(&mut wire.out);
}

fn write(wire: &mut Wire, f: impl FnOnce(&mut Writer)) {
    let mut w = Writer::over(mem::take(&mut wire.out));
    f(&mut w);
    wire.out = w.into_bytes();
}

const BIND_ID: &str = "bind";
const SESSION_ID: &str = "session";
