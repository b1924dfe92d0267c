//! The suites of the store, on disk and in memory.

#![allow(clippy::unwrap_used)]

use stentor_store::contract;
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
