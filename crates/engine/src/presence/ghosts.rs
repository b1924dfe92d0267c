//! Sessions that died with an earlier process, and those who saw them.
//!
//! A session that cannot be resumed (XEP-0198 §5) has a row in the store as long as somebody sees it:
//! those who may see the account's presence (RFC 6121 §4.2), and those to whom it sent directed presence
//! (§4.6). If the process is killed, the next one tells them what the session itself would have told
//! (§4.5.2, §4.6.3); with a session that can be resumed it waits until nobody may come back for it.
//!
//! A session costs one row when it is first seen and one for each that gets directed presence. Nobody
//! waits for them: what a kill catches before their commit is not told.

use std::sync::Arc;

use stentor_jid::{FullJid, Jid};
use stentor_store::limits::PAGE_ROWS_MAX;
use stentor_store::{SessionChange, SessionRow, SessionState, StoreError, Write};

use super::broadcast::{Left, announce_end, show_again};
use crate::engine::Engine;
use crate::resource::{Flag, Resource};
use crate::session::Session;

impl Session {
    /// Those who may see the account's presence see this session from here on. The caller holds the
    /// account's lock.
    pub(super) fn note_seen(&self) {
        self.note_sighting(SessionChange::Presence(Some(Vec::new())));
    }

    /// Somebody gets directed presence from here on, or no longer. The caller holds the account's
    /// lock.
    pub(super) fn note_directed(&self, to: &Jid, is_available: bool) {
        self.note_sighting(SessionChange::Directed { to: to.clone(), is_available });
    }

    /// All who see the session now. The caller holds the account's lock.
    pub(crate) fn note_sightings(&self) {
        if self.is_seen() {
            self.note_seen();
        }
    }

    fn is_seen(&self) -> bool {
        is_seen(&self.resource)
    }

    fn note_sighting(&self, change: SessionChange) {
        // What is known of others is in their own rows; nothing of a visitor is stored.
        if self.resource.has(Flag::Resumable) || self.account.is_ephemeral {
            return;
        }
        if !self.is_seen() {
            drop(unseen(&self.resource).map(|write| self.engine.stores.writer.submit(write)));
            return;
        }
        let known = self.resource.sighting();
        let session = known.unwrap_or_else(|| self.engine.next_id(self.engine.clock.unix_ms()));
        self.resource.set_sighting(session);
        let change = match known {
            Some(_) => change,
            None => SessionChange::Put(Box::new(self.sighting(session))),
        };
        drop(self.engine.stores.writer.submit(Write::Session { session, change }));
    }

    fn sighting(&self, session: u64) -> SessionRow {
        SessionRow {
            session,
            owner: self.account.jid.clone(),
            resource: self.resource.jid.resource().to_owned(),
            client: None,
            token: Vec::new(),
            max_secs: 0,
            flags: 0,
            epoch: 0,
            state: SessionState::Attached,
            presence: self.resource.is_available().then(Vec::new),
            directed: self.resource.directed(),
            h: 0,
            open_iqs: Vec::new(),
        }
    }
}

/// Somebody who got directed presence need not be told of the session's end any more: it has been, or
/// has left itself. The next process does not tell it either.
pub(super) fn no_longer_directed(engine: &Engine, resource: &Resource, to: &Jid) {
    if !resource.remove_directed(to) {
        return;
    }
    let write = match resource.outbox.number().or(resource.sighting()) {
        Some(_) if !resource.has(Flag::Resumable) && !is_seen(resource) => unseen(resource),
        Some(session) => {
            let change = SessionChange::Directed { to: to.clone(), is_available: false };
            Some(Write::Session { session, change })
        }
        None => None,
    };
    drop(write.map(|write| engine.stores.writer.submit(write)));
}

fn is_seen(resource: &Resource) -> bool {
    resource.is_available() || !resource.directed().is_empty()
}

/// Nobody sees a session any more, or it is known as one that can be resumed: what is to be written.
pub(crate) fn unseen(resource: &Resource) -> Option<Write> {
    let session = resource.take_sighting()?;
    Some(Write::Session { session, change: SessionChange::Drop })
}

/// Whether a row is only about who saw a session.
pub(crate) const fn is_sighting(row: &SessionRow) -> bool {
    row.max_secs == 0
}

impl Engine {
    /// Tells everyone who saw them that sessions of an earlier process are gone, as far as they cannot
    /// be resumed. [`Engine::restore_sessions`] comes before. Whoever is back meanwhile stays.
    ///
    /// # Errors
    /// The store could not be read; the next process tells the others.
    pub async fn announce_lost(self: &Arc<Self>) -> Result<usize, StoreError> {
        let end = self.own_sessions_from();
        let (mut after, mut count) = (Some(0), 0);
        while let Some(from) = after {
            let page = self.stores.sessions.page(from, PAGE_ROWS_MAX).await?;
            after = page.next.filter(|next| *next < end);
            for row in page.sessions.into_iter().filter(|row| row.session < end && is_sighting(row))
            {
                let session = row.session;
                count += usize::from(self.announce_one(row).await?);
                // If it fails, they are told once more.
                let change = SessionChange::Drop;
                drop(self.stores.writer.submit(Write::Session { session, change }));
            }
        }
        Ok(count)
    }

    async fn announce_one(self: &Arc<Self>, row: SessionRow) -> Result<bool, StoreError> {
        let found = self.account(&row.owner).await?;
        let host = self.host(row.owner.domain());
        let jid = row.owner.with_resource(&row.resource).ok();
        let (Some(account), Some(_), Some(jid)) = (found, host, jid) else { return Ok(false) };
        let SessionRow { presence, mut directed, .. } = row;
        let back = |jid: &FullJid| account.lock().resource(jid.resource()).cloned();
        let is_back = back(&jid).is_some_and(|back| {
            let again = back.directed();
            directed.retain(|to| !again.contains(to));
            back.is_available()
        });
        let left = Left::of(presence.is_some() && !is_back, directed);
        let lost = Resource::new(jid, self.next_serial(), 0, None);
        announce_end(self, &account, &lost, left, None);
        // One that has shown itself meanwhile may have been overtaken by that.
        if let Some(back) = back(&lost.jid).filter(|_| !is_back) {
            show_again(self, &account, &back);
        }
        Ok(true)
    }
}
