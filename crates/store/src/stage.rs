//! Typed writes, and the stage that collects those of one pass.

use std::borrow::Cow;
use std::sync::Arc;

use stentor_jid::BareJid;

use crate::{
    ArchiveDrop, ArchiveEntry, HostRow, KeyRow, LastRow, NodeChange, OfflineBody, RosterRow,
    SessionChange, UnderwayRow,
};

/// The writes of one pass: committed together or not at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stage {
    writes: Vec<Write>,
    bytes: usize,
}

impl Stage {
    /// An empty stage. It allocates nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a write behind the others.
    pub fn push(&mut self, write: Write) {
        self.bytes = self.bytes.saturating_add(write.bytes_len());
        self.writes.push(write);
    }

    /// Adds all writes of `other` behind its own.
    pub fn append(&mut self, other: Self) {
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.writes.extend(other.writes);
    }

    /// The writes in order.
    pub fn writes(&self) -> &[Write] {
        &self.writes
    }

    /// How many writes there are.
    pub fn len(&self) -> usize {
        self.writes.len()
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    /// Memory that the stage keeps while it waits, roughly, in bytes.
    pub fn bytes_len(&self) -> usize {
        self.bytes
    }
}

impl From<Write> for Stage {
    fn from(write: Write) -> Self {
        let mut stage = Self::new();
        stage.push(write);
        stage
    }
}

impl FromIterator<Write> for Stage {
    fn from_iter<I: IntoIterator<Item = Write>>(writes: I) -> Self {
        let mut stage = Self::new();
        for write in writes {
            stage.push(write);
        }
        stage
    }
}

/// One change of what is stored.
///
/// Each that has an owner fails its stage with [`StoreError::NoAccount`](crate::StoreError::NoAccount)
/// if the owner is no account: what is written while an account is being deleted must not wait for
/// the next one of that name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Makes an account; [`StoreError::Conflict`](crate::StoreError::Conflict) if it exists.
    CreateAccount {
        /// Its address.
        owner: BareJid,
        /// Now, in milliseconds since 1970 UTC.
        created_ms: i64,
        /// Its keys, at most one row for each hash.
        keys: Vec<KeyRow>,
    },
    /// Replaces all keys of an account.
    SetKeys {
        /// Whose.
        owner: BareJid,
        /// The new keys, at most one row for each hash.
        keys: Vec<KeyRow>,
    },
    /// Adds the keys of one hash to those that an account has, or replaces them.
    PutKeys {
        /// Whose.
        owner: BareJid,
        /// The keys.
        keys: KeyRow,
    },
    /// Suspends an account or lifts that.
    SetSuspended {
        /// Whose.
        owner: BareJid,
        /// Which of both.
        is_suspended: bool,
    },
    /// Deletes an account with everything it owns.
    DeleteAccount {
        /// Whose.
        owner: BareJid,
    },
    /// Adds or replaces a roster item.
    PutRoster {
        /// Whose roster.
        owner: BareJid,
        /// The item.
        item: RosterRow,
        /// The roster's version with this change, not below the stored one:
        /// [`StoreError::Conflict`](crate::StoreError::Conflict) otherwise.
        version: u64,
    },
    /// Removes a roster item, if it is there, and remembers that.
    RemoveRoster {
        /// Whose roster.
        owner: BareJid,
        /// Whom.
        contact: BareJid,
        /// As in [`Write::PutRoster`].
        version: u64,
    },
    /// Forgets removals up to a version: clients with an older one get the whole roster.
    ForgetRosterBefore {
        /// Whose roster.
        owner: BareJid,
        /// The oldest version that can still be brought up to date.
        version: u64,
    },
    /// Keeps an inbound subscription request, or replaces the stanza of an earlier one.
    PutRequest {
        /// Who is asked.
        owner: BareJid,
        /// Who asks.
        from: BareJid,
        /// The complete presence stanza (RFC 6121 §3.1.3).
        stanza: Vec<u8>,
    },
    /// Drops an inbound subscription request, if there is one.
    RemoveRequest {
        /// Who was asked.
        owner: BareJid,
        /// Who asked.
        from: BareJid,
    },
    /// Keeps a message for later, behind those already kept.
    StoreOffline {
        /// For whom.
        owner: BareJid,
        /// When we took it, in milliseconds since 1970 UTC.
        received_ms: i64,
        /// The stanza, or where it is in the archive, which the same stage may add before;
        /// [`StoreError::Conflict`](crate::StoreError::Conflict) if it is not there.
        body: OfflineBody,
    },
    /// Drops kept messages up to and including an id.
    DropOffline {
        /// Whose.
        owner: BareJid,
        /// The last id to drop.
        up_to: u64,
    },
    /// Drops single kept messages, for instance expired ones.
    DropOfflineIds {
        /// Whose.
        owner: BareJid,
        /// Which; unknown ids are ignored.
        ids: Vec<u64>,
    },
    /// Lets the messages that were kept last stand before others, which get new ids.
    AdvanceOffline {
        /// Whose.
        owner: BareJid,
        /// Messages up to this id stay where they are.
        behind: u64,
        /// How many, in their order.
        count: u64,
    },
    /// Keeps a message while it is on its way to sessions that die with the process.
    Give {
        /// For whom.
        owner: BareJid,
        /// Its number, larger than those of earlier ones.
        number: u64,
        /// As in [`Write::StoreOffline`].
        received_ms: i64,
        /// The stanza.
        stanza: Arc<[u8]>,
    },
    /// A message that was given has been taken, or found another place.
    DropGiven {
        /// Its number; an unknown one is ignored.
        number: u64,
    },
    /// Keeps for later, in their order, all messages that an earlier process was giving.
    KeepGiven,
    /// Puts a kept message that cannot be read aside, where an administrator finds it.
    PutAsideOffline {
        /// Whose.
        owner: BareJid,
        /// Which; an unknown id is ignored.
        id: u64,
    },
    /// Adds an entry to the archive; [`StoreError::Conflict`](crate::StoreError::Conflict) if its
    /// id does not exceed every id there.
    PutArchive {
        /// Whose archive.
        owner: BareJid,
        /// The entry.
        entry: ArchiveEntry,
    },
    /// Puts a tombstone in the place of an archived message, and takes its text from the search.
    /// Nothing happens if there is no such entry.
    RetractArchive {
        /// Whose archive.
        owner: BareJid,
        /// Which entry.
        id: u64,
        /// The stanza that takes its place (XEP-0424 §4).
        tombstone: Vec<u8>,
    },
    /// Removes entries from an archive.
    DropArchive {
        /// Whose archive.
        owner: BareJid,
        /// Which entries.
        what: ArchiveDrop,
    },
    /// Removes a part of the archives that deleted accounts left, up to
    /// [`ARCHIVE_STEP_ROWS`](crate::limits::ARCHIVE_STEP_ROWS) entries.
    SweepArchives,
    /// Puts an entry that cannot be read aside, where an administrator finds it.
    PutAsideArchive {
        /// Whose archive.
        owner: BareJid,
        /// Which entry; an unknown id is ignored.
        id: u64,
    },
    /// Adds or replaces a private document.
    PutPrivate {
        /// Whose.
        owner: BareJid,
        /// Namespace of the document's root.
        ns: String,
        /// Local name of the document's root.
        name: String,
        /// The whole element.
        xml: Vec<u8>,
    },
    /// Adds or replaces a vCard.
    PutVcard {
        /// Whose.
        owner: BareJid,
        /// The whole `<vCard/>` element.
        xml: Vec<u8>,
    },
    /// Sets the last logout.
    PutLast {
        /// Whose.
        owner: BareJid,
        /// When and with what status.
        last: LastRow,
    },
    /// Adds or replaces a row of a feature's small data.
    PutData {
        /// Whose.
        owner: BareJid,
        /// Of which feature.
        kind: Cow<'static, str>,
        /// Its name within the kind.
        key: String,
        /// What the feature reads back.
        value: Vec<u8>,
    },
    /// Removes a row of a feature's small data, if it is there.
    RemoveData {
        /// Whose.
        owner: BareJid,
        /// Of which feature.
        kind: Cow<'static, str>,
        /// Its name within the kind.
        key: String,
    },
    /// Removes all that a feature keeps for an account.
    ClearData {
        /// Whose.
        owner: BareJid,
        /// Of which feature.
        kind: Cow<'static, str>,
    },
    /// Changes a node; [`StoreError::Conflict`](crate::StoreError::Conflict) if the change needs a
    /// node that is not there.
    Node {
        /// Whose.
        owner: BareJid,
        /// Its name.
        node: String,
        /// How.
        change: NodeChange,
    },
    /// Removes all of an account from one domain; the account stays.
    Forget {
        /// Whose.
        owner: BareJid,
        /// From where.
        domain: Domain,
    },
    /// Changes a session that can be resumed.
    Session {
        /// Its number.
        session: u64,
        /// How.
        change: SessionChange,
    },
    /// Removes sessions that have ended and need not be remembered any longer.
    ExpireSessions {
        /// Now, in milliseconds since 1970 UTC.
        now_ms: i64,
    },
    /// Keeps a stanza until another server has it;
    /// [`StoreError::Conflict`](crate::StoreError::Conflict) if its number is taken.
    PutUnderway(UnderwayRow),
    /// Other servers have these, or their senders know that they have not.
    DropUnderway {
        /// Their numbers; unknown ones are ignored.
        numbers: Vec<u64>,
    },
    /// Adds or replaces a host.
    PutHost(HostRow),
    /// Removes a host, if it is there. Accounts under it stay.
    RemoveHost {
        /// Its name.
        name: String,
    },
}

impl Write {
    /// The account that the write belongs to; hosts belong to none, sessions are known by number.
    pub fn owner(&self) -> Option<&BareJid> {
        match self {
            Self::CreateAccount { owner, .. }
            | Self::SetKeys { owner, .. }
            | Self::PutKeys { owner, .. }
            | Self::SetSuspended { owner, .. }
            | Self::DeleteAccount { owner }
            | Self::PutRoster { owner, .. }
            | Self::RemoveRoster { owner, .. }
            | Self::ForgetRosterBefore { owner, .. }
            | Self::PutRequest { owner, .. }
            | Self::RemoveRequest { owner, .. }
            | Self::StoreOffline { owner, .. }
            | Self::DropOffline { owner, .. }
            | Self::DropOfflineIds { owner, .. }
            | Self::AdvanceOffline { owner, .. }
            | Self::PutAsideOffline { owner, .. }
            | Self::Give { owner, .. }
            | Self::PutArchive { owner, .. }
            | Self::RetractArchive { owner, .. }
            | Self::DropArchive { owner, .. }
            | Self::PutAsideArchive { owner, .. }
            | Self::PutPrivate { owner, .. }
            | Self::PutVcard { owner, .. }
            | Self::PutLast { owner, .. }
            | Self::PutData { owner, .. }
            | Self::RemoveData { owner, .. }
            | Self::ClearData { owner, .. }
            | Self::Node { owner, .. }
            | Self::Forget { owner, .. } => Some(owner),
            Self::SweepArchives
            | Self::DropGiven { .. }
            | Self::KeepGiven
            | Self::Session { .. }
            | Self::ExpireSessions { .. }
            | Self::PutUnderway(_)
            | Self::DropUnderway { .. }
            | Self::PutHost(_)
            | Self::RemoveHost { .. } => None,
        }
    }

    /// Memory that the write keeps while it waits, roughly, in bytes.
    pub fn bytes_len(&self) -> usize {
        let held = match self {
            Self::CreateAccount { keys, .. } | Self::SetKeys { keys, .. } => {
                keys.iter().map(|key| key.salt.len() + key.stored_key.len() * 2).sum()
            }
            Self::PutKeys { keys, .. } => keys.salt.len() + keys.stored_key.len() * 2,
            Self::PutRoster { item, .. } => {
                item.name.as_ref().map_or(0, String::len)
                    + item.groups.iter().map(|group| group.len() + 24).sum::<usize>()
            }
            Self::PutRequest { stanza, .. }
            | Self::StoreOffline { body: OfflineBody::Bytes(stanza), .. } => stanza.len(),
            Self::DropOfflineIds { ids, .. } => ids.len() * 8,
            Self::Give { stanza, .. } => stanza.len(),
            Self::PutArchive { entry, .. } => entry.held_bytes(),
            Self::RetractArchive { tombstone, .. } => tombstone.len(),
            Self::DropArchive { what: ArchiveDrop::Ids(ids), .. } => ids.len() * 8,
            Self::PutPrivate { ns, name, xml, .. } => ns.len() + name.len() + xml.len(),
            Self::PutVcard { xml, .. } => xml.len(),
            Self::PutData { kind, key, value, .. } => kind.len() + key.len() + value.len(),
            Self::RemoveData { key, .. } => key.len(),
            Self::Node { node, change, .. } => node.len() + change.held_bytes(),
            Self::PutLast { last, .. } => last.status.as_ref().map_or(0, String::len),
            Self::Session { change, .. } => change.held_bytes(),
            Self::PutUnderway(row) => row.stanza.len(),
            Self::DropUnderway { numbers } => numbers.len() * 8,
            Self::PutHost(host) => host.name.len() + host.profile.len(),
            Self::RemoveHost { name } => name.len(),
            Self::SetSuspended { .. }
            | Self::DeleteAccount { .. }
            | Self::RemoveRoster { .. }
            | Self::ForgetRosterBefore { .. }
            | Self::RemoveRequest { .. }
            | Self::ClearData { .. }
            | Self::DropOffline { .. }
            | Self::AdvanceOffline { .. }
            | Self::PutAsideOffline { .. }
            | Self::DropGiven { .. }
            | Self::KeepGiven
            | Self::DropArchive { .. }
            | Self::StoreOffline { body: OfflineBody::Archived(_), .. }
            | Self::SweepArchives
            | Self::ExpireSessions { .. }
            | Self::PutAsideArchive { .. }
            | Self::Forget { .. } => 0,
        };
        size_of::<Self>() + held
    }
}

/// A domain of storage whose rows belong to accounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Domain {
    /// Roster items, their history, and pending requests. Only the version stays, and grows.
    Roster,
    /// Kept messages, damaged ones included.
    Offline,
    /// Archived messages, damaged ones included.
    Archive,
    /// Private documents.
    Private,
    /// The vCard.
    Vcard,
    /// The last logout.
    Last,
    /// Small data that features keep.
    Data,
    /// Nodes and what is published on them.
    Pubsub,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn romeo() -> BareJid {
        BareJid::new("romeo@montague.example").unwrap()
    }

    #[test]
    fn a_stage_counts_what_it_holds() {
        let kept = Write::StoreOffline {
            owner: romeo(),
            received_ms: 0,
            body: OfflineBody::Bytes(vec![0; 1000]),
        };
        let mut stage = Stage::from(kept.clone());
        assert_eq!(stage.bytes_len(), kept.bytes_len());
        assert!(stage.bytes_len() >= 1000);
        stage.append(Stage::from(kept.clone()));
        assert_eq!((stage.len(), stage.bytes_len()), (2, 2 * kept.bytes_len()));
    }

    #[test]
    fn hosts_have_no_owner() {
        assert_eq!(Write::RemoveHost { name: "montague.example".into() }.owner(), None);
        assert_eq!(Write::DeleteAccount { owner: romeo() }.owner(), Some(&romeo()));
    }
}
