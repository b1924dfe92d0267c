//! The phases of a pass (see `pipeline.rs` for their order) and what each may do.

use std::cell::OnceCell;
use std::sync::Arc;

use smallvec::SmallVec;
use stentor_jid::{BareJid, Jid};
use stentor_stanza::{Stanza, StanzaError};
use stentor_store::{Stage, StoreError};

use crate::account::{Account, AccountState};
use crate::engine::Engine;
use crate::host::Host;
use crate::iq::BoxFuture;
use crate::resource::Resource;
use crate::session::Session;
use crate::slots::{Slot, Slots};
use crate::worth::{self, Worth};

/// Where a pass runs: for whose account and in which direction.
pub struct Cx<'a> {
    /// Everything shared.
    pub engine: &'a Arc<Engine>,
    /// The account's domain.
    pub host: &'a Arc<Host>,
    /// The account.
    pub account: &'a Arc<Account>,
    /// Whether the account sent the stanza or is to receive it.
    pub direction: Direction,
    /// The session that sent the stanza; none if it is not one of ours.
    pub session: Option<&'a Arc<Session>>,
    /// Whether the account is the sender and the recipient: both passes run on it.
    pub is_to_self: bool,
    /// Milliseconds since the Unix epoch at which the pass began.
    pub now_ms: i64,
    /// The stanza's bytes, serialised once for both passes.
    pub bytes: &'a SharedBytes,
    /// What the message is worth, found out once for both passes.
    pub worth: &'a SharedWorth,
    /// What [`Lookup`] found for this pass.
    pub found: &'a Slots,
}

/// Which of the two passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The account is the sender.
    Sent,
    /// The account is the recipient.
    Received,
}

/// The bytes of a stanza as it travels, for everyone who keeps it.
#[derive(Debug, Default)]
pub struct SharedBytes(OnceCell<Arc<[u8]>>);

impl SharedBytes {
    /// The bytes. Both archives of a message share them, in memory and in the store.
    pub fn of(&self, stanza: &Stanza) -> Arc<[u8]> {
        self.0.get_or_init(|| stanza.to_bytes().into()).clone()
    }
}

/// What of the store must be known before a message is decided?
pub trait Lookup: Send + Sync + 'static {
    /// Starts reading for an account that sends or receives the message, if there is something to
    /// read. What comes of it is in [`Cx::found`] in that account's pass.
    fn look_up(&self, passing: &Passing<'_>) -> Option<Look>;
}

/// A message on its way through an account of ours, before anything about it is decided.
pub struct Passing<'a> {
    /// Where the stores and other accounts are.
    pub engine: &'a Arc<Engine>,
    /// Who sends or receives it.
    pub account: &'a BareJid,
    /// Which of the two.
    pub direction: Direction,
    /// The message as it came.
    pub stanza: &'a Stanza,
}

/// A reading that was started for one message; it may find nothing.
pub type Look = BoxFuture<'static, Result<Option<Slot>, StoreError>>;

/// What a message is worth, for everyone who asks.
#[derive(Debug, Default)]
pub struct SharedWorth(OnceCell<Worth>);

impl SharedWorth {
    /// Its worth, to be asked from [`Record`] on. Ids that a view of it has change nothing about it.
    pub fn of(&self, stanza: &Stanza) -> Worth {
        *self.0.get_or_init(|| worth::of(stanza))
    }
}

/// May this stanza pass? Asked about stanzas of every kind.
pub trait Screen: Send + Sync + 'static {
    /// Decides about one stanza. `state` is that of the pass's account.
    fn screen(&self, cx: &Cx<'_>, stanza: &Stanza, state: &AccountState) -> Verdict;
}

/// The answer of [`Screen`].
#[derive(Debug)]
pub enum Verdict {
    /// Go on.
    Pass,
    /// Stop, without a word.
    Drop,
    /// Stop; the sender gets this error.
    Refuse(StanzaError),
}

/// May this session take part? Asked for each session and each other party where one stanza is for
/// many: presence to contacts, presence and messages to a bare address.
pub trait Admit: Send + Sync + 'static {
    /// Decides about one session. `peer` is the other party; `state` that of the session's account.
    fn admits(&self, flow: Flow, session: &Resource, peer: &Jid, state: &AccountState) -> bool;
}

/// What [`Admit`] is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// A message for the session.
    MessageIn,
    /// A message that was let in earlier and waited in the store for the session.
    StoredIn,
    /// Presence of the peer for the session.
    PresenceIn,
    /// The session's presence for the peer.
    PresenceOut,
}

/// What is a user's attention drawn to, apart from messages, and when is it there by itself?
pub trait Attend: Send + Sync + 'static {
    /// Somebody looks again: a session was bound or resumed, or its client is active again.
    fn attended(&self, cx: &AttendCx<'_>, state: &mut AccountState, stage: &mut Stage);

    /// Somebody asked for a subscription and waits for an answer.
    fn asked(
        &self,
        cx: &AttendCx<'_>,
        contact: &BareJid,
        state: &mut AccountState,
        stage: &mut Stage,
    );

    /// The access of a client was taken back: nothing is for it any more. `client` is its key.
    fn cut_off(&self, cx: &AttendCx<'_>, client: &str, state: &mut AccountState, stage: &mut Stage);
}

/// Whose attention it is.
pub struct AttendCx<'a> {
    /// Everything shared.
    pub engine: &'a Arc<Engine>,
    /// The account's domain.
    pub host: &'a Arc<Host>,
    /// The account. Its lock is held.
    pub account: &'a Account,
}

/// How much of a chat does a user want to be told of while away (XEP-0492)?
pub trait Heed: Send + Sync + 'static {
    /// The user's wish; none if there is none. `chat` is a contact or a room.
    fn wish(&self, chat: &BareJid, state: &AccountState) -> Option<Wish>;

    /// The wish for an application of the user's that is this: category and type (XEP-0030).
    fn wish_of(
        &self,
        chat: &BareJid,
        _application: (&str, &str),
        state: &AccountState,
    ) -> Option<Wish> {
        self.wish(chat, state)
    }

    /// Whether the user wants to be told when this contact comes.
    fn awaits(&self, contact: &BareJid, state: &AccountState) -> bool;
}

/// How much of a chat a user wants to be told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wish {
    /// Every message.
    Always,
    /// Messages that speak of the user.
    OnMention,
    /// Nothing.
    Never,
}

/// What must travel with a message, and what must not?
pub trait Annotate: Send + Sync + 'static {
    /// Edits the message for everyone who sees it from here on.
    fn annotate(&self, cx: &Cx<'_>, stanza: &mut Stanza, state: &AccountState);
}

/// What of a message must be kept for this account?
pub trait Record: Send + Sync + 'static {
    /// Stages what is kept. Changes nothing else: if nobody takes the message and it comes back,
    /// the stage is thrown away.
    fn record(
        &self,
        cx: &Cx<'_>,
        stanza: &Stanza,
        state: &AccountState,
        stage: &mut Stage,
    ) -> Recorded;
}

/// The answer of [`Record`].
#[derive(Debug)]
pub enum Recorded {
    /// Nothing is kept.
    No,
    /// It is kept under this id, which is shown in this account's own view and nowhere else
    /// (XEP-0313 §3.5).
    As(u64),
    /// The sender gets this error.
    Refused(StanzaError),
}

/// Who else of this account sees a message?
pub trait Mirror: Send + Sync + 'static {
    /// Adds copies. `stanza` is the account's own view; `took` says which of its sessions were
    /// given the message itself.
    fn mirror(
        &self,
        cx: &Cx<'_>,
        stanza: &Stanza,
        state: &AccountState,
        took: &Serials,
        copies: &mut Vec<Copy>,
    );
}

/// The serials of sessions.
pub type Serials = SmallVec<[u64; 4]>;

/// A copy of a message for one more session of the account.
pub struct Copy {
    /// Which session.
    pub resource: Arc<Resource>,
    /// What it gets.
    pub stanza: Stanza,
}

/// Nobody took the message: what now?
pub trait Miss: Send + Sync + 'static {
    /// Keeps the message or not; only stages writes. `kept` is its id if it was recorded.
    fn miss(
        &self,
        cx: &Cx<'_>,
        stanza: &Stanza,
        kept: Option<u64>,
        state: &mut AccountState,
        stage: &mut Stage,
    ) -> Taken;
}

/// The answer of [`Miss`].
#[derive(Debug)]
pub enum Taken {
    /// Not by this module: ask the next; after the last the sender gets `service-unavailable`.
    No,
    /// Kept: what was staged will be delivered later.
    Kept,
    /// Dropped on purpose; the sender hears nothing.
    Dropped,
    /// The sender gets this error.
    Refused(StanzaError),
}

/// What happened?
pub trait Observe: Send + Sync + 'static {
    /// Looks at a message that was not refused, once all about it has been decided; may count,
    /// stage what follows from it, and notify, and changes nothing about its delivery.
    fn observe(
        &self,
        cx: &Cx<'_>,
        stanza: &Stanza,
        seen: &Observed<'_>,
        state: &mut AccountState,
        stage: &mut Stage,
    );
}

/// What became of a message for one account.
#[derive(Clone, Copy, Debug)]
pub struct Observed<'a> {
    /// The sessions that were given it; empty in the Sent pass.
    pub took: &'a Serials,
    /// The sessions that were given a copy of it; empty in the Sent pass.
    pub copied: &'a Serials,
    /// Its id if it was recorded for this account.
    pub kept: Option<u64>,
    /// Whether it waits in the offline store.
    pub is_waiting: bool,
    /// The session that is being handed what is stored, and then this.
    pub handed: Option<u64>,
}
