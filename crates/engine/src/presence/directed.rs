//! Directed presence (RFC 6121 §4.6).

use stentor_jid::Jid;
use stentor_stanza::{Condition, PresenceType, Stanza, StanzaError};

use crate::account::AccountState;
use crate::engine::{Engine, Route};
use crate::presence::{broadcast, ghosts};
use crate::session::Session;

/// Sends a presence to one entity and remembers who must hear of the end.
pub(crate) fn send(session: &Session, stanza: &Stanza) {
    let Some(to) = stanza.head.to.clone() else { return };
    let route = session.engine.route(&to);
    let is_available = stanza.presence_type() != Some(PresenceType::Unavailable);
    if !note(session, &to, is_available) {
        session.refuse(stanza, &StanzaError::new(Condition::ResourceConstraint));
        return;
    }
    match route {
        Route::Account(..) => {
            let of = Some((&*session.account, &*session.resource));
            broadcast::to_entity(&session.engine, of, stanza, &to);
        }
        Route::Host(_) => {}
        Route::Remote => {
            let mut directed = stanza.clone();
            directed.head.is_directed = true;
            // RFC 6120 §10.4.3. An earlier presence may have arrived, so the end is told anyway.
            if let Err(error) = session.engine.send_remote(directed) {
                session.refuse(stanza, &error);
            }
        }
    }
}

/// §4.6.1: who says that it is gone need not hear of the end of those that showed themselves to it.
pub(crate) fn note_gone(engine: &Engine, state: &AccountState, stanza: &Stanza) {
    if let (Some(PresenceType::Unavailable), Some(from)) =
        (stanza.presence_type(), &stanza.head.from)
    {
        let to = stanza.head.to.as_ref().and_then(|to| to.resource());
        let is_told = |name: &str| to.is_none_or(|to| to == name);
        for resource in state.resources().iter().filter(|r| is_told(r.jid.resource())) {
            ghosts::no_longer_directed(engine, resource, from);
        }
    }
}

/// Remembers who is to hear of the end, and who is not; false if these are too many.
fn note(session: &Session, to: &Jid, is_available: bool) -> bool {
    let _account = session.account.lock();
    let is_changed = if is_available {
        match session.resource.add_directed(to) {
            Some(is_new) => is_new,
            None => return false,
        }
    } else {
        session.resource.remove_directed(to)
    };
    if is_changed {
        session.note_directed(to, is_available);
    }
    true
}
