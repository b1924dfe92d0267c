//! Presence (RFC 6121 §3 and §4): what becomes of one presence stanza of a session of ours.

pub(crate) mod abroad;
pub mod broadcast;
mod check;
mod directed;
mod ghosts;
pub(crate) mod probe;
mod sight;
pub(crate) mod subscription;
pub mod table;

use std::sync::Arc;

use stentor_stanza::{PresenceType, Stanza};

pub(crate) use broadcast::{Left, announce_end, greet, show_absent, waiting_requests};
pub use broadcast::{is_shown, leave, shown_to};
pub(crate) use check::priority;
pub(crate) use directed::note_gone;
pub(crate) use ghosts::{is_sighting, unseen};
pub use sight::{Shift, Sight};
pub use subscription::{Correspondent, correspondent, forget_account, remove_contact};

use crate::session::{Handling, Session, bad_request};
use crate::xep0203_delay;

/// Deals with a presence stanza whose `from` has been stamped.
pub(crate) fn handle(session: &Arc<Session>, mut stanza: Stanza) -> Handling {
    session.engine.metrics.presences_in.inc();
    xep0203_delay::cut_forged(&session.engine, &mut stanza);
    let Some(kind) = stanza.presence_type() else { return Handling::Done };
    // §4.3: a client's probe never brings it an error.
    if kind != PresenceType::Probe
        && let Err(error) = check::structure(&stanza)
    {
        session.refuse(&stanza, &error);
        return Handling::Done;
    }
    match (kind, stanza.head.to.is_some()) {
        (PresenceType::Available, false) => broadcast::available(session, stanza),
        (PresenceType::Unavailable, false) => {
            leave(session, Some(&stanza));
            Handling::Done
        }
        (PresenceType::Available | PresenceType::Unavailable, true) => {
            directed::send(session, &stanza);
            Handling::Done
        }
        (PresenceType::Probe, true) => {
            let session = session.clone();
            Handling::Later(Box::pin(async move { probe::answer(&session, stanza).await }))
        }
        (PresenceType::Error, true) => {
            session.engine.send_answer(stanza);
            Handling::Done
        }
        (PresenceType::Error | PresenceType::Probe, false) => Handling::Done,
        (kind, true) => {
            let session = session.clone();
            Handling::Later(Box::pin(async move {
                subscription::send(&session, kind, stanza).await;
            }))
        }
        // A subscription is to somebody.
        (_, false) => {
            session.refuse(&stanza, &bad_request());
            Handling::Done
        }
    }
}
