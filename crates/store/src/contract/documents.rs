//! Private documents, vCards, last logouts, small data.

use stentor_jid::BareJid;

use crate::contract::{account, jid, put};
use crate::{DataRow, LastRow, PrivateRow, Stores, Usage, Write};

/// Runs the suite.
pub async fn suite(stores: &Stores) {
    keeps_private_documents_by_root(stores).await;
    keeps_one_vcard(stores).await;
    keeps_the_last_logout(stores).await;
    keeps_small_data_by_kind_and_key(stores).await;
}

async fn keeps_private_documents_by_root(stores: &Stores) {
    let owner = account(stores, "private@documents.example").await;
    let put_one = |ns: &str, name: &str, xml: &[u8]| Write::PutPrivate {
        owner: owner.clone(),
        ns: ns.into(),
        name: name.into(),
        xml: xml.to_vec(),
    };
    for (ns, name, xml) in [("a", "x", "1"), ("b", "x", "22"), ("a", "y", "3"), ("a", "x", "444")] {
        put(stores, put_one(ns, name, xml.as_bytes())).await.unwrap();
    }
    let private = &stores.private;
    assert_eq!(private.load(&owner, "a", "x").await, Ok(Some(b"444".to_vec())));
    assert_eq!(private.load(&owner, "b", "x").await, Ok(Some(b"22".to_vec())));
    assert_eq!(private.load(&owner, "b", "y").await, Ok(None));
    assert_eq!(private.load(&jid("other@documents.example"), "a", "x").await, Ok(None));
    assert_eq!(private.usage(&owner).await, Ok(Usage { count: 3, bytes: 6 }));
    let row = |ns: &str, name: &str, bytes| PrivateRow { ns: ns.into(), name: name.into(), bytes };
    let listed = vec![row("a", "x", 3), row("a", "y", 1), row("b", "x", 2)];
    assert_eq!(private.list(&owner).await, Ok(listed));
}

async fn keeps_one_vcard(stores: &Stores) {
    let owner = account(stores, "vcard@documents.example").await;
    assert_eq!(stores.vcard.load(&owner).await, Ok(None));
    for xml in [b"<vCard>1</vCard>".to_vec(), b"<vCard/>".to_vec()] {
        put(stores, Write::PutVcard { owner: owner.clone(), xml: xml.clone() }).await.unwrap();
        assert_eq!(stores.vcard.load(&owner).await, Ok(Some(xml)));
    }
}

async fn keeps_the_last_logout(stores: &Stores) {
    let owner = account(stores, "last@documents.example").await;
    assert_eq!(stores.last.load(&owner).await, Ok(None));
    for status in [Some(String::from("Gone \u{1F600}")), None] {
        let last = LastRow { at_ms: 1_700_000_000_123, status };
        let write = Write::PutLast { owner: owner.clone(), last: last.clone() };
        put(stores, write).await.unwrap();
        assert_eq!(stores.last.load(&owner).await, Ok(Some(last)));
    }
}

async fn keeps_small_data_by_kind_and_key(stores: &Stores) {
    let owner = account(stores, "data@documents.example").await;
    let other = account(stores, "other-data@documents.example").await;
    let put_one = |owner: &BareJid, kind: &'static str, key: &str, value: &[u8]| Write::PutData {
        owner: owner.clone(),
        kind: kind.into(),
        key: key.into(),
        value: value.to_vec(),
    };
    for (kind, key, value) in [("b", "y", "1"), ("b", "x", "2"), ("a", "x", "3"), ("b", "y", "44")]
    {
        put(stores, put_one(&owner, kind, key, value.as_bytes())).await.unwrap();
    }
    put(stores, put_one(&other, "b", "x", b"5")).await.unwrap();
    let row = |kind: &'static str, key: &str, value: &[u8]| DataRow {
        kind: kind.into(),
        key: key.into(),
        value: value.to_vec(),
    };
    let (ax, bx, by) = (row("a", "x", b"3"), row("b", "x", b"2"), row("b", "y", b"44"));
    let data = &stores.data;
    let both = vec![ax.clone(), bx.clone(), by.clone()];
    assert_eq!(data.of_kinds(&owner, &["b", "a", "none"]).await, Ok(both));
    assert_eq!(data.of_kinds(&owner, &["b"]).await, Ok(vec![bx.clone(), by.clone()]));
    assert_eq!(data.load(&owner, "b", "y").await, Ok(Some(b"44".to_vec())));
    assert_eq!(data.load(&owner, "a", "y").await, Ok(None));
    assert_eq!(data.usage(&owner, "b").await, Ok(Usage { count: 2, bytes: 3 }));
    let all = vec![
        (owner.clone(), bx.clone()),
        (owner.clone(), by.clone()),
        (other.clone(), row("b", "x", b"5")),
    ];
    assert_eq!(data.everyones("b", None).await, Ok(all.clone()));
    let after = Some((owner.clone(), String::from("x")));
    assert_eq!(data.everyones("b", after).await, Ok(all[1..].to_vec()));
    let (kind, key) = ("b".into(), String::from("y"));
    put(stores, Write::RemoveData { owner: owner.clone(), kind, key }).await.unwrap();
    assert_eq!(data.of_kinds(&owner, &["a", "b"]).await, Ok(vec![ax.clone(), bx]));
    put(stores, Write::ClearData { owner: owner.clone(), kind: "b".into() }).await.unwrap();
    assert_eq!(data.of_kinds(&owner, &["a", "b"]).await, Ok(vec![ax]));
}
