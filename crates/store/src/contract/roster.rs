//! Rosters: items, versions, requests.

use stentor_jid::BareJid;

use crate::contract::{account, jid, put};
use crate::limits::ROSTER_TOMBSTONES_MAX;
use crate::{
    RequestRow, RosterChange, RosterChanges, RosterData, RosterRow, Stage, StoreError, Stores,
    Subscription, Write,
};

/// Runs the suite.
pub async fn suite(stores: &Stores) {
    keeps_every_field(stores).await;
    tells_what_a_version_lacks(stores).await;
    refuses_a_version_that_goes_back(stores).await;
    knows_no_version_before_the_first_change(stores).await;
    forgets_old_removals(stores).await;
    keeps_requests_in_order(stores).await;
}

fn put_item(owner: &BareJid, item: RosterRow, version: u64) -> Write {
    Write::PutRoster { owner: owner.clone(), item, version }
}

fn removal(owner: &BareJid, contact: &str, version: u64) -> Write {
    Write::RemoveRoster { owner: owner.clone(), contact: jid(contact), version }
}

fn item(contact: &str) -> RosterRow {
    RosterRow::new(jid(contact))
}

async fn keeps_every_field(stores: &Stores) {
    let owner = account(stores, "fields@roster.example").await;
    let fresh = RosterData { version: 7, ..RosterData::default() };
    assert_eq!(stores.roster.load(&owner).await, Ok(fresh), "the account was made at 7 ms");
    assert_eq!(stores.roster.load(&jid("nobody@roster.example")).await, Ok(RosterData::default()));
    let full = RosterRow {
        contact: jid("Ω@roster.example"),
        name: Some("Ω & \"Σ\"".into()),
        subscription: Subscription::From,
        is_asking: true,
        is_approved: true,
        groups: vec!["b".into(), "a, \"c\"".into(), String::new()],
    };
    put(stores, put_item(&owner, full.clone(), 1)).await.unwrap();
    put(stores, put_item(&owner, item("a@roster.example"), 2)).await.unwrap();
    for subscription in Subscription::ALL {
        let item = RosterRow { subscription, ..item("a@roster.example") };
        put(stores, put_item(&owner, item.clone(), 2)).await.unwrap();
        let found = stores.roster.item(&owner, &item.contact).await;
        assert_eq!(found, Ok(Some(item)));
    }
    let data = stores.roster.load(&owner).await.unwrap();
    assert_eq!(data.version, 2);
    let last = RosterRow { subscription: Subscription::Both, ..item("a@roster.example") };
    assert_eq!(data.items, [last, full]);
    assert_eq!(stores.roster.item(&owner, &jid("b@roster.example")).await, Ok(None));
}

async fn tells_what_a_version_lacks(stores: &Stores) {
    let owner = account(stores, "versions@roster.example").await;
    let stage: Stage = [
        put_item(&owner, item("a@roster.example"), 1),
        put_item(&owner, item("b@roster.example"), 2),
        put_item(&owner, item("c@roster.example"), 3),
        removal(&owner, "b@roster.example", 4),
        put_item(&owner, item("a@roster.example"), 7),
    ]
    .into_iter()
    .collect();
    put(stores, stage).await.unwrap();
    let put_a = (7, RosterChange::Put(item("a@roster.example")));
    let put_c = (3, RosterChange::Put(item("c@roster.example")));
    let gone = (4, RosterChange::Removed(jid("b@roster.example")));
    let since = |changes| Ok(RosterChanges::Since { changes, version: 7 });
    assert_eq!(stores.roster.changes(&owner, 7).await, since(vec![]));
    assert_eq!(stores.roster.changes(&owner, 5).await, since(vec![put_a.clone()]));
    assert_eq!(stores.roster.changes(&owner, 3).await, since(vec![gone.clone(), put_a.clone()]));
    assert_eq!(stores.roster.changes(&owner, 0).await, since(vec![put_c, gone, put_a]));
    assert_eq!(stores.roster.changes(&owner, 8).await, Ok(RosterChanges::Unknown));
    assert_eq!(stores.roster.changes(&owner, u64::MAX).await, Ok(RosterChanges::Unknown));
    // Added again, it is no longer among the removed.
    put(stores, put_item(&owner, item("b@roster.example"), 8)).await.unwrap();
    let back = vec![(8, RosterChange::Put(item("b@roster.example")))];
    let expected = RosterChanges::Since { changes: back, version: 8 };
    assert_eq!(stores.roster.changes(&owner, 7).await, Ok(expected));
}

async fn refuses_a_version_that_goes_back(stores: &Stores) {
    let owner = account(stores, "back@roster.example").await;
    put(stores, put_item(&owner, item("a@roster.example"), 5)).await.unwrap();
    let stale = put_item(&owner, item("b@roster.example"), 4);
    assert_eq!(put(stores, stale).await, Err(StoreError::Conflict));
    let stale = removal(&owner, "a@roster.example", 4);
    assert_eq!(put(stores, stale).await, Err(StoreError::Conflict));
    let endless = put_item(&owner, item("b@roster.example"), u64::MAX);
    assert_eq!(put(stores, endless).await, Err(StoreError::Conflict));
    let data = stores.roster.load(&owner).await.unwrap();
    assert_eq!((data.version, data.items), (5, vec![item("a@roster.example")]));
}

async fn knows_no_version_before_the_first_change(stores: &Stores) {
    // Made at 7 ms; what a client kept of a deleted account of the same name is older.
    let owner = account(stores, "fresh@roster.example").await;
    let empty = RosterChanges::Since { changes: vec![], version: 7 };
    for kept in [0, 6, 8] {
        assert_eq!(stores.roster.changes(&owner, kept).await, Ok(RosterChanges::Unknown));
    }
    assert_eq!(stores.roster.changes(&owner, 7).await, Ok(empty));
    put(stores, put_item(&owner, item("a@roster.example"), 8)).await.unwrap();
    assert_eq!(stores.roster.changes(&owner, 6).await, Ok(RosterChanges::Unknown));
    let changes = vec![(8, RosterChange::Put(item("a@roster.example")))];
    let first = RosterChanges::Since { changes, version: 8 };
    assert_eq!(stores.roster.changes(&owner, 7).await, Ok(first));
    // An emptied roster goes on counting.
    stores.roster.forget(&owner).await.unwrap();
    assert_eq!(stores.roster.changes(&owner, 8).await, Ok(RosterChanges::Unknown));
    let emptied = RosterData { version: 9, ..RosterData::default() };
    assert_eq!(stores.roster.load(&owner).await, Ok(emptied));
}

async fn forgets_old_removals(stores: &Stores) {
    let owner = account(stores, "tombstones@roster.example").await;
    let removals = u64::from(ROSTER_TOMBSTONES_MAX) + 1;
    let stage: Stage =
        (1..=removals).map(|n| removal(&owner, &format!("c{n}@roster.example"), n)).collect();
    put(stores, stage).await.unwrap();
    assert_eq!(stores.roster.changes(&owner, 0).await, Ok(RosterChanges::Unknown));
    let RosterChanges::Since { changes, .. } = stores.roster.changes(&owner, 1).await.unwrap()
    else {
        panic!("version 1 is the oldest that is known");
    };
    assert_eq!(changes.len(), ROSTER_TOMBSTONES_MAX as usize);
    let forget = Write::ForgetRosterBefore { owner: owner.clone(), version: 50 };
    put(stores, forget).await.unwrap();
    assert_eq!(stores.roster.changes(&owner, 49).await, Ok(RosterChanges::Unknown));
    assert_ne!(stores.roster.changes(&owner, 50).await, Ok(RosterChanges::Unknown));
}

async fn keeps_requests_in_order(stores: &Stores) {
    let owner = account(stores, "requests@roster.example").await;
    let request = |from: &str, stanza: &[u8]| Write::PutRequest {
        owner: owner.clone(),
        from: jid(from),
        stanza: stanza.to_vec(),
    };
    for from in ["z@roster.example", "a@roster.example", "m@roster.example"] {
        put(stores, request(from, b"<presence/>")).await.unwrap();
    }
    put(stores, request("z@roster.example", b"<presence id='2'/>")).await.unwrap();
    let gone = Write::RemoveRequest { owner: owner.clone(), from: jid("a@roster.example") };
    put(stores, gone.clone()).await.unwrap();
    put(stores, gone).await.unwrap();
    let data = stores.roster.load(&owner).await.unwrap();
    let row = |from: &str, stanza: &[u8]| RequestRow { from: jid(from), stanza: stanza.to_vec() };
    let expected =
        [row("z@roster.example", b"<presence id='2'/>"), row("m@roster.example", b"<presence/>")];
    assert_eq!(data.requests, expected);
    assert_eq!((data.version, data.items.len()), (7, 0), "a request changes no roster");
}
