//! Clients that are given much at once: nothing of it is lost, and nothing waits for what waits.

#![allow(clippy::unwrap_used)]

mod support;

use stentor_engine::Settings as ProfileSettings;
use stentor_engine::limits::OUTBOX_SOFT_BYTES;
use stentor_testkit::Typist;
use support::Server;

/// Messages of 2 KB, well beyond what may wait for one session.
const MANY: usize = 400;

fn long_message(n: usize, more: &str) -> String {
    let text = "x".repeat(2_000);
    format!(
        "<message to='juliet@capulet.example' type='chat' id='m{n}'><body>{n} {text}</body>{more}</message>"
    )
}

async fn write_to_juliet(server: &Server, count: usize, more: &str) {
    assert!(count * 2_000 > OUTBOX_SOFT_BYTES || count < MANY);
    let mut romeo = server.bind("romeo@montague.example/orchard").await;
    for n in 0..count {
        romeo.say(&long_message(n, more)).await;
    }
    romeo.sync().await;
}

/// Juliet, who answers each request for an acknowledgement as clients do, until `is_done`.
struct Reader {
    juliet: Typist,
    handled: u32,
    messages: Vec<String>,
}

impl Reader {
    async fn begin(server: &Server) -> Self {
        let jid = "juliet@capulet.example/balcony";
        let mut juliet = Typist::bind(server.addr, jid, "secret").await;
        juliet.sync().await;
        juliet.say("<enable xmlns='urn:xmpp:sm:3' resume='true'/>").await;
        juliet.hear("/>").await;
        Self { juliet, handled: 0, messages: Vec::new() }
    }

    async fn read_until(&mut self, is_done: impl Fn(&[String]) -> bool) {
        while !is_done(&self.messages) {
            let element = self.juliet.next_element().await;
            assert!(!element.starts_with("<stream:error"), "{element}");
            if element.starts_with("<r ") {
                let answer = format!("<a xmlns='urn:xmpp:sm:3' h='{}'/>", self.handled);
                self.juliet.say(&answer).await;
                continue;
            }
            self.handled += 1;
            if !element.starts_with("<presence") {
                self.messages.push(element);
            }
        }
    }
}

fn numbers(messages: &[String]) -> Vec<usize> {
    let bodies = messages.iter().filter_map(|m| m.split_once("<body>"));
    bodies.map(|(_, rest)| rest.split_once(' ').unwrap().0.parse().unwrap()).collect()
}

#[tokio::test]
async fn stored_messages_go_on_as_the_client_acknowledges() {
    let server = Server::start(ProfileSettings::default()).await;
    write_to_juliet(&server, MANY, "").await;
    let mut reader = Reader::begin(&server).await;
    reader.juliet.say("<presence/>").await;
    reader.read_until(|messages| messages.len() == MANY).await;
    assert_eq!(numbers(&reader.messages), (0..MANY).collect::<Vec<_>>());
}

#[tokio::test]
async fn pages_of_an_archive_go_on_as_the_client_acknowledges() {
    let server = Server::start(ProfileSettings::default()).await;
    write_to_juliet(&server, MANY, "").await;
    let mut reader = Reader::begin(&server).await;
    // All at once: each page waits for room, and nothing else waits for the pages.
    for first in (0..MANY).step_by(100) {
        let query = format!(
            "<iq type='set' id='page{first}'><query xmlns='urn:xmpp:mam:2'>\
             <set xmlns='http://jabber.org/protocol/rsm'><max>100</max><index>{first}</index></set>\
             </query></iq>"
        );
        reader.juliet.say(&query).await;
    }
    reader.juliet.say("<iq type='get' id='late'><ping xmlns='urn:xmpp:ping'/></iq>").await;
    let is_end = |m: &String| m.contains("<fin ");
    reader.read_until(|messages| messages.iter().filter(|m| is_end(m)).count() == 4).await;
    assert_eq!(numbers(&reader.messages), (0..MANY).collect::<Vec<_>>());
    let at = |of: &dyn Fn(&String) -> bool| reader.messages.iter().position(of).unwrap();
    let ping = at(&|m| m.contains("id='late'"));
    assert!(ping < at(&|m| m.contains("id='page300'")), "nobody waits for a page");
}

/// With the presence or the query comes a ping, in one write. What fits comes before its answer, with
/// stream management and without.
#[tokio::test]
async fn what_fits_comes_before_the_answer_to_what_was_sent_later() {
    let ping = "<iq type='get' id='late'><ping xmlns='urn:xmpp:ping'/></iq>";
    let query = "<iq type='set' id='page'><query xmlns='urn:xmpp:mam:2'>\
                 <set xmlns='http://jabber.org/protocol/rsm'><max>90</max></set></query></iq>";
    let server = Server::start(ProfileSettings::default()).await;
    for (n, enable) in ["", "<enable xmlns='urn:xmpp:sm:3' resume='true'/>"].iter().enumerate() {
        // More than a page of the store.
        write_to_juliet(&server, 90, "").await;
        let jid = format!("juliet@capulet.example/balcony{n}");
        let mut juliet = Typist::bind(server.addr, &jid, "secret").await;
        juliet.say(&format!("{enable}<presence/>{ping}")).await;
        assert_eq!(juliet.hear("id='late'").await.matches("<body>").count(), 90, "{enable}");
        if enable.is_empty() {
            // The archived ones fill what may wait for a client that acknowledges nothing.
            juliet.say(&format!("{query}{ping}")).await;
            let heard = juliet.hear("id='late'").await;
            assert_eq!((heard.matches("<body>").count(), heard.matches("<fin ").count()), (90, 1));
        }
        juliet.say("</stream:stream>").await;
        juliet.hear_end().await;
    }
}

/// A client without stream management makes room by reading: nothing it sends is needed for it.
#[tokio::test]
async fn more_than_fits_comes_first_to_who_takes_it() {
    let server = Server::start(ProfileSettings::default()).await;
    write_to_juliet(&server, MANY, "").await;
    let mut juliet = Typist::bind(server.addr, "juliet@capulet.example/balcony", "secret").await;
    juliet.say("<presence/><iq type='get' id='late'><ping xmlns='urn:xmpp:ping'/></iq>").await;
    assert_eq!(juliet.hear("id='late'").await.matches("<body>").count(), MANY);
}

#[tokio::test]
async fn more_pages_than_may_wait_are_refused() {
    let server = Server::start(ProfileSettings::default()).await;
    write_to_juliet(&server, MANY, "").await;
    let jid = "juliet@capulet.example/balcony";
    let mut juliet = Typist::bind(server.addr, jid, "secret").await;
    juliet.say("<enable xmlns='urn:xmpp:sm:3'/>").await;
    for n in 0..60 {
        let set = "<set xmlns='http://jabber.org/protocol/rsm'><max>200</max></set>";
        let query = format!("<query xmlns='urn:xmpp:mam:2'>{set}</query>");
        juliet.say(&format!("<iq type='set' id='page{n}'>{query}</iq>")).await;
    }
    // She acknowledges nothing, so the second page waits.
    let heard = juliet.hear("<iq type='error' id='page59'").await;
    assert!(!heard.contains("id='page20' from"), "the first wait");
    juliet.hear("<resource-constraint ").await;
}

#[tokio::test]
async fn stored_messages_that_a_client_leaves_behind_wait_for_the_next() {
    let server = Server::start(ProfileSettings::default()).await;
    let hint = "<no-permanent-store xmlns='urn:xmpp:hints'/>";
    write_to_juliet(&server, 30, hint).await;
    let jid = "juliet@capulet.example/balcony";
    let mut hasty = Typist::bind(server.addr, jid, "secret").await;
    hasty.say("<presence/>").await;
    server.until(|world| world.engine.metrics.offline_delivered.get() == 30).await;
    // The stream ends in order; the connection does not.
    hasty.say("</stream:stream>").await;
    hasty.cut();
    server.until(|world| world.engine.metrics.sessions.get() == 0).await;
    let mut juliet = server.bind(jid).await;
    let heard = juliet.sync().await;
    assert_eq!(heard.matches("<message ").count(), 30);
}

#[tokio::test]
async fn who_has_closed_its_stream_is_given_nothing_more() {
    let server = Server::start(ProfileSettings::default()).await;
    write_to_juliet(&server, 1, "").await;
    let jid = "juliet@capulet.example/chamber";
    let mut other = Typist::bind(server.addr, jid, "secret").await;
    other.say("<presence><priority>-1</priority></presence>").await;
    let jid = "juliet@capulet.example/balcony";
    let mut juliet = Typist::bind(server.addr, jid, "secret").await;
    juliet.say("<presence><priority>5</priority></presence>").await;
    juliet.hear("<body>0 ").await;
    other.say("<presence><priority>0</priority></presence>").await;
    other.sync().await;
    // She has a stored message, and her connection stays open for a while.
    juliet.say("</stream:stream>").await;
    juliet.hear("</stream:stream>").await;
    let mut romeo = server.bind("romeo@montague.example/orchard").await;
    romeo.say(&long_message(1, "")).await;
    romeo.sync().await;
    assert!(other.sync().await.contains("<body>1 "));
}
