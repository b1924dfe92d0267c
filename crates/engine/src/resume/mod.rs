//! XEP-0198: Stream Management, version 1.6.3.
//!
//! Sessions whose stream broke and that may go on over another one.
//! Implements: §5 (resumption, also while the former stream still looks alive), §4 (what becomes of
//! unacknowledged stanzas when a session is given up).
//! Left out: of presence that is not acknowledged, what the next of the same address has overtaken is
//! not sent again (§5 has everything sent): it is news no more (`outbox/parked.rs`). The elements and
//! the counting are the stream's; what is read when the process begins is `restore.rs`.
//! Status: complete

mod come_back;
mod record;
mod restore;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use hashbrown::HashMap;
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use stentor_jid::BareJid;
use stentor_store::{SessionState, Stage};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::backlog;
use crate::bind::random_id;
use crate::iq::BoxFuture;
use crate::limits::{RESTORED_SECS_MIN, TAKE_OVER_WAIT_MS};
use crate::outbox::{Item, Stored, TooHigh};
use crate::presence;
use crate::resource::Flag;
use crate::service;
use crate::session::Session;

/// Sessions that may be resumed, by their numbers. Their streams own them, or who waits for them.
#[derive(Default)]
pub(crate) struct Resumable(Mutex<HashMap<u64, Weak<Session>>>);

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
    /// How it may be resumed, if it may be.
    right: Option<Right>,
    stage: Standing,
    /// Grows with each stream: a deadline of an earlier one means nothing.
    streams: u64,
    /// When the last stream broke, in milliseconds since 1970.
    broken_ms: i64,
    /// Stanzas that came, all of them handed to the engine.
    received: u64,
    /// Its place among those that wait.
    place: Option<u64>,
    /// What the store knows: stanzas that came, and the version of the resource.
    written: Option<(u64, u32)>,
    /// Whether the stream is to be closed because the server stops.
    is_leaving: bool,
    /// What was being done for the last stanza of a stream that broke.
    apart: Option<JoinHandle<()>>,
}

/// The right to resume a session.
#[derive(Clone, Debug)]
pub(crate) struct Right {
    /// Its number in the store.
    pub(crate) number: u64,
    /// The hash of the secret that its client was told.
    pub(crate) token: Vec<u8>,
    /// For how many seconds.
    pub(crate) secs: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Standing {
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

impl Right {
    fn millis(&self) -> i64 {
        i64::from(self.secs) * 1_000
    }
}

impl Session {
    /// Turns stream management on; with `resume` the answer is the id by which the session may be
    /// resumed, and for how many seconds. It comes once the session outlives the process; until
    /// then nothing may be sent.
    pub fn enable_sm(
        self: &Arc<Self>,
        resume: bool,
        max_secs: Option<u32>,
    ) -> BoxFuture<'static, Option<(String, u32)>> {
        // Under the lock: every stanza that comes in later is numbered.
        let state = self.account.lock();
        self.resource.outbox.count(self.engine.clock.clone());
        let ours = self.host().map_or(0, |host| host.profile.settings.resume_secs);
        let secs = max_secs.filter(|secs| *secs > 0).map_or(ours, |wish| wish.min(ours));
        // 160 bits that nobody guesses.
        let secret = random_id().and_then(|one| Ok(format!("{one}{}", random_id()?)));
        let (Ok(secret), true) = (secret, resume && secs > 0 && !self.account.is_ephemeral) else {
            return Box::pin(std::future::ready(None));
        };
        let number = self.engine.next_id(self.engine.clock.unix_ms());
        let token = token_of(&secret);
        self.attachment.state.lock().right = Some(Right { number, token, secs });
        self.resource.set(Flag::Resumable);
        self.resource.outbox.outlive(number, self.engine.stores.writer.clone());
        let mut stage = Stage::new();
        self.stage_handled(&mut stage);
        presence::unseen(&self.resource).into_iter().for_each(|write| stage.push(write));
        let ticket = self.engine.submit(stage);
        self.engine.resumable.0.lock().insert(number, Arc::downgrade(self));
        drop(state);
        let session = self.clone();
        Box::pin(async move {
            if let Err(error) = ticket?.await {
                tracing::error!(event = "store_failed", jid = %session.resource.jid, %error, "A session could not be kept.");
                session.lose_right();
                return None;
            }
            Some((format!("{number:x}-{secret}"), secs))
        })
    }

    /// The session dies with the process after all.
    fn lose_right(&self) {
        self.resource.outbox.forget_places();
        {
            let _account = self.account.lock();
            self.resource.clear(Flag::Resumable);
            self.note_sightings();
        }
        let right = self.attachment.state.lock().right.take();
        if let Some(right) = right {
            self.engine.resumable.0.lock().remove(&right.number);
        }
    }

    /// The server stops: the stream is to be closed, and the session waits for the next process.
    fn depart(&self) {
        {
            let mut state = self.attachment.state.lock();
            if state.right.is_none() {
                return;
            }
            state.is_leaving = true;
        }
        self.attachment.is_wanted.store(true, Ordering::Release);
        self.resource.outbox.wake();
    }

    /// Nobody waits for the session any more, and nobody ends it.
    fn abandon(&self) {
        self.forget_resumption();
        self.attachment.changed.notify_waiters();
    }

    /// Whether the stream is to be closed because the server stops.
    #[must_use]
    pub fn is_leaving(&self) -> bool {
        self.attachment.state.lock().is_leaving
    }

    /// Takes in what an earlier process left: the session waits to be resumed, for what is left of
    /// its time since its stream broke, which a kill does as well, but long enough for clients that
    /// could not reach the server.
    pub(super) fn wait_restored(self: &Arc<Self>, right: Right, was: SessionState, h: u32) {
        let (number, now_ms) = (right.number, self.engine.clock.unix_ms());
        let until_ms = match was {
            SessionState::Detached(until_ms) => until_ms,
            SessionState::Attached | SessionState::Ended(_) => {
                now_ms.saturating_add(right.millis())
            }
        };
        let left_secs = until_ms.saturating_sub(now_ms).max(0).unsigned_abs().div_ceil(1_000);
        let left_secs = u32::try_from(left_secs).unwrap_or(u32::MAX);
        let secs = left_secs.max(RESTORED_SECS_MIN).min(right.secs);
        let broken_ms = until_ms.saturating_sub(right.millis()).min(now_ms);
        {
            let mut state = self.attachment.state.lock();
            state.right = Some(right);
            state.stage = Standing::Detached;
            state.place = Some(self.engine.detached.join(&self.resource));
            state.broken_ms = broken_ms;
            state.received = u64::from(h);
        }
        if was == SessionState::Attached {
            let _account = self.account.lock();
            self.write_standing();
        }
        self.engine.resumable.0.lock().insert(number, Arc::downgrade(self));
        self.engine.metrics.sessions_detached.inc();
        let session = self.clone();
        service::start(async move { session.wait_for_resumption(secs, 0).await });
    }

    /// Notes how many stanzas have come; all of them are with the engine.
    pub fn note_received(&self, received: u64) {
        self.attachment.state.lock().received = received;
    }

    /// How many stanzas have come.
    pub(crate) fn received(&self) -> u64 {
        self.attachment.state.lock().received
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
        let is_waiting = {
            let _account = self.account.lock();
            self.detach()
        };
        if !is_waiting {
            return Some(Box::pin(self.clone().end(unwritten)));
        }
        let (marks, stanzas): (Vec<_>, Vec<_>) =
            unwritten.into_iter().partition(|item| matches!(item, Item::Stored(_)));
        if let Some(write) = self.resource.outbox.put_back(stanzas) {
            drop(self.engine.stores.writer.submit(write));
        }
        backlog::take_back(&mut self.account.lock(), &marks);
        None
    }

    /// Leaves the stream and waits for another; false if the session may not. The caller holds the
    /// account's lock.
    fn detach(self: &Arc<Self>) -> bool {
        let (secs, stream) = {
            let mut state = self.attachment.state.lock();
            let Some(secs) = state.right.as_ref().map(|right| right.secs) else { return false };
            let is_closing = self.resource.outbox.closing().is_some();
            if is_closing || matches!(state.stage, Standing::Over | Standing::Detached) {
                return false;
            }
            state.stage = Standing::Detached;
            self.attachment.is_wanted.store(false, Ordering::Release);
            state.broken_ms = self.engine.clock.unix_ms();
            self.resource.outbox.park();
            state.place = Some(self.engine.detached.join(&self.resource));
            (secs, state.streams)
        };
        self.resource.set(Flag::Detached);
        self.write_standing();
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
            let is_mine = state.stage == Standing::Detached && state.streams == stream;
            if is_mine {
                state.stage = Standing::Over;
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
                if state.streams != stream || state.stage != Standing::Detached {
                    return;
                }
            }
            changed.await;
        }
    }

    /// Goes on with the last stanza of a stream that is over. Whoever comes back waits for it: what
    /// the client is told as handled has been dealt with, and nothing it sends then overtakes it.
    pub fn finish_apart(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.attachment.state.lock().apart = Some(service::begin(work));
    }

    /// Waits for that.
    async fn finished(&self) {
        let apart = self.attachment.state.lock().apart.take();
        if let Some(apart) = apart {
            // If it failed, so would it have with the stream.
            drop(apart.await);
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
                    Standing::Over => return false,
                    Standing::Detached => {
                        let place = state.place.take();
                        let has_place = place.is_some_and(|p| self.engine.detached.leave(p));
                        if !has_place || self.resource.outbox.closing().is_some() {
                            // It is about to be given up.
                            return false;
                        }
                        state.stage = Standing::Attached;
                        state.broken_ms = 0;
                        state.streams += 1;
                        drop(state);
                        self.resource.clear(Flag::Detached);
                        self.engine.metrics.sessions_detached.dec();
                        self.attachment.changed.notify_waiters();
                        return true;
                    }
                    Standing::Attached | Standing::Wanted => state.stage = Standing::Wanted,
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
        if state.stage == Standing::Wanted {
            state.stage = Standing::Attached;
            self.attachment.is_wanted.store(false, Ordering::Release);
        }
    }

    /// When the stream broke, if the session is without one.
    pub(crate) fn broken_ms(&self) -> Option<i64> {
        let state = self.attachment.state.lock();
        (state.broken_ms != 0 && state.stage != Standing::Attached).then_some(state.broken_ms)
    }

    /// The session is being ended: nobody resumes it any more. Whether it was without a stream.
    pub(crate) fn forget_resumption(&self) -> bool {
        let was_detached = {
            let mut state = self.attachment.state.lock();
            if let Some(place) = state.place.take() {
                self.engine.detached.leave(place);
            }
            std::mem::replace(&mut state.stage, Standing::Over) == Standing::Detached
        };
        if was_detached {
            self.engine.metrics.sessions_detached.dec();
        }
        if self.resource.has(Flag::Detached) {
            self.resource.clear(Flag::Detached);
        }
        was_detached
    }

    fn is_of(&self, account: &BareJid, token: &[u8]) -> bool {
        let state = self.attachment.state.lock();
        self.account.jid == *account && state.right.as_ref().is_some_and(|r| r.token == token)
    }
}

/// What is kept of the secret that a client was told.
fn token_of(secret: &str) -> Vec<u8> {
    Sha256::digest(secret.as_bytes()).to_vec()
}
