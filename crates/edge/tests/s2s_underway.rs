//! What was acknowledged for another server is in the store until that has it, and outlives the
//! process.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use stentor_edge::s2s::Policy;
use stentor_stanza::{Condition, ErrorType};
use stentor_store::Stores;
use stentor_store_sqlite::{Options, Sqlite};

use self::servers::peer::Peer;
use self::servers::{Half, PATIENCE, Plan, Server, User, alone, route};

mod servers;

async fn burst(user: &mut User, ids: std::ops::Range<usize>) {
    for n in ids {
        let to = "to='user@two.example' type='chat'";
        user.say(&format!("<message {to} id='{n}'><body>{n}</body></message>")).await;
    }
}

/// `one.example` and a typed peer at `two.example`.
struct Typed {
    one: Server,
    two: Half,
    _stop: tokio::sync::watch::Sender<bool>,
}

impl Typed {
    async fn new() -> Self {
        let (first, two) = (Half::new("one.example"), Half::new("two.example"));
        let (authorities, routes) = (two.authority(), vec![two.route()]);
        let plan = Plan { authorities, routes, ..Plan::default() };
        let (one, _stop) = alone(first, plan).await;
        Self { one, two, _stop }
    }

    /// Accepts the server's stream and has it authorized.
    async fn accept(&self, features: &str) -> Peer {
        accept(&self.two, features).await
    }
}

async fn accept(two: &Half, features: &str) -> Peer {
    let mut peer = Peer::accept_authorized(&two.listener, &two.ca, "two.example").await;
    peer.say(&format!("<stream:features>{features}</stream:features>")).await;
    if !features.is_empty() {
        peer.hear("<enable xmlns='urn:xmpp:sm:3' resume='true'/>").await;
        peer.say("<enabled xmlns='urn:xmpp:sm:3'/>").await;
    }
    peer
}

const MANAGED: &str = "<sm xmlns='urn:xmpp:sm:3'/>";

/// The ids of what is in the store.
async fn ids(stores: &Stores) -> Vec<String> {
    stores.writer.barrier().await.unwrap();
    let page = stores.underway.page(0, 100).await.unwrap();
    let id = |bytes: &[u8]| {
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        text.split_once("id='").unwrap().1.split_once('\'').unwrap().0.to_owned()
    };
    page.stanzas.iter().map(|row| id(&row.stanza)).collect()
}

/// Waits until the store holds these.
async fn until_kept(server: &Server, expected: &[&str]) {
    let wait = async {
        while ids(&server.engine.stores).await != expected {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap();
    assert_eq!(server.links.kept(), expected.len());
}

#[tokio::test]
async fn a_message_is_in_the_store_until_the_other_server_says_that_it_has_it() {
    let typed = Typed::new().await;
    let mut here = typed.one.user().await;
    here.count().await;
    burst(&mut here, 0..3).await;
    until_kept(&typed.one, &["0", "1", "2"]).await;
    let mut peer = typed.accept(MANAGED).await;
    peer.hear("id='2'").await;
    peer.say("<a xmlns='urn:xmpp:sm:3' h='2'/>").await;
    until_kept(&typed.one, &["2"]).await;
    // A stream that ends leaves it there, and the next brings it.
    peer.say("</stream:stream>").await;
    peer.hear("</stream:stream>").await;
    drop(peer);
    let mut peer = typed.accept(MANAGED).await;
    let came = peer.hear("id='2'").await;
    assert!(!came.contains("id='1'"), "{came}");
    until_kept(&typed.one, &["2"]).await;
    peer.say("<a xmlns='urn:xmpp:sm:3' h='1'/>").await;
    until_kept(&typed.one, &[]).await;
}

#[tokio::test]
async fn for_a_server_that_does_not_count_it_is_until_the_socket_has_it() {
    let typed = Typed::new().await;
    let mut here = typed.one.user().await;
    here.count().await;
    burst(&mut here, 0..3).await;
    until_kept(&typed.one, &["0", "1", "2"]).await;
    let mut peer = typed.accept("").await;
    peer.hear("id='2'").await;
    until_kept(&typed.one, &[]).await;
}

// XEP-0288, XEP-0198: whoever opened the stream may still have said that it counts.
#[tokio::test]
async fn what_went_back_on_a_stream_that_broke_before_it_was_counted_comes_again() {
    let typed = Typed::new().await;
    let mut here = typed.one.user().await;
    here.count().await;
    let mut peer = Peer::external(&typed.one, &typed.two.ca, "two.example").await;
    let to = "from='user@two.example/x' to='user@one.example/here' type='chat' id='first'";
    peer.say(&format!("<message {to}><body>first</body></message>")).await;
    here.hear_message().await;
    burst(&mut here, 0..2).await;
    peer.hear("id='1'").await;
    until_kept(&typed.one, &["0", "1"]).await;
    drop(peer);
    let mut peer = typed.accept(MANAGED).await;
    let came = peer.hear("id='1'").await;
    assert!(came.contains("id='0'"), "{came}");
    until_kept(&typed.one, &["0", "1"]).await;
    peer.say("<a xmlns='urn:xmpp:sm:3' h='2'/>").await;
    until_kept(&typed.one, &[]).await;
}

#[tokio::test]
async fn the_next_process_brings_it_once_and_in_order_and_before_anything_newer() {
    let (first, two) = (Half::new("one.example"), Half::new("two.example"));
    let stores = Sqlite::in_memory(&Options::default()).unwrap().stores();
    // The first never reaches the other.
    let routes = vec![route("two.example", "127.0.0.1:1".parse().unwrap())];
    let plan = Plan { stores: Some(stores.clone()), routes, ..Plan::default() };
    let (one, stop) = alone(first, plan).await;
    let mut here = one.user().await;
    here.count().await;
    burst(&mut here, 0..20).await;
    let kept: Vec<String> = (0..20).map(|n| n.to_string()).collect();
    assert_eq!(ids(&stores).await, kept);
    // A stop takes as little as a kill.
    one.links.drain().await;
    assert!(here.has_heard_all(), "nothing comes back of what will be sent");
    assert_eq!(ids(&stores).await, kept);
    drop((here, one, stop));

    let first = Half::new("one.example");
    let (authorities, routes) = (two.authority(), vec![two.route()]);
    let plan = Plan { stores: Some(stores.clone()), authorities, routes, ..Plan::default() };
    let (one, _stop) = alone(first, plan).await;
    assert_eq!(one.engine.restore_underway().await, Ok(20));
    let mut here = one.user().await;
    burst(&mut here, 20..21).await;
    let mut peer = accept(&two, MANAGED).await;
    let came = peer.hear("id='20'").await;
    let said = came.split("<message ").skip(1).map(|message| {
        message.split_once("id='").unwrap().1.split_once('\'').unwrap().0.parse::<usize>().unwrap()
    });
    assert_eq!(said.collect::<Vec<_>>(), (0..21).collect::<Vec<_>>());
    peer.say("<a xmlns='urn:xmpp:sm:3' h='21'/>").await;
    until_kept(&one, &[]).await;
}

#[tokio::test]
async fn what_comes_back_leaves_the_store() {
    let (first, stores) = (Half::new("one.example"), Sqlite::in_memory(&Options::default()));
    let stores = stores.unwrap().stores();
    let routes = vec![route("two.example", "127.0.0.1:1".parse().unwrap())];
    let policy = Policy { hold_ms: 50, back_off_ms: 10, ..Policy::default() };
    let plan = Plan { stores: Some(stores.clone()), policy, routes, ..Plan::default() };
    let (one, _stop) = alone(first, plan).await;
    let mut here = one.user().await;
    here.count().await;
    burst(&mut here, 0..1).await;
    let error = here.hear_message().await;
    let condition = error.error().unwrap();
    assert_eq!(condition.condition, Condition::RemoteServerTimeout);
    assert_eq!(condition.kind, ErrorType::Wait);
    until_kept(&one, &[]).await;
}
