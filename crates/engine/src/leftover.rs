//! What a session was given and did not take goes where it would have gone without it.

use std::sync::Arc;

use stentor_payload::xep0203_delay;
use stentor_stanza::{Condition, Kind, Stanza, StanzaError};
use stentor_store::{Stage, Ticket, Write};

use crate::account::{Account, AccountState};
use crate::engine::Engine;
use crate::host::Host;
use crate::outbox::Item;
use crate::pending::Pending;
use crate::pipeline::{self, Party};
use crate::refuse::store_error;

/// A stanza, and whether it found a place.
pub(crate) type Placed = (Stanza, Result<(), StanzaError>);

/// Whose session it was; the domain may be gone.
pub(crate) struct Owner<'a> {
    pub(crate) engine: &'a Arc<Engine>,
    pub(crate) host: Option<&'a Arc<Host>>,
    pub(crate) account: &'a Arc<Account>,
}

impl Owner<'_> {
    /// Finds a place for each stanza, in order. The caller holds the account's lock, so that nothing
    /// overtakes them, and submits the stage. `since_ms` is since when they have waited for a client
    /// that did not come back, where nothing more exact is known; none if they have not. `is_ahead`
    /// says whether they came before all that waits in the store.
    pub(crate) fn place(
        &self,
        state: &mut AccountState,
        items: Vec<Item>,
        since_ms: Option<i64>,
        is_ahead: bool,
        stage: &mut Stage,
        pending: &mut Pending,
    ) -> Vec<Placed> {
        let (mut placed, stored) = (Vec::new(), state.offline.stored);
        for item in items {
            let Item::Stanza(mut stanza, fate, since) = item else { continue };
            if !fate.is_lost() {
                continue;
            }
            pending.hold(fate);
            let since_ms = since_ms.map(|least| since.unwrap_or(least));
            self.stamp(&mut stanza, since_ms);
            let outcome = match (stanza.head.kind, self.host) {
                (Kind::Message(_), Some(host)) => {
                    let party = Party { host, account: self.account };
                    pipeline::again(self.engine, party, state, &stanza, since_ms, stage, pending)
                }
                _ => Err(StanzaError::new(Condition::ServiceUnavailable)),
            };
            placed.push((stanza, outcome));
        }
        let count = state.offline.stored - stored;
        if is_ahead && count > 0 {
            let (owner, behind) = (self.account.jid.clone(), state.offline.handed_id);
            stage.push(Write::AdvanceOffline { owner, behind, count });
        }
        placed
    }

    /// XEP-0198 §4: what waited for a client that did not come back says since when.
    fn stamp(&self, stanza: &mut Stanza, since_ms: Option<i64>) {
        let Some(at_ms) = since_ms.filter(|_| stanza.message_type().is_some()) else { return };
        let domain = self.account.jid.as_jid().domain();
        if !xep0203_delay::is_there(stanza, domain, at_ms) {
            stanza.append(|w| xep0203_delay::write(w, domain, at_ms));
        }
    }

    /// Tells the senders of messages that found no place.
    pub(crate) async fn report(&self, placed: Vec<Placed>, ticket: Option<Ticket>) {
        let written = match ticket {
            Some(ticket) => self.engine.settle(self.account, ticket).await,
            None => Ok(()),
        };
        let failed = written.err().map(|error| store_error(&error));
        for (stanza, outcome) in placed {
            let Some(error) = outcome.err().or(failed.clone()) else { continue };
            if let Some(reply) = stanza.reply_error(&error) {
                self.engine.send_answer(reply);
            }
        }
    }
}
