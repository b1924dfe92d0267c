//! What the tables of the archive hold, what may go wrong with them, and where they come from.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::sync::Arc;

use rusqlite::Connection;
use stentor_jid::{BareJid, Jid};
use stentor_store::{
    ArchiveDrop, ArchiveEntry, ArchiveFilter, ArchiveRange, ArchiveSlice, Counters, Stage, Stores,
    Write,
};
use stentor_store_sqlite::{Options, Sqlite};

fn wait<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

fn romeo() -> BareJid {
    BareJid::new("romeo@montague.example").unwrap()
}

fn juliet() -> BareJid {
    BareJid::new("juliet@capulet.example").unwrap()
}

fn open(folder: &Path, fold_entries: usize) -> Sqlite {
    Sqlite::open(folder, &Options { fold_entries, ..Options::default() }).unwrap()
}

fn put(stores: &Stores, stage: impl Into<Stage>) {
    wait(stores.writer.submit(stage)).unwrap();
}

fn create(stores: &Stores) {
    for owner in [romeo(), juliet()] {
        put(stores, Write::CreateAccount { owner, created_ms: 0, keys: Vec::new() });
    }
}

fn entry(id: u64, peer: &BareJid, body: &Arc<[u8]>, text: &str) -> ArchiveEntry {
    ArchiveEntry {
        id,
        at_ms: 0,
        peer: Jid::from(peer.clone()),
        is_sent: false,
        flags: 0,
        body: body.clone(),
        text: Some(text.into()),
        origin_id: None,
        stanza_id: None,
    }
}

/// From Romeo to Juliet, in both archives.
fn message(id: u64, text: &str) -> Stage {
    let body: Arc<[u8]> = format!("<body>{text}</body>").into_bytes().into();
    [
        Write::PutArchive { owner: romeo(), entry: entry(id, &juliet(), &body, text) },
        Write::PutArchive { owner: juliet(), entry: entry(id + 1, &romeo(), &body, text) },
    ]
    .into_iter()
    .collect()
}

fn page(stores: &Stores, owner: &BareJid, text: Option<&str>) -> ArchiveSlice {
    let filter = ArchiveFilter { text: text.map(Into::into), ..ArchiveFilter::default() };
    wait(stores.archive.page(owner, filter, ArchiveRange::first(500))).unwrap().unwrap()
}

fn ids(stores: &Stores, owner: &BareJid, text: Option<&str>) -> Vec<u64> {
    page(stores, owner, text).rows.iter().map(|row| row.id).collect()
}

fn direct(folder: &Path) -> Connection {
    Connection::open(folder.join("stentor.db")).unwrap()
}

fn count(db: &Connection, table: &str) -> i64 {
    db.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
}

#[test]
fn two_accounts_share_one_row_until_neither_needs_it() {
    let folder = tempfile::tempdir().unwrap();
    let sqlite = open(folder.path(), 1);
    let stores = sqlite.stores();
    create(&stores);
    put(&stores, message(10, "shared"));
    // Equal bytes that are not the same in memory are another message.
    put(&stores, message(20, "shared"));
    let db = direct(folder.path());
    assert_eq!(count(&db, "archive_messages"), 2);
    let drop = |owner, ids: &[u64]| {
        put(&stores, Write::DropArchive { owner, what: ArchiveDrop::Ids(ids.to_vec()) });
    };
    drop(romeo(), &[10, 20]);
    assert_eq!(count(&db, "archive_messages"), 2);
    drop(juliet(), &[11]);
    assert_eq!((count(&db, "archive_messages"), count(&db, "archive_entries")), (1, 1));
    put(&stores, Write::DeleteAccount { owner: juliet() });
    for table in ["archive_messages", "archive_entries", "archive_by_peer"] {
        assert_eq!(count(&db, table), 0, "{table}");
    }
    assert_eq!(count(&db, "archives"), 1, "an account keeps its archive");
}

#[test]
fn what_is_removed_cannot_be_read_from_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let sqlite = open(folder.path(), 1);
    let stores = sqlite.stores();
    create(&stores);
    for (id, text) in [(10, "quicksilver"), (20, "harmless"), (30, "nightingale")] {
        put(&stores, message(id, text));
    }
    for owner in [romeo(), juliet()] {
        let of_juliet = u64::from(owner == juliet());
        let ids = ArchiveDrop::Ids(vec![30 + of_juliet]);
        put(&stores, Write::DropArchive { owner: owner.clone(), what: ids });
        let tombstone = b"<retracted/>".to_vec();
        put(&stores, Write::RetractArchive { owner, id: 10 + of_juliet, tombstone });
    }
    assert_eq!(ids(&stores, &romeo(), Some("quicksilver")), [0; 0]);
    wait(sqlite.stop()).unwrap();
    let bytes = fs::read(folder.path().join("stentor.db")).unwrap();
    let holds = |text: &[u8]| bytes.windows(text.len()).any(|window| window == text);
    assert!(holds(b"harmless"), "what stays is there");
    for secret in ["quicksilver", "nightingale", "ilver", "ingale"] {
        assert!(!holds(secret.as_bytes()), "{secret}");
    }
}

#[test]
fn a_damaged_message_is_put_aside_and_the_others_come() {
    let folder = tempfile::tempdir().unwrap();
    let sqlite = open(folder.path(), 1);
    create(&sqlite.stores());
    for (id, text) in [(10, "one"), (20, "two"), (30, "three")] {
        put(&sqlite.stores(), message(id, text));
    }
    drop(sqlite);
    let db = direct(folder.path());
    db.execute("UPDATE archive_messages SET body = x'00ff' WHERE text = 'two'", []).unwrap();
    drop(db);
    let sqlite = open(folder.path(), 1);
    let stores = sqlite.stores();
    let slice = page(&stores, &romeo(), None);
    assert_eq!(slice.damaged, [20]);
    assert!(slice.is_complete && slice.rows.iter().map(|row| row.id).eq([10, 30]));
    assert_eq!(Counters::read(&stores.writer.counters().rows_damaged), 1);
    wait(stores.writer.barrier()).unwrap();
    let slice = page(&stores, &romeo(), None);
    assert_eq!((slice.rows.len(), slice.count, slice.damaged.len()), (2, Some(2), 0));
    assert_eq!(wait(stores.archive.by_ids(&juliet(), vec![21, 31])).unwrap().len(), 1);
    wait(stores.writer.barrier()).unwrap();
    let db = direct(folder.path());
    assert_eq!(count(&db, "archive_damaged"), 2);
    assert_eq!(count(&db, "archive_messages"), 2);
}

#[test]
fn a_fold_that_fails_refuses_no_message() {
    let folder = tempfile::tempdir().unwrap();
    let sqlite = open(folder.path(), 4);
    let stores = sqlite.stores();
    create(&stores);
    put(&stores, message(10, "before"));
    let db = direct(folder.path());
    let hide = "ALTER TABLE archive_by_peer RENAME TO hidden";
    db.execute_batch(hide).unwrap();
    for n in 2..12 {
        put(&stores, message(n * 10, "meanwhile"));
    }
    assert_eq!(count(&db, "archive_entries"), 0);
    assert_eq!(ids(&stores, &juliet(), None).len(), 11);
    assert_eq!(ids(&stores, &juliet(), Some("meanwhile")).len(), 10);
    db.execute_batch("ALTER TABLE hidden RENAME TO archive_by_peer").unwrap();
    for n in 12..80 {
        put(&stores, message(n * 10, "after"));
    }
    assert!(count(&db, "archive_entries") > 100);
    assert_eq!(ids(&stores, &juliet(), None).len(), 79);
    assert_eq!(ids(&stores, &juliet(), Some("after")).len(), 68);
}

#[test]
fn words_of_before_are_entered_once_they_are_wanted() {
    let folder = tempfile::tempdir().unwrap();
    let silent = Options { searches_text: false, fold_entries: 3, ..Options::default() };
    let sqlite = Sqlite::open(folder.path(), &silent).unwrap();
    create(&sqlite.stores());
    for n in 1..10 {
        put(&sqlite.stores(), message(n * 10, "earlier"));
    }
    drop(sqlite);
    let sqlite = open(folder.path(), 3);
    assert_eq!(ids(&sqlite.stores(), &juliet(), Some("earlier")).len(), 9);
    assert_eq!(wait(sqlite.stores().archive.last_id()), Ok(91));
}

#[test]
fn takes_over_what_waited_before_there_was_an_archive() {
    let folder = tempfile::tempdir().unwrap();
    let old = direct(folder.path());
    for sql in [
        include_str!("../src/migrations/0001_accounts.sql"),
        include_str!("../src/migrations/0002_rosters.sql"),
        include_str!("../src/migrations/0003_offline.sql"),
        include_str!("../src/migrations/0004_documents.sql"),
        include_str!("../src/migrations/0005_data.sql"),
        include_str!("../src/migrations/0006_sessions.sql"),
    ] {
        old.execute_batch(sql).unwrap();
    }
    old.execute_batch(
        "INSERT INTO accounts (jid, host, created_ms)
             VALUES ('romeo@montague.example', 'montague.example', 5);
         INSERT INTO offline (account, received_ms, checksum, stanza)
             VALUES (1, 7, 2212294583, CAST('1' AS BLOB)), (1, 8, 0, x'00'), (1, 9, 0, x'00');
         DELETE FROM offline WHERE id = 3;
         PRAGMA application_id = 0x5374656E;
         PRAGMA user_version = 6;",
    )
    .unwrap();
    drop(old);
    let sqlite = open(folder.path(), 1);
    let stores = sqlite.stores();
    assert_eq!(wait(stores.offline.usage(&romeo())).unwrap().bytes, 2);
    put(&stores, Write::StoreOffline { owner: romeo(), received_ms: 10, body: vec![9].into() });
    let page = wait(stores.offline.page(&romeo(), 0, 10)).unwrap();
    let found: Vec<_> = page.messages.iter().map(|row| (row.id, row.received_ms)).collect();
    assert_eq!(found, [(1, 7), (4, 10)], "no id is used again");
    assert_eq!((page.damaged, page.messages[0].stanza.as_slice()), (vec![2], &b"1"[..]));
}
