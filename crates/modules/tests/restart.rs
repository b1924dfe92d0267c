//! Sessions over a restart of the server (XEP-0198 §5): how long they wait, and what others and they
//! themselves see.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use stentor_engine::{Item, Resumed, Session};
use stentor_jid::BareJid;
use stentor_store::{SessionChange, SessionRow, SessionState, Write};
use stentor_testkit::{Client, World};

const JULIET: &str = "juliet@capulet.example";
const ROMEO: &str = "romeo@montague.example";
const NURSE: &str = "nurse@capulet.example";

/// The row of the only session that is kept.
async fn row(world: &World) -> SessionRow {
    world.stores().writer.barrier().await.unwrap();
    let mut rows = world.stores().sessions.page(0, 10).await.unwrap().sessions;
    assert_eq!(rows.len(), 1);
    rows.remove(0)
}

async fn enable(client: &Client) -> (String, u32) {
    client.session().enable_sm(true, None).await.unwrap()
}

async fn resume(world: &World, account: &str, id: &str) -> Resumed {
    let account = BareJid::new(account).unwrap();
    world.engine.resume(&account, id, 0).await.ok().unwrap()
}

fn texts(session: &Session) -> Vec<String> {
    let mut texts = Vec::new();
    while let Some(item) = session.resource.outbox.pop() {
        if let Item::Stanza(stanza, ..) = item {
            texts.push(String::from_utf8(stanza.to_bytes()).unwrap());
        }
    }
    texts
}

async fn befriend(one: &mut Client, other: &mut Client) {
    let bare = |client: &Client| client.session().account.jid.to_string();
    let (of_one, of_other) = (bare(one), bare(other));
    one.send(&format!("<presence type='subscribe' to='{of_other}'/>")).await;
    other.send(&format!("<presence type='subscribed' to='{of_one}'/>")).await;
    other.send(&format!("<presence type='subscribe' to='{of_one}'/>")).await;
    one.send(&format!("<presence type='subscribed' to='{of_other}'/>")).await;
}

async fn connect(world: &World, account: &str, resource: &str) -> Client {
    let mut client = world.connect(&format!("{account}/{resource}")).await;
    client.send("<presence/>").await;
    client
}

#[tokio::test(start_paused = true)]
async fn the_store_knows_since_when_a_session_waits() {
    let world = World::new();
    world.add_account(JULIET).await;
    let juliet = connect(&world, JULIET, "balcony").await;
    let (id, secs) = enable(&juliet).await;
    assert_eq!(row(&world).await.state, SessionState::Attached);
    assert!(juliet.session().break_off(Vec::new()).is_none());
    let SessionState::Detached(until_ms) = row(&world).await.state else { panic!("attached") };
    world.advance(100);
    resume(&world, JULIET, &id).await;
    assert_eq!(row(&world).await.state, SessionState::Attached);
    assert!(juliet.session().break_off(Vec::new()).is_none());
    let later_ms = until_ms + 100_000;
    assert_eq!((row(&world).await.state, secs), (SessionState::Detached(later_ms), 600));
}

/// Restarts the server so many seconds after the stream broke, if it did; whether the session is
/// still there so many seconds after that.
async fn waits(broken_secs: Option<i64>, then_secs: u64) -> bool {
    let mut world = World::new();
    world.add_account(JULIET).await;
    let juliet = connect(&world, JULIET, "balcony").await;
    let (id, _) = enable(&juliet).await;
    let row = row(&world).await;
    // As `break_off` leaves it behind, without a session of the first process that goes on waiting.
    if let Some(broken_secs) = broken_secs {
        let until_ms = world.engine.clock.unix_ms() + 600_000;
        let change = SessionChange::State(SessionState::Detached(until_ms));
        world
            .stores()
            .writer
            .submit(Write::Session { session: row.session, change })
            .await
            .unwrap();
        world.advance(broken_secs);
    }
    world.restart();
    assert_eq!(world.engine.restore_sessions().await, Ok(1));
    tokio::time::sleep(Duration::from_secs(then_secs)).await;
    let account = BareJid::new(JULIET).unwrap();
    world.engine.resume(&account, &id, 0).await.is_ok()
}

#[tokio::test(start_paused = true)]
async fn a_session_has_what_is_left_of_its_time_and_enough_to_come_back() {
    // One that had a connection has all its time from the restart on.
    assert!(waits(None, 599).await && !waits(None, 601).await);
    assert!(waits(Some(200), 399).await && !waits(Some(200), 401).await);
    // The server may have been away itself.
    for broken_secs in [590, 5_000] {
        assert!(waits(Some(broken_secs), 119).await && !waits(Some(broken_secs), 121).await);
    }
}

#[tokio::test]
async fn nobody_sees_a_session_go_that_comes_back_and_it_learns_who_has_gone() {
    let mut world = World::new();
    for account in [JULIET, ROMEO, NURSE] {
        world.add_account(account).await;
    }
    let mut juliet = connect(&world, JULIET, "balcony").await;
    let mut romeo = connect(&world, ROMEO, "orchard").await;
    let mut nurse = connect(&world, NURSE, "hall").await;
    befriend(&mut juliet, &mut romeo).await;
    befriend(&mut juliet, &mut nurse).await;
    let (of_juliet, of_romeo) = (enable(&juliet).await.0, enable(&romeo).await.0);
    // Hers does not outlive the server.
    nurse.send("<presence><show>away</show></presence>").await;
    let asked = format!("<iq type='get' id='q' to='{ROMEO}/orchard'><x xmlns='urn:x'/></iq>");
    juliet.send(&asked).await;
    juliet.session().note_received(2);
    juliet.session().note_handled();
    world.stores().writer.barrier().await.unwrap();
    world.restart();
    assert_eq!(world.engine.restore_sessions().await, Ok(2));

    let romeo = resume(&world, ROMEO, &of_romeo).await.session;
    let there = format!("<presence to='{ROMEO}' from='{JULIET}/balcony'/>");
    assert_eq!(texts(&romeo), [there]);
    let Resumed { session: juliet, received, .. } = resume(&world, JULIET, &of_juliet).await;
    assert_eq!(received, 2);
    let heard = texts(&juliet);
    let is = |start: &str| heard.iter().filter(|text| text.starts_with(start)).count();
    assert_eq!(is("<iq type='error' "), 1, "{heard:?}");
    assert!(heard[0].contains("id='q'") && heard[0].contains("<internal-server-error "));
    let gone = heard.iter().filter(|text| text.contains("type='unavailable'"));
    let gone: Vec<_> = gone.collect();
    assert!(gone.len() == 1 && gone[0].contains(&format!("from='{NURSE}'")), "{heard:?}");
    assert!(heard.iter().any(|text| text.contains(&format!("from='{ROMEO}/orchard'"))));
    assert_eq!(texts(&romeo), [""; 0], "he has seen nothing of it");
}
