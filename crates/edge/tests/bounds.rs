//! What one client may cost others, in virtual time: readers that stop, writers that dribble, a contact
//! list that all come from at once.

#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;
use std::time::Duration;

use stentor_edge::{C2sListener, Kind, Rates, Shared, accept};
use stentor_engine::limits::OUTBOX_HARD_BYTES;
use stentor_jid::BareJid;
use stentor_stream::c2s::Settings as StreamSettings;
use stentor_testkit::{Wire, World};
use stentor_transport::{Certificates, Listener, TlsAcceptor, TlsSettings, dev_ca};
use support::piped::Piped;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

const PING: &str = "<iq type='get' id='ping'><ping xmlns='urn:xmpp:ping'/></iq>";

/// The bodies of messages up to the answer to a ping.
async fn bodies_until_ping(wire: &mut Wire) -> Vec<String> {
    wire.write(PING).unwrap();
    let mut bodies = Vec::new();
    loop {
        let frame = wire.frame().await.unwrap();
        let root = frame.root();
        if root.attr("id").as_deref() == Some("ping") {
            return bodies;
        }
        let body = root.children().find(|child| child.name() == "body");
        bodies.extend(body.map(|body| body.text().into_owned()));
    }
}

fn message(body: &str) -> String {
    format!("<message to='juliet@capulet.example' type='chat'><body>{body}</body></message>")
}

#[tokio::test(start_paused = true)]
async fn who_stops_reading_is_ended_at_once_when_too_much_waits_and_the_rest_is_kept() {
    let piped = Piped::with(Rates::default()).await;
    let mut romeo = piped.romeo().await;
    // She reads what signing in needs, and then nothing.
    let mut juliet = piped.connect_over(1_000, "juliet", "capulet.example").await;
    juliet.write("<presence/>").unwrap();
    juliet.frame().await.unwrap();
    let bodies: Vec<String> = (0..60).map(|n| format!("{n} {}", "x".repeat(100_000))).collect();
    assert!(bodies.len() * 100_000 > OUTBOX_HARD_BYTES + 1_000_000);
    let begun = Instant::now();
    for body in &bodies {
        romeo.write(&message(body)).unwrap();
    }
    assert!(bodies_until_ping(&mut romeo).await.is_empty());
    assert!(begun.elapsed() < Duration::from_secs(3), "a sender is held up: {:?}", begun.elapsed());
    sleep(Duration::from_secs(5)).await;
    assert_eq!(piped.world.engine.metrics.sessions.get(), 1, "only Romeo's is left");
    drop(juliet);
    let mut juliet = piped.juliet().await;
    juliet.write("<presence/>").unwrap();
    let heard = bodies_until_ping(&mut juliet).await;
    let number = |body: &String| body.split(' ').next().unwrap().to_owned();
    assert_eq!(
        heard.iter().map(number).collect::<Vec<_>>(),
        bodies.iter().map(number).collect::<Vec<_>>()
    );
}

#[tokio::test(start_paused = true)]
async fn a_long_message_goes_through_a_narrow_connection_whole() {
    let piped = Piped::with(Rates::default()).await;
    let mut romeo = piped.romeo().await;
    let mut juliet = piped.connect_over(1_000, "juliet", "capulet.example").await;
    for enable in ["", "<enable xmlns='urn:xmpp:sm:3' resume='true'/>"] {
        juliet.write(&format!("{enable}<presence/>")).unwrap();
        bodies_until_ping(&mut juliet).await;
        let bodies = ["before".to_owned(), "y".repeat(200_000), "behind".to_owned()];
        bodies.iter().for_each(|body| romeo.write(&message(body)).unwrap());
        bodies_until_ping(&mut romeo).await;
        assert!(bodies_until_ping(&mut juliet).await == bodies, "{enable}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_long_message_that_is_cut_off_in_the_middle_is_kept() {
    let piped = Piped::with(Rates::default()).await;
    let mut romeo = piped.romeo().await;
    let mut juliet = piped.connect_over(50_000, "juliet", "capulet.example").await;
    juliet.write("<presence/>").unwrap();
    juliet.frame().await.unwrap();
    let body = "y".repeat(200_000);
    romeo.write(&message(&body)).unwrap();
    bodies_until_ping(&mut romeo).await;
    drop(juliet);
    let mut juliet = piped.juliet().await;
    juliet.write("<presence/>").unwrap();
    assert!(bodies_until_ping(&mut juliet).await == [body]);
}

#[tokio::test(start_paused = true)]
async fn a_byte_a_second_is_no_header_and_its_stream_ends_in_time() {
    let piped = Piped::with(Rates::default()).await;
    let (mut conn, begun) = (piped.dial(1 << 16), Instant::now());
    let header = "<?xml version='1.0'?><stream:stream to='capulet.example' version='1.0' xmlns=";
    let writing = async {
        let mut heard = Vec::new();
        for byte in header.bytes() {
            let next = async {
                sleep(Duration::from_secs(1)).await;
                conn.write_all(&[byte]).await
            };
            if next.await.is_err() {
                break;
            }
            let reading = conn.read_buf(&mut heard);
            if tokio::time::timeout(Duration::from_millis(1), reading).await.is_ok() {
                break;
            }
        }
        let _ = conn.read_to_end(&mut heard).await;
        String::from_utf8(heard).unwrap()
    };
    let heard = writing.await;
    assert!(heard.contains("<connection-timeout "), "{heard}");
    assert!((30..33).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_session_may_take_its_time_for_a_stanza() {
    let piped = Piped::with(Rates::default()).await;
    let (mut juliet, mut romeo) = (piped.juliet().await, piped.romeo().await);
    juliet.write("<presence/>").unwrap();
    bodies_until_ping(&mut juliet).await;
    let body = "z".repeat(500);
    for character in message(&body).chars() {
        sleep(Duration::from_secs(1)).await;
        romeo.write(&character.to_string()).unwrap();
        // She says now and then that she is there.
        juliet.write(" ").unwrap();
    }
    assert!(bodies_until_ping(&mut romeo).await.is_empty());
    assert_eq!(bodies_until_ping(&mut juliet).await, [body]);
}

/// What is due at sign-in is more than may wait for one session.
#[tokio::test(start_paused = true)]
async fn who_has_very_many_contacts_online_is_shown_all_of_them() {
    const CONTACTS: usize = 90;
    let world = World::new();
    let mut contacts = Vec::new();
    let owner = BareJid::new("juliet@capulet.example").unwrap();
    world.engine.create_account(&owner, "secret".to_owned()).await.unwrap();
    let mut juliet = world.connect("juliet@capulet.example/old").await;
    for n in 0..CONTACTS {
        let jid = format!("friend{n}@montague.example");
        world.add_account(&jid).await;
        let mut contact = world.connect(&format!("{jid}/r")).await;
        juliet.send(&format!("<presence type='subscribe' to='{jid}'/>")).await;
        contact.send("<presence type='subscribed' to='juliet@capulet.example'/>").await;
        let status = format!("{n} {}", "s".repeat(60_000));
        contact.send(&format!("<presence><status>{status}</status></presence>")).await;
        contacts.push(contact);
    }
    juliet.cut().await;
    let waits = CONTACTS * 60_000;
    assert!(waits > OUTBOX_HARD_BYTES + (1 << 20), "{waits}");
    let piped = Piped::around(world, Rates::default()).await;
    for enable in ["", "<enable xmlns='urn:xmpp:sm:3'/>"] {
        let mut juliet = piped.juliet().await;
        juliet.write(&format!("{enable}<presence/>{PING}")).unwrap();
        let (mut shown, mut is_answered, mut handled) = (Vec::new(), false, 0);
        while shown.len() < CONTACTS || !is_answered {
            let frame = juliet.frame().await.unwrap();
            let root = frame.root();
            match root.name() {
                "presence" if root.attr("from").unwrap().starts_with("friend") => {
                    shown.push(root.attr("from").unwrap().into_owned());
                }
                "iq" => is_answered = true,
                "r" => juliet.write(&format!("<a xmlns='urn:xmpp:sm:3' h='{handled}'/>")).unwrap(),
                _ => {}
            }
            handled += u32::from(matches!(root.name(), "presence" | "iq" | "message"));
        }
        shown.sort();
        shown.dedup();
        assert_eq!(shown.len(), CONTACTS);
        juliet.write("</stream:stream>").unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn half_a_handshake_of_tls_is_closed_in_time() {
    let folder = tempfile::tempdir().unwrap();
    let ca = dev_ca::open(folder.path(), &["capulet.example".to_owned()]).unwrap();
    let (certificates, _) = Certificates::load(vec![ca.identity()]).unwrap();
    let acceptor = TlsAcceptor::new(Arc::new(certificates), TlsSettings::default());
    let shared = Arc::new(Shared::new(World::new().engine));
    let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.addr();
    let c2s = Arc::new(C2sListener {
        kind: Kind::DirectTls,
        settings: Arc::new(StreamSettings::default()).into(),
        tls_required: true,
        acceptor: Some(Arc::new(acceptor)),
        shared: shared.clone(),
    });
    let (_stop, stopped) = watch::channel(false);
    tokio::spawn(accept(c2s, listener, stopped));
    let begun = Instant::now();
    let mut tcp = tokio::net::TcpStream::connect(address).await.unwrap();
    // A record of 512 bytes, of which five come.
    tcp.write_all(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03").await.unwrap();
    let mut rest = Vec::new();
    let _ = tcp.read_to_end(&mut rest).await;
    assert_eq!(begun.elapsed().as_secs(), 10);
    assert_eq!(shared.metrics.handshakes_failed.get(), 1);
    assert_eq!(shared.admission.open(), 0);
}
