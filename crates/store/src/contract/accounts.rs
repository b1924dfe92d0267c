//! Accounts and hosts.

use crate::contract::{account, jid, keys, put};
use crate::{AccountRow, HostRow, KeyHash, StoreError, Stores, Write};

/// Runs the suite.
pub async fn suite(stores: &Stores) {
    creates_once(stores).await;
    replaces_all_keys(stores).await;
    adds_keys_of_one_hash(stores).await;
    suspends(stores).await;
    lists_by_host_in_pages(stores).await;
    keeps_hosts(stores).await;
}

async fn creates_once(stores: &Stores) {
    let owner = jid("creates@accounts.example");
    assert_eq!(stores.accounts.load(&owner).await, Ok(None));
    let create = |created_ms, fill| Write::CreateAccount {
        owner: owner.clone(),
        created_ms,
        keys: vec![keys(KeyHash::Sha1, fill), keys(KeyHash::Sha256, fill)],
    };
    put(stores, create(-5, 1)).await.unwrap();
    assert_eq!(put(stores, create(9, 2)).await, Err(StoreError::Conflict));
    let row = AccountRow { owner: owner.clone(), created_ms: -5, is_suspended: false };
    assert_eq!(stores.accounts.load(&owner).await, Ok(Some(row)));
    let found = stores.accounts.keys(&owner, KeyHash::Sha256).await;
    assert_eq!(found, Ok(Some(keys(KeyHash::Sha256, 1))));
    assert_eq!(stores.accounts.keys(&owner, KeyHash::Sha512).await, Ok(None));
}

async fn replaces_all_keys(stores: &Stores) {
    let owner = account(stores, "keys@accounts.example").await;
    let set = |keys| Write::SetKeys { owner: owner.clone(), keys };
    put(stores, set(vec![keys(KeyHash::Sha1, 1), keys(KeyHash::Sha256, 1)])).await.unwrap();
    put(stores, set(vec![keys(KeyHash::Sha256, 2)])).await.unwrap();
    assert_eq!(stores.accounts.keys(&owner, KeyHash::Sha1).await, Ok(None));
    let found = stores.accounts.keys(&owner, KeyHash::Sha256).await;
    assert_eq!(found, Ok(Some(keys(KeyHash::Sha256, 2))));
    let twice = set(vec![keys(KeyHash::Sha1, 3), keys(KeyHash::Sha1, 4)]);
    assert_eq!(put(stores, twice).await, Err(StoreError::Conflict));
    let found = stores.accounts.keys(&owner, KeyHash::Sha256).await;
    assert_eq!(found, Ok(Some(keys(KeyHash::Sha256, 2))), "a failed change leaves the keys");
    let nobody = Write::SetKeys { owner: jid("nobody@accounts.example"), keys: Vec::new() };
    assert_eq!(put(stores, nobody).await, Err(StoreError::NoAccount));
}

async fn adds_keys_of_one_hash(stores: &Stores) {
    let owner = account(stores, "more-keys@accounts.example").await;
    let set = Write::SetKeys { owner: owner.clone(), keys: vec![keys(KeyHash::Sha1, 1)] };
    put(stores, set).await.unwrap();
    for fill in [2, 3] {
        let keys = keys(KeyHash::Sha256, fill);
        put(stores, Write::PutKeys { owner: owner.clone(), keys: keys.clone() }).await.unwrap();
        assert_eq!(stores.accounts.keys(&owner, KeyHash::Sha256).await, Ok(Some(keys)));
    }
    let found = stores.accounts.keys(&owner, KeyHash::Sha1).await;
    assert_eq!(found, Ok(Some(keys(KeyHash::Sha1, 1))), "the others stay");
    let hashes = stores.accounts.hashes(&owner).await;
    assert_eq!(hashes, Ok(vec![KeyHash::Sha1, KeyHash::Sha256]));
    let nobodys = stores.accounts.hashes(&jid("nobody@accounts.example")).await;
    assert_eq!(nobodys, Ok(Vec::new()));
    let owner = jid("nobody@accounts.example");
    let nobody = Write::PutKeys { owner, keys: keys(KeyHash::Sha1, 1) };
    assert_eq!(put(stores, nobody).await, Err(StoreError::NoAccount));
}

async fn suspends(stores: &Stores) {
    let owner = account(stores, "suspended@accounts.example").await;
    for is_suspended in [true, false] {
        put(stores, Write::SetSuspended { owner: owner.clone(), is_suspended }).await.unwrap();
        let row = stores.accounts.load(&owner).await.unwrap().unwrap();
        assert_eq!(row.is_suspended, is_suspended);
    }
}

async fn lists_by_host_in_pages(stores: &Stores) {
    for name in ["b@list.example", "a@list.example", "c@list.example", "z@other.example"] {
        account(stores, name).await;
    }
    assert_eq!(stores.accounts.count("list.example").await, Ok(3));
    assert_eq!(stores.accounts.count("nothing.example").await, Ok(0));
    let mut seen = Vec::new();
    let mut after = None;
    loop {
        let page = stores.accounts.list("list.example", after.as_ref(), 2).await.unwrap();
        assert!(page.len() <= 2);
        let Some(last) = page.last() else { break };
        after = Some(last.owner.clone());
        seen.extend(page.into_iter().map(|row| row.owner.to_string()));
    }
    assert_eq!(seen, ["a@list.example", "b@list.example", "c@list.example"]);
}

async fn keeps_hosts(stores: &Stores) {
    let host = |name: &str, is_enabled| HostRow {
        name: name.into(),
        profile: "default".into(),
        is_enabled,
        created_ms: 3,
    };
    for row in [host("b.example", true), host("a.example", true), host("a.example", false)] {
        put(stores, Write::PutHost(row)).await.unwrap();
    }
    assert_eq!(stores.hosts.load("a.example").await, Ok(Some(host("a.example", false))));
    assert_eq!(stores.hosts.load("c.example").await, Ok(None));
    assert_eq!(stores.hosts.count().await, Ok(2));
    assert_eq!(stores.hosts.list(None, 1).await, Ok(vec![host("a.example", false)]));
    let rest = stores.hosts.list(Some("a.example"), 9).await;
    assert_eq!(rest, Ok(vec![host("b.example", true)]));
    put(stores, Write::RemoveHost { name: "a.example".into() }).await.unwrap();
    put(stores, Write::RemoveHost { name: "a.example".into() }).await.unwrap();
    assert_eq!(stores.hosts.load("a.example").await, Ok(None));
}
