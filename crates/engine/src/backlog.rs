//! Handing stored messages to a resource that has become available (XEP-0160 §2).
//!
//! Stored messages go first, in the order in which they were stored; what arrives meanwhile queues
//! up behind them in the store (`deliver.rs` sees `is_flushing`). A message leaves the store only
//! when the session has written it, so a crash in between repeats and never loses.

use std::sync::Arc;
use std::time::Duration;

use stentor_stanza::Stanza;
use stentor_store::{OfflinePage, StoreError, Write};

use crate::account::Account;
use crate::engine::Engine;
use crate::limits::{OFFLINE_PAGE, OUTBOX_SOFT_BYTES, SLOW_SENDER_PAUSE_MS};
use crate::outbox::{Fate, Pressure, Stored};
use crate::resource::Resource;

/// Whether messages are stored that no resource has been handed yet.
pub(crate) fn is_waiting(account: &Account) -> bool {
    let state = account.lock();
    state.offline.is_waiting && !state.offline.is_flushing
}

/// Hands everything stored to this resource.
pub(crate) async fn hand_over(engine: &Engine, account: &Account, resource: &Resource) {
    {
        let mut state = account.lock();
        if state.offline.is_flushing || !state.offline.is_waiting {
            return;
        }
        state.offline.is_flushing = true;
    }
    if let Err(error) = hand_pages(engine, account, resource).await {
        tracing::error!(account = %account.jid, %error, "Stored messages could not be read.");
    }
    account.lock().offline.is_flushing = false;
}

async fn hand_pages(
    engine: &Engine,
    account: &Account,
    resource: &Resource,
) -> Result<(), StoreError> {
    loop {
        let (after, stored) = {
            let state = account.lock();
            (state.offline.handed_id, state.offline.stored)
        };
        // What was staged before now must be readable.
        engine.stores.writer.barrier().await?;
        let page = engine.stores.offline.page(&account.jid, after, OFFLINE_PAGE).await?;
        let is_last = page.next.is_none();
        let Some(up_to) = hand_page(engine, account, resource, &page) else { return Ok(()) };
        {
            let mut state = account.lock();
            state.offline.handed_id = up_to.max(after);
            // Under the lock: from here on messages go to the resource, behind these.
            if is_last && state.offline.stored == stored {
                state.offline.is_waiting = false;
                state.offline.is_flushing = false;
                return Ok(());
            }
        }
        while resource.outbox.bytes() > OUTBOX_SOFT_BYTES && resource.outbox.closing().is_none() {
            tokio::time::sleep(Duration::from_millis(SLOW_SENDER_PAUSE_MS)).await;
        }
    }
}

/// Queues the messages of a page and the mark behind them. None if the session is ending.
fn hand_page(
    engine: &Engine,
    account: &Account,
    resource: &Resource,
    page: &OfflinePage,
) -> Option<u64> {
    let mut mark = Stored { up_to: 0, count: 0, bytes: 0 };
    for message in &page.messages {
        mark.up_to = message.id;
        mark.count += 1;
        mark.bytes += message.stanza.len() as u64;
        match Stanza::parse(&message.stanza) {
            Ok(stanza) => {
                if resource.outbox.push(stanza, Fate::Forget) == Pressure::Gone {
                    return None;
                }
                engine.metrics.offline_delivered.inc();
            }
            Err(error) => {
                let (owner, id) = (account.jid.clone(), message.id);
                tracing::error!(account = %owner, id, %error, "A stored message is damaged and was put aside.");
                drop(engine.stores.writer.submit(Write::PutAsideOffline { owner, id }));
            }
        }
    }
    if mark.count > 0 && resource.outbox.push_mark(mark) == Pressure::Gone {
        return None;
    }
    Some(mark.up_to)
}

/// The session has written these stored messages: they may leave the store.
pub fn written(engine: &Engine, account: &Account, stored: Stored) {
    let write = Write::DropOffline { owner: account.jid.clone(), up_to: stored.up_to };
    let mut state = account.lock();
    state.offline.count = state.offline.count.saturating_sub(stored.count);
    state.offline.bytes = state.offline.bytes.saturating_sub(stored.bytes);
    // If it fails they are delivered once more: repeated, not lost.
    drop(engine.stores.writer.submit(write));
}

/// A resource left before it had written what it was handed: another one gets it, if there is one.
pub(crate) async fn hand_to_another(engine: &Engine, account: &Arc<Account>) {
    let next = {
        let state = account.lock();
        state.resources().iter().find(|r| r.priority().is_some_and(|p| p >= 0)).cloned()
    };
    if let Some(next) = next {
        hand_over(engine, account, &next).await;
    }
}
