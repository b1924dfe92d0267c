//! The life of a message, top to bottom.
//!
//! Two passes through the same phases: once for the sender's account if it is ours, once for the
//! recipient's. Order between phases is these functions; order inside a phase is the registry.
//! Everything here is synchronous; what must be read first is read by the caller.

use std::sync::Arc;

use stentor_stanza::{Condition, Stanza, StanzaError};
use stentor_store::{Stage, Ticket};

use crate::account::{Account, AccountState};
use crate::deliver::{self, Delivered};
use crate::engine::Engine;
use crate::host::Host;
use crate::outbox::Pressure;
use crate::phase::{Cx, Direction, Taken, Verdict};

/// What a pass came to.
pub(crate) enum Outcome {
    /// The message has been delivered, kept or dropped on purpose. A ticket says that
    /// acknowledging it must wait; pressure, that the sender should.
    Done { ticket: Option<Ticket>, pressure: Pressure },
    /// Its sender gets this error.
    Refused(StanzaError),
}

/// The first pass: may the account's own session send this?
///
/// # Errors
/// `Some` error for the sender, or none where the message is to vanish.
pub(crate) fn sent(
    engine: &Arc<Engine>,
    host: &Arc<Host>,
    account: &Arc<Account>,
    stanza: &Stanza,
) -> Result<(), Option<StanzaError>> {
    let now_ms = engine.clock.unix_ms();
    let cx = Cx { engine, host, account, direction: Direction::Sent, now_ms };
    screen(&cx, stanza)
}

/// The second pass: the recipient's account exists and is in memory.
pub(crate) fn received(
    engine: &Arc<Engine>,
    host: &Arc<Host>,
    account: &Arc<Account>,
    stanza: &Stanza,
) -> Outcome {
    let now_ms = engine.clock.unix_ms();
    let cx = Cx { engine, host, account, direction: Direction::Received, now_ms };
    match screen(&cx, stanza) {
        Ok(()) => {}
        Err(Some(error)) => return Outcome::Refused(error),
        Err(None) => return Outcome::Done { ticket: None, pressure: Pressure::Low },
    }
    place(&cx, &mut account.lock(), stanza)
}

/// A message that a session of the account was given and did not take finds another place. It was
/// screened when it came. The caller holds the account's lock, so that nothing overtakes it.
pub(crate) fn again(
    engine: &Arc<Engine>,
    host: &Arc<Host>,
    account: &Arc<Account>,
    state: &mut AccountState,
    stanza: &Stanza,
) -> Outcome {
    let now_ms = engine.clock.unix_ms();
    let cx = Cx { engine, host, account, direction: Direction::Received, now_ms };
    place(&cx, state, stanza)
}

fn place(cx: &Cx<'_>, state: &mut AccountState, stanza: &Stanza) -> Outcome {
    if state.is_suspended {
        return Outcome::Refused(StanzaError::new(Condition::ServiceUnavailable));
    }
    let rule = cx.host.profile.settings.delivery;
    match deliver::message(state, stanza, rule) {
        Delivered::Yes(pressure) => Outcome::Done { ticket: None, pressure },
        Delivered::Ignored => Outcome::Done { ticket: None, pressure: Pressure::Low },
        Delivered::Bounced => Outcome::Refused(StanzaError::new(Condition::ServiceUnavailable)),
        Delivered::Missed => keep(cx, state, stanza),
        Delivered::Queued => {
            let kept = keep(cx, state, stanza);
            if matches!(kept, Outcome::Done { ticket: Some(_), .. }) {
                return kept;
            }
            // What cannot be kept has nothing to wait for: somebody is there.
            match deliver::at_once(state, stanza, rule) {
                Delivered::Yes(pressure) => Outcome::Done { ticket: None, pressure },
                _ => kept,
            }
        }
    }
}

fn keep(cx: &Cx<'_>, state: &mut AccountState, stanza: &Stanza) -> Outcome {
    let mut stage = Stage::default();
    for module in &cx.host.profile.phases.miss {
        match module.miss(cx, stanza, state, &mut stage) {
            Taken::No => {}
            Taken::Refused(error) => return Outcome::Refused(error),
            Taken::Dropped => return Outcome::Done { ticket: None, pressure: Pressure::Low },
            Taken::Kept => {
                let ticket = cx.engine.stores.writer.submit(stage);
                return Outcome::Done { ticket: Some(ticket), pressure: Pressure::Low };
            }
        }
    }
    Outcome::Refused(StanzaError::new(Condition::ServiceUnavailable))
}

fn screen(cx: &Cx<'_>, stanza: &Stanza) -> Result<(), Option<StanzaError>> {
    for module in &cx.host.profile.phases.screen {
        match module.screen(cx, stanza) {
            Verdict::Pass => {}
            Verdict::Drop => return Err(None),
            Verdict::Refuse(error) => return Err(Some(error)),
        }
    }
    Ok(())
}
