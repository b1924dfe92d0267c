//! Stanzas for sessions that outlive the process: what they are given is written in the stage that
//! is about it, and stays in their outbox until that is committed.

use std::sync::Arc;

use stentor_stanza::Stanza;
use stentor_store::{PendingBody, PendingHow, PendingRow, SessionChange, Stage, Write, Writer};

use crate::outbox::{Copies, Fate, Pressure};
use crate::resource::Resource;
use crate::worth::Worth;

/// What sessions were given in one decision.
#[derive(Default)]
pub(crate) struct Pending {
    rows: Vec<Write>,
    resources: Vec<Arc<Resource>>,
    /// What the store is to hold until the stage is submitted.
    held: Vec<Fate>,
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
    pub(crate) const fn of(worth: Worth, kept: Option<u64>, how: PendingHow) -> Self {
        match kept {
            Some(id) => Self::Archived(id, how),
            None if worth.outlives => Self::Bytes,
            None => Self::No,
        }
    }
}

impl Pending {
    /// Gives a session a stanza; `copies` is 1, or 0 if nobody misses it or it is a copy of what others
    /// are given. What several sessions are given is [`Pending::share`]d then.
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
            let change =
                SessionChange::Push(PendingRow { seq: place.seq, copies, shared: None, body });
            self.rows.push(Write::Session { session: place.session, change });
            self.resources.push(resource.clone());
        }
        pressure
    }

    /// How many stanzas will be written.
    pub(crate) const fn len(&self) -> usize {
        self.rows.len()
    }

    /// What was given since there were so many is one message, with copies of it (XEP-0280): it is lost
    /// once all have lost it. Sessions that die with the process do not count: after its end nobody
    /// knows what they took. If they were given all but copies, those count neither.
    pub(crate) fn share(&mut self, since: usize, number: impl FnOnce() -> u64) {
        let rows = &mut self.rows[since..];
        let is_missed = |row: &Write| match row {
            Write::Session { change: SessionChange::Push(row), .. } => row.copies > 0,
            _ => false,
        };
        if rows.len() < 2 || !rows.iter().any(is_missed) {
            return;
        }
        let (number, count) = (number(), u32::try_from(rows.len()).unwrap_or(u32::MAX));
        for row in rows {
            if let Write::Session { change: SessionChange::Push(row), .. } = row {
                (row.copies, row.shared) = (count, Some(number));
            }
        }
    }

    /// Some sessions were given a message, and all of them die with the process: it is in the store as
    /// long as it is on its way.
    pub(crate) fn give(&mut self, copies: &Copies, writer: &Writer, give: Write) {
        if let Write::Give { number, .. } = &give {
            copies.is_given(writer.clone(), *number);
            self.hold(Fate::Shared(copies.clone()));
            self.rows.push(give);
        }
    }

    /// What the store holds of a message that finds another place goes after that is written.
    pub(crate) fn hold(&mut self, fate: Fate) {
        self.held.push(fate);
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
