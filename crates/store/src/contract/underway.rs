//! What every store of stanzas under way must do.

use super::put;
use crate::limits::{PAGE_BYTES_MAX, PAGE_ROWS_MAX};
use crate::{Stage, StoreError, Stores, UnderwayPage, UnderwayRow, Write};

/// Runs all of it.
pub async fn suite(stores: &Stores) {
    keeps_them_in_the_order_of_their_numbers(stores).await;
    takes_no_number_twice(stores).await;
    ends_pages_by_rows_and_bytes(stores).await;
}

fn row(number: u64, stanza: &[u8]) -> UnderwayRow {
    UnderwayRow { number, since_ms: 7, stanza: stanza.into() }
}

fn stage(rows: impl IntoIterator<Item = UnderwayRow>) -> Stage {
    rows.into_iter().map(Write::PutUnderway).collect()
}

async fn numbers(stores: &Stores) -> Vec<u64> {
    let page = stores.underway.page(0, 500).await.unwrap();
    assert_eq!(page.next, None);
    page.stanzas.iter().map(|row| row.number).collect()
}

async fn keeps_them_in_the_order_of_their_numbers(stores: &Stores) {
    assert_eq!(stores.underway.page(0, 10).await, Ok(UnderwayPage::default()));
    assert_eq!(stores.underway.last_number().await, Ok(0));
    // Those of two accounts may be submitted in another order than they were numbered.
    let first = row(1 << 50, b"<message id='first'/>");
    let second = row((1 << 50) + 1, b"<message id='second'/>");
    put(stores, stage([second.clone()])).await.unwrap();
    put(stores, stage([first.clone(), row((1 << 50) + 7, b"third")])).await.unwrap();
    assert_eq!(stores.underway.last_number().await, Ok((1 << 50) + 7));
    put(stores, Write::DropUnderway { numbers: vec![3, (1 << 50) + 7, 1 << 51] }).await.unwrap();
    let page = stores.underway.page(0, 10).await.unwrap();
    assert_eq!(page, UnderwayPage { stanzas: vec![first, second.clone()], next: None });
    let page = stores.underway.page(1 << 50, 10).await.unwrap();
    assert_eq!(page.stanzas, [second]);
    // One that arrives at once may come and go in one transaction.
    let mut both = stage([row(5, b"x"), row(6, b"y")]);
    both.push(Write::DropUnderway { numbers: vec![5, 1 << 50, (1 << 50) + 1] });
    put(stores, both).await.unwrap();
    assert_eq!(numbers(stores).await, [6]);
    put(stores, Write::DropUnderway { numbers: vec![6] }).await.unwrap();
    assert_eq!(stores.underway.page(0, 10).await, Ok(UnderwayPage::default()));
}

async fn takes_no_number_twice(stores: &Stores) {
    put(stores, stage([row(5, b"one")])).await.unwrap();
    assert_eq!(
        put(stores, stage([row(4, b"zero"), row(5, b"other")])).await,
        Err(StoreError::Conflict)
    );
    let page = stores.underway.page(0, 10).await.unwrap();
    assert_eq!(page.stanzas, [row(5, b"one")], "nothing of the stage is there");
    put(stores, Write::DropUnderway { numbers: vec![5] }).await.unwrap();
}

async fn ends_pages_by_rows_and_bytes(stores: &Stores) {
    let count = u64::from(PAGE_ROWS_MAX) + 1;
    put(stores, stage((1..=count).map(|number| row(number, b"x")))).await.unwrap();
    let page = stores.underway.page(0, u32::MAX).await.unwrap();
    assert_eq!((page.stanzas.len() as u64, page.next), (count - 1, Some(count - 1)));
    let page = stores.underway.page(count - 1, u32::MAX).await.unwrap();
    assert_eq!((page.stanzas.len(), page.next), (1, None));
    put(stores, Write::DropUnderway { numbers: (1..=count).collect() }).await.unwrap();
    let big = vec![b'x'; PAGE_BYTES_MAX];
    put(stores, stage((1..=2).map(|number| row(number, &big)))).await.unwrap();
    let page = stores.underway.page(0, 10).await.unwrap();
    assert_eq!((page.stanzas.len(), page.next), (1, Some(1)));
    put(stores, Write::DropUnderway { numbers: vec![1, 2] }).await.unwrap();
}
