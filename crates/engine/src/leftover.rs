//! What a session was given and did not take goes where it would have gone without it.

use std::sync::Arc;

use stentor_payload::{xep0203_delay, xep0280_carbons};
use stentor_stanza::{Condition, Kind, Stanza, StanzaError};
use stentor_store::{Stage, Ticket, Write};

use crate::account::{Account, AccountState};
use crate::deliver::Others;
use crate::engine::Engine;
use crate::host::Host;
use crate::outbox::{Fate, Item, Loss};
use crate::pending::Pending;
use crate::pipeline::{self, Party};
use crate::refuse::store_error;

/// A stanza, and whether it found a place.
pub(crate) type Placed = (Stanza, Result<(), StanzaError>);

/// What a session had, in order.
pub(crate) struct Leftover {
    pub(crate) items: Vec<Item>,
    /// The serial of the session.
    pub(crate) serial: u64,
    /// Since when it has waited for a client that did not come back, where nothing more exact is
    /// known, in milliseconds since 1970; none if it has not.
    pub(crate) since_ms: Option<i64>,
    /// Whether it came before all that waits in the store.
    pub(crate) is_ahead: bool,
}

/// Whose session it was; the domain may be gone.
pub(crate) struct Owner<'a> {
    pub(crate) engine: &'a Arc<Engine>,
    pub(crate) host: Option<&'a Arc<Host>>,
    pub(crate) account: &'a Arc<Account>,
}

impl Owner<'_> {
    /// Finds a place for each stanza, in order. The caller holds the account's lock, so that nothing
    /// overtakes them, and submits the stage.
    pub(crate) fn place(
        &self,
        state: &mut AccountState,
        leftover: Leftover,
        stage: &mut Stage,
        pending: &mut Pending,
    ) -> Vec<Placed> {
        let Leftover { items, serial, since_ms, is_ahead } = leftover;
        let (mut placed, stored) = (Vec::new(), state.offline.stored);
        for item in items {
            let Item::Stanza(stanza, fate, since) = item else { continue };
            let copied = self.copied(&stanza, &fate);
            let loss = fate.lose(serial);
            if loss == Loss::Bearable {
                continue;
            }
            pending.hold(fate.clone());
            let mut stanza = copied.unwrap_or(stanza);
            let since_ms = since_ms.map(|least| since.unwrap_or(least));
            let since_ms = self.stamp(&mut stanza, since_ms);
            if let (Loss::Original(names), Fate::Shared(copies)) = (loss, &fate) {
                let others = Others { copies, names: &names };
                self.spread(state, &stanza, others, pending);
                continue;
            }
            let outcome = match (stanza.head.kind, self.host) {
                (Kind::Message(_), Some(host)) => {
                    let party = Party { host, account: self.account };
                    pipeline::again(self.engine, party, state, &stanza, since_ms, stage, pending)
                }
                _ => Err(StanzaError::new(Condition::ServiceUnavailable)),
            };
            placed.push((stanza, outcome));
        }
        let count = u64::from(state.offline.stored.wrapping_sub(stored));
        if is_ahead && count > 0 {
            let (owner, behind) = (self.account.jid.clone(), state.offline.handed_id);
            stage.push(Write::AdvanceOffline { owner, behind, count });
        }
        placed
    }

    fn spread(
        &self,
        state: &AccountState,
        stanza: &Stanza,
        others: Others<'_>,
        pending: &mut Pending,
    ) {
        if let Some(host) = self.host {
            let party = Party { host, account: self.account };
            pipeline::spread(self.engine, party, state, stanza, others, pending);
        }
    }

    /// The message that somebody else was given, if this is a copy of it (XEP-0280).
    fn copied(&self, stanza: &Stanza, fate: &Fate) -> Option<Stanza> {
        match fate {
            Fate::Shared(_) => xep0280_carbons::copied(stanza, &self.account.jid),
            Fate::Reroute | Fate::Forget => None,
        }
    }

    /// XEP-0198 §4: what waited for a client that did not come back says since when. Returns since when
    /// it has waited, which may be longer: what had been stored has its stamp (XEP-0203 §2).
    fn stamp(&self, stanza: &mut Stanza, since_ms: Option<i64>) -> Option<i64> {
        stanza.message_type()?;
        let domain = self.account.jid.as_jid().domain();
        if let Some(at_ms) = xep0203_delay::since(stanza, domain) {
            return Some(at_ms);
        }
        if let Some(at_ms) = since_ms {
            stanza.append(|w| xep0203_delay::write(w, domain, at_ms));
        }
        since_ms
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
