//! A roster in memory (RFC 6121 §2.1): compact items, the version, requests that wait.

use std::collections::BTreeMap;
use std::sync::Arc;

use stentor_jid::BareJid;
use stentor_store::{RosterData, RosterRow, Subscription};
use stentor_xml::Writer;

use crate::presence::table::State;

/// The contacts of one account. Written under the account's lock.
#[derive(Clone, Debug, Default)]
pub struct Roster {
    /// Grows by one with each change; what `ver` carries (RFC 6121 §2.6).
    pub version: u64,
    items: BTreeMap<BareJid, Item>,
    /// Who asked for a subscription, with the stanza as it came (RFC 6121 §3.1.3).
    /// Nobody mostly, and then without a map.
    requests: Option<Box<Requests>>,
}

type Requests = BTreeMap<BareJid, Arc<[u8]>>;

/// One contact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// The handle the owner gave.
    pub name: Option<Box<str>>,
    /// The groups the owner put the contact in, without repeats.
    pub groups: Box<[Box<str>]>,
    /// The owner sees the contact.
    pub to: bool,
    /// The contact sees the owner.
    pub from: bool,
    /// The owner has asked and waits.
    pub ask: bool,
    /// The owner approved a request that has not come yet (RFC 6121 §3.4).
    pub approved: bool,
}

impl Item {
    /// A contact with nothing but an address.
    #[must_use]
    pub fn new() -> Self {
        Self {
            name: None,
            groups: Box::default(),
            to: false,
            from: false,
            ask: false,
            approved: false,
        }
    }

    /// The value of the `subscription` attribute.
    #[must_use]
    pub fn subscription(&self) -> Subscription {
        Subscription::of(self.to, self.from)
    }

    /// Writes the `<item/>` (RFC 6121 §2.1.2).
    pub fn write(&self, jid: &BareJid, w: &mut Writer) {
        w.open("item", NS_ROSTER).attr("jid", jid.as_str()).attr_opt("name", self.name.as_deref());
        w.attr("subscription", self.subscription().name());
        if self.ask {
            w.attr("ask", "subscribe");
        }
        if self.approved {
            w.attr("approved", "true");
        }
        for group in &self.groups {
            w.text_element("group", NS_ROSTER, group);
        }
        w.close();
    }

    /// The row that the store keeps.
    #[must_use]
    pub fn row(&self, jid: &BareJid) -> RosterRow {
        RosterRow {
            contact: jid.clone(),
            name: self.name.clone().map(String::from),
            subscription: self.subscription(),
            is_asking: self.ask,
            is_approved: self.approved,
            groups: self.groups.iter().map(|g| String::from(&**g)).collect(),
        }
    }
}

impl Default for Item {
    fn default() -> Self {
        Self::new()
    }
}

impl From<RosterRow> for Item {
    fn from(row: RosterRow) -> Self {
        Self {
            name: row.name.map(Box::from),
            groups: row.groups.into_iter().map(Box::from).collect(),
            to: row.subscription.has_to(),
            from: row.subscription.has_from(),
            ask: row.is_asking,
            approved: row.is_approved,
        }
    }
}

impl Roster {
    /// The roster as the store has it.
    #[must_use]
    pub fn from_store(data: RosterData) -> Self {
        let items = data.items.into_iter().map(|row| (row.contact.clone(), Item::from(row)));
        let requests = data.requests.into_iter().map(|r| (r.from, Arc::from(r.stanza)));
        let requests: Requests = requests.collect();
        Self {
            version: data.version,
            items: items.collect(),
            requests: (!requests.is_empty()).then(|| Box::new(requests)),
        }
    }

    /// The contact of this address.
    #[must_use]
    pub fn item(&self, jid: &BareJid) -> Option<&Item> {
        self.items.get(jid)
    }

    /// All contacts, in the order of their addresses.
    pub fn items(&self) -> impl Iterator<Item = (&BareJid, &Item)> {
        self.items.iter()
    }

    /// How many contacts there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Contacts who see the owner's presence.
    pub fn subscribers(&self) -> impl Iterator<Item = &BareJid> {
        self.items.iter().filter(|(_, i)| i.from).map(|(jid, _)| jid)
    }

    /// Contacts whose presence the owner sees.
    pub fn subscriptions(&self) -> impl Iterator<Item = &BareJid> {
        self.items.iter().filter(|(_, i)| i.to).map(|(jid, _)| jid)
    }

    /// The subscription state towards a contact, pending requests included (Appendix A.1).
    #[must_use]
    pub fn state(&self, jid: &BareJid) -> State {
        let asked = self.request(jid).is_some();
        self.items.get(jid).map_or(State::of(false, false, false, asked), |i| {
            State::of(i.to, i.from, i.ask, asked)
        })
    }

    /// The request of this entity, as it came.
    #[must_use]
    pub fn request(&self, from: &BareJid) -> Option<&Arc<[u8]>> {
        self.requests.as_ref()?.get(from)
    }

    /// All requests that wait for an answer.
    pub fn requests(&self) -> impl Iterator<Item = &Arc<[u8]>> {
        self.requests.iter().flat_map(|requests| requests.values())
    }

    /// How many wait.
    #[must_use]
    pub fn requests_len(&self) -> usize {
        self.requests.as_ref().map_or(0, |requests| requests.len())
    }

    /// Puts or changes a contact and returns the version of the change.
    pub fn put(&mut self, jid: &BareJid, item: Item) -> u64 {
        self.version += 1;
        self.items.insert(jid.clone(), item);
        self.version
    }

    /// Removes a contact and returns it with the version of the change.
    pub fn remove(&mut self, jid: &BareJid) -> Option<(Item, u64)> {
        let item = self.items.remove(jid)?;
        self.version += 1;
        Some((item, self.version))
    }

    /// Who waits for an answer.
    pub(crate) fn requesters(&self) -> impl Iterator<Item = &BareJid> {
        self.requests.iter().flat_map(|requests| requests.keys())
    }

    /// The contacts that are not the same in another roster, or in one of both only.
    pub(crate) fn differences(&self, other: &Self) -> Vec<BareJid> {
        let gone = other.items.keys().filter(|jid| !self.items.contains_key(*jid));
        let changed = self.items.iter().filter(|(jid, item)| other.items.get(*jid) != Some(item));
        gone.chain(changed.map(|(jid, _)| jid)).cloned().collect()
    }

    pub(crate) fn put_request(&mut self, from: &BareJid, stanza: Arc<[u8]>) {
        self.requests.get_or_insert_default().insert(from.clone(), stanza);
    }

    pub(crate) fn remove_request(&mut self, from: &BareJid) -> bool {
        let Some(requests) = &mut self.requests else { return false };
        let was_there = requests.remove(from).is_some();
        if requests.is_empty() {
            self.requests = None;
        }
        was_there
    }
}

/// The namespace of rosters (RFC 6121 §2).
pub const NS_ROSTER: &str = "jabber:iq:roster";
