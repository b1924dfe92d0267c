//! The suites of the store, on disk and in memory.

#![allow(clippy::unwrap_used)]

use stentor_store::{Stage, Write, contract};
use stentor_store_sqlite::{Options, Sqlite};

fn wait<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

#[test]
fn holds_in_memory() {
    let sqlite = Sqlite::in_memory(&Options::default()).unwrap();
    wait(contract::all(&sqlite.stores()));
    wait(sqlite.stop()).unwrap();
}

#[test]
fn holds_in_memory_without_threads() {
    let sqlite = Sqlite::in_memory_inline(&Options::default()).unwrap();
    wait(contract::all(&sqlite.stores()));
    wait(sqlite.stop()).unwrap();
}

#[test]
fn holds_on_disk() {
    let folder = tempfile::tempdir().unwrap();
    let sqlite = Sqlite::open(folder.path(), &Options::default()).unwrap();
    wait(contract::all(&sqlite.stores()));
    wait(sqlite.stop()).unwrap();
}

#[test]
fn a_crash_in_memory_loses_what_was_not_committed_and_no_more() {
    let owner = contract::jid("romeo@montague.example");
    let kept = |received_ms| Write::StoreOffline {
        owner: owner.clone(),
        received_ms,
        body: b"<message/>".to_vec().into(),
    };
    let sqlite = Sqlite::in_memory_stepped(&Options::default()).unwrap();
    let writer = sqlite.stores().writer;
    let create = Write::CreateAccount { owner: owner.clone(), created_ms: 0, keys: Vec::new() };
    let first = writer.submit([create, kept(1)].into_iter().collect::<Stage>());
    assert!(writer.step());
    assert_eq!(wait(first), Ok(()));
    let second = writer.submit(kept(2));
    let after = sqlite.crashed(&Options::default()).unwrap();
    assert!(!second.is_done());
    let page = wait(after.stores().offline.page(&owner, 0, 10)).unwrap();
    assert!(page.messages.iter().map(|row| row.received_ms).eq([1]));
    let third = after.stores().writer.submit(kept(3));
    assert!(after.stores().writer.step());
    assert_eq!(wait(third), Ok(()));
    assert_eq!(wait(after.stores().offline.usage(&owner)).unwrap().count, 2);
}

/// Archived messages are found wherever they are: all sorted in, some, none.
#[test]
fn the_archive_holds_however_often_it_is_folded() {
    for fold_entries in [1, 3, usize::MAX] {
        let options = Options { fold_entries, ..Options::default() };
        let sqlite = Sqlite::in_memory(&options).unwrap();
        wait(contract::archive::suite(&sqlite.stores()));
    }
}

#[test]
fn the_archive_holds_without_words() {
    let options = Options { searches_text: false, ..Options::default() };
    let sqlite = Sqlite::in_memory(&options).unwrap();
    wait(contract::archive::suite(&sqlite.stores()));
}
