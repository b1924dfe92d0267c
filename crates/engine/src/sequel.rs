//! Work that is done beside the stanzas that brought it about, one piece after the other: what
//! follows from changes of an account and concerns others, and long answers to a session.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::account::Account;
use crate::backlog;
use crate::iq::BoxFuture;
use crate::limits::ASIDE_MAX;
use crate::service;
use crate::session::Session;

/// What is still to be done; almost always nothing, and then it takes no room.
#[derive(Default)]
pub(crate) struct Sequel(Mutex<Option<Box<Inner>>>);

#[derive(Default)]
struct Inner {
    waiting: VecDeque<Piece>,
    is_running: bool,
    /// Whoever waits for what is being done.
    waiter: Waiter,
    /// Whether that waits for the client: then nobody waits for it, nor for what is behind it.
    is_aside: bool,
}

struct Piece {
    work: BoxFuture<'static, ()>,
    waiter: Waiter,
}

/// Whoever waits for work that may in turn have to wait for him. He is let go at the end of this at
/// the latest.
#[derive(Default)]
pub(crate) struct Waiter(Option<oneshot::Sender<()>>);

impl Waiter {
    /// With it comes what is waited on.
    pub(crate) fn new() -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (sender, receiver) = oneshot::channel();
        (Self(Some(sender)), async move { drop(receiver.await) })
    }

    /// He waits no longer.
    pub(crate) fn let_go(&mut self) {
        self.0 = None;
    }
}

impl Sequel {
    /// Adds work behind all that waits, unless that is so much already.
    fn add(&self, mut piece: Piece, max: usize) -> bool {
        let mut inner = self.0.lock();
        let inner = inner.get_or_insert_default();
        let has_room = inner.waiting.len() < max;
        if has_room {
            if inner.is_aside {
                piece.waiter.let_go();
            }
            inner.waiting.push_back(piece);
        }
        has_room
    }

    /// The next piece. Whoever waited for the one before is let go when there is nothing to see of
    /// that any more.
    fn next(&self) -> Option<BoxFuture<'static, ()>> {
        let mut inner = self.0.lock();
        let Some(piece) = inner.as_mut()?.waiting.pop_front() else {
            *inner = None;
            return None;
        };
        if let Some(inner) = &mut *inner {
            inner.waiter = piece.waiter;
            inner.is_aside = false;
        }
        Some(piece.work)
    }

    /// What is being done waits for the client, or no longer.
    fn set_aside(&self, is_aside: bool) {
        let mut inner = self.0.lock();
        let Some(inner) = &mut *inner else { return };
        inner.is_aside = is_aside;
        if is_aside {
            inner.waiter.let_go();
            inner.waiting.iter_mut().for_each(|piece| piece.waiter.let_go());
        }
    }

    /// All that waits, unless somebody is at it already.
    fn begin<T: Send + Sync + 'static>(
        owner: &Arc<T>,
        of: fn(&T) -> &Self,
    ) -> Option<impl Future<Output = ()> + Send + 'static> {
        let mut inner = of(owner).0.lock();
        let idle = inner.as_mut().filter(|inner| !inner.is_running)?;
        idle.is_running = true;
        let owner = owner.clone();
        Some(async move {
            while let Some(work) = of(&owner).next() {
                work.await;
            }
        })
    }
}

impl Account {
    /// Adds work behind all that waits. Called under the account's lock it is done in the order of
    /// the changes, outside of the lock. [`Account::catch_up`] or [`Account::catch_up_alone`]
    /// follows, without the lock. Each request that changes an account adds one at most, and whoever
    /// sent it waits until it is done.
    pub fn afterwards(&self, work: impl Future<Output = ()> + Send + 'static) {
        let piece = Piece { work: Box::pin(work), waiter: Waiter::default() };
        self.sequel.add(piece, usize::MAX);
    }

    /// Does what waits, unless somebody is at it already. Who stops waiting for it stops nothing.
    pub async fn catch_up(self: &Arc<Self>) {
        if let Some(work) = Sequel::begin(self, |account| &account.sequel) {
            service::run(work).await;
        }
    }

    /// The same where nobody can wait.
    pub fn catch_up_alone(self: &Arc<Self>) {
        if let Some(work) = Sequel::begin(self, |account| &account.sequel) {
            service::start(work);
        }
    }
}

impl Session {
    /// Does work behind such work of before; none if [`ASIDE_MAX`] pieces wait already. The client's
    /// next stanza waits for what is returned: until the work is done, or has itself to wait for the
    /// client (see [`Session::wait_for_room`]).
    pub(crate) fn aside(
        self: &Arc<Self>,
        work: impl Future<Output = ()> + Send + 'static,
    ) -> Option<impl Future<Output = ()> + Send + 'static> {
        let (waiter, done) = Waiter::new();
        let has_room = self.asides.add(Piece { work: Box::pin(work), waiter }, ASIDE_MAX);
        if let Some(work) = Sequel::begin(self, |session| &session.asides) {
            service::start(work);
        }
        has_room.then_some(done)
    }

    /// Waits, within a long answer, until the session has taken most of what it was given, also while
    /// it is without a stream. What the client takes it may tell by what it sends, so its next stanzas
    /// are dealt with meanwhile. One that takes nothing for long is ended: what is read for it from
    /// the store would wait in memory.
    pub async fn wait_for_room(&self) {
        backlog::wait_for_room(&self.resource.outbox, &mut || self.asides.set_aside(true)).await;
        self.asides.set_aside(false);
    }

    /// Whether work of its goes on beside its stanzas: a long answer, or the handing over of stored
    /// messages.
    pub fn is_busy(&self) -> bool {
        // One that is ending keeps the right to what is stored until it has ended.
        if self.resource.outbox.closing().is_some() {
            return false;
        }
        let is_telling = self.asides.0.lock().is_some();
        is_telling || self.account.lock().offline.flushing == Some(self.resource.serial)
    }
}

#[cfg(test)]
mod tests {
    use stentor_jid::BareJid;

    use super::*;
    use crate::account::AccountState;

    #[tokio::test]
    async fn work_is_done_in_its_order_whoever_does_it() {
        let jid = BareJid::new("juliet@capulet.example").unwrap();
        let account = Arc::new(Account::new(jid, false, AccountState::default()));
        let done = Arc::new(Mutex::new(Vec::new()));
        for n in 0..10 {
            let (done, inner) = (done.clone(), account.clone());
            account.afterwards(async move {
                tokio::task::yield_now().await;
                // Somebody is at it already.
                inner.catch_up().await;
                done.lock().push(n);
            });
        }
        account.catch_up().await;
        assert_eq!(*done.lock(), (0..10).collect::<Vec<_>>());
        account.catch_up().await;
    }
}
