//! Handing stored messages to a resource that has become available (XEP-0160 §2).
//!
//! Stored messages go first, in the order in which they were stored; what arrives meanwhile queues
//! up behind them in the store (`deliver.rs` sees `flushing`). A message leaves the store only
//! when the session has written it, so a crash in between repeats and never loses.

use std::sync::Arc;
use std::time::Duration;

use stentor_jid::BareJid;
use stentor_payload::xep0280_carbons::{self, Side};
use stentor_payload::{xep0203_delay, xep0359_sid};
use stentor_stanza::{DamagedStanza, Stanza};
use stentor_store::{OfflinePage, OfflineRow, PendingHow, Stage, StoreError, Ticket, Write};

use crate::account::{Account, AccountState};
use crate::copied::{Copied, Entry, Key};
use crate::engine::Engine;
use crate::host::Host;
use crate::kept::{About, Became};
use crate::limits::{
    BACKLOG_ASIDE_PAUSES, BACKLOG_RETRY_MS, BACKLOG_STALL_PAUSES, BACKLOG_TRIES_MAX, OFFLINE_PAGE,
    OUTBOX_SOFT_BYTES, PARKED_PAUSE_MS, SLOW_SENDER_PAUSE_MS,
};
use crate::outbox::{Close, Fate, Item, Outbox, Pressure, Stored};
use crate::pending::{Keep, Pending};
use crate::phase::Flow;
use crate::resource::{Flag, Resource};
use crate::sequel::Waiter;
use crate::service;
use crate::worth::NS_RETRACTION;

/// The right to be handed what is stored. One resource has it at a time; it ends with the value,
/// so that work that is broken off blocks nobody.
pub(crate) struct Flush {
    account: Arc<Account>,
    resource: Arc<Resource>,
}

impl Flush {
    /// Takes the right, if something waits and nobody has it. The caller holds the account's lock
    /// from before the resource can get messages: none overtakes those stored.
    pub(crate) fn begin(
        account: &Arc<Account>,
        state: &mut AccountState,
        resource: &Arc<Resource>,
    ) -> Option<Self> {
        if !state.offline.is_waiting || state.offline.flushing.is_some() {
            return None;
        }
        // XEP-0013 §2.2: who looks at them one by one is handed nothing, nor is anybody else then.
        if state.resources().iter().any(|r| r.has(Flag::OfflineByHand)) {
            return None;
        }
        state.offline.flushing = Some(resource.serial);
        Some(Self { account: account.clone(), resource: resource.clone() })
    }

    /// The same for the best resource that is there.
    pub(crate) fn begin_for_best(account: &Arc<Account>, state: &mut AccountState) -> Option<Self> {
        let best = state
            .resources()
            .iter()
            .filter(|r| r.outbox.closing().is_none() && !r.outbox.is_parked())
            .filter_map(|r| Some((r.priority().filter(|p| *p >= 0)?, r)))
            .max_by_key(|(priority, _)| *priority)
            .map(|(_, resource)| resource.clone())?;
        Self::begin(account, state, &best)
    }

    /// Hands over everything stored. Where the stream breaks meanwhile, the next best resource gets
    /// the rest, or this one once it is resumed.
    pub(crate) fn start(self, engine: &Arc<Engine>) {
        self.start_for(engine, Waiter::default());
    }

    /// The same for a client that has just become available: what fits comes before anything that is
    /// due to its later stanzas, which wait for what is returned. They do not wait for room that it
    /// makes by what it sends.
    pub(crate) fn start_first(
        self,
        engine: &Arc<Engine>,
    ) -> impl Future<Output = ()> + Send + 'static {
        let (waiter, done) = Waiter::new();
        self.start_for(engine, waiter);
        done
    }

    fn start_for(self, engine: &Arc<Engine>, waiter: Waiter) {
        let engine = engine.clone();
        service::start(async move { self.hand_over(&engine, waiter).await });
    }

    async fn hand_over(self, engine: &Engine, mut waiter: Waiter) {
        let mut next = Some(self);
        while let Some(flush) = next {
            flush.hand_all(engine, &mut waiter).await;
            waiter.let_go();
            next = if flush.resource.outbox.is_parked() { flush.pass_on() } else { None };
        }
    }

    /// Gives the right to the best resource that is there. Under one lock: nothing is delivered to
    /// that before what is stored.
    fn pass_on(self) -> Option<Self> {
        let mut state = self.account.lock();
        // Who ended, or was replaced, has it no more.
        if !self.is_held(&state) {
            return None;
        }
        state.offline.flushing = None;
        Self::begin_for_best(&self.account, &mut state)
    }

    fn is_held(&self, state: &AccountState) -> bool {
        state.offline.flushing == Some(self.resource.serial)
    }

    async fn hand_all(&self, engine: &Engine, waiter: &mut Waiter) {
        let owner = &self.account.jid;
        for attempt in 0..BACKLOG_TRIES_MAX {
            let Err(error) = self.hand_pages(engine, waiter).await else { return };
            waiter.let_go();
            tracing::error!(event = "store_failed", account = %owner, attempt, %error, "Stored messages could not be read.");
            if self.resource.outbox.closing().is_some() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(BACKLOG_RETRY_MS << attempt)).await;
        }
    }

    async fn hand_pages(&self, engine: &Engine, waiter: &mut Waiter) -> Result<(), StoreError> {
        loop {
            let (after, stored) = {
                let state = self.account.lock();
                (state.offline.handed_id, state.offline.stored)
            };
            // What was staged before now must be readable.
            engine.stores.writer.barrier().await?;
            let page = engine.stores.offline.page(&self.account.jid, after, OFFLINE_PAGE).await?;
            {
                let mut state = self.account.lock();
                if !self.is_held(&state) {
                    return Ok(());
                }
                // Some that were handed before came back, and stand before this page.
                if state.offline.handed_id < after {
                    continue;
                }
                let Some(up_to) = self.hand_page(engine, &mut state, &page) else { return Ok(()) };
                state.offline.handed_id = page.next.unwrap_or(up_to).max(after);
                forget(&mut state, page.damaged.len() as u64, 0);
                // Under the lock: from here on messages go to the resource, behind these.
                if page.next.is_none() && state.offline.stored == stored {
                    state.nothing_waits();
                    state.offline.flushing = None;
                    return Ok(());
                }
            }
            if !has_room(&self.resource.outbox, &mut || waiter.let_go()).await {
                return Ok(());
            }
        }
    }

    async fn clear_pages(&self, engine: &Engine) -> Result<(), StoreError> {
        let (mut after, stored) = {
            let state = self.account.lock();
            (state.offline.handed_id, state.offline.stored)
        };
        engine.stores.writer.barrier().await?;
        let mut is_empty = true;
        loop {
            let page = engine.stores.offline.page(&self.account.jid, after, OFFLINE_PAGE).await?;
            let (archived, others): (Vec<_>, Vec<_>) =
                page.messages.iter().partition(|message| message.archived.is_some());
            is_empty &= others.is_empty();
            let size = |message: &&OfflineRow| (message.id, message.stanza.len() as u64);
            archived.iter().for_each(|row| note(engine, &self.account.jid, row, Became::InArchive));
            let archived: Vec<_> = archived.iter().map(size).collect();
            if !archived.is_empty() {
                drop(remove(engine, &self.account, &archived));
            }
            let Some(next) = page.next else { break };
            after = next;
        }
        let mut state = self.account.lock();
        if is_empty && state.offline.stored == stored {
            state.nothing_waits();
        }
        Ok(())
    }

    /// Queues the messages of a page and the mark behind them, and returns the last id. None if
    /// the session is ending.
    fn hand_page(
        &self,
        engine: &Engine,
        state: &mut AccountState,
        page: &OfflinePage,
    ) -> Option<u64> {
        let host = engine.host(self.account.jid.domain());
        let (mut page_of, mut is_gone) = (Handed::default(), false);
        for message in &page.messages {
            let bytes = message.stanza.len() as u64;
            let about = |stanza| About::of(stanza, &self.account.jid, bytes);
            let mut had_before = false;
            match late(engine, &self.account.jid, message) {
                // XEP-0191 §3.3: nothing is delivered of one who has been blocked meanwhile.
                Ok(stanza) if !is_admitted(host.as_deref(), &self.resource, &stanza, state) => {
                    engine.note_kept(about(&stanza), Became::Blocked);
                }
                // What its sender took back meanwhile is not delivered; that he did is.
                Ok(stanza) if message.archived.is_some() && is_tombstone(&stanza) => {
                    engine.note_kept(about(&stanza), Became::Retracted);
                }
                Ok(stanza) => {
                    let head = stanza.head.clone();
                    match self.hand(host.as_deref(), state, message, stanza, &mut page_of.pending) {
                        None => had_before = true,
                        Some(Pressure::Gone) => {
                            is_gone = true;
                            break;
                        }
                        Some(_) => {}
                    }
                    let about = About::of_head(&head, &self.account.jid, bytes);
                    engine.note_kept(about, Became::Delivered);
                }
                Err(error) => {
                    let (owner, id) = (self.account.jid.clone(), message.id);
                    tracing::error!(event = "damaged", account = %owner, id, %error, "A stored message is damaged and was put aside.");
                    drop(engine.stores.writer.submit(Write::PutAsideOffline { owner, id }));
                }
            }
            page_of.note(message.id, bytes, had_before);
        }
        let Some(last) = page_of.last() else { return (!is_gone).then_some(0) };
        self.leave(engine, state, page_of).then_some(last)
    }

    /// Gives the session a stored message; none if it has a copy of it already (XEP-0280).
    fn hand(
        &self,
        host: Option<&Host>,
        state: &AccountState,
        message: &OfflineRow,
        stanza: Stanza,
        pending: &mut Pending,
    ) -> Option<Pressure> {
        let (resource, owner) = (&self.resource, &self.account.jid);
        let keep = |how| message.archived.map_or(Keep::Bytes, |id| Keep::Archived(id, how));
        let copied = state.slots.find::<Copied>();
        let entry = copied.and_then(|copied| copied.find(Key::of_stored(message)));
        // Who would have been handed it has lost the right to that, and is there still.
        let former = entry.and_then(|entry| entry.behind).filter(|s| *s != resource.serial);
        let former = former.and_then(|s| state.resources().iter().find(|r| r.serial == s));
        let takes_copies =
            |r: &&Arc<Resource>| r.has(Flag::Carbons) && is_admitted(host, r, &stanza, state);
        if let (Some(former), Some(Entry { copies, .. })) = (former.filter(takes_copies), entry)
            && !copies.has_copy(former.serial)
        {
            let copy = xep0280_carbons::copy(Side::Received, &stanza, owner, &former.jid);
            let (fate, keep) = (Fate::Shared(copies.clone()), keep(PendingHow::CarbonReceived));
            if pending.push(former, copy, fate, 0, keep) != Pressure::Gone {
                copies.is_copied_to(former);
            }
        }
        if entry.is_some_and(|entry| entry.copies.has_copy(resource.serial)) {
            return None;
        }
        if !resource.outbox.is_durable() {
            return Some(resource.outbox.push(stanza, Fate::Forget));
        }
        // The store has it no longer then: it is lost as any other of which there are copies.
        let fate = entry.map_or(Fate::Reroute, |entry| Fate::Shared(entry.copies.clone()));
        let pressure = pending.push(resource, stanza, fate, 1, keep(PendingHow::Plain));
        if let Some(entry) = entry.filter(|_| pressure != Pressure::Gone) {
            entry.copies.is_with(resource);
        }
        Some(pressure)
    }

    /// What a session that outlives the process was handed leaves the store as it gets its place; all
    /// else as the client is known to have it. False if the session is ending.
    fn leave(&self, engine: &Engine, state: &mut AccountState, handed: Handed) -> bool {
        let Handed { mut pending, given: mut mark, had } = handed;
        let outbox = &self.resource.outbox;
        let is_durable = outbox.is_durable();
        let mut stage = Stage::new();
        pending.write(&mut stage);
        if is_durable {
            if !mark.ids.is_empty() {
                forget(state, mark.ids.len() as u64, mark.bytes);
                let owner = self.account.jid.clone();
                stage.push(Write::DropOfflineIds { owner, ids: mark.ids });
            }
            mark = had;
        }
        if !stage.is_empty() {
            // If it fails they are delivered once more: repeated, not lost.
            drop(engine.submit(stage));
        }
        pending.release();
        let is_ending = is_durable && outbox.closing().is_some();
        !is_ending && (mark.ids.is_empty() || outbox.push_mark(mark) != Pressure::Gone)
    }
}

/// What became of a page.
#[derive(Default)]
struct Handed {
    pending: Pending,
    /// What the session was given, and what nobody gets.
    given: Stored,
    /// What a session that outlives the process has a copy of, which it may lose with it.
    had: Stored,
}

impl Handed {
    fn note(&mut self, id: u64, bytes: u64, had_before: bool) {
        let stored = if had_before { &mut self.had } else { &mut self.given };
        stored.ids.push(id);
        stored.bytes += bytes;
    }

    fn last(&self) -> Option<u64> {
        self.given.ids.last().max(self.had.ids.last()).copied()
    }
}

fn is_admitted(
    host: Option<&Host>,
    session: &Resource,
    stanza: &Stanza,
    state: &AccountState,
) -> bool {
    let (Some(host), Some(from)) = (host, &stanza.head.from) else { return true };
    host.admits(Flow::StoredIn, session, from, state)
}

impl Drop for Flush {
    fn drop(&mut self) {
        let mut state = self.account.lock();
        // One that is ending keeps it until it has ended: what it was handed and has not taken comes
        // before the rest.
        if self.is_held(&state) && self.resource.outbox.closing().is_none() {
            state.offline.flushing = None;
        }
    }
}

/// A stored message as it is delivered late: with the stamp of XEP-0203, and with its id if the
/// account's archive has it, so that nobody shows it twice.
///
/// # Errors
/// The record is damaged.
pub fn late(
    engine: &Engine,
    owner: &BareJid,
    message: &OfflineRow,
) -> Result<Stanza, DamagedStanza> {
    let mut stanza = Stanza::parse(&message.stanza)?;
    if let Some(id) = message.archived {
        stanza.append(|w| xep0359_sid::write(w, owner.as_str(), &engine.show_id(id)));
    }
    let domain = owner.domain();
    // XEP-0203 §2: one stamp. What was handed out before, and came back, was stored with it.
    if xep0203_delay::since(&stanza, domain).is_none() {
        stanza.append(|w| xep0203_delay::write(w, domain, message.received_ms));
    }
    Ok(stanza)
}

/// XEP-0424 §4: whether nothing is left of the message.
fn is_tombstone(stanza: &Stanza) -> bool {
    let mut children = stanza.children();
    children.next().is_some_and(|c| c.is(NS_RETRACTION, "retracted"))
}

/// Removes what an account was kept before a time and what no session is being handed; none of what
/// came later is looked at.
///
/// # Errors
/// The store could not be read or written.
pub async fn expire(engine: &Engine, owner: &BareJid, before_ms: i64) -> Result<(), StoreError> {
    let Some(account) = engine.account(owner).await? else { return Ok(()) };
    engine.stores.writer.barrier().await?;
    loop {
        let after = account.lock().offline.handed_id;
        let page = engine.stores.offline.page(owner, after, OFFLINE_PAGE).await?;
        let overdue = page.messages.iter().take_while(|row| row.received_ms < before_ms);
        let overdue: Vec<_> = overdue.collect();
        let ids: Vec<_> = overdue.iter().map(|row| (row.id, row.stanza.len() as u64)).collect();
        let removed = {
            let mut state = account.lock();
            let is_theirs = state.offline.flushing.is_some() || state.offline.handed_id != after;
            if is_theirs || ids.is_empty() {
                return Ok(());
            }
            drop_ids(engine, owner, &mut state, &ids)
        };
        overdue.iter().for_each(|row| note(engine, owner, row, Became::Expired));
        engine.settle(&account, removed).await?;
    }
}

/// Tells what became of a stored message.
pub fn note(engine: &Engine, owner: &BareJid, row: &OfflineRow, became: Became) {
    let stanza = Stanza::parse(&row.stanza).ok();
    let bytes = row.stanza.len() as u64;
    let about = stanza.as_ref().map(|stanza| About::of(stanza, owner, bytes));
    let unknown = About { to: owner, from: None, id: None, bytes };
    engine.note_kept(about.unwrap_or(unknown), became);
}

/// The owner has looked at these stored messages and removes them: ids and bytes of each. They
/// leave the store with the ticket.
pub fn remove(engine: &Engine, account: &Account, messages: &[(u64, u64)]) -> Ticket {
    drop_ids(engine, &account.jid, &mut account.lock(), messages)
}

fn drop_ids(
    engine: &Engine,
    owner: &BareJid,
    state: &mut AccountState,
    messages: &[(u64, u64)],
) -> Ticket {
    forget(state, messages.len() as u64, messages.iter().map(|(_, bytes)| bytes).sum());
    let ids = messages.iter().map(|(id, _)| *id).collect();
    engine.stores.writer.submit(Write::DropOfflineIds { owner: owner.clone(), ids })
}

/// Removes stored messages that the account's archive has, without handing them to anybody: the
/// client of this new session reads them there (XEP-0386 §3.2). Others stay and wait.
///
/// # Errors
/// The store could not be read.
pub async fn clear_archived(
    engine: &Arc<Engine>,
    account: &Arc<Account>,
    resource: &Arc<Resource>,
) -> Result<(), StoreError> {
    let Some(flush) = Flush::begin(account, &mut account.lock(), resource) else { return Ok(()) };
    let outcome = flush.clear_pages(engine).await;
    // Who became available meanwhile was handed nothing.
    if let Some(due) = flush.pass_on() {
        due.start(engine);
    }
    outcome
}

/// What is done before one waits for a client to make room by what it sends.
type StepAside<'a> = &'a mut (dyn FnMut() + Send);

/// See [`crate::Session::wait_for_room`].
pub(crate) async fn wait_for_room(outbox: &Outbox, step_aside: StepAside<'_>) {
    while !has_room(outbox, step_aside).await {
        tokio::time::sleep(Duration::from_millis(PARKED_PAUSE_MS)).await;
    }
}

/// The same; false at once where the session is without a stream.
async fn has_room(outbox: &Outbox, step_aside: StepAside<'_>) -> bool {
    let (mut least, mut stalled) = (usize::MAX, 0);
    loop {
        let bytes = outbox.bytes();
        if bytes <= OUTBOX_SOFT_BYTES || outbox.closing().is_some() {
            return true;
        }
        if outbox.is_parked() {
            step_aside();
            return false;
        }
        stalled = if bytes < least { 0 } else { stalled + 1 };
        least = least.min(bytes);
        // Without acknowledgements, taking bytes is all that a client does to make room.
        if outbox.is_counting() || stalled > BACKLOG_ASIDE_PAUSES {
            step_aside();
        }
        if stalled > BACKLOG_STALL_PAUSES {
            outbox.close(Close::Overflow);
            return true;
        }
        tokio::time::sleep(Duration::from_millis(SLOW_SENDER_PAUSE_MS)).await;
    }
}

/// The session has written these stored messages: they may leave the store.
pub fn written(engine: &Engine, account: &Account, stored: Stored) {
    let mut state = account.lock();
    forget(&mut state, stored.ids.len() as u64, stored.bytes);
    let write = Write::DropOfflineIds { owner: account.jid.clone(), ids: stored.ids };
    // If it fails they are delivered once more: repeated, not lost.
    drop(engine.stores.writer.submit(write));
}

/// Whether what a session holds came before all that waits in the store: it has been handed all
/// that was stored, for good, until something had to wait behind that. The caller holds the
/// account's lock.
pub(crate) fn is_ahead(state: &AccountState, session: &Resource) -> bool {
    let is_elsewhere = state.offline.flushing.is_some_and(|serial| serial != session.serial);
    state.offline.is_waiting
        && !is_elsewhere
        && session.outbox.is_durable()
        && session.priority().is_some_and(|priority| priority >= 0)
        && !state.resources().iter().any(|r| r.has(Flag::OfflineByHand))
}

/// A session ended before it had written what these marks speak of: that waits again.
pub(crate) fn take_back(state: &mut AccountState, items: &[Item]) {
    for item in items {
        if let Item::Stored(stored) = item
            && let Some(first) = stored.ids.first()
        {
            state.offline.handed_id = state.offline.handed_id.min(first.saturating_sub(1));
            state.offline.is_waiting = true;
        }
    }
}

fn forget(state: &mut AccountState, count: u64, bytes: u64) {
    let offline = &mut state.offline;
    offline.count = offline.count.saturating_sub(count);
    // What a damaged message took is not known; without messages nothing is taken.
    offline.bytes = if offline.count == 0 { 0 } else { offline.bytes.saturating_sub(bytes) };
}
