//! Client states over real sockets (XEP-0352).

#![allow(clippy::unwrap_used)]

mod support;

use stentor_engine::Settings;
use stentor_testkit::Typist;
use support::Server;

const INACTIVE: &str = "<inactive xmlns='urn:xmpp:csi:0'/>";
const ACTIVE: &str = "<active xmlns='urn:xmpp:csi:0'/>";
const BALCONY: &str = "juliet@capulet.example/balcony";

/// The ids of what came, in order.
fn ids(heard: &str) -> Vec<&str> {
    heard.split("id='s-").skip(1).map(|part| part.split_once('\'').unwrap().0).collect()
}

fn presence(id: &str, to: &str, show: &str) -> String {
    format!("<presence id='s-{id}' to='{to}'><show>{show}</show></presence>")
}

fn chat(id: &str, inside: &str) -> String {
    format!("<message id='s-{id}' type='chat' to='{BALCONY}'>{inside}</message>")
}

fn typing(id: &str, state: &str) -> String {
    chat(id, &format!("<{state} xmlns='http://jabber.org/protocol/chatstates'/>"))
}

/// What everything that an inactive client need not hear at once is folded to.
async fn chatter(romeo: &mut Typist, round: &str) {
    for (id, show) in [("1", "away"), ("2", "dnd"), ("3", "xa")] {
        romeo.say(&presence(&format!("p{id}{round}"), BALCONY, show)).await;
    }
    for (id, state) in [("1", "composing"), ("2", "paused")] {
        romeo.say(&typing(&format!("t{id}{round}"), state)).await;
    }
}

// covers: xep-11
#[tokio::test]
async fn what_may_wait_waits_for_something_important_or_for_somebody_who_looks() {
    let server = Server::start(Settings::default()).await;
    let (mut juliet, session) = server.juliet().await;
    let mut romeo = server.bind("romeo@montague.example/orchard").await;
    juliet.say("<presence to='romeo@montague.example/orchard'/>").await;
    juliet.say(INACTIVE).await;
    juliet.sync().await;
    let important = [
        ("body", "<body>Soft!</body>".to_owned()),
        (
            "mention",
            "<body>Juliet is the sun</body><reference xmlns='urn:xmpp:reference:0' begin='0' \
             end='6' type='mention' uri='xmpp:juliet@capulet.example'/>"
                .to_owned(),
        ),
        ("call", "<propose xmlns='urn:xmpp:jingle-message:0' id='c'/>".to_owned()),
    ];
    for (id, inside) in &important {
        chatter(&mut romeo, id).await;
        romeo.say(&chat(id, inside)).await;
        let heard = juliet.hear("</message>").await + &juliet.hear("</message>").await;
        let expected = [format!("p3{id}"), format!("t2{id}"), (*id).to_owned()];
        assert_eq!(ids(&heard), expected, "{heard}");
    }
    chatter(&mut romeo, "").await;
    let ping = format!("<iq id='s-q' type='get' to='{BALCONY}'><ping xmlns='urn:xmpp:ping'/></iq>");
    romeo.say(&ping).await;
    assert_eq!(ids(&juliet.hear("</iq>").await), ["p3", "t2", "q"]);

    // Active again: all of it comes before the answer to what she asks next.
    chatter(&mut romeo, "").await;
    romeo.sync().await;
    juliet.say(ACTIVE).await;
    assert_eq!(ids(&juliet.sync().await), ["p3", "t2"]);
    chatter(&mut romeo, "").await;
    romeo.sync().await;
    assert_eq!(ids(&juliet.sync().await).len(), 5, "an active client gets it all");

    // A resumed stream is active, whatever the former one was.
    juliet.say(INACTIVE).await;
    juliet.sync().await;
    chatter(&mut romeo, "held").await;
    romeo.sync().await;
    juliet.cut();
    server.until_detached().await;
    let (mut juliet, answer) = server.resume(&session, 0).await;
    assert!(answer.starts_with("<resumed "), "{answer}");
    let again = juliet.hear("s-t2held'").await;
    assert!(ids(&again).ends_with(&["p3held", "t2held"]) && !again.contains("p1held"), "{again}");
    chatter(&mut romeo, "").await;
    romeo.sync().await;
    assert_eq!(ids(&juliet.sync().await).len(), 5);

    let (active, inactive) = noise(&server).await;
    assert!(inactive * 10 < active, "{inactive} of {active} bytes");
}

/// The bytes that ten minutes of presence are to an active and to an inactive client: ten contacts
/// that come and go every ten seconds.
async fn noise(server: &Server) -> (usize, usize) {
    let mut active = server.bind("juliet@capulet.example/active").await;
    let mut inactive = server.bind("juliet@capulet.example/inactive").await;
    inactive.say(INACTIVE).await;
    inactive.sync().await;
    active.sync().await;
    for contact in 0..10 {
        let mut romeo =
            Typist::bind(server.addr, &format!("romeo@montague.example/{contact}"), "secret").await;
        for round in 0..60 {
            let show = if round % 2 == 0 { "away" } else { "chat" };
            for to in ["juliet@capulet.example/active", "juliet@capulet.example/inactive"] {
                romeo.say(&presence(&format!("{contact}-{round}"), to, show)).await;
            }
        }
        romeo.sync().await;
        // She goes on to see him as he was last.
        romeo.cut();
    }
    let saved = server.world.engine.metrics.csi_bytes_saved.get();
    inactive.say(ACTIVE).await;
    let (active, inactive) = (active.sync().await, inactive.sync().await);
    let saved = server.world.engine.metrics.csi_bytes_saved.get() - saved;
    // Counted as stanzas, which on this stream are a few bytes shorter.
    assert!(saved > active.len() as u64 * 8 / 10, "{saved} of {}", active.len());
    (active.len(), inactive.len())
}

#[tokio::test]
async fn nobody_else_learns_of_it_and_it_begins_as_active() {
    let server = Server::start(Settings::default()).await;
    let stranger = Typist::connect(server.addr, "capulet.example").await;
    assert!(!stranger.features().contains("urn:xmpp:csi:0"), "{}", stranger.features());
    let juliet = Typist::sign_in(server.addr, "juliet@capulet.example", "secret").await;
    assert!(juliet.features().contains("<csi xmlns='urn:xmpp:csi:0'/>"), "{}", juliet.features());
    let (mut juliet, _) = server.juliet().await;
    let mut romeo = server.bind("romeo@montague.example/orchard").await;
    juliet.say("<presence to='romeo@montague.example/orchard'/>").await;
    juliet.sync().await;
    romeo.sync().await;
    // Counts of stanzas do not move, and nobody hears anything.
    juliet.say(INACTIVE).await;
    juliet.say(ACTIVE).await;
    juliet.say("<r xmlns='urn:xmpp:sm:3'/>").await;
    let count = juliet.hear("<a xmlns='urn:xmpp:sm:3' h='2'/>").await;
    assert_eq!(ids(&count), [""; 0]);
    assert!(!romeo.sync().await.contains("juliet"), "he heard of it");
}
