//! Nothing is announced that no test exercises: `features.txt` says where each feature is.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use stentor_engine::Settings;
use stentor_testkit::{Client, World};
use stentor_xml::ElementRef;

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

/// RFC 4505; XEP-0313 §6.1: archives, and all else that is stored, are announced only where they are.
#[tokio::test]
async fn what_takes_an_account_is_not_announced_to_visitors() {
    let settings = Settings { is_anonymous: true, ..Settings::default() };
    let world = World::with(settings, "");
    let mut visitor = world.connect("guest@capulet.example/x").await;
    let (features, identities) = disco(&mut visitor, "guest@capulet.example").await;
    let expected = [
        "http://jabber.org/protocol/disco#info",
        "http://jabber.org/protocol/disco#items",
        "jabber:iq:last",
        "jabber:iq:roster",
        "urn:xmpp:carbons:2",
        "urn:xmpp:carbons:rules:0",
        "urn:xmpp:ping",
        "urn:xmpp:sid:0",
    ];
    assert_eq!(features, expected);
    assert_eq!(identities, ["account/anonymous"]);
    let (features, _) = disco(&mut visitor, "capulet.example").await;
    assert!(features.contains(&"jabber:iq:version".to_owned()), "{features:?}");
    for stored in ["msgoffline", "jabber:iq:private", "urn:xmpp:blocking", "vcard-temp"] {
        assert!(!features.contains(&stored.to_owned()), "{features:?}");
    }
}

/// What the server and an account say of themselves.
async fn announced() -> BTreeSet<String> {
    let world = World::new();
    world.add_account("romeo@montague.example").await;
    let mut romeo = world.connect("romeo@montague.example/orchard").await;
    let mut features = BTreeSet::new();
    for whom in ["montague.example", "romeo@montague.example"] {
        features.extend(disco(&mut romeo, whom).await.0);
    }
    assert!(features.len() > 20, "{features:?}");
    features
}

/// Features, and categories with types.
async fn disco(client: &mut Client, whom: &str) -> (Vec<String>, Vec<String>) {
    let ask = "<query xmlns='http://jabber.org/protocol/disco#info'/>";
    client.send(&format!("<iq type='get' id='d' to='{whom}'>{ask}</iq>")).await;
    let answer = client.receive().unwrap();
    let query = answer.children().next().unwrap();
    let attr = |child: ElementRef<'_>, name| child.attr(name).unwrap().into_owned();
    let of = |name: &'static str| query.children().filter(move |child| child.name() == name);
    let features = of("feature").map(|feature| attr(feature, "var")).collect();
    let identity = |child| format!("{}/{}", attr(child, "category"), attr(child, "type"));
    (features, of("identity").map(identity).collect())
}

fn lines() -> impl Iterator<Item = [&'static str; 3]> {
    let lines = include_str!("features.txt").lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.splitn(3, " | ").collect::<Vec<_>>().try_into().unwrap())
}
