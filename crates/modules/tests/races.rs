//! Messages to an account that comes and goes, on several threads: nothing is lost, nothing comes
//! twice, and each sender's messages stay in their order.

#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use stentor_stanza::{MessageType, Stanza};
use stentor_testkit::{Client, World};
use support::Random;
use tokio::task::yield_now;

const SENDERS: usize = 5;
const MESSAGES: usize = 100;
const LOGINS: usize = 100;
/// Broken sessions at a time that are there still.
const OVERLAPPING: usize = 3;
const ROUNDS: u64 = 10;

/// What Bob got: the sender's number and the message's.
type Got = Vec<(usize, usize)>;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn five_hundred_messages_around_a_hundred_logins_all_come_once_and_in_order() {
    for seed in 1..=rounds() {
        let got = round(seed, false).await;
        let mut next: BTreeMap<usize, usize> = BTreeMap::new();
        for (sender, n) in got {
            let due = next.entry(sender).or_default();
            assert_eq!(n, *due, "seed {seed}, sender {sender}");
            *due += 1;
        }
        assert_eq!(next.values().sum::<usize>(), SENDERS * MESSAGES, "seed {seed}: lost");
    }
}

/// A session that broke is noticed late: the next one is there before it has ended. Its messages
/// come to the newer one when it ends, so the order may change; nothing else may.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sessions_that_overlap_lose_and_repeat_nothing() {
    for seed in 1..=rounds() {
        let mut got = round(seed, true).await;
        got.sort_unstable();
        let twice: Got = got.windows(2).filter(|w| w[0] == w[1]).map(|w| w[0]).collect();
        let all = (0..SENDERS).flat_map(|s| (0..MESSAGES).map(move |n| (s, n)));
        let lost: Got = all.filter(|m| got.binary_search(m).is_err()).collect();
        assert_eq!((lost, twice), (Got::new(), Got::new()), "seed {seed}: lost, and twice");
    }
}

/// `ROUNDS=1000` for the patient.
fn rounds() -> u64 {
    std::env::var("ROUNDS").map_or(ROUNDS, |rounds| rounds.parse().unwrap())
}

async fn round(seed: u64, overlaps: bool) -> Got {
    let world = Arc::new(World::with_writer_thread());
    world.add_account("bob@capulet.example").await;
    let writing = Arc::new(AtomicUsize::new(SENDERS));
    let mut senders = Vec::new();
    for sender in 0..SENDERS {
        world.add_account(&format!("s{sender}@montague.example")).await;
        let (world, writing) = (world.clone(), writing.clone());
        senders.push(tokio::spawn(async move {
            write(&world, sender, Random::new(seed * 100 + sender as u64)).await;
            writing.fetch_sub(1, Ordering::AcqRel);
        }));
    }
    let mut bob = Bob { got: Got::new(), ends: Vec::new() };
    let mut random = Random::new(seed);
    let mut logins = 0;
    while writing.load(Ordering::Acquire) > 0 || logins < LOGINS {
        bob.come_and_go(&world, &mut random, overlaps).await;
        logins += 1;
    }
    for sender in senders {
        sender.await.unwrap();
    }
    for end in std::mem::take(&mut bob.ends) {
        end.await.unwrap();
    }
    // What is left waits in the store, or went there when the last session ended.
    let mut last = log_in(&world).await;
    bob.read(&last.receive_all());
    last.cut().await;
    let mut nothing = log_in(&world).await;
    assert!(messages(&nothing.receive_all()).is_empty(), "seed {seed}: something came again");
    bob.got
}

async fn write(world: &World, sender: usize, mut random: Random) {
    let mut client = world.connect(&format!("s{sender}@montague.example/desk")).await;
    for n in 0..MESSAGES {
        let message = format!(
            "<message type='chat' id='{sender}-{n}' to='bob@capulet.example'><body>x</body></message>"
        );
        client.send(&message).await;
        for _ in 0..random.below(40) {
            yield_now().await;
        }
    }
    client.session().settle_all().await;
    assert!(client.receive_all().is_empty(), "something came back");
}

struct Bob {
    got: Got,
    /// Sessions that are ending.
    ends: Vec<tokio::task::JoinHandle<()>>,
}

impl Bob {
    async fn come_and_go(&mut self, world: &World, random: &mut Random, overlaps: bool) {
        let mut client = log_in(world).await;
        for _ in 0..random.below(30) {
            self.read(&client.receive_up_to(random.below(5)));
            yield_now().await;
        }
        match random.below(3) {
            // He logs out and reads what came until then.
            0 => {
                client.send("<presence type='unavailable'/>").await;
                self.read(&client.receive_all());
                client.cut().await;
            }
            1 if overlaps => {
                self.ends.push(tokio::spawn(client.cut()));
                if self.ends.len() > OVERLAPPING {
                    self.ends.remove(0).await.unwrap();
                }
            }
            // The connection breaks, with or without something unread.
            _ => client.cut().await,
        }
        for _ in 0..random.below(30) {
            yield_now().await;
        }
    }

    fn read(&mut self, stanzas: &[Stanza]) {
        self.got.extend(messages(stanzas));
    }
}

async fn log_in(world: &World) -> Client {
    let mut client = world.connect("bob@capulet.example/phone").await;
    client.send("<presence/>").await;
    client
}

fn messages(stanzas: &[Stanza]) -> Got {
    let messages = stanzas.iter().filter(|s| s.message_type() == Some(MessageType::Chat));
    messages
        .map(|message| {
            let (sender, n) = message.head.id.as_deref().unwrap().split_once('-').unwrap();
            (sender.parse().unwrap(), n.parse().unwrap())
        })
        .collect()
}
