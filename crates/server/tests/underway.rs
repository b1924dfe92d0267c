//! What was acknowledged for another server arrives there although ours was killed.

#![allow(clippy::unwrap_used)]

mod support;

use std::net::{SocketAddr, TcpListener};

use rustix::process::Signal;
use stentor_testkit::Typist;
use support::{Place, Server};

const MESSAGES: usize = 30;

/// A place for a server of a domain, which listens for others at `here`, and to whom the other domain is
/// at `there`.
fn place(domain: &str, here: SocketAddr, other: &str, there: SocketAddr) -> Place {
    let place = Place::new();
    place.configure(&format!(
        "[[host]]\nname = '{domain}'\n[[listen]]\nkind = 's2s'\naddress = '{here}'\n\
         [[route]]\ndomain = '{other}'\nhost = '127.0.0.1'\nport = {}\n",
        there.port()
    ));
    assert_eq!(place.run(&format!("account add user@{domain} --password secret")).code, 0);
    place
}

/// The port for clients, without TLS.
fn for_clients(server: &Server) -> SocketAddr {
    server.ports[1]
}

#[tokio::test]
async fn what_was_acknowledged_for_a_server_that_is_down_arrives_after_a_kill() {
    // Ports that nobody else is given as long as both are held.
    let reserved = [0; 2].map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
    let [at_one, at_two] = [0, 1].map(|n: usize| reserved[n].local_addr().unwrap());
    drop(reserved);
    let one = place("one.example", at_one, "two.example", at_two);
    let two = place("two.example", at_two, "one.example", at_one);

    let server = one.start();
    let mut sender = Typist::bind(for_clients(&server), "user@one.example/here", "secret").await;
    sender.say("<enable xmlns='urn:xmpp:sm:3'/>").await;
    sender.hear("<enabled").await;
    for n in 0..MESSAGES {
        let to = "to='user@two.example' type='chat'";
        sender.say(&format!("<message {to} id='{n}'><body>{n}</body></message>")).await;
    }
    sender.say("<r xmlns='urn:xmpp:sm:3'/>").await;
    sender.hear(&format!("<a xmlns='urn:xmpp:sm:3' h='{MESSAGES}'/>")).await;
    server.signal(Signal::KILL);
    server.ended();

    let other = two.start();
    let mut receiver = Typist::bind(for_clients(&other), "user@two.example/there", "secret").await;
    receiver.say("<presence/>").await;
    receiver.sync().await;
    let server = one.start();
    assert!(server.log.contains(&format!("stanzas={MESSAGES}")), "{}", server.log);
    let last = MESSAGES - 1;
    let came = receiver.hear(&format!("<body>{last}</body>")).await + &receiver.sync().await;
    let bodies = came.split("<body>").skip(1).map(|rest| rest.split_once('<').unwrap().0);
    let expected: Vec<String> = (0..MESSAGES).map(|n| n.to_string()).collect();
    assert_eq!(bodies.collect::<Vec<_>>(), expected);

    // Once the other has them they are not sent by the next process.
    let mut sender = Typist::bind(for_clients(&server), "user@one.example/here", "secret").await;
    sender.say("<iq type='get' id='v' to='two.example'><ping xmlns='urn:xmpp:ping'/></iq>").await;
    sender.hear("id='v'").await;
    server.signal(Signal::TERM);
    server.ended();
    let server = one.start();
    assert!(!server.log.contains("event=\"underway\""), "{}", server.log);
    assert_eq!(receiver.sync().await.matches("<body>").count(), 0);
}
