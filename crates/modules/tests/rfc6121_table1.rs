//! RFC 6121 §8.5.4, Table 1, cell by cell: every type of message, every form of address, every kind
//! of set of resources, both rules of delivery.

#![allow(clippy::unwrap_used)]

use stentor_engine::Settings;
use stentor_engine::host::Delivery;
use stentor_jid::BareJid;
use stentor_testkit::{Client, World};

#[derive(Clone, Copy, Debug, PartialEq)]
enum To {
    Bare,
    /// The resource of this number.
    Full(usize),
    NoMatch,
}

#[derive(Debug, PartialEq)]
enum Fate {
    /// These resources have it, once each.
    Delivered(Vec<usize>),
    Stored,
    Returned,
    Silence,
}

/// What each resource is: connected, or available with a priority.
const RESOURCES: &[&[Option<i8>]] = &[
    &[],
    &[None],
    &[Some(-1)],
    &[Some(-1), Some(-128), None],
    &[Some(0)],
    &[Some(127)],
    &[Some(5), None],
    &[Some(0), Some(-1)],
    &[Some(5), Some(5)],
    &[Some(1), Some(5), Some(-1)],
    &[Some(126), Some(127)],
    &[Some(3), Some(3), Some(0), Some(-2), None],
];
/// None stands for no attribute, which means `normal` (§5.2.2).
const TYPES: &[Option<&str>] =
    &[None, Some("normal"), Some("chat"), Some("groupchat"), Some("headline"), Some("error")];

/// The table, with what we chose where it leaves a choice: O of O/E, E of S/E, and M or A as the
/// operator says.
fn expected(kind: &str, to: To, resources: &[Option<i8>], rule: Delivery) -> Fate {
    let of = |least: i8| -> Vec<usize> {
        (0..resources.len()).filter(|i| resources[*i].is_some_and(|p| p >= least)).collect()
    };
    let top = resources.iter().flatten().copied().max().filter(|p| *p >= 0);
    match (to, kind, top) {
        (To::Full(n), _, _) => Fate::Delivered(vec![n]),
        // §8.5.2.1.1, §8.5.2.2.1, §8.5.3.2.1.
        (_, "error", _) | (To::Bare, "headline", None) => Fate::Silence,
        (_, "groupchat", _) | (To::NoMatch, "normal" | "headline", _) => Fate::Returned,
        (_, "headline", Some(_)) => Fate::Delivered(of(0)),
        (_, _, None) => Fate::Stored,
        (_, _, Some(top)) => Fate::Delivered(of(if rule == Delivery::All { 0 } else { top })),
    }
}

#[tokio::test]
async fn every_cell_is_as_the_table_says() {
    let mut cells = 0;
    for rule in [Delivery::MostAvailable, Delivery::All] {
        for resources in RESOURCES {
            let settings = Settings { delivery: rule, ..Settings::default() };
            let world = World::with(settings, "");
            cells += every_message(&world, resources, rule).await;
        }
    }
    assert_eq!(cells, 564);
}

async fn every_message(world: &World, resources: &[Option<i8>], rule: Delivery) -> usize {
    world.add_account("juliet@capulet.example").await;
    world.add_account("romeo@montague.example").await;
    let mut romeo = world.connect("romeo@montague.example/orchard").await;
    let mut juliets = Vec::new();
    for (n, resource) in resources.iter().enumerate() {
        let mut juliet = world.connect(&format!("juliet@capulet.example/r{n}")).await;
        if let Some(priority) = resource {
            juliet.send(&format!("<presence><priority>{priority}</priority></presence>")).await;
        }
        juliets.push(juliet);
    }
    let mut forms = vec![To::Bare, To::NoMatch];
    forms.extend((0..resources.len()).map(To::Full));
    let mut cells = 0;
    for kind in TYPES {
        for to in &forms {
            let fate = send(world, &mut romeo, &mut juliets, *kind, *to).await;
            let expected = expected(kind.unwrap_or("normal"), *to, resources, rule);
            assert_eq!(fate, expected, "{kind:?} {to:?} {resources:?} {rule:?}");
            cells += 1;
        }
    }
    cells
}

async fn send(
    world: &World,
    romeo: &mut Client,
    juliets: &mut [Client],
    kind: Option<&str>,
    to: To,
) -> Fate {
    juliets.iter_mut().for_each(|j| drop(j.receive_all()));
    let owner = BareJid::new("juliet@capulet.example").unwrap();
    let before = world.stores().offline.usage(&owner).await.unwrap().count;
    let address = match to {
        To::Bare => String::from("juliet@capulet.example"),
        To::Full(n) => format!("juliet@capulet.example/r{n}"),
        To::NoMatch => String::from("juliet@capulet.example/elsewhere"),
    };
    let kind_attr = kind.map(|k| format!(" type='{k}'")).unwrap_or_default();
    let content = if kind == Some("error") { ERROR } else { "<body>Hello</body>" };
    romeo.send(&format!("<message id='m1' to='{address}'{kind_attr}>{content}</message>")).await;
    let stored = world.stores().offline.usage(&owner).await.unwrap().count - before;
    let mut delivered = Vec::new();
    for (n, juliet) in juliets.iter_mut().enumerate() {
        for stanza in juliet.receive_all() {
            // §8.5.2.1.1: the address stays as it was sent.
            assert_eq!(stanza.head.to.as_ref().unwrap().as_str(), address);
            assert_eq!(stanza.head.from.as_ref().unwrap().as_str(), romeo.jid());
            assert_eq!(stanza.head.id.as_deref(), Some("m1"));
            delivered.push(n);
        }
    }
    let returned = romeo.receive_all();
    if let [error] = &returned[..] {
        let text = String::from_utf8(error.to_bytes()).unwrap();
        assert!(text.contains("type='cancel'><service-unavailable "), "{text}");
        assert!(text.contains("id='m1'") && text.contains("type='error'"), "{text}");
        assert_eq!(error.head.from.as_ref().unwrap().as_str(), address);
    }
    match (delivered.is_empty(), stored, returned.len()) {
        (false, 0, 0) => Fate::Delivered(delivered),
        (true, 1, 0) => Fate::Stored,
        (true, 0, 1) => Fate::Returned,
        (true, 0, 0) => Fate::Silence,
        other => panic!("{other:?} {kind:?} {to:?}"),
    }
}

const ERROR: &str = "<error type='cancel'><item-not-found \
    xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>";

#[tokio::test]
async fn accounts_that_do_not_exist_return_messages_or_are_silent() {
    for (is_silent, kind, to, expected) in [
        (false, "normal", "nobody@capulet.example", 1),
        (false, "chat", "nobody@capulet.example", 1),
        (false, "groupchat", "nobody@capulet.example", 1),
        (false, "headline", "nobody@capulet.example", 0),
        (false, "error", "nobody@capulet.example", 0),
        (false, "normal", "nobody@capulet.example/r", 1),
        (false, "chat", "nobody@capulet.example/r", 1),
        (true, "normal", "nobody@capulet.example", 0),
        (true, "chat", "nobody@capulet.example/r", 0),
        (false, "headline", "nobody@capulet.example/r", 1),
        // As for an account without resources: what that returns is returned here.
        (true, "groupchat", "nobody@capulet.example", 1),
        (true, "headline", "nobody@capulet.example", 0),
        (true, "normal", "nobody@capulet.example/r", 1),
    ] {
        let settings = Settings { unknown_account_silent: is_silent, ..Settings::default() };
        let world = World::with(settings, "");
        world.add_account("romeo@montague.example").await;
        let mut romeo = world.connect("romeo@montague.example/orchard").await;
        let content = if kind == "error" { ERROR } else { "<body>Hello</body>" };
        romeo.send(&format!("<message to='{to}' type='{kind}'>{content}</message>")).await;
        assert_eq!(romeo.receive_all().len(), expected, "{is_silent} {kind} {to}");
    }
}
