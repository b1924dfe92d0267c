//! Archived messages that are shared, retracted, removed, taken along.

use std::sync::Arc;

use stentor_jid::BareJid;

use crate::contract::archive::{entry, everything, ids_of, keep, page, seconds, ten};
use crate::contract::owned::export;
use crate::contract::{account, put};
use crate::limits::PAGE_BYTES_MAX;
use crate::{
    ArchiveDrop, ArchiveEntry, ArchiveFilter, ArchiveMark, ArchiveRange, Domain, OfflineBody,
    Stage, StoreError, Stores, Usage, Write,
};

pub(super) async fn suite(stores: &Stores) {
    both_accounts_have_what_they_share(stores).await;
    a_tombstone_takes_the_place(stores).await;
    drops_and_expires(stores).await;
    deleted_accounts_leave_nothing(stores).await;
    messages_wait_offline_in_the_archive(stores).await;
    an_export_rebuilds_it(stores).await;
}

/// The same bytes for both accounts, in one stage.
fn shared(romeo: &BareJid, juliet: &BareJid, id: u64, body: &str) -> Stage {
    let bytes: Arc<[u8]> = body.as_bytes().into();
    let sent = ArchiveEntry {
        is_sent: true,
        body: bytes.clone(),
        ..entry(id, &format!("{juliet}/balcony"), body)
    };
    let at_ms = sent.at_ms;
    let got =
        ArchiveEntry { body: bytes, at_ms, ..entry(id + 1, &format!("{romeo}/orchard"), body) };
    [keep(romeo, sent), keep(juliet, got)].into_iter().collect()
}

async fn both_accounts_have_what_they_share(stores: &Stores) {
    let romeo = account(stores, "romeo@archive.example").await;
    let juliet = account(stores, "juliet@archive.example").await;
    for n in 1..=4 {
        put(stores, shared(&romeo, &juliet, n * 10, &format!("shared {n}"))).await.unwrap();
    }
    // To oneself: both entries in one archive.
    put(stores, shared(&romeo, &romeo, 50, "to oneself")).await.unwrap();
    let of_romeo = everything(stores, &romeo).await;
    let of_juliet = everything(stores, &juliet).await;
    assert!(of_romeo.iter().map(|row| row.id).eq([10, 20, 30, 40, 50, 51]));
    assert!(of_juliet.iter().map(|row| row.id).eq([11, 21, 31, 41]));
    assert!(of_romeo.iter().take(5).all(|row| row.is_sent) && !of_romeo[5].is_sent);
    assert_eq!(of_juliet[0].peer.as_str(), "romeo@archive.example/orchard");
    assert_eq!(of_romeo[5].peer.as_str(), "romeo@archive.example/orchard");
    let usage = Usage { count: 6, bytes: 4 * 8 + 2 * 10 };
    assert_eq!(stores.archive.usage(&romeo).await, Ok(usage));
    if stores.archive.searches_text() {
        let filter =
            |text: &str| ArchiveFilter { text: Some(text.into()), ..ArchiveFilter::default() };
        assert_eq!(ids_of(stores, &romeo, filter("oneself")).await, [50, 51]);
        assert_eq!(ids_of(stores, &juliet, filter("shared")).await, [11, 21, 31, 41]);
    }
    // What one removes the other keeps.
    let drop = |owner: &BareJid, ids: &[u64]| Write::DropArchive {
        owner: owner.clone(),
        what: ArchiveDrop::Ids(ids.to_vec()),
    };
    put(stores, drop(&romeo, &[10, 11, 51, 999])).await.unwrap();
    put(stores, drop(&juliet, &[31])).await.unwrap();
    assert_eq!(
        everything(stores, &juliet).await,
        [of_juliet[0].clone(), of_juliet[1].clone(), of_juliet[3].clone(),]
    );
    assert!(everything(stores, &romeo).await.iter().map(|row| row.id).eq([20, 30, 40, 50]));
    put(stores, drop(&juliet, &[11])).await.unwrap();
    assert_eq!(stores.archive.usage(&juliet).await, Ok(Usage { count: 2, bytes: 16 }));
    if stores.archive.searches_text() {
        let filter = ArchiveFilter { text: Some("shared".into()), ..ArchiveFilter::default() };
        assert_eq!(ids_of(stores, &juliet, filter.clone()).await, [21, 41]);
        assert_eq!(ids_of(stores, &romeo, filter).await, [20, 30, 40]);
    }
}

async fn a_tombstone_takes_the_place(stores: &Stores) {
    let romeo = account(stores, "romeo@tombs.example").await;
    let juliet = account(stores, "juliet@tombs.example").await;
    put(stores, shared(&romeo, &juliet, 10, "poison secret")).await.unwrap();
    put(stores, shared(&romeo, &juliet, 20, "poison")).await.unwrap();
    let retract = |owner: &BareJid, id, text: &str| Write::RetractArchive {
        owner: owner.clone(),
        id,
        tombstone: text.as_bytes().to_vec(),
    };
    put(stores, retract(&romeo, 10, "<gone/>")).await.unwrap();
    put(stores, retract(&romeo, 11, "<not ours/>")).await.unwrap();
    let rows = everything(stores, &romeo).await;
    assert_eq!((rows[0].is_retracted, rows[0].body.as_slice()), (true, &b"<gone/>"[..]));
    assert_eq!((rows[0].id, rows[0].is_sent, rows[0].at_ms), (10, true, 0));
    assert_eq!(rows[0].peer.as_str(), "juliet@tombs.example/balcony");
    assert!(!rows[1].is_retracted);
    let theirs = everything(stores, &juliet).await;
    assert_eq!((theirs[0].is_retracted, theirs[0].body.as_slice()), (false, &b"poison secret"[..]));
    assert_eq!(stores.archive.usage(&romeo).await, Ok(Usage { count: 2, bytes: 7 + 6 }));
    if stores.archive.searches_text() {
        let filter = ArchiveFilter { text: Some("poison".into()), ..ArchiveFilter::default() };
        assert_eq!(ids_of(stores, &romeo, filter.clone()).await, [20]);
        assert_eq!(ids_of(stores, &juliet, filter).await, [11, 21]);
    }
    put(stores, retract(&juliet, 11, "<gone too/>")).await.unwrap();
    put(stores, retract(&juliet, 11, "<gone again/>")).await.unwrap();
    let rows = everything(stores, &juliet).await;
    assert_eq!((rows[0].is_retracted, rows[0].body.as_slice()), (true, &b"<gone again/>"[..]));
    let found = stores.archive.by_ids(&juliet, vec![11]).await.unwrap();
    assert!(found[0].is_retracted);
    // A later message stands behind it all the same.
    put(stores, shared(&romeo, &juliet, 30, "poison")).await.unwrap();
    let rows = everything(stores, &juliet).await;
    assert!(rows.iter().map(|row| row.id).eq([11, 21, 31]));
    if stores.archive.searches_text() {
        let text = Some("poison".into());
        let filter = ArchiveFilter { text, after_id: Some(11), ..ArchiveFilter::default() };
        assert_eq!(ids_of(stores, &juliet, filter).await, [21, 31]);
    }
}

async fn drops_and_expires(stores: &Stores) {
    let owner = ten(stores, "drop@archive.example").await;
    let other = ten(stores, "keep@archive.other.example").await;
    let drop = |what| Write::DropArchive { owner: owner.clone(), what };
    put(stores, drop(ArchiveDrop::Before(3_000))).await.unwrap();
    let ids: Vec<u64> = everything(stores, &owner).await.iter().map(|row| row.id).collect();
    assert_eq!(ids, seconds(3..=10));
    let all = ArchiveFilter::default;
    let before = ArchiveFilter { after_id: Some(2_000_000), ..all() };
    assert_eq!(page(stores, &owner, before, ArchiveRange::first(1)).await, None);
    while stores.archive.expire(Some("archive.example"), 5_000).await.unwrap() {}
    assert_eq!(ids_of(stores, &owner, all()).await, seconds(5..=10));
    assert_eq!(everything(stores, &other).await.len(), 10, "another host");
    while stores.archive.expire(None, 2_000).await.unwrap() {}
    assert_eq!(ids_of(stores, &other, all()).await, seconds(2..=10));
    stores.archive.purge(&other, 10_000).await.unwrap();
    assert_eq!(ids_of(stores, &other, all()).await, seconds([10]));
    let mark = ArchiveMark { id: 10_000_000, at_ms: 10_000 };
    assert_eq!(stores.archive.bounds(&other).await, Ok(Some((mark, mark))));
    stores.archive.purge(&other, i64::MAX).await.unwrap();
    assert_eq!(stores.archive.usage(&other).await, Ok(Usage::default()));
    // Emptied, it goes on, and expires again.
    put(stores, keep(&other, entry(11_000_000, "a@archive.example", "x"))).await.unwrap();
    while stores.archive.expire(None, 11_001).await.unwrap() {}
    assert_eq!(stores.archive.bounds(&other).await, Ok(None));
    put(stores, drop(ArchiveDrop::All)).await.unwrap();
    assert_eq!(ids_of(stores, &owner, all()).await, []);
    assert_eq!(stores.archive.usage(&owner).await, Ok(Usage::default()));
    put(stores, keep(&owner, entry(12_000_000, "a@archive.example", "x"))).await.unwrap();
    assert_eq!(ids_of(stores, &owner, all()).await, seconds([12]));
    assert!(stores.archive.last_id().await.unwrap() >= 12_000_000);
    while stores.archive.expire(None, i64::MIN).await.unwrap() {}
}

async fn deleted_accounts_leave_nothing(stores: &Stores) {
    let romeo = account(stores, "romeo@deleted.example").await;
    let juliet = account(stores, "juliet@deleted.example").await;
    for n in 1..=3 {
        put(stores, shared(&romeo, &juliet, n * 10, "love")).await.unwrap();
    }
    put(stores, Write::DeleteAccount { owner: romeo.clone() }).await.unwrap();
    let late = keep(&romeo, entry(99, "a@archive.example", "x"));
    assert_eq!(put(stores, late).await, Err(StoreError::NoAccount));
    account(stores, "romeo@deleted.example").await;
    assert_eq!(everything(stores, &romeo).await, []);
    assert_eq!(stores.archive.bounds(&romeo).await, Ok(None));
    // Ids of the former account mean nothing in the new one.
    put(stores, keep(&romeo, entry(1, "a@archive.example", "y"))).await.unwrap();
    assert_eq!(ids_of(stores, &romeo, ArchiveFilter::default()).await, [1]);
    while stores.archive.expire(None, i64::MIN).await.unwrap() {}
    assert_eq!(ids_of(stores, &juliet, ArchiveFilter::default()).await, [11, 21, 31]);
    assert_eq!(ids_of(stores, &romeo, ArchiveFilter::default()).await, [1]);
    stores.archive.forget(&juliet).await.unwrap();
    assert_eq!(everything(stores, &juliet).await, []);
    put(stores, Write::Forget { owner: juliet, domain: Domain::Archive }).await.unwrap();
}

async fn messages_wait_offline_in_the_archive(stores: &Stores) {
    let owner = account(stores, "wait@archive.example").await;
    let wait = |id| Write::StoreOffline {
        owner: owner.clone(),
        received_ms: 7,
        body: OfflineBody::Archived(id),
    };
    let kept = |id, body: &str| keep(&owner, entry(id, "a@archive.example", body));
    assert_eq!(put(stores, wait(1)).await, Err(StoreError::Conflict));
    for (id, body) in [(1, "one"), (2, "two"), (3, "three"), (4, "four")] {
        let stage: Stage = [kept(id, body), wait(id)].into_iter().collect();
        put(stores, stage).await.unwrap();
    }
    let own = Write::StoreOffline { owner: owner.clone(), received_ms: 8, body: vec![9].into() };
    put(stores, own).await.unwrap();
    let waiting = async || {
        let page = stores.offline.page(&owner, 0, 10).await.unwrap();
        assert_eq!((page.damaged.len(), page.next), (0, None));
        page.messages
            .into_iter()
            .map(|row| (row.archived, String::from_utf8(row.stanza).unwrap()))
            .collect::<Vec<_>>()
    };
    let of = |id, body: &str| (id, body.to_owned());
    let all = [
        of(Some(1), "one"),
        of(Some(2), "two"),
        of(Some(3), "three"),
        of(Some(4), "four"),
        of(None, "\t"),
    ];
    assert_eq!(waiting().await, all);
    let usage = Usage { count: 5, bytes: 3 + 3 + 5 + 4 + 1 };
    assert_eq!(stores.offline.usage(&owner).await, Ok(usage));
    // What leaves the archive stays until it is delivered.
    let ids = ArchiveDrop::Ids(vec![2]);
    put(stores, Write::DropArchive { owner: owner.clone(), what: ids }).await.unwrap();
    let tombstone = b"gone".to_vec();
    let retract = Write::RetractArchive { owner: owner.clone(), id: 4, tombstone };
    put(stores, retract).await.unwrap();
    let mut expected = all.to_vec();
    expected[1] = of(None, "two");
    expected[3] = of(Some(4), "gone");
    assert_eq!(waiting().await, expected);
    stores.archive.forget(&owner).await.unwrap();
    let bodies: Vec<_> = waiting().await.into_iter().map(|(_, body)| body).collect();
    assert_eq!(bodies, ["one", "two", "three", "gone", "\t"]);
}

async fn an_export_rebuilds_it(stores: &Stores) {
    let owner = account(stores, "export@archive.example").await;
    let big = "w ".repeat(PAGE_BYTES_MAX / 4);
    let mut writes = Vec::new();
    for id in 1..=7 {
        let named = entry(id, "juliet@capulet.example/a", &big);
        let origin_id = Some(format!("o{id}"));
        let (is_sent, flags) = (id % 2 == 0, 3);
        writes.push(keep(&owner, ArchiveEntry { origin_id, is_sent, flags, ..named }));
    }
    let wait = OfflineBody::Archived(3);
    writes.push(Write::StoreOffline { owner: owner.clone(), received_ms: 5, body: wait });
    put(stores, writes.iter().cloned().collect::<Stage>()).await.unwrap();
    let tombstone = b"<gone/>".to_vec();
    put(stores, Write::RetractArchive { owner: owner.clone(), id: 2, tombstone }).await.unwrap();
    let (rows, exported) = (everything(stores, &owner).await, export(stores, &owner).await);
    stores.accounts.forget(&owner).await.unwrap();
    put(stores, exported.iter().cloned().collect::<Stage>()).await.unwrap();
    assert_eq!(everything(stores, &owner).await, rows);
    assert_eq!(export(stores, &owner).await, exported);
    assert_eq!(stores.offline.page(&owner, 0, 1).await.unwrap().messages[0].archived, Some(3));
    let kept = exported.iter().filter(|write| matches!(write, Write::PutArchive { .. })).count();
    assert_eq!(kept, 7);
}
