//! Subscriptions: both halves of RFC 6121 §3, driven by the table of Appendix A.

use std::sync::Arc;

use stentor_jid::BareJid;
use stentor_stanza::{Condition, Head, Kind, PresenceType, Stanza, StanzaError};
use stentor_store::{Stage, Ticket, Write};

use crate::account::{Account, AccountState};
use crate::engine::{Engine, Route};
use crate::limits::{REQUEST_BYTES_MAX, REQUESTS_MAX};
use crate::outbox::Fate;
use crate::presence::broadcast;
use crate::presence::table::{Direction, Event, State};
use crate::refuse::store_error;
use crate::roster::Item;
use crate::session::{Session, bare_presence};

/// Deals with a subscription stanza that a session of ours sent (§3.1.2, §3.1.5, §3.2.2, §3.3.2).
pub(crate) async fn send(session: &Arc<Session>, kind: PresenceType, mut stanza: Stanza) {
    let (engine, account) = (&session.engine, &session.account);
    let (Some(event), Some(to)) = (event_of(kind), stanza.head.to.as_ref()) else { return };
    let contact = to.to_bare();
    if contact == account.jid {
        // One always sees one's own presence; there is nothing to ask for.
        return;
    }
    if let Err(error) = may_send(session, &contact, event).await {
        session.refuse(&stanza, &error);
        return;
    }
    // §3.1.2: subscriptions are between bare addresses.
    stanza.head.from = Some(account.jid.clone().into());
    stanza.head.to = Some(contact.clone().into());
    let change = {
        let mut state = account.lock();
        outbound(engine, &mut state, account, &contact, event, host_limits(session))
    };
    let change = match change {
        Ok(change) => change,
        Err(error) => {
            stanza.head.from = Some(session.resource.jid.clone().into());
            session.refuse(&stanza, &error);
            return;
        }
    };
    // §3.2.2: while the contact is still subscribed it learns that the resources are gone.
    let lost = change.before.has_from() && !change.after.has_from();
    if lost {
        say_unavailable(engine, account, &contact);
    }
    if change.is_routed {
        route(session, stanza).await;
    }
    {
        let state = account.lock();
        if let Some(version) = change.version {
            engine.push_roster(&state, &contact, version);
        }
    }
    // §3.1.5: then the contact gets to see who is there.
    if change.is_routed && event == Event::Subscribed {
        say_available(engine, account, &contact);
    }
    if let Some(ticket) = change.ticket {
        session.await_commit(ticket, account, None);
    }
}

/// What a session's removal of a contact means for the contact (§2.5.2): the subscriptions end.
pub async fn remove_contact(session: &Arc<Session>, contact: &BareJid, item: &Item) {
    end_subscriptions(&session.engine, &session.account, contact, item, Some(session)).await;
}

/// Ends all subscriptions of an account that is being deleted (XEP-0077 §3.2).
pub async fn forget_account(engine: &Arc<Engine>, account: &Arc<Account>) {
    let items: Vec<(BareJid, Item)> =
        account.lock().roster.items().map(|(jid, item)| (jid.clone(), item.clone())).collect();
    for (contact, item) in items {
        end_subscriptions(engine, account, &contact, &item, None).await;
    }
}

async fn end_subscriptions(
    engine: &Arc<Engine>,
    account: &Arc<Account>,
    contact: &BareJid,
    item: &Item,
    session: Option<&Arc<Session>>,
) {
    let ends =
        [(item.from, PresenceType::Unsubscribed), (item.to || item.ask, PresenceType::Unsubscribe)];
    if item.from {
        say_unavailable(engine, account, contact);
    }
    for (_, kind) in ends.into_iter().filter(|(is_due, _)| *is_due) {
        let stanza = bare_presence(kind, account.jid.clone(), contact.clone());
        deliver(engine, stanza, session).await;
    }
}

fn host_limits(session: &Session) -> usize {
    session.host().map_or(0, |h| h.profile.settings.roster_items_max)
}

async fn may_send(session: &Session, contact: &BareJid, event: Event) -> Result<(), StanzaError> {
    if session.account.is_ephemeral {
        return Err(StanzaError::new(Condition::NotAllowed));
    }
    match session.engine.route(contact.as_jid()) {
        Route::Remote => Err(StanzaError::new(Condition::RemoteServerNotFound)),
        Route::Host(_) => Err(StanzaError::new(Condition::ServiceUnavailable)),
        // §3.1.2: a request that cannot be delivered brings an error, and no entry.
        Route::Account(host, jid) if event == Event::Subscribe => {
            match session.engine.account(&jid).await {
                Ok(Some(_)) => Ok(()),
                Ok(None) if host.profile.settings.unknown_account_silent => Ok(()),
                Ok(None) => Err(StanzaError::new(Condition::ServiceUnavailable)),
                Err(error) => Err(store_error(&error)),
            }
        }
        Route::Account(..) => Ok(()),
    }
}

struct Change {
    before: State,
    after: State,
    is_routed: bool,
    /// The new roster version, where the item changed and is pushed.
    version: Option<u64>,
    /// Ready once the change is on disk. It is submitted under the account's lock, so that
    /// versions reach the store in their order.
    ticket: Option<Ticket>,
}

fn outbound(
    engine: &Engine,
    state: &mut AccountState,
    account: &Account,
    contact: &BareJid,
    event: Event,
    items_max: usize,
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
    let mut stage = Stage::default();
    let version = apply(state, account, contact, step.next, approval, &mut stage);
    let ticket = submit(engine, stage);
    Ok(Change { before, after: step.next, is_routed: step.pass, version, ticket })
}

fn submit(engine: &Engine, stage: Stage) -> Option<Ticket> {
    (!stage.is_empty()).then(|| engine.stores.writer.submit(stage))
}

/// Brings the roster and the pending requests to a state. Returns the version of the item's
/// change, if the item changed.
fn apply(
    state: &mut AccountState,
    account: &Account,
    contact: &BareJid,
    next: State,
    approval: Option<bool>,
    stage: &mut Stage,
) -> Option<u64> {
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
        return None;
    }
    let row = item.row(contact);
    let version = state.roster.put(contact, item);
    stage.push(Write::PutRoster { owner: owner.clone(), item: row, version });
    Some(version)
}

/// Routes a subscription stanza, and whatever the other side's server answers at once.
async fn route(session: &Arc<Session>, stanza: Stanza) {
    deliver(&session.engine, stanza, Some(session)).await;
}

async fn deliver(engine: &Arc<Engine>, stanza: Stanza, session: Option<&Arc<Session>>) {
    let mut next = Some(stanza);
    // The table answers requests by answers and never answers an answer, so this ends.
    while let Some(stanza) = next.take() {
        next = inbound(engine, &stanza, session).await;
    }
}

/// The recipient's half (§3.1.3, §3.1.6, §3.2.3, §3.3.3). Returns the automatic answer.
async fn inbound(
    engine: &Arc<Engine>,
    stanza: &Stanza,
    session: Option<&Arc<Session>>,
) -> Option<Stanza> {
    let event = event_of(stanza.presence_type()?)?;
    let contact = stanza.head.from.as_ref()?.to_bare();
    let owner = stanza.head.to.as_ref()?.to_bare();
    let account = match engine.account(&owner).await {
        Ok(account) => account?,
        Err(error) => {
            tracing::error!(account = %owner, %error, "A subscription stanza could not be recorded.");
            return None;
        }
    };
    let (reply, change) = {
        let mut state = account.lock();
        receive(engine, &mut state, &account, &contact, event, stanza)
    };
    let reply = reply.map(|event| bare_presence(type_of(event), owner, contact.clone()));
    // §3.3.3: who is no longer subscribed learns that the resources are gone.
    if change.before.has_from() && !change.after.has_from() {
        say_unavailable(engine, &account, &contact);
    }
    let gained = !change.before.has_from() && change.after.has_from();
    if let Some(ticket) = change.ticket {
        match session {
            Some(session) => session.await_commit(ticket, &account, None),
            None => drop(engine.settle(&account, ticket).await),
        }
    }
    if gained && let Some(reply) = reply {
        // §3.1.5: the approval goes first, then the presence.
        Box::pin(inbound(engine, &reply, session)).await;
        say_available(engine, &account, &contact);
        return None;
    }
    reply
}

fn receive(
    engine: &Engine,
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
            tracing::warn!(account = %account.jid, "Too many subscription requests wait; one more was dropped.");
            let change =
                Change { before, after: before, is_routed: false, version: None, ticket: None };
            return (None, change);
        }
        keep_request(state, account, contact, stanza, &mut stage);
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
    let version = apply(state, account, contact, step.next, None, &mut stage);
    if let Some(version) = version {
        engine.push_roster(state, contact, version);
    }
    let ticket = submit(engine, stage);
    (step.reply, Change { before, after: step.next, is_routed: step.pass, version, ticket })
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

fn say_unavailable(engine: &Engine, account: &Account, contact: &BareJid) {
    let resources = account.resources();
    for resource in resources.iter().filter(|r| r.is_available()) {
        let gone = bare_presence(PresenceType::Unavailable, resource.jid.clone(), contact.clone());
        broadcast::to_bare(engine, &gone, contact);
    }
}

fn say_available(engine: &Engine, account: &Account, contact: &BareJid) {
    for presence in account.resources().iter().filter_map(|r| r.presence()) {
        broadcast::to_bare(engine, &presence, contact);
    }
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
