//! What leaves for other servers and components and outlives the process: it is in the store until
//! they have it.
//!
//! Kept is what somebody was told is taken: messages of sessions that count what is acknowledged
//! (XEP-0198), as far as they say more than how things are at the moment, and changes of
//! subscriptions, of which our half is on disk. Requests and presence are not: an error or the next
//! presence says what became of them.

use std::sync::Arc;

use stentor_jid::Jid;
use stentor_stanza::{Condition, Stanza, StanzaError};
use stentor_store::limits::PAGE_ROWS_MAX;
use stentor_store::{Stage, StoreError, Ticket, UnderwayRow, Write};

use crate::engine::Engine;
use crate::outbox::Pressure;
use crate::phase::Cx;
use crate::remote::Links;

/// Which stanza of the store it is that leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Its number there.
    pub number: u64,
    /// Since when it is under way, in milliseconds since 1970.
    pub since_ms: i64,
}

/// Keeps a message for another domain where its sender is told that it is taken.
///
/// # Errors
/// The store has fallen behind.
pub(crate) fn keep(
    cx: &Cx<'_>,
    stanza: &Stanza,
    stage: &mut Stage,
) -> Result<Option<Kept>, StanzaError> {
    let is_acknowledged = cx.session.is_some_and(|s| s.resource.outbox.is_counting());
    if !is_acknowledged || !cx.worth.of(stanza).outlives || !cx.engine.keeps(stanza) {
        return Ok(None);
    }
    if !cx.engine.stores.writer.has_room() {
        return Err(StanzaError::new(Condition::ResourceConstraint));
    }
    Ok(Some(cx.engine.stage_underway(cx.bytes.of(stanza), cx.now_ms, stage)))
}

impl Engine {
    /// Sends a stanza that is in the store, or will be with a stage that has been submitted.
    ///
    /// # Errors
    /// As in [`Links::push`](crate::Links::push). The store keeps it no longer then.
    pub(crate) fn send_kept(&self, stanza: Stanza, kept: Kept) -> Result<Pressure, StanzaError> {
        self.unless_refused(kept, |links| links.push_kept(stanza, kept))
    }

    fn unless_refused(
        &self,
        kept: Kept,
        push: impl FnOnce(&dyn Links) -> Result<Pressure, StanzaError>,
    ) -> Result<Pressure, StanzaError> {
        let none = Err(StanzaError::new(Condition::RemoteServerNotFound));
        let pushed = self.links.get().map_or(none, |links| push(&**links));
        pushed.inspect_err(|_| self.drop_underway(kept.number))
    }

    /// Sends a stanza that is to arrive whatever becomes of this process. Ready once it is in the
    /// store; none if it does not get there.
    ///
    /// # Errors
    /// As in [`Links::push`](crate::Links::push).
    pub(crate) fn send_surely(&self, stanza: &Stanza) -> Result<Option<Ticket>, StanzaError> {
        if !self.keeps(stanza) {
            return self.send_remote(stanza.clone()).map(|_| None);
        }
        let mut stage = Stage::new();
        let bytes = stanza.to_bytes().into();
        let kept = self.stage_underway(bytes, self.clock.unix_ms(), &mut stage);
        let ticket = self.submit(stage);
        self.send_kept(stanza.clone(), kept).map(|_| ticket)
    }

    /// Sends what earlier processes did not bring to other domains, in its order. To be called once
    /// the ways there are connected and before anybody can send something newer. Says how many
    /// stanzas there are.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn restore_underway(self: &Arc<Self>) -> Result<usize, StoreError> {
        let (mut after, mut count) = (Some(0), 0);
        while let Some(from) = after {
            let page = self.stores.underway.page(from, PAGE_ROWS_MAX).await?;
            count += page.stanzas.len();
            after = page.next;
            page.stanzas.iter().for_each(|row| self.send_again(row));
        }
        Ok(count)
    }

    fn send_again(self: &Arc<Self>, row: &UnderwayRow) {
        let kept = Kept { number: row.number, since_ms: row.since_ms };
        let Ok(mut stanza) = Stanza::parse(&row.stanza) else {
            tracing::error!(
                event = "damaged",
                number = row.number,
                "A stanza that was under way is damaged."
            );
            return self.drop_underway(row.number);
        };
        // Of presence only what a user was told is taken is kept.
        stanza.head.is_directed = stanza.presence_type().is_some();
        // The domains of this process may be others than those of the former.
        let is = |jid: &Option<Jid>, of: &dyn Fn(&str) -> bool| {
            jid.as_ref().is_some_and(|jid| of(jid.domain()))
        };
        if !is(&stanza.head.from, &|domain| self.is_local(domain)) {
            return self.drop_underway(row.number);
        }
        let sent = if is(&stanza.head.to, &|domain| self.host(domain).is_some()) {
            self.drop_underway(row.number);
            Err(StanzaError::new(Condition::RemoteServerNotFound))
        } else {
            self.unless_refused(kept, |links| links.push_restored(stanza.clone(), kept))
        };
        if let Err(error) = sent {
            self.bounce(&stanza, &error);
        }
    }

    /// Whether a stanza for another domain goes to somebody who takes it over from the store.
    fn keeps(&self, stanza: &Stanza) -> bool {
        let links = self.links.get();
        links.zip(stanza.head.to.as_ref()).is_some_and(|(links, to)| links.may_keep(to))
    }

    fn stage_underway(&self, stanza: Arc<[u8]>, since_ms: i64, stage: &mut Stage) -> Kept {
        let number = self.next_id(since_ms);
        stage.push(Write::PutUnderway(UnderwayRow { number, since_ms, stanza }));
        Kept { number, since_ms }
    }

    fn drop_underway(&self, number: u64) {
        // If it fails, it is sent once more after a restart.
        drop(self.stores.writer.submit(Write::DropUnderway { numbers: vec![number] }));
    }
}
