//! Sessions that replace each other or end, accounts that are suspended or deleted, and writes that
//! the store refuses.

#![allow(clippy::unwrap_used)]

use std::pin::pin;
use std::task::Poll;

use stentor_engine::host::{Delivery, ResourceConflict};
use stentor_engine::limits::{OFFLINE_PAGE, OUTBOX_SOFT_BYTES};
use stentor_engine::{Close, Handling, Settings};
use stentor_jid::BareJid;
use stentor_stanza::Stanza;
use stentor_store::{RosterRow, Write, Writer, WriterLimits};
use stentor_store_sqlite::{Options, Sqlite};
use stentor_testkit::{Client, World};

const JULIET: &str = "juliet@capulet.example";
const ROMEO: &str = "romeo@montague.example";

#[tokio::test]
async fn a_replaced_session_is_heard_no_more_and_leaves_its_messages_to_the_newer() {
    let settings = Settings { resource_conflict: ResourceConflict::Replace, ..Settings::default() };
    let world = World::with(settings, "");
    let (mut juliet, mut romeo) = pair(&world).await;
    romeo
        .send(&format!("<message type='chat' id='m' to='{JULIET}'><body>x</body></message>"))
        .await;
    let mut newer = world.connect("juliet@capulet.example/r").await;
    assert_eq!(juliet.session().resource.outbox.closing(), Some(Close::Conflict));
    newer.send("<presence><show>dnd</show></presence>").await;
    juliet.send("<presence><show>away</show></presence>").await;
    juliet.cut().await;
    assert_eq!(
        texts(&mut romeo),
        [
            format!("<presence type='unavailable' to='{ROMEO}' from='{JULIET}/r'/>"),
            format!("<presence to='{ROMEO}' from='{JULIET}/r'><show>dnd</show></presence>"),
        ]
    );
    assert!(texts(&mut newer).last().unwrap().contains("id='m'"));
}

#[tokio::test]
async fn a_session_that_is_ending_is_passed_over_for_the_next_best() {
    let world = World::new();
    let (mut juliet, mut romeo) = pair(&world).await;
    juliet.send("<presence><priority>5</priority></presence>").await;
    let mut other = world.connect("juliet@capulet.example/other").await;
    other.send("<presence/>").await;
    other.receive_all();
    juliet.session().resource.outbox.close(Close::Revoked);
    for to in [JULIET, "juliet@capulet.example/r"] {
        romeo.send(&format!("<message type='chat' to='{to}'><body>x</body></message>")).await;
    }
    assert_eq!(other.receive_all().len(), 2);
}

#[tokio::test]
async fn what_waited_for_a_session_that_is_bound_anew_comes_before_what_comes_later() {
    let world = World::new();
    let (juliet, mut romeo) = pair(&world).await;
    juliet.session().enable_sm(true, None).await.unwrap();
    assert!(juliet.session().break_off(Vec::new()).is_none());
    for id in 1..=3 {
        romeo.send(&chat(id)).await;
    }
    // It resumes nothing, and is not there yet for the next.
    let mut newer = world.connect("juliet@capulet.example/r").await;
    romeo.send(&chat(4)).await;
    newer.send("<presence/>").await;
    romeo.send(&chat(5)).await;
    assert_eq!(ids(newer.receive_all()), ["m1", "m2", "m3", "m4", "m5"]);
}

/// A session whose cut nobody has noticed yet, or one that is alive.
#[tokio::test]
async fn what_a_replaced_session_was_given_comes_before_what_comes_later() {
    let settings = Settings { resource_conflict: ResourceConflict::Replace, ..Settings::default() };
    let world = World::with(settings, "");
    let (mut older, mut romeo) = pair(&world).await;
    older.session().enable_sm(true, None).await.unwrap();
    older.receive_all();
    for id in 1..=4 {
        romeo.send(&chat(id)).await;
        if id == 2 {
            // Written, and not acknowledged.
            assert_eq!(ids(older.receive_all()), ["m1", "m2"]);
        }
    }
    let mut newer = world.connect("juliet@capulet.example/r").await;
    romeo.send(&chat(5)).await;
    newer.send("<presence/>").await;
    romeo.send(&chat(6)).await;
    older.cut().await;
    romeo.send(&chat(7)).await;
    let came = newer.receive_all();
    let stamped = came.iter().filter(|s| s.has_child("urn:xmpp:delay", "delay")).count();
    assert_eq!(
        (ids(came), stamped),
        (["m1", "m2", "m3", "m4", "m5", "m6", "m7"].map(String::from).to_vec(), 5)
    );
}

/// What is stored while a session is being handed what was stored before stays behind that, whatever
/// becomes of the session.
#[tokio::test]
async fn what_a_session_was_handed_goes_back_before_what_was_stored_meanwhile() {
    for is_replaced in [true, false] {
        let settings =
            Settings { resource_conflict: ResourceConflict::Replace, ..Settings::default() };
        let world = World::with(settings, "");
        let (juliet, mut romeo) = pair(&world).await;
        juliet.cut().await;
        // More than are handed at once.
        let count = 4 * OFFLINE_PAGE;
        let big = "x".repeat(OUTBOX_SOFT_BYTES / usize::try_from(OFFLINE_PAGE).unwrap());
        for id in 1..=count {
            romeo.send(&chat(id).replace(">x<", &format!(">{big}<"))).await;
        }
        let older = world.connect("juliet@capulet.example/r").await;
        older.session().enable_sm(true, None).await.unwrap();
        let session = older.session().clone();
        let presence = Stanza::parse(b"<presence/>").unwrap();
        drop(session.handle(presence));
        while session.resource.outbox.bytes() == 0 {
            tokio::task::yield_now().await;
        }
        romeo.send(&chat(count + 1)).await;
        if !is_replaced {
            older.cut().await;
        }
        let mut newer = world.connect("juliet@capulet.example/r").await;
        romeo.send(&chat(count + 2)).await;
        let presence = Stanza::parse(b"<presence/>").unwrap();
        drop(newer.session().handle(presence));
        let mut came = Vec::new();
        while newer.session().is_busy() || newer.session().resource.outbox.bytes() > 0 {
            came.extend(ids(newer.receive_all()));
            tokio::task::yield_now().await;
        }
        let all: Vec<_> = (1..=count + 2).map(|id| format!("m{id}")).collect();
        assert_eq!(came, all, "{is_replaced}");
    }
}

// XEP-0203 §2: one stamp, of when it was sent.
#[tokio::test]
async fn what_was_handed_over_and_came_back_has_its_first_stamp_alone() {
    for hint in ["", "<no-permanent-store xmlns='urn:xmpp:hints'/>"] {
        let world = World::new();
        let (juliet, mut romeo) = pair(&world).await;
        juliet.cut().await;
        romeo.send(&chat(1).replace("</message>", &format!("{hint}</message>"))).await;
        let sent = stentor_payload::xep0082_time::write(world.engine.clock.unix_ms());
        for _ in 0..3 {
            world.advance(100);
            let mut juliet = world.connect("juliet@capulet.example/r").await;
            juliet.session().enable_sm(true, None).await.unwrap();
            juliet.send("<presence/>").await;
            let stored = juliet.find(|stanza| stanza.message_type().is_some()).unwrap();
            let delays = stored.children().filter(|child| child.is("urn:xmpp:delay", "delay"));
            let stamps: Vec<_> = delays.map(|d| d.attr("stamp").unwrap().into_owned()).collect();
            assert_eq!(stamps, [sent.as_str()], "{hint}");
            // She has it, and does not come back to say so.
            world.advance(100);
            assert!(juliet.session().break_off(Vec::new()).is_none());
            juliet.cut().await;
        }
    }
}

fn chat(id: u32) -> String {
    format!("<message type='chat' id='m{id}' to='{JULIET}'><body>x</body></message>")
}

fn ids(stanzas: Vec<Stanza>) -> Vec<String> {
    let messages = stanzas.into_iter().filter(|stanza| stanza.message_type().is_some());
    messages.filter_map(|stanza| Some(stanza.head.id?.to_string())).collect()
}

// RFC 6121 §4.7.2.3.
#[tokio::test]
async fn priorities_are_shown_as_they_count() {
    for (rule, said, shown) in [
        (Delivery::MostAvailable, 127, "<priority>127</priority>"),
        (Delivery::All, 127, ""),
        (Delivery::All, 0, "<priority>0</priority>"),
        (Delivery::All, -1, "<priority>-1</priority>"),
    ] {
        let world = World::with(Settings { delivery: rule, ..Settings::default() }, "");
        let (mut juliet, mut romeo) = pair(&world).await;
        juliet.receive_all();
        juliet
            .send(&format!("<presence><show>away</show><priority>{said}</priority></presence>"))
            .await;
        for client in [&mut juliet, &mut romeo] {
            let seen = texts(client);
            let inside = format!("'><show>away</show>{shown}</presence>");
            assert!(seen.len() == 1 && seen[0].ends_with(&inside), "{rule:?} {said}: {seen:?}");
        }
    }
}

#[tokio::test]
async fn senders_wait_for_a_slow_disk_and_none_is_refused() {
    let limits = WriterLimits { staged_writes_max: 16, ..WriterLimits::default() };
    let options = Options { writer: limits, ..Options::default() };
    let stores = Sqlite::in_memory_stepped(&options).unwrap().stores();
    let writer = stores.writer.clone();
    let world = World::over(stores, Settings::default(), "");
    for account in [JULIET, ROMEO] {
        until_committed(&writer, world.add_account(account)).await;
    }
    let romeo = until_committed(&writer, world.connect("romeo@montague.example/r")).await;
    let mut juliet = until_committed(&writer, world.connect("juliet@capulet.example/r")).await;
    until_committed(&writer, juliet.send("<presence/>")).await;
    juliet.receive_all();

    let message = format!("<message type='chat' to='{JULIET}'><body>x</body></message>");
    let mut waits = 0;
    for _ in 0..100 {
        // The disk does nothing unless somebody waits for it.
        if let Handling::Later(rest) =
            romeo.session().handle(Stanza::parse(message.as_bytes()).unwrap())
        {
            waits += 1;
            until_committed(&writer, rest).await;
        }
    }
    assert_eq!(juliet.receive_all().len(), 100);
    let mut romeo = romeo;
    assert!(texts(&mut romeo).is_empty());
    assert!((10..=50).contains(&waits), "{waits}");
}

// RFC 6121 §4.3.2; the time of a message is that of its sending (XEP-0203 §3).
#[tokio::test]
async fn a_slow_disk_delays_neither_who_left_nor_who_is_read_from_it_nor_the_time_of_a_message() {
    let limits = WriterLimits { staged_writes_max: 16, ..WriterLimits::default() };
    let options = Options { writer: limits, ..Options::default() };
    let stores = Sqlite::in_memory_stepped(&options).unwrap().stores();
    let writer = stores.writer.clone();
    let world = World::over(stores, Settings::default(), "");
    for account in [JULIET, ROMEO, "nurse@capulet.example"] {
        until_committed(&writer, world.add_account(account)).await;
    }
    let mut romeo = until_committed(&writer, world.connect("romeo@montague.example/r")).await;
    let mut juliet = until_committed(&writer, world.connect("juliet@capulet.example/r")).await;
    juliet.send("<presence/>").await;
    until_committed(&writer, romeo.send(&format!("<presence type='subscribe' to='{JULIET}'/>")))
        .await;
    until_committed(&writer, juliet.send(&format!("<presence type='subscribed' to='{ROMEO}'/>")))
        .await;
    juliet.send("<presence type='unavailable'/>").await;
    romeo.receive_all();

    // From here on the disk does nothing.
    romeo.send(&format!("<presence type='probe' to='{JULIET}'/>")).await;
    let answer = texts(&mut romeo);
    assert!(answer.len() == 1 && answer[0].contains("<delay "), "{answer:?}");
    let message = "<message type='chat' to='nurse@capulet.example'><body>x</body></message>";
    romeo.send(message).await;
    let held = loop {
        match romeo.session().handle(Stanza::parse(message.as_bytes()).unwrap()) {
            Handling::Later(rest) => break rest,
            Handling::Done => {}
        }
    };
    world.advance(3);
    until_committed(&writer, held).await;
    let nurse = BareJid::new("nurse@capulet.example").unwrap();
    while writer.step() {}
    let page = world.stores().offline.page(&nurse, 0, 100).await.unwrap();
    let first = page.messages[0].received_ms;
    assert!(page.messages.iter().all(|message| message.received_ms == first), "{page:?}");
}

#[tokio::test]
async fn a_refused_roster_change_is_an_error_and_clients_are_told_what_is_true() {
    let world = World::new();
    let (mut juliet, _romeo) = pair(&world).await;
    // Something else wrote a later version: ours goes back, and is refused.
    let owner = BareJid::new(JULIET).unwrap();
    let item = RosterRow::new(BareJid::new("friar@church.example").unwrap());
    let version = 1 << 50;
    world.stores().writer.submit(Write::PutRoster { owner, item, version }).await.unwrap();
    juliet
        .send(&format!(
            "<iq type='set' id='s'><query xmlns='jabber:iq:roster'><item jid='{ROMEO}' name='R'/>\
             </query></iq>"
        ))
        .await;
    let texts = texts(&mut juliet);
    let (error, pushes) = texts.split_last().unwrap();
    assert!(error.contains("<internal-server-error "), "{error}");
    // What was pushed, and what the store has: the name is gone again, the friar is there.
    assert!(pushes[0].contains("name='R'"), "{pushes:?}");
    let item = format!("<item jid='{ROMEO}' subscription='from'/>");
    assert!(pushes[1..].iter().any(|p| p.contains(&item)), "{pushes:?}");
    assert!(pushes[1..].iter().any(|p| p.contains("friar@church.example")), "{pushes:?}");
    // From here on all is well.
    juliet
        .send(&format!(
            "<iq type='set' id='t'><query xmlns='jabber:iq:roster'><item jid='{ROMEO}' name='S'/>\
             </query></iq>"
        ))
        .await;
    let last = juliet.receive_all().pop().unwrap();
    assert_eq!(last.head.id.as_deref(), Some("t"));
    assert!(!last.head.kind.is_error());
}

#[tokio::test]
async fn a_suspended_account_gets_nothing_and_loses_nothing() {
    let world = World::new();
    let (juliet, mut romeo) = pair(&world).await;
    juliet.cut().await;
    let message = format!("<message type='chat' id='m' to='{JULIET}'><body>x</body></message>");
    romeo.send(&message).await;
    let owner = BareJid::new(JULIET).unwrap();
    let juliet = world.connect("juliet@capulet.example/r").await;
    world.engine.suspend_account(&owner, true).await.unwrap();
    assert_eq!(juliet.session().resource.outbox.closing(), Some(Close::Suspended));
    juliet.cut().await;
    romeo.receive_all();
    romeo.send(&message).await;
    assert!(texts(&mut romeo)[0].contains("<error type='cancel'><service-unavailable "));
    romeo.send(&format!("<presence type='probe' to='{JULIET}'/>")).await;
    assert!(texts(&mut romeo)[0].starts_with("<presence type='unavailable' "));
    assert!(world.engine.bind(&owner, None).await.is_err());
    world.engine.suspend_account(&owner, false).await.unwrap();
    let mut juliet = world.connect("juliet@capulet.example/r").await;
    juliet.send("<presence/>").await;
    assert_eq!(texts(&mut juliet).iter().filter(|t| t.contains("id='m'")).count(), 1);
}

#[tokio::test]
async fn deletion_denies_requests_that_wait_and_shows_nobody_more_than_before() {
    let world = World::new();
    let (juliet, mut romeo) = pair(&world).await;
    world.add_account("nurse@capulet.example").await;
    let mut nurse = world.connect("nurse@capulet.example/hall").await;
    nurse.send("<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>").await;
    nurse.send("<presence/>").await;
    nurse.send(&format!("<presence type='subscribe' to='{JULIET}'/>")).await;
    nurse.receive_all();
    let owner = BareJid::new(JULIET).unwrap();
    world.engine.delete_account(&owner).await.unwrap();
    juliet.cut().await;
    let (nurse, romeo) = (texts(&mut nurse), texts(&mut romeo));
    assert_eq!(nurse.len(), 2, "{nurse:?}");
    assert!(nurse[0].starts_with("<presence type='unsubscribed' "), "{nurse:?}");
    assert!(nurse[1].contains("subscription='none'/>"), "{nurse:?}");
    let gone = romeo.iter().filter(|t| t.starts_with("<presence type='unavailable' ")).count();
    assert_eq!(gone, 1, "{romeo:?}");
    assert!(world.engine.account(&owner).await.unwrap().is_none());
}

/// Juliet at `r` and Romeo, both available; he sees her presence. Nothing is unread.
async fn pair(world: &World) -> (Client, Client) {
    world.add_account(JULIET).await;
    world.add_account(ROMEO).await;
    let mut juliet = world.connect("juliet@capulet.example/r").await;
    let mut romeo = world.connect("romeo@montague.example/orchard").await;
    for client in [&mut juliet, &mut romeo] {
        client.send("<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>").await;
        client.send("<presence/>").await;
    }
    romeo.send(&format!("<presence type='subscribe' to='{JULIET}'/>")).await;
    juliet.send(&format!("<presence type='subscribed' to='{ROMEO}'/>")).await;
    juliet.receive_all();
    romeo.receive_all();
    (juliet, romeo)
}

fn texts(client: &mut Client) -> Vec<String> {
    let text = |stanza: &Stanza| String::from_utf8(stanza.to_bytes()).unwrap();
    client.receive_all().iter().map(text).collect()
}

/// Waits for something; the writer works only while that does not go on without it.
async fn until_committed<T>(writer: &Writer, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    std::future::poll_fn(|cx| {
        loop {
            match work.as_mut().poll(cx) {
                Poll::Ready(done) => return Poll::Ready(done),
                Poll::Pending if writer.step() => {}
                Poll::Pending => {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
            }
        }
    })
    .await
}
