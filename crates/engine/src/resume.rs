//! XEP-0198: Stream Management, version 1.6.3.
//!
//! Sessions whose stream broke and that may go on over another one.
//! Implements: §5 (resumption, also while the former stream still looks alive), §4 (what becomes of
//! unacknowledged stanzas when a session is given up).
//! Left out: nothing of a single server. The elements and the counting are the stream's.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hashbrown::HashMap;
use parking_lot::Mutex;
use stentor_jid::BareJid;
use tokio::sync::Notify;

use crate::backlog::{self, Flush};
use crate::bind::random_id;
use crate::engine::Engine;
use crate::iq::BoxFuture;
use crate::limits::{EXPIRED_SESSIONS_MAX, TAKE_OVER_WAIT_MS};
use crate::outbox::{Item, Stored, TooHigh};
use crate::resource::Flag;
use crate::service;
use crate::session::Session;

/// Sessions that may be resumed, by the secret that their client was told.
#[derive(Default)]
pub(crate) struct Resumable(Mutex<Table>);

#[derive(Default)]
struct Table {
    sessions: HashMap<String, Arc<Session>>,
    /// What had been handled when a session was given up, for its client (§5).
    expired: VecDeque<(String, BareJid, u64)>,
}

/// What a session knows of its own streams.
#[derive(Default)]
pub(crate) struct Attachment {
    state: Mutex<State>,
    /// Whether the stage is `Wanted`: asked in every round of a connection.
    is_wanted: AtomicBool,
    /// Told whenever the state changes.
    changed: Notify,
}

#[derive(Default)]
struct State {
    /// The secret, if it may be resumed, and for how long.
    id: Option<(String, u32)>,
    stage: Stage,
    /// Grows with each stream: a deadline of an earlier one means nothing.
    streams: u64,
    /// When the last stream broke, in milliseconds since 1970.
    broken_ms: i64,
    /// Stanzas that came, all of them handed to the engine.
    received: u64,
    /// Its place among those that wait.
    place: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// A stream serves it.
    #[default]
    Attached,
    /// A stream serves it and is to let go.
    Wanted,
    /// Its stream broke.
    Detached,
    /// It is being ended.
    Over,
}

/// A session that goes on.
pub struct Resumed {
    /// The session.
    pub session: Arc<Session>,
    /// Stanzas that came on its streams, all of them handled.
    pub received: u64,
    /// Stored messages that the client is now known to have.
    pub confirmed: Vec<Stored>,
}

/// Why a session does not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotResumed {
    /// The domain resumes no sessions.
    NotOffered,
    /// There is none of that id, or not of that account; with what was handled, if it is known.
    Unknown(Option<u64>),
    /// The client claims more than it was sent; the session stays for another attempt.
    TooHigh(TooHigh),
}

impl Session {
    /// Turns stream management on; with `resume` the answer is the id by which the session may be
    /// resumed, and for how many seconds.
    pub fn enable_sm(
        self: &Arc<Self>,
        resume: bool,
        max_secs: Option<u32>,
    ) -> Option<(String, u32)> {
        self.resource.outbox.count(self.engine.clock.clone());
        let ours = self.host().map_or(0, |host| host.profile.settings.resume_secs);
        let secs = max_secs.filter(|secs| *secs > 0).map_or(ours, |wish| wish.min(ours));
        if !resume || secs == 0 || self.account.is_ephemeral {
            return None;
        }
        // 160 bits that nobody guesses.
        let id = random_id().and_then(|one| Ok(format!("{one}{}", random_id()?))).ok()?;
        self.attachment.state.lock().id = Some((id.clone(), secs));
        self.engine.resumable.0.lock().sessions.insert(id.clone(), self.clone());
        self.resource.set(Flag::Resumable);
        Some((id, secs))
    }

    /// Notes how many stanzas have come; all of them are with the engine.
    pub fn note_received(&self, received: u64) {
        self.attachment.state.lock().received = received;
    }

    /// Whether another stream wants the session: the present one is to let go at once.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        self.attachment.is_wanted.load(Ordering::Acquire)
    }

    /// The stream is gone and did not close in order. The session waits to be resumed if it may
    /// be; otherwise it is ended, for which the answer is the work. `unwritten` was taken from the
    /// outbox before stream management was on and did not reach the client.
    pub fn break_off(self: &Arc<Self>, unwritten: Vec<Item>) -> Option<BoxFuture<'static, ()>> {
        if !self.detach() {
            return Some(Box::pin(self.clone().end(unwritten)));
        }
        let (marks, stanzas): (Vec<_>, Vec<_>) =
            unwritten.into_iter().partition(|item| matches!(item, Item::Stored(_)));
        self.resource.outbox.put_back(stanzas);
        let mut state = self.account.lock();
        for mark in &marks {
            if let Item::Stored(stored) = mark {
                backlog::unwritten(&mut state, stored);
            }
        }
        None
    }

    fn detach(self: &Arc<Self>) -> bool {
        let (secs, stream) = {
            let mut state = self.attachment.state.lock();
            let Some((_, secs)) = state.id.clone() else { return false };
            let is_closing = self.resource.outbox.closing().is_some();
            if is_closing || matches!(state.stage, Stage::Over | Stage::Detached) {
                return false;
            }
            state.stage = Stage::Detached;
            self.attachment.is_wanted.store(false, Ordering::Release);
            state.broken_ms = self.engine.clock.unix_ms();
            self.resource.outbox.park();
            state.place = Some(self.engine.detached.join(&self.resource));
            (secs, state.streams)
        };
        self.resource.set(Flag::Detached);
        self.engine.metrics.sessions_detached.inc();
        self.attachment.changed.notify_waiters();
        let session = self.clone();
        service::start(async move { session.wait_for_resumption(secs, stream).await });
        true
    }

    async fn wait_for_resumption(self: Arc<Self>, secs: u32, stream: u64) {
        let deadline = tokio::time::sleep(Duration::from_secs(u64::from(secs)));
        tokio::select! {
            // First: the outbox wakes only the latest who waits for it, which is the next stream.
            biased;
            () = self.resumed_since(stream) => return,
            () = self.resource.outbox.closed() => {}
            () = deadline => {}
        }
        let is_mine = {
            let mut state = self.attachment.state.lock();
            let is_mine = state.stage == Stage::Detached && state.streams == stream;
            if is_mine {
                state.stage = Stage::Over;
            }
            is_mine
        };
        if is_mine {
            tracing::info!(event = "given_up", jid = %self.resource.jid, "A session was not resumed.");
            self.engine.metrics.sessions_detached.dec();
            self.engine.metrics.sessions_given_up.inc();
            self.end(Vec::new()).await;
        }
    }

    async fn resumed_since(&self, stream: u64) {
        loop {
            let changed = self.attachment.changed.notified();
            {
                let state = self.attachment.state.lock();
                if state.streams != stream || state.stage != Stage::Detached {
                    return;
                }
            }
            changed.await;
        }
    }

    /// Takes the session from its broken stream, or from one that only looks alive. False if it
    /// is over.
    async fn take_over(&self) -> bool {
        let patience = tokio::time::sleep(Duration::from_millis(TAKE_OVER_WAIT_MS));
        tokio::pin!(patience);
        loop {
            let changed = self.attachment.changed.notified();
            {
                let mut state = self.attachment.state.lock();
                match state.stage {
                    Stage::Over => return false,
                    Stage::Detached => {
                        let place = state.place.take();
                        let has_place = place.is_some_and(|p| self.engine.detached.leave(p));
                        if !has_place || self.resource.outbox.closing().is_some() {
                            // It is about to be given up.
                            return false;
                        }
                        state.stage = Stage::Attached;
                        state.broken_ms = 0;
                        state.streams += 1;
                        drop(state);
                        self.resource.clear(Flag::Detached);
                        self.engine.metrics.sessions_detached.dec();
                        self.attachment.changed.notify_waiters();
                        return true;
                    }
                    Stage::Attached | Stage::Wanted => state.stage = Stage::Wanted,
                }
                self.attachment.is_wanted.store(true, Ordering::Release);
            }
            self.resource.outbox.wake();
            tokio::select! {
                () = changed => {}
                () = &mut patience => {
                    self.stay();
                    return false;
                }
            }
        }
    }

    /// Nobody wants the session any more; its stream keeps it.
    fn stay(&self) {
        let mut state = self.attachment.state.lock();
        if state.stage == Stage::Wanted {
            state.stage = Stage::Attached;
            self.attachment.is_wanted.store(false, Ordering::Release);
        }
    }

    /// When the stream broke, if the session is without one.
    pub(crate) fn broken_ms(&self) -> Option<i64> {
        let state = self.attachment.state.lock();
        (state.broken_ms != 0 && state.stage != Stage::Attached).then_some(state.broken_ms)
    }

    /// The session is being ended: nobody resumes it any more.
    pub(crate) fn forget_resumption(&self) {
        let (id, received) = {
            let mut state = self.attachment.state.lock();
            if state.stage == Stage::Detached {
                self.engine.metrics.sessions_detached.dec();
            }
            state.stage = Stage::Over;
            if let Some(place) = state.place.take() {
                self.engine.detached.leave(place);
            }
            (state.id.take(), state.received)
        };
        if self.resource.has(Flag::Detached) {
            self.resource.clear(Flag::Detached);
        }
        let Some((id, _)) = id else { return };
        let mut table = self.engine.resumable.0.lock();
        table.sessions.remove(&id);
        if table.expired.len() >= EXPIRED_SESSIONS_MAX {
            table.expired.pop_front();
        }
        table.expired.push_back((id, self.account.jid.clone(), received));
    }
}

impl Engine {
    /// Lets a session of this account go on over another stream (§5). `h` is how many of our
    /// stanzas the client has had, modulo 2³²; what it has not had is in the outbox again.
    ///
    /// # Errors
    /// There is no such session, or the count is impossible.
    pub async fn resume(
        self: &Arc<Self>,
        account: &BareJid,
        id: &str,
        h: u32,
    ) -> Result<Resumed, NotResumed> {
        if self.host(account.domain()).is_some_and(|h| h.profile.settings.resume_secs == 0) {
            return Err(NotResumed::NotOffered);
        }
        let found = {
            let table = self.resumable.0.lock();
            match table.sessions.get(id) {
                Some(session) if session.account.jid == *account => Ok(session.clone()),
                Some(_) => Err(None),
                None => {
                    let is_it = |(i, a, _): &&(String, BareJid, u64)| i == id && a == account;
                    Err(table.expired.iter().find(is_it).map(|(_, _, received)| *received))
                }
            }
        };
        let session = found.map_err(|received| {
            self.metrics.resumptions_failed.inc();
            NotResumed::Unknown(received)
        })?;
        if !session.take_over().await {
            self.metrics.resumptions_failed.inc();
            return Err(NotResumed::Unknown(None));
        }
        // What is told as handled has been recorded.
        session.settle_all().await;
        let confirmed = match session.resource.outbox.acknowledge(h) {
            Ok(confirmed) => confirmed,
            Err(too_high) => {
                session.detach();
                return Err(NotResumed::TooHigh(too_high));
            }
        };
        session.resource.outbox.rewind();
        // XEP-0352 §5.2: whatever the former stream was, this one is active.
        session.look_again();
        let due = {
            // One lock: nothing that comes overtakes what is stored.
            let mut state = session.account.lock();
            session.resource.outbox.unpark();
            Flush::begin_for_best(&session.account, &mut state)
        };
        if let Some(due) = due {
            let engine = self.clone();
            service::start(async move { due.hand_over(&engine).await });
        }
        self.metrics.resumptions.inc();
        let received = session.attachment.state.lock().received;
        Ok(Resumed { session, received, confirmed })
    }
}
