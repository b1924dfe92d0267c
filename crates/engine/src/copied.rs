//! Who has a copy (XEP-0280) of a message that waits in the store behind others.
//!
//! Nobody is given the message itself before what was stored earlier, and everybody else sees it at
//! once. Who is handed what is stored in the end may be one of them: a stream breaks, another session
//! is resumed first. It is not given the message twice then.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use stentor_jid::BareJid;
use stentor_payload::{xep0280_carbons, xep0359_sid};
use stentor_stanza::Stanza;
use stentor_store::OfflineRow;

use crate::engine::Engine;
use crate::limits::COPIED_MAX;
use crate::outbox::{Copies, Fate};
use crate::resource::Resource;

/// The messages of one account that wait, and of which others have copies.
#[derive(Default)]
pub(crate) struct Copied(BTreeMap<Key, Entry>);

/// One of them.
#[derive(Clone)]
pub(crate) struct Entry {
    /// Who has a copy. The store counts as one who has the message.
    pub(crate) copies: Copies,
    /// The session that was being handed what came before, and so got no copy.
    pub(crate) behind: Option<u64>,
}

/// By what it is known, before and after a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Key {
    /// Its id in the archive.
    Archived(u64),
    /// The hash of its bytes, where nobody archives it.
    Bytes(u64),
}

impl Copied {
    /// Some have a copy of a message. Beyond the maximum it is not noted: it may come twice then.
    pub(crate) fn note(&mut self, key: Key, entry: Entry) {
        if self.0.len() < COPIED_MAX {
            self.0.insert(key, entry);
        }
    }

    /// Who has a copy.
    pub(crate) fn find(&self, key: Key) -> Option<&Entry> {
        self.0.get(&key)
    }

    /// Nothing waits any more.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// What a session of an earlier process had been given and had not acknowledged: the copies among
    /// that may be of messages that wait.
    pub(crate) fn restore(
        &mut self,
        engine: &Engine,
        session: &Resource,
        stanzas: &mut [(Stanza, Fate)],
    ) {
        let owner = session.jid.to_bare();
        for (stanza, fate) in stanzas {
            let Some(key) = Key::of_copy(engine, stanza, &owner) else { continue };
            if !matches!(fate, Fate::Forget) {
                continue;
            }
            if self.find(key).is_none() {
                self.note(key, Entry { copies: Copies::of(1), behind: None });
            }
            let Some(entry) = self.find(key) else { return };
            entry.copies.is_copied_to(session);
            *fate = Fate::Shared(entry.copies.clone());
        }
    }
}

impl Key {
    /// For a message that the account keeps under this id, if it does.
    pub(crate) fn of(kept: Option<u64>, message: &Stanza) -> Self {
        kept.map_or_else(|| Self::of_bytes(&message.to_bytes()), Self::Archived)
    }

    /// For a message in the store.
    pub(crate) fn of_stored(row: &OfflineRow) -> Self {
        row.archived.map_or_else(|| Self::of_bytes(&row.stanza), Self::Archived)
    }

    fn of_copy(engine: &Engine, copy: &Stanza, owner: &BareJid) -> Option<Self> {
        let message = xep0280_carbons::copied(copy, owner)?;
        let kept = xep0359_sid::stanza_id(&message, owner);
        Some(Self::of(kept.and_then(|id| engine.read_id(&id)), &message))
    }

    fn of_bytes(bytes: &[u8]) -> Self {
        let mut hasher = DefaultHasher::new();
        bytes.hash(&mut hasher);
        Self::Bytes(hasher.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_noted_is_bounded() {
        let mut copied = Copied::default();
        for n in 0..COPIED_MAX as u64 + 10 {
            copied.note(Key::Archived(n), Entry { copies: Copies::of(1), behind: None });
        }
        assert_eq!(copied.0.len(), COPIED_MAX);
        assert!(copied.find(Key::Archived(0)).is_some());
        copied.clear();
        assert!(copied.find(Key::Archived(0)).is_none());
    }

    #[test]
    fn a_message_is_known_by_its_place_in_the_archive_or_by_its_bytes() {
        let message = Stanza::parse(b"<message id='m1'><body>x</body></message>").unwrap();
        let row =
            |archived| OfflineRow { id: 1, received_ms: 0, archived, stanza: message.to_bytes() };
        for kept in [None, Some(7)] {
            assert_eq!(Key::of(kept, &message), Key::of_stored(&row(kept)), "{kept:?}");
        }
        let other = Stanza::parse(b"<message id='m2'><body>x</body></message>").unwrap();
        assert_ne!(Key::of(None, &message), Key::of(None, &other));
    }
}
