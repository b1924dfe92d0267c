//! Two servers on loopback: certificates, dialback, messages both ways, and what must not be.

#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;

use stentor_edge::s2s::{Lists, Policy, Terms};
use stentor_stanza::{Condition, ErrorType};
use stentor_transport::Listener;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use self::servers::{Half, Pair, Plan, User, alone, pair, route};

mod servers;

/// Believes the other's authority, and asks what is asked by default.
fn trusting() -> (bool, Policy) {
    (true, Policy::default())
}

async fn chat(pair: &Pair) {
    let (mut here, mut there) = (pair.one.user().await, pair.two.user().await);
    exchange(&mut here, &mut there).await;
}

async fn exchange(here: &mut User, there: &mut User) {
    here.say("<message to='user@two.example' type='chat'><body>to</body></message>").await;
    let message = there.hear_message().await;
    assert_eq!(message.head.from.as_ref().unwrap().as_str(), "user@one.example/here");
    there.say("<message to='user@one.example/here' type='chat'><body>fro</body></message>").await;
    let answer = here.hear_message().await;
    assert_eq!(answer.head.from.as_ref().unwrap().as_str(), "user@two.example/here");
    assert!(answer.error().is_none(), "{:?}", answer.error());
}

#[tokio::test]
async fn servers_with_good_certificates_talk_both_ways() {
    let pair = pair(trusting(), trusting()).await;
    chat(&pair).await;
    // One stream carries both directions (XEP-0288).
    assert_eq!(pair.one.links.open() + pair.two.links.open(), 2);
    pair.two.settled().await;
}

#[tokio::test]
async fn without_certificates_they_call_back() {
    let doubtful = || (false, Policy::default());
    let pair = pair(doubtful(), doubtful()).await;
    chat(&pair).await;
}

#[tokio::test]
async fn who_insists_on_certificates_is_not_reached_without() {
    let terms = Terms { allows_dialback: false, ..Terms::default() };
    let strict = Policy { terms, hold_ms: 0, ..Policy::default() };
    let pair = pair((true, strict.clone()), (false, strict)).await;
    let mut here = pair.one.user().await;
    here.say("<message to='user@two.example' id='1'><body>x</body></message>").await;
    let error = here.hear_message().await.error().unwrap();
    assert_eq!(error.condition, Condition::RemoteServerTimeout);
}

#[tokio::test]
async fn messages_wait_in_order_while_it_connects() {
    let pair = pair(trusting(), trusting()).await;
    let (mut here, mut there) = (pair.one.user().await, pair.two.user().await);
    for n in 0..50 {
        here.say(&format!("<message to='user@two.example' type='chat' id='{n}'><body/></message>"))
            .await;
    }
    for n in 0..50 {
        let message = there.hear_message().await;
        assert_eq!(message.head.id.as_deref(), Some(n.to_string().as_str()));
    }
}

#[tokio::test]
async fn blocked_domains_are_refused_at_once_and_absent_servers_after_an_attempt() {
    let policy = Policy {
        lists: Lists { block: vec!["two.example".into()], ..Lists::default() },
        ..Policy::default()
    };
    let short = Policy { hold_ms: 0, ..Policy::default() };
    let pair = pair((true, policy), (true, short.clone())).await;
    let mut here = pair.one.user().await;
    here.say("<message to='user@two.example' id='1'><body>x</body></message>").await;
    let error = here.hear_message().await.error().unwrap();
    assert_eq!(error.condition, Condition::NotAllowed);
    // The other side is refused as well.
    let mut there = pair.two.user().await;
    there.say("<message to='user@one.example' id='2'><body>x</body></message>").await;
    let error = there.hear_message().await.error().unwrap();
    assert_eq!(error.condition, Condition::RemoteServerTimeout);
    // Nobody listens there.
    let routes = vec![route("two.example", "127.0.0.1:1".parse().unwrap())];
    let plan = Plan { routes, policy: short, ..Plan::default() };
    let lonely = Half::new("three.example").join(plan).await;
    let mut user = lonely.user().await;
    for _ in 0..2 {
        // The second time nobody is asked again so soon.
        user.say("<message to='user@two.example' id='3'><body>x</body></message>").await;
        let error = user.hear_message().await.error().unwrap();
        assert_eq!(error.condition, Condition::RemoteServerTimeout);
    }
}

#[tokio::test]
async fn a_domain_that_is_blocked_while_streams_stand_is_heard_no_more_until_it_is_let_in_again() {
    let brief = || (true, Policy { hold_ms: 0, back_off_ms: 0, ..Policy::default() });
    let pair = pair(brief(), brief()).await;
    let (mut here, mut there) = (pair.one.user().await, pair.two.user().await);
    exchange(&mut here, &mut there).await;
    // What is not acknowledged yet would be what the stream is ended for as well.
    pair.two.settled().await;
    let lists = Lists { block: vec!["two.example".into()], ..Lists::default() };
    pair.one.links.replace_lists(lists);
    here.say("<message to='user@two.example' id='1'><body>x</body></message>").await;
    let error = here.hear_message().await.error().unwrap();
    assert_eq!(error.condition, Condition::NotAllowed);
    // First their stream is ended because of it, then none comes to be.
    for _ in 0..2 {
        there.say("<message to='user@one.example' id='2'><body>x</body></message>").await;
        let answer = there.hear_message().await;
        assert!(answer.error().is_some() && answer.head.id.as_deref() == Some("2"), "{answer:?}");
    }
    assert!(here.has_heard_all(), "nothing of it came");
    pair.one.links.replace_lists(Lists::default());
    exchange(&mut here, &mut there).await;
}

/// What a peer types that has no certificate and no domain.
async fn type_at(addr: SocketAddr, text: &str) -> String {
    let mut tcp = TcpStream::connect(addr).await.unwrap();
    tcp.write_all(text.as_bytes()).await.unwrap();
    let mut heard = Vec::new();
    let read = tcp.read_to_end(&mut heard);
    let _ = tokio::time::timeout(std::time::Duration::from_secs(30), read).await;
    String::from_utf8_lossy(&heard).into_owned()
}

#[tokio::test]
async fn strangers_get_the_error_that_they_deserve() {
    let pair = pair(trusting(), trusting()).await;
    let header = |to: &str| {
        format!(
            "<?xml version='1.0'?><stream:stream xmlns='jabber:server' \
             xmlns:db='jabber:server:dialback' xmlns:stream='http://etherx.jabber.org/streams' \
             from='evil.example' to='{to}' version='1.0'>"
        )
    };
    for (text, condition) in [
        (header("nowhere.example"), "host-unknown"),
        (
            header("one.example") + "<message from='a@evil.example' to='user@one.example'/>",
            "not-authorized",
        ),
        (
            header("one.example") + "<db:result from='two.example' to='one.example' type='valid'/>",
            "policy-violation",
        ),
        (header("one.example") + "<rubbish", ""),
        ("<x/>".to_owned(), "invalid-namespace"),
    ] {
        let closing = if condition.is_empty() { "</stream:stream>" } else { "" };
        let heard = type_at(pair.one.addr, &(text.clone() + closing)).await;
        let expected = if condition.is_empty() { "not-well-formed" } else { condition };
        assert!(heard.contains(&format!("<{expected} ")), "{text}: {heard}");
    }
    // Dialback in clear is refused where TLS is required, and the stream lives on.
    let mut tcp = TcpStream::connect(pair.one.addr).await.unwrap();
    let text =
        header("one.example") + "<db:result from='evil.example' to='one.example'>key</db:result>";
    tcp.write_all(text.as_bytes()).await.unwrap();
    let mut heard = String::new();
    let mut bytes = [0; 1024];
    while !heard.contains("</db:result>") {
        let len = tcp.read(&mut bytes).await.unwrap();
        assert!(len > 0, "{heard}");
        heard.push_str(std::str::from_utf8(&bytes[..len]).unwrap());
    }
    assert!(heard.contains("<policy-violation "), "{heard}");
}

#[tokio::test]
async fn messages_wait_for_a_server_that_comes_back_and_requests_do_not() {
    let (first, second) = (Half::new("one.example"), Half::new("two.example"));
    let policy = Policy { back_off_ms: 50, ..Policy::default() };
    let (routes, authorities) = (vec![second.route()], second.authority());
    let one = Plan { authorities, routes, policy, ..Plan::default() };
    let two =
        Plan { authorities: first.authority(), routes: vec![first.route()], ..Plan::default() };
    let (one, _stop) = alone(first, one).await;
    // Nobody listens there for a while.
    let addr = second.listener.addr();
    let mut second = second;
    second.listener = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let mut here = one.user().await;
    for n in 0..20 {
        let to = "to='user@two.example' type='chat'";
        here.say(&format!("<message {to} id='{n}'><body>x</body></message>")).await;
    }
    here.say("<iq to='user@two.example' type='get' id='q'><x xmlns='urn:example:x'/></iq>").await;
    let error = here.hear().await.error().unwrap();
    assert_eq!(error.condition, Condition::RemoteServerTimeout);
    assert!(one.links.waiting_bytes() > 0, "messages wait");
    second.listener = Listener::bind(addr).unwrap();
    let (two, _stop) = alone(second, two).await;
    let mut there = two.user().await;
    for n in 0..20 {
        let message = there.hear_message().await;
        assert_eq!(message.head.id.as_deref(), Some(n.to_string().as_str()));
    }
    one.settled().await;
    assert!(here.has_heard_all(), "nothing came back");
}

#[tokio::test]
async fn messages_that_waited_too_long_come_back_once() {
    let routes = vec![route("two.example", "127.0.0.1:1".parse().unwrap())];
    let policy = Policy { back_off_ms: 20, hold_ms: 100, ..Policy::default() };
    let plan = Plan { routes, policy, ..Plan::default() };
    let one = Half::new("one.example").join(plan).await;
    let mut here = one.user().await;
    here.say("<message to='user@two.example' id='1'><body>x</body></message>").await;
    let message = here.hear_message().await;
    assert_eq!(message.error().unwrap().condition, Condition::RemoteServerTimeout);
    assert_eq!(message.head.id.as_deref(), Some("1"));
    assert_eq!(one.links.waiting_bytes(), 0);
    assert!(here.has_heard_all());
}

#[tokio::test]
async fn a_stop_says_what_is_left_and_ends_the_streams() {
    let pair = pair(trusting(), trusting()).await;
    let (mut here, mut there) = (pair.one.user().await, pair.two.user().await);
    here.say("<message to='user@two.example' type='chat' id='1'><body>x</body></message>").await;
    there.hear_message().await;
    here.say("<message to='user@two.example' type='chat' id='2'><body>x</body></message>").await;
    here.say("<presence to='user@two.example' type='unavailable'/>").await;
    pair.one.links.drain().await;
    assert_eq!(there.hear_message().await.head.id.as_deref(), Some("2"));
    assert_eq!(there.hear().await.head.kind.type_name(), Some("unavailable"));
    let closed = async {
        while pair.two.links.open() > 0 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(servers::PATIENCE, closed).await.unwrap();
}

/// What a domain may send in a minute is limited apart from what accounts may, and nobody else is
/// concerned.
// covers: off-33
#[tokio::test]
async fn a_flood_of_another_server_is_refused_message_by_message() {
    let (first, second) = (Half::new("one.example"), Half::new("two.example"));
    let options = "[floods]\ndomain_messages_per_minute = 100\nmessages_per_minute = 1000\n";
    let one =
        Plan { authorities: second.authority(), routes: vec![second.route()], ..Plan::default() };
    let two = Plan {
        authorities: first.authority(),
        routes: vec![first.route()],
        options,
        ..Plan::default()
    };
    let ((one, _one), (two, _two)) = (alone(first, one).await, alone(second, two).await);
    let (mut here, mut there) = (one.user().await, two.user().await);
    for n in 0..150 {
        here.say(&format!("<message to='user@two.example' type='chat' id='{n}'><body/></message>"))
            .await;
    }
    for n in 0..100 {
        let message = there.hear_message().await;
        assert_eq!(message.head.id.as_deref(), Some(n.to_string().as_str()));
    }
    for n in 100..150 {
        let error = here.hear_message().await;
        assert_eq!(error.head.id.as_deref(), Some(n.to_string().as_str()));
        let error = error.error().unwrap();
        assert_eq!(error.condition, Condition::PolicyViolation);
        assert_eq!(error.kind, ErrorType::Wait);
    }
    for n in 0..150 {
        there
            .say(&format!("<message to='user@two.example' type='chat' id='{n}'><body/></message>"))
            .await;
        assert!(there.hear_message().await.error().is_none());
    }
}
