//! Users of a server that is lost are shown as gone, and asked for when it is back.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use stentor_edge::s2s::Policy;
use stentor_stanza::PresenceType;
use tokio::sync::watch;

use self::servers::peer::Peer;
use self::servers::{Half, Plan, Server, User, alone};

mod servers;

/// What is done in minutes, in milliseconds.
fn hasty() -> Policy {
    Policy { silence_ms: 200, back_off_ms: 20, ..Policy::default() }
}

struct Typed {
    one: Server,
    two: Half,
    _stop: watch::Sender<bool>,
}

impl Typed {
    async fn new() -> Self {
        let (first, two) = (Half::new("one.example"), Half::new("two.example"));
        let (authorities, routes) = (two.authority(), vec![two.route()]);
        let plan = Plan { authorities, routes, policy: hasty(), ..Plan::default() };
        let (one, _stop) = alone(first, plan).await;
        Self { one, two, _stop }
    }

    /// Accepts the server's stream, which counts stanzas.
    async fn accept(&self) -> Peer {
        let mut peer =
            Peer::accept_authorized(&self.two.listener, &self.two.ca, "two.example").await;
        let features = "<sm xmlns='urn:xmpp:sm:3'/>";
        peer.say(&format!("<stream:features>{features}</stream:features>")).await;
        peer.hear("<enable xmlns='urn:xmpp:sm:3' resume='true'/>").await;
        peer.say("<enabled xmlns='urn:xmpp:sm:3'/>").await;
        peer
    }
}

/// Our user is subscribed to `contact`, which shows itself with two resources; `there` is the stream
/// that the other server has opened for that.
async fn sees(typed: &Typed) -> (User, Peer) {
    let mut here = typed.one.user().await;
    here.say("<presence type='subscribe' to='contact@two.example'/>").await;
    let mut there = Peer::external(&typed.one, &typed.two.ca, "two.example").await;
    let from = "from='contact@two.example";
    let to = "to='user@one.example'";
    there.say(&format!("<presence type='subscribed' {from}' {to}/>")).await;
    for resource in ["desk", "train"] {
        there.say(&format!("<presence {from}/{resource}' {to}/>")).await;
    }
    let is_there = |who: &str| format!("contact@two.example/{who} available");
    hear(&mut here, &[is_there("desk"), is_there("train")]).await;
    (here, there)
}

/// Waits until these have come, in any order, as `from type`.
async fn hear(user: &mut User, expected: &[String]) {
    let mut left = expected.to_vec();
    while !left.is_empty() {
        let stanza = user.hear().await;
        let Some(kind) = stanza.presence_type() else { continue };
        let kind = match kind {
            PresenceType::Available => "available",
            PresenceType::Unavailable => "unavailable",
            _ => continue,
        };
        let came = format!("{} {kind}", stanza.head.from.unwrap());
        let place = left.iter().position(|text| *text == came);
        left.remove(place.unwrap_or_else(|| panic!("{came}, and {left:?} did not come")));
    }
}

#[tokio::test]
async fn contacts_are_gone_with_their_server_and_asked_for_when_it_is_back() {
    let typed = Typed::new().await;
    let (mut here, there) = sees(&typed).await;
    // The other server dies: what connects to it is cut off at once.
    let Typed { one, two, _stop } = typed;
    drop(there);
    let (addr, domain, ca) = (two.listener.addr(), two.domain, two.ca);
    drop(two.listener);
    here.say("<presence to='contact@two.example'/>").await;
    let gone = |who: &str| format!("contact@two.example/{who} unavailable");
    hear(&mut here, &[gone("desk"), gone("train")]).await;
    // It is back, at the same place.
    let listener = stentor_transport::Listener::bind(addr).unwrap();
    let mut peer = Peer::accept_authorized(&listener, &ca, domain).await;
    peer.say("<stream:features/>").await;
    let came = peer.hear("type='probe'").await + &peer.hear("/>").await;
    assert!(came.contains("to='contact@two.example'"), "{came}");
    assert!(came.contains("from='user@one.example'"), "{came}");
    drop(one);
}

#[tokio::test]
async fn a_server_that_only_stops_talking_is_found_out() {
    let typed = Typed::new().await;
    let mut here = typed.one.user().await;
    here.say("<presence type='subscribe' to='contact@two.example'/>").await;
    let mut silent = typed.accept().await;
    silent.hear("subscribe").await;
    let (from, to) = ("from='contact@two.example", "to='user@one.example'");
    let mut there = Peer::external(&typed.one, &typed.two.ca, "two.example").await;
    there.say(&format!("<presence type='subscribed' {from}' {to}/>")).await;
    there.say(&format!("<presence {from}/desk' {to}/>")).await;
    hear(&mut here, &["contact@two.example/desk available".to_owned()]).await;
    // It acknowledges nothing, and answers nothing that it is asked.
    let end = silent.hear("</stream:stream>").await;
    assert!(end.contains("<connection-timeout"), "{end}");
    let Typed { one: _one, two, _stop } = typed;
    drop((silent, there, two.listener));
    hear(&mut here, &["contact@two.example/desk unavailable".to_owned()]).await;
}

#[tokio::test]
async fn who_comes_while_a_server_is_lost_sees_its_users_when_it_is_back() {
    let typed = Typed::new().await;
    let (mut here, there) = sees(&typed).await;
    drop(there);
    let Typed { one, two, _stop } = typed;
    let (addr, ca) = (two.listener.addr(), two.ca);
    drop(two.listener);
    here.say("<presence type='unavailable'/>").await;
    here.say("<presence/>").await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    let listener = stentor_transport::Listener::bind(addr).unwrap();
    // The other opens a stream: nobody waits for the next attempt.
    let mut there = Peer::external(&one, &ca, "two.example").await;
    let came = there.hear("type='probe'").await + &there.hear("/>").await;
    assert!(came.contains("from='user@one.example'"), "{came}");
    drop(listener);
}

#[tokio::test]
async fn who_comes_while_a_server_is_not_called_sees_its_users_when_it_is() {
    let (first, two) = (Half::new("one.example"), Half::new("two.example"));
    let (authorities, routes) = (two.authority(), vec![two.route()]);
    // Longer than signing in takes.
    let policy = Policy { back_off_ms: 1_000, ..Policy::default() };
    let (one, _stop) = alone(first, Plan { authorities, routes, policy, ..Plan::default() }).await;
    let typed = Typed { one, two, _stop };
    let (mut here, mut there) = sees(&typed).await;
    here.say("<presence type='unavailable'/>").await;
    there.say("</stream:stream>").await;
    there.hear("</stream:stream>").await;
    let Typed { one, two, _stop } = typed;
    let (addr, ca) = (two.listener.addr(), two.ca);
    drop((there, two.listener));
    // Nothing waits for it.
    here.say("<iq type='get' to='two.example' id='1'><ping xmlns='urn:xmpp:ping'/></iq>").await;
    while here.hear().await.head.id.as_deref() != Some("1") {}
    here.say("<presence/>").await;
    let listener = stentor_transport::Listener::bind(addr).unwrap();
    let mut peer = Peer::accept_authorized(&listener, &ca, "two.example").await;
    peer.say("<stream:features/>").await;
    let came = peer.hear("type='probe'").await + &peer.hear("/>").await;
    assert!(came.contains("from='user@one.example'"), "{came}");
    drop(one);
}

#[tokio::test]
async fn who_does_not_answer_after_a_stream_broke_is_gone() {
    let typed = Typed::new().await;
    let (mut here, there) = sees(&typed).await;
    drop(there);
    let mut there = Peer::external(&typed.one, &typed.two.ca, "two.example").await;
    // Its first word, for which what goes back waits a while.
    there.say("<enable xmlns='urn:xmpp:sm:3'/>").await;
    there.hear("type='probe'").await;
    let (from, to) = ("from='contact@two.example", "to='user@one.example'");
    there.say(&format!("<presence {from}/desk' {to}/>")).await;
    let is = |who: &str, how: &str| format!("contact@two.example/{who} {how}");
    hear(&mut here, &[is("desk", "available"), is("train", "unavailable")]).await;
}
