//! Archives and what scripts cannot show: large pages, slow clients, a store with its own thread.

#![allow(clippy::unwrap_used)]

use stentor_engine::Close;
use stentor_stanza::Stanza;
use stentor_testkit::{Client, World};

const JULIET: &str = "juliet@capulet.example";
const ARCHIVE: &str = "urn:xmpp:mam:2";
const PAGES: &str = "http://jabber.org/protocol/rsm";

#[tokio::test]
async fn large_messages_come_in_smaller_pages_and_none_is_missing() {
    let world = World::new();
    let mut juliet = juliet(&world).await;
    let long = "x".repeat(100_000);
    for n in 0..60 {
        note(&mut juliet, n, &long).await;
    }
    juliet.receive_all();
    let (mut found, mut after, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        ask(&mut juliet, &format!("<max>250</max>{after}")).await;
        let page = juliet.receive_all();
        let (fin, results) = page.split_last().unwrap();
        found.extend(results.iter().map(id_inside));
        pages += 1;
        let fin = fin.child(ARCHIVE, "fin").unwrap();
        if fin.attr("complete").is_some_and(|c| c == "true") {
            break;
        }
        let last = fin.child(PAGES, "set").unwrap().child(PAGES, "last").unwrap();
        after = format!("<after>{}</after>", last.text());
    }
    assert_eq!(found, (0..60).collect::<Vec<_>>());
    assert!(pages > 5, "{pages}");
    assert_eq!(juliet.session().resource.outbox.closing(), None);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_asks_and_never_reads_is_ended() {
    let world = World::new();
    let mut juliet = juliet(&world).await;
    let long = "x".repeat(100_000);
    for n in 0..20 {
        note(&mut juliet, n, &long).await;
    }
    juliet.receive_all();
    // The first page fits; the second waits for room, which never comes.
    ask(&mut juliet, "<max>20</max>").await;
    assert_eq!(juliet.session().resource.outbox.closing(), None);
    ask(&mut juliet, "<max>20</max>").await;
    assert_eq!(juliet.session().resource.outbox.closing(), Some(Close::Overflow));
}

#[tokio::test]
async fn a_query_finds_what_was_sent_just_before() {
    let world = World::with_writer_thread();
    let mut juliet = juliet(&world).await;
    for n in 0..100 {
        note(&mut juliet, n, "x").await;
        juliet.receive_all();
        ask(&mut juliet, "<max>1</max><before/>").await;
        assert_eq!(id_inside(&juliet.receive_all()[0]), n);
    }
}

#[tokio::test]
async fn ids_and_times_grow_together_after_a_restart() {
    let mut world = World::new();
    let mut juliet = juliet(&world).await;
    note(&mut juliet, 0, "x").await;
    // The clock stands still; the ids must not.
    world.restart();
    let mut juliet = world.connect("juliet@capulet.example/balcony").await;
    note(&mut juliet, 1, "x").await;
    juliet.receive_all();
    ask(&mut juliet, "<max>10</max>").await;
    let all = juliet.receive_all();
    assert_eq!(all[..2].iter().map(id_inside).collect::<Vec<_>>(), [0, 1]);
}

async fn juliet(world: &World) -> Client {
    world.add_account(JULIET).await;
    world.connect("juliet@capulet.example/balcony").await
}

/// A message to herself.
async fn note(client: &mut Client, n: usize, text: &str) {
    let message =
        format!("<message type='chat' id='{n}' to='{JULIET}'><body>{text}</body></message>");
    client.send(&message).await;
}

async fn ask(client: &mut Client, page: &str) {
    let query = format!(
        "<iq type='set' id='q'><query xmlns='{ARCHIVE}'><set xmlns='{PAGES}'>{page}</set></query></iq>"
    );
    client.send(&query).await;
}

fn id_inside(result: &Stanza) -> usize {
    let result = result.child(ARCHIVE, "result").unwrap();
    let message = result.first_child().unwrap().children().last().unwrap();
    message.attr("id").unwrap().parse().unwrap()
}
