//! Rosters and what stands between a request and an answer (RFC 6121 §2, §3).

use stentor_jid::BareJid;

use crate::{Boxed, Owned};

/// Rosters of accounts.
pub trait Roster: Owned {
    /// Returns the whole roster with pending inbound requests.
    ///
    /// Without any change yet it is empty and its version is the account's `created_ms`, so that
    /// versions of a deleted account of the same name lie below it. Where there is no account the
    /// version is 0. A row that cannot be read is left out and logged.
    fn load(&self, owner: &BareJid) -> Boxed<RosterData>;

    /// Returns one item.
    fn item(&self, owner: &BareJid, contact: &BareJid) -> Boxed<Option<RosterRow>>;

    /// Returns what happened after the version `since`, for RFC 6121 §2.6.3.
    fn changes(&self, owner: &BareJid, since: u64) -> Boxed<RosterChanges>;
}

/// One roster item (RFC 6121 §2.1.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RosterRow {
    /// Whom it is about.
    pub contact: BareJid,
    /// The handle that the user chose.
    pub name: Option<String>,
    /// Who sees whose presence.
    pub subscription: Subscription,
    /// Whether a request of the user waits for an answer (`ask='subscribe'`).
    pub is_asking: bool,
    /// Whether the user approved a subscription in advance (§3.4).
    pub is_approved: bool,
    /// The groups, in the order given.
    pub groups: Vec<String>,
}

impl RosterRow {
    /// An item without name, groups or subscription.
    pub fn new(contact: BareJid) -> Self {
        Self {
            contact,
            name: None,
            subscription: Subscription::None,
            is_asking: false,
            is_approved: false,
            groups: Vec::new(),
        }
    }
}

/// The subscription attribute (RFC 6121 §2.1.2.5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Subscription {
    /// Neither sees the other.
    #[default]
    None,
    /// The user sees the contact.
    To,
    /// The contact sees the user.
    From,
    /// Both see each other.
    Both,
}

impl Subscription {
    /// The four states.
    pub const ALL: [Self; 4] = [Self::None, Self::To, Self::From, Self::Both];

    /// The attribute's value.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::To => "to",
            Self::From => "from",
            Self::Both => "both",
        }
    }

    /// Finds a state by the attribute's value.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }

    /// Joins the two directions into one state.
    pub fn of(has_to: bool, has_from: bool) -> Self {
        match (has_to, has_from) {
            (false, false) => Self::None,
            (true, false) => Self::To,
            (false, true) => Self::From,
            (true, true) => Self::Both,
        }
    }

    /// Whether the user sees the contact's presence.
    pub fn has_to(self) -> bool {
        matches!(self, Self::To | Self::Both)
    }

    /// Whether the contact sees the user's presence.
    pub fn has_from(self) -> bool {
        matches!(self, Self::From | Self::Both)
    }
}

/// A pending inbound subscription request (RFC 6121 §3.1.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestRow {
    /// Who asks.
    pub from: BareJid,
    /// The complete presence stanza: it is delivered again until it is answered.
    pub stanza: Vec<u8>,
}

/// A roster as stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RosterData {
    /// The version of the last change.
    ///
    /// The caller chooses the next one: it only grows and may leave gaps. One more than the last
    /// will do; the clock in milliseconds, where it is above that, keeps growing even past a
    /// restored backup.
    pub version: u64,
    /// The items, ordered by address.
    pub items: Vec<RosterRow>,
    /// The pending inbound requests, oldest first.
    pub requests: Vec<RequestRow>,
}

/// What a client with an older roster lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RosterChanges {
    /// Too old or never heard of: only the whole roster helps.
    Unknown,
    /// These changes, oldest first; none if the client is up to date.
    Since {
        /// Each item's last change with its version.
        changes: Vec<(u64, RosterChange)>,
        /// The version of the last change.
        version: u64,
    },
}

/// One interim roster push (RFC 6121 §2.6.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RosterChange {
    /// The item is new or changed.
    Put(RosterRow),
    /// The item was removed.
    Removed(BareJid),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subscriptions_are_their_two_directions() {
        for state in Subscription::ALL {
            assert_eq!(Subscription::of(state.has_to(), state.has_from()), state);
            assert_eq!(Subscription::from_name(state.name()), Some(state));
        }
        assert_eq!(Subscription::from_name("remove"), None);
    }
}
