//! The phases of a pass (see `pipeline.rs` for their order) and what each may do.

use std::sync::Arc;

use stentor_stanza::{Stanza, StanzaError};
use stentor_store::Stage;

use crate::account::{Account, AccountState};
use crate::engine::Engine;
use crate::host::Host;

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
    /// Milliseconds since the Unix epoch at which the pass began.
    pub now_ms: i64,
}

/// Which of the two passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The account is the sender.
    Sent,
    /// The account is the recipient.
    Received,
}

/// May this stanza pass?
pub trait Screen: Send + Sync + 'static {
    /// Decides about one stanza.
    fn screen(&self, cx: &Cx<'_>, stanza: &Stanza) -> Verdict;
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

/// Nobody took the message: what now?
pub trait Miss: Send + Sync + 'static {
    /// Keeps the message or not; runs under the account's lock and only stages writes.
    fn miss(
        &self,
        cx: &Cx<'_>,
        stanza: &Stanza,
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
