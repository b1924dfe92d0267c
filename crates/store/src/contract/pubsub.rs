//! Nodes and what is published on them.

use stentor_jid::{BareJid, Jid};

use crate::contract::{account, jid, put};
use crate::{
    NodeChange, NodeItemMark, NodeItemRow, NodeParty, NodeRow, PartyKind, StoreError, Stores, Write,
};

/// Runs the suite.
pub async fn suite(stores: &Stores) {
    keeps_nodes_with_parties_and_items(stores).await;
    an_item_of_the_same_id_takes_the_place_of_the_former(stores).await;
    removes_items_and_nodes(stores).await;
    what_needs_a_node_conflicts_without(stores).await;
    tells_who_has_which_nodes(stores).await;
}

/// An item of the owner's own.
pub fn item(id: &str, seq: u64, payload: &str) -> NodeChange {
    NodeChange::PutItem(NodeItemRow {
        id: id.into(),
        seq,
        at_ms: 7,
        publisher: None,
        payload: payload.into(),
    })
}

/// A node of this configuration.
pub fn node(config: &str) -> NodeChange {
    NodeChange::Put { created_ms: 5, config: config.into() }
}

/// A part in a node.
pub fn party(who: &str, kind: PartyKind, value: &str) -> NodeChange {
    NodeChange::PutParty(NodeParty { jid: Jid::new(who).unwrap(), kind, value: value.into() })
}

/// The write of a change.
pub fn write(owner: &BareJid, node: &str, change: NodeChange) -> Write {
    Write::Node { owner: owner.clone(), node: node.into(), change }
}

fn mark(id: &str, seq: u64, bytes: u64) -> NodeItemMark {
    NodeItemMark { id: id.into(), seq, at_ms: 7, publisher: None, bytes }
}

async fn changes(stores: &Stores, owner: &BareJid, changes: Vec<(&str, NodeChange)>) {
    for (name, change) in changes {
        put(stores, write(owner, name, change)).await.unwrap();
    }
}

async fn keeps_nodes_with_parties_and_items(stores: &Stores) {
    let owner = account(stores, "nodes@pubsub.example").await;
    assert_eq!(stores.pubsub.nodes(&owner).await, Ok(Vec::new()));
    let by = Some(jid("friend@pubsub.example"));
    let payload = b"<b/>".to_vec();
    let foreign = NodeItemRow { id: "y".into(), seq: 2, at_ms: 7, publisher: by.clone(), payload };
    let all = vec![
        ("b", node("one")),
        ("a", node("")),
        ("b", node("two")),
        ("b", party("friend@pubsub.example", PartyKind::Subscription, "pending")),
        ("b", party("friend@pubsub.example", PartyKind::Affiliation, "member")),
        ("b", party("friend@pubsub.example", PartyKind::Subscription, "subscribed")),
        ("b", item("x", 1, "<a/>")),
        ("b", NodeChange::PutItem(foreign.clone())),
        ("b", item("\u{1F600}", 3, "")),
    ];
    changes(stores, &owner, all).await;
    let empty = NodeRow {
        node: "a".into(),
        created_ms: 5,
        config: Vec::new(),
        parties: Vec::new(),
        items: Vec::new(),
    };
    let part = |kind, value: &str| NodeParty {
        jid: Jid::new("friend@pubsub.example").unwrap(),
        kind,
        value: value.into(),
    };
    let full = NodeRow {
        node: "b".into(),
        config: b"two".to_vec(),
        parties: vec![
            part(PartyKind::Affiliation, "member"),
            part(PartyKind::Subscription, "subscribed"),
        ],
        items: vec![
            mark("x", 1, 4),
            NodeItemMark { publisher: by, ..mark("y", 2, 4) },
            mark("\u{1F600}", 3, 0),
        ],
        ..empty.clone()
    };
    assert_eq!(stores.pubsub.nodes(&owner).await, Ok(vec![empty, full]));
    let found = stores.pubsub.items(&owner, "b", &["y", "none", "x"]).await.unwrap();
    assert_eq!(found.iter().map(|row| row.id.as_str()).collect::<Vec<_>>(), ["x", "y"]);
    assert_eq!(found[1], foreign);
    assert_eq!(stores.pubsub.items(&owner, "a", &["x"]).await, Ok(Vec::new()));
}

async fn an_item_of_the_same_id_takes_the_place_of_the_former(stores: &Stores) {
    let owner = account(stores, "again@pubsub.example").await;
    let all = vec![
        ("n", node("")),
        ("n", item("x", 1, "<a/>")),
        ("n", item("y", 2, "<a/>")),
        ("n", item("x", 3, "<long/>")),
    ];
    changes(stores, &owner, all).await;
    let nodes = stores.pubsub.nodes(&owner).await.unwrap();
    assert_eq!(nodes[0].items, [mark("y", 2, 4), mark("x", 3, 7)]);
    let found = stores.pubsub.items(&owner, "n", &["x"]).await.unwrap();
    assert_eq!(found[0].payload, b"<long/>");
}

async fn removes_items_and_nodes(stores: &Stores) {
    let owner = account(stores, "less@pubsub.example").await;
    let kind = PartyKind::Subscription;
    let friend = Jid::new("friend@pubsub.example/r").unwrap();
    let all = vec![
        ("n", node("")),
        ("n", party(friend.as_str(), kind, "subscribed")),
        ("n", item("x", 1, "<a/>")),
        ("n", item("y", 2, "<a/>")),
        ("n", item("z", 3, "<a/>")),
        ("n", NodeChange::RemoveItems(vec!["x".into(), "none".into(), "y".into()])),
        ("n", NodeChange::RemoveParty { jid: friend.clone(), kind }),
        ("n", NodeChange::RemoveParty { jid: friend, kind }),
    ];
    changes(stores, &owner, all).await;
    let nodes = stores.pubsub.nodes(&owner).await.unwrap();
    assert_eq!((nodes[0].parties.len(), nodes[0].items.as_slice()), (0, &[mark("z", 3, 4)][..]));
    changes(stores, &owner, vec![("n", NodeChange::Purge)]).await;
    assert_eq!(stores.pubsub.nodes(&owner).await.unwrap()[0].items, []);
    let all = vec![
        ("n", item("x", 4, "<a/>")),
        ("n", NodeChange::Remove),
        ("n", NodeChange::Remove),
        ("n", node("")),
    ];
    changes(stores, &owner, all).await;
    assert_eq!(stores.pubsub.nodes(&owner).await.unwrap()[0].items, []);
}

async fn what_needs_a_node_conflicts_without(stores: &Stores) {
    let owner = account(stores, "none@pubsub.example").await;
    let kind = PartyKind::Affiliation;
    for change in [
        item("x", 1, "<a/>"),
        NodeChange::RemoveItems(vec!["x".into()]),
        NodeChange::Purge,
        party("friend@pubsub.example", kind, "member"),
    ] {
        assert_eq!(put(stores, write(&owner, "n", change)).await, Err(StoreError::Conflict));
    }
    let nobody = jid("nobody@pubsub.example");
    assert_eq!(put(stores, write(&nobody, "n", node(""))).await, Err(StoreError::NoAccount));
}

async fn tells_who_has_which_nodes(stores: &Stores) {
    let one = account(stores, "one@pubsub.example").await;
    let two = account(stores, "two@pubsub.example").await;
    changes(stores, &one, vec![("tune", node("")), ("nick", node(""))]).await;
    changes(stores, &two, vec![("tune", node(""))]).await;
    let both = [two.clone(), jid("nobody@pubsub.example"), one.clone()];
    let having = |nodes: &[&str]| stores.pubsub.having(&both, nodes);
    assert_eq!(having(&["nick", "mood"]).await, Ok(vec![one.clone()]));
    assert_eq!(having(&["nick", "tune"]).await, Ok(vec![one, two.clone()]));
    assert_eq!(having(&[]).await, Ok(Vec::new()));
    assert_eq!(stores.pubsub.having(std::slice::from_ref(&two), &["tune"]).await, Ok(vec![two]));
}
