//! Sessions over a restart of the server (XEP-0198 §5): how long they wait, and what others and they
//! themselves see.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use stentor_engine::{Handling, Item, Resumed, Session};
use stentor_jid::BareJid;
use stentor_stanza::Stanza;
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
    if let Some(broken_secs) = broken_secs {
        assert!(juliet.session().break_off(Vec::new()).is_none());
        world.stores().writer.barrier().await.unwrap();
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

#[tokio::test(start_paused = true)]
async fn nothing_of_the_former_process_goes_on() {
    let mut world = World::new();
    world.add_account(JULIET).await;
    let juliet = connect(&world, JULIET, "balcony").await;
    enable(&juliet).await;
    assert!(juliet.session().break_off(Vec::new()).is_none());
    world.stores().writer.barrier().await.unwrap();
    let tasks = tokio::runtime::Handle::current().metrics();
    assert_eq!(tasks.num_alive_tasks(), 1, "somebody waits for her");
    world.restart();
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(tasks.num_alive_tasks(), 0);
    assert!(matches!(row(&world).await.state, SessionState::Detached(_)));
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

/// The next text that has this, once it is there.
async fn heard(session: &Session, part: &str) -> String {
    for _ in 0..10_000 {
        if let Some(text) = texts(session).into_iter().find(|text| text.contains(part)) {
            return text;
        }
        tokio::task::yield_now().await;
    }
    panic!("nothing with {part} comes");
}

async fn say(session: &Arc<Session>, xml: &str) {
    if let Handling::Later(rest) = session.handle(Stanza::parse(xml.as_bytes()).unwrap()) {
        rest.await;
    }
}

// XEP-0163 §4.3: what a session wishes to be told is in its presence, which outlives the server.
#[tokio::test]
async fn a_session_that_comes_back_is_told_again_what_it_wishes_to_be_told() {
    let mut world = World::new();
    for account in [JULIET, ROMEO] {
        world.add_account(account).await;
    }
    let mut juliet = connect(&world, JULIET, "balcony").await;
    let mut romeo = connect(&world, ROMEO, "orchard").await;
    befriend(&mut juliet, &mut romeo).await;
    let caps = "<c xmlns='http://jabber.org/protocol/caps' node='urn:client' ver='1'/>";
    juliet.send(&format!("<presence>{caps}</presence>")).await;
    let (of_juliet, of_romeo) = (enable(&juliet).await.0, enable(&romeo).await.0);
    let feel = |item: u32, mood: &str| {
        format!(
            "<iq type='set' id='m'><pubsub xmlns='http://jabber.org/protocol/pubsub'>\
             <publish node='urn:mood'><item id='{item}'><mood xmlns='urn:mood'>{mood}</mood>\
             </item></publish></pubsub></iq>"
        )
    };
    romeo.send(&feel(1, "sad")).await;
    world.stores().writer.barrier().await.unwrap();
    world.restart();
    assert_eq!(world.engine.restore_sessions().await, Ok(2));

    let juliet = resume(&world, JULIET, &of_juliet).await.session;
    let question = heard(&juliet, "disco#info").await;
    let id = question.split(" id='").nth(1).unwrap().split('\'').next().unwrap();
    let answer = format!(
        "<iq type='result' id='{id}' to='{JULIET}'>\
         <query xmlns='http://jabber.org/protocol/disco#info' node='urn:client#1'>\
         <feature var='urn:mood+notify'/></query></iq>"
    );
    say(&juliet, &answer).await;
    assert!(heard(&juliet, "urn:mood").await.contains(">sad<"), "the last item");
    let romeo = resume(&world, ROMEO, &of_romeo).await.session;
    say(&romeo, &feel(2, "in love")).await;
    assert!(heard(&juliet, "urn:mood").await.contains(">in love<"), "a new one");
}

// XEP-0016 §2.4: a session has its active list as long as it lasts, which is from the answer on.
#[tokio::test]
async fn a_session_with_rules_of_its_own_does_not_come_back_without_them() {
    let list = "<list name='alone'>\
                <item type='jid' value='nobody.example' action='deny' order='1'/></list>";
    let set = |query: &str| {
        format!("<iq type='set' id='p'><query xmlns='jabber:iq:privacy'>{query}</query></iq>")
    };
    for is_enabled_first in [true, false] {
        let mut world = World::new();
        for account in [JULIET, ROMEO] {
            world.add_account(account).await;
        }
        let mut juliet = connect(&world, JULIET, "balcony").await;
        juliet.send(&set(list)).await;
        let id = if is_enabled_first {
            let id = enable(&juliet).await.0;
            juliet.send(&set("<active name='alone'/>")).await;
            id
        } else {
            juliet.send(&set("<active name='alone'/>")).await;
            enable(&juliet).await.0
        };
        let mut romeo = connect(&world, ROMEO, "orchard").await;
        let message = format!("<message type='chat' id='m' to='{JULIET}'><body>x</body></message>");
        romeo.send(&message).await;
        romeo.session().settle_all().await;
        world.restart();
        assert_eq!(world.engine.restore_sessions().await, Ok(1));
        let account = BareJid::new(JULIET).unwrap();
        assert!(world.engine.resume(&account, &id, 0).await.is_err());
        let mut anew = connect(&world, JULIET, "balcony").await;
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        let got = anew.receive_all();
        let got: Vec<_> = got.iter().filter_map(|stanza| stanza.head.id.as_deref()).collect();
        assert!(got.contains(&"m"), "{got:?}");
    }
}

/// Juliet's two sessions, both resumable, and Romeo, who has sent her this.
async fn two_have(world: &World, messages: &[&str]) -> ([Client; 2], [String; 2]) {
    for account in [JULIET, ROMEO] {
        world.add_account(account).await;
    }
    let clients = [connect(world, JULIET, "balcony").await, connect(world, JULIET, "window").await];
    let ids = [enable(&clients[0]).await.0, enable(&clients[1]).await.0];
    let mut romeo = connect(world, ROMEO, "orchard").await;
    for message in messages {
        romeo.send(message).await;
    }
    world.stores().writer.barrier().await.unwrap();
    (clients, ids)
}

/// What a new session of hers is given.
async fn later(world: &World) -> Vec<String> {
    let mut later = connect(world, JULIET, "chamber").await;
    let messages = later.receive_all().into_iter().filter(|s| s.message_type().is_some());
    messages.map(|s| String::from_utf8(s.to_bytes()).unwrap()).collect()
}

/// All sessions that wait are given up.
async fn all_are_given_up() {
    tokio::time::sleep(Duration::from_secs(601)).await;
}

/// For the archive of nobody: it waits for sessions alone.
fn unarchived(body: &str) -> String {
    format!(
        "<message to='juliet@capulet.example' type='chat'><body>{body}</body>\
         <no-permanent-store xmlns='urn:xmpp:hints'/></message>"
    )
}

#[tokio::test(start_paused = true)]
async fn a_message_that_one_of_two_sessions_lost_before_the_restart_is_lost_by_the_other_alone() {
    let mut world = World::new();
    let ([balcony, _window], _) = two_have(&world, &[&unarchived("wherefore")]).await;
    balcony.cut().await;
    world.restart();
    assert_eq!(world.engine.restore_sessions().await, Ok(1));
    all_are_given_up().await;
    let later = later(&world).await;
    assert!(later.len() == 1 && later[0].contains("wherefore"), "{later:?}");
}

#[tokio::test(start_paused = true)]
async fn a_message_that_a_session_of_the_former_process_may_have_lost_is_kept_for_the_next() {
    let mut world = World::new();
    for account in [JULIET, ROMEO] {
        world.add_account(account).await;
    }
    let balcony = connect(&world, JULIET, "balcony").await;
    enable(&balcony).await;
    let _not_resumable = connect(&world, JULIET, "window").await;
    let mut romeo = connect(&world, ROMEO, "orchard").await;
    romeo.send(&unarchived("wherefore")).await;
    world.restart();
    assert_eq!(world.engine.restore_sessions().await, Ok(1));
    all_are_given_up().await;
    assert_eq!(later(&world).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_one_of_two_sessions_has_is_kept_for_nobody_after_the_restart() {
    let mut world = World::new();
    // Two that look the same are two.
    let same = unarchived("wherefore");
    let ([_balcony, window], ids) = two_have(&world, &[&same, &same]).await;
    let is_message = |text: &String| text.contains("<body>");
    assert_eq!(texts(window.session()).into_iter().filter(is_message).count(), 2);
    world.restart();
    assert_eq!(world.engine.restore_sessions().await, Ok(2));
    let window = resume(&world, JULIET, &ids[1]).await.session;
    let again = texts(&window);
    assert!(again[..2].iter().all(is_message) && !again[2..].iter().any(is_message), "{again:?}");
    window.acknowledge(2).unwrap();
    all_are_given_up().await;
    assert_eq!(later(&world).await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_both_sessions_lose_after_the_restart_is_kept_once() {
    let mut world = World::new();
    let same = unarchived("wherefore");
    two_have(&world, &[&same, &same]).await;
    world.restart();
    assert_eq!(world.engine.restore_sessions().await, Ok(2));
    all_are_given_up().await;
    assert_eq!(later(&world).await.len(), 2);
}

#[tokio::test]
async fn every_message_that_says_something_outlives_the_server() {
    let mut world = World::new();
    for account in [JULIET, ROMEO] {
        world.add_account(account).await;
    }
    let balcony = connect(&world, JULIET, "balcony").await;
    let (id, _) = enable(&balcony).await;
    let mut romeo = connect(&world, ROMEO, "orchard").await;
    let unknown = "<ticket xmlns='urn:example:shop'/>";
    let no_store = "<body>x</body><no-store xmlns='urn:xmpp:hints'/>";
    let typing = "<composing xmlns='http://jabber.org/protocol/chatstates'/>";
    for (name, kind, inside) in [
        ("chat", "chat", "<body>x</body>"),
        ("room", "groupchat", "<body>x</body>"),
        ("news", "headline", "<body>x</body>"),
        ("unknown", "chat", unknown),
        ("plain", "normal", unknown),
        ("typing", "chat", typing),
        // XEP-0334 §4.2: not even for a moment.
        ("secret", "chat", no_store),
    ] {
        romeo
            .send(&format!(
                "<message to='{JULIET}/balcony' type='{kind}' id='{name}'>{inside}</message>"
            ))
            .await;
    }
    world.restart();
    assert_eq!(world.engine.restore_sessions().await, Ok(1));
    let resumed = resume(&world, JULIET, &id).await.session;
    let texts = texts(&resumed);
    let is_there = |name: &str| texts.iter().any(|text| text.contains(&format!("id='{name}'")));
    for name in ["chat", "room", "news", "unknown", "plain"] {
        assert!(is_there(name), "{name}: {texts:?}");
    }
    assert!(!is_there("typing") && !is_there("secret"), "{texts:?}");
}

/// Romeo says something that no archive keeps to Juliet's only session; `then` happens to that before
/// the server is killed. What a session of hers is given afterwards.
async fn given<F: Future>(sm: bool, message: &str, then: impl FnOnce(Client) -> F) -> Vec<String> {
    let mut world = World::new();
    for account in [JULIET, ROMEO] {
        world.add_account(account).await;
    }
    let mut balcony = connect(&world, JULIET, "balcony").await;
    balcony.receive_all();
    if sm {
        assert!(balcony.session().enable_sm(false, None).await.is_none());
    }
    let mut romeo = connect(&world, ROMEO, "orchard").await;
    // Whoever counts what is acknowledged may rely on it.
    assert!(romeo.session().enable_sm(false, None).await.is_none());
    romeo.send(message).await;
    romeo.session().settle_all().await;
    let _left = then(balcony).await;
    world.restart();
    assert_eq!(world.engine.restore_sessions().await, Ok(0));
    later(&world).await
}

#[tokio::test]
async fn a_message_on_its_way_to_a_session_that_dies_with_the_server_is_kept_for_the_next() {
    let late = given(false, &unarchived("wherefore"), async |balcony| balcony).await;
    assert!(late.len() == 1 && late[0].contains("wherefore"), "{late:?}");
    assert!(late[0].contains("<delay "), "{late:?}");
}

#[tokio::test]
async fn a_message_that_was_written_is_not_kept() {
    let read = async |mut balcony: Client| {
        assert_eq!(balcony.receive_all().len(), 1);
        balcony
    };
    assert_eq!(given(false, &unarchived("wherefore"), read).await, [""; 0]);
}

#[tokio::test]
async fn a_message_that_was_written_and_not_acknowledged_is_kept() {
    let read = async |mut balcony: Client| {
        assert_eq!(balcony.receive_all().len(), 1);
        balcony
    };
    assert_eq!(given(true, &unarchived("wherefore"), read).await.len(), 1);
    let acknowledge = async |mut balcony: Client| {
        assert_eq!(balcony.receive_all().len(), 1);
        balcony.session().acknowledge(1).unwrap();
        balcony
    };
    assert_eq!(given(true, &unarchived("wherefore"), acknowledge).await, [""; 0]);
}

#[tokio::test]
async fn a_message_that_its_session_lost_is_kept_once() {
    let lost = async |balcony: Client| balcony.cut().await;
    assert_eq!(given(false, &unarchived("wherefore"), lost).await.len(), 1);
}

#[tokio::test]
async fn what_the_archive_keeps_is_kept_nowhere_else_on_its_way() {
    let archived =
        "<message to='juliet@capulet.example' type='chat'><body>wherefore</body></message>";
    assert_eq!(given(false, archived, async |balcony| balcony).await, [""; 0]);
}

/// Juliet, whom Romeo may see and Nurse got directed presence of; both may be resumed.
async fn seen_by_two(world: &World) -> (Client, [(Client, String); 2]) {
    for account in [JULIET, ROMEO, NURSE] {
        world.add_account(account).await;
    }
    let mut juliet = connect(world, JULIET, "balcony").await;
    let mut romeo = connect(world, ROMEO, "orchard").await;
    let nurse = connect(world, NURSE, "hall").await;
    befriend(&mut juliet, &mut romeo).await;
    juliet.send(&format!("<presence to='{NURSE}/hall'/>")).await;
    let ids = [enable(&romeo).await.0, enable(&nurse).await.0];
    let [of_romeo, of_nurse] = ids;
    world.stores().writer.barrier().await.unwrap();
    (juliet, [(romeo, of_romeo), (nurse, of_nurse)])
}

// RFC 6121 §4.5.2, §4.6.3: nobody else will tell them.
#[tokio::test]
async fn who_saw_a_session_die_with_the_server_is_told_by_the_next() {
    let mut world = World::new();
    let (_juliet, [(_, of_romeo), (_, of_nurse)]) = seen_by_two(&world).await;
    world.restart();
    world.advance(100);
    assert_eq!(world.engine.restore_sessions().await, Ok(2));
    assert_eq!(world.engine.announce_lost().await, Ok(1));
    for (account, id) in [(ROMEO, of_romeo), (NURSE, of_nurse)] {
        let witness = resume(&world, account, &id).await.session;
        let gone = heard(&witness, "type='unavailable'").await;
        assert!(gone.contains(&format!("from='{JULIET}/balcony'")), "{gone}");
    }
    let juliet = world.engine.account(&BareJid::new(JULIET).unwrap()).await.unwrap().unwrap();
    let left = world.engine.last_left(&juliet).await.unwrap().unwrap();
    assert_eq!(left.at_ms, world.engine.clock.unix_ms(), "nobody knows it more exactly");
    world.stores().writer.barrier().await.unwrap();
    assert_eq!(world.engine.announce_lost().await, Ok(0), "once");
}

#[tokio::test]
async fn a_session_that_nobody_sees_any_more_or_that_may_be_resumed_leaves_nothing_to_tell() {
    for is_orderly in [true, false] {
        let mut world = World::new();
        let (mut juliet, _witnesses) = seen_by_two(&world).await;
        match is_orderly {
            true => juliet.cut().await,
            false => drop(enable(&juliet).await),
        }
        juliet = connect(&world, JULIET, "window").await;
        juliet.send("<presence type='unavailable'/>").await;
        world.stores().writer.barrier().await.unwrap();
        world.restart();
        assert_eq!(world.engine.restore_sessions().await, Ok(if is_orderly { 2 } else { 3 }));
        assert_eq!(world.engine.announce_lost().await, Ok(0));
    }
}

#[tokio::test]
async fn who_got_directed_presence_and_then_its_end_is_told_nothing() {
    let mut world = World::new();
    let (mut juliet, [_, (_, of_nurse)]) = seen_by_two(&world).await;
    juliet.send(&format!("<presence type='unavailable' to='{NURSE}/hall'/>")).await;
    world.stores().writer.barrier().await.unwrap();
    world.restart();
    assert_eq!(world.engine.restore_sessions().await, Ok(2));
    assert_eq!(world.engine.announce_lost().await, Ok(1));
    let nurse = resume(&world, NURSE, &of_nurse).await.session;
    assert!(!texts(&nurse).iter().any(|text| text.contains(&format!("{JULIET}/balcony"))));
}

// RFC 6121 §4.6.1.
#[tokio::test]
async fn who_got_directed_presence_and_left_is_told_nothing() {
    for gone in ["balcony", "window"] {
        let mut world = World::new();
        let (_juliet, [_, (mut nurse, of_nurse)]) = seen_by_two(&world).await;
        let mut other = world.connect(&format!("{JULIET}/window")).await;
        other.send(&format!("<presence to='{NURSE}/hall'/>")).await;
        nurse.send(&format!("<presence type='unavailable' to='{JULIET}/{gone}'/>")).await;
        world.stores().writer.barrier().await.unwrap();
        let rows = world.stores().sessions.page(0, 10).await.unwrap().sessions;
        let of_window = rows.iter().filter(|row| row.resource == "window").count();
        assert_eq!(of_window, usize::from(gone == "balcony"), "nobody else sees it");
        world.restart();
        assert_eq!(world.engine.restore_sessions().await, Ok(2));
        world.engine.announce_lost().await.unwrap();
        let nurse = resume(&world, NURSE, &of_nurse).await.session;
        let told = texts(&nurse);
        assert!(!told.iter().any(|text| text.contains(&format!("{JULIET}/{gone}'"))), "{told:?}");
    }
}

#[tokio::test]
async fn whoever_is_back_before_that_is_told_is_not_shown_as_gone() {
    let mut world = World::new();
    let (_juliet, [(_, of_romeo), _]) = seen_by_two(&world).await;
    world.restart();
    assert_eq!(world.engine.restore_sessions().await, Ok(2));
    let _juliet = connect(&world, JULIET, "balcony").await;
    world.engine.announce_lost().await.unwrap();
    let romeo = resume(&world, ROMEO, &of_romeo).await.session;
    let of_juliet = texts(&romeo).into_iter().filter(|text| text.contains("/balcony'"));
    let of_juliet: Vec<_> = of_juliet.collect();
    assert!(!of_juliet.is_empty());
    assert!(!of_juliet.iter().any(|text| text.contains("unavailable")), "{of_juliet:?}");
}

// Its time ended while the server was down.
#[tokio::test(start_paused = true)]
async fn who_does_not_come_back_after_the_restart_is_shown_as_gone() {
    let mut world = World::new();
    let (juliet, [(_, of_romeo), _]) = seen_by_two(&world).await;
    enable(&juliet).await;
    let session = juliet.session().resource.jid.clone();
    let until_ms = world.engine.clock.unix_ms() - 1_000_000;
    world.stores().writer.barrier().await.unwrap();
    let rows = world.stores().sessions.page(0, 10).await.unwrap().sessions;
    let row = rows.iter().find(|row| row.owner.as_str() == JULIET).unwrap();
    let change = SessionChange::State(SessionState::Detached(until_ms));
    let write = Write::Session { session: row.session, change };
    world.stores().writer.submit(write).await.unwrap();
    world.restart();
    assert_eq!(world.engine.restore_sessions().await, Ok(3));
    assert_eq!(world.engine.announce_lost().await, Ok(0));
    let romeo = resume(&world, ROMEO, &of_romeo).await.session;
    let gone = format!("<presence type='unavailable' to='{ROMEO}' from='{session}'/>");
    assert!(!texts(&romeo).contains(&gone));
    tokio::time::sleep(Duration::from_secs(121)).await;
    assert!(texts(&romeo).contains(&gone));
}
