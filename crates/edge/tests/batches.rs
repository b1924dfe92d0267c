//! What was sent at once is dealt with at once, and answered in few writes.

#![allow(clippy::unwrap_used)]

mod support;

use std::net::SocketAddr;
use std::sync::Arc;

use stentor_edge::limits::{BATCH_STANZAS_MAX, PART_BYTES_MAX};
use stentor_edge::{C2sListener, Driver, Link, Shared};
use stentor_testkit::{Wire, World};
use stentor_transport::{Conn, Pipe, Writes};
use support::Server;

async fn listener() -> Arc<C2sListener> {
    let world = World::new();
    Server::create_accounts(&world).await;
    Arc::new(C2sListener::in_clear(Arc::new(Shared::new(world.engine.clone()))))
}

/// Somebody over a connection in memory, and what the server writes to them.
async fn enter(listener: &Arc<C2sListener>, user: &str, domain: &str) -> (Wire, Writes) {
    let (mine, theirs) = Pipe::pair(1 << 24);
    let writes = mine.writes();
    let peer = SocketAddr::from(([192, 0, 2, 1], 5222));
    let permit = listener.shared.admission.admit(peer.ip()).unwrap();
    let link = Link::new(listener.clone(), peer, permit);
    tokio::spawn(Driver::new(Conn::piped(theirs, peer), link));
    let mut wire = Wire::new(Conn::piped(mine, peer));
    wire.sign_in(user, domain, "secret").await.unwrap();
    wire.write("<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>")
        .unwrap();
    wire.frame().await.unwrap();
    (wire, writes)
}

async fn juliet() -> (Wire, Writes) {
    enter(&listener().await, "juliet", "capulet.example").await
}

/// Sends these requests at once; all are answered, in order. How many writes that took.
async fn ask(wire: &mut Wire, writes: &Writes, requests: &[String]) -> usize {
    let before = writes.count();
    wire.write(&requests.concat()).unwrap();
    for (index, request) in requests.iter().enumerate() {
        let answer = wire.frame().await.unwrap();
        assert_eq!(answer.root().attr("type").as_deref(), Some("result"), "{request}");
        assert_eq!(answer.root().attr("id").as_deref(), Some(&*index.to_string()));
    }
    writes.count() - before
}

fn ping(id: usize) -> String {
    format!("<iq type='get' id='{id}'><ping xmlns='urn:xmpp:ping'/></iq>")
}

#[tokio::test]
async fn answers_to_what_was_read_at_once_leave_in_one_write() {
    let (mut wire, writes) = juliet().await;
    let pings: Vec<String> = (0..20).map(ping).collect();
    assert_eq!(ask(&mut wire, &writes, &pings).await, 1);
}

#[tokio::test]
async fn whoever_sends_more_than_one_batch_is_answered_as_well() {
    let (mut wire, writes) = juliet().await;
    let pings: Vec<String> = (0..2_000).map(ping).collect();
    let count = ask(&mut wire, &writes, &pings).await;
    assert!((2_000 / BATCH_STANZAS_MAX..200).contains(&count), "{count} writes");
}

#[tokio::test]
async fn long_answers_are_written_before_more_is_asked_for() {
    let (mut wire, writes) = juliet().await;
    let text = "x".repeat(200_000);
    let keep = format!(
        "<iq type='set' id='0'><query xmlns='jabber:iq:private'>\
         <notes xmlns='urn:example:notes'>{text}</notes></query></iq>"
    );
    ask(&mut wire, &writes, &[keep]).await;
    let recall = |id| {
        format!(
            "<iq type='get' id='{id}'><query xmlns='jabber:iq:private'>\
             <notes xmlns='urn:example:notes'/></query></iq>"
        )
    };
    // Together they are more than may ever wait for a session.
    let requests: Vec<String> = (0..30).map(recall).collect();
    assert!(ask(&mut wire, &writes, &requests).await >= 30);
}

#[tokio::test]
async fn others_have_their_turn_between_the_parts_of_a_long_stanza() {
    let listener = listener().await;
    let (mut juliet, to_juliet) = enter(&listener, "juliet", "capulet.example").await;
    let (mut romeo, to_romeo) = enter(&listener, "romeo", "montague.example").await;
    juliet.write("<presence/>").unwrap();
    juliet.frame().await.unwrap();
    let (before, text) = (to_juliet.count(), "x".repeat(200_000));
    let to = "juliet@capulet.example";
    romeo.write(&format!("<message to='{to}' type='chat'><body>{text}</body></message>")).unwrap();
    let parts = text.len().div_ceil(PART_BYTES_MAX);
    // As a task: what a test awaits itself has a turn once for dozens of theirs.
    let asking = tokio::spawn(async move {
        let mut amid = 0;
        while to_juliet.count() - before < parts {
            amid += usize::from(to_juliet.count() > before);
            ask(&mut romeo, &to_romeo, &[ping(0)]).await;
        }
        amid
    });
    let amid = asking.await.unwrap();
    assert!(amid > 1, "{amid}");
    assert!(juliet.frame().await.unwrap().root().child("jabber:client", "body").is_some());
}
