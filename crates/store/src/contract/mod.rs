//! What every backend must do. Each suite takes stores that hold nothing yet.
//!
//! A suite panics at the first difference. It uses accounts of its own, so that several may run
//! over the same stores, one after the other.

#![allow(clippy::unwrap_used)]

pub mod accounts;
pub mod archive;
pub mod documents;
pub mod offline;
pub mod owned;
pub mod pubsub;
pub mod roster;
pub mod sessions;
pub mod underway;
pub mod writer;

use stentor_jid::BareJid;

use crate::{KeyHash, KeyRow, Stage, StoreError, Stores, Write};

/// Runs every suite.
pub async fn all(stores: &Stores) {
    accounts::suite(stores).await;
    roster::suite(stores).await;
    offline::suite(stores).await;
    archive::suite(stores).await;
    documents::suite(stores).await;
    pubsub::suite(stores).await;
    owned::suite(stores).await;
    sessions::suite(stores).await;
    underway::suite(stores).await;
    writer::suite(stores).await;
}

/// An address for tests.
pub fn jid(text: &str) -> BareJid {
    BareJid::new(text).unwrap()
}

/// Keys whose bytes are all `fill`.
pub fn keys(hash: KeyHash, fill: u8) -> KeyRow {
    KeyRow {
        hash,
        iterations: 10_000,
        salt: vec![fill; 16],
        stored_key: vec![fill; 20],
        server_key: vec![fill; 20],
    }
}

/// Submits a stage and waits for it.
pub async fn put(stores: &Stores, stage: impl Into<Stage>) -> Result<(), StoreError> {
    stores.writer.submit(stage).await
}

/// Makes an account without keys.
pub async fn account(stores: &Stores, text: &str) -> BareJid {
    let owner = jid(text);
    let create = Write::CreateAccount { owner: owner.clone(), created_ms: 7, keys: Vec::new() };
    put(stores, create).await.unwrap();
    owner
}
