//! What follows from changes of an account and concerns others: done outside of the account's lock
//! and yet in the order of the changes.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::account::Account;
use crate::iq::BoxFuture;
use crate::service;

/// What is still to be done; almost always nothing, and then it takes no room. Each request that
/// changes an account adds one at most, and whoever sent it waits until it is done.
#[derive(Default)]
pub(crate) struct Sequel(Mutex<Option<Box<Inner>>>);

#[derive(Default)]
struct Inner {
    waiting: VecDeque<BoxFuture<'static, ()>>,
    is_running: bool,
}

impl Account {
    /// Adds work behind all that waits. Called under the account's lock it is done in the order of
    /// the changes. [`Account::catch_up`] or [`Account::catch_up_alone`] follows, without the lock.
    pub fn afterwards(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.sequel.0.lock().get_or_insert_default().waiting.push_back(Box::pin(work));
    }

    /// Does what waits, unless somebody is at it already. Who stops waiting for it stops nothing.
    pub async fn catch_up(self: &Arc<Self>) {
        if let Some(work) = self.begin() {
            service::run(work).await;
        }
    }

    /// The same where nobody can wait.
    pub fn catch_up_alone(self: &Arc<Self>) {
        if let Some(work) = self.begin() {
            service::start(work);
        }
    }

    fn begin(self: &Arc<Self>) -> Option<impl Future<Output = ()> + Send + 'static> {
        let mut sequel = self.sequel.0.lock();
        let inner = sequel.as_mut().filter(|inner| !inner.is_running)?;
        inner.is_running = true;
        let account = self.clone();
        Some(async move {
            while let Some(work) = account.next_work() {
                work.await;
            }
        })
    }

    fn next_work(&self) -> Option<BoxFuture<'static, ()>> {
        let mut sequel = self.sequel.0.lock();
        let next = sequel.as_mut()?.waiting.pop_front();
        if next.is_none() {
            *sequel = None;
        }
        next
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
