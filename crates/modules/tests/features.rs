//! Nothing is announced that no test exercises: `features.txt` says where each feature is.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use stentor_testkit::World;

#[tokio::test]
async fn every_announced_feature_is_exercised_by_a_test() {
    let announced = announced().await;
    let listed: BTreeSet<String> = lines().map(|[feature, ..]| feature.to_owned()).collect();
    let unheard_of: Vec<_> = announced.difference(&listed).collect();
    assert!(unheard_of.is_empty(), "announced, and no test is named: {unheard_of:#?}");
    let gone: Vec<_> = listed.difference(&announced).collect();
    assert!(gone.is_empty(), "named, and not announced: {gone:#?}");
    for [feature, file, text] in lines() {
        let path = format!("{}/tests/{file}", env!("CARGO_MANIFEST_DIR"));
        let test = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
        assert!(test.contains(text), "{feature}: {file} does not have {text}");
    }
}

/// What the server and an account say of themselves.
async fn announced() -> BTreeSet<String> {
    let world = World::new();
    world.add_account("romeo@montague.example").await;
    let mut romeo = world.connect("romeo@montague.example/orchard").await;
    let mut features = BTreeSet::new();
    for whom in ["montague.example", "romeo@montague.example"] {
        let ask = "<query xmlns='http://jabber.org/protocol/disco#info'/>";
        romeo.send(&format!("<iq type='get' id='d' to='{whom}'>{ask}</iq>")).await;
        let answer = romeo.receive().unwrap();
        let query = answer.children().next().unwrap();
        let found = query.children().filter(|child| child.name() == "feature");
        features.extend(found.map(|feature| feature.attr("var").unwrap().into_owned()));
    }
    assert!(features.len() > 20, "{features:?}");
    features
}

fn lines() -> impl Iterator<Item = [&'static str; 3]> {
    let lines = include_str!("features.txt").lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.splitn(3, " | ").collect::<Vec<_>>().try_into().unwrap())
}
