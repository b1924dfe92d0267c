//! Random histories of four accounts with two resources each, against a model that fits a page.
//!
//! `SEED=17 cargo test -p stentor-modules --test model` runs one history and prints its steps.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use stentor_jid::BareJid;
use stentor_stanza::{Kind, MessageType, PresenceType, Stanza};
use stentor_testkit::{Client, World};
use support::Random;

const SEEDS: u64 = 300;
const STEPS: usize = 120;
const PEOPLE: usize = 4;
const RESOURCES: usize = 2;

#[test]
fn random_histories_agree_with_the_model() {
    let only = std::env::var("SEED").ok().map(|seed| seed.parse::<u64>().unwrap());
    for seed in only.map_or(1..SEEDS + 1, |seed| seed..seed + 1) {
        let history = std::panic::catch_unwind(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
            runtime.unwrap().block_on(run(seed, only.is_some()));
        });
        assert!(history.is_ok(), "seed {seed} fails; SEED={seed} runs it alone");
    }
}

async fn run(seed: u64, is_told: bool) {
    let mut history = History::new(seed).await;
    for step in 0..STEPS {
        let done = history.step().await;
        if is_told {
            println!("{step}: {done}");
        }
        history.look(&done);
        history.compare(&done).await;
    }
    history.settle().await;
}

/// The engine and the model side by side.
struct History {
    random: Random,
    world: World,
    clients: BTreeMap<(usize, usize), Connected>,
    model: Model,
    next_message: u32,
    /// Who has which message, as often as it came.
    got: BTreeMap<u32, Vec<(usize, usize)>>,
    sent: BTreeMap<u32, Sent>,
}

struct Connected {
    client: Client,
    /// The last presence seen of each full address; available or not.
    sees: BTreeMap<String, Option<String>>,
    /// The last message seen of each sender.
    last: BTreeMap<String, u32>,
    /// Whether it does not read for now.
    is_slow: bool,
}

struct Sent {
    to: usize,
    /// Out of line: sent to one resource, which gets it even while others wait in the store
    /// (§8.5.3.1), or given to a session that was cut before it read.
    is_loose: bool,
}

/// What should be.
#[derive(Default)]
struct Model {
    /// Who sees whom, has asked whom, has approved whom in advance, and has whom in the roster.
    sees: BTreeSet<(usize, usize)>,
    asks: BTreeSet<(usize, usize)>,
    approves: BTreeSet<(usize, usize)>,
    has: BTreeMap<(usize, usize), String>,
    /// Priority and status of each available resource.
    presences: BTreeMap<(usize, usize), (i8, String)>,
}

impl Model {
    fn subscribe(&mut self, a: usize, b: usize) {
        if self.sees.contains(&(a, b)) {
            return;
        }
        self.has.entry((a, b)).or_default();
        if self.approves.remove(&(b, a)) {
            self.asks.remove(&(a, b));
            self.sees.insert((a, b));
        } else {
            self.asks.insert((a, b));
        }
    }

    /// `b` lets `a` see its presence.
    fn subscribed(&mut self, b: usize, a: usize) {
        if self.asks.remove(&(a, b)) {
            self.sees.insert((a, b));
        } else if !self.sees.contains(&(a, b)) {
            self.approves.insert((b, a));
        }
        self.has.entry((b, a)).or_default();
    }

    fn unsubscribe(&mut self, a: usize, b: usize) {
        self.sees.remove(&(a, b));
        self.asks.remove(&(a, b));
    }

    fn unsubscribed(&mut self, b: usize, a: usize) {
        self.unsubscribe(a, b);
        self.approves.remove(&(b, a));
    }

    fn remove(&mut self, a: usize, b: usize) {
        if self.has.remove(&(a, b)).is_some() {
            self.unsubscribe(a, b);
            self.sees.remove(&(b, a));
            self.approves.remove(&(a, b));
        }
    }

    /// What a roster shows of one contact.
    fn item(&self, a: usize, b: usize) -> Option<String> {
        let name = self.has.get(&(a, b))?;
        Some(item(
            name,
            self.sees.contains(&(a, b)),
            self.sees.contains(&(b, a)),
            self.asks.contains(&(a, b)),
            self.approves.contains(&(a, b)),
        ))
    }
}

fn item(name: &str, to: bool, from: bool, ask: bool, approved: bool) -> String {
    format!("name={name} to={to} from={from} ask={ask} approved={approved}")
}

impl History {
    async fn new(seed: u64) -> Self {
        let world = World::new();
        for person in 0..PEOPLE {
            world.add_account(&bare(person)).await;
        }
        Self {
            random: Random::new(seed),
            world,
            clients: BTreeMap::new(),
            model: Model::default(),
            next_message: 0,
            got: BTreeMap::new(),
            sent: BTreeMap::new(),
        }
    }

    async fn step(&mut self) -> String {
        let (person, resource) = (self.random.below(PEOPLE), self.random.below(RESOURCES));
        let other = (person + 1 + self.random.below(PEOPLE - 1)) % PEOPLE;
        if !self.clients.contains_key(&(person, resource)) {
            self.connect(person, resource).await;
            return format!("{} connects", full(person, resource));
        }
        let what = self.random.below(100);
        let mut done = full(person, resource);
        match what {
            0..25 => self.message(person, resource, other, &mut done).await,
            25..45 => self.presence(person, resource, &mut done).await,
            45..75 => self.subscription(person, resource, other, &mut done).await,
            75..84 => self.roster_set(person, resource, other, &mut done).await,
            84..90 => {
                // Both devices of one person: what is lost with both must not be lost.
                for (_, c) in self.clients.iter_mut().filter(|(key, _)| key.0 == person) {
                    c.is_slow = true;
                }
                done = format!("{} reads no more", bare(person));
            }
            90..94 => self.cut(person, resource, &mut done).await,
            94..99 => {
                let both = (0..RESOURCES).filter(|r| self.clients.contains_key(&(person, *r)));
                for resource in both.collect::<Vec<_>>() {
                    self.cut(person, resource, &mut done).await;
                }
            }
            _ => {
                self.settle().await;
                done = String::from("the server restarted");
            }
        }
        done
    }

    async fn connect(&mut self, person: usize, resource: usize) {
        let mut client = self.world.connect(&full(person, resource)).await;
        client.send("<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>").await;
        let connected =
            Connected { client, sees: BTreeMap::new(), last: BTreeMap::new(), is_slow: false };
        self.clients.insert((person, resource), connected);
    }

    async fn send(&mut self, person: usize, resource: usize, xml: &str) {
        self.clients.get_mut(&(person, resource)).unwrap().client.send(xml).await;
    }

    async fn message(&mut self, person: usize, resource: usize, other: usize, done: &mut String) {
        self.next_message += 1;
        let n = self.next_message;
        let is_loose = self.random.below(3) == 0;
        let to = if is_loose { full(other, self.random.below(RESOURCES)) } else { bare(other) };
        let _ = write!(done, " writes message {n} to {to}");
        self.sent.insert(n, Sent { to: other, is_loose });
        let xml = format!("<message type='chat' id='{n}' to='{to}'><body>{n}</body></message>");
        self.send(person, resource, &xml).await;
    }

    async fn presence(&mut self, person: usize, resource: usize, done: &mut String) {
        // What it has not read is read first: a session that goes away and stays keeps that.
        self.read((person, resource), done);
        if self.random.below(4) == 0 {
            done.push_str(" goes unavailable");
            self.model.presences.remove(&(person, resource));
            self.send(person, resource, "<presence type='unavailable'/>").await;
            self.read((person, resource), done);
            self.clients.get_mut(&(person, resource)).unwrap().sees.clear();
            return;
        }
        let priority = [-1, 0, 0, 0, 5][self.random.below(5)];
        let status = format!("s{}", self.random.below(1_000));
        let _ = write!(done, " says {status} with priority {priority}");
        let xml = format!(
            "<presence><status>{status}</status><priority>{priority}</priority></presence>"
        );
        self.model.presences.insert((person, resource), (priority, status));
        self.send(person, resource, &xml).await;
    }

    async fn subscription(&mut self, me: usize, resource: usize, other: usize, done: &mut String) {
        let kind =
            ["subscribe", "subscribe", "subscribed", "subscribed", "unsubscribe", "unsubscribed"]
                [self.random.below(6)];
        let _ = write!(done, " sends {kind} to {}", bare(other));
        match kind {
            "subscribe" => self.model.subscribe(me, other),
            "subscribed" => self.model.subscribed(me, other),
            "unsubscribe" => self.model.unsubscribe(me, other),
            _ => self.model.unsubscribed(me, other),
        }
        let xml = format!("<presence type='{kind}' to='{}'/>", bare(other));
        self.send(me, resource, &xml).await;
    }

    async fn roster_set(&mut self, me: usize, resource: usize, other: usize, done: &mut String) {
        let attribute = if self.random.below(3) == 0 {
            let _ = write!(done, " removes {}", bare(other));
            self.model.remove(me, other);
            String::from("subscription='remove'")
        } else {
            let name = format!("n{}", self.random.below(100));
            let _ = write!(done, " calls {} {name}", bare(other));
            self.model.has.insert((me, other), name.clone());
            format!("name='{name}'")
        };
        let xml = format!(
            "<iq type='set' id='s'><query xmlns='jabber:iq:roster'><item jid='{}' {attribute}/>\
             </query></iq>",
            bare(other)
        );
        self.send(me, resource, &xml).await;
    }

    /// What was in its queue may overtake, or be overtaken by, what others of the account have.
    async fn cut(&mut self, person: usize, resource: usize, done: &mut String) {
        let connected = self.clients.remove(&(person, resource)).unwrap();
        done.push_str(" is cut");
        self.model.presences.remove(&(person, resource));
        if connected.is_slow {
            let unread = |n: &u32| !self.got.contains_key(n);
            let moved: Vec<u32> = self.sent.keys().copied().filter(unread).collect();
            for n in moved {
                let sent = self.sent.get_mut(&n).unwrap();
                sent.is_loose |= sent.to == person;
            }
        }
        connected.client.cut().await;
    }

    /// Everybody who reads takes what came.
    fn look(&mut self, done: &str) {
        let reading: Vec<_> =
            self.clients.iter().filter(|(_, c)| !c.is_slow).map(|(key, _)| *key).collect();
        for key in reading {
            self.read(key, done);
        }
    }

    fn read(&mut self, key: (usize, usize), done: &str) {
        let connected = self.clients.get_mut(&key).unwrap();
        connected.is_slow = false;
        for stanza in connected.client.receive_all() {
            match stanza.head.kind {
                Kind::Message(MessageType::Chat) => {
                    let n: u32 = stanza.head.id.as_deref().unwrap().parse().unwrap();
                    let got = self.got.entry(n).or_default();
                    assert!(!got.contains(&key), "{done}: {n} came twice to {key:?}");
                    got.push(key);
                    let sent = &self.sent[&n];
                    assert_eq!(sent.to, key.0, "{done}: {n}");
                    let from = stanza.head.from.as_ref().unwrap().to_string();
                    if !sent.is_loose {
                        let last = connected.last.entry(from).or_default();
                        assert!(*last < n, "{done}: {n} after {last} at {key:?}");
                        *last = n;
                    }
                }
                Kind::Message(_) => panic!("{done}: {}", text(&stanza)),
                Kind::Presence(PresenceType::Available | PresenceType::Unavailable) => {
                    let from = stanza.head.from.as_ref().unwrap().to_string();
                    let is_there = stanza.presence_type() == Some(PresenceType::Available);
                    let status = stanza.child("jabber:client", "status");
                    let seen = is_there.then(|| status.unwrap().text().into_owned());
                    connected.sees.insert(from, seen);
                }
                Kind::Presence(PresenceType::Error) => panic!("{done}: {}", text(&stanza)),
                Kind::Presence(_) | Kind::Iq(_) => {}
            }
        }
    }

    async fn compare(&mut self, done: &str) {
        for a in 0..PEOPLE {
            let account = self.world.engine.account(&jid(a)).await.unwrap().unwrap();
            let state = account.lock();
            for b in (0..PEOPLE).filter(|b| *b != a) {
                let shown = state.roster.item(&jid(b)).map(|i| {
                    item(i.name.as_deref().unwrap_or(""), i.to, i.from, i.ask, i.approved)
                });
                assert_eq!(shown, self.model.item(a, b), "{done}: {b} in the roster of {a}");
                let waits = state.roster.request(&jid(b)).is_some();
                assert_eq!(waits, self.model.asks.contains(&(b, a)), "{done}: {b} asks {a}");
            }
        }
        self.compare_presences(done);
    }

    /// Everybody who is there sees the last presence of whom it may see, and nobody else.
    fn compare_presences(&self, done: &str) {
        for (me, connected) in self.clients.iter().filter(|(_, c)| !c.is_slow) {
            if !self.model.presences.contains_key(me) {
                assert!(connected.sees.values().all(Option::is_none), "{done}: {me:?}");
                continue;
            }
            for other in (0..PEOPLE).flat_map(|p| (0..RESOURCES).map(move |r| (p, r))) {
                let may_see = other.0 == me.0 || self.model.sees.contains(&(me.0, other.0));
                let there = self.model.presences.get(&other).filter(|_| may_see);
                let seen = connected.sees.get(&full(other.0, other.1)).cloned().flatten();
                assert_eq!(seen.as_ref(), there.map(|p| &p.1), "{done}: {other:?} seen by {me:?}");
            }
        }
    }

    /// Everybody reads, the server restarts, everybody comes back: nothing is missing.
    async fn settle(&mut self) {
        self.clients.values_mut().for_each(|c| c.is_slow = false);
        self.look("at the end");
        self.world.restart();
        self.clients.clear();
        self.model.presences.clear();
        self.compare("after a restart").await;
        for person in 0..PEOPLE {
            self.connect(person, 0).await;
            self.model.presences.insert((person, 0), (0, String::from("back")));
            self.send(person, 0, "<presence><status>back</status></presence>").await;
        }
        self.look("after a restart");
        self.compare("after a restart").await;
        let lost: Vec<&u32> = self.sent.keys().filter(|n| !self.got.contains_key(n)).collect();
        assert!(lost.is_empty(), "lost: {lost:?}");
    }
}

fn bare(person: usize) -> String {
    let domain = if person.is_multiple_of(2) { "capulet.example" } else { "montague.example" };
    format!("p{person}@{domain}")
}

fn full(person: usize, resource: usize) -> String {
    format!("{}/r{resource}", bare(person))
}

fn jid(person: usize) -> BareJid {
    BareJid::new(&bare(person)).unwrap()
}

fn text(stanza: &Stanza) -> String {
    String::from_utf8(stanza.to_bytes()).unwrap()
}
