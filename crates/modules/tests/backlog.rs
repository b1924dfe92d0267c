//! Stored messages and what can come between: large stores, slow and failing ones, sessions that
//! end in the middle, messages that come meanwhile (XEP-0160 §2, RFC 6120 §10.1).

#![allow(clippy::unwrap_used)]

#[path = "support/offline.rs"]
mod offline;

use std::sync::atomic::Ordering;
use std::time::Duration;

use offline::{Switch, switched};
use stentor_engine::{Close, Handling, Item, Settings};
use stentor_jid::BareJid;
use stentor_stanza::{MessageType, Stanza};
use stentor_store::Write;
use stentor_testkit::{Client, World};

const JULIET: &str = "juliet@capulet.example";

#[tokio::test]
async fn two_hundred_messages_of_three_senders_come_in_the_order_in_which_they_were_taken() {
    let world = world().await;
    let mut senders = Vec::new();
    for n in 0..3 {
        world.add_account(&format!("s{n}@montague.example")).await;
        senders.push(world.connect(&format!("s{n}@montague.example/r")).await);
    }
    for n in 0..200 {
        write(&mut senders[n % 3], n, JULIET, "").await;
    }
    let mut juliet = log_in(&world, "r").await;
    assert_eq!(ids(&juliet.receive_all()), (0..200).collect::<Vec<_>>());
    assert!(senders.iter_mut().all(|s| s.receive_all().is_empty()));
    assert_eq!(stored(&world).await, 0);
}

#[tokio::test]
async fn a_session_that_breaks_in_the_middle_leaves_the_rest_for_the_next() {
    let world = world().await;
    let mut romeo = romeo(&world).await;
    for n in 0..200 {
        write(&mut romeo, n, JULIET, "").await;
    }
    let mut juliet = log_in(&world, "r").await;
    // Presence first; 70 messages go on to the end of the second page.
    let first = ids(&juliet.receive_up_to(70));
    assert_eq!(first, (0..128).collect::<Vec<_>>());
    juliet.cut().await;
    let mut juliet = log_in(&world, "r").await;
    assert_eq!(ids(&juliet.receive_all()), (128..200).collect::<Vec<_>>());
    assert_eq!(stored(&world).await, 0);
}

#[tokio::test]
async fn what_another_session_holds_unread_does_not_leave_the_store() {
    let world = world().await;
    let mut romeo = romeo(&world).await;
    write(&mut romeo, 1, JULIET, "").await;
    // The first session is handed the message, reads nothing, and wants no more.
    let mut first = log_in(&world, "a").await;
    first.send("<presence><priority>-1</priority></presence>").await;
    write(&mut romeo, 2, JULIET, "").await;
    let mut second = log_in(&world, "b").await;
    assert_eq!(ids(&second.receive_all()), [2]);
    assert_eq!(stored(&world).await, 1);
    first.cut().await;
    handed(&world).await;
    assert_eq!(ids(&second.receive_all()), [1]);
    assert_eq!(stored(&world).await, 0);
}

#[tokio::test]
async fn messages_that_come_meanwhile_queue_up_behind_those_stored() {
    let (world, switch) = switched_world().await;
    let mut romeo = romeo(&world).await;
    write(&mut romeo, 1, JULIET, "").await;
    switch.close_gate();
    let mut juliet = world.connect("juliet@capulet.example/r").await;
    let mut other = world.connect("juliet@capulet.example/other").await;
    begin(&juliet);
    write(&mut romeo, 2, JULIET, "").await;
    write(&mut romeo, 3, "juliet@capulet.example/r", "").await;
    // To another resource nothing is in the way; a message that may not be stored does not wait.
    write(&mut romeo, 4, "juliet@capulet.example/other", "").await;
    assert_eq!(ids(&other.receive_all()), [4]);
    write(&mut romeo, 5, JULIET, "<no-store xmlns='urn:xmpp:hints'/>").await;
    romeo.send(&format!("<message type='chat' id='6' to='{JULIET}'>{COMPOSING}</message>")).await;
    assert_eq!(ids(&juliet.receive_all()), [5, 6]);
    switch.gate.add_permits(10);
    handed(&world).await;
    write(&mut romeo, 7, JULIET, "").await;
    assert_eq!(ids(&juliet.receive_all()), [1, 2, 3, 7]);
    assert!(romeo.receive_all().is_empty());
}

/// What waits for its turn comes to the session that is being handed the rest, and once; others see
/// it at once.
#[tokio::test]
async fn a_message_that_queues_up_is_copied_to_all_but_the_session_that_it_waits_for() {
    let (world, switch) = switched_world().await;
    let mut romeo = romeo(&world).await;
    write(&mut romeo, 1, JULIET, "").await;
    switch.close_gate();
    let [mut juliet, mut other] = [
        world.connect("juliet@capulet.example/r").await,
        world.connect("juliet@capulet.example/other").await,
    ];
    for client in [&mut juliet, &mut other] {
        client.send("<iq type='set' id='c'><enable xmlns='urn:xmpp:carbons:2'/></iq>").await;
        client.receive_all();
    }
    begin(&juliet);
    write(&mut romeo, 2, JULIET, "").await;
    let copies = other.receive_all();
    assert!(copies.len() == 1 && copies[0].has_child("urn:xmpp:carbons:2", "received"));
    switch.gate.add_permits(10);
    handed(&world).await;
    assert_eq!(ids(&juliet.receive_all()), [1, 2]);
    assert!(other.receive_all().is_empty());
}

#[tokio::test]
async fn a_full_store_does_not_keep_messages_from_whoever_is_there() {
    let memory = World::new();
    let (stores, switch) = switched(memory.stores());
    let world = World::over(stores, Settings::default(), "[offline]\nmessages_max = 1");
    world.add_account(JULIET).await;
    let mut romeo = romeo(&world).await;
    write(&mut romeo, 1, JULIET, "").await;
    switch.close_gate();
    let mut juliet = world.connect("juliet@capulet.example/r").await;
    begin(&juliet);
    write(&mut romeo, 2, JULIET, "").await;
    assert_eq!(ids(&juliet.receive_all()), [2]);
    switch.gate.add_permits(1);
    handed(&world).await;
    assert_eq!(ids(&juliet.receive_all()), [1]);
    assert!(romeo.receive_all().is_empty());
}

#[tokio::test]
async fn administrators_are_told_once_a_day_that_an_account_is_full() {
    const NURSE: &str = "nurse@capulet.example";
    let options = format!("[offline]\nmessages_max = 1\n[contact]\nadmin = ['xmpp:{NURSE}']");
    let world = World::with(Settings::default(), &options);
    for account in [JULIET, NURSE] {
        world.add_account(account).await;
    }
    let mut nurse = world.connect(&format!("{NURSE}/hall")).await;
    nurse.send("<presence/>").await;
    let mut romeo = romeo(&world).await;
    for (days, notices) in [(0, 1), (0, 0), (1, 1)] {
        nurse.receive_all();
        world.advance(days * 86_400);
        for n in 1..=2 {
            write(&mut romeo, n, JULIET, "").await;
        }
        let told = nurse.receive_all();
        assert_eq!(told.len(), notices, "{told:?}");
        assert!(told.iter().all(|s| String::from_utf8_lossy(&s.to_bytes()).contains(JULIET)));
    }
    assert_eq!(stored(&world).await, 1);
}

#[tokio::test]
async fn a_session_that_ends_amid_them_leaves_the_messages_to_the_next_session() {
    let (world, switch) = switched_world().await;
    let mut romeo = romeo(&world).await;
    write(&mut romeo, 1, JULIET, "").await;
    switch.close_gate();
    let juliet = world.connect("juliet@capulet.example/r").await;
    begin(&juliet);
    tokio::task::yield_now().await;
    juliet.cut().await;
    // The work for the first is not over when the second comes.
    let mut juliet = world.connect("juliet@capulet.example/r").await;
    drop(juliet.session().handle(Stanza::parse(b"<presence/>").unwrap()));
    assert_eq!(ids(&juliet.receive_all()), [0; 0]);
    switch.gate.add_permits(10);
    handed(&world).await;
    assert_eq!(ids(&juliet.receive_all()), [1]);
}

#[tokio::test]
async fn whoever_is_there_takes_over_when_the_session_ends_that_was_handed_them() {
    let (world, switch) = switched_world().await;
    let mut romeo = romeo(&world).await;
    write(&mut romeo, 1, JULIET, "").await;
    switch.close_gate();
    let first = world.connect("juliet@capulet.example/a").await;
    begin(&first);
    // The second finds the first at work, and gets nothing for now.
    let mut second = log_in(&world, "b").await;
    first.cut().await;
    switch.gate.add_permits(10);
    handed(&world).await;
    assert_eq!(ids(&second.receive_all()), [1]);
}

#[tokio::test(start_paused = true)]
async fn reading_is_tried_again_when_the_store_fails() {
    let (world, switch) = switched_world().await;
    let mut romeo = romeo(&world).await;
    write(&mut romeo, 1, JULIET, "").await;
    switch.failures.store(3, Ordering::Release);
    let mut juliet = log_in(&world, "r").await;
    write(&mut romeo, 2, JULIET, "").await;
    assert_eq!(ids(&juliet.receive_all()), [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_goes_on_failing_keeps_them_for_the_next_presence() {
    let (world, switch) = switched_world().await;
    let mut romeo = romeo(&world).await;
    write(&mut romeo, 1, JULIET, "").await;
    switch.failures.store(1_000, Ordering::Release);
    let mut juliet = log_in(&world, "r").await;
    assert!(ids(&juliet.receive_all()).is_empty());
    switch.failures.store(0, Ordering::Release);
    juliet.send("<presence><show>away</show></presence>").await;
    assert_eq!(ids(&juliet.receive_all()), [1]);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_reads_nothing_is_ended_and_holds_up_nobody() {
    let world = world().await;
    let mut romeo = romeo(&world).await;
    let long = format!("<x xmlns='urn:example:x'>{}</x>", "y".repeat(20_000));
    for n in 0..200 {
        write(&mut romeo, n, JULIET, &long).await;
    }
    let juliet = log_in(&world, "r").await;
    assert_eq!(juliet.session().resource.outbox.closing(), Some(Close::Overflow));
    juliet.cut().await;
    let mut juliet = world.connect("juliet@capulet.example/r").await;
    begin(&juliet);
    let mut got = Vec::new();
    while got.len() < 200 {
        got.extend(ids(&juliet.receive_all()));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(got, (0..200).collect::<Vec<_>>());
    assert_eq!(stored(&world).await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_session_whose_stream_broke_gets_the_rest_in_order_once_it_is_resumed() {
    let world = world().await;
    let mut romeo = romeo(&world).await;
    let long = format!("<x xmlns='urn:example:x'>{}</x>", "y".repeat(20_000));
    for n in 0..200 {
        write(&mut romeo, n, JULIET, &long).await;
    }
    let mut juliet = world.connect("juliet@capulet.example/r").await;
    // What comes behind the rest is not copied to it before (XEP-0280).
    juliet.send("<iq type='set' id='c'><enable xmlns='urn:xmpp:carbons:2'/></iq>").await;
    juliet.receive_all();
    let session = juliet.session().clone();
    let (id, _) = session.enable_sm(true, None).await.unwrap();
    begin(&juliet);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(session.break_off(Vec::new()).is_none());
    // Much longer than a session may read nothing.
    tokio::time::sleep(Duration::from_secs(120)).await;
    handed(&world).await;
    assert_eq!(session.resource.outbox.closing(), None);
    write(&mut romeo, 200, JULIET, "").await;
    write(&mut romeo, 201, "juliet@capulet.example/r", "").await;
    let account = BareJid::new(JULIET).unwrap();
    assert!(world.engine.resume(&account, &id, 0).await.is_ok());
    let (mut got, mut handled) = (Vec::new(), 0);
    while got.len() < 202 {
        while let Some(item) = session.resource.outbox.pop() {
            let Item::Stanza(stanza, ..) = item else { continue };
            handled += 1;
            got.extend(ids(&[stanza]));
        }
        session.acknowledge(handled).unwrap();
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(got, (0..202).collect::<Vec<_>>());
    assert_eq!(stored(&world).await, 0);
}

#[tokio::test(start_paused = true)]
async fn another_session_gets_the_rest_when_the_stream_of_the_first_breaks() {
    let world = world().await;
    let mut romeo = romeo(&world).await;
    let long = format!("<x xmlns='urn:example:x'>{}</x>", "y".repeat(20_000));
    for n in 0..100 {
        write(&mut romeo, n, JULIET, &long).await;
    }
    let mut first = world.connect("juliet@capulet.example/a").await;
    first.session().enable_sm(true, None).await.unwrap();
    begin(&first);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut second = log_in(&world, "b").await;
    assert_eq!(ids(&second.receive_all()), [0; 0], "the other has the right");
    assert!(first.session().break_off(Vec::new()).is_none());
    handed(&world).await;
    let (handed, rest) = (ids(&first.receive_all()), ids(&second.receive_all()));
    assert!(!handed.is_empty() && !rest.is_empty());
    assert_eq!([handed, rest].concat(), (0..100).collect::<Vec<_>>());
}

#[tokio::test]
async fn damaged_records_are_put_aside_and_the_others_delivered() {
    let world = world().await;
    let mut romeo = romeo(&world).await;
    write(&mut romeo, 1, JULIET, "").await;
    for stanza in [b"<message".to_vec(), b"<presence>".to_vec(), b"<odd/>".to_vec()] {
        let owner = BareJid::new(JULIET).unwrap();
        let store = Write::StoreOffline { owner, received_ms: 0, body: stanza.into() };
        world.stores().writer.submit(store).await.unwrap();
    }
    write(&mut romeo, 2, JULIET, "").await;
    let mut juliet = log_in(&world, "r").await;
    assert_eq!(ids(&juliet.receive_all()), [1, 2]);
    assert_eq!(stored(&world).await, 0);
    let account = world.engine.account(&BareJid::new(JULIET).unwrap()).await.unwrap().unwrap();
    let offline = account.lock().offline;
    assert_eq!((offline.count, offline.bytes), (0, 0));
}

const COMPOSING: &str = "<composing xmlns='http://jabber.org/protocol/chatstates'/>";

async fn world() -> World {
    let world = World::new();
    world.add_account(JULIET).await;
    world
}

async fn switched_world() -> (World, std::sync::Arc<Switch>) {
    let memory = World::new();
    let (stores, switch) = switched(memory.stores());
    let world = World::over(stores, Settings::default(), "");
    world.add_account(JULIET).await;
    (world, switch)
}

async fn romeo(world: &World) -> Client {
    world.add_account("romeo@montague.example").await;
    world.connect("romeo@montague.example/orchard").await
}

async fn log_in(world: &World, resource: &str) -> Client {
    let mut client = world.connect(&format!("{JULIET}/{resource}")).await;
    client.send("<presence/>").await;
    client
}

/// Sends presence, and does not wait for what follows.
fn begin(client: &Client) {
    assert!(!client.session().is_busy());
    let handling = client.session().handle(Stanza::parse(b"<presence/>").unwrap());
    assert!(matches!(handling, Handling::Later(_)), "nothing comes before what is stored");
    assert!(client.session().is_busy(), "nothing to hand over");
}

/// Waits until nobody is being handed anything.
async fn handed(world: &World) {
    let juliet = world.engine.account(&BareJid::new(JULIET).unwrap()).await.unwrap().unwrap();
    while juliet.lock().offline.flushing.is_some() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

async fn write(client: &mut Client, n: usize, to: &str, extra: &str) {
    let message =
        format!("<message type='chat' id='{n}' to='{to}'><body>x</body>{extra}</message>");
    client.send(&message).await;
}

async fn stored(world: &World) -> u64 {
    world.stores().offline.usage(&BareJid::new(JULIET).unwrap()).await.unwrap().count
}

fn ids(stanzas: &[Stanza]) -> Vec<usize> {
    let messages = stanzas.iter().filter(|s| s.message_type() == Some(MessageType::Chat));
    messages.map(|m| m.head.id.as_deref().unwrap().parse().unwrap()).collect()
}
