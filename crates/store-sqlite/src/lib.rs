//! The embedded store: one SQLite file in a data folder.
//!
//! One thread writes, batch by batch, with a disk flush for each batch (`synchronous=FULL`); a few
//! threads read; one thread moves the write-ahead log into the file, so that no commit has to.
//! [`Sqlite::in_memory`] is the same schema and the same SQL without a file, for tests.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod accounts;
mod apply;
mod archive;
mod backup;
mod checkpoint;
mod checksum;
mod commit;
mod connection;
mod data;
mod error;
mod files;
mod given;
mod hosts;
mod last;
pub mod limits;
mod migrate;
mod offline;
mod open;
mod private;
mod pubsub;
mod readers;
mod roster;
mod rows;
mod sessions;
mod supersede;
mod underway;
mod vcard;

pub use error::OpenError;
pub use migrate::SCHEMA_VERSION;
pub use open::{Options, Sqlite};
