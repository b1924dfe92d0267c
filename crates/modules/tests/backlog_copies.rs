//! Several devices while many messages are being handed out: what comes meanwhile waits behind them,
//! and each device that takes copies (XEP-0280) sees it exactly once, whoever is handed it in the end.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use stentor_engine::{Item, Session};
use stentor_jid::BareJid;
use stentor_payload::xep0280_carbons;
use stentor_stanza::Stanza;
use stentor_testkit::{Client, World};

const JULIET: &str = "juliet@capulet.example";
/// More than two outboxes take before who fills them waits.
const STORED: usize = 200;
const LATE: usize = STORED;

/// A device whose session may be resumed, and what it has had.
struct Device {
    session: Arc<Session>,
    id: String,
    handled: u32,
    got: Vec<usize>,
}

impl Device {
    async fn sign_in(world: &World, resource: &str) -> Self {
        let mut client = world.connect(&format!("{JULIET}/{resource}")).await;
        client.send("<iq type='set' id='c'><enable xmlns='urn:xmpp:carbons:2'/></iq>").await;
        client.receive_all();
        let (id, _) = client.session().enable_sm(true, None).await.unwrap();
        let session = client.session().clone();
        drop(session.handle(Stanza::parse(b"<presence/>").unwrap()));
        tokio::time::sleep(Duration::from_secs(1)).await;
        Self { session, id, handled: 0, got: Vec::new() }
    }

    fn cut(&self) {
        assert!(self.session.break_off(Vec::new()).is_none());
    }

    async fn come_back(&mut self, world: &World) {
        let account = BareJid::new(JULIET).unwrap();
        let resumed = world.engine.resume(&account, &self.id, self.handled).await;
        self.session = resumed.ok().unwrap().session;
    }

    /// Takes all that comes, and says so.
    async fn read(&mut self) {
        let account = BareJid::new(JULIET).unwrap();
        for _ in 0..100 {
            while let Some(item) = self.session.resource.outbox.pop() {
                let Item::Stanza(stanza, ..) = item else { continue };
                self.handled += 1;
                let stanza = xep0280_carbons::copied(&stanza, &account).unwrap_or(stanza);
                if stanza.message_type().is_some() {
                    self.got.push(stanza.head.id.as_deref().unwrap().parse().unwrap());
                }
            }
            self.session.acknowledge(self.handled).unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn count(&self, n: usize) -> usize {
        self.got.iter().filter(|got| **got == n).count()
    }
}

/// Juliet's account, with many messages stored, and Romeo.
async fn scene() -> (World, Client) {
    let world = World::new();
    world.add_account(JULIET).await;
    world.add_account("romeo@montague.example").await;
    let mut romeo = world.connect("romeo@montague.example/orchard").await;
    for n in 0..STORED {
        say(&mut romeo, n, &"y".repeat(20_000)).await;
    }
    (world, romeo)
}

async fn say(romeo: &mut Client, n: usize, text: &str) {
    let message =
        format!("<message type='chat' id='{n}' to='{JULIET}'><body>{text}</body></message>");
    romeo.send(&message).await;
}

/// Both have had the late one once, and one of both each of the others.
async fn assert_exactly_once(world: &World, devices: [&Device; 2]) {
    let counts = |n: usize| devices.map(|device| device.count(n));
    assert_eq!(counts(LATE), [1, 1], "{:?}", devices.map(|d| &d.got));
    for n in 0..STORED {
        assert_eq!(counts(n).into_iter().sum::<usize>(), 1, "{n}: {:?}", devices.map(|d| &d.got));
    }
    for device in devices {
        let early: Vec<_> = device.got.iter().filter(|n| **n < STORED).collect();
        assert!(early.is_sorted(), "{early:?}");
    }
    let usage = world.stores().offline.usage(&BareJid::new(JULIET).unwrap()).await.unwrap();
    assert_eq!(usage.count, 0);
}

#[tokio::test(start_paused = true)]
async fn of_two_without_streams_either_may_come_back_first() {
    for (is_phone_first, is_killed) in [(true, false), (false, false), (true, true), (false, true)]
    {
        let (mut world, mut romeo) = scene().await;
        let mut phone = Device::sign_in(&world, "phone").await;
        let mut desk = Device::sign_in(&world, "desk").await;
        phone.cut();
        tokio::time::sleep(Duration::from_secs(1)).await;
        desk.cut();
        tokio::time::sleep(Duration::from_secs(1)).await;
        say(&mut romeo, LATE, "late").await;
        if is_killed {
            world.restart();
            world.engine.restore_sessions().await.unwrap();
        }
        let (first, second) = match is_phone_first {
            true => (&mut phone, &mut desk),
            false => (&mut desk, &mut phone),
        };
        for device in [first, second] {
            device.come_back(&world).await;
            device.read().await;
        }
        assert_exactly_once(&world, [&phone, &desk]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn who_has_a_copy_is_handed_all_but_that_and_the_other_gets_one() {
    let (world, mut romeo) = scene().await;
    let mut phone = Device::sign_in(&world, "phone").await;
    let mut desk = Device::sign_in(&world, "desk").await;
    say(&mut romeo, LATE, "late").await;
    desk.read().await;
    assert_eq!(desk.got, [LATE], "at once, and nothing else: the phone is being handed that");
    phone.cut();
    desk.read().await;
    phone.come_back(&world).await;
    phone.read().await;
    assert_exactly_once(&world, [&phone, &desk]).await;
}

#[tokio::test(start_paused = true)]
async fn a_copy_that_is_lost_is_made_good_by_what_is_stored() {
    let (world, mut romeo) = scene().await;
    let phone = Device::sign_in(&world, "phone").await;
    let desk = Device::sign_in(&world, "desk").await;
    say(&mut romeo, LATE, "late").await;
    // Neither comes back in time, and the desk had been handed all that it was to get.
    phone.cut();
    tokio::time::sleep(Duration::from_secs(1)).await;
    desk.cut();
    tokio::time::sleep(Duration::from_secs(86_400)).await;
    let mut tablet = Device::sign_in(&world, "tablet").await;
    tablet.read().await;
    tablet.got.sort_unstable();
    assert_eq!(tablet.got, (0..=LATE).collect::<Vec<_>>());
}
