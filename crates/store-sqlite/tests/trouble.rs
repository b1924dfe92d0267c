//! Full disks, damaged files, second servers, old schemas.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rusqlite::{Connection, params};
use stentor_jid::BareJid;
use stentor_store::{Counters, Stage, StoreError, Stores, Ticket, Write};
use stentor_store_sqlite::{OpenError, Options, SCHEMA_VERSION, Sqlite};

fn wait<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

fn owner() -> BareJid {
    BareJid::new("romeo@montague.example").unwrap()
}

fn open(folder: &Path) -> Result<Sqlite, OpenError> {
    Sqlite::open(folder, &Options::default())
}

fn put(stores: &Stores, stage: impl Into<Stage>) -> Result<(), StoreError> {
    wait(stores.writer.submit(stage))
}

fn create() -> Write {
    Write::CreateAccount { owner: owner(), created_ms: 1, keys: Vec::new() }
}

fn message(received_ms: i64, bytes: usize) -> Write {
    Write::StoreOffline { owner: owner(), received_ms, body: vec![b'm'; bytes].into() }
}

fn stored(stores: &Stores) -> Vec<i64> {
    let mut numbers = Vec::new();
    let mut after = Some(0);
    while let Some(from) = after {
        let page = wait(stores.offline.page(&owner(), from, 500)).unwrap();
        numbers.extend(page.messages.iter().map(|row| row.received_ms));
        after = page.next;
    }
    numbers
}

/// A folder with an account and three messages, its file closed.
fn filled() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let sqlite = open(folder.path()).unwrap();
    let stage: Stage =
        [create(), message(0, 9), message(1, 9), message(2, 9)].into_iter().collect();
    put(&sqlite.stores(), stage).unwrap();
    folder
}

#[test]
fn a_full_store_refuses_what_does_not_fit_and_recovers() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { file_bytes_max: Some(512 << 10), ..Options::default() };
    let sqlite = Sqlite::open(folder.path(), &options).unwrap();
    let stores = sqlite.stores();
    put(&stores, create()).unwrap();
    let tickets: Vec<Ticket> = (0..100).map(|n| stores.writer.submit(message(n, 20_000))).collect();
    let outcomes: Vec<_> = tickets.into_iter().map(wait).collect();
    let kept: Vec<i64> = (0..).zip(&outcomes).filter(|(_, o)| o.is_ok()).map(|(n, _)| n).collect();
    assert!(kept.len() > 5 && kept.len() < 30, "{} fit", kept.len());
    let refused = outcomes.iter().filter(|outcome| outcome.is_err());
    assert!(refused.clone().all(|outcome| *outcome == Err(StoreError::Full)));
    assert_eq!(stored(&stores), kept, "what was refused is not there, what was taken is");
    put(&stores, message(100, 1)).expect("what is small still fits");
    let up_to = u64::MAX;
    put(&stores, Write::DropOffline { owner: owner(), up_to }).unwrap();
    put(&stores, message(101, 20_000)).unwrap();
    drop((stores, sqlite));
    assert_eq!(stored(&open(folder.path()).unwrap().stores()), [101]);
}

#[test]
#[ignore = "needs a small file system, named by STENTOR_SMALL_DISK"]
fn a_full_disk_refuses_what_does_not_fit_and_recovers() {
    let disk = std::path::PathBuf::from(std::env::var("STENTOR_SMALL_DISK").unwrap());
    let folder = disk.join("data");
    let ballast = disk.join("ballast");
    fs::write(&ballast, vec![0; 300_000]).unwrap();
    let sqlite = open(&folder).unwrap();
    let stores = sqlite.stores();
    put(&stores, create()).unwrap();
    let outcomes: Vec<_> = (0..5_000).map(|n| put(&stores, message(n, 2_000))).collect();
    let mut kept: Vec<i64> =
        (0..).zip(&outcomes).filter(|(_, o)| o.is_ok()).map(|(n, _)| n).collect();
    assert!(kept.len() > 50 && kept.len() < 2_000, "{} fit", kept.len());
    let refused = outcomes.iter().filter(|outcome| outcome.is_err());
    assert!(refused.clone().all(|outcome| *outcome == Err(StoreError::Full)));
    assert_eq!(stored(&stores), kept);
    fs::remove_file(&ballast).unwrap();
    put(&stores, message(5_000, 2_000)).expect("there is room again");
    kept.push(5_000);
    drop((stores, sqlite));
    assert_eq!(stored(&open(&folder).unwrap().stores()), kept);
}

#[test]
fn a_damaged_message_is_put_aside_and_the_others_come() {
    let folder = filled();
    let file = folder.path().join("stentor.db");
    let direct = Connection::open(&file).unwrap();
    direct.execute("UPDATE offline SET stanza = x'00ff' WHERE received_ms = 1", []).unwrap();
    drop(direct);
    let sqlite = open(folder.path()).unwrap();
    let stores = sqlite.stores();
    let page = wait(stores.offline.page(&owner(), 0, 10)).unwrap();
    assert_eq!(page.damaged.len(), 1);
    assert!(page.messages.iter().map(|row| row.received_ms).eq([0, 2]));
    assert_eq!(Counters::read(&stores.writer.counters().rows_damaged), 1);
    wait(stores.writer.barrier()).unwrap();
    let page = wait(stores.offline.page(&owner(), 0, 10)).unwrap();
    assert_eq!((page.messages.len(), page.damaged.len()), (2, 0));
    drop((stores, sqlite));
    let direct = Connection::open(&file).unwrap();
    let aside: Vec<u8> = direct
        .query_row("SELECT stanza FROM offline_damaged WHERE received_ms = 1", [], |row| row.get(0))
        .unwrap();
    assert_eq!(aside, [0, 255]);
}

#[test]
fn a_damaged_roster_row_hides_no_other() {
    let folder = filled();
    let direct = Connection::open(folder.path().join("stentor.db")).unwrap();
    for (contact, subscription, groups) in [
        ("juliet@capulet.example", "both", "[\"Friends\"]"),
        ("@@", "both", "[]"),
        ("nurse@capulet.example", "remove", "[]"),
        ("tybalt@capulet.example", "none", "no list"),
    ] {
        direct
            .execute(
                "INSERT INTO roster_items VALUES (1, ?1, 1, NULL, ?2, 0, 0, ?3)",
                params![contact, subscription, groups],
            )
            .unwrap();
    }
    drop(direct);
    let sqlite = open(folder.path()).unwrap();
    let stores = sqlite.stores();
    let data = wait(stores.roster.load(&owner())).unwrap();
    assert!(data.items.iter().map(|item| item.contact.as_str()).eq(["juliet@capulet.example"]));
    assert_eq!(Counters::read(&stores.writer.counters().rows_damaged), 3);
}

#[test]
fn refuses_a_damaged_file_and_leaves_it_alone() {
    let folder = filled();
    let file = folder.path().join("stentor.db");
    let good = fs::read(&file).unwrap();
    let mut overwritten = good.clone();
    overwritten[4096..].fill(0xA5);
    let cut = good[..good.len() / 2].to_vec();
    let text = b"not a database, but long enough to be taken for one".repeat(9);
    for bad in [overwritten, cut, text] {
        fs::write(&file, &bad).unwrap();
        let refused = open(folder.path()).unwrap_err();
        assert!(matches!(refused, OpenError::Corrupt { .. }), "{refused:?}");
        let shown = refused.to_string();
        assert!(shown.contains("stentor.db` is damaged") && shown.contains("backup"), "{shown}");
        assert_eq!(fs::read(&file).unwrap(), bad);
    }
    fs::write(&file, good).unwrap();
    assert_eq!(stored(&open(folder.path()).unwrap().stores()), [0, 1, 2]);
}

#[test]
fn refuses_a_log_without_its_file() {
    let folder = filled();
    fs::remove_file(folder.path().join("stentor.db")).unwrap();
    fs::write(folder.path().join("stentor.db-wal"), b"what remains").unwrap();
    let refused = open(folder.path()).unwrap_err();
    assert!(matches!(refused, OpenError::Corrupt { .. }), "{refused:?}");
    assert!(folder.path().join("stentor.db-wal").exists());
}

#[test]
fn refuses_a_second_server_in_the_same_folder() {
    let folder = filled();
    let first = open(folder.path()).unwrap();
    let refused = open(folder.path()).unwrap_err();
    assert!(matches!(refused, OpenError::Locked { .. }), "{refused:?}");
    assert!(refused.to_string().contains("in use by another server"));
    let stores = first.stores();
    drop(first);
    assert!(open(folder.path()).is_err(), "its stores still use the folder");
    put(&stores, message(3, 9)).unwrap();
    drop(stores);
    assert_eq!(stored(&open(folder.path()).unwrap().stores()), [0, 1, 2, 3]);
}

#[test]
fn refuses_foreign_and_newer_files() {
    let folder = filled();
    let direct = Connection::open(folder.path().join("stentor.db")).unwrap();
    direct.pragma_update(None, "user_version", SCHEMA_VERSION + 1).unwrap();
    let refused = open(folder.path()).unwrap_err();
    assert!(matches!(refused, OpenError::Newer { .. }), "{refused:?}");
    direct.pragma_update(None, "application_id", 0).unwrap();
    let refused = open(folder.path()).unwrap_err();
    assert!(matches!(refused, OpenError::Foreign { .. }), "{refused:?}");
}

#[test]
fn opens_a_file_of_the_first_release() {
    let folder = tempfile::tempdir().unwrap();
    let old = Connection::open(folder.path().join("stentor.db")).unwrap();
    old.execute_batch(include_str!("../src/migrations/0001_accounts.sql")).unwrap();
    old.execute_batch(
        "INSERT INTO accounts (jid, host, created_ms)
             VALUES ('romeo@montague.example', 'montague.example', 5);
         INSERT INTO keys VALUES (1, 'SHA-1', 4096, x'01', x'02', x'03');
         PRAGMA application_id = 0x5374656E;
         PRAGMA user_version = 1;",
    )
    .unwrap();
    drop(old);
    let sqlite = open(folder.path()).unwrap();
    let stores = sqlite.stores();
    assert_eq!(wait(stores.accounts.load(&owner())).unwrap().unwrap().created_ms, 5);
    let keys = wait(stores.accounts.keys(&owner(), stentor_store::KeyHash::Sha1)).unwrap();
    assert_eq!(keys.unwrap().iterations, 4096);
    put(&stores, message(1, 9)).unwrap();
    assert_eq!(stored(&stores), [1]);
}

#[test]
fn files_are_for_their_owner_alone() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("data");
    let sqlite = open(&folder).unwrap();
    put(&sqlite.stores(), create()).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    for name in ["stentor.db", "stentor.db-wal", "stentor.db-shm", "stentor.lock"] {
        assert_eq!(mode(&folder.join(name)), 0o600, "{name}");
    }
    drop(sqlite);
    let file = folder.join("stentor.db");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    drop(open(&folder).unwrap());
    assert_eq!(mode(&file), 0o600);
}

#[test]
fn backs_up_while_writes_go_on() {
    let folder = filled();
    let sqlite = open(folder.path()).unwrap();
    let stores = sqlite.stores();
    let copies = tempfile::tempdir().unwrap();
    let copy = copies.path().join("stentor.db");
    let later: Vec<Ticket> = (3..500).map(|n| stores.writer.submit(message(n, 500))).collect();
    wait(sqlite.back_up(copy.clone())).unwrap();
    for ticket in later {
        wait(ticket).unwrap();
    }
    assert_eq!(wait(sqlite.back_up(copy.clone())), Err(StoreError::Conflict));
    assert_eq!(fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_dir(copies.path()).unwrap().count(), 1, "no partial file is left");
    let copied = stored(&open(copies.path()).unwrap().stores());
    let all = stored(&stores);
    assert!(copied.len() >= 3 && all.starts_with(&copied), "{} rows", copied.len());
    let nowhere = sqlite.back_up(copies.path().join("missing/stentor.db"));
    assert!(matches!(wait(nowhere), Err(StoreError::Unreachable(_))));
}

#[test]
fn backs_up_from_memory() {
    let sqlite = Sqlite::in_memory(&Options::default()).unwrap();
    put(&sqlite.stores(), create()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("copy")).unwrap();
    wait(sqlite.back_up(folder.path().join("copy/stentor.db"))).unwrap();
    let copy = open(&folder.path().join("copy")).unwrap();
    assert!(wait(copy.stores().accounts.load(&owner())).unwrap().is_some());
}

#[test]
fn an_orderly_stop_leaves_no_log() {
    let folder = filled();
    let sqlite = open(folder.path()).unwrap();
    let stores = sqlite.stores();
    let last = stores.writer.submit(message(3, 9));
    wait(sqlite.stop()).unwrap();
    assert_eq!(wait(last), Ok(()));
    assert_eq!(put(&stores, message(4, 9)), Err(StoreError::Stopped));
    assert_eq!(stored(&stores), [0, 1, 2, 3], "reading goes on");
    let log = fs::metadata(folder.path().join("stentor.db-wal"));
    assert_eq!(log.map_or(0, |found| found.len()), 0);
}

#[test]
fn what_was_dropped_cannot_be_read_from_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let sqlite = open(folder.path()).unwrap();
    let stores = sqlite.stores();
    let secret = b"a rose by any other name";
    let body = secret.repeat(400).into();
    let stage: Stage = [create(), Write::StoreOffline { owner: owner(), received_ms: 0, body }]
        .into_iter()
        .collect();
    put(&stores, stage).unwrap();
    put(&stores, Write::DropOffline { owner: owner(), up_to: u64::MAX }).unwrap();
    wait(sqlite.stop()).unwrap();
    let bytes = fs::read(folder.path().join("stentor.db")).unwrap();
    assert!(!bytes.windows(secret.len()).any(|window| window == secret));
}
