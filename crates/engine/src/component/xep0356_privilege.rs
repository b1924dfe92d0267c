//! XEP-0356: Privileged Entity, version 0.4.1.
//!
//! What a component may do on behalf of the accounts of its domains, as far as the operator says.
//! Implements: §4 (rosters, with pushes), §5 (messages), §6 (IQs), §7 (presence of accounts and of
//! their contacts), §8 (what a component that comes late gets, and nothing twice), §9.
//! Left out: nothing.
//! Status: complete

use std::hash::{BuildHasher as _, Hasher as _};
use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use parking_lot::Mutex;
use stentor_jid::{BareJid, Jid};
use stentor_payload::xep0297_forward;
use stentor_stanza::{
    Condition, Head, IqType, Kind, MessageType, PresenceType, Stanza, StanzaError,
};
use stentor_xml::{ElementRef, Frame, Writer, ns};

use super::Component;
use crate::account::{Account, AccountState};
use crate::ask::{self, Asker};
use crate::engine::{Engine, Route};
use crate::host::Host;
use crate::limits::{COMPONENT_CONTACTS_BYTES_MAX, COMPONENT_CONTACTS_MAX};
use crate::lookup::Found;
use crate::pipeline::{self, Outcome, Party, Passage};
use crate::refuse::store_error;
use crate::roster::NS_ROSTER;
use crate::service;

/// What a component may do; nothing unless it is said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Privileges {
    /// What it may do with rosters (§4.1).
    pub roster: Access,
    /// Whether it gets pushes of rosters that it may read (§4.1).
    pub roster_push: bool,
    /// Whether it sends messages of accounts and of the server (§5.1).
    pub messages: bool,
    /// The payloads of the IQs that it may send for accounts (§6.1).
    pub iq: Vec<(String, Access)>,
    /// Whose presence it gets (§7).
    pub presence: PresenceAccess,
}

/// Which requests are permitted (§4.1, §6.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// None.
    #[default]
    None,
    /// To read.
    Get,
    /// To change.
    Set,
    /// Both.
    Both,
}

/// Whose presence a component gets (§7.1, §7.4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PresenceAccess {
    /// Nobody's.
    #[default]
    None,
    /// That of the accounts of its domains.
    ManagedEntity,
    /// That of their contacts as well.
    Roster,
}

/// The presences of contacts that a component has seen, or would have (§8).
#[derive(Default)]
pub(crate) struct Contacts(Mutex<HashMap<String, Seen>>);

/// Presences by their senders, each with the hash by which a repetition is known.
#[derive(Default)]
struct Seen {
    by_sender: HashMap<Jid, (u64, Stanza)>,
    bytes: usize,
}

impl Seen {
    fn is_known(&self, from: &Jid, hash: u64) -> bool {
        self.by_sender.get(from).is_some_and(|(known, _)| *known == hash)
    }

    fn forget(&mut self, from: &Jid) {
        if let Some((_, stanza)) = self.by_sender.remove(from) {
            self.bytes -= stanza.bytes_len();
        }
    }

    /// Remembers a presence in the place of an earlier one. What would be too much is not
    /// remembered: the component is told it as often as it comes, and not when it attaches itself.
    fn put(&mut self, from: Jid, hash: u64, stanza: &Stanza) {
        self.forget(&from);
        let bytes = self.bytes.saturating_add(stanza.bytes_len());
        if self.by_sender.len() < COMPONENT_CONTACTS_MAX && bytes <= COMPONENT_CONTACTS_BYTES_MAX {
            self.bytes = bytes;
            self.by_sender.insert(from, (hash, stanza.clone()));
        }
    }
}

impl Contacts {
    /// Forgets those of components that are no more.
    pub(super) fn keep(&self, is_there: impl Fn(&str) -> bool) {
        self.0.lock().retain(|domain, _| is_there(domain));
    }
}

impl Access {
    /// The word of the specification.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Get => "get",
            Self::Set => "set",
            Self::Both => "both",
        }
    }

    /// Whether this request is permitted.
    #[must_use]
    pub const fn allows(self, kind: IqType) -> bool {
        matches!(
            (self, kind),
            (Self::Both, IqType::Get | IqType::Set)
                | (Self::Get, IqType::Get)
                | (Self::Set, IqType::Set)
        )
    }
}

impl PresenceAccess {
    /// The word of the specification.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::ManagedEntity => "managed_entity",
            Self::Roster => "roster",
        }
    }
}

impl Privileges {
    /// Whether there is anything to tell of.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// §4.2, §5.2, §6.2, §7.2, §7.5: what the component is told of them.
    pub(super) fn write(&self, w: &mut Writer) {
        w.open("privilege", NS_PRIVILEGE);
        if self.roster != Access::None {
            w.open("perm", NS_PRIVILEGE).attr("access", "roster").attr("type", self.roster.name());
            w.attr("push", if self.pushes_rosters() { "true" } else { "false" }).close();
        }
        if self.messages {
            w.open("perm", NS_PRIVILEGE).attr("access", "message").attr("type", "outgoing").close();
        }
        if !self.iq.is_empty() {
            w.open("perm", NS_PRIVILEGE).attr("access", "iq");
            for (namespace, access) in &self.iq {
                w.open("namespace", NS_PRIVILEGE).attr("ns", namespace);
                w.attr("type", access.name()).close();
            }
            w.close();
        }
        if self.presence != PresenceAccess::None {
            w.open("perm", NS_PRIVILEGE).attr("access", "presence");
            w.attr("type", self.presence.name()).close();
        }
        w.close();
    }

    /// §4.4: never for those who may not read.
    const fn pushes_rosters(&self) -> bool {
        self.roster_push && self.roster.allows(IqType::Get)
    }

    fn allows_iq(&self, namespace: &str, kind: IqType) -> bool {
        self.iq.iter().any(|(ns, access)| ns == namespace && access.allows(kind))
    }
}

/// The component that a stanza is from, if it is from the component itself and that belongs to this
/// domain of ours.
pub(crate) fn privileged(engine: &Engine, from: &Jid, host: &Host) -> Option<Arc<Component>> {
    let component = engine.component(from.domain())?;
    (from.local().is_none() && component.is_of(&host.domain)).then_some(component)
}

/// §4.3: whether a request to an account is one that its owner's rights are lent for.
pub(crate) fn reaches_roster(engine: &Engine, from: &Jid, host: &Host, stanza: &Stanza) -> bool {
    let is_roster = stanza.payload().is_some_and(|payload| payload.is(NS_ROSTER, "query"));
    let (Some(kind), true) = (stanza.iq_type(), is_roster) else { return false };
    privileged(engine, from, host).is_some_and(|c| c.privileges.roster.allows(kind))
}

/// The roster of an account, for a component that may read it.
pub(crate) fn roster_of(account: &Account, request: &Stanza) -> Stanza {
    let state = account.lock();
    request.reply_result(|w| {
        w.open("query", NS_ROSTER).attr("ver", &state.roster.version.to_string());
        for (jid, item) in state.roster.items() {
            item.write(jid, w);
        }
        w.close();
    })
}

/// §4.4: tells components of a changed contact. The caller holds the account's lock.
pub(crate) fn push_roster(
    engine: &Engine,
    owner: &BareJid,
    state: &AccountState,
    contact: &BareJid,
) {
    let components = engine.components.load();
    for component in components.privileged(owner.domain()) {
        if !component.privileges.pushes_rosters() {
            continue;
        }
        let Ok(to) = Jid::new(&component.domain) else { continue };
        let id = format!("push-{}", engine.next_serial());
        let head = Head::new(Kind::Iq(IqType::Set)).from(owner.clone()).to(to).id(id);
        let push = Stanza::build(head, |w| {
            w.open("query", NS_ROSTER);
            match state.roster.item(contact) {
                Some(item) => item.write(contact, w),
                None => {
                    w.open("item", NS_ROSTER).attr("jid", contact.as_str());
                    w.attr("subscription", "remove").close();
                }
            }
            w.close();
        });
        drop(engine.send_remote(push));
    }
}

/// §7.1: the presence of an account's session, as that begins or ends.
pub(crate) fn show_session(engine: &Engine, account: &Account, stanza: &Stanza) {
    let components = engine.components.load();
    for component in components.privileged(account.jid.domain()) {
        if component.privileges.presence != PresenceAccess::None {
            engine.show_component(component, stanza);
        }
    }
}

/// §7.4: a presence that an account gets, if it is from a contact whose presence it asked for.
pub(crate) fn show_contact(engine: &Arc<Engine>, stanza: &Stanza, to: &BareJid) {
    let is_shown =
        matches!(stanza.presence_type(), Some(PresenceType::Available | PresenceType::Unavailable));
    let components = engine.components.load();
    if !is_shown || !components.privileged(to.domain()).any(watches_contacts) {
        return;
    }
    if let Some(account) = engine.resident(to) {
        return show_if_contact(engine, &account, stanza);
    }
    // §7.4: also for an account of which nobody is there.
    let (engine, stanza, to) = (engine.clone(), stanza.clone(), to.clone());
    service::start(async move {
        if let Ok(Some(account)) = engine.account(&to).await {
            show_if_contact(&engine, &account, &stanza);
        }
    });
}

fn show_if_contact(engine: &Engine, account: &Account, stanza: &Stanza) {
    let Some(from) = &stanza.head.from else { return };
    let is_contact = account.lock().roster.item(&from.to_bare()).is_some_and(|i| i.to);
    let components = engine.components.load();
    let watching = components.privileged(account.jid.domain()).filter(|c| watches_contacts(c));
    watching.filter(|_| is_contact).for_each(|c| engine.show_component(c, stanza));
}

fn watches_contacts(component: &Arc<Component>) -> bool {
    component.privileges.presence == PresenceAccess::Roster
}

impl Engine {
    /// Sends a component a presence, once (§8, rule 2).
    fn show_component(&self, component: &Component, stanza: &Stanza) {
        let Some(from) = stanza.head.from.clone() else { return };
        let Ok(to) = Jid::new(&component.domain) else { return };
        let is_gone = stanza.presence_type() == Some(PresenceType::Unavailable);
        let stanza = stanza.with_head(stanza.head.clone().to(to));
        if component.privileges.presence == PresenceAccess::Roster {
            let mut hasher = FixedState::default().build_hasher();
            hasher.write(&stanza.to_bytes());
            let hash = hasher.finish();
            let mut all = self.contacts.0.lock();
            let seen = all.entry(component.domain.clone()).or_default();
            if is_gone {
                seen.forget(&from);
            } else if seen.is_known(&from, hash) {
                return;
            } else {
                seen.put(from, hash, &stanza);
            }
        }
        drop(self.send_remote(stanza));
    }

    /// §8, rule 1: what a component would have seen, had it been connected before. Handed over under
    /// the locks of the accounts, so that no later presence is overtaken.
    pub(super) fn show_all(&self, component: &Component, give: &mut dyn FnMut(Stanza)) {
        let presence = component.privileges.presence;
        let Ok(to) = Jid::new(&component.domain) else { return };
        if presence == PresenceAccess::Roster {
            let all = self.contacts.0.lock();
            let seen = all.get(&component.domain).into_iter();
            let stanzas = seen.flat_map(|seen| seen.by_sender.values()).map(|(_, stanza)| stanza);
            stanzas.for_each(|stanza| give(stanza.clone()));
        }
        if presence == PresenceAccess::None {
            return;
        }
        for account in self.directory.online() {
            if !component.is_of(account.jid.domain()) {
                continue;
            }
            let state = account.lock();
            for presence in state.available().filter_map(|resource| resource.presence()) {
                let is_known = presence.head.from.as_ref().is_some_and(|from| {
                    let all = self.contacts.0.lock();
                    all.get(&component.domain).is_some_and(|seen| seen.by_sender.contains_key(from))
                });
                if !is_known {
                    give(presence.with_head(presence.head.clone().to(to.clone())));
                }
            }
        }
    }
}

/// §5: a message that a component sends for an account or for the server, which it was sent inside.
///
/// # Errors
/// For the component, in the name of the domain.
pub(crate) async fn send_message(
    engine: &Arc<Engine>,
    host: &Arc<Host>,
    component: Option<&Component>,
    outer: &Stanza,
) -> Result<(), StanzaError> {
    let forbidden = || StanzaError::new(Condition::Forbidden);
    let is_granted = component.is_some_and(|component| component.privileges.messages);
    let inner = outer
        .child(NS_PRIVILEGE, "privilege")
        .and_then(|p| p.child(xep0297_forward::NS, "forwarded"))
        .and_then(xep0297_forward::inner)
        .filter(|inner| inner.name() == "message" && is_granted)
        .ok_or_else(forbidden)?;
    let mut message = stanza_of(inner).ok_or_else(|| StanzaError::new(Condition::BadRequest))?;
    // §5.1: a bare address of this domain.
    let from = message.head.from.clone().filter(|from| from.is_bare()).ok_or_else(forbidden)?;
    if from.domain() != &*host.domain {
        return Err(forbidden());
    }
    let sender = match from.local() {
        None => None,
        Some(_) => Some(account_of(engine, &from.to_bare()).await?.ok_or_else(forbidden)?),
    };
    let to = message.head.to.get_or_insert_with(|| from.clone()).clone();
    let recipient = match engine.route(&to) {
        Route::Host(_) => return Err(StanzaError::new(Condition::ServiceUnavailable)),
        Route::Remote => None,
        Route::Account(host, jid) => {
            let account = account_of(engine, &jid).await?;
            let missing = StanzaError::new(Condition::ServiceUnavailable);
            Some((host, account.ok_or(missing)?))
        }
    };
    let outcome = {
        let found = Found::default();
        let passage = Passage {
            engine,
            sender: sender.as_ref().map(|account| Party { host, account }),
            recipient: recipient.as_ref().map(|(host, account)| Party { host, account }),
            session: None,
            found: &found,
            at_ms: engine.clock.unix_ms(),
        };
        pipeline::decide(&passage, &mut message)
    };
    let ticket = match outcome {
        Outcome::Refused(error) => return Err(error),
        Outcome::Done { ticket, .. } => ticket,
    };
    if recipient.is_none() {
        engine.send_remote(message)?;
    }
    if let (Some(ticket), Some(account)) =
        (ticket, sender.or(recipient.map(|(_, account)| account)))
    {
        engine.settle(&account, ticket).await.map_err(|error| store_error(&error))?;
    }
    Ok(())
}

/// §6.3: an IQ that a component sends for an account. The answer, or the error, is for the
/// component.
pub(crate) async fn send_iq(
    engine: &Arc<Engine>,
    component: Option<&Component>,
    outer: &Stanza,
) -> Result<Stanza, StanzaError> {
    let forbidden = || StanzaError::new(Condition::Forbidden);
    let owner = outer.head.to.as_ref().filter(|to| to.is_bare() && to.local().is_some());
    let owner = owner.ok_or_else(forbidden)?.to_bare();
    let inner = outer
        .payload()
        .and_then(|p| p.children().find(|c| c.is(ns::CLIENT, "iq")))
        .ok_or_else(forbidden)?;
    let mut iq = stanza_of(inner).ok_or_else(forbidden)?;
    let kind = iq.iq_type().filter(|kind| outer.iq_type() == Some(*kind)).ok_or_else(forbidden)?;
    let is_granted = iq.payload().is_some_and(|payload| {
        component.is_some_and(|c| c.privileges.allows_iq(payload.ns(), kind))
    });
    let is_from_owner = iq.head.from.as_ref().is_none_or(|from| from == owner.as_jid());
    if !is_granted || !is_from_owner {
        return Err(forbidden());
    }
    account_of(engine, &owner).await?.ok_or_else(forbidden)?;
    iq.head.from = Some(owner.clone().into());
    let to = iq.head.to.clone().unwrap_or_else(|| owner.clone().into());
    let answer = match engine.route(&to) {
        Route::Account(..) if to.is_full() => {
            let send = |iq: Stanza| {
                let asker = Asker::elsewhere(owner.as_jid());
                ask::to_resource(engine, asker, &to, &iq).map(drop)
            };
            engine.request_for(iq.clone(), send).await
        }
        Route::Remote => {
            engine.request_for(iq.clone(), |iq| engine.send_remote(iq).map(drop)).await
        }
        route => {
            let is_own = matches!(&route, Route::Account(_, jid) if *jid == owner);
            let asker = Asker { from: owner.as_jid(), session: None, is_privileged: is_own };
            let answer = ask::answer(engine, asker, route, &iq).await;
            answer.ok_or(StanzaError::new(Condition::ServiceUnavailable))
        }
    };
    // §6.3: an error is an answer as well.
    let answer = answer.or_else(|error| iq.reply_error(&error).ok_or(error))?;
    Ok(outer.reply_result(|w| {
        w.open("privilege", NS_PRIVILEGE);
        xep0297_forward::write(w, None, &answer);
        w.close();
    }))
}

/// Whether a roster is asked for.
pub(crate) fn is_roster_get(iq: &Stanza) -> bool {
    iq.iq_type() == Some(IqType::Get)
        && iq.payload().is_some_and(|payload| payload.is(NS_ROSTER, "query"))
}

async fn account_of(engine: &Engine, jid: &BareJid) -> Result<Option<Arc<Account>>, StanzaError> {
    engine.account(jid).await.map_err(|error| store_error(&error))
}

/// A stanza that stands inside another.
pub(super) fn stanza_of(element: ElementRef<'_>) -> Option<Stanza> {
    let frame = Frame::build(|w| {
        w.element(element);
    });
    Stanza::from_frame(frame).ok()
}

/// Whether a message to a domain of ours holds one that is to be sent for somebody.
pub(crate) fn is_message(stanza: &Stanza) -> bool {
    stanza.message_type() != Some(MessageType::Error) && stanza.has_child(NS_PRIVILEGE, "privilege")
}

/// Whether an IQ holds one that is to be sent for an account.
pub(crate) fn is_iq(stanza: &Stanza) -> bool {
    stanza.payload().is_some_and(|payload| payload.is(NS_PRIVILEGE, "privileged_iq"))
}

/// The namespace of privileges.
const NS_PRIVILEGE: &str = "urn:xmpp:privilege:2";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_component_has_seen_is_bounded_by_bytes() {
        let mut seen = Seen::default();
        let large = |n: usize| {
            let status = "x".repeat(128 * 1024);
            let xml = format!("<presence from='{n}.example'><status>{status}</status></presence>");
            let stanza = Stanza::parse(xml.as_bytes()).unwrap();
            (stanza.head.from.clone().unwrap(), stanza)
        };
        for n in 0..150 {
            let (from, stanza) = large(n);
            seen.put(from, 1, &stanza);
            assert!(seen.bytes <= COMPONENT_CONTACTS_BYTES_MAX);
        }
        let count = seen.by_sender.len();
        assert!((120..=128).contains(&count), "{count}");
        // One that says something else takes its own place.
        let (from, stanza) = large(0);
        seen.put(from.clone(), 2, &stanza);
        assert!(seen.is_known(&from, 2) && !seen.is_known(&from, 1));
        for n in 0..150 {
            seen.forget(&large(n).0);
        }
        assert_eq!((seen.bytes, seen.by_sender.len()), (0, 0));
    }
}
