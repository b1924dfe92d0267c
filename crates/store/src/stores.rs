//! All domains of one storage configuration.

use std::sync::Arc;

use crate::{
    Accounts, Archive, Data, Hosts, Last, Offline, Owned, Private, Pubsub, Roster, Sessions,
    Underway, Vcard, Writer,
};

/// What the engine and the modules get: one reader for each domain, and the writer of them all.
#[derive(Clone)]
pub struct Stores {
    /// Accounts.
    pub accounts: Arc<dyn Accounts>,
    /// Archived messages.
    pub archive: Arc<dyn Archive>,
    /// Small data that features keep.
    pub data: Arc<dyn Data>,
    /// Hosts.
    pub hosts: Arc<dyn Hosts>,
    /// Last logouts.
    pub last: Arc<dyn Last>,
    /// Kept messages.
    pub offline: Arc<dyn Offline>,
    /// Private documents.
    pub private: Arc<dyn Private>,
    /// Nodes and what is published on them.
    pub pubsub: Arc<dyn Pubsub>,
    /// Rosters and pending requests.
    pub roster: Arc<dyn Roster>,
    /// Sessions that can be resumed.
    pub sessions: Arc<dyn Sessions>,
    /// Stanzas under way to other servers.
    pub underway: Arc<dyn Underway>,
    /// vCards.
    pub vcard: Arc<dyn Vcard>,
    /// The way in.
    pub writer: Writer,
}

impl Stores {
    /// Every domain that belongs to accounts, in the order in which an import must replay them.
    pub fn owned(&self) -> [(&'static str, Arc<dyn Owned>); 9] {
        [
            ("accounts", self.accounts.clone()),
            ("roster", self.roster.clone()),
            // Before what refers to it.
            ("archive", self.archive.clone()),
            ("offline", self.offline.clone()),
            ("private", self.private.clone()),
            ("vcard", self.vcard.clone()),
            ("last", self.last.clone()),
            ("data", self.data.clone()),
            ("pubsub", self.pubsub.clone()),
        ]
    }
}
