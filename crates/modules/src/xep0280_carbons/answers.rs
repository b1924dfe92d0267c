//! Which errors answer a message that was eligible (§6.1). An error says that only by its id, so a
//! session knows the ids of what it sent and was given lately.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use parking_lot::Mutex;
use stentor_engine::{Direction, Resource};
use stentor_jid::Jid;
use stentor_stanza::{MessageType, Stanza};

use crate::limits::CARBON_ANSWERS_MAX;

/// The keys of a session's latest eligible messages, oldest first.
#[derive(Clone, Default)]
struct Recent(Arc<Mutex<VecDeque<u64>>>);

/// What a message and the error that answers it have in common: who wrote the message, the other
/// party, by whatever resource, and the id.
pub(super) fn key(direction: Direction, stanza: &Stanza) -> u64 {
    let peer = match direction {
        Direction::Sent => &stanza.head.to,
        Direction::Received => &stanza.head.from,
    };
    let is_error = stanza.message_type() == Some(MessageType::Error);
    let is_own = (direction == Direction::Sent) != is_error;
    let mut hasher = DefaultHasher::new();
    is_own.hash(&mut hasher);
    peer.as_ref().map(Jid::bare_str).hash(&mut hasher);
    stanza.head.id.hash(&mut hasher);
    hasher.finish()
}

/// Notes that the session sent or was given an eligible message.
pub(super) fn note(session: &Resource, key: u64) {
    let recent = session.noted::<Recent>().unwrap_or_else(|| {
        let recent = Recent::default();
        session.note(recent.clone());
        recent
    });
    let mut keys = recent.0.lock();
    if keys.len() == CARBON_ANSWERS_MAX {
        keys.pop_front();
    }
    keys.push_back(key);
}

/// Whether it did so lately.
pub(super) fn is_noted(session: &Resource, key: u64) -> bool {
    session.noted::<Recent>().is_some_and(|recent| recent.0.lock().contains(&key))
}
