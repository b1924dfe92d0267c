//! Messages that a client was given and has not acknowledged: if it does not in time, others are told.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;
use parking_lot::Mutex;
use stentor_engine::{Engine, Resource};
use stentor_jid::BareJid;
use stentor_store::Stage;

use super::due::{Dues, Notice};
use super::lanes::{self, Lanes};
use crate::limits::{PUSH_WATCHED_MAX, millis};

/// All of them, by the account that they are for. A task serves each account that has some.
pub(super) struct Watches {
    lanes: Arc<Lanes>,
    grace_ms: i64,
    watched: Mutex<HashMap<BareJid, VecDeque<Watched>>>,
}

/// A message that somebody has not acknowledged.
pub(super) struct Watched {
    pub(super) notice: Notice,
    /// The sessions that were given it, and the count with which each has acknowledged it.
    pub(super) sessions: Vec<(Arc<Resource>, u64)>,
    /// How often somebody had looked, see [`Dues::looks`].
    pub(super) looks: u64,
}

impl Watches {
    pub(super) fn new(lanes: Arc<Lanes>, grace_secs: u64) -> Arc<Self> {
        Arc::new(Self { lanes, grace_ms: millis(grace_secs), watched: Mutex::default() })
    }

    /// Waits for an acknowledgement of a message.
    pub(super) fn add(self: &Arc<Self>, engine: &Arc<Engine>, owner: &BareJid, new: Watched) {
        {
            let mut watched = self.watched.lock();
            if let Some(queue) = watched.get_mut(owner) {
                let is_full = queue.len() >= PUSH_WATCHED_MAX;
                // Whoever has the later one has the earlier one.
                let new = match queue.pop_back_if(|_| is_full) {
                    Some(last) => Watched { notice: last.notice.and(new.notice), ..new },
                    None => new,
                };
                return queue.push_back(new);
            }
            watched.insert(owner.clone(), VecDeque::from([new]));
        }
        let (watches, owner) = (self.clone(), owner.clone());
        let engine_too = engine.clone();
        engine.start(async move { watches.serve(&engine_too, &owner).await });
    }

    async fn serve(&self, engine: &Arc<Engine>, owner: &BareJid) {
        let mut wait_ms = self.grace_ms;
        loop {
            tokio::time::sleep(Duration::from_millis(u64::try_from(wait_ms).unwrap_or(0))).await;
            let Some(first) = self.take_first(owner) else {
                return self.forgo(engine, owner).await;
            };
            let is_taken =
                first.sessions.iter().any(|(r, count)| r.outbox.has_acknowledged(*count));
            if is_taken {
                let mark = &first.notice.mark;
                tracing::debug!(event = "push_forgone", account = %owner, mark, "A client has acknowledged a message.");
            } else {
                self.tell(engine, owner, &first).await;
            }
            let Some(at_ms) = self.next_at_ms(owner) else {
                return self.forgo(engine, owner).await;
            };
            wait_ms = (at_ms + self.grace_ms).saturating_sub(engine.clock.unix_ms());
        }
    }

    fn take_first(&self, owner: &BareJid) -> Option<Watched> {
        self.watched.lock().get_mut(owner)?.pop_front()
    }

    /// When the next one came; if there is none, the account is watched no more.
    fn next_at_ms(&self, owner: &BareJid) -> Option<i64> {
        let mut watched = self.watched.lock();
        match watched.get(owner).and_then(VecDeque::front) {
            Some(next) => Some(next.notice.at_ms),
            None => {
                watched.remove(owner);
                None
            }
        }
    }

    /// All has been acknowledged, or told.
    async fn forgo(&self, engine: &Arc<Engine>, owner: &BareJid) {
        // What cannot be read now is told too often after a restart.
        let Ok(Some(account)) = engine.account(owner).await else { return };
        let ticket = {
            let mut state = account.lock();
            // Another message came meanwhile.
            if self.watched.lock().contains_key(owner) {
                return;
            }
            let mut stage = Stage::default();
            state.slots.entry::<Dues>().forgo(owner, &mut stage);
            lanes::submit(engine, stage)
        };
        lanes::settle(engine, &account, ticket).await;
    }

    async fn tell(&self, engine: &Arc<Engine>, owner: &BareJid, watched: &Watched) {
        let account = match engine.account(owner).await {
            Ok(Some(account)) => account,
            Ok(None) => return,
            Err(error) => {
                tracing::error!(event = "store_failed", account = %owner, %error, "An account's devices could not be told.");
                return;
            }
        };
        let ticket = {
            let mut state = account.lock();
            // Somebody who came back meanwhile gets the message again.
            if state.slots.entry::<Dues>().looks() != watched.looks {
                return;
            }
            let (mark, kind) = (&watched.notice.mark, watched.notice.kind.name());
            tracing::info!(event = "push_due", account = %owner, mark, kind, "Devices are told of a message that nobody has acknowledged.");
            let mut stage = Stage::default();
            lanes::raise(&self.lanes, engine, owner, &mut state, &mut stage, &watched.notice, &[]);
            lanes::submit(engine, stage)
        };
        lanes::settle(engine, &account, ticket).await;
    }
}
