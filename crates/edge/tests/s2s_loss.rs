//! What was accepted for another server arrives there, in order and once, whatever the connection
//! does (XEP-0198); what the other server does not bear goes back alone.

#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

use stentor_edge::s2s::Policy;
use stentor_stanza::Condition;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use self::servers::peer::Peer;
use self::servers::{Half, Plan, Server, User, alone, route};

mod servers;

/// A way that breaks each time so many bytes have gone through it, as often as it is told to.
struct Way {
    addr: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl Way {
    async fn to(server: SocketAddr, breaks: usize, bytes: i64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = connections.clone();
        tokio::spawn(async move {
            loop {
                let (near, _) = listener.accept().await.unwrap();
                let is_last = count.fetch_add(1, Ordering::SeqCst) >= breaks;
                let budget = Arc::new(AtomicI64::new(if is_last { i64::MAX } else { bytes }));
                let far = TcpStream::connect(server).await.unwrap();
                let ((near_in, near_out), (far_in, far_out)) =
                    (near.into_split(), far.into_split());
                tokio::spawn(async move {
                    tokio::select! {
                        () = pass(near_in, far_out, budget.clone()) => {}
                        () = pass(far_in, near_out, budget) => {}
                    }
                });
            }
        });
        Self { addr, connections }
    }
}

/// Ends, and with it the connection, when the budget of both directions is used up.
async fn pass(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    budget: Arc<AtomicI64>,
) {
    let mut bytes = [0; 1_024];
    while let Ok(len @ 1..) = from.read(&mut bytes).await {
        if budget.fetch_sub(i64::try_from(len).unwrap(), Ordering::SeqCst) < 0
            || to.write_all(&bytes[..len]).await.is_err()
        {
            return;
        }
    }
}

async fn burst(user: &mut User, to: &str, count: usize) {
    for n in 0..count {
        user.say(&format!("<message to='{to}' type='chat' id='{n}'><body>{n}</body></message>"))
            .await;
    }
}

async fn hear_burst(user: &mut User, count: usize) {
    for n in 0..count {
        let message = user.hear_message().await;
        assert_eq!(message.head.id.as_deref(), Some(n.to_string().as_str()));
    }
}

#[tokio::test]
async fn a_burst_arrives_in_order_and_once_over_streams_that_break() {
    let (first, second) = (Half::new("one.example"), Half::new("two.example"));
    let way = Way::to(second.listener.addr(), 3, 20_000).await;
    let routes = vec![route("two.example", way.addr)];
    let one = Plan { authorities: second.authority(), routes, ..Plan::default() };
    let two =
        Plan { authorities: first.authority(), routes: vec![first.route()], ..Plan::default() };
    let ((one, _stop_one), (two, _stop_two)) = (alone(first, one).await, alone(second, two).await);
    let (mut here, mut there) = (one.user().await, two.user().await);
    burst(&mut here, "user@two.example", 500).await;
    hear_burst(&mut there, 500).await;
    assert_eq!(way.connections.load(Ordering::SeqCst), 4, "it broke three times");
    // The other direction goes on over the same streams (XEP-0288).
    burst(&mut there, "user@one.example/here", 100).await;
    hear_burst(&mut here, 100).await;
    one.settled().await;
    two.settled().await;
    assert!(here.has_heard_all() && there.has_heard_all(), "none came twice or back");
    assert!(two.links.resumed() > 0, "streams went on");
}

#[tokio::test]
async fn what_goes_back_on_a_broken_stream_arrives_once_as_well() {
    let (first, second) = (Half::new("one.example"), Half::new("two.example"));
    let way = Way::to(second.listener.addr(), 2, 20_000).await;
    let routes = vec![route("two.example", way.addr)];
    let one = Plan { authorities: second.authority(), routes, ..Plan::default() };
    // This one never reaches the other by itself.
    let routes = vec![route("one.example", "127.0.0.1:1".parse().unwrap())];
    let two = Plan { authorities: first.authority(), routes, ..Plan::default() };
    let ((one, _stop_one), (two, _stop_two)) = (alone(first, one).await, alone(second, two).await);
    let (mut here, mut there) = (one.user().await, two.user().await);
    burst(&mut here, "user@two.example", 1).await;
    hear_burst(&mut there, 1).await;
    burst(&mut there, "user@one.example/here", 300).await;
    hear_burst(&mut here, 300).await;
    assert_eq!(way.connections.load(Ordering::SeqCst), 3);
    assert!(here.has_heard_all() && there.has_heard_all());
}

/// `one.example` and a typed peer at `two.example`.
struct Typed {
    one: Server,
    two: Half,
    _stop: tokio::sync::watch::Sender<bool>,
}

impl Typed {
    async fn new(policy: Policy) -> Self {
        let (first, two) = (Half::new("one.example"), Half::new("two.example"));
        let (authorities, routes) = (two.authority(), vec![two.route()]);
        let plan = Plan { authorities, routes, policy, ..Plan::default() };
        let (one, _stop) = alone(first, plan).await;
        Self { one, two, _stop }
    }

    /// Accepts the server's stream and has it authorized.
    async fn accept(&self, features: &str) -> Peer {
        let mut peer =
            Peer::accept_authorized(&self.two.listener, &self.two.ca, "two.example").await;
        peer.say(&format!("<stream:features>{features}</stream:features>")).await;
        peer
    }

    async fn accept_managed(&self) -> Peer {
        let mut peer = self.accept("<sm xmlns='urn:xmpp:sm:3'/>").await;
        peer.hear("<enable xmlns='urn:xmpp:sm:3' resume='true'/>").await;
        peer.say("<enabled xmlns='urn:xmpp:sm:3'/>").await;
        peer
    }
}

const POLICY_VIOLATION: &str = "<stream:error><policy-violation xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>\
     </stream:stream>";

#[tokio::test]
async fn only_what_ends_the_stream_goes_back_and_the_rest_arrives_over_new_ones() {
    let typed = Typed::new(Policy { back_off_ms: 10, ..Policy::default() }).await;
    let mut here = typed.one.user().await;
    burst(&mut here, "user@two.example", 5).await;
    let mut peer = typed.accept_managed().await;
    // All five are there when the fourth ends the stream.
    peer.hear("id='4'").await;
    peer.say(&format!("<a xmlns='urn:xmpp:sm:3' h='2'/>{POLICY_VIOLATION}")).await;
    // The three that may have done it come one by one.
    let mut peer = typed.accept_managed().await;
    let came = peer.hear("<r xmlns='urn:xmpp:sm:3'/>").await;
    assert!(came.contains("id='2'") && !came.contains("id='3'"), "{came}");
    peer.say("<a xmlns='urn:xmpp:sm:3' h='1'/>").await;
    let came = peer.hear("<r xmlns='urn:xmpp:sm:3'/>").await;
    assert!(came.contains("id='3'") && !came.contains("id='4'"), "{came}");
    peer.say(POLICY_VIOLATION).await;
    let error = here.hear_message().await;
    assert_eq!(error.head.id.as_deref(), Some("3"));
    assert_eq!(error.error().unwrap().condition, Condition::PolicyViolation);
    let mut peer = typed.accept_managed().await;
    let came = peer.hear("<r xmlns='urn:xmpp:sm:3'/>").await;
    assert!(came.contains("id='4'"), "{came}");
    peer.say("<a xmlns='urn:xmpp:sm:3' h='1'/>").await;
    assert!(here.has_heard_all(), "one error alone");
}

#[tokio::test]
async fn what_is_longer_than_the_peer_accepts_goes_back_and_the_stream_stands() {
    let typed = Typed::new(Policy::default()).await;
    let mut here = typed.one.user().await;
    let limits = "<limits xmlns='urn:xmpp:stream-limits:0'><max-bytes>2000</max-bytes></limits>";
    let long = "x".repeat(2_000);
    for (id, body) in [("short", "x"), ("long", long.as_str()), ("last", "x")] {
        let to = "to='user@two.example' type='chat'";
        here.say(&format!("<message {to} id='{id}'><body>{body}</body></message>")).await;
    }
    let mut peer = typed.accept(limits).await;
    let came = peer.hear("id='last'").await;
    assert!(came.contains("id='short'") && !came.contains("id='long'"), "{came}");
    let error = here.hear_message().await;
    assert_eq!(error.head.id.as_deref(), Some("long"));
    assert_eq!(error.error().unwrap().condition, Condition::PolicyViolation);
}

#[tokio::test]
async fn unacknowledged_stanzas_leave_again_before_newer_ones() {
    let typed = Typed::new(Policy { back_off_ms: 10, ..Policy::default() }).await;
    let mut here = typed.one.user().await;
    burst(&mut here, "user@two.example", 3).await;
    let mut peer = typed.accept_managed().await;
    peer.hear("id='2'").await;
    peer.say("<a xmlns='urn:xmpp:sm:3' h='1'/>").await;
    drop(peer);
    here.say("<message to='user@two.example' type='chat' id='new'><body/></message>").await;
    let mut peer = typed.accept_managed().await;
    let came = peer.hear("id='new'").await;
    let place = |id: &str| came.find(id);
    assert!(place("id='0'").is_none(), "it was acknowledged: {came}");
    assert!(place("id='1'").unwrap() < place("id='2'").unwrap(), "{came}");
}

#[tokio::test]
async fn a_stream_that_broke_is_gone_on_for_also_when_what_we_send_leaves_on_another() {
    let typed = Typed::new(Policy { back_off_ms: 10, ..Policy::default() }).await;
    let mut here = typed.one.user().await;
    burst(&mut here, "user@two.example", 1).await;
    let (listener, ca) = (&typed.two.listener, &typed.two.ca);
    let bidi = "<bidi xmlns='urn:xmpp:features:bidi'/>";
    let mut ours = Peer::accept_offering(listener, ca, "two.example", bidi).await;
    ours.say("<stream:features><sm xmlns='urn:xmpp:sm:3'/></stream:features>").await;
    ours.hear("<enable xmlns='urn:xmpp:sm:3' resume='true'/>").await;
    // The other server is quicker.
    let mut theirs = Peer::external(&typed.one, ca, "two.example").await;
    theirs.say("<enable xmlns='urn:xmpp:sm:3'/>").await;
    theirs.hear("id='0'").await;
    ours.say("<enabled xmlns='urn:xmpp:sm:3' id='x' resume='true'/>").await;
    let to = "from='user@two.example/x' to='user@one.example/here' type='chat' id='back'";
    ours.say(&format!("<message {to}><body>back</body></message>")).await;
    assert_eq!(here.hear_message().await.head.id.as_deref(), Some("back"));
    drop(ours);
    // What it sent on that stream it would send again, were it not told what has come.
    let mut ours = typed.accept("<sm xmlns='urn:xmpp:sm:3'/>").await;
    ours.hear("<resume xmlns='urn:xmpp:sm:3' h='1' previd='x'/>").await;
}

#[tokio::test]
async fn no_presence_that_is_not_so_any_more_comes_after_a_stream_that_ended_without_a_word() {
    let typed = Typed::new(Policy { back_off_ms: 10, ..Policy::default() }).await;
    let mut here = typed.one.user().await;
    let show = async |user: &mut User, status: &str| {
        let status = format!("<status>{status}</status>");
        user.say(&format!("<presence to='user@two.example'>{status}</presence>")).await;
    };
    for status in ["first", "second", "third"] {
        show(&mut here, status).await;
    }
    burst(&mut here, "user@two.example", 1).await;
    let mut peer = typed.accept_managed().await;
    peer.hear("id='0'").await;
    peer.say("</stream:stream>").await;
    peer.hear("</stream:stream>").await;
    drop(peer);
    let mut peer = typed.accept_managed().await;
    let came = peer.hear("id='0'").await;
    assert!(came.contains("third"), "it is the state: {came}");
    assert!(!came.contains("first") && !came.contains("second"), "{came}");
    // Nothing comes back of it once that has been superseded as well.
    show(&mut here, "fourth").await;
    peer.hear("fourth").await;
    show(&mut here, "fifth").await;
    peer.hear("fifth").await;
    peer.say("<a xmlns='urn:xmpp:sm:3' h='2'/></stream:stream>").await;
    peer.hear("</stream:stream>").await;
    drop(peer);
    let mut peer = typed.accept_managed().await;
    let came = peer.hear("fifth").await;
    assert!(!came.contains("third") && !came.contains("fourth"), "{came}");
}
