//! What leaves for other servers and outlives the process until they have it.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use parking_lot::Mutex;
use stentor_engine::{Handling, Inbound, Kept, Links, Pressure};
use stentor_jid::Jid;
use stentor_stanza::{Condition, Stanza, StanzaError};
use stentor_store::{UnderwayRow, Write};
use stentor_testkit::{Client, World};
use stentor_xml::Frame;

const JULIET: &str = "juliet@capulet.example";
const ROMEO: &str = "romeo@far.example";

/// Ways to other servers; what is for `near.example` they do not keep, `full.example` takes nothing.
#[derive(Default)]
struct Wire(Mutex<Vec<(String, Option<Kept>)>>);

impl Wire {
    fn take(&self, stanza: &Stanza, kept: Option<Kept>) -> Result<Pressure, StanzaError> {
        if stanza.head.to.as_ref().unwrap().domain() == "full.example" {
            return Err(StanzaError::new(Condition::ResourceConstraint));
        }
        let text = String::from_utf8(stanza.to_bytes()).unwrap();
        self.0.lock().push((text, kept));
        Ok(Pressure::Low)
    }
}

impl Links for Wire {
    fn push(&self, stanza: Stanza) -> Result<Pressure, StanzaError> {
        self.take(&stanza, None)
    }

    fn may_keep(&self, to: &Jid) -> bool {
        to.domain() != "near.example"
    }

    fn push_kept(&self, stanza: Stanza, kept: Kept) -> Result<Pressure, StanzaError> {
        self.take(&stanza, Some(kept))
    }

    fn push_restored(&self, stanza: Stanza, kept: Kept) -> Result<Pressure, StanzaError> {
        if stanza.head.to.as_ref().is_some_and(|to| !self.may_keep(to)) {
            return Err(StanzaError::new(Condition::RemoteServerNotFound));
        }
        self.push_kept(stanza, kept)
    }
}

fn connect_links(world: &World) -> Arc<Wire> {
    let wire = Arc::new(Wire::default());
    world.engine.connect_links(wire.clone());
    wire
}

async fn world() -> (World, Arc<Wire>) {
    let world = World::new();
    world.add_account(JULIET).await;
    let wire = connect_links(&world);
    (world, wire)
}

/// Juliet, with a client that counts what is acknowledged, or does not.
async fn juliet(world: &World, counts: bool) -> Client {
    let mut juliet = world.connect(&format!("{JULIET}/balcony")).await;
    juliet.send("<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>").await;
    juliet.send("<presence/>").await;
    juliet.receive_all();
    if counts {
        assert!(juliet.session().enable_sm(false, None).await.is_none());
    }
    juliet
}

/// What is in the store.
async fn rows(world: &World) -> Vec<UnderwayRow> {
    world.stores().writer.barrier().await.unwrap();
    world.stores().underway.page(0, 100).await.unwrap().stanzas
}

fn texts(rows: &[UnderwayRow]) -> Vec<String> {
    rows.iter().map(|row| String::from_utf8(row.stanza.to_vec()).unwrap()).collect()
}

/// A message that no archive keeps.
fn message(to: &str, id: &str) -> String {
    format!(
        "<message to='{to}' type='chat' id='{id}'><body>{id}</body>\
         <no-permanent-store xmlns='urn:xmpp:hints'/></message>"
    )
}

#[tokio::test]
async fn what_a_session_is_told_is_taken_is_in_the_store_before_it_is_told() {
    let (world, wire) = world().await;
    let mut juliet = juliet(&world, true).await;
    let before = juliet.session().awaited();
    juliet.send(&message(ROMEO, "one")).await;
    assert_eq!(juliet.session().awaited(), before + 1, "an acknowledgement waits for the commit");
    juliet.send(&message(ROMEO, "two")).await;
    let rows = rows(&world).await;
    let left = std::mem::take(&mut *wire.0.lock());
    // As it travels, and under the number that whoever takes it over knows.
    let kept = rows.iter().map(|row| Kept { number: row.number, since_ms: row.since_ms });
    let expected: Vec<_> = texts(&rows).into_iter().zip(kept.map(Some)).collect();
    assert_eq!(left, expected);
    assert!(left[0].0.contains("from='juliet@capulet.example/balcony'"), "{left:?}");
    assert!(left[0].0.contains("<body>one</body>") && left[1].0.contains("<body>two</body>"));
}

#[tokio::test]
async fn what_nobody_is_told_of_or_only_shows_the_moment_is_in_memory() {
    let (world, wire) = world().await;
    let mut quiet = juliet(&world, false).await;
    quiet.send(&message(ROMEO, "uncounted")).await;
    let mut juliet = world.connect(&format!("{JULIET}/chamber")).await;
    assert!(juliet.session().enable_sm(false, None).await.is_none());
    for stanza in [
        "<message to='romeo@far.example' type='chat' id='t'>\
         <composing xmlns='http://jabber.org/protocol/chatstates'/></message>",
        "<message to='romeo@far.example' type='chat' id='n'><body>x</body>\
         <no-store xmlns='urn:xmpp:hints'/></message>",
        "<presence to='romeo@far.example'/>",
        "<iq to='romeo@far.example' type='get' id='q'><ping xmlns='urn:xmpp:ping'/></iq>",
    ] {
        juliet.send(stanza).await;
    }
    juliet.send(&message("nurse@near.example", "near")).await;
    assert_eq!(wire.0.lock().iter().filter(|(_, kept)| kept.is_some()).count(), 0);
    assert!(wire.0.lock().len() >= 6);
    assert_eq!(rows(&world).await, []);
}

#[tokio::test]
async fn what_finds_no_way_comes_back_and_leaves_the_store() {
    let (world, _wire) = world().await;
    let mut juliet = juliet(&world, true).await;
    juliet.send(&message("romeo@full.example", "one")).await;
    let error = juliet.receive().unwrap();
    assert_eq!(error.error().unwrap().condition, Condition::ResourceConstraint);
    assert_eq!(rows(&world).await, []);
}

#[tokio::test]
async fn changes_of_subscriptions_are_kept_whoever_makes_them() {
    let (world, wire) = world().await;
    let mut juliet = juliet(&world, false).await;
    let kept = async |world: &World| {
        wire.0.lock().clear();
        let mut found = Vec::new();
        for row in rows(world).await {
            let stanza = Stanza::parse(&row.stanza).unwrap();
            assert_eq!(stanza.head.from.as_ref().unwrap().as_str(), JULIET);
            found.push(stanza.head.kind.type_name().unwrap());
            let numbers = vec![row.number];
            world.stores().writer.submit(Write::DropUnderway { numbers }).await.unwrap();
        }
        found
    };
    juliet.send("<presence to='romeo@far.example' type='subscribe'/>").await;
    assert_eq!(kept(&world).await, ["subscribe"]);
    let inbound = Arc::new(Inbound::new(world.engine.clone()));
    for kind in ["subscribed", "subscribe"] {
        let text = format!("<presence from='{ROMEO}' to='{JULIET}' type='{kind}'/>");
        let stanza = Stanza::from_frame(Frame::parse(text.as_bytes()).unwrap()).unwrap();
        if let Handling::Later(rest) = inbound.handle(stanza) {
            rest.await;
        }
    }
    juliet.send("<presence to='romeo@far.example' type='subscribed'/>").await;
    assert_eq!(kept(&world).await, ["subscribed"]);
    // Asked again, the server answers by itself (RFC 6121 §3.1.3).
    let text = format!("<presence from='{ROMEO}' to='{JULIET}' type='subscribe'/>");
    let stanza = Stanza::from_frame(Frame::parse(text.as_bytes()).unwrap()).unwrap();
    if let Handling::Later(rest) = inbound.handle(stanza) {
        rest.await;
    }
    assert_eq!(kept(&world).await, ["subscribed"]);
    juliet
        .send(
            "<iq type='set' id='x'><query xmlns='jabber:iq:roster'>\
             <item jid='romeo@far.example' subscription='remove'/></query></iq>",
        )
        .await;
    assert_eq!(kept(&world).await, ["unsubscribed", "unsubscribe"]);
}

#[tokio::test]
async fn the_next_process_sends_it_in_order_and_numbers_behind_it() {
    let (mut world, _wire) = world().await;
    let mut before = juliet(&world, true).await;
    for id in ["one", "two", "three"] {
        before.send(&message(ROMEO, id)).await;
    }
    let kept = rows(&world).await;
    world.restart();
    assert_eq!(world.engine.restore_sessions().await, Ok(0));
    let wire = connect_links(&world);
    assert_eq!(world.engine.restore_underway().await, Ok(3));
    let left = std::mem::take(&mut *wire.0.lock());
    let numbers: Vec<u64> = kept.iter().map(|row| row.number).collect();
    assert_eq!(left.iter().map(|(_, kept)| kept.unwrap().number).collect::<Vec<_>>(), numbers);
    assert_eq!(left.into_iter().map(|(text, _)| text).collect::<Vec<_>>(), texts(&kept));
    assert_eq!(rows(&world).await, kept, "they are in the store until they have arrived");
    let mut juliet = juliet(&world, true).await;
    juliet.send(&message(ROMEO, "four")).await;
    assert!(rows(&world).await[3].number > kept[2].number);
}

#[tokio::test]
async fn what_goes_nowhere_any_more_leaves_the_store() {
    let (mut world, _wire) = world().await;
    let from = format!("from='{JULIET}/balcony' type='chat'");
    for (number, stanza) in [
        (1, "<message".to_owned()),
        (2, format!("<message {from} to='romeo@far.example'><body>there</body></message>")),
        (3, format!("<message {from} to='nurse@capulet.example'><body>ours now</body></message>")),
        (4, "<message from='a@gone.example' to='romeo@far.example'><body/></message>".to_owned()),
        (
            5,
            format!(
                "<message {from} to='nurse@near.example'><body>a component now</body></message>"
            ),
        ),
        (6, format!("<message {from} to='romeo@full.example'><body>full</body></message>")),
    ] {
        let row = UnderwayRow { number, since_ms: 1, stanza: stanza.into_bytes().into() };
        world.stores().writer.submit(Write::PutUnderway(row)).await.unwrap();
    }
    world.restart();
    let wire = connect_links(&world);
    let mut juliet = world.connect(&format!("{JULIET}/balcony")).await;
    assert_eq!(world.engine.restore_underway().await, Ok(6));
    let left: Vec<_> = wire.0.lock().iter().map(|(_, kept)| kept.unwrap().number).collect();
    assert_eq!(left, [2]);
    assert_eq!(rows(&world).await.iter().map(|row| row.number).collect::<Vec<_>>(), [2]);
    let errors = juliet.receive_all();
    let of = |s: &Stanza| (s.head.from.as_ref().unwrap().to_string(), s.error().unwrap().condition);
    let errors: Vec<_> = errors.iter().map(of).collect();
    assert_eq!(
        errors,
        [
            ("nurse@capulet.example".to_owned(), Condition::RemoteServerNotFound),
            ("nurse@near.example".to_owned(), Condition::RemoteServerNotFound),
            ("romeo@full.example".to_owned(), Condition::ResourceConstraint),
        ]
    );
}
