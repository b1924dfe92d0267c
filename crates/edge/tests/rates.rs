//! Clients that send faster than they may, in virtual time (XEP-0205 §4.7).

#![allow(clippy::unwrap_used)]

mod support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use stentor_edge::{C2sListener, Driver, Link, Rates, Shared};
use stentor_engine::pace::Rate;
use stentor_testkit::{Wire, World};
use stentor_transport::{Conn, Pipe};
use support::Server;
use tokio::time::{Instant, sleep};

/// A server without sockets: time passes only when everybody waits.
struct Slow {
    listener: Arc<C2sListener>,
}

impl Slow {
    async fn with(rates: Rates) -> Self {
        let world = World::new();
        Server::create_accounts(&world).await;
        let shared = Arc::new(Shared { rates, ..Shared::new(world.engine.clone()) });
        let listener = Arc::new(C2sListener::in_clear(shared));
        Self { listener }
    }

    async fn connect(&self, user: &str, domain: &str) -> Wire {
        let (mine, theirs) = Pipe::pair(1 << 20);
        let peer = SocketAddr::from(([192, 0, 2, 1], 5222));
        let permit = self.listener.shared.admission.admit(peer.ip()).unwrap();
        tokio::spawn(Driver::new(
            Conn::piped(theirs, peer),
            Link::new(self.listener.clone(), peer, permit),
        ));
        let mut wire = Wire::new(Conn::piped(mine, peer));
        wire.sign_in(user, domain, "secret").await.unwrap();
        let bind = "<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>";
        wire.write(bind).unwrap();
        wire.frame().await.unwrap();
        // Whatever signing in took, it has a whole burst again.
        sleep(Duration::from_secs(60)).await;
        wire
    }

    async fn juliet(&self) -> Wire {
        self.connect("juliet", "capulet.example").await
    }

    async fn romeo(&self) -> Wire {
        self.connect("romeo", "montague.example").await
    }

    fn paused(&self) -> u64 {
        self.listener.shared.metrics.paused.get()
    }
}

const NO_LIMITS: Rates = Rates {
    stanzas: Rate::new(0, 0),
    bytes: Rate::new(0, 0),
    account_stanzas: Rate::new(0, 0),
    account_bytes: Rate::new(0, 0),
};

fn ask(wire: &mut Wire, ids: std::ops::Range<u32>) {
    let pings: String = ids
        .map(|id| format!("<iq type='get' id='{id}'><ping xmlns='urn:xmpp:ping'/></iq>"))
        .collect();
    wire.write(&pings).unwrap();
}

/// When each answer comes, in milliseconds; all come, in order.
async fn answers(wire: &mut Wire, ids: std::ops::Range<u32>) -> Vec<u128> {
    let begun = Instant::now();
    let mut times = Vec::new();
    for id in ids {
        let answer = wire.frame().await.unwrap();
        assert_eq!(answer.root().attr("id").as_deref(), Some(&*id.to_string()));
        times.push(begun.elapsed().as_millis());
    }
    times
}

#[tokio::test(start_paused = true)]
async fn who_is_too_fast_is_slowed_smoothly_and_nobody_else_is() {
    let slow = Slow::with(Rates { stanzas: Rate::new(10, 1), ..NO_LIMITS }).await;
    let (mut juliet, mut romeo) = (slow.juliet().await, slow.romeo().await);
    ask(&mut juliet, 0..40);
    let of_romeo = async {
        sleep(Duration::from_millis(1_050)).await;
        ask(&mut romeo, 0..5);
        answers(&mut romeo, 0..5).await
    };
    let (times, of_romeo) = tokio::join!(answers(&mut juliet, 0..40), of_romeo);
    assert!(times[9] < 20, "a burst passes: {times:?}");
    assert!((2_850..3_150).contains(&times[39]), "then the rate: {times:?}");
    let steps = times[11..].windows(2).map(|pair| pair[1] - pair[0]);
    assert!(steps.clone().all(|step| (80..=120).contains(&step)), "smoothly: {times:?}");
    assert!(of_romeo[4] < 20, "another waits for nothing: {of_romeo:?}");
    assert!(slow.paused() > 0);
    // Who has been quiet is as quick as ever, on the same stream.
    sleep(Duration::from_secs(5)).await;
    ask(&mut juliet, 40..50);
    assert!(answers(&mut juliet, 40..50).await[9] < 20);
}

#[tokio::test(start_paused = true)]
async fn the_clients_of_one_account_share_its_rate() {
    let slow = Slow::with(Rates { account_stanzas: Rate::new(10, 1), ..NO_LIMITS }).await;
    let (mut phone, mut laptop) = (slow.juliet().await, slow.juliet().await);
    let mut romeo = slow.romeo().await;
    ask(&mut phone, 0..20);
    ask(&mut laptop, 0..20);
    ask(&mut romeo, 0..10);
    let (phone, laptop, romeo) = tokio::join!(
        answers(&mut phone, 0..20),
        answers(&mut laptop, 0..20),
        answers(&mut romeo, 0..10)
    );
    let last = phone[19].max(laptop[19]);
    assert!((2_700..3_300).contains(&last), "{phone:?} {laptop:?}");
    assert!(phone[19].min(laptop[19]) > 1_000, "neither goes first: {phone:?} {laptop:?}");
    assert!(romeo[9] < 20, "{romeo:?}");
}

#[tokio::test(start_paused = true)]
async fn bytes_are_counted_whatever_they_are() {
    let slow = Slow::with(Rates { bytes: Rate::new(10_000, 1), ..NO_LIMITS }).await;
    let mut juliet = slow.juliet().await;
    // Space between stanzas is no stanza, and costs as much.
    juliet.write(&" ".repeat(60_000)).unwrap();
    ask(&mut juliet, 0..1);
    let at = answers(&mut juliet, 0..1).await[0];
    // The last that is read before the answer is waited for after it.
    assert!((3_000..5_500).contains(&at), "{at}");
    assert!(slow.paused() > 0);
}

#[tokio::test(start_paused = true)]
async fn without_limits_nobody_waits() {
    let slow = Slow::with(NO_LIMITS).await;
    let mut juliet = slow.juliet().await;
    ask(&mut juliet, 0..2_000);
    assert_eq!(answers(&mut juliet, 0..2_000).await[1_999], 0);
    assert_eq!(slow.paused(), 0);
}
