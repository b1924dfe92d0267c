//! Stanzas for sessions that outlive the process: what they are given is written in the stage that
//! is about it, and stays in their outbox until that is committed.

use std::sync::Arc;

use stentor_stanza::Stanza;
use stentor_store::{PendingBody, PendingHow, PendingRow, SessionChange, Stage, Write};

use crate::outbox::{Fate, Pressure};
use crate::resource::Resource;
use crate::worth::{self, Offline};

/// What sessions were given in one decision.
#[derive(Default)]
pub(crate) struct Pending {
    rows: Vec<Write>,
    resources: Vec<Arc<Resource>>,
}

/// Whether a stanza outlives the process, and where its bytes are.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Keep {
    /// Nobody would miss it.
    No,
    /// In the account's archive.
    Archived(u64, PendingHow),
    /// Nowhere yet.
    Bytes,
}

impl Keep {
    /// For a message that the account keeps under this id, if it does.
    pub(crate) fn of(stanza: &Stanza, kept: Option<u64>, how: PendingHow) -> Self {
        match kept {
            Some(id) => Self::Archived(id, how),
            None if worth::of(stanza).offline == Offline::Keep => Self::Bytes,
            None => Self::No,
        }
    }
}

impl Pending {
    /// Gives a session a stanza; `copies` sessions get it, or nobody misses it if that is 0.
    pub(crate) fn push(
        &mut self,
        resource: &Arc<Resource>,
        stanza: Stanza,
        fate: Fate,
        copies: u32,
        keep: Keep,
    ) -> Pressure {
        let body = match keep {
            Keep::No => return resource.outbox.push(stanza, fate),
            Keep::Archived(id, how) => PendingBody::Archive { id, how },
            Keep::Bytes if resource.outbox.is_durable() => {
                PendingBody::Bytes(stanza.to_bytes().into())
            }
            Keep::Bytes => return resource.outbox.push(stanza, fate),
        };
        let (pressure, place) = resource.outbox.push_kept(stanza, fate);
        if let Some(place) = place {
            let change = SessionChange::Push(PendingRow { seq: place.seq, copies, body });
            self.rows.push(Write::Session { session: place.session, change });
            self.resources.push(resource.clone());
        }
        pressure
    }

    /// Writes what was given. The stage must be submitted before the release.
    pub(crate) fn write(&mut self, stage: &mut Stage) {
        self.rows.drain(..).for_each(|row| stage.push(row));
    }

    /// The stage has been submitted: the stanzas leave once it is committed.
    pub(crate) fn release(self) {
        for resource in self.resources {
            resource.outbox.release();
        }
    }
}
