//! Kept messages.

use stentor_jid::BareJid;

use crate::contract::{account, jid, put};
use crate::limits::{PAGE_BYTES_MAX, PAGE_ROWS_MAX};
use crate::{OfflinePage, OfflineRow, Stage, StoreError, Stores, Usage, Write};

/// Runs the suite.
pub async fn suite(stores: &Stores) {
    keeps_bytes_and_order(stores).await;
    drops_up_to_an_id_and_never_uses_it_again(stores).await;
    ends_pages_by_rows_and_bytes(stores).await;
    lets_the_last_stand_before_others(stores).await;
    keeps_accounts_apart(stores).await;
    puts_aside(stores).await;
    finds_what_is_overdue(stores).await;
    keeps_nothing_for_nobody(stores).await;
    keeps_what_was_on_its_way(stores).await;
}

fn store(owner: &BareJid, stanza: impl Into<Vec<u8>>) -> Write {
    Write::StoreOffline { owner: owner.clone(), received_ms: 1_000, body: stanza.into().into() }
}

async fn everything(stores: &Stores, owner: &BareJid) -> Vec<OfflineRow> {
    let page = stores.offline.page(owner, 0, PAGE_ROWS_MAX).await.unwrap();
    assert_eq!((page.next, page.damaged.len()), (None, 0));
    page.messages
}

async fn keeps_bytes_and_order(stores: &Stores) {
    let owner = account(stores, "order@offline.example").await;
    assert_eq!(stores.offline.page(&owner, 0, 10).await, Ok(OfflinePage::default()));
    let stanzas: [&[u8]; 4] = ["<message>\u{1F600}</message>".as_bytes(), b"", &[0, 255], b"<b/>"];
    let received = [5, -1, i64::MAX, 5];
    for (stanza, received_ms) in stanzas.iter().zip(received) {
        let write =
            Write::StoreOffline { owner: owner.clone(), received_ms, body: stanza.to_vec().into() };
        put(stores, write).await.unwrap();
    }
    let rows = everything(stores, &owner).await;
    assert!(rows.iter().map(|row| row.stanza.as_slice()).eq(stanzas));
    assert!(rows.iter().map(|row| row.received_ms).eq(received));
    assert!(rows.is_sorted_by(|a, b| a.id < b.id));
    let bytes = stanzas.iter().map(|stanza| stanza.len() as u64).sum();
    assert_eq!(stores.offline.usage(&owner).await, Ok(Usage { count: 4, bytes }));
    let after = stores.offline.page(&owner, rows[1].id, 10).await.unwrap();
    assert_eq!(after.messages, rows[2..]);
}

async fn drops_up_to_an_id_and_never_uses_it_again(stores: &Stores) {
    let owner = account(stores, "drop@offline.example").await;
    let stage: Stage = (0..3).map(|n| store(&owner, vec![n])).collect();
    put(stores, stage).await.unwrap();
    let before = everything(stores, &owner).await;
    let drop = |up_to| Write::DropOffline { owner: owner.clone(), up_to };
    put(stores, drop(before[1].id)).await.unwrap();
    assert_eq!(everything(stores, &owner).await, before[2..]);
    put(stores, drop(u64::MAX)).await.unwrap();
    assert_eq!(stores.offline.usage(&owner).await, Ok(Usage::default()));
    put(stores, store(&owner, *b"new")).await.unwrap();
    put(stores, drop(before[2].id)).await.unwrap();
    let rows = everything(stores, &owner).await;
    assert_eq!(rows.len(), 1, "a late drop takes nothing that came after it");
    let ids = vec![rows[0].id, u64::MAX, 0];
    put(stores, Write::DropOfflineIds { owner: owner.clone(), ids }).await.unwrap();
    assert_eq!(everything(stores, &owner).await, []);
}

async fn finds_what_is_overdue(stores: &Stores) {
    let host = "overdue.offline.example";
    for (name, received) in [("b", vec![10, 30]), ("a", vec![20]), ("c", vec![30]), ("d", vec![])] {
        let owner = account(stores, &format!("{name}@{host}")).await;
        for received_ms in received {
            let body = b"<message/>".to_vec().into();
            let write = Write::StoreOffline { owner: owner.clone(), received_ms, body };
            put(stores, write).await.unwrap();
        }
    }
    let [a, b, c] = ["a", "b", "c"].map(|name| jid(&format!("{name}@{host}")));
    let overdue = |before_ms, after| stores.offline.overdue(host, before_ms, after);
    assert_eq!(overdue(10, None).await, Ok(vec![]));
    assert_eq!(overdue(21, None).await, Ok(vec![a.clone(), b.clone()]));
    assert_eq!(overdue(21, Some(&a)).await, Ok(vec![b]));
    assert_eq!(overdue(i64::MAX, Some(&a)).await.unwrap().last(), Some(&c));
    assert_eq!(stores.offline.overdue("other.example", 21, None).await, Ok(vec![]));
}

async fn ends_pages_by_rows_and_bytes(stores: &Stores) {
    let owner = account(stores, "pages@offline.example").await;
    let big = PAGE_BYTES_MAX / 2 + 1;
    for bytes in [1, big, big, 1, big * 3, 1] {
        put(stores, store(&owner, vec![b' '; bytes])).await.unwrap();
    }
    let mut sizes = Vec::new();
    let mut after = Some(0);
    while let Some(from) = after {
        let page = stores.offline.page(&owner, from, 2).await.unwrap();
        sizes.push(page.messages.len());
        after = page.next;
    }
    assert_eq!(sizes, [2, 2, 1, 1]);
    let page = stores.offline.page(&owner, 0, u32::MAX).await.unwrap();
    assert_eq!(page.messages.len(), 3, "ends once the bytes are reached");
    assert_eq!(page.next, page.messages.last().map(|row| row.id));
    let one = stores.offline.page(&owner, 0, 0).await.unwrap();
    assert_eq!(one.messages.len(), 1, "no page before the end is empty");
}

async fn lets_the_last_stand_before_others(stores: &Stores) {
    let owner = account(stores, "advance@offline.example").await;
    let other = account(stores, "other@offline.example").await;
    put(stores, store(&other, *b"other")).await.unwrap();
    for stanza in ["handed", "late 1", "late 2"] {
        put(stores, store(&owner, stanza)).await.unwrap();
    }
    let before = everything(stores, &owner).await;
    let behind = before[0].id;
    let advance = |count| Write::AdvanceOffline { owner: owner.clone(), behind, count };
    let stage = [store(&owner, "early 1"), store(&owner, "early 2"), advance(2)];
    put(stores, stage.into_iter().collect::<Stage>()).await.unwrap();
    let rows = everything(stores, &owner).await;
    let order = ["handed", "early 1", "early 2", "late 1", "late 2"];
    assert!(rows.iter().map(|row| row.stanza.as_slice()).eq(order.map(str::as_bytes)));
    assert_eq!(rows[0], before[0]);
    assert!(before[1..].iter().all(|old| rows.iter().all(|row| row.id != old.id)));
    for count in [0, 5, 9] {
        put(stores, advance(count)).await.unwrap();
        assert_eq!(everything(stores, &owner).await, rows, "there is nothing to move");
    }
    assert_eq!(everything(stores, &other).await.len(), 1);
}

async fn keeps_accounts_apart(stores: &Stores) {
    let romeo = account(stores, "romeo@offline.example").await;
    let juliet = account(stores, "juliet@offline.example").await;
    put(stores, store(&romeo, *b"r")).await.unwrap();
    put(stores, store(&juliet, *b"j")).await.unwrap();
    let theirs = everything(stores, &juliet).await;
    put(stores, Write::DropOffline { owner: romeo.clone(), up_to: u64::MAX }).await.unwrap();
    let ids = vec![theirs[0].id];
    put(stores, Write::DropOfflineIds { owner: romeo.clone(), ids }).await.unwrap();
    put(stores, Write::PutAsideOffline { owner: romeo, id: theirs[0].id }).await.unwrap();
    assert_eq!(everything(stores, &juliet).await, theirs);
}

async fn puts_aside(stores: &Stores) {
    let owner = account(stores, "aside@offline.example").await;
    let stage: Stage = (0..3).map(|n| store(&owner, vec![n])).collect();
    put(stores, stage).await.unwrap();
    let rows = everything(stores, &owner).await;
    let aside = Write::PutAsideOffline { owner: owner.clone(), id: rows[1].id };
    put(stores, aside.clone()).await.unwrap();
    put(stores, aside).await.unwrap();
    assert_eq!(everything(stores, &owner).await, [rows[0].clone(), rows[2].clone()]);
    assert_eq!(stores.offline.usage(&owner).await.unwrap().count, 2);
}

async fn keeps_nothing_for_nobody(stores: &Stores) {
    let nobody = jid("nobody@offline.example");
    assert_eq!(put(stores, store(&nobody, *b"x")).await, Err(StoreError::NoAccount));
    assert_eq!(stores.offline.page(&nobody, 0, 10).await, Ok(OfflinePage::default()));
    assert_eq!(stores.offline.usage(&nobody).await, Ok(Usage::default()));
}

async fn keeps_what_was_on_its_way(stores: &Stores) {
    let owner = account(stores, "given@offline.example").await;
    let gone = account(stores, "gone@offline.example").await;
    let give = |owner: &BareJid, number, text: &str| {
        let stanza = text.as_bytes().into();
        Write::Give { owner: owner.clone(), number, received_ms: 7, stanza }
    };
    put(stores, store(&owner, *b"waits")).await.unwrap();
    let stage = [give(&owner, 9, "third"), give(&gone, 4, "x"), give(&owner, 5, "first")];
    put(stores, stage.into_iter().collect::<Stage>()).await.unwrap();
    put(
        stores,
        [give(&owner, 7, "taken"), give(&owner, 8, "second")].into_iter().collect::<Stage>(),
    )
    .await
    .unwrap();
    for number in [7, 70] {
        put(stores, Write::DropGiven { number }).await.unwrap();
    }
    put(stores, Write::DeleteAccount { owner: gone }).await.unwrap();
    assert_eq!(everything(stores, &owner).await.len(), 1, "it is not there yet");
    for _ in 0..2 {
        put(stores, Write::KeepGiven).await.unwrap();
        let rows = everything(stores, &owner).await;
        let texts: Vec<&[u8]> = rows.iter().map(|row| &row.stanza[..]).collect();
        assert_eq!(texts, [&b"waits"[..], b"first", b"second", b"third"]);
        assert!(rows[1..].iter().all(|row| row.received_ms == 7));
    }
    put(stores, give(&owner, 11, "forgotten")).await.unwrap();
    stores.offline.forget(&owner).await.unwrap();
    put(stores, Write::KeepGiven).await.unwrap();
    assert_eq!(everything(stores, &owner).await, []);
}
