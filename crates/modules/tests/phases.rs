//! The phases of a message, seen by modules that write down what they are shown.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use parking_lot::Mutex;
use stentor_engine::credentials::Credentials;
use stentor_engine::guard::GuardSettings;
use stentor_engine::{
    AccountState, Annotate, Clock, Copy, Cx, Direction, Engine, Handling, Host, Hosts, Item, Look,
    Lookup, Mirror, Miss, Observe, Observed, Passing, Profile, Record, Recorded, Registrar, Screen,
    Serials, Session, Settings, Slot, Taken, Verdict,
};
use stentor_jid::BareJid;
use stentor_stanza::{Condition, Stanza, StanzaError};
use stentor_store::{Stage, Stores, Write};
use stentor_store_sqlite::{Options, Sqlite};
use stentor_xml::Frame;

#[derive(Default)]
struct Diary {
    lines: Mutex<Vec<String>>,
    refuses_record: bool,
}

impl Diary {
    fn note(&self, phase: &str, cx: &Cx<'_>) {
        let direction = if cx.direction == Direction::Sent { "sent" } else { "received" };
        let who = cx.account.jid.as_jid().local().unwrap();
        self.lines.lock().push(format!("{phase} {direction} {who}"));
    }

    fn lines(&self) -> Vec<String> {
        std::mem::take(&mut self.lines.lock())
    }
}

impl Lookup for Diary {
    fn look_up(&self, passing: &Passing<'_>) -> Option<Look> {
        if !passing.stanza.has_child("urn:example:diary", "last")
            || passing.direction == Direction::Sent
        {
            return None;
        }
        let (data, owner) = (passing.engine.stores.data.clone(), passing.account.clone());
        Some(Box::pin(async move {
            let rows = data.of_kinds(&owner, &["diary"]).await?;
            Ok(rows.last().map(|row| Box::new(row.key.clone()) as Slot))
        }))
    }
}

impl Screen for Diary {
    fn screen(&self, cx: &Cx<'_>, _: &Stanza, _: &AccountState) -> Verdict {
        self.note("screen", cx);
        Verdict::Pass
    }
}

impl Annotate for Diary {
    fn annotate(&self, cx: &Cx<'_>, _: &mut Stanza, _: &AccountState) {
        self.note("annotate", cx);
    }
}

impl Record for Diary {
    fn record(
        &self,
        cx: &Cx<'_>,
        stanza: &Stanza,
        _: &AccountState,
        stage: &mut Stage,
    ) -> Recorded {
        self.note("record", cx);
        if let Some(last) = cx.found.find::<String>() {
            self.lines.lock().push(format!("last {last}"));
        }
        if self.refuses_record && cx.direction == Direction::Received {
            return Recorded::Refused(StanzaError::new(Condition::ResourceConstraint));
        }
        let id = cx.engine.next_id(cx.now_ms);
        stage.push(Write::PutData {
            owner: cx.account.jid.clone(),
            kind: "diary".into(),
            key: id.to_string(),
            value: cx.bytes.of(stanza).to_vec(),
        });
        Recorded::As(id)
    }
}

impl Mirror for Diary {
    fn mirror(
        &self,
        cx: &Cx<'_>,
        view: &Stanza,
        state: &AccountState,
        took: &Serials,
        copies: &mut Vec<Copy>,
    ) {
        self.note("mirror", cx);
        let from = cx.session.map(|s| s.resource.serial);
        for resource in state.resources() {
            if !took.contains(&resource.serial) && from != Some(resource.serial) {
                copies.push(Copy { resource: resource.clone(), stanza: view.clone() });
            }
        }
    }
}

impl Miss for Diary {
    fn miss(
        &self,
        cx: &Cx<'_>,
        _: &Stanza,
        kept: Option<u64>,
        _: &mut AccountState,
        _: &mut Stage,
    ) -> Taken {
        self.note("miss", cx);
        if kept.is_some() { Taken::Dropped } else { Taken::No }
    }
}

impl Observe for Diary {
    fn observe(
        &self,
        cx: &Cx<'_>,
        _: &Stanza,
        seen: &Observed<'_>,
        _: &mut AccountState,
        _: &mut Stage,
    ) {
        self.note(&format!("observe {} took", seen.took.len()), cx);
    }
}

struct Noon;

impl Clock for Noon {
    fn unix_ms(&self) -> i64 {
        43_200_000
    }
}

struct Town {
    engine: Arc<Engine>,
    stores: Stores,
    diary: Arc<Diary>,
}

async fn town(refuses_record: bool) -> Town {
    let diary = Arc::new(Diary { refuses_record, ..Diary::default() });
    let mut registrar = Registrar::default();
    registrar.lookup(diary.clone());
    registrar.screen(diary.clone());
    registrar.annotate(diary.clone());
    registrar.record(diary.clone());
    registrar.mirror(diary.clone());
    registrar.miss(diary.clone());
    registrar.observe(diary.clone());
    let profile = Arc::new(Profile::new(Settings::default(), registrar));
    let host = Host { domain: "capulet.example".into(), profile };
    let stores = Sqlite::in_memory_inline(&Options::default()).unwrap().stores();
    for name in ["juliet", "nurse"] {
        let owner = BareJid::new(&format!("{name}@capulet.example")).unwrap();
        let create = Write::CreateAccount { owner, created_ms: 0, keys: Vec::new() };
        stores.writer.submit(create).await.unwrap();
    }
    let credentials = Credentials::new(b"secret", 4_096, GuardSettings::default());
    let engine = Engine::new(stores.clone(), Hosts::new([host]), Arc::new(Noon), credentials);
    Town { engine, stores, diary }
}

impl Town {
    async fn bind(&self, name: &str, resource: &str) -> Arc<Session> {
        let jid = BareJid::new(&format!("{name}@capulet.example")).unwrap();
        let session = self.engine.bind(&jid, Some(resource)).await.unwrap();
        say(&session, "<presence/>").await;
        received(&session);
        self.diary.lines();
        session
    }

    async fn kept(&self, name: &str) -> Vec<u64> {
        let owner = BareJid::new(&format!("{name}@capulet.example")).unwrap();
        let rows = self.stores.data.of_kinds(&owner, &["diary"]).await.unwrap();
        rows.iter().map(|row| row.key.parse().unwrap()).collect()
    }
}

async fn say(session: &Arc<Session>, xml: &str) {
    let stanza = Stanza::from_frame(Frame::parse(xml.as_bytes()).unwrap()).unwrap();
    if let Handling::Later(rest) = session.handle(stanza) {
        rest.await;
    }
    session.settle_all().await;
}

fn received(session: &Session) -> Vec<Stanza> {
    std::iter::from_fn(|| session.resource.outbox.pop())
        .filter_map(|item| match item {
            Item::Stanza(stanza, ..) => Some(stanza),
            Item::Stored(_) => None,
        })
        .collect()
}

fn id_in(town: &Town, stanza: &Stanza, by: &str) -> Option<u64> {
    let id = stanza.child("urn:xmpp:sid:0", "stanza-id")?;
    assert_eq!(id.attr("by").unwrap(), by);
    Some(town.engine.read_id(&id.attr("id").unwrap()).unwrap())
}

const HELLO: &str =
    "<message to='nurse@capulet.example' type='chat' id='1'><body>Nurse?</body></message>";

#[tokio::test]
async fn phases_run_one_after_the_other_for_the_sender_first() {
    let town = town(false).await;
    let juliet = town.bind("juliet", "balcony").await;
    let orchard = town.bind("juliet", "orchard").await;
    let nurse = town.bind("nurse", "hall").await;
    received(&orchard);
    say(&juliet, HELLO).await;
    assert_eq!(
        town.diary.lines(),
        [
            "screen sent juliet",
            "screen received nurse",
            "annotate sent juliet",
            "annotate received nurse",
            "record sent juliet",
            "record received nurse",
            "mirror received nurse",
            "observe 1 took received nurse",
            "mirror sent juliet",
            "observe 0 took sent juliet",
        ]
    );
    let (hers, copy) = (received(&nurse), received(&orchard));
    let (at_nurse, at_juliet) = (town.kept("nurse").await, town.kept("juliet").await);
    assert_eq!((at_nurse.len(), at_juliet.len(), hers.len(), copy.len()), (1, 1, 1, 1));
    assert_eq!(id_in(&town, &hers[0], "nurse@capulet.example"), Some(at_nurse[0]));
    assert_eq!(id_in(&town, &copy[0], "juliet@capulet.example"), Some(at_juliet[0]));
    assert!(at_nurse[0] > at_juliet[0], "ids grow whatever the clock does");
}

#[tokio::test]
async fn a_message_that_comes_back_is_kept_by_nobody() {
    let town = town(true).await;
    let juliet = town.bind("juliet", "balcony").await;
    let nurse = town.bind("nurse", "hall").await;
    say(&juliet, HELLO).await;
    let answers = received(&juliet);
    assert!(answers[0].child("jabber:client", "error").is_some());
    assert!(received(&nurse).is_empty());
    assert!(town.kept("juliet").await.is_empty());
    assert!(town.kept("nurse").await.is_empty());
}

#[tokio::test]
async fn a_message_to_oneself_is_kept_once() {
    let town = town(false).await;
    let juliet = town.bind("juliet", "balcony").await;
    say(&juliet, "<message type='chat'><body>Note</body></message>").await;
    assert_eq!(town.kept("juliet").await.len(), 1);
    let note = received(&juliet);
    assert_eq!(note.len(), 1);
    assert!(id_in(&town, &note[0], "juliet@capulet.example").is_some());
}

#[tokio::test]
async fn what_was_looked_up_is_at_hand_in_the_pass() {
    let town = town(false).await;
    let juliet = town.bind("juliet", "balcony").await;
    say(&juliet, HELLO).await;
    town.diary.lines();
    let before = town.kept("nurse").await;
    let ask = "<message to='nurse@capulet.example' type='chat'><last xmlns='urn:example:diary'/></message>";
    say(&juliet, ask).await;
    let lines = town.diary.lines();
    // Only the recipient's pass asked, and what was staged just before was found.
    let told: Vec<_> = lines.iter().filter(|l| l.starts_with("last")).collect();
    assert_eq!(told, [&format!("last {}", before[0])]);
    let at = lines.iter().position(|l| l.starts_with("last")).unwrap();
    assert_eq!(lines[at - 1], "record received nurse");
}

#[tokio::test]
async fn what_is_kept_and_missed_does_not_come_back() {
    let town = town(false).await;
    let juliet = town.bind("juliet", "balcony").await;
    say(&juliet, HELLO).await;
    assert!(town.diary.lines().contains(&String::from("miss received nurse")));
    assert!(received(&juliet).is_empty());
    assert_eq!(town.kept("nurse").await.len(), 1);
}

#[tokio::test]
async fn requests_and_presence_are_screened_on_both_sides() {
    let town = town(false).await;
    let juliet = town.bind("juliet", "balcony").await;
    let _nurse = town.bind("nurse", "hall").await;
    say(&juliet, "<presence to='nurse@capulet.example/hall'/>").await;
    assert_eq!(town.diary.lines(), ["screen sent juliet", "screen received nurse"]);
    let ping =
        "<iq type='get' id='p' to='nurse@capulet.example'><ping xmlns='urn:xmpp:ping'/></iq>";
    say(&juliet, ping).await;
    assert_eq!(town.diary.lines(), ["screen sent juliet", "screen received nurse"]);
}
