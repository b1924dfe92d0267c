//! Messages that a session did not take and others of the account have as a copy: nobody gets one
//! twice, and nobody misses one (XEP-0198 §4, XEP-0280 §7).

#![allow(clippy::unwrap_used)]

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;
use stentor_engine::Item;
use stentor_jid::BareJid;
use stentor_payload::xep0280_carbons;
use stentor_stanza::Stanza;
use stentor_testkit::{Client, World};

const JULIET: &str = "juliet@capulet.example";
const ROMEO: &str = "romeo@montague.example";

/// A device of Juliet's: what it is called, its priority, and whether it wishes for copies.
#[derive(Clone, Copy)]
struct Kind(&'static str, i8, bool);

const PHONE: Kind = Kind("phone", 5, true);
const DESK: Kind = Kind("desk", 5, true);
const LAPTOP: Kind = Kind("laptop", 0, true);
const TABLET: Kind = Kind("tablet", 5, false);
const WATCH: Kind = Kind("watch", 0, false);

async fn world() -> (World, Client) {
    let world = World::new();
    for account in [JULIET, ROMEO] {
        world.add_account(account).await;
    }
    let romeo = world.connect(&format!("{ROMEO}/orchard")).await;
    (world, romeo)
}

/// Signs in, with a session that may be resumed.
async fn sign_in(world: &World, Kind(name, priority, has_copies): Kind) -> Client {
    let mut client = world.connect(&format!("{JULIET}/{name}")).await;
    client.session().enable_sm(true, None).await.unwrap();
    if has_copies {
        client.send("<iq type='set' id='c'><enable xmlns='urn:xmpp:carbons:2'/></iq>").await;
    }
    client.send(&format!("<presence><priority>{priority}</priority></presence>")).await;
    client
}

async fn say(romeo: &mut Client, to: &str, n: usize) {
    let message = format!("<message type='chat' to='{to}' id='{n}'><body>x</body></message>");
    romeo.send(&message).await;
}

/// The ids of messages that the device gets, by themselves or as copies. It acknowledges them.
fn take(client: &Client) -> Vec<usize> {
    let (outbox, account) = (&client.session().resource.outbox, BareJid::new(JULIET).unwrap());
    let mut stanzas = Vec::new();
    while let Some(item) = outbox.pop() {
        if let Item::Stanza(stanza, ..) = item {
            stanzas.push(stanza);
        }
    }
    let sent = outbox.queued().unwrap();
    client.session().acknowledge(u32::try_from(sent).unwrap()).unwrap();
    let messages = stanzas.into_iter().filter(|stanza| stanza.message_type().is_some());
    let messages = messages.map(|m| xep0280_carbons::copied(&m, &account).unwrap_or(m));
    messages.map(|m: Stanza| m.head.id.as_deref().unwrap().parse().unwrap()).collect()
}

/// The stream breaks, and nobody comes back in time.
async fn give_up(client: Client) {
    assert!(client.session().break_off(Vec::new()).is_none());
    client.cut().await;
}

#[tokio::test]
async fn who_has_a_copy_is_not_given_the_message_that_another_lost() {
    for to in [format!("{JULIET}/phone"), JULIET.to_owned()] {
        let (world, mut romeo) = world().await;
        let phone = sign_in(&world, PHONE).await;
        let laptop = sign_in(&world, LAPTOP).await;
        say(&mut romeo, &to, 1).await;
        assert_eq!(take(&laptop), [1], "{to}");
        give_up(phone).await;
        assert_eq!(take(&laptop), [0; 0], "{to}");
        laptop.cut().await;
        assert_eq!(take(&sign_in(&world, PHONE).await), [0; 0], "{to}: nothing is stored");
        assert!(romeo.receive_all().is_empty());
    }
}

#[tokio::test]
async fn a_copy_that_nobody_took_yet_is_not_followed_by_the_message() {
    let (world, mut romeo) = world().await;
    let (phone, laptop) = (sign_in(&world, PHONE).await, sign_in(&world, LAPTOP).await);
    say(&mut romeo, JULIET, 1).await;
    give_up(phone).await;
    assert_eq!(take(&laptop), [1]);
}

#[tokio::test]
async fn a_message_of_which_the_copies_are_lost_as_well_is_stored_as_it_was() {
    for is_copy_lost_last in [true, false] {
        let (world, mut romeo) = world().await;
        let (phone, laptop) = (sign_in(&world, PHONE).await, sign_in(&world, LAPTOP).await);
        say(&mut romeo, &format!("{JULIET}/phone"), 1).await;
        let (first, last) = if is_copy_lost_last { (phone, laptop) } else { (laptop, phone) };
        give_up(first).await;
        give_up(last).await;
        let mut phone = world.connect(&format!("{JULIET}/phone")).await;
        phone.send("<presence/>").await;
        let stored = phone.find(|stanza| stanza.message_type().is_some()).unwrap();
        assert_eq!(stored.head.from.as_ref().unwrap().as_str(), format!("{ROMEO}/orchard"));
        assert_eq!(stored.head.to.as_ref().unwrap().as_str(), format!("{JULIET}/phone"));
        assert!(stored.has_child("urn:xmpp:delay", "delay"));
        assert!(phone.find(|stanza| stanza.message_type().is_some()).is_none());
    }
}

#[tokio::test]
async fn who_has_no_copy_gets_what_another_lost() {
    let (world, mut romeo) = world().await;
    let (phone, tablet) = (sign_in(&world, PHONE).await, sign_in(&world, TABLET).await);
    let (desk, watch) = (sign_in(&world, DESK).await, sign_in(&world, WATCH).await);
    say(&mut romeo, &format!("{JULIET}/phone"), 1).await;
    assert_eq!(take(&desk), [1]);
    let laptop = sign_in(&world, LAPTOP).await;
    give_up(phone).await;
    // As for a message to somebody who is not there: those of the highest priority, and copies.
    assert_eq!(take(&tablet), [1]);
    assert_eq!(take(&laptop), [1], "it came when the copies had been made");
    assert_eq!((take(&desk), take(&watch)), (vec![], vec![]));
}

#[tokio::test(start_paused = true)]
async fn who_has_a_copy_is_known_after_a_restart() {
    for has_taken in [true, false] {
        let (mut world, mut romeo) = world().await;
        let (_phone, laptop) = (sign_in(&world, PHONE).await, sign_in(&world, LAPTOP).await);
        say(&mut romeo, &format!("{JULIET}/phone"), 1).await;
        if has_taken {
            assert_eq!(take(&laptop), [1]);
        }
        world.stores().writer.barrier().await.unwrap();
        world.restart();
        assert_eq!(world.engine.restore_sessions().await, Ok(2));
        // Nobody comes back.
        tokio::time::sleep(Duration::from_secs(601)).await;
        let left = if has_taken { vec![] } else { vec![1] };
        assert_eq!(take(&sign_in(&world, TABLET).await), left);
    }
}

/// What happens to the devices of Juliet's account.
#[derive(Clone, Copy, Debug)]
enum Event {
    /// Romeo writes to the account, or to one of its devices.
    Say(Option<usize>),
    /// A device takes what is there for it.
    Take(usize),
    /// A device is given up, with what it did not take, or comes back.
    GoOrCome(usize),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        3 => prop::option::of(0..DEVICES.len()).prop_map(Event::Say),
        2 => (0..DEVICES.len()).prop_map(Event::Take),
        2 => (0..DEVICES.len()).prop_map(Event::GoOrCome),
    ];
    prop::collection::vec(event, 1..40)
}

/// What each device has taken, and what it is bound to be given because it has been there since.
#[derive(Default)]
struct Story {
    taken: [BTreeSet<usize>; DEVICES.len()],
    owed: [BTreeSet<usize>; DEVICES.len()],
    said: usize,
}

impl Story {
    fn take(&mut self, device: usize, client: &Client) {
        for id in take(client) {
            assert!(self.taken[device].insert(id), "{} got {id} twice", DEVICES[device].0);
        }
    }
}

async fn live(events: &[Event]) {
    let (world, mut romeo) = world().await;
    let mut clients: BTreeMap<usize, Client> = BTreeMap::new();
    let mut story = Story::default();
    for event in events {
        match *event {
            Event::Say(to) => {
                story.said += 1;
                let to = to.map_or(JULIET.to_owned(), |to| format!("{JULIET}/{}", DEVICES[to].0));
                say(&mut romeo, &to, story.said).await;
                for device in clients.keys().filter(|device| DEVICES[**device].2) {
                    story.owed[*device].insert(story.said);
                }
            }
            Event::Take(device) => {
                clients.get(&device).into_iter().for_each(|client| story.take(device, client));
            }
            Event::GoOrCome(device) => match clients.remove(&device) {
                Some(client) => {
                    give_up(client).await;
                    story.owed[device].clear();
                }
                None => drop(clients.insert(device, sign_in(&world, DEVICES[device]).await)),
            },
        }
    }
    for (device, kind) in DEVICES.into_iter().enumerate() {
        if let Entry::Vacant(absent) = clients.entry(device) {
            absent.insert(sign_in(&world, kind).await);
        }
    }
    for (device, client) in &clients {
        story.take(*device, client);
        assert!(story.owed[*device].is_subset(&story.taken[*device]), "{device} missed some");
    }
    let taken: BTreeSet<usize> = story.taken.into_iter().flatten().collect();
    assert_eq!(taken, (1..=story.said).collect(), "every message is taken by somebody");
    assert!(romeo.receive_all().is_empty(), "none comes back");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn prop_each_device_gets_each_message_once_and_those_with_copies_get_all(events in events()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(live(&events));
    }
}

const DEVICES: [Kind; 5] = [PHONE, DESK, LAPTOP, TABLET, WATCH];
