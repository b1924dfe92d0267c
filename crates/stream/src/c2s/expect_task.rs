//! The credentials are right: what is left before success, by XEP-0388 (§2.6).
//!
//! First the upgrades that the client wished for (XEP-0480), one task after the other; then the
//! shell gives it what it asked for with success.

use stentor_jid::BareJid;
use stentor_sasl::{Condition, Hash, Mechanism, ScramKeys};
use stentor_stanza::Condition as StanzaCondition;
use stentor_xml::{ElementRef, Frame, Writer};

use super::established::Established;
use super::expect_auth::{ExpectAuth, Profile, fail, tried};
use super::expect_bind::ExpectBind;
use super::known::Known;
use super::wire::Wire;
use super::{Next, State, stray};
use crate::event::{Answer, Ask, Event};
use crate::fault::{Fault, Misbehaviour};
use crate::feature::Bits;
use crate::sign_in::{
    BindRequest, EnableRequest, Enabled, ResumeRequest, Resumption, SignIn, SignedIn,
};
use crate::xep0198_sm::{self, Element, wrapped};
use crate::xep0388_sasl2::{self, Authenticate};
use crate::{ns, xep0386_bind2, xep0480_upgrade, xep0484_fast};

/// Carries a client whose credentials are right to success.
pub(super) struct ExpectTask {
    sign_in: Box<SignIn>,
    /// The upgrades that are left, the next one last.
    upgrades: Vec<Hash>,
    /// What the mechanism still has to tell the client.
    data: Option<Vec<u8>>,
    /// Wishes that cannot be put to the shell, and why.
    managed: Managed,
    step: Step,
}

/// What is wrong with wishes for stream management.
#[derive(Default)]
struct Managed {
    /// Why no session is resumed.
    resume: Option<StanzaCondition>,
    /// Why stanzas are not counted.
    enable: Option<StanzaCondition>,
    /// The session to be resumed.
    previd: Option<String>,
}

/// The outcome of an exchange.
pub(super) struct Proven {
    pub(super) account: BareJid,
    pub(super) mechanism: Mechanism,
    pub(super) data: Option<Vec<u8>>,
}

enum Step {
    /// The shell is asked for a salt.
    Salt(Hash),
    /// `<continue/>` is out: the client begins the task.
    Begin(Upgrade),
    /// The salt is out: the client derives.
    Derive(Upgrade),
    /// The shell keeps the new keys.
    Keep,
    /// The shell gives the client what it wants.
    SignIn,
}

struct Upgrade {
    hash: Hash,
    salt: Vec<u8>,
    iterations: u32,
}

impl ExpectTask {
    pub(super) fn begin(
        proven: Proven,
        request: Authenticate,
        known: &Known,
        wire: &mut Wire,
    ) -> Self {
        let Proven { account, mechanism, data } = proven;
        let offer = known.host.as_deref().and_then(|host| host.extended.as_ref());
        let offers_bind = offer.is_some_and(|offer| offer.bind.is_some());
        let offered = offer.map_or(&[][..], |offer| &offer.upgrades);
        // A token shows that no password is at hand to derive keys from.
        let may_upgrade = !mechanism.is_token();
        let mut upgrades = request.upgrades;
        upgrades.retain(|hash| may_upgrade && offered.contains(hash));
        upgrades.reverse();
        let tokens = known.token_mechanisms();
        let bind = request.bind.filter(|_| offers_bind);
        let has_management = known.bits().has(Bits::MANAGEMENT);
        let mut managed = Managed::default();
        let resume = managed.read_resume(request.resume.as_ref(), has_management);
        let enable = managed.read_enable(bind.as_ref(), has_management);
        let sign_in = Box::new(SignIn {
            account,
            mechanism,
            user_agent: request.user_agent,
            resume,
            bind,
            enable,
            wants_token: request.wants_token.filter(|wanted| tokens.contains(wanted)),
            has_invalidated: request.fast.is_some_and(|fast| fast.invalidates),
        });
        let mut state = Self { sign_in, upgrades, data, managed, step: Step::SignIn };
        state.ask_next(wire);
        state
    }

    pub(super) const fn is_asking(&self) -> bool {
        matches!(self.step, Step::Salt(_) | Step::Keep | Step::SignIn)
    }

    pub(super) fn handle_frame(
        &mut self,
        frame: &Frame,
        known: &mut Known,
        wire: &mut Wire,
    ) -> Result<Next, Fault> {
        let root = frame.root();
        if root.is(xep0388_sasl2::NS, "abort") {
            return self.refuse(Condition::Aborted, known, wire);
        }
        let outcome = match std::mem::replace(&mut self.step, Step::Keep) {
            Step::Begin(upgrade) if root.is(xep0388_sasl2::NS, "next") => {
                self.handle_next(root, upgrade, wire)
            }
            Step::Derive(upgrade) if root.is(xep0388_sasl2::NS, "task-data") => {
                self.handle_hash(root, &upgrade, wire)
            }
            // XEP-0388 §2.4, §4.8: nothing else may come now.
            _ => return Err(stray(root, Misbehaviour::OutOfTurn)),
        };
        match outcome {
            Ok(()) => Ok(Next::Stay),
            Err(condition) => self.refuse(condition, known, wire),
        }
    }

    pub(super) fn handle_answer(
        &mut self,
        answer: Answer,
        known: &mut Known,
        wire: &mut Wire,
    ) -> Result<Next, Fault> {
        match (&self.step, answer) {
            (Step::Salt(_), Answer::Upgrade(None)) | (Step::Keep, Answer::Upgraded) => {
                self.ask_next(wire);
            }
            (&Step::Salt(hash), Answer::Upgrade(Some((salt, iterations)))) => {
                let data = self.data.take();
                let task = xep0480_upgrade::task(hash);
                wire.write(|w| xep0388_sasl2::write_continue(w, data.as_deref(), &task));
                self.step = Step::Begin(Upgrade { hash, salt, iterations });
            }
            (Step::SignIn, Answer::SignedIn(signed_in)) => {
                return Ok(self.succeed(&signed_in, known, wire));
            }
            (Step::SignIn, Answer::ResumeTooHigh { h, sent }) => {
                return Err(Fault::AckTooHigh { h, sent });
            }
            (Step::Salt(_) | Step::Keep | Step::SignIn, Answer::Refused(condition)) => {
                return self.refuse(condition, known, wire);
            }
            _ => {}
        }
        Ok(Next::Stay)
    }

    fn ask_next(&mut self, wire: &mut Wire) {
        if let Some(hash) = self.upgrades.pop() {
            self.step = Step::Salt(hash);
            return wire.ask(Ask::Upgrade { account: self.sign_in.account.clone(), hash });
        }
        self.step = Step::SignIn;
        let SignIn { account, mechanism, .. } = &*self.sign_in;
        wire.emit(Event::AuthOk { account: account.clone(), mechanism: *mechanism });
        wire.ask(Ask::SignIn(self.sign_in.clone()));
    }

    fn handle_next(
        &mut self,
        next: ElementRef<'_>,
        upgrade: Upgrade,
        wire: &mut Wire,
    ) -> Result<(), Condition> {
        if next.attr("task").as_deref() != Some(&xep0480_upgrade::task(upgrade.hash)) {
            return Err(Condition::MalformedRequest);
        }
        wire.write(|w| xep0480_upgrade::write_salt(w, &upgrade.salt, upgrade.iterations));
        self.step = Step::Derive(upgrade);
        Ok(())
    }

    fn handle_hash(
        &mut self,
        task_data: ElementRef<'_>,
        upgrade: &Upgrade,
        wire: &mut Wire,
    ) -> Result<(), Condition> {
        let salted = xep0480_upgrade::read_hash(task_data)?;
        let Upgrade { hash, salt, iterations } = upgrade;
        let keys = ScramKeys::from_salted(*hash, &salted, salt, *iterations);
        let keys = keys.ok_or(Condition::MalformedRequest)?;
        self.step = Step::Keep;
        wire.ask(Ask::Keep { account: self.sign_in.account.clone(), keys });
        Ok(())
    }

    /// XEP-0388 §2.6.1: success, and the features that are left, without a new header.
    fn succeed(&self, signed_in: &SignedIn, known: &mut Known, wire: &mut Wire) -> Next {
        let account = &self.sign_in.account;
        let identity = signed_in.jid.as_ref().map_or(account.as_str(), |jid| jid.as_str());
        let data = self.data.as_deref();
        wire.write(|w| {
            xep0388_sasl2::write_success(w, data, identity, |w| self.write_inline(signed_in, w));
        });
        wire.scanner.set_limits(wire.settings.limits);
        known.account = Some(account.clone());
        let lang = known.lang.take();
        if let (Some(jid), Some(Resumption::Resumed { received })) =
            (&signed_in.jid, signed_in.resumption)
        {
            // XEP-0198 §9.2: no features here; the stream is that of the earlier session.
            return Next::Bound(Established::resumed(jid.clone(), lang, received, wire));
        }
        known.is_bound = signed_in.jid.is_some();
        known.is_managed = signed_in.enabled.is_some();
        if let Some(host) = known.host.clone() {
            known.write_features(&host, wire);
        }
        let Some(jid) = &signed_in.jid else {
            known.lang = lang;
            return Next::Go(State::Bind(ExpectBind::default()));
        };
        let mut session = Established::new(jid.clone(), lang, wire);
        if signed_in.enabled.is_some() {
            session.count();
        }
        Next::Bound(session)
    }

    /// What came of the wishes: first the session that was to go on, then the new one.
    fn write_inline(&self, signed_in: &SignedIn, w: &mut Writer) {
        let is_resumed = matches!(signed_in.resumption, Some(Resumption::Resumed { .. }));
        match (signed_in.resumption, self.managed.resume) {
            (Some(Resumption::Resumed { received }), _) => {
                let previd = self.managed.previd.as_deref().unwrap_or_default();
                xep0198_sm::write_resumed(w, previd, wrapped(received));
            }
            (Some(Resumption::Failed { condition, h }), _) => {
                xep0198_sm::write_failed(w, condition, h);
            }
            (None, Some(condition)) => xep0198_sm::write_failed(w, condition, None),
            (None, None) => {}
        }
        if signed_in.jid.is_some() && !is_resumed {
            xep0386_bind2::write_bound(w, |w| {
                for frame in &signed_in.bound {
                    w.element(frame.root());
                }
                match (&signed_in.enabled, self.managed.enable) {
                    (Some(Enabled { id, max_secs }), _) => {
                        xep0198_sm::write_enabled(w, id.as_deref(), *max_secs);
                    }
                    (None, Some(condition)) => xep0198_sm::write_failed(w, condition, None),
                    (None, None) => {}
                }
            });
        }
        if let Some(token) = &signed_in.token {
            xep0484_fast::write_token(w, token);
        }
    }

    /// XEP-0388 §2.6.2: the stream is as it was before.
    fn refuse(
        &self,
        condition: Condition,
        known: &mut Known,
        wire: &mut Wire,
    ) -> Result<Next, Fault> {
        let SignIn { account, mechanism, .. } = &*self.sign_in;
        fail(condition, Profile::Extended, tried(*mechanism, account.local(), known), known, wire)?;
        Ok(Next::Go(State::Auth(ExpectAuth::default())))
    }

    /// Tells of an attempt that will not be decided.
    pub(super) fn break_off(&self, known: &Known, wire: &mut Wire) {
        let tried = tried(self.sign_in.mechanism, self.sign_in.account.local(), known);
        wire.emit(Event::AuthBrokenOff(tried));
    }
}

impl Managed {
    fn read_resume(
        &mut self,
        resume: Option<&Frame>,
        has_management: bool,
    ) -> Option<ResumeRequest> {
        let resume = resume?;
        match Element::read(resume.root()) {
            _ if !has_management => self.resume = Some(StanzaCondition::FeatureNotImplemented),
            Some(Element::Resume { h, previd }) => {
                self.previd = Some(previd.clone());
                return Some(ResumeRequest { previd, h });
            }
            _ => self.resume = Some(StanzaCondition::BadRequest),
        }
        None
    }

    fn read_enable(
        &mut self,
        bind: Option<&BindRequest>,
        has_management: bool,
    ) -> Option<EnableRequest> {
        let mut wishes = bind?.wishes.iter().map(Frame::root);
        let enable = wishes.find(|wish| wish.is(ns::SM, "enable"))?;
        match Element::read(enable) {
            _ if !has_management => self.enable = Some(StanzaCondition::FeatureNotImplemented),
            Some(Element::Enable { resume, max_secs }) => {
                return Some(EnableRequest { resume, max_secs });
            }
            _ => self.enable = Some(StanzaCondition::BadRequest),
        }
        None
    }
}
