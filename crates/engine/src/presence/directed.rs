//! Directed presence (RFC 6121 §4.6).

use stentor_stanza::{Condition, PresenceType, Stanza, StanzaError};

use crate::engine::Route;
use crate::presence::broadcast;
use crate::session::Session;

/// Sends a presence to one entity and remembers who must hear of the end.
pub(crate) fn send(session: &Session, stanza: &Stanza) {
    let Some(to) = stanza.head.to.clone() else { return };
    let route = session.engine.route(&to);
    if stanza.presence_type() == Some(PresenceType::Unavailable) {
        session.resource.remove_directed(&to);
    } else if !session.resource.add_directed(&to) {
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
            if let Err(error) = session.engine.send_remote(stanza.clone()) {
                session.resource.remove_directed(&to);
                session.refuse(stanza, &error);
            }
        }
    }
}
