//! Subscriptions: both halves of RFC 6121 §3, driven by the table of Appendix A.

use std::sync::Arc;

use stentor_jid::{BareJid, Jid};
use stentor_stanza::{Condition, Head, Kind, PresenceType, Stanza, StanzaError};
use stentor_store::{Stage, Ticket, Write};

use crate::account::{Account, AccountState};
use crate::engine::{Engine, Route};
use crate::limits::{REQUEST_BYTES_MAX, REQUESTS_MAX};
use crate::outbox::Fate;
use crate::phase;
use crate::pipeline;
use crate::presence::broadcast;
use crate::presence::table::{Direction, Event, State};
use crate::refuse::store_error;
use crate::roster::Item;
use crate::service;
use crate::session::{Session, bare_presence};
use crate::watch;

/// Deals with a subscription stanza that a session of ours sent (§3.1.2, §3.1.5, §3.2.2, §3.3.2).
pub(crate) async fn send(session: &Arc<Session>, kind: PresenceType, mut stanza: Stanza) {
    let (engine, account) = (&session.engine, &session.account);
    let (Some(event), Some(to)) = (event_of(kind), stanza.head.to.as_ref()) else { return };
    let (to, contact) = (to.clone(), to.to_bare());
    if contact == account.jid {
        // One always sees one's own presence; there is nothing to ask for.
        return;
    }
    let other = match addressee(session, &contact, event).await {
        Ok(Some(Correspondent::Ours(other))) => match takes(engine, &other, &stanza) {
            Ok(()) if is_for_nobody(&other, &to, event) => None,
            Ok(()) => Some(Correspondent::Ours(other)),
            Err(Some(error)) => return session.refuse(&stanza, &error),
            Err(None) => None,
        },
        Ok(other) => other,
        Err(error) => return session.refuse(&stanza, &error),
    };
    // §3.1.2: subscriptions are between bare addresses.
    stanza.head.from = Some(account.jid.clone().into());
    stanza.head.to = Some(contact.clone().into());
    stanza.head.is_directed = true;
    let is_abroad = matches!(other, Some(Correspondent::Remote(_)));
    // From here on nothing is awaited: both rosters change, or none.
    let mut sent = None;
    let change = {
        let mut state = account.lock();
        // §3.1.2: what cannot be routed brings an error, and no entry.
        let route = || {
            if is_abroad && matches!(event, Event::Subscribe | Event::Subscribed) {
                sent = engine.send_surely(&stanza)?;
            }
            Ok(())
        };
        outbound(engine, &mut state, account, &contact, event, host_limits(session), route)
    };
    let change = match change {
        Ok(change) => change,
        Err(error) => return session.refuse(&stanza, &error),
    };
    let tickets = sent.into_iter().chain(change.ticket);
    let mut commits: Commits = tickets.map(|ticket| (ticket, account.clone())).collect();
    // §3.2.2: while the contact is still subscribed it learns that the resources are gone.
    if change.before.has_from() && !change.after.has_from() {
        say_unavailable(engine, account, &contact);
    }
    if let Some(other) = other.filter(|_| change.is_routed) {
        match (other, event) {
            (Correspondent::Ours(other), _) => {
                deliver(engine, &stanza, account, &other, &mut commits);
            }
            // It has left already.
            (Correspondent::Remote(_), Event::Subscribe | Event::Subscribed) => {}
            // What ends here ends whether the other server hears of it or not.
            (Correspondent::Remote(_), Event::Unsubscribe | Event::Unsubscribed) => {
                end_abroad(session, &stanza, &mut commits);
            }
        }
        // §3.1.5: then the contact gets to see who is there.
        if event == Event::Subscribed {
            say_available(engine, account, &contact);
        }
    }
    if change.before.has_from() && !change.after.has_from() {
        watch::restricted(engine, account, &contact);
    }
    for (ticket, account) in commits {
        session.await_commit(ticket, &account, None);
    }
}

fn end_abroad(session: &Session, stanza: &Stanza, commits: &mut Commits) {
    match session.engine.send_surely(stanza) {
        Ok(sent) => commits.extend(sent.map(|ticket| (ticket, session.account.clone()))),
        Err(error) => session.refuse(stanza, &error),
    }
}

/// Changes on their way to the disk, with the accounts that they are of.
pub(crate) type Commits = Vec<(Ticket, Arc<Account>)>;

/// Whoever keeps the other half of a subscription.
pub enum Correspondent {
    /// An account of ours.
    Ours(Arc<Account>),
    /// Somebody of another server.
    Remote(BareJid),
}

impl Correspondent {
    fn jid(&self) -> &BareJid {
        match self {
            Self::Ours(account) => &account.jid,
            Self::Remote(jid) => jid,
        }
    }

    /// Hands it a stanza of `from`, and what it answers at once back to `from`.
    fn deliver(
        &self,
        engine: &Arc<Engine>,
        stanza: &Stanza,
        from: &Arc<Account>,
        commits: &mut Commits,
    ) {
        match self {
            Self::Ours(to) => deliver(engine, stanza, from, to, commits),
            // It answers when it likes.
            Self::Remote(_) => {
                let sent = engine.send_surely(stanza).ok().flatten();
                commits.extend(sent.map(|ticket| (ticket, from.clone())));
            }
        }
    }
}

/// Who keeps the other half of subscriptions with a contact; nobody for an account of ours that
/// does not exist.
///
/// # Errors
/// The store could not be read.
pub async fn correspondent(
    engine: &Arc<Engine>,
    contact: &BareJid,
) -> Result<Option<Correspondent>, StanzaError> {
    match engine.route(contact.as_jid()) {
        Route::Account(_, jid) => {
            let found = engine.account(&jid).await.map_err(|e| store_error(&e))?;
            Ok(found.map(Correspondent::Ours))
        }
        Route::Remote => Ok(Some(Correspondent::Remote(contact.clone()))),
        Route::Host(_) => Ok(None),
    }
}

/// Deals with a subscription stanza that came from another server.
pub(crate) fn from_remote(
    engine: &Arc<Engine>,
    account: &Arc<Account>,
    contact: &BareJid,
    mut stanza: Stanza,
) -> Commits {
    let mut commits = Commits::new();
    if let Err(error) = takes(engine, account, &stanza) {
        let reply = error.and_then(|error| stanza.reply_error(&error));
        reply.into_iter().for_each(|reply| drop(engine.send_remote(reply)));
        return commits;
    }
    let event = stanza.presence_type().and_then(event_of);
    if let (Some(to), Some(event)) = (&stanza.head.to, event)
        && is_for_nobody(account, to, event)
    {
        return commits;
    }
    // §3.1.3: subscriptions are between bare addresses.
    stanza.head.from = Some(contact.clone().into());
    stanza.head.to = Some(account.jid.clone().into());
    let Some(event) = inbound(engine, &stanza, contact, account, &mut commits) else {
        return commits;
    };
    let reply = bare_presence(type_of(event), account.jid.clone(), contact.clone());
    let sent = engine.send_surely(&reply).ok().flatten();
    commits.extend(sent.map(|ticket| (ticket, account.clone())));
    if event == Event::Subscribed {
        say_available(engine, account, contact);
    }
    commits
}

/// What a session's removal of a contact means for the contact (§2.5.2): the subscriptions end.
/// `other` is the [`correspondent`], asked for before the removal.
///
/// `session` is whose later answers wait for that to be on disk, if a session removed it.
pub fn remove_contact(
    engine: &Arc<Engine>,
    account: &Arc<Account>,
    session: Option<&Arc<Session>>,
    other: Option<&Correspondent>,
    item: &Item,
) {
    let Some(other) = other else { return };
    if let Correspondent::Ours(theirs) = other {
        let (from, to) = (account.jid.clone(), theirs.jid.clone());
        let stanza = bare_presence(PresenceType::Unsubscribe, from, to);
        if takes(engine, theirs, &stanza).is_err() {
            return;
        }
    }
    for (ticket, account) in end_subscriptions(engine, account, other, item) {
        if let Some(session) = session {
            session.await_commit(ticket, &account, None);
        } else {
            let engine = engine.clone();
            service::start(async move { drop(engine.settle(&account, ticket).await) });
        }
    }
}

/// Ends all subscriptions of an account that is being deleted, and denies requests to it
/// (XEP-0077 §3.2).
pub async fn forget_account(engine: &Arc<Engine>, account: &Arc<Account>) {
    let roster = std::mem::take(&mut account.lock().roster);
    let contacts = roster.items().map(|(contact, item)| (contact, Some(item)));
    for (contact, item) in contacts.chain(roster.requesters().map(|from| (from, None))) {
        let other = match correspondent(engine, contact).await {
            Ok(Some(other)) => other,
            Ok(None) => continue,
            Err(error) => {
                tracing::error!(event = "store_failed", %contact, %error, "A contact could not be told that an account was deleted.");
                continue;
            }
        };
        let mut commits = Commits::new();
        if let Some(item) = item {
            commits = end_subscriptions(engine, account, &other, item);
        } else {
            let from = account.jid.clone();
            let denial = bare_presence(PresenceType::Unsubscribed, from, contact.clone());
            other.deliver(engine, &denial, account, &mut commits);
        }
        for (ticket, account) in commits {
            drop(engine.settle(&account, ticket).await);
        }
    }
}

fn end_subscriptions(
    engine: &Arc<Engine>,
    account: &Arc<Account>,
    other: &Correspondent,
    item: &Item,
) -> Commits {
    let ends =
        [(item.from, PresenceType::Unsubscribed), (item.to || item.ask, PresenceType::Unsubscribe)];
    if item.from {
        say_unavailable(engine, account, other.jid());
    }
    let mut commits = Commits::new();
    for (_, kind) in ends.into_iter().filter(|(is_due, _)| *is_due) {
        let stanza = bare_presence(kind, account.jid.clone(), other.jid().clone());
        other.deliver(engine, &stanza, account, &mut commits);
    }
    commits
}

/// §8.5.3.2.2: all but a request is ignored at a full address that nobody has.
fn is_for_nobody(account: &Account, to: &Jid, event: Event) -> bool {
    let is_there = |name: &str| account.lock().resource(name).is_some();
    event != Event::Subscribe && to.resource().is_some_and(|name| !is_there(name))
}

fn host_limits(session: &Session) -> usize {
    session.host().map_or(0, |h| h.profile.settings.roster_items_max)
}

/// Who is to get a subscription stanza; none if it is to vanish there.
async fn addressee(
    session: &Session,
    contact: &BareJid,
    event: Event,
) -> Result<Option<Correspondent>, StanzaError> {
    if session.account.is_ephemeral {
        return Err(StanzaError::new(Condition::NotAllowed));
    }
    let host = match session.engine.route(contact.as_jid()) {
        Route::Remote => return Ok(Some(Correspondent::Remote(contact.clone()))),
        Route::Host(_) => return Err(StanzaError::new(Condition::ServiceUnavailable)),
        Route::Account(host, _) => host,
    };
    let found = correspondent(&session.engine, contact).await?;
    let is_silent = event != Event::Subscribe || host.profile.settings.unknown_account_silent;
    // §3.1.2: a request that cannot be delivered brings an error, and no entry.
    if found.is_none() && !is_silent {
        return Err(StanzaError::new(Condition::ServiceUnavailable));
    }
    Ok(found)
}

struct Change {
    before: State,
    after: State,
    is_routed: bool,
    /// Ready once the change is on disk. It is submitted under the account's lock, so that
    /// versions reach the store in their order.
    ticket: Option<Ticket>,
}

fn outbound(
    engine: &Arc<Engine>,
    state: &mut AccountState,
    account: &Account,
    contact: &BareJid,
    event: Event,
    items_max: usize,
    route: impl FnOnce() -> Result<(), StanzaError>,
) -> Result<Change, StanzaError> {
    let before = state.roster.state(contact);
    let step = before.step(Direction::Outbound, event);
    let is_new = state.roster.item(contact).is_none();
    // §3.4: an approval that nobody asked for is noted for later.
    let approval = match event {
        Event::Subscribed if !step.pass && !before.has_from() => Some(true),
        Event::Subscribed | Event::Unsubscribed => Some(false),
        Event::Subscribe | Event::Unsubscribe => None,
    };
    let creates = is_new && (approval == Some(true) || step.next != before);
    if creates && state.roster.len() >= items_max {
        return Err(StanzaError::new(Condition::ResourceConstraint));
    }
    if step.pass {
        route()?;
    }
    let mut stage = Stage::default();
    // Pushed before anything that it brings about, so that versions reach clients in their order.
    apply(engine, state, account, contact, step.next, approval, &mut stage);
    let ticket = engine.submit(stage);
    Ok(Change { before, after: step.next, is_routed: step.pass, ticket })
}

/// Brings the roster and the pending requests to a state, and pushes the item if it changed.
fn apply(
    engine: &Arc<Engine>,
    state: &mut AccountState,
    account: &Account,
    contact: &BareJid,
    next: State,
    approval: Option<bool>,
    stage: &mut Stage,
) {
    let owner = &account.jid;
    if !next.is_pending_in() && state.roster.remove_request(contact) {
        stage.push(Write::RemoveRequest { owner: owner.clone(), from: contact.clone() });
    }
    let former = state.roster.item(contact);
    let mut item = former.cloned().unwrap_or_default();
    item.to = next.has_to();
    item.from = next.has_from();
    item.ask = next.is_pending_out();
    item.approved = approval.unwrap_or(item.approved) && !item.from;
    let is_known = former.is_some() || item.to || item.from || item.ask || item.approved;
    if !is_known || former == Some(&item) {
        return;
    }
    let row = item.row(contact);
    let version = state.roster.put(contact, item);
    stage.push(Write::PutRoster { owner: owner.clone(), item: row, version });
    engine.push_roster(owner, state, contact, version);
}

/// Whether an account takes a subscription stanza at all: its rules let it pass (XEP-0016 §2.2,
/// rule 4), and a request has a place to wait for its answer.
///
/// # Errors
/// `Some` error for the sender, or none where the stanza is to vanish.
fn takes(
    engine: &Arc<Engine>,
    account: &Arc<Account>,
    stanza: &Stanza,
) -> Result<(), Option<StanzaError>> {
    let state = account.lock();
    pipeline::may_pass(engine, account, phase::Direction::Received, &state, stanza)?;
    let asker = stanza.head.from.as_ref().map(Jid::to_bare);
    let is_request = stanza.presence_type() == Some(PresenceType::Subscribe);
    match asker.filter(|_| is_request && state.roster.requests_len() >= REQUESTS_MAX) {
        Some(asker) if must_wait(&state, &asker) => {
            Err(Some(StanzaError::new(Condition::ResourceConstraint)))
        }
        _ => Ok(()),
    }
}

/// Whether a request would be one more that waits for an answer.
fn must_wait(state: &AccountState, asker: &BareJid) -> bool {
    let before = state.roster.state(asker);
    let is_approved = state.roster.item(asker).is_some_and(|item| item.approved);
    !before.is_pending_in() && !before.has_from() && !is_approved
}

/// Hands a stanza to its recipient's half, and what that answers at once to the sender's.
fn deliver(
    engine: &Arc<Engine>,
    stanza: &Stanza,
    from: &Arc<Account>,
    to: &Arc<Account>,
    commits: &mut Commits,
) {
    let Some(event) = inbound(engine, stanza, &from.jid, to, commits) else { return };
    let reply = bare_presence(type_of(event), to.jid.clone(), from.jid.clone());
    // The table never answers an answer.
    inbound(engine, &reply, &to.jid, from, commits);
    if event == Event::Subscribed {
        // §3.1.5: the approval goes first, then the presence.
        say_available(engine, to, &from.jid);
    }
}

/// The recipient's half (§3.1.3, §3.1.6, §3.2.3, §3.3.3). Returns the automatic answer.
fn inbound(
    engine: &Arc<Engine>,
    stanza: &Stanza,
    contact: &BareJid,
    account: &Arc<Account>,
    commits: &mut Commits,
) -> Option<Event> {
    let event = event_of(stanza.presence_type()?)?;
    let (reply, change) = {
        let mut state = account.lock();
        receive(engine, &mut state, account, contact, event, stanza)
    };
    // §3.3.3: who is no longer subscribed learns that the resources are gone.
    if change.before.has_from() && !change.after.has_from() {
        say_unavailable(engine, account, contact);
        watch::restricted(engine, account, contact);
    }
    commits.extend(change.ticket.map(|ticket| (ticket, account.clone())));
    reply
}

fn receive(
    engine: &Arc<Engine>,
    state: &mut AccountState,
    account: &Account,
    contact: &BareJid,
    event: Event,
    stanza: &Stanza,
) -> (Option<Event>, Change) {
    let before = state.roster.state(contact);
    let mut step = before.step(Direction::Inbound, event);
    let is_approved = event == Event::Subscribe
        && !before.has_from()
        && state.roster.item(contact).is_some_and(|i| i.approved);
    if is_approved {
        step.pass = false;
        step.next = State::of(before.has_to(), true, before.is_pending_out(), false);
        step.reply = Some(Event::Subscribed);
    }
    let mut stage = Stage::default();
    if step.next.is_pending_in() && !before.is_pending_in() {
        if state.roster.requests_len() >= REQUESTS_MAX {
            tracing::warn!(event = "subscriptions_dropped", account = %account.jid, "Too many subscription requests wait; one more was dropped.");
            return (None, Change { before, after: before, is_routed: false, ticket: None });
        }
        keep_request(state, account, contact, stanza, &mut stage);
        engine.attend(account, |module, cx| module.asked(cx, contact, state, &mut stage));
    }
    if step.pass {
        // §3.1.3 names the available resources, §3.1.6 and its kin the interested ones.
        let wants_answer = event == Event::Subscribe;
        for resource in state.resources() {
            let takes = if wants_answer {
                resource.is_available()
            } else {
                resource.has(crate::resource::Flag::Interested)
            };
            if takes {
                resource.outbox.push(stanza.clone(), Fate::Forget);
            }
        }
    }
    apply(engine, state, account, contact, step.next, None, &mut stage);
    let ticket = engine.submit(stage);
    (step.reply, Change { before, after: step.next, is_routed: step.pass, ticket })
}

/// §3.1.3: the complete stanza, once per sender, until it is answered.
fn keep_request(
    state: &mut AccountState,
    account: &Account,
    contact: &BareJid,
    stanza: &Stanza,
    stage: &mut Stage,
) {
    let mut bytes = stanza.to_bytes();
    if bytes.len() > REQUEST_BYTES_MAX {
        let mut head = Head::new(Kind::Presence(PresenceType::Subscribe));
        head.from.clone_from(&stanza.head.from);
        head.to.clone_from(&stanza.head.to);
        bytes = Stanza::empty(head).to_bytes();
    }
    state.roster.put_request(contact, Arc::from(bytes.as_slice()));
    stage.push(Write::PutRequest {
        owner: account.jid.clone(),
        from: contact.clone(),
        stanza: bytes,
    });
}

fn say_unavailable(engine: &Arc<Engine>, account: &Account, contact: &BareJid) {
    let resources = account.resources();
    for resource in resources.iter().filter(|r| r.is_available()) {
        if broadcast::may_see(engine, account, resource, contact.as_jid()) {
            let from = resource.jid.clone();
            let gone = bare_presence(PresenceType::Unavailable, from, contact.clone());
            broadcast::to_bare(engine, Some((account, &**resource)), &gone, contact);
        }
    }
}

fn say_available(engine: &Arc<Engine>, account: &Arc<Account>, contact: &BareJid) {
    for resource in account.resources() {
        if let Some(presence) = resource.presence()
            && broadcast::may_see(engine, account, &resource, contact.as_jid())
        {
            broadcast::to_bare(engine, Some((&**account, &*resource)), &presence, contact);
        }
    }
    watch::admitted(engine, account, contact);
}

const fn event_of(kind: PresenceType) -> Option<Event> {
    match kind {
        PresenceType::Subscribe => Some(Event::Subscribe),
        PresenceType::Subscribed => Some(Event::Subscribed),
        PresenceType::Unsubscribe => Some(Event::Unsubscribe),
        PresenceType::Unsubscribed => Some(Event::Unsubscribed),
        _ => None,
    }
}

const fn type_of(event: Event) -> PresenceType {
    match event {
        Event::Subscribe => PresenceType::Subscribe,
        Event::Subscribed => PresenceType::Subscribed,
        Event::Unsubscribe => PresenceType::Unsubscribe,
        Event::Unsubscribed => PresenceType::Unsubscribed,
    }
}
