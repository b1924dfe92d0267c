//! Sessions whose place a new one takes: by their resource (RFC 6120 §7.7.2.2), by their client
//! (XEP-0386 §3.2), or to make room.
//!
//! What they were given and are not known to have finds another place under the same lock under
//! which they go and the new one comes: no message slips in between and overtakes it (RFC 6120
//! §10.1).

use std::sync::Arc;

use stentor_store::{Stage, Ticket};

use crate::account::{Account, AccountState};
use crate::backlog::{self, Flush};
use crate::engine::Engine;
use crate::host::Host;
use crate::leftover::{Leftover, Owner, Placed};
use crate::outbox::{Close, Item};
use crate::pending::Pending;
use crate::presence::{self, Left};
use crate::resource::Resource;
use crate::service;
use crate::session::Session;

/// What is left to be done about sessions that are the account's no more.
#[must_use = "others must be told"]
#[derive(Default)]
pub(crate) struct Replaced {
    gone: Vec<(Arc<Resource>, Left)>,
    /// Those of them that no stream ends.
    without_stream: Vec<Arc<Session>>,
    placed: Vec<Placed>,
    ticket: Option<Ticket>,
    flush: Option<Flush>,
}

impl Engine {
    /// Takes these sessions from an account whose lock the caller holds.
    pub(crate) fn replace(
        self: &Arc<Self>,
        host: &Arc<Host>,
        account: &Arc<Account>,
        state: &mut AccountState,
        older: Vec<Arc<Resource>>,
    ) -> Replaced {
        let mut replaced = Replaced::default();
        if older.is_empty() {
            return replaced;
        }
        let owner = Owner { engine: self, host: Some(host), account };
        let (mut stage, mut pending) = (Stage::new(), Pending::default());
        let mut waiting = Vec::new();
        for resource in older {
            let is_ahead = backlog::is_ahead(state, &resource);
            state.remove_resource(resource.serial);
            let session = self.resumable_of(&resource);
            let has_stream = session.as_ref().is_none_or(|s| !s.forget_resumption());
            let now_ms = resource.outbox.is_counting().then(|| self.clock.unix_ms());
            let since_ms = session.as_ref().and_then(|s| s.broken_ms()).or(now_ms);
            // Before it is drained: the first reason given stands.
            resource.outbox.close(Close::Conflict);
            let items: Vec<Item> = resource.outbox.drain().into();
            backlog::take_back(state, &items);
            let serial = resource.serial;
            waiting.push(Leftover { items, serial, since_ms, is_ahead });
            if let Some(session) = session {
                // In one stage: nothing has two places, and nothing none.
                session.stage_end(&mut stage);
                replaced.without_stream.extend((!has_stream).then_some(session));
            }
            let left = Left::take(self, &resource);
            replaced.gone.push((resource, left));
        }
        replaced.flush = Flush::begin_for_best(account, state);
        for leftover in waiting {
            replaced.placed.extend(owner.place(state, leftover, &mut stage, &mut pending));
        }
        pending.write(&mut stage);
        replaced.ticket = self.submit(stage);
        pending.release();
        replaced
    }

    /// Tells everyone who saw them that they are gone, and the senders of what found no place.
    pub(crate) fn bid_farewell(self: &Arc<Self>, account: &Arc<Account>, replaced: Replaced) {
        let Replaced { gone, without_stream, placed, ticket, flush } = replaced;
        for (resource, left) in gone {
            presence::announce_end(self, account, &resource, left, None);
        }
        let count = without_stream.len() as u64;
        self.metrics.sessions_given_up.inc_by(count);
        self.metrics.sessions.dec_by(i64::try_from(count).unwrap_or(0));
        // Beside the one who binds: if that is broken off, nobody would end the new session.
        if let Some(flush) = flush {
            flush.start(self);
        }
        if ticket.is_none() && placed.is_empty() && count == 0 {
            return;
        }
        let (engine, account) = (self.clone(), account.clone());
        service::start(async move {
            let owner = Owner { engine: &engine, host: None, account: &account };
            owner.report(placed, ticket).await;
            for session in without_stream {
                session.settle_all().await;
            }
        });
    }
}
