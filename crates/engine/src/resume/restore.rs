//! Sessions of an earlier process: they wait to be resumed, as if their streams had just broken.
//!
//! Their presence is what it was, and nobody is told anything, unless they do not come back. They
//! learn who is there now and which contacts are not. Sessions that cannot be resumed are told of by
//! [`Engine::announce_lost`].

use std::collections::HashMap;
use std::sync::Arc;

use smol_str::SmolStr;
use stentor_jid::FullJid;
use stentor_payload::xep0280_carbons::{self, Side};
use stentor_payload::{xep0203_delay, xep0359_sid};
use stentor_stanza::Stanza;
use stentor_store::limits::PAGE_ROWS_MAX;
use stentor_store::{
    ArchiveRow, PendingBody, PendingHow, PendingRow, SessionChange, SessionRow, StoreError, Write,
};

use crate::account::Account;
use crate::copied::Copied;
use crate::engine::Engine;
use crate::outbox::{Close, Copies, Fate, Former};
use crate::presence;
use crate::resource::{Available, Flag, Resource};
use crate::resume::Right;
use crate::session::Session;

/// Messages that several sessions of an account were given, by their numbers.
type Shared = HashMap<u64, Copies>;

impl Engine {
    /// Takes in the sessions that an earlier process left, before anybody can connect. Says how
    /// many there are. What that process was giving to others is kept for later.
    ///
    /// # Errors
    /// The store cannot be read or written.
    pub async fn restore_sessions(self: &Arc<Self>) -> Result<usize, StoreError> {
        self.skip_ids(self.stores.sessions.last_id().await?);
        self.skip_ids(self.stores.underway.last_number().await?);
        self.own_sessions_begin();
        self.stores.writer.submit(Write::KeepGiven).await?;
        let (mut after, mut count, mut shared) = (Some(0), 0, Shared::new());
        while let Some(from) = after {
            let page = self.stores.sessions.page(from, PAGE_ROWS_MAX).await?;
            // The others are for `announce_lost`.
            for row in page.sessions.into_iter().filter(|row| !presence::is_sighting(row)) {
                count += usize::from(self.restore_session(row, &mut shared).await?);
            }
            after = page.next;
        }
        Ok(count)
    }

    async fn restore_session(
        self: &Arc<Self>,
        row: SessionRow,
        shared: &mut Shared,
    ) -> Result<bool, StoreError> {
        let session = row.session;
        let account = self.account(&row.owner).await?;
        let account = account.filter(|account| !account.lock().is_suspended);
        let host = self.host(row.owner.as_jid().domain());
        let jid = row.owner.with_resource(&row.resource).ok();
        let (Some(account), Some(_), Some(jid)) = (account, host, jid) else {
            let change = SessionChange::Drop;
            drop(self.stores.writer.submit(Write::Session { session, change }));
            return Ok(false);
        };
        let mut places = Vec::new();
        let mut stanzas = Vec::new();
        let mut after = Some(0);
        while let Some(from) = after {
            let page = self.stores.sessions.pending(session, from, PAGE_ROWS_MAX).await?;
            after = page.next;
            for (place, stanza, fate) in self.stanzas(&account, &jid, page.rows, shared).await? {
                places.push(place);
                stanzas.push((stanza, fate));
            }
        }
        let former = Former { epoch: row.epoch, places, open_iqs: row.open_iqs };
        let (serial, now_ms) = (self.next_serial(), self.clock.unix_ms());
        let resource = Resource::new(jid, serial, now_ms, row.client.map(SmolStr::from));
        let presence = row.presence.and_then(|bytes| Stanza::parse(&bytes).ok());
        let available = presence.map(|stanza| {
            let priority = presence::priority(&stanza);
            Available { stanza, priority }
        });
        let flags = row.flags | Flag::Resumable as u32 | Flag::Detached as u32;
        resource.restore(flags, available, row.directed);
        let shared = (self.stores.writer.clone(), self.clock.clone());
        {
            let mut state = account.lock();
            if state.offline.is_waiting && !stanzas.is_empty() {
                state.slots.entry::<Copied>().restore(self, &resource, &mut stanzas);
            }
            resource.outbox.restore(session, shared, former, stanzas);
        }
        let resource = Arc::new(resource);
        account.lock().add_resource(resource.clone());
        self.metrics.sessions.inc();
        let restored = Arc::new(Session::new(self.clone(), account, resource));
        let right = Right { number: session, token: row.token, secs: row.max_secs };
        restored.wait_restored(right, row.state, row.h);
        // Without its own rules it would be sent what it refused: its client binds anew.
        if restored.resource.has(Flag::OwnRules) {
            restored.resource.outbox.close(Close::Shutdown);
        }
        Ok(true)
    }

    /// What waits for a session's acknowledgement, as it was sent. What the archive has lost is
    /// left out.
    async fn stanzas(
        &self,
        account: &Account,
        to: &FullJid,
        rows: Vec<PendingRow>,
        shared: &mut Shared,
    ) -> Result<Vec<(u64, Stanza, Fate)>, StoreError> {
        let ids = rows.iter().filter_map(|row| match row.body {
            PendingBody::Archive { id, .. } => Some(id),
            PendingBody::Bytes(_) => None,
        });
        let ids: Vec<u64> = ids.collect();
        let archived = match ids.is_empty() {
            true => Vec::new(),
            false => self.stores.archive.by_ids(&account.jid, ids).await?,
        };
        let archived: HashMap<u64, ArchiveRow> =
            archived.into_iter().map(|row| (row.id, row)).collect();
        let mut stanzas = Vec::new();
        for row in rows {
            let stanza = match &row.body {
                PendingBody::Bytes(bytes) => Stanza::parse(bytes).ok(),
                PendingBody::Archive { id, how } => archived
                    .get(id)
                    .and_then(|entry| self.archived_stanza(account, to, entry, *how)),
            };
            let Some(stanza) = stanza else {
                tracing::warn!(event = "damaged", session = %to, seq = row.seq, "What waited for a session is gone.");
                continue;
            };
            let fate = match (row.copies, row.shared) {
                (0, _) => Fate::Forget,
                (_, None) => Fate::Reroute,
                // Who acknowledged it never loses it: then nobody routes it again.
                (left, Some(number)) => {
                    let count = usize::try_from(left).unwrap_or(usize::MAX);
                    Fate::Shared(shared.entry(number).or_insert_with(|| Copies::of(count)).clone())
                }
            };
            stanzas.push((row.seq, stanza, fate));
        }
        Ok(stanzas)
    }

    fn archived_stanza(
        &self,
        account: &Account,
        to: &FullJid,
        entry: &ArchiveRow,
        how: PendingHow,
    ) -> Option<Stanza> {
        let mut stanza = Stanza::parse(&entry.body).ok()?;
        let owner = &account.jid;
        stanza.append(|w| xep0359_sid::write(w, owner.as_str(), &self.show_id(entry.id)));
        match how {
            PendingHow::Plain => {
                stanza.append(|w| xep0203_delay::write(w, owner.domain(), entry.at_ms));
                Some(stanza)
            }
            PendingHow::CarbonSent => Some(xep0280_carbons::copy(Side::Sent, &stanza, owner, to)),
            PendingHow::CarbonReceived => {
                Some(xep0280_carbons::copy(Side::Received, &stanza, owner, to))
            }
        }
    }
}
