//! XEP-0280: Message Carbons, version 1.0.1.
//!
//! Copies what an account's sessions send and receive to those of its sessions that asked.
//! Implements: §3 (discovery), §4, §5 (asking, errors), §6 (which messages: `engine/src/worth`; which
//! errors: `answers` beside this file), §7,
//! §8 (the copies), §9 (`<private/>`, and the hint `<no-copy/>`), §10.1, §10.3.
//! Left out: copies of a message that this server refuses (§8), and of the error: nobody has seen it,
//! and no archive has it. What is stored for later comes once: whoever gets it then is not copied to before
//! (`engine/src/pipeline.rs`). What claims to be a copy and is not the server's is taken out of messages.

mod answers;

use std::sync::Arc;

use stentor_engine::{
    AccountState, Annotate, Copy, Cx, Direction, Factory, Flag, Inline, IqCx, Mirror, Module,
    NoConfig, OnSet, Registrar, Resource, Scope, Serials, Session, Spec, Status, Wishes, Xep,
};
use stentor_payload::xep0280_carbons::{self as carbons, Disable, Enable, Side};
use stentor_stanza::{Condition, MessageType, Stanza, StanzaError};

/// The module.
pub(crate) const MODULE: Factory = Factory::of::<Carbons>();

struct Carbons;

impl Module for Carbons {
    const SPEC: &'static Spec = &Spec {
        name: "carbons",
        xeps: &[Xep { number: 280, version: "1.0.1", status: Status::Complete, note: "" }],
        requires: &[],
        options: &[],
    };
    type Config = NoConfig;

    fn build(_: NoConfig) -> Result<Self, String> {
        Ok(Self)
    }

    fn register(self: Arc<Self>, r: &mut Registrar) {
        r.set::<Enable, _>(Scope::Account, &self);
        r.set::<Disable, _>(Scope::Account, &self);
        r.disco(Scope::Host, &[carbons::NS, RULES]);
        r.disco(Scope::Account, &[carbons::NS, RULES]);
        r.annotate(self.clone());
        r.inline(self.clone());
        r.mirror(self);
    }
}

impl OnSet<Enable> for Carbons {
    type Reply = ();

    async fn set(&self, cx: &IqCx<'_>, _: Enable) -> Result<(), StanzaError> {
        own_session(cx)?.resource.set(Flag::Carbons);
        Ok(())
    }
}

impl OnSet<Disable> for Carbons {
    type Reply = ();

    async fn set(&self, cx: &IqCx<'_>, _: Disable) -> Result<(), StanzaError> {
        own_session(cx)?.resource.clear(Flag::Carbons);
        Ok(())
    }
}

/// XEP-0386 §3.2.1: it must succeed, so there is nothing to answer.
impl Inline for Carbons {
    fn feature(&self) -> Option<&'static str> {
        Some(carbons::NS)
    }

    fn set(&self, resource: &Resource, wishes: &Wishes<'_>) {
        if wishes.has(carbons::NS, "enable") {
            resource.set(Flag::Carbons);
        }
    }
}

/// §4.1, §5.1: a session asks for itself.
fn own_session<'a>(cx: &IqCx<'a>) -> Result<&'a Arc<Session>, StanzaError> {
    match cx.session {
        Some(session) if cx.is_own_account() => Ok(session),
        _ => Err(StanzaError::new(Condition::NotAllowed)),
    }
}

impl Annotate for Carbons {
    // §11: clients tell copies by their sender; not all of them did (CVE-2017-5589 and its kin).
    fn annotate(&self, _: &Cx<'_>, stanza: &mut Stanza, _: &AccountState) {
        if stanza.children().any(carbons::is_copy) {
            stanza.cut(carbons::is_copy);
        }
    }
}

impl Mirror for Carbons {
    fn mirror(
        &self,
        cx: &Cx<'_>,
        stanza: &Stanza,
        state: &AccountState,
        took: &Serials,
        copies: &mut Vec<Copy>,
    ) {
        if !state.resources().iter().any(|r| r.has(Flag::Carbons)) {
            return;
        }
        let side = match cx.direction {
            // What one writes to oneself is copied once, where it arrives.
            Direction::Sent if cx.is_to_self => return,
            Direction::Sent => Side::Sent,
            Direction::Received => Side::Received,
        };
        if !cx.worth.of(stanza).carbon.is_for(cx.direction) {
            return;
        }
        let sender = cx.session.filter(|s| Arc::ptr_eq(&s.account, cx.account));
        let sender = sender.map(|s| s.resource.serial);
        let mut parties = state.resources().iter();
        let is_party = |r: &&Arc<Resource>| sender == Some(r.serial) || took.contains(&r.serial);
        let key = answers::key(cx.direction, stanza);
        if stanza.message_type() == Some(MessageType::Error) {
            // §10.3: an error to oneself answers a copy, and is not for whoever wrote the message.
            if cx.is_to_self || !parties.any(|r| is_party(&r) && answers::is_noted(r, key)) {
                return;
            }
        } else {
            parties.filter(is_party).for_each(|r| answers::note(r, key));
        }
        let mut made: Option<Stanza> = None;
        for resource in state.resources().iter().filter(|r| r.has(Flag::Carbons)) {
            if took.contains(&resource.serial) || sender == Some(resource.serial) {
                continue;
            }
            let copy = match &made {
                Some(copy) => copy.with_head(copy.head.clone().to(resource.jid.clone())),
                None => carbons::copy(side, stanza, &cx.account.jid, &resource.jid),
            };
            made.get_or_insert_with(|| copy.clone());
            copies.push(Copy { resource: resource.clone(), stanza: copy });
        }
    }
}

/// §6.2: all the rules of §6.1 are kept to.
const RULES: &str = "urn:xmpp:carbons:rules:0";
