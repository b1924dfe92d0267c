//! What was sent at once is dealt with at once, and answered in few writes.

#![allow(clippy::unwrap_used)]

mod support;

use std::net::SocketAddr;
use std::sync::Arc;

use stentor_edge::limits::BATCH_STANZAS_MAX;
use stentor_edge::{C2sListener, Driver, Link, Shared};
use stentor_testkit::{Wire, World};
use stentor_transport::{Conn, Pipe, Writes};
use support::Server;

/// Juliet over a connection in memory, and what the server writes to her.
async fn juliet() -> (Wire, Writes) {
    let world = World::new();
    Server::create_accounts(&world).await;
    let shared = Arc::new(Shared::new(world.engine.clone()));
    let listener = Arc::new(C2sListener::in_clear(shared));
    let (mine, theirs) = Pipe::pair(1 << 24);
    let writes = mine.writes();
    let peer = SocketAddr::from(([192, 0, 2, 1], 5222));
    let permit = listener.shared.admission.admit(peer.ip()).unwrap();
    tokio::spawn(Driver::new(Conn::piped(theirs, peer), Link::new(listener, peer, permit)));
    let mut wire = Wire::new(Conn::piped(mine, peer));
    wire.sign_in("juliet", "capulet.example", "secret").await.unwrap();
    wire.write("<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>")
        .unwrap();
    wire.frame().await.unwrap();
    (wire, writes)
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
