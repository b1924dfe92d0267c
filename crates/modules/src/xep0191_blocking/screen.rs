//! What the rules of an account do to stanzas (XEP-0191 §3.3, XEP-0016 §2.2 and §2.14).

use std::sync::Arc;

use stentor_engine::{AccountState, Admit, Cx, Direction, Flow, Resource, Screen, Verdict};
use stentor_jid::{BareJid, Jid};
use stentor_payload::xep0191_blocking::NS_ERRORS;
use stentor_stanza::{Condition, ErrorType, Kind as StanzaKind, PresenceType, Stanza, StanzaError};

use super::Blocking;
use super::rules::{Kind, Rules, Ruling};

/// The privacy list that a session has chosen, if it has.
#[derive(Clone, Default)]
pub(crate) struct Active(pub(crate) Option<Arc<str>>);

/// The list that a session has chosen.
pub(crate) fn active_of(session: &Resource) -> Option<Arc<str>> {
    session.noted::<Active>().and_then(|active| active.0)
}

impl Screen for Blocking {
    fn screen(&self, cx: &Cx<'_>, stanza: &Stanza, state: &AccountState) -> Verdict {
        let Some(rules) = rules_of(state) else { return Verdict::Pass };
        match cx.direction {
            Direction::Sent => sent(&cx.account.jid, rules, stanza, state),
            Direction::Received => received(&cx.account.jid, rules, stanza, state),
        }
    }
}

impl Admit for Blocking {
    fn admits(&self, flow: Flow, session: &Resource, peer: &Jid, state: &AccountState) -> bool {
        let Some(rules) = rules_of(state) else { return true };
        let kind = match flow {
            Flow::MessageIn | Flow::StoredIn => Kind::Message,
            Flow::PresenceIn => Kind::PresenceIn,
            Flow::PresenceOut => Kind::PresenceOut,
        };
        let ruling = ruling_for(session, rules, kind, peer, state);
        // The default list let it in when it was sent. Who has left a group or the roster since has
        // not sent it any less; who has been blocked is heard no more (§3.3).
        let was_judged = flow == Flow::StoredIn && active_of(session).is_none();
        ruling == Ruling::Allowed
            || (was_judged && ruling == Ruling::Denied)
            || is_own(&session.jid.to_bare(), peer)
    }
}

fn rules_of(state: &AccountState) -> Option<&Rules> {
    state.slots.find::<Rules>().filter(|rules| !rules.is_empty())
}

/// XEP-0191 §5: nobody blocks their own sessions.
fn is_own(account: &BareJid, peer: &Jid) -> bool {
    peer.bare_str() == account.as_str()
}

fn ruling_for(
    session: &Resource,
    rules: &Rules,
    kind: Kind,
    peer: &Jid,
    state: &AccountState,
) -> Ruling {
    rules.ruling(kind, peer, &state.roster, active_of(session).as_deref())
}

fn sent(account: &BareJid, rules: &Rules, stanza: &Stanza, state: &AccountState) -> Verdict {
    let Some(to) = stanza.head.to.as_ref().filter(|to| !is_own(account, to)) else {
        return Verdict::Pass;
    };
    let kind = match stanza.presence_type() {
        Some(PresenceType::Available | PresenceType::Unavailable) => Kind::PresenceOut,
        _ => Kind::Other,
    };
    let sender = stanza.head.from.as_ref().and_then(|from| state.resource(from.resource()?));
    let ruling = match sender {
        Some(session) => ruling_for(session, rules, kind, to, state),
        None => rules.ruling(kind, to, &state.roster, None),
    };
    let refusal = StanzaError::new(Condition::NotAcceptable).of_type(ErrorType::Cancel);
    match ruling {
        Ruling::Allowed => Verdict::Pass,
        Ruling::Blocked => Verdict::Refuse(refusal.with_app("blocked", NS_ERRORS)),
        Ruling::Denied => Verdict::Refuse(refusal),
    }
}

fn received(account: &BareJid, rules: &Rules, stanza: &Stanza, state: &AccountState) -> Verdict {
    let Some(from) = stanza.head.from.as_ref().filter(|from| !is_own(account, from)) else {
        return Verdict::Pass;
    };
    let named = stanza.head.to.as_ref().and_then(|to| to.resource());
    let kind = match stanza.head.kind {
        StanzaKind::Message(_) => Kind::Message,
        StanzaKind::Iq(_) => Kind::Iq,
        StanzaKind::Presence(PresenceType::Available | PresenceType::Unavailable) => {
            // Each session is asked whether it admits it.
            if named.is_none() {
                return Verdict::Pass;
            }
            Kind::PresenceIn
        }
        StanzaKind::Presence(_) => Kind::Other,
    };
    // XEP-0016 §2.2: the list of the session to which the stanza is addressed, else the default
    // list. Subscriptions are the account's.
    let addressee = named.filter(|_| kind != Kind::Other).and_then(|name| state.resource(name));
    let ruling = match addressee {
        Some(session) => ruling_for(session, rules, kind, from, state),
        None => rules.ruling(kind, from, &state.roster, None),
    };
    if ruling == Ruling::Allowed || (kind == Kind::Message && is_wanted(rules, from, state)) {
        return Verdict::Pass;
    }
    match stanza.head.kind {
        // §3.3: who blocks seems to be offline. Answers and errors are dropped: no reply is made.
        StanzaKind::Message(_) | StanzaKind::Iq(_) => {
            Verdict::Refuse(StanzaError::new(Condition::ServiceUnavailable))
        }
        StanzaKind::Presence(_) => Verdict::Drop,
    }
}

/// Whether a session that chose a list of its own takes messages that the default list denies
/// (XEP-0191 §5, point 5).
fn is_wanted(rules: &Rules, from: &Jid, state: &AccountState) -> bool {
    let takes = |session: &&Arc<Resource>| {
        session.priority().is_some_and(|priority| priority >= 0)
            && active_of(session).is_some_and(|active| {
                let ruling = rules.ruling(Kind::Message, from, &state.roster, Some(&active));
                ruling == Ruling::Allowed
            })
    };
    state.resources().iter().any(|session| takes(&session))
}
