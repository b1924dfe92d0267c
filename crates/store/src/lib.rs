//! Storage traits by domain, the ordered writer, and the suites that every backend must pass.
//!
//! Reading and writing part ways here. Reads go through one narrow trait per domain
//! ([`Accounts`], [`Roster`], [`Offline`], …), each used as `Arc<dyn …>` with boxed futures that
//! borrow nothing. What gates an acknowledgement is written: a pass collects typed [`Write`]s in a
//! [`Stage`], submits it to the [`Writer`] without waiting, and keeps a [`Ticket`] that is done
//! once the stage is on disk. Stages commit in the order of submission, many to one transaction.
//!
//! A read sees what has been committed. Who must also see what was submitted a moment ago waits for
//! [`Writer::barrier`] first.
//!
//! Stored stanzas and documents are bytes as received: nothing here parses XML.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod accounts;
mod archive;
#[cfg(feature = "testing")]
pub mod contract;
mod counters;
mod data;
mod error;
mod hosts;
mod last;
pub mod limits;
mod offline;
mod outage;
mod owned;
mod private;
mod pubsub;
mod queue;
mod roster;
mod sessions;
mod stage;
mod stores;
mod ticket;
mod underway;
mod vcard;
mod writer;
#[cfg(test)]
mod writer_tests;

pub use accounts::{AccountRow, Accounts, KeyHash, KeyRow};
pub use archive::{
    Archive, ArchiveDrop, ArchiveEntry, ArchiveFilter, ArchiveMark, ArchiveRange, ArchiveReference,
    ArchiveRow, ArchiveSlice, Edge, ReferenceId,
};
pub use counters::Counters;
pub use data::{Data, DataRow};
pub use error::StoreError;
pub use hosts::{HostRow, Hosts};
pub use last::{Last, LastRow};
pub use offline::{Offline, OfflineBody, OfflinePage, OfflineRow};
pub use owned::{Boxed, Export, Owned, Usage};
pub use private::{Private, PrivateRow};
pub use pubsub::{NodeChange, NodeItemMark, NodeItemRow, NodeParty, NodeRow, PartyKind, Pubsub};
pub use roster::{
    RequestRow, Roster, RosterChange, RosterChanges, RosterData, RosterRow, Subscription,
};
pub use sessions::{
    OpenIq, PendingBody, PendingHow, PendingPage, PendingRow, SessionChange, SessionPage,
    SessionRow, SessionState, Sessions,
};
pub use stage::{Domain, Stage, Write};
pub use stores::Stores;
pub use ticket::Ticket;
pub use underway::{Underway, UnderwayPage, UnderwayRow};
pub use vcard::Vcard;
pub use writer::{Backend, Writer, WriterLimits};
