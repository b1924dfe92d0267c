//! Work that is done beside the stanzas that brought it about, one piece after the other: what
//! follows from changes of an account and concerns others, and long answers to a session.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::account::Account;
use crate::iq::BoxFuture;
use crate::limits::ASIDE_MAX;
use crate::service;
use crate::session::Session;

/// What is still to be done; almost always nothing, and then it takes no room.
#[derive(Default)]
pub(crate) struct Sequel(Mutex<Option<Box<Inner>>>);

#[derive(Default)]
struct Inner {
    waiting: VecDeque<BoxFuture<'static, ()>>,
    is_running: bool,
}

impl Sequel {
    /// Adds work behind all that waits, unless that is so much already.
    fn add(&self, work: BoxFuture<'static, ()>, max: usize) -> bool {
        let mut inner = self.0.lock();
        let waiting = &mut inner.get_or_insert_default().waiting;
        let has_room = waiting.len() < max;
        if has_room {
            waiting.push_back(work);
        }
        has_room
    }

    fn next(&self) -> Option<BoxFuture<'static, ()>> {
        let mut inner = self.0.lock();
        let next = inner.as_mut()?.waiting.pop_front();
        if next.is_none() {
            *inner = None;
        }
        next
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
        self.sequel.add(Box::pin(work), usize::MAX);
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
    /// Does work behind such work of before, while the client's next stanzas are dealt with; false
    /// if [`ASIDE_MAX`] pieces wait already. It may wait until the client has taken what it was sent:
    /// what the client takes it tells by what it sends.
    pub(crate) fn aside(self: &Arc<Self>, work: impl Future<Output = ()> + Send + 'static) -> bool {
        let has_room = self.asides.add(Box::pin(work), ASIDE_MAX);
        if let Some(work) = Sequel::begin(self, |session| &session.asides) {
            service::start(work);
        }
        has_room
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
