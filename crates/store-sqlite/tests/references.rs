//! What refers to an archived message finds it, however reads and commits interleave.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use stentor_jid::{BareJid, Jid};
use stentor_store::{ArchiveEntry, OfflineBody, Stage, Write};
use stentor_store_sqlite::{Options, Sqlite};

#[test]
fn a_kept_message_is_readable_from_the_moment_it_is_seen() {
    let folder = tempfile::tempdir().unwrap();
    let sqlite = Sqlite::open(folder.path(), &Options::default()).unwrap();
    let stores = sqlite.stores();
    let owner = BareJid::new("juliet@capulet.example").unwrap();
    let create = Write::CreateAccount { owner: owner.clone(), created_ms: 1, keys: Vec::new() };
    block_on(stores.writer.submit(create)).unwrap();
    let is_done = Arc::new(AtomicBool::new(false));
    let reader = {
        let (stores, owner, is_done) = (stores.clone(), owner.clone(), is_done.clone());
        std::thread::spawn(move || {
            let mut seen = 0;
            loop {
                let is_last = is_done.load(Ordering::Acquire);
                let page = block_on(stores.offline.page(&owner, seen, 100)).unwrap();
                assert_eq!(page.damaged, [0; 0], "behind {seen}");
                seen = page.messages.last().map_or(seen, |row| row.id);
                if is_last && page.messages.is_empty() {
                    return seen;
                }
            }
        })
    };
    for n in 1..=MESSAGES {
        drop(stores.writer.submit(message(&owner, n)));
    }
    block_on(stores.writer.barrier()).unwrap();
    is_done.store(true, Ordering::Release);
    assert_eq!(reader.join().unwrap(), MESSAGES);
}

fn message(owner: &BareJid, id: u64) -> Stage {
    let entry = ArchiveEntry {
        id,
        at_ms: 0,
        peer: Jid::new("romeo@montague.example/orchard").unwrap(),
        is_sent: false,
        flags: 0,
        body: id.to_string().into_bytes().into(),
        text: None,
        origin_id: None,
        stanza_id: None,
    };
    let (owner, body) = (owner.clone(), OfflineBody::Archived(id));
    [
        Write::PutArchive { owner: owner.clone(), entry },
        Write::StoreOffline { owner, received_ms: 0, body },
    ]
    .into_iter()
    .collect()
}

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

const MESSAGES: u64 = 3_000;
