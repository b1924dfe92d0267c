//! Stream management over real sockets: cut connections, resumption, sessions given up (XEP-0198).

#![allow(clippy::unwrap_used)]

mod support;

use stentor_engine::Settings as ProfileSettings;
use stentor_engine::limits::DETACHED_PER_ACCOUNT_MAX;
use stentor_store::{Backend, Stage, StoreError, Stores, Writer, WriterLimits};
use stentor_testkit::{Typist, World};
use support::Server;

fn message(body: &str) -> String {
    format!(
        "<message to='juliet@capulet.example' type='chat' id='{body}'><body>{body}</body></message>"
    )
}

/// The minutes of a day in a stamp of XEP-0082.
fn minutes(stamp: &str) -> u32 {
    let (hours, minutes) = (&stamp[11..13], &stamp[14..16]);
    hours.parse::<u32>().unwrap() * 60 + minutes.parse::<u32>().unwrap()
}

fn bodies(text: &str) -> Vec<&str> {
    text.split("<body>").skip(1).map(|part| part.split_once('<').unwrap().0).collect()
}

#[tokio::test]
async fn what_a_cut_connection_swallowed_comes_again_once_and_in_order() {
    let server = Server::start(ProfileSettings::default()).await;
    let (juliet, id) = server.juliet().await;
    let mut romeo = server.bind("romeo@montague.example/orchard").await;
    romeo.say(&message("one")).await;
    romeo.sync().await;
    juliet.cut();
    server.until_detached().await;
    for body in ["two", "three"] {
        romeo.say(&message(body)).await;
    }
    romeo.sync().await;
    let (mut juliet, answer) = server.resume(&id, 0).await;
    assert_eq!(answer, format!("<resumed xmlns='urn:xmpp:sm:3' h='0' previd='{id}'/>"));
    let heard = juliet.sync().await;
    assert_eq!(bodies(&heard), ["one", "two", "three"]);
    // She has them and the answer; the next time nothing comes again.
    juliet.say("<a xmlns='urn:xmpp:sm:3' h='4'/>").await;
    juliet.sync().await;
    juliet.cut();
    server.until_detached().await;
    let (mut juliet, answer) = server.resume(&id, 5).await;
    assert!(answer.contains("h='2'"), "both pings were handled: {answer}");
    assert_eq!(bodies(&juliet.sync().await), [""; 0]);
}

#[tokio::test]
async fn contacts_see_nothing_of_a_cut_that_is_mended() {
    let server = Server::start(ProfileSettings::default()).await;
    let (juliet, id) = server.juliet().await;
    let mut other = server.bind("juliet@capulet.example/chamber").await;
    juliet.cut();
    server.until_detached().await;
    let (mut juliet, _) = server.resume(&id, 0).await;
    juliet.sync().await;
    let seen = other.sync().await;
    assert!(!seen.contains("unavailable"), "{seen}");
    // The resource is still the one that gets messages.
    let mut romeo = server.bind("romeo@montague.example/orchard").await;
    romeo.say(&message("hark")).await;
    juliet.hear("<body>hark</body>").await;
}

#[tokio::test]
async fn a_session_is_taken_from_a_stream_that_only_looks_alive() {
    let server = Server::start(ProfileSettings::default()).await;
    let (mut ghost, id) = server.juliet().await;
    let mut romeo = server.bind("romeo@montague.example/orchard").await;
    romeo.say(&message("one")).await;
    romeo.sync().await;
    let (mut juliet, answer) = server.resume(&id, 0).await;
    assert!(answer.starts_with("<resumed "), "{answer}");
    assert_eq!(bodies(&juliet.sync().await), ["one"]);
    assert!(ghost.hear_end().await.contains("<conflict "));
}

#[tokio::test]
async fn answers_wait_for_what_was_sent_before_and_count_it() {
    let server = Server::start(ProfileSettings::default()).await;
    let (mut juliet, _) = server.juliet().await;
    for n in 0..3 {
        juliet
            .say(&format!(
                "<message to='romeo@montague.example' type='chat' id='{n}'><body>{n}</body></message>"
            ))
            .await;
    }
    juliet.say("<r xmlns='urn:xmpp:sm:3'/>").await;
    juliet.hear("<a xmlns='urn:xmpp:sm:3' h='3'/>").await;
    let mut romeo = server.bind("romeo@montague.example/orchard").await;
    romeo.hear("<body>2</body>").await;
}

#[tokio::test]
async fn each_request_is_answered_by_itself() {
    let server = Server::start(ProfileSettings::default()).await;
    let (mut juliet, _) = server.juliet().await;
    let one = "<message to='romeo@montague.example' type='chat'><body>x</body></message>";
    let ask = "<r xmlns='urn:xmpp:sm:3'/>";
    juliet.say(&format!("{ask}{one}{ask}{one}{one}{ask}{ask}")).await;
    let heard = juliet.sync().await;
    let answers: Vec<_> = heard.split("<a ").skip(1).filter_map(|a| a.split('\'').nth(3)).collect();
    assert_eq!(answers, ["0", "1", "3", "3"], "{heard}");
}

// XEP-0198 §4: the answer "MUST NOT be withheld".
#[tokio::test]
async fn a_request_before_the_end_of_the_stream_is_answered() {
    let server = Server::start(ProfileSettings::default()).await;
    let (mut juliet, _) = server.juliet().await;
    let one = "<message to='romeo@montague.example' type='chat'><body>x</body></message>";
    juliet.say(&format!("{one}{one}<r xmlns='urn:xmpp:sm:3'/></stream:stream>")).await;
    let last = juliet.hear_end().await;
    assert!(last.ends_with("<a xmlns='urn:xmpp:sm:3' h='2'/></stream:stream>"), "{last}");
}

struct Failing;

impl Backend for Failing {
    fn commit(&mut self, stages: &[Stage]) -> Vec<Result<(), StoreError>> {
        stages.iter().map(|_| Err(StoreError::Conflict)).collect()
    }
}

#[tokio::test]
async fn a_request_is_answered_though_the_commit_before_it_fails() {
    let world = World::new();
    Server::create_accounts(&world).await;
    let writer = Writer::stepped(Failing, WriterLimits::default());
    let stores = Stores { writer: writer.clone(), ..world.stores().clone() };
    let server = Server::over(World::over(stores, ProfileSettings::default(), ""));
    let mut juliet = server.bind("juliet@capulet.example/balcony").await;
    juliet.say("<enable xmlns='urn:xmpp:sm:3'/>").await;
    juliet.hear("/>").await;
    juliet
        .say("<presence to='romeo@montague.example' type='subscribe'/><r xmlns='urn:xmpp:sm:3'/>")
        .await;
    let fail = server.until(|_| {
        writer.step();
        false
    });
    tokio::select! {
        _ = juliet.hear("<a xmlns='urn:xmpp:sm:3' h='1'/>") => {}
        () = fail => {}
    }
}

#[tokio::test]
async fn a_domain_that_resumes_nothing_says_so() {
    let settings = ProfileSettings { resume_secs: 0, ..ProfileSettings::default() };
    let server = Server::start(settings).await;
    let (mut juliet, _) = server.resume("anything", 0).await;
    let failed = juliet.hear("</failed>").await;
    assert!(failed.contains("<feature-not-implemented "), "{failed}");
}

#[tokio::test]
async fn only_the_account_itself_resumes_and_only_what_is_there() {
    let server = Server::start(ProfileSettings::default()).await;
    let (juliet, id) = server.juliet().await;
    juliet.cut();
    server.until_detached().await;
    let mut romeo = Typist::sign_in(server.addr, "romeo@montague.example", "secret").await;
    romeo.say(&format!("<resume xmlns='urn:xmpp:sm:3' previd='{id}' h='0'/>")).await;
    let failed = romeo.hear("</failed>").await;
    assert!(failed.contains("<item-not-found "), "{failed}");
    let (mut juliet, failed) = server.resume("nonsense", 0).await;
    assert_eq!(failed, "<failed xmlns='urn:xmpp:sm:3'>");
    juliet.hear("</failed>").await;
    juliet.say(&format!("<resume xmlns='urn:xmpp:sm:3' previd='{id}' h='0'/>")).await;
    juliet.hear("<resumed ").await;
}

#[tokio::test]
async fn impossible_counts_end_the_stream_and_leave_the_session() {
    let server = Server::start(ProfileSettings::default()).await;
    let (mut juliet, id) = server.juliet().await;
    juliet.say("<a xmlns='urn:xmpp:sm:3' h='9'/>").await;
    let heard = juliet.hear_end().await;
    assert!(
        heard.contains("<handled-count-too-high xmlns='urn:xmpp:sm:3' h='9' send-count='0'/>"),
        "{heard}"
    );
    let (juliet, id_after) = server.juliet().await;
    juliet.cut();
    server.until_detached().await;
    assert_ne!(id, id_after);
    let (mut juliet, _) = server.resume(&id_after, 7).await;
    assert!(juliet.hear_end().await.contains("handled-count-too-high"));
    let (_juliet, answer) = server.resume(&id_after, 0).await;
    assert!(answer.starts_with("<resumed "), "{answer}");
}

#[tokio::test]
async fn a_session_given_up_gives_its_messages_to_the_next_with_their_time() {
    let settings = ProfileSettings { resume_secs: 1, ..ProfileSettings::default() };
    let server = Server::start(settings).await;
    let (juliet, id) = server.juliet().await;
    let mut romeo = server.bind("romeo@montague.example/orchard").await;
    juliet.cut();
    server.until_detached().await;
    romeo.say(&message("one")).await;
    romeo.sync().await;
    server.world.advance(60);
    romeo.say(&message("two")).await;
    romeo.sync().await;
    server.world.advance(60);
    server.until(|world| world.engine.metrics.sessions.get() == 1).await;
    let (mut juliet, failed) = server.resume(&id, 0).await;
    assert_eq!(failed, "<failed xmlns='urn:xmpp:sm:3' h='0'>", "it is known what was handled");
    juliet.hear("</failed>").await;
    let mut juliet = Typist::bind(server.addr, "juliet@capulet.example/balcony", "secret").await;
    juliet.say("<presence/>").await;
    let heard = juliet.hear("two</body>").await + &juliet.sync().await;
    assert_eq!(bodies(&heard), ["one", "two"]);
    let stamps: Vec<_> = heard.split("stamp='").skip(1).map(|s| &s[..20]).collect();
    assert_eq!(stamps.len(), 2, "one stamp each: {heard}");
    assert_eq!(minutes(stamps[1]), minutes(stamps[0]) + 1, "each its own: {heard}");
}

#[tokio::test]
async fn an_orderly_close_ends_the_session_at_once() {
    let server = Server::start(ProfileSettings::default()).await;
    let (mut juliet, id) = server.juliet().await;
    juliet.say("</stream:stream>").await;
    juliet.hear_end().await;
    server.until(|world| world.engine.metrics.sessions.get() == 0).await;
    let (mut juliet, failed) = server.resume(&id, 0).await;
    assert!(failed.starts_with("<failed "), "{failed}");
    assert!(juliet.hear("</failed>").await.contains("item-not-found"));
}

#[tokio::test]
async fn a_stream_that_ends_in_broken_xml_is_unfinished() {
    let server = Server::start(ProfileSettings::default()).await;
    let (mut juliet, id) = server.juliet().await;
    juliet.say("<message to='romeo@montague.example'><body>x</message>").await;
    assert!(juliet.hear_end().await.contains("<not-well-formed "));
    server.until_detached().await;
    let (_juliet, answer) = server.resume(&id, 0).await;
    assert!(answer.starts_with("<resumed ") && answer.contains("h='0'"), "{answer}");
}

#[tokio::test]
async fn the_oldest_of_too_many_broken_sessions_is_given_up() {
    let server = Server::start(ProfileSettings::default()).await;
    let mut ids = Vec::new();
    for n in 0..=DETACHED_PER_ACCOUNT_MAX {
        let jid = format!("juliet@capulet.example/{n}");
        let mut juliet = Typist::bind(server.addr, &jid, "secret").await;
        juliet.say("<enable xmlns='urn:xmpp:sm:3' resume='true'/>").await;
        let enabled = juliet.hear("/>").await;
        ids.push(enabled.split('\'').nth(3).unwrap().to_owned());
        juliet.cut();
        let waiting = (n + 1).min(DETACHED_PER_ACCOUNT_MAX) as i64;
        server
            .until(|world| {
                let metrics = &world.engine.metrics;
                let given_up = metrics.sessions_given_up.get() as i64;
                metrics.sessions_detached.get() == waiting && given_up == n as i64 + 1 - waiting
            })
            .await;
    }
    let (_first, answer) = server.resume(&ids[0], 0).await;
    assert!(answer.starts_with("<failed "), "{answer}");
    for id in &ids[1..] {
        let (_juliet, answer) = server.resume(id, 0).await;
        assert!(answer.starts_with("<resumed "), "{answer}");
    }
}

#[tokio::test]
async fn binding_the_resource_anew_gives_the_former_session_up() {
    let server = Server::start(ProfileSettings::default()).await;
    let (juliet, id) = server.juliet().await;
    let mut romeo = server.bind("romeo@montague.example/orchard").await;
    juliet.cut();
    server.until_detached().await;
    romeo.say(&message("one")).await;
    romeo.sync().await;
    let mut again = server.bind("juliet@capulet.example/balcony").await;
    again.hear("<body>one</body>").await;
    server.until(|world| world.engine.metrics.sessions_given_up.get() == 1).await;
    let (_juliet, failed) = server.resume(&id, 0).await;
    assert!(failed.starts_with("<failed "), "{failed}");
}
