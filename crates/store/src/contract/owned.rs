//! Taking an account along, and removing it.

use stentor_jid::BareJid;

use crate::contract::archive::entry;
use crate::contract::{account, jid, keys, pubsub, put};
use crate::limits::PAGE_BYTES_MAX;
use crate::{
    KeyHash, LastRow, Owned, PartyKind, RosterChanges, RosterData, RosterRow, Stage, StoreError,
    Stores, Subscription, Usage, Write,
};

/// Runs the suite.
pub async fn suite(stores: &Stores) {
    an_export_rebuilds_the_account(stores).await;
    forgetting_a_domain_leaves_the_others(stores).await;
    deleting_leaves_nothing_for_a_namesake(stores).await;
}

/// The writes that give an account something in every domain.
pub fn full_account(owner: &BareJid) -> Vec<Write> {
    let owner = || owner.clone();
    let friend = jid("friend@owned.example");
    let item = RosterRow { subscription: Subscription::To, ..RosterRow::new(friend.clone()) };
    let contact = jid("former@owned.example");
    let status = Some("Gone".into());
    let kept = vec![b' '; PAGE_BYTES_MAX / 2 + 1];
    let mut writes = vec![
        Write::CreateAccount {
            owner: owner(),
            created_ms: 5,
            keys: vec![keys(KeyHash::Sha1, 1), keys(KeyHash::Sha512, 2)],
        },
        Write::SetSuspended { owner: owner(), is_suspended: true },
        Write::RemoveRoster { owner: owner(), contact, version: 20 },
        Write::PutRoster { owner: owner(), item, version: 21 },
        Write::ForgetRosterBefore { owner: owner(), version: 19 },
        Write::PutRequest { owner: owner(), from: friend, stanza: b"<presence/>".to_vec() },
    ];
    for id in 1..3 {
        writes.push(Write::PutArchive { owner: owner(), entry: entry(id, "a@b.example", "kept") });
    }
    for received_ms in 0..4 {
        let body = kept.clone().into();
        writes.push(Write::StoreOffline { owner: owner(), received_ms, body });
    }
    for name in ["a", "b", "c", "d"] {
        let (ns, xml) = ("urn:x".into(), kept.clone());
        writes.push(Write::PutPrivate { owner: owner(), ns, name: name.into(), xml });
    }
    writes.push(Write::PutVcard { owner: owner(), xml: b"<vCard/>".to_vec() });
    writes.push(Write::PutLast { owner: owner(), last: LastRow { at_ms: 9, status } });
    let (kind, key) = ("blocklist".into(), String::from("tybalt@capulet.example"));
    writes.push(Write::PutData { owner: owner(), kind, key, value: kept });
    let friend = pubsub::party("friend@owned.example", PartyKind::Subscription, "subscribed");
    let big = "x".repeat(PAGE_BYTES_MAX / 2 + 1);
    let items = (1..4_u64).map(|seq| pubsub::item(&format!("item-{seq}"), seq, &big));
    for change in [pubsub::node("config"), friend].into_iter().chain(items) {
        writes.push(pubsub::write(&owner(), "urn:example:node", change));
    }
    writes
}

/// All pages of all domains.
pub async fn export(stores: &Stores, owner: &BareJid) -> Vec<Write> {
    let mut writes = Vec::new();
    for (name, domain) in stores.owned() {
        let mut after = Some(0);
        while let Some(from) = after {
            let page = domain.export(owner, from).await.unwrap();
            let bytes: usize = page.writes.iter().map(Write::bytes_len).sum();
            assert!(bytes <= PAGE_BYTES_MAX * 2, "a page of {name} has {bytes} bytes");
            writes.extend(page.writes);
            after = page.next;
        }
    }
    writes
}

async fn an_export_rebuilds_the_account(stores: &Stores) {
    let owner = jid("export@owned.example");
    assert_eq!(export(stores, &owner).await, []);
    let original = full_account(&owner);
    put(stores, original.iter().cloned().collect::<Stage>()).await.unwrap();
    let exported = export(stores, &owner).await;
    assert_eq!(exported, original);
    stores.accounts.forget(&owner).await.unwrap();
    assert_eq!(export(stores, &owner).await, []);
    put(stores, exported.into_iter().collect::<Stage>()).await.unwrap();
    assert_eq!(export(stores, &owner).await, original);
    assert_eq!(stores.roster.changes(&owner, 18).await, Ok(RosterChanges::Unknown));
    assert_ne!(stores.roster.changes(&owner, 19).await, Ok(RosterChanges::Unknown));
}

async fn forgetting_a_domain_leaves_the_others(stores: &Stores) {
    let owner = jid("forget@owned.example");
    put(stores, full_account(&owner).into_iter().collect::<Stage>()).await.unwrap();
    let domains: [(&dyn Owned, usize); 8] = [
        (&*stores.archive, 2),
        (&*stores.roster, 3),
        (&*stores.offline, 4),
        (&*stores.private, 4),
        (&*stores.vcard, 1),
        (&*stores.last, 1),
        (&*stores.data, 1),
        (&*stores.pubsub, 5),
    ];
    let mut left = export(stores, &owner).await.len();
    for (domain, rows) in domains {
        domain.forget(&owner).await.unwrap();
        left -= rows;
        assert_eq!(export(stores, &owner).await.len(), left);
    }
    assert_eq!(left, 3, "the account, its state and the roster's version stay");
    let nobody = jid("nobody@owned.example");
    assert_eq!(stores.vcard.forget(&nobody).await, Err(StoreError::NoAccount));
    assert_eq!(stores.accounts.forget(&nobody).await, Err(StoreError::NoAccount));
}

async fn deleting_leaves_nothing_for_a_namesake(stores: &Stores) {
    let owner = jid("namesake@owned.example");
    put(stores, full_account(&owner).into_iter().collect::<Stage>()).await.unwrap();
    put(stores, Write::DeleteAccount { owner: owner.clone() }).await.unwrap();
    // Staged before its sender knew of the deletion.
    let late = Write::StoreOffline { owner: owner.clone(), received_ms: 0, body: vec![1].into() };
    assert_eq!(put(stores, late).await, Err(StoreError::NoAccount));
    account(stores, "namesake@owned.example").await;
    assert_eq!(stores.accounts.keys(&owner, KeyHash::Sha1).await, Ok(None));
    let fresh = RosterData { version: 7, ..RosterData::default() };
    assert_eq!(stores.roster.load(&owner).await, Ok(fresh));
    assert_eq!(stores.archive.usage(&owner).await, Ok(Usage::default()));
    assert_eq!(stores.offline.usage(&owner).await, Ok(Usage::default()));
    assert_eq!(stores.private.usage(&owner).await, Ok(Usage::default()));
    assert_eq!(stores.vcard.load(&owner).await, Ok(None));
    assert_eq!(stores.last.load(&owner).await, Ok(None));
    assert_eq!(stores.data.usage(&owner, "blocklist").await, Ok(Usage::default()));
    assert_eq!(stores.pubsub.nodes(&owner).await, Ok(Vec::new()));
    assert!(!stores.accounts.load(&owner).await.unwrap().unwrap().is_suspended);
}
