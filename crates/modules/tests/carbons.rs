//! Which messages are copied (XEP-0280 §6.1), walked as a table with three sessions on each side.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use parking_lot::Mutex;
use stentor_engine::{Links, Pressure};
use stentor_stanza::{Condition, Stanza, StanzaError};
use stentor_testkit::{Client, World};

/// A message, whether it is copied on the recipient's side, and whether on the sender's.
const KINDS: &[(&str, bool, bool)] = &[
    ("<message type='chat'><body>x</body></message>", true, true),
    ("<message><body>x</body></message>", true, true),
    ("<message type='chat'/>", true, true),
    ("<message><ticket xmlns='urn:example:shop'/></message>", false, false),
    ("<message><received xmlns='urn:xmpp:receipts' id='m'/></message>", true, true),
    ("<message type='headline'><received xmlns='urn:xmpp:receipts' id='m'/></message>", true, true),
    ("<message><composing xmlns='http://jabber.org/protocol/chatstates'/></message>", true, true),
    ("<message><displayed xmlns='urn:xmpp:chat-markers:0' id='m'/></message>", true, true),
    ("<message type='headline'><body>x</body></message>", false, false),
    ("<message><x xmlns='jabber:x:conference' jid='room@muc.example'/></message>", true, true),
    (
        "<message><x xmlns='http://jabber.org/protocol/muc#user'><invite to='a@b.example'/></x>\
         </message>",
        true,
        true,
    ),
    (
        "<message type='chat'><body>x</body><x xmlns='http://jabber.org/protocol/muc#user'/>\
         </message>",
        false,
        true,
    ),
    (
        "<message type='chat'><body>x</body><private xmlns='urn:xmpp:carbons:2'/></message>",
        false,
        false,
    ),
    (
        "<message type='chat'><body>x</body><no-copy xmlns='urn:xmpp:hints'/></message>",
        false,
        false,
    ),
    (
        "<message type='error'><error type='cancel'>\
         <gone xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>",
        false,
        false,
    ),
];

// covers: xep-04
#[tokio::test]
async fn s6_1_every_kind_of_message_is_copied_or_not_and_nobody_gets_it_twice() {
    let world = World::new();
    let [mut romeo, mut juliet] = both(&world).await;
    for (kind, is_received_copied, is_sent_copied) in KINDS {
        for to in ["juliet@capulet.example/1", "juliet@capulet.example"] {
            let is_bare = !to.contains('/');
            if is_bare && (kind.contains("error") || kind.contains("headline")) {
                continue;
            }
            romeo[0].send(&kind.replacen("<message", &format!("<message to='{to}'"), 1)).await;
            let got: Vec<_> = juliet.iter_mut().map(counts).collect();
            let copied = u32::from(*is_received_copied);
            // The second session is the one of the highest priority, the third asked for nothing.
            let expected =
                if is_bare { [(0, copied), (1, 0), (0, 0)] } else { [(1, 0), (0, copied), (0, 0)] };
            assert_eq!(got, expected, "{kind} to {to}");
            let got: Vec<_> = romeo.iter_mut().map(counts).collect();
            let expected = [(0, 0), (0, u32::from(*is_sent_copied)), (0, 0)];
            assert_eq!(got, expected, "{kind} by the sender to {to}");
        }
    }
    for client in romeo.iter_mut().chain(&mut juliet) {
        client.send("<iq type='set' id='d'><disable xmlns='urn:xmpp:carbons:2'/></iq>").await;
        client.receive_all();
    }
    romeo[0]
        .send("<message type='chat' to='juliet@capulet.example/1'><body>x</body></message>")
        .await;
    assert_eq!(juliet.iter_mut().map(counts).collect::<Vec<_>>(), [(1, 0), (0, 0), (0, 0)]);
    assert_eq!(romeo.iter_mut().map(counts).collect::<Vec<_>>(), [(0, 0); 3]);
    romeo[0]
        .send("<iq type='get' id='i' to='montague.example'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>")
        .await;
    let info = String::from_utf8(romeo[0].receive().unwrap().to_bytes()).unwrap();
    assert!(info.contains("'urn:xmpp:carbons:2'") && info.contains("'urn:xmpp:carbons:rules:0'"));
}

#[tokio::test]
async fn s6_1_an_error_is_copied_where_what_it_answers_was() {
    let world = World::new();
    let [mut romeo, mut juliet] = both(&world).await;
    for (id, content, answered, copies) in [
        ("a", "type='chat'><body>x</body>", "a", 1),
        ("b", "type='chat'><body>x</body>", "other", 0),
        ("c", "type='normal'><x xmlns='urn:example:x'/>", "c", 0),
        ("d", "type='headline'><body>x</body>", "d", 0),
        ("e", "type='headline'><received xmlns='urn:xmpp:receipts' id='a'/>", "e", 1),
    ] {
        romeo[0]
            .send(&format!("<message id='{id}' to='juliet@capulet.example/1' {content}</message>"))
            .await;
        for client in romeo.iter_mut().chain(&mut juliet) {
            client.receive_all();
        }
        juliet[0]
            .send(&format!(
                "<message id='{answered}' to='romeo@montague.example/1' type='error'>\
                 <error type='cancel'><gone xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>\
                 </message>"
            ))
            .await;
        let got: Vec<_> = romeo.iter_mut().map(counts).collect();
        assert_eq!(got, [(1, 0), (0, copies), (0, 0)], "{content}");
        let got: Vec<_> = juliet.iter_mut().map(counts).collect();
        assert_eq!(got, [(0, 0), (0, copies), (0, 0)], "{content} by the sender");
    }
}

/// Servers that cannot be reached: one shows that at once, the others later.
#[derive(Default)]
struct Unreachable(Mutex<Vec<Stanza>>);

impl Links for Unreachable {
    fn push(&self, stanza: Stanza) -> Result<Pressure, StanzaError> {
        if stanza.head.to.as_ref().unwrap().domain() == "nowhere.example" {
            return Err(StanzaError::new(Condition::RemoteServerNotFound));
        }
        self.0.lock().push(stanza);
        Ok(Pressure::Low)
    }
}

#[tokio::test]
async fn s6_1_an_error_is_copied_where_the_message_could_not_leave() {
    let world = World::new();
    let links = Arc::new(Unreachable::default());
    world.engine.connect_links(links.clone());
    let mut romeo = devices(&world, "romeo@montague.example").await;
    for domain in ["far.example", "nowhere.example"] {
        let chat = "type='chat'><body>x</body></message>";
        romeo[0].send(&format!("<message id='m' to='juliet@{domain}/1' {chat}")).await;
        for sent in links.0.lock().drain(..) {
            world.engine.bounce(&sent, &StanzaError::new(Condition::RemoteServerTimeout));
        }
        let got: Vec<_> = romeo.iter_mut().map(counts).collect();
        assert_eq!(got, [(1, 0), (0, 2), (0, 0)], "{domain}");
    }
}

#[tokio::test]
async fn groupchat_messages_are_not_copied() {
    let world = World::new();
    let [mut romeo, mut juliet] = both(&world).await;
    romeo[0]
        .send("<message type='groupchat' to='juliet@capulet.example/1'><body>x</body></message>")
        .await;
    assert_eq!(juliet.iter_mut().map(counts).collect::<Vec<_>>(), [(1, 0), (0, 0), (0, 0)]);
    assert_eq!(romeo.iter_mut().map(counts).collect::<Vec<_>>(), [(0, 0); 3]);
}

/// RFC 6121 §8.5.2.1.1, XEP-0160 §2: a session of negative priority, or without presence, is as if it
/// were not there; what is kept for it comes later, and was not copied to it before.
#[tokio::test]
async fn what_is_stored_is_copied_to_nobody_and_comes_once() {
    for (before, after) in [("", "<presence/>"), (AWAY, "<presence/>")] {
        let world = World::new();
        let [mut romeo, _] = both(&world).await;
        world.add_account("nurse@capulet.example").await;
        let mut nurse = world.connect("nurse@capulet.example/1").await;
        nurse.send("<iq type='set' id='e'><enable xmlns='urn:xmpp:carbons:2'/></iq>").await;
        if !before.is_empty() {
            nurse.send(before).await;
        }
        nurse.receive_all();
        for to in ["nurse@capulet.example", "nurse@capulet.example/gone"] {
            let message = format!("<message type='chat' to='{to}'><body>x</body></message>");
            romeo[0].send(&message).await;
        }
        assert_eq!(counts(&mut nurse), (0, 0), "{before}");
        // What nobody keeps for later is shown as before.
        romeo[0]
            .send(
                "<message type='chat' to='nurse@capulet.example'>\
                 <composing xmlns='http://jabber.org/protocol/chatstates'/></message>",
            )
            .await;
        assert_eq!(counts(&mut nurse), (0, 1), "{before}");
        nurse.send(after).await;
        let came = nurse.receive_all();
        let messages = came.iter().filter(|stanza| stanza.message_type().is_some());
        let stored = messages.filter(|m| m.has_child("urn:xmpp:delay", "delay")).count();
        assert_eq!(stored, 2, "{before}");
        let copies = came.iter().filter(|s| s.has_child("urn:xmpp:carbons:2", "received"));
        assert_eq!(copies.count(), 0, "{before}");
    }
}

const AWAY: &str = "<presence><priority>-1</priority></presence>";

async fn both(world: &World) -> [[Client; 3]; 2] {
    [devices(world, "romeo@montague.example").await, devices(world, "juliet@capulet.example").await]
}

/// Three sessions; the second has the highest priority, and the third wants no copies.
async fn devices(world: &World, account: &str) -> [Client; 3] {
    world.add_account(account).await;
    let mut clients = Vec::new();
    for n in 1..=3 {
        let mut client = world.connect(&format!("{account}/{n}")).await;
        if n < 3 {
            client.send("<iq type='set' id='e'><enable xmlns='urn:xmpp:carbons:2'/></iq>").await;
        }
        let priority = if n == 2 { 5 } else { 1 };
        client.send(&format!("<presence><priority>{priority}</priority></presence>")).await;
        clients.push(client);
    }
    for client in &mut clients {
        client.receive_all();
    }
    clients.try_into().ok().unwrap()
}

/// Messages and copies that came; a copy must be from the account's bare address.
fn counts(client: &mut Client) -> (u32, u32) {
    let mut counts = (0, 0);
    let own = client.jid();
    for stanza in client.receive_all() {
        if stanza.children().all(|c| c.ns() != "urn:xmpp:carbons:2" || c.name() == "private") {
            counts.0 += 1;
            continue;
        }
        let from = stanza.head.from.as_ref().unwrap();
        assert_eq!(Some(from.as_str()), own.split('/').next());
        assert_eq!(stanza.head.to.as_ref().unwrap().as_str(), own);
        counts.1 += 1;
    }
    counts
}
