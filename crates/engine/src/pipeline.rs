//! The life of a message, top to bottom.
//!
//! Two passes through the same phases: one for the sender's account if it is ours, one for the
//! recipient's. They run phase by phase, the sender's first, under the locks of both accounts, and
//! all they write is one stage: what an archive holds is in the order of delivery, and a message is
//! in the store wholly or not at all. Order between phases is [`decide`]; order inside a phase is
//! the registry. Everything here is synchronous; what must be read first is read by the caller.

use std::borrow::Cow;
use std::sync::Arc;

use stentor_payload::xep0359_sid;
use stentor_stanza::{Condition, Stanza, StanzaError};
use stentor_store::{PendingHow, Stage, Ticket};

use crate::account::{Account, AccountState};
use crate::copied::{Copied, Entry, Key};
use crate::deliver::{self, Delivered, Give, Others, To};
use crate::engine::Engine;
use crate::host::Host;
use crate::locks::Locks;
use crate::lookup::Found;
use crate::outbox::{Copies, Fate, Pressure};
use crate::pending::{Keep, Pending};
use crate::phase::{
    Cx, Direction, Flow, Observed, Recorded, Serials, SharedBytes, SharedWorth, Taken, Verdict,
};
use crate::resource::{Flag, Resource};
use crate::session::Session;
use crate::underway::{self, Kept};
use crate::worth::Offline;
use crate::xep0203_delay;

/// A message on its way, and whom of ours it concerns.
pub(crate) struct Passage<'a> {
    pub(crate) engine: &'a Arc<Engine>,
    /// The sender, if it is ours.
    pub(crate) sender: Option<Party<'a>>,
    /// The recipient, if it is ours; the account exists and is in memory.
    pub(crate) recipient: Option<Party<'a>>,
    /// The session that sent it, if it is one of ours.
    pub(crate) session: Option<&'a Arc<Session>>,
    /// What was looked up for it.
    pub(crate) found: &'a Found,
    /// When it came, in milliseconds since 1970: it may have waited since.
    pub(crate) at_ms: i64,
}

/// One of the two accounts.
#[derive(Clone, Copy)]
pub(crate) struct Party<'a> {
    pub(crate) host: &'a Arc<Host>,
    pub(crate) account: &'a Arc<Account>,
}

/// What a message came to.
pub(crate) enum Outcome {
    /// It has been delivered, kept or dropped on purpose. A ticket says that acknowledging it must
    /// wait; pressure, that the sender should; `underway`, that the store keeps it until another
    /// domain has it.
    Done { ticket: Option<Ticket>, pressure: Pressure, underway: Option<Kept> },
    /// Its sender gets this error.
    Refused(StanzaError),
}

/// Decides about one message.
pub(crate) fn decide(passage: &Passage<'_>, stanza: &mut Stanza) -> Outcome {
    let shared = Shared::default();
    let sent = passage.cx(Direction::Sent, &shared);
    let received = passage.cx(Direction::Received, &shared);
    let mut locks =
        Locks::take(passage.sender.map(|p| &**p.account), passage.recipient.map(|p| &**p.account));
    let mut stage = Stage::default();
    let mut pending = Pending::default();

    if let Err(outcome) = screen_both(sent.as_ref(), received.as_ref(), &mut locks, stanza) {
        return outcome;
    }
    if received.is_some() {
        xep0203_delay::cut_forged(passage.engine, stanza);
    }
    annotate(sent.as_ref(), locks.sender(), stanza);
    annotate(received.as_ref(), locks.recipient(), stanza);
    let (mut ids, mut underway) = ((None, None), None);
    // A message to oneself is kept once, as received.
    if let (Some(cx), Some(state)) = (sent.as_ref().filter(|cx| !cx.is_to_self), locks.sender()) {
        let recorded = match record(cx, state, stanza, &mut stage) {
            Ok(id) if received.is_some() => Ok((id, None)),
            Ok(id) => underway::keep(cx, stanza, &mut stage).map(|kept| (id, kept)),
            Err(error) => Err(error),
        };
        match recorded {
            Ok((id, kept)) => (ids.0, underway) = (id, kept),
            Err(error) => return Outcome::Refused(error),
        }
    }
    if let (Some(cx), Some(state)) = (&received, locks.recipient()) {
        match record(cx, state, stanza, &mut stage) {
            Ok(id) => ids.1 = id,
            Err(error) => return Outcome::Refused(error),
        }
    }
    let mut pressure = Pressure::Low;
    if let (Some(cx), Some(state)) = (&received, locks.recipient()) {
        let view = view_of(cx, stanza, ids.1);
        let before = pending.len();
        let placed = match place(cx, state, &view, ids.1, &mut stage, &mut pending) {
            Ok(placed) => placed,
            Err(error) => return Outcome::Refused(error),
        };
        let copied = mirror_placed(cx, state, &view, &placed, ids.1, before, &mut pending);
        let is_waiting = !matches!(placed.waiting, Waiting::No);
        let Placed { took, waiting, .. } = placed;
        let handed = waiting.handed();
        pressure = placed.pressure;
        let seen = Observed { took: &took, copied: &copied, kept: ids.1, is_waiting, handed };
        observe(cx, state, &view, &seen, &mut stage);
    }
    if let (Some(cx), Some(state)) = (&sent, locks.sender()) {
        let view = view_of(cx, stanza, ids.0);
        let took = Serials::new();
        mirror(cx, state, &view, &took, ids.0, None, &mut pending);
        let seen =
            Observed { took: &took, copied: &took, kept: ids.0, is_waiting: false, handed: None };
        observe(cx, state, &view, &seen, &mut stage);
    }
    pending.write(&mut stage);
    if let Some(session) = passage.session.filter(|_| !stage.is_empty()) {
        // What the message came to and that it has been dealt with are known together or not at all.
        session.stage_handled(&mut stage);
    }
    // Under the locks: the order of the stages is the order of the decisions.
    let ticket = passage.engine.submit(stage);
    pending.release();
    Outcome::Done { ticket, pressure, underway }
}

/// A message that a session of the account was given and did not take finds another place. It was
/// screened and recorded when it came. The caller holds the account's lock, so that nothing
/// overtakes it, and submits the stage. `since_ms` is when it came, if that is known.
///
/// # Errors
/// For its sender.
pub(crate) fn again(
    engine: &Arc<Engine>,
    party: Party<'_>,
    state: &mut AccountState,
    stanza: &Stanza,
    since_ms: Option<i64>,
    stage: &mut Stage,
    pending: &mut Pending,
) -> Result<(), StanzaError> {
    let shared = Shared::default();
    let found = Found::default();
    let at_ms = since_ms.unwrap_or_else(|| engine.clock.unix_ms());
    let recipient = Some(party);
    let passage = Passage { engine, sender: None, recipient, session: None, found: &found, at_ms };
    let Some(cx) = passage.cx(Direction::Received, &shared) else { return Ok(()) };
    let kept = kept_before(&cx, stanza);
    let before = pending.len();
    let placed = place(&cx, state, stanza, kept, stage, pending)?;
    // XEP-0280 §7: nobody has a copy by now, or it would not be placed again.
    if !placed.took.is_empty() {
        mirror_placed(&cx, state, stanza, &placed, kept, before, pending);
    }
    Ok(())
}

/// A message that a session of the account was given and did not take is known to others as a copy
/// (XEP-0280). XEP-0198 §4: those who would have it if it came now get it as well. Otherwise as
/// [`again`].
pub(crate) fn spread(
    engine: &Arc<Engine>,
    party: Party<'_>,
    state: &AccountState,
    stanza: &Stanza,
    others: Others<'_>,
    pending: &mut Pending,
) {
    if state.is_suspended {
        return;
    }
    let (shared, found) = (Shared::default(), Found::default());
    let (at_ms, recipient) = (engine.clock.unix_ms(), Some(party));
    let passage = Passage { engine, sender: None, recipient, session: None, found: &found, at_ms };
    let Some(cx) = passage.cx(Direction::Received, &shared) else { return };
    let kept = kept_before(&cx, stanza);
    let keep = Keep::of(cx.worth.of(stanza), kept, PendingHow::Plain);
    let rule = cx.host.profile.settings.delivery;
    let mut to = To { others: Some(others), ..To::new(pending, keep, &|| 0) };
    let admits = |r: &Resource| admits(&cx, r, stanza, state);
    if let Delivered::Yes(mut took, _) = deliver::at_once(state, stanza, rule, &admits, &mut to) {
        took.extend(state.resources().iter().filter(|r| others.have(r)).map(|r| r.serial));
        mirror(&cx, state, stanza, &took, kept, Some(others.copies), pending);
    }
}

/// The id under which the account has kept a message. What is recorded carries it; without a module
/// that records nobody takes forged ids out.
fn kept_before(cx: &Cx<'_>, stanza: &Stanza) -> Option<u64> {
    let records = !cx.host.profile.phases.record.is_empty();
    let kept = records.then(|| xep0359_sid::stanza_id(stanza, &cx.account.jid)).flatten();
    kept.and_then(|id| cx.engine.read_id(&id))
}

/// Whether a presence or an IQ may leave or reach an account. The caller holds its lock.
///
/// # Errors
/// As in [`screen`].
pub(crate) fn may_pass(
    engine: &Arc<Engine>,
    account: &Arc<Account>,
    direction: Direction,
    state: &AccountState,
    stanza: &Stanza,
) -> Result<(), Option<StanzaError>> {
    let Some(host) = engine.host(account.jid.as_jid().domain()) else { return Ok(()) };
    if host.profile.phases.screen.is_empty() {
        return Ok(());
    }
    let shared = Shared::default();
    let party = Some(Party { host: &host, account });
    let (sender, recipient) = match direction {
        Direction::Sent => (party, None),
        Direction::Received => (None, party),
    };
    let found = Found::default();
    let at_ms = engine.clock.unix_ms();
    let passage = Passage { engine, sender, recipient, session: None, found: &found, at_ms };
    match passage.cx(direction, &shared) {
        Some(cx) => screen(&cx, state, stanza),
        None => Ok(()),
    }
}

/// Asks one account's modules whether a stanza may pass.
///
/// # Errors
/// `Some` error for the sender, or none where the stanza is to vanish.
fn screen(cx: &Cx<'_>, state: &AccountState, stanza: &Stanza) -> Result<(), Option<StanzaError>> {
    for module in &cx.host.profile.phases.screen {
        match module.screen(cx, stanza, state) {
            Verdict::Pass => {}
            Verdict::Drop => return Err(None),
            Verdict::Refuse(error) => return Err(Some(error)),
        }
    }
    Ok(())
}

/// What both passes of a message share.
#[derive(Default)]
struct Shared {
    bytes: SharedBytes,
    worth: SharedWorth,
}

impl<'a> Passage<'a> {
    fn cx(&self, direction: Direction, shared: &'a Shared) -> Option<Cx<'a>>
    where
        Self: 'a,
    {
        let party = match direction {
            Direction::Sent => self.sender,
            Direction::Received => self.recipient,
        }?;
        let is_to_self = match (self.sender, self.recipient) {
            (Some(s), Some(r)) => Arc::ptr_eq(s.account, r.account),
            _ => false,
        };
        let Party { host, account } = party;
        let (engine, session) = (self.engine, self.session);
        let now_ms = self.at_ms;
        let found = self.found.of(direction);
        let Shared { bytes, worth } = shared;
        Some(Cx {
            engine,
            host,
            account,
            direction,
            session,
            is_to_self,
            now_ms,
            bytes,
            worth,
            found,
        })
    }
}

fn screen_both(
    sent: Option<&Cx<'_>>,
    received: Option<&Cx<'_>>,
    locks: &mut Locks<'_>,
    stanza: &Stanza,
) -> Result<(), Outcome> {
    let ended = |error: Option<StanzaError>| match error {
        Some(error) => Outcome::Refused(error),
        None => Outcome::Done { ticket: None, pressure: Pressure::Low, underway: None },
    };
    if let (Some(cx), Some(state)) = (sent, locks.sender()) {
        screen(cx, state, stanza).map_err(ended)?;
    }
    if let (Some(cx), Some(state)) = (received, locks.recipient()) {
        screen(cx, state, stanza).map_err(ended)?;
    }
    Ok(())
}

fn annotate(cx: Option<&Cx<'_>>, state: Option<&mut AccountState>, stanza: &mut Stanza) {
    if let (Some(cx), Some(state)) = (cx, state) {
        for module in &cx.host.profile.phases.annotate {
            module.annotate(cx, stanza, state);
        }
    }
}

/// The first id that a module gives is the one shown. A store that has fallen behind refuses before
/// anybody has seen the message.
fn record(
    cx: &Cx<'_>,
    state: &AccountState,
    stanza: &Stanza,
    stage: &mut Stage,
) -> Result<Option<u64>, StanzaError> {
    let modules = &cx.host.profile.phases.record;
    if modules.is_empty() || cx.account.is_ephemeral {
        return Ok(None);
    }
    let mut kept = None;
    for module in modules {
        match module.record(cx, stanza, state, stage) {
            Recorded::No => {}
            Recorded::As(id) => kept = kept.or(Some(id)),
            Recorded::Refused(error) => return Err(error),
        }
    }
    if !stage.is_empty() && !cx.engine.stores.writer.has_room() {
        return Err(StanzaError::new(Condition::ResourceConstraint));
    }
    Ok(kept)
}

/// The message as the account of the pass sees it: with the id under which it keeps it.
fn view_of<'a>(cx: &Cx<'_>, stanza: &'a Stanza, id: Option<u64>) -> Cow<'a, Stanza> {
    let Some(id) = id else { return Cow::Borrowed(stanza) };
    let mut view = stanza.clone();
    view.append(|w| xep0359_sid::write(w, cx.account.jid.as_str(), &cx.engine.show_id(id)));
    Cow::Owned(view)
}

/// Where a message found its place, if it found one: it may be dropped on purpose.
struct Placed {
    pressure: Pressure,
    took: Serials,
    /// The same, if somebody is to count them.
    copies: Option<Copies>,
    waiting: Waiting,
}

/// Whether a message is in the offline store.
#[derive(Clone, Copy)]
enum Waiting {
    No,
    /// As if nobody were there (RFC 6121 §8.5.2.1.1): whoever comes gets it.
    ForWhoComes,
    /// Behind what is being handed to a session, or is handed to it once it is resumed. None where
    /// several may be resumed.
    Behind(Option<u64>),
}

impl Waiting {
    /// The session that is being handed what comes before.
    const fn handed(self) -> Option<u64> {
        match self {
            Self::Behind(handed) => handed,
            Self::No | Self::ForWhoComes => None,
        }
    }
}

impl Placed {
    const fn with(took: Serials, pressure: Pressure, copies: Option<Copies>) -> Self {
        Self { pressure, took, copies, waiting: Waiting::No }
    }

    fn nowhere() -> Self {
        Self::with(Serials::new(), Pressure::Low, None)
    }
}

/// Delivers or keeps.
fn place(
    cx: &Cx<'_>,
    state: &mut AccountState,
    stanza: &Stanza,
    kept: Option<u64>,
    stage: &mut Stage,
    pending: &mut Pending,
) -> Result<Placed, StanzaError> {
    if state.is_suspended {
        return Err(StanzaError::new(Condition::ServiceUnavailable));
    }
    let rule = cx.host.profile.settings.delivery;
    let worth = cx.worth.of(stanza);
    // What would be kept for later were nobody there is not lost with who is, where the sender is
    // told that it is taken: a session that counts (XEP-0198), another server.
    let is_acknowledged = cx.session.is_none_or(|s| s.resource.outbox.is_counting());
    let is_kept = worth.offline == Offline::Keep && !cx.account.is_ephemeral;
    let is_given = kept.is_none() && is_kept && is_acknowledged;
    let give = is_given.then(|| Give {
        writer: &cx.engine.stores.writer,
        owner: &cx.account.jid,
        received_ms: cx.now_ms,
    });
    let number = || cx.engine.next_id(cx.now_ms);
    let keep_as = Keep::of(worth, kept, PendingHow::Plain);
    let has_copies = |r: &Arc<Resource>| r.has(Flag::Carbons);
    let is_copied = state.resources().len() > 1
        && state.resources().iter().any(has_copies)
        && worth.carbon.is_for(Direction::Received);
    let mut to = To { give, is_copied, ..To::new(pending, keep_as, &number) };
    match deliver::message(state, stanza, rule, &|r| admits(cx, r, stanza, state), &mut to) {
        Delivered::Yes(took, pressure) => Ok(Placed::with(took, pressure, to.copies)),
        Delivered::Ignored => Ok(Placed::nowhere()),
        Delivered::Bounced => Err(StanzaError::new(Condition::ServiceUnavailable)),
        Delivered::Missed => keep(cx, state, stanza, kept, stage, Waiting::ForWhoComes),
        Delivered::Queued => {
            let handed = state.offline.flushing.or_else(|| deliver::sole_taker(state));
            let behind = Waiting::Behind(handed);
            let outcome = keep(cx, state, stanza, kept, stage, behind);
            if matches!(outcome, Ok(Placed { waiting: Waiting::Behind(_), .. })) {
                return outcome;
            }
            // What cannot be kept has nothing to wait for: somebody is there.
            let admits = |r: &Resource| admits(cx, r, stanza, state);
            match deliver::at_once(state, stanza, rule, &admits, &mut to) {
                Delivered::Yes(took, pressure) => Ok(Placed::with(took, pressure, to.copies)),
                _ => outcome,
            }
        }
    }
}

fn admits(cx: &Cx<'_>, session: &Resource, stanza: &Stanza, state: &AccountState) -> bool {
    let Some(from) = &stanza.head.from else { return true };
    cx.host.admits(Flow::MessageIn, session, from, state)
}

fn keep(
    cx: &Cx<'_>,
    state: &mut AccountState,
    stanza: &Stanza,
    kept: Option<u64>,
    stage: &mut Stage,
    waiting: Waiting,
) -> Result<Placed, StanzaError> {
    for module in &cx.host.profile.phases.miss {
        match module.miss(cx, stanza, kept, state, stage) {
            Taken::No => {}
            Taken::Refused(error) => return Err(error),
            Taken::Dropped => return Ok(Placed::nowhere()),
            Taken::Kept => return Ok(Placed { waiting, ..Placed::nowhere() }),
        }
    }
    Err(StanzaError::new(Condition::ServiceUnavailable))
}

/// Shows others of the account what has been placed since so much was pending, and says who has a
/// copy. Whoever has one has the message: it is lost once all have lost it. Nobody gets a copy of what
/// is handed to whoever comes later; of what is handed to one of those who are there, the others do.
fn mirror_placed(
    cx: &Cx<'_>,
    state: &mut AccountState,
    view: &Stanza,
    placed: &Placed,
    kept: Option<u64>,
    before: usize,
    pending: &mut Pending,
) -> Serials {
    let took = match placed.waiting {
        Waiting::No => &placed.took,
        Waiting::ForWhoComes => return Serials::new(),
        Waiting::Behind(handed) => return mirror_waiting(cx, state, view, handed, kept, pending),
    };
    let copies = placed.copies.as_ref();
    let copied = mirror(cx, state, view, took, kept, copies, pending);
    if copies.is_some() {
        pending.share(before, || cx.engine.next_id(cx.now_ms));
    }
    copied
}

/// The same of what waits behind older messages. Who will be handed those may change: it is noted who
/// has a copy.
fn mirror_waiting(
    cx: &Cx<'_>,
    state: &mut AccountState,
    view: &Stanza,
    behind: Option<u64>,
    kept: Option<u64>,
    pending: &mut Pending,
) -> Serials {
    let is_copied = state.resources().iter().any(|r| r.has(Flag::Carbons))
        && cx.worth.of(view).carbon.is_for(Direction::Received);
    if !is_copied {
        return Serials::new();
    }
    let (copies, took) = (Copies::of(1), behind.into_iter().collect());
    let copied = mirror(cx, state, view, &took, kept, Some(&copies), pending);
    let entry = Entry { copies, behind };
    state.slots.entry::<Copied>().note(Key::of(kept, view), entry);
    copied
}

fn mirror(
    cx: &Cx<'_>,
    state: &AccountState,
    view: &Stanza,
    took: &Serials,
    kept: Option<u64>,
    shared: Option<&Copies>,
    pending: &mut Pending,
) -> Serials {
    let modules = &cx.host.profile.phases.mirror;
    let (mut copies, mut copied) = (Vec::new(), Serials::new());
    for module in modules {
        module.mirror(cx, view, state, took, &mut copies);
    }
    // What a session does not get itself it gets no copy of either.
    if cx.direction == Direction::Received {
        copies.retain(|copy| admits(cx, &copy.resource, view, state));
    }
    let how = match cx.direction {
        Direction::Sent => PendingHow::CarbonSent,
        Direction::Received => PendingHow::CarbonReceived,
    };
    let keep = Keep::of(cx.worth.of(view), kept, how);
    for copy in copies {
        let fate = shared.map_or(Fate::Forget, |shared| Fate::Shared(shared.clone()));
        let pressure = pending.push(&copy.resource, copy.stanza, fate, 0, keep);
        if pressure == Pressure::Gone {
            continue;
        }
        copied.push(copy.resource.serial);
        if let Some(shared) = shared {
            shared.is_copied_to(&copy.resource);
        }
    }
    copied
}

fn observe(
    cx: &Cx<'_>,
    state: &mut AccountState,
    view: &Stanza,
    seen: &Observed<'_>,
    stage: &mut Stage,
) {
    for module in &cx.host.profile.phases.observe {
        module.observe(cx, view, seen, state, stage);
    }
}
