//! Pages of archived messages.

use stentor_jid::{BareJid, Jid};

use crate::contract::archive::{entry, keep, page, ten};
use crate::contract::{account, put};
use crate::limits::{COUNT_ROWS_MAX, PAGE_BYTES_MAX, PAGE_ROWS_MAX};
use crate::{ArchiveEntry, ArchiveFilter, ArchiveRange, ArchiveSlice, Edge, Stage, Stores};

pub(super) async fn suite(stores: &Stores) {
    pages_in_both_directions(stores).await;
    pages_by_index(stores).await;
    ends_pages_by_bytes(stores).await;
    counts_what_is_cheap_to_count(stores).await;
}

/// Ids in seconds, whether complete, count, index of the first.
type Shape = (Vec<u64>, bool, Option<u64>, Option<u64>);

async fn shape(stores: &Stores, owner: &BareJid, limit: u32, from: Edge) -> Option<Shape> {
    let slice = page(stores, owner, ArchiveFilter::default(), ArchiveRange { limit, from }).await?;
    let ids = slice.rows.iter().map(|row| row.id / 1_000_000).collect();
    Some((ids, slice.is_complete, slice.count, slice.first_index))
}

async fn pages_in_both_directions(stores: &Stores) {
    let owner = ten(stores, "pages@archive.example").await;
    let second = |n: u64| n * 1_000_000;
    let shaped = |ids: std::ops::RangeInclusive<u64>, is_complete, index| {
        Some((ids.collect(), is_complete, Some(10), Some(index)))
    };
    for (limit, from, expected) in [
        (4, Edge::First, shaped(1..=4, false, 0)),
        (4, Edge::After(second(4)), shaped(5..=8, false, 4)),
        (4, Edge::After(second(8)), shaped(9..=10, true, 8)),
        (2, Edge::After(second(8)), shaped(9..=10, true, 8)),
        (10, Edge::First, shaped(1..=10, true, 0)),
        (9, Edge::First, shaped(1..=9, false, 0)),
        (4, Edge::Last, shaped(7..=10, false, 6)),
        (4, Edge::Before(second(7)), shaped(3..=6, false, 2)),
        (4, Edge::Before(second(3)), shaped(1..=2, true, 0)),
        (2, Edge::Before(second(3)), shaped(1..=2, true, 0)),
        (10, Edge::Last, shaped(1..=10, true, 0)),
        (0, Edge::First, Some((vec![], false, Some(10), None))),
        (0, Edge::After(second(10)), Some((vec![], true, Some(10), None))),
        (5, Edge::After(second(10)), Some((vec![], true, Some(10), None))),
        (5, Edge::Before(second(1)), Some((vec![], true, Some(10), None))),
    ] {
        assert_eq!(shape(stores, &owner, limit, from).await, expected, "{limit} {from:?}");
    }
    // The place where a page begins need not match.
    let filter = ArchiveFilter {
        with: Some(Jid::new("nurse@capulet.example").unwrap()),
        ..ArchiveFilter::default()
    };
    let range = ArchiveRange { limit: 1, from: Edge::After(second(3)) };
    let slice = page(stores, &owner, filter, range).await.unwrap();
    assert_eq!(slice.rows[0].id, second(5));
    assert_eq!((slice.is_complete, slice.count, slice.first_index), (false, Some(3), Some(1)));
}

async fn pages_by_index(stores: &Stores) {
    let owner = ten(stores, "index@archive.example").await;
    let shaped = |ids: std::ops::RangeInclusive<u64>, is_complete, index| {
        Some((ids.collect(), is_complete, Some(10), Some(index)))
    };
    for (limit, index, expected) in [
        (3, 0, shaped(1..=3, false, 0)),
        (3, 4, shaped(5..=7, false, 4)),
        (3, 7, shaped(8..=10, true, 7)),
        (3, 9, shaped(10..=10, true, 9)),
        (3, 10, None),
        (3, u64::MAX, None),
    ] {
        let found = shape(stores, &owner, limit, Edge::Index(index)).await;
        assert_eq!(found, expected, "{limit} {index}");
    }
    let empty = account(stores, "noindex@archive.example").await;
    let nothing = Some((vec![], true, Some(0), None));
    assert_eq!(shape(stores, &empty, 3, Edge::Index(0)).await, nothing);
}

async fn ends_pages_by_bytes(stores: &Stores) {
    let owner = account(stores, "bytes@archive.example").await;
    let big = " ".repeat(PAGE_BYTES_MAX / 2 + 1);
    for (id, body) in (1..).zip(["a", &big, &big, "b", &big.repeat(3), "c"]) {
        let entry = ArchiveEntry { text: None, ..entry(id, "a@archive.example", body) };
        put(stores, keep(&owner, entry)).await.unwrap();
    }
    let walk = async |forward: bool| {
        let mut pages: Vec<Vec<u64>> = Vec::new();
        let mut from = if forward { Edge::First } else { Edge::Last };
        loop {
            let range = ArchiveRange { limit: u32::MAX, from };
            let slice = page(stores, &owner, ArchiveFilter::default(), range).await.unwrap();
            let ids: Vec<u64> = slice.rows.iter().map(|row| row.id).collect();
            from = match (ids.first(), ids.last()) {
                (_, Some(last)) if forward => Edge::After(*last),
                (Some(first), _) => Edge::Before(*first),
                _ => panic!("no page is empty"),
            };
            pages.push(ids);
            if slice.is_complete {
                return pages;
            }
        }
    };
    assert_eq!(walk(true).await, [vec![1, 2, 3], vec![4, 5], vec![6]]);
    assert_eq!(walk(false).await, [vec![5, 6], vec![2, 3, 4], vec![1]]);
    let most = account(stores, "rows@archive.example").await;
    let stage: Stage = (1..=u64::from(PAGE_ROWS_MAX) + 1)
        .map(|id| keep(&most, entry(id, "a@archive.example", "x")))
        .collect();
    put(stores, stage).await.unwrap();
    let range = ArchiveRange::first(u32::MAX);
    let slice = page(stores, &most, ArchiveFilter::default(), range).await.unwrap();
    assert_eq!((slice.rows.len(), slice.is_complete), (PAGE_ROWS_MAX as usize, false));
}

async fn counts_what_is_cheap_to_count(stores: &Stores) {
    let owner = account(stores, "count@archive.example").await;
    let total = COUNT_ROWS_MAX * 2 + 3;
    for from in (0..total).step_by(1_000) {
        let stage: Stage = (from + 1..=(from + 1_000).min(total))
            .map(|id| {
                let peer = if id <= COUNT_ROWS_MAX { "few@archive.example" } else { "a@b.example" };
                keep(&owner, ArchiveEntry { text: None, ..entry(id, peer, "x") })
            })
            .collect();
        put(stores, stage).await.unwrap();
    }
    let filter = ArchiveFilter::default();
    let slice = async |filter: &ArchiveFilter, from| {
        page(stores, &owner, filter.clone(), ArchiveRange { limit: 2, from }).await.unwrap()
    };
    let numbers = |slice: ArchiveSlice| (slice.count, slice.first_index);
    assert_eq!(numbers(slice(&filter, Edge::First).await), (Some(total), Some(0)));
    assert_eq!(numbers(slice(&filter, Edge::Last).await), (Some(total), Some(total - 2)));
    let far = Edge::After(COUNT_ROWS_MAX + 1);
    assert_eq!(numbers(slice(&filter, far).await), (Some(total), None), "far from both ends");
    let with = |text: &str| ArchiveFilter { with: Some(Jid::new(text).unwrap()), ..filter.clone() };
    let few = slice(&with("few@archive.example"), Edge::Last).await;
    assert_eq!(numbers(few), (Some(COUNT_ROWS_MAX), Some(COUNT_ROWS_MAX - 2)));
    assert_eq!(numbers(slice(&with("a@b.example"), Edge::First).await), (None, Some(0)));
    assert_eq!(numbers(slice(&with("a@b.example"), Edge::Last).await), (None, None));
}
