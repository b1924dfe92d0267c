//! A component and the running server: configured, attached, taken out, and the server's own end.

#![allow(clippy::unwrap_used)]

mod support;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use rustix::process::Signal;
use stentor_stream::component::handshake;
use stentor_testkit::Typist;
use support::Place;

const COMPONENT: &str = "[[component]]\ndomain = 'irc.localhost'\nsecret = 'Mercutio'\n\
                         [[listen]]\nkind = 'component'\naddress = '127.0.0.1:0'\n";
const PORT_ONLY: &str = "[[listen]]\nkind = 'component'\naddress = '127.0.0.1:0'\n";

struct Peer {
    tcp: TcpStream,
    heard: String,
}

impl Peer {
    fn open(addr: SocketAddr) -> Self {
        let tcp = TcpStream::connect(addr).unwrap();
        tcp.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut peer = Self { tcp, heard: String::new() };
        peer.say(
            "<stream:stream xmlns='jabber:component:accept' \
             xmlns:stream='http://etherx.jabber.org/streams' to='irc.localhost'>",
        );
        peer
    }

    fn admitted(addr: SocketAddr) -> Self {
        let mut peer = Self::open(addr);
        peer.until("'>");
        let id = peer.heard.split(" id='").nth(1).unwrap().split('\'').next().unwrap().to_owned();
        peer.say(&format!("<handshake>{}</handshake>", handshake(&id, "Mercutio")));
        peer.until("<handshake/>");
        peer
    }

    fn say(&mut self, xml: &str) {
        self.tcp.write_all(xml.as_bytes()).unwrap();
    }

    fn until(&mut self, sign: &str) {
        while !self.heard.contains(sign) {
            let mut bytes = [0; 1_024];
            let len = self.tcp.read(&mut bytes).unwrap();
            assert!(len > 0, "no {sign} in {}", self.heard);
            self.heard.push_str(std::str::from_utf8(&bytes[..len]).unwrap());
        }
    }

    /// All that comes until the connection ends, however it does.
    fn rest(mut self) -> String {
        let mut bytes = Vec::new();
        let _ = self.tcp.read_to_end(&mut bytes);
        self.heard + std::str::from_utf8(&bytes).unwrap()
    }
}

#[test]
fn a_component_comes_and_goes_with_the_configuration_and_the_server() {
    let place = Place::new();
    place.configure(COMPONENT);
    let mut server = place.start();
    let mut irc = Peer::admitted(server.ports[0]);
    server.log_until("event=\"component_in\"");
    place.configure(PORT_ONLY);
    assert_eq!(place.run("reload").code, 0);
    irc.until("<host-gone ");
    Peer::open(server.ports[0]).until("<host-unknown ");
    place.configure(COMPONENT);
    assert_eq!(place.run("reload").code, 0);
    let mut irc = Peer::admitted(server.ports[0]);
    server.signal(Signal::TERM);
    irc.until("<system-shutdown ");
    drop(irc);
    let (status, log) = server.ended();
    assert_eq!(status.code(), Some(0), "{log}");
}

#[test]
fn the_first_component_of_a_reload_waits_for_its_port() {
    let place = Place::new();
    let _server = place.start();
    place.configure("[[component]]\ndomain = 'irc.localhost'\nsecret = 'Mercutio'\n");
    let said = place.run("reload");
    assert!(said.out.contains("Only a restart changes: the port for components."), "{said:?}");
}

const MESSAGES: usize = 70;

/// The numbers of the messages that came whole.
fn numbers(heard: &str) -> Vec<usize> {
    let whole = heard.split("<message ").skip(1).filter(|text| text.contains("</message>"));
    let id = |text: &str| text.split(" id='").nth(1).unwrap().split('\'').next().unwrap().parse();
    whole.map(|text| id(text).unwrap()).collect()
}

#[tokio::test]
async fn what_was_acknowledged_for_a_component_that_did_not_read_it_is_its_after_a_kill() {
    let place = Place::new();
    place.configure(COMPONENT);
    assert_eq!(place.run("account add user@localhost --password secret").code, 0);
    let server = place.start();
    let irc = Peer::admitted(server.ports[0]);
    let mut sender = Typist::bind(server.ports[1], "user@localhost/here", "secret").await;
    sender.say("<enable xmlns='urn:xmpp:sm:3'/>").await;
    sender.hear("<enabled").await;
    // More than sockets take.
    let body = "x".repeat(60_000);
    for n in 0..MESSAGES {
        let to = "to='x@irc.localhost' type='chat'";
        sender.say(&format!("<message {to} id='{n}'><body>{body}</body></message>")).await;
    }
    sender.say("<r xmlns='urn:xmpp:sm:3'/>").await;
    let answers = sender.hear(&format!("h='{MESSAGES}'/>")).await + &sender.sync().await;
    let returned = numbers(&answers);
    server.signal(Signal::KILL);
    server.ended();
    let before = numbers(&irc.rest());

    let server = place.start();
    assert!(server.log.contains("event=\"underway\""), "{}", server.log);
    let mut irc = Peer::admitted(server.ports[0]);
    let last = (0..MESSAGES).rfind(|n| !returned.contains(n)).unwrap();
    irc.until(&format!(" id='{last}'"));
    irc.until("</message>");
    irc.say("</stream:stream>");
    let after = numbers(&irc.rest());
    assert!(!after.is_empty() && after.is_sorted(), "{after:?}");
    for n in 0..MESSAGES {
        let has_arrived = before.contains(&n) || after.contains(&n);
        assert!(has_arrived != returned.contains(&n), "{n}: {before:?}, {after:?}, {returned:?}");
    }
    server.signal(Signal::TERM);
    server.ended();
    let server = place.start();
    assert!(!server.log.contains("event=\"underway\""), "{}", server.log);
}
