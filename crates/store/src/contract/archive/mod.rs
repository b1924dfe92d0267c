//! Archived messages.

mod paging;
mod removal;

use stentor_jid::{BareJid, Jid};

use crate::contract::{account, jid, put};
use crate::{
    ArchiveEntry, ArchiveFilter, ArchiveMark, ArchiveRange, ArchiveReference, ArchiveRow,
    ArchiveSlice, Edge, ReferenceId, Stage, StoreError, Stores, Usage, Write,
};

/// Runs the suite.
pub async fn suite(stores: &Stores) {
    keeps_every_field(stores).await;
    ids_only_grow(stores).await;
    filters_together(stores).await;
    tells_of_unknown_ids(stores).await;
    finds_words(stores).await;
    finds_what_senders_name(stores).await;
    paging::suite(stores).await;
    removal::suite(stores).await;
}

/// An entry of a message received from `peer`.
pub fn entry(id: u64, peer: &str, body: &str) -> ArchiveEntry {
    ArchiveEntry {
        id,
        at_ms: id.cast_signed() / 1_000,
        peer: Jid::new(peer).unwrap(),
        is_sent: false,
        flags: 0,
        body: body.as_bytes().into(),
        text: Some(body.into()),
        origin_id: None,
        stanza_id: None,
    }
}

fn keep(owner: &BareJid, entry: ArchiveEntry) -> Write {
    Write::PutArchive { owner: owner.clone(), entry }
}

async fn page(
    stores: &Stores,
    owner: &BareJid,
    filter: ArchiveFilter,
    range: ArchiveRange,
) -> Option<ArchiveSlice> {
    stores.archive.page(owner, filter, range).await.unwrap()
}

async fn ids_of(stores: &Stores, owner: &BareJid, filter: ArchiveFilter) -> Vec<u64> {
    let slice = page(stores, owner, filter, ArchiveRange::first(500)).await.unwrap();
    assert!(slice.is_complete && slice.damaged.is_empty());
    assert_eq!(slice.count, Some(slice.rows.len() as u64));
    slice.rows.iter().map(|row| row.id).collect()
}

async fn everything(stores: &Stores, owner: &BareJid) -> Vec<ArchiveRow> {
    let found = page(stores, owner, ArchiveFilter::default(), ArchiveRange::first(500)).await;
    found.unwrap().rows
}

/// An account with ten messages, one each second.
async fn ten(stores: &Stores, owner: &str) -> BareJid {
    let owner = account(stores, owner).await;
    let stage: Stage = (1..=10)
        .map(|n| {
            let peer = match n % 3 {
                0 => "juliet@capulet.example/balcony",
                1 => "juliet@capulet.example/chamber",
                _ => "nurse@capulet.example",
            };
            let flags = u32::from(n % 2 == 0) * 5;
            let entry = entry(n * 1_000_000, peer, &format!("message {n} of ten"));
            keep(&owner, ArchiveEntry { flags, is_sent: n > 5, ..entry })
        })
        .collect();
    put(stores, stage).await.unwrap();
    owner
}

fn seconds(numbers: impl IntoIterator<Item = u64>) -> Vec<u64> {
    numbers.into_iter().map(|n| n * 1_000_000).collect()
}

async fn keeps_every_field(stores: &Stores) {
    let owner = account(stores, "fields@archive.example").await;
    let nothing = ArchiveSlice { is_complete: true, count: Some(0), ..ArchiveSlice::default() };
    for of in [&owner, &jid("nobody@archive.example")] {
        for range in [ArchiveRange::first(10), ArchiveRange::last(10)] {
            let found = page(stores, of, ArchiveFilter::default(), range).await;
            assert_eq!(found, Some(nothing.clone()));
        }
        assert_eq!(stores.archive.bounds(of).await, Ok(None));
        assert_eq!(stores.archive.usage(of).await, Ok(Usage::default()));
    }
    let full = ArchiveEntry {
        at_ms: -7,
        flags: u32::MAX,
        is_sent: true,
        body: vec![0, 255, b'<'].into(),
        text: Some("Ω & Σ".into()),
        origin_id: Some("o-1".into()),
        stanza_id: Some("s-1".into()),
        ..entry(1, "Ω@archive.example/Σ & σ", "")
    };
    let bare = ArchiveEntry { text: None, ..entry(i64::MAX as u64, "capulet.example", "") };
    put(stores, keep(&owner, full.clone())).await.unwrap();
    put(stores, keep(&owner, bare.clone())).await.unwrap();
    let row = |entry: &ArchiveEntry| ArchiveRow {
        id: entry.id,
        at_ms: entry.at_ms,
        peer: entry.peer.clone(),
        is_sent: entry.is_sent,
        is_retracted: false,
        flags: entry.flags,
        body: entry.body.to_vec(),
    };
    assert_eq!(everything(stores, &owner).await, [row(&full), row(&bare)]);
    let some = stores.archive.by_ids(&owner, vec![bare.id, 2, 1, 1]).await;
    assert_eq!(some, Ok(vec![row(&full), row(&bare)]));
    let mark = |entry: &ArchiveEntry| ArchiveMark { id: entry.id, at_ms: entry.at_ms };
    assert_eq!(stores.archive.bounds(&owner).await, Ok(Some((mark(&full), mark(&bare)))));
    assert_eq!(stores.archive.usage(&owner).await, Ok(Usage { count: 2, bytes: 3 }));
    assert_eq!(stores.archive.last_id().await, Ok(i64::MAX as u64));
}

async fn ids_only_grow(stores: &Stores) {
    let owner = account(stores, "grow@archive.example").await;
    let nobody = keep(&jid("nobody@archive.example"), entry(5, "a@archive.example", "x"));
    assert_eq!(put(stores, nobody).await, Err(StoreError::NoAccount));
    let with = |id| keep(&owner, entry(id, "a@archive.example", "x"));
    put(stores, with(5)).await.unwrap();
    for id in [0, 4, 5, u64::MAX] {
        assert_eq!(put(stores, with(id)).await, Err(StoreError::Conflict), "{id}");
    }
    let bad: Stage = [with(6), with(8), with(7)].into_iter().collect();
    assert_eq!(put(stores, bad).await, Err(StoreError::Conflict));
    put(stores, with(6)).await.expect("what was not committed counts for nothing");
    let other = account(stores, "grow2@archive.example").await;
    put(stores, keep(&other, entry(1, "a@archive.example", "x"))).await.unwrap();
    let ids: Vec<u64> = everything(stores, &owner).await.iter().map(|row| row.id).collect();
    assert_eq!(ids, [5, 6]);
}

async fn filters_together(stores: &Stores) {
    let owner = ten(stores, "filters@archive.example").await;
    let all = ArchiveFilter::default;
    let with = |text: &str| ArchiveFilter { with: Some(Jid::new(text).unwrap()), ..all() };
    let between = |start, end| ArchiveFilter { start_ms: Some(start), end_ms: Some(end), ..all() };
    let of_juliet = [1, 3, 4, 6, 7, 9, 10];
    for (filter, expected) in [
        (all(), (1..=10).collect()),
        (with("juliet@capulet.example"), of_juliet.to_vec()),
        (with("juliet@capulet.example/balcony"), vec![3, 6, 9]),
        (with("juliet@capulet.example/nowhere"), vec![]),
        (with("nurse@capulet.example"), vec![2, 5, 8]),
        (with("nurse@capulet.example/x"), vec![]),
        (with("capulet.example"), vec![]),
        (between(3_000, 5_000), vec![3, 4, 5]),
        (between(2_001, 2_999), vec![]),
        (between(i64::MIN, i64::MAX), (1..=10).collect()),
        (between(9_000, 3_000), vec![]),
        (ArchiveFilter { start_ms: Some(9_500), ..all() }, vec![10]),
        (ArchiveFilter { end_ms: Some(1_000), ..all() }, vec![1]),
        (ArchiveFilter { without_flags: 4, ..all() }, vec![1, 3, 5, 7, 9]),
        (ArchiveFilter { without_flags: 2, ..all() }, (1..=10).collect()),
        (ArchiveFilter { after_id: Some(8_000_000), ..all() }, vec![9, 10]),
        (ArchiveFilter { before_id: Some(2_000_000), ..all() }, vec![1]),
        (
            ArchiveFilter {
                start_ms: Some(2_000),
                end_ms: Some(9_000),
                after_id: Some(3_000_000),
                before_id: Some(9_000_000),
                without_flags: 1,
                ..with("juliet@capulet.example")
            },
            vec![7],
        ),
        (ArchiveFilter { ids: seconds([7, 2, 7, 3]), ..all() }, vec![2, 3, 7]),
        (
            ArchiveFilter { ids: seconds([7, 2, 3]), ..with("juliet@capulet.example/balcony") },
            vec![3],
        ),
        (ArchiveFilter { ids: seconds([7, 2, 3]), end_ms: Some(2_500), ..all() }, vec![2]),
    ] {
        let found = ids_of(stores, &owner, filter.clone()).await;
        assert_eq!(found, seconds(expected), "{filter:?}");
    }
    // A clock that was set back: times do not follow ids any more.
    for (id, at_ms) in [(11, 2_500), (12, 12_000), (13, 11_000)] {
        let entry = ArchiveEntry { at_ms, ..entry(id * 1_000_000, "a@archive.example", "x") };
        put(stores, keep(&owner, entry)).await.unwrap();
    }
    assert_eq!(ids_of(stores, &owner, between(2_400, 3_000)).await, seconds([3, 11]));
    assert_eq!(ids_of(stores, &owner, between(10_500, 11_500)).await, seconds([13]));
}

async fn tells_of_unknown_ids(stores: &Stores) {
    let owner = ten(stores, "unknown@archive.example").await;
    let other = account(stores, "stranger@archive.example").await;
    let theirs = 4_500_000;
    put(stores, keep(&other, entry(theirs, "a@archive.example", "x"))).await.unwrap();
    for id in [theirs, 0, 11_000_000, u64::MAX] {
        let all = ArchiveFilter::default;
        for (filter, from) in [
            (ArchiveFilter { after_id: Some(id), ..all() }, Edge::First),
            (ArchiveFilter { before_id: Some(id), ..all() }, Edge::Last),
            (ArchiveFilter { ids: vec![1_000_000, id], ..all() }, Edge::First),
            (all(), Edge::After(id)),
            (all(), Edge::Before(id)),
        ] {
            let found = page(stores, &owner, filter, ArchiveRange { limit: 5, from }).await;
            assert_eq!(found, None);
        }
        assert_eq!(stores.archive.by_ids(&owner, vec![id]).await, Ok(vec![]));
    }
    let too_many = ArchiveFilter { ids: vec![1_000_000; 501], ..ArchiveFilter::default() };
    assert_eq!(page(stores, &owner, too_many, ArchiveRange::first(1)).await, None);
    let nobody = jid("nobody@archive.example");
    let range = ArchiveRange { limit: 5, from: Edge::After(1_000_000) };
    assert_eq!(page(stores, &nobody, ArchiveFilter::default(), range).await, None);
}

async fn finds_words(stores: &Stores) {
    let owner = account(stores, "words@archive.example").await;
    let with = |text: &str| ArchiveFilter { text: Some(text.into()), ..ArchiveFilter::default() };
    if !stores.archive.searches_text() {
        let refused = stores.archive.page(&owner, with("romeo"), ArchiveRange::first(1)).await;
        assert_eq!(refused, Err(StoreError::Unsupported));
        return;
    }
    let other = account(stores, "words2@archive.example").await;
    let bodies = [
        "O Romeo, Romeo! wherefore art thou Romeo?",
        "Deny thy father and refuse thy name; \"thy\" OR NEAR(\"",
        "ÄRGER",
        "",
        "name: romeo",
    ];
    for (id, body) in (1..).zip(bodies) {
        let peer = if id < 5 { "juliet@capulet.example/a" } else { "nurse@capulet.example" };
        put(stores, keep(&owner, entry(id, peer, body))).await.unwrap();
        put(stores, keep(&other, entry(id + 10, peer, "romeo and name"))).await.unwrap();
    }
    let silent = ArchiveEntry { text: None, ..entry(6, "juliet@capulet.example", "romeo") };
    put(stores, keep(&owner, silent)).await.unwrap();
    for (text, expected) in [
        ("romeo", vec![1, 5]),
        ("ROMEO name", vec![5]),
        ("thy", vec![2]),
        ("rom", vec![]),
        ("ärger", vec![3]),
        ("\"OR\" near", vec![2]),
        ("", vec![]),
        ("?!", vec![]),
    ] {
        assert_eq!(ids_of(stores, &owner, with(text)).await, expected, "{text}");
    }
    let by_nurse = Some(Jid::new("nurse@capulet.example").unwrap());
    let filter = ArchiveFilter { with: by_nurse, ..with("romeo") };
    assert_eq!(ids_of(stores, &owner, filter).await, [5]);
    let filter = ArchiveFilter { before_id: Some(5), ..with("romeo") };
    assert_eq!(ids_of(stores, &owner, filter).await, [1]);
    let filter = ArchiveFilter { ids: vec![2, 5, 6], ..with("romeo") };
    assert_eq!(ids_of(stores, &owner, filter).await, [5]);
    let last = page(stores, &owner, with("romeo"), ArchiveRange::last(1)).await.unwrap();
    assert_eq!((last.rows[0].id, last.is_complete, last.first_index), (5, false, Some(1)));
}

async fn finds_what_senders_name(stores: &Stores) {
    let owner = account(stores, "names@archive.example").await;
    let named = |id, peer: &str, is_sent, origin: &str, stanza: &str| {
        let (origin_id, stanza_id) = (Some(origin.into()), Some(stanza.into()));
        keep(&owner, ArchiveEntry { is_sent, origin_id, stanza_id, ..entry(id, peer, "x") })
    };
    let stage: Stage = [
        named(1, "juliet@capulet.example/a", false, "m1", "s1"),
        named(2, "juliet@capulet.example/b", true, "m1", "s2"),
        named(3, "nurse@capulet.example", false, "m1", "s3"),
        named(4, "juliet@capulet.example/b", false, "m2", "s1"),
        named(5, "juliet@capulet.example/b", false, "m1", "s4"),
    ]
    .into_iter()
    .collect();
    put(stores, stage).await.unwrap();
    let find = async |peer: &str, is_sent, id| {
        let reference = ArchiveReference { peer: jid(peer), is_sent, id };
        stores.archive.find(&owner, reference).await.unwrap().map(|row| row.id)
    };
    let origin = |id: &str| ReferenceId::Origin(id.into());
    let stanza = |id: &str| ReferenceId::Stanza(id.into());
    assert_eq!(find("juliet@capulet.example", false, origin("m1")).await, Some(5), "the newest");
    assert_eq!(find("juliet@capulet.example", true, origin("m1")).await, Some(2));
    assert_eq!(find("nurse@capulet.example", false, origin("m1")).await, Some(3));
    assert_eq!(find("juliet@capulet.example", false, origin("m2")).await, Some(4));
    assert_eq!(find("juliet@capulet.example", false, stanza("s1")).await, Some(4));
    assert_eq!(find("juliet@capulet.example", false, stanza("m1")).await, None);
    assert_eq!(find("juliet@capulet.example", false, origin("m3")).await, None);
    assert_eq!(find("nurse@capulet.example", true, origin("m1")).await, None);
}
