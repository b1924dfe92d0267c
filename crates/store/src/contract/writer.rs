//! The writer over a real backend.

use crate::contract::{account, jid, put};
use crate::{Counters, Stage, StoreError, Stores, Ticket, Write};

/// Runs the suite. It leaves the writer running.
pub async fn suite(stores: &Stores) {
    commits_in_the_order_of_submission(stores).await;
    a_failing_stage_fails_alone_and_whole(stores).await;
    a_barrier_makes_writes_visible(stores).await;
}

async fn commits_in_the_order_of_submission(stores: &Stores) {
    let owner = account(stores, "order@writer.example").await;
    let before = Counters::read(&stores.writer.counters().stages_committed);
    let tickets: Vec<Ticket> = (0..400_i64)
        .map(|received_ms| {
            let body = received_ms.to_be_bytes().to_vec().into();
            stores.writer.submit(Write::StoreOffline { owner: owner.clone(), received_ms, body })
        })
        .collect();
    for ticket in tickets {
        assert_eq!(ticket.await, Ok(()));
    }
    let page = stores.offline.page(&owner, 0, 400).await.unwrap();
    assert!(page.messages.iter().map(|row| row.received_ms).eq(0..400));
    let after = Counters::read(&stores.writer.counters().stages_committed);
    assert_eq!(after - before, 400);
}

async fn a_failing_stage_fails_alone_and_whole(stores: &Stores) {
    let owner = account(stores, "neighbours@writer.example").await;
    let nobody = jid("nobody@writer.example");
    let kept = |received_ms| Write::StoreOffline {
        owner: owner.clone(),
        received_ms,
        body: Vec::new().into(),
    };
    let expected = |n: i64| match n % 10 {
        3 => Err(StoreError::NoAccount),
        7 => Err(StoreError::Conflict),
        _ => Ok(()),
    };
    let stage = |n: i64| -> Stage {
        let last = match n % 10 {
            3 => Write::DropOffline { owner: nobody.clone(), up_to: 1 },
            7 => Write::CreateAccount { owner: owner.clone(), created_ms: n, keys: Vec::new() },
            _ => kept(n + 1_000),
        };
        [kept(n), last].into_iter().collect()
    };
    let tickets: Vec<Ticket> = (0..100).map(|n| stores.writer.submit(stage(n))).collect();
    for (n, ticket) in (0..).zip(tickets) {
        assert_eq!(ticket.await, expected(n), "stage {n}");
    }
    let page = stores.offline.page(&owner, 0, 400).await.unwrap();
    let found = page.messages.iter().map(|row| row.received_ms);
    let good = (0..100).filter(|n| expected(*n).is_ok());
    assert!(found.eq(good.flat_map(|n| [n, n + 1_000])));
}

async fn a_barrier_makes_writes_visible(stores: &Stores) {
    let owner = account(stores, "barrier@writer.example").await;
    for n in 0..50 {
        let xml = format!("<vCard>{n}</vCard>").into_bytes();
        drop(stores.writer.submit(Write::PutVcard { owner: owner.clone(), xml: xml.clone() }));
        assert_eq!(stores.writer.barrier().await, Ok(()));
        assert_eq!(stores.vcard.load(&owner).await, Ok(Some(xml)));
    }
    assert_eq!(put(stores, Stage::new()).await, Ok(()));
}
