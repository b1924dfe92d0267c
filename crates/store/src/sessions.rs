//! Sessions that can be resumed (XEP-0198 §5): what of them outlives the process. Of others it is known
//! as long as somebody sees them who saw them.
//!
//! A session is known by a number that is never used again. Beside its state, which changes seldom,
//! it has two counters that move with every stanza: what it sent and we have dealt with (`h`), and
//! what it was sent and has not acknowledged. Each costs one small row.

use std::sync::Arc;

use stentor_jid::{BareJid, Jid};

use crate::Boxed;

/// Sessions and what waits for their acknowledgement.
pub trait Sessions: Send + Sync {
    /// Returns a session, also one that has ended and is remembered.
    fn load(&self, session: u64) -> Boxed<Option<SessionRow>>;

    /// Returns the sessions that have not ended, past the number `after` (0 for the first page), in
    /// the order of their numbers.
    ///
    /// At most `limit`, never more than [`PAGE_ROWS_MAX`](crate::limits::PAGE_ROWS_MAX), and fewer
    /// once [`PAGE_BYTES_MAX`](crate::limits::PAGE_BYTES_MAX) is reached. A session that cannot be
    /// read is left out and logged.
    fn page(&self, after: u64, limit: u32) -> Boxed<SessionPage>;

    /// Returns what a session was sent and has not acknowledged, past `after` (0 for the first
    /// page), in order; bounded as in [`Sessions::page`].
    fn pending(&self, session: u64, after: u64, limit: u32) -> Boxed<PendingPage>;

    /// Returns the highest number of a session or of a shared message that is in the store; 0 if
    /// there is none.
    fn last_id(&self) -> Boxed<u64>;
}

/// One session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRow {
    /// Its number.
    pub session: u64,
    /// Whose it is.
    pub owner: BareJid,
    /// Its resource.
    pub resource: String,
    /// The key of the client that it is a session of, if that told its id.
    pub client: Option<String>,
    /// What proves the right to resume it, hashed by the engine; empty if nobody has it.
    pub token: Vec<u8>,
    /// Seconds for which it stays without a connection; 0 if it cannot be resumed.
    pub max_secs: u32,
    /// Bits that mean something to the engine.
    pub flags: u32,
    /// How often its outgoing stanzas have been numbered anew.
    pub epoch: u32,
    /// Whether it has a connection, as far as the store knows.
    pub state: SessionState,
    /// Its last broadcast presence while available; empty if it cannot be resumed.
    pub presence: Option<Vec<u8>>,
    /// Who got directed presence from it, ordered.
    pub directed: Vec<Jid>,
    /// Stanzas from the client whose effects are in the store, modulo 2³² (XEP-0198 §4).
    pub h: u32,
    /// Requests among those that had no answer when `h` was written.
    pub open_iqs: Vec<OpenIq>,
}

/// Where a session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionState {
    /// It has a connection, or had one when the process ended.
    Attached,
    /// It has none and may be resumed until this time, in milliseconds since 1970 UTC.
    Detached(i64),
    /// It has ended; only its number and `h` are remembered, until this time.
    Ended(i64),
}

/// A request of a client that has had no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenIq {
    /// Its id.
    pub id: String,
    /// To whom it was sent; the client's own account if there is none.
    pub to: Option<Jid>,
}

/// A stanza that a session was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PendingBody {
    /// An entry of the owner's archive.
    Archive {
        /// Its id.
        id: u64,
        /// How the session saw it.
        how: PendingHow,
    },
    /// The stanza itself.
    Bytes(Arc<[u8]>),
}

/// How an archived message was sent to a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PendingHow {
    /// As it is.
    Plain,
    /// As a copy of what another session sent (XEP-0280).
    CarbonSent,
    /// As a copy of what another session was sent.
    CarbonReceived,
}

/// What waits for an acknowledgement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingRow {
    /// Its place.
    pub seq: u64,
    /// How many sessions of the store were given it and did not lose it, if it is to be routed again
    /// once all have lost it; 0 if nobody would miss it.
    pub copies: u32,
    /// The number that the rows of all these sessions have in common, if there are several: with each
    /// session that ends, `copies` of the others goes down. Never used again.
    pub shared: Option<u64>,
    /// What it is.
    pub body: PendingBody,
}

/// Part of all sessions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionPage {
    /// The sessions.
    pub sessions: Vec<SessionRow>,
    /// What to pass as `after` for the next page; nothing after the last.
    pub next: Option<u64>,
}

/// Part of what waits for a session's acknowledgement.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PendingPage {
    /// The stanzas.
    pub rows: Vec<PendingRow>,
    /// What to pass as `after` for the next page; nothing after the last.
    pub next: Option<u64>,
}

/// One change of a session.
///
/// Changes of a session that is not there are ignored, except [`SessionChange::Push`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionChange {
    /// Adds a session or replaces all of it but what waits for its acknowledgement.
    Put(Box<SessionRow>),
    /// Notes what has been dealt with. Of several in one transaction only the last is written.
    In {
        /// As in [`SessionRow::h`].
        h: u32,
        /// As in [`SessionRow::open_iqs`].
        open_iqs: Vec<OpenIq>,
    },
    /// Replaces the presence.
    Presence(Option<Vec<u8>>),
    /// Notes that somebody got directed presence, or no longer has it.
    Directed {
        /// Who.
        to: Jid,
        /// Which of both.
        is_available: bool,
    },
    /// Replaces the flags.
    Flags(u32),
    /// Adds a stanza to those that wait for an acknowledgement;
    /// [`StoreError::Conflict`](crate::StoreError::Conflict) if the session or the place is not
    /// there to be taken.
    Push(PendingRow),
    /// Drops what waits up to and including a place. Of several in one transaction only the last
    /// is written.
    Ack {
        /// The place.
        seq: u64,
    },
    /// Drops what waits up to a place and numbers the rest anew.
    Renumber {
        /// The new epoch.
        epoch: u32,
        /// The last place to drop.
        acked: u64,
        /// Old and new places, both growing, the new ones above every old one. What is not there
        /// is passed over.
        moves: Vec<(u64, u64)>,
    },
    /// Changes where it stands. If it has ended, all but its number and `h` goes, and what it shared
    /// with other sessions has one copy less.
    State(SessionState),
    /// Removes it.
    Drop,
}

impl SessionChange {
    /// Memory behind the change itself, roughly, in bytes.
    pub(crate) fn held_bytes(&self) -> usize {
        match self {
            Self::Put(row) => {
                size_of::<SessionRow>()
                    + row.resource.len()
                    + row.token.len()
                    + row.presence.as_ref().map_or(0, Vec::len)
                    + row.directed.len() * 64
                    + open_iqs_bytes(&row.open_iqs)
            }
            Self::In { open_iqs, .. } => open_iqs_bytes(open_iqs),
            Self::Presence(presence) => presence.as_ref().map_or(0, Vec::len),
            Self::Push(PendingRow { body: PendingBody::Bytes(bytes), .. }) => bytes.len(),
            Self::Renumber { moves, .. } => moves.len() * 16,
            Self::Directed { .. }
            | Self::Flags(_)
            | Self::Push(_)
            | Self::Ack { .. }
            | Self::State(_)
            | Self::Drop => 0,
        }
    }
}

fn open_iqs_bytes(open_iqs: &[OpenIq]) -> usize {
    open_iqs.iter().map(|iq| iq.id.len() + 48).sum()
}
