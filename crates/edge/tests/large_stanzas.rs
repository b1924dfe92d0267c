//! Stanzas of the largest size that is announced, and of one byte more (RFC 6120 §13.12, XEP-0478).

#![allow(clippy::unwrap_used)]

mod support;

use stentor_engine::Settings as ProfileSettings;
use stentor_testkit::Typist;
use support::Server;

const BYTES_MAX: usize = 262_144;

/// A message of so many bytes, and its body.
fn message(bytes: usize) -> (String, String) {
    let (open, close) =
        ("<message to='juliet@capulet.example' type='chat'><body>", "</body></message>");
    let body: String = ('a'..='z').cycle().take(bytes - open.len() - close.len()).collect();
    (format!("{open}{body}{close}"), body)
}

#[tokio::test]
async fn a_message_of_the_announced_size_arrives_unchanged_live_stored_and_archived() {
    let server = Server::start(ProfileSettings::default()).await;
    let (text, body) = message(BYTES_MAX);
    assert_eq!(text.len(), BYTES_MAX);
    let jid = "juliet@capulet.example/balcony";
    let mut juliet = Typist::bind(server.addr, jid, "secret").await;
    let limits = format!("<limits xmlns='urn:xmpp:stream-limits:0'><max-bytes>{BYTES_MAX}<");
    assert!(juliet.features().contains(&limits), "{}", juliet.features());
    juliet.say("<presence/>").await;
    juliet.sync().await;
    let mut romeo = server.bind("romeo@montague.example/orchard").await;
    romeo.say(&text).await;
    romeo.sync().await;
    assert!(juliet.hear("</body>").await.contains(&format!("<body>{body}<")), "live");
    juliet.say("<presence type='unavailable'/>").await;
    juliet.sync().await;
    romeo.say(&text).await;
    romeo.sync().await;
    juliet.say("<presence/>").await;
    assert!(juliet.hear("</body>").await.contains(&format!("<body>{body}<")), "stored");
    juliet.sync().await;
    juliet.say("<iq type='set' id='page'><query xmlns='urn:xmpp:mam:2'/></iq>").await;
    let archived = juliet.hear("<fin ").await;
    assert_eq!(archived.matches(&format!("<body>{body}<")).count(), 2, "archived");
}

#[tokio::test]
async fn one_byte_more_ends_the_stream_also_of_a_stanza_without_end() {
    let server = Server::start(ProfileSettings::default()).await;
    let (one_more, _) = message(BYTES_MAX + 1);
    let endless = format!("<message><body>{}", "a".repeat(BYTES_MAX));
    for text in [&one_more, &endless[..=BYTES_MAX]] {
        let mut romeo = server.bind("romeo@montague.example/orchard").await;
        romeo.sync().await;
        romeo.say(text).await;
        let end = romeo.hear_end().await;
        assert!(end.contains("<policy-violation ") && end.contains("<stanza-too-big "), "{end}");
        assert!(end.ends_with("</stream:stream>"), "{end}");
    }
    // Before sign-in so little is enough.
    let mut nobody = Typist::connect(server.addr, "capulet.example").await;
    nobody.say(&endless[..=16_384]).await;
    let end = nobody.hear_end().await;
    assert!(end.contains("<policy-violation ") && end.contains("<stanza-too-big "), "{end}");
}
