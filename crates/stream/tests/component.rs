//! The stream of a component against everything that a component may say (XEP-0114).

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use stentor_stanza::Stanza;
use stentor_stream::component::{Answer, Ask, Component, Event, Offer, Settings, handshake};
use stentor_stream::fault::Fault;
use stentor_stream::{Ending, Machine as _, Millis};
use stentor_xml::Frame;
use zeroize::Zeroizing;

const NOW: Millis = Millis(1_000);
const DOMAIN: &str = "plays.capulet.example";
const SECRET: &str = "Mercutio";
const HEADER: &str = "<?xml version='1.0'?><stream:stream xmlns='jabber:component:accept' \
                      xmlns:stream='http://etherx.jabber.org/streams' to='plays.capulet.example'>";
const OUR_HEADER: &str = "<?xml version='1.0'?><stream:stream from='plays.capulet.example' \
                          id='3BF96D32' xml:lang='en' xmlns='jabber:component:accept' \
                          xmlns:stream='http://etherx.jabber.org/streams'>";

/// A stream, and what the shell was told.
struct Stream {
    machine: Component,
    is_full: bool,
    stanzas: Vec<Stanza>,
    refused: Vec<Stanza>,
    asked: Vec<Ask>,
    ended: Option<Option<Fault>>,
    peer_closed: bool,
}

impl Stream {
    fn new() -> Self {
        Self::with(Settings { name: "capulet.example".into(), ..Settings::default() })
    }

    fn with(settings: Settings) -> Self {
        let make_id = Box::new(|| "3BF96D32".to_owned());
        Self {
            machine: Component::new(Arc::new(settings), make_id, NOW),
            is_full: false,
            stanzas: Vec::new(),
            refused: Vec::new(),
            asked: Vec::new(),
            ended: None,
            peer_closed: false,
        }
    }

    fn open() -> Self {
        let mut stream = Self::new();
        stream.says(HEADER);
        assert!(stream.says(&shake(SECRET)).ends_with("<handshake/>"));
        stream
    }

    /// What the server says to it.
    fn says(&mut self, xml: &str) -> String {
        let mut rest = xml.as_bytes();
        loop {
            self.machine.handle_bytes(&mut rest, NOW);
            if !self.events(NOW) {
                break;
            }
        }
        self.heard()
    }

    fn events(&mut self, now: Millis) -> bool {
        let mut moved = false;
        while let Some(event) = self.machine.poll_event() {
            moved = true;
            match event {
                Event::Ask(ask) => {
                    let answer = match &ask {
                        Ask::Domain(domain) if domain == DOMAIN => Answer::Offer(Ok(Offer {
                            secret: Zeroizing::new(SECRET.into()),
                            frame_bytes_max: 4_096,
                        })),
                        Ask::Domain(_) => Answer::Offer(Err(Fault::HostUnknown)),
                        Ask::Admit(_) if self.is_full => Answer::Admitted(Err(Fault::Occupied)),
                        Ask::Admit(_) => Answer::Admitted(Ok(())),
                    };
                    self.asked.push(ask);
                    self.machine.handle_answer(answer, now);
                }
                Event::Stanza(stanza) => self.stanzas.push(stanza),
                Event::Refused(reply) => self.refused.push(reply),
                Event::Ending(Ending::PeerClosed) => self.peer_closed = true,
                Event::Ending(Ending::Ended { fault, .. }) => self.ended = Some(fault),
            }
        }
        moved
    }

    fn heard(&mut self) -> String {
        let mut out = Vec::new();
        self.machine.take_output(&mut out);
        String::from_utf8(out).unwrap()
    }
}

fn shake(secret: &str) -> String {
    format!("<handshake>{}</handshake>", handshake("3BF96D32", secret))
}

fn error(condition: &str, said: &str) {
    let condition = format!("<{condition} xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>");
    assert!(said.contains(&format!("<stream:error>{condition}")), "{said}");
    assert!(said.ends_with("</stream:error></stream:stream>"), "{said}");
}

#[test]
fn follows_the_examples_of_the_specification() {
    let mut stream = Stream::new();
    assert_eq!(stream.says(HEADER), OUR_HEADER);
    assert_eq!(stream.says(&shake(SECRET)), "<handshake/>");
    assert_eq!(stream.asked, [Ask::Domain(DOMAIN.into()), Ask::Admit(DOMAIN.into())]);
    let message = "<message from='hamlet@plays.capulet.example' to='juliet@capulet.example'>\
                   <body>O</body></message>";
    assert_eq!(stream.says(message), "");
    assert_eq!(stream.stanzas.len(), 1);
    let reply = "<message from='juliet@capulet.example/b' to='hamlet@plays.capulet.example'>\
                 <body>Romeo?</body></message>";
    let stanza = Stanza::from_frame(Frame::parse(reply.as_bytes()).unwrap()).unwrap();
    let mut out = Vec::new();
    assert!(stream.machine.send(&stanza, &mut out, NOW));
    let out = String::from_utf8(out).unwrap();
    assert!(!out.contains("xmlns"), "it is in the namespace of the stream: {out}");
    assert!(out.contains("<body>Romeo?</body>"));
    assert_eq!(stream.says("</stream:stream>"), "");
    assert!(stream.peer_closed);
    stream.machine.close(None, NOW);
    assert_eq!(stream.heard(), "</stream:stream>");
    stream.events(NOW);
    assert_eq!(stream.ended, Some(None));
}

#[test]
fn the_digest_is_the_one_of_the_specification() {
    // SHA-1 of "3BF96D32Mercutio" by another implementation.
    assert_eq!(handshake("3BF96D32", SECRET), "99133095906e9dee26dabb5bf27c91fa3489a517");
}

/// COMPAT(biboumi, 9.0): it declares the namespace of the stream on every element.
#[test]
fn the_namespace_may_be_declared_again() {
    let mut stream = Stream::new();
    stream.says(HEADER);
    let declared = "xmlns='jabber:component:accept'";
    let shake = shake(SECRET).replace("<handshake", &format!("<handshake {declared}"));
    assert_eq!(stream.says(&shake), "<handshake/>");
    let message = format!(
        "<message {declared} from='a@{DOMAIN}' to='b@capulet.example'><body {declared}>O</body>\
         </message>"
    );
    assert_eq!(stream.says(&message), "");
    let message = String::from_utf8(stream.stanzas[0].to_bytes()).unwrap();
    assert!(message.contains("<body>O</body>"), "{message}");
}

#[test]
fn every_byte_may_come_alone() {
    let mut stream = Stream::new();
    let text =
        format!("{HEADER}{}<presence from='a@{DOMAIN}' to='b@capulet.example'/>", shake(SECRET));
    let said: String =
        text.as_bytes().iter().map(|b| stream.says(std::str::from_utf8(&[*b]).unwrap())).collect();
    assert_eq!(said, format!("{OUR_HEADER}<handshake/>"));
    assert_eq!(stream.stanzas.len(), 1);
}

#[test]
fn a_wrong_header_gets_its_error_inside_a_stream() {
    for (header, condition) in [
        (HEADER.replace("plays.", "films."), "host-unknown"),
        (HEADER.replace("to='plays.capulet.example'", ""), "host-unknown"),
        (HEADER.replace("to='plays.capulet.example'", "to='a b'"), "host-unknown"),
        (HEADER.replace(":accept", ":connect"), "invalid-namespace"),
        (HEADER.replace("jabber:component:accept", "jabber:client"), "invalid-namespace"),
        (HEADER.replace("jabber:component:accept", "jabber:server"), "invalid-namespace"),
        (HEADER.replace("etherx.jabber.org", "etherx.example"), "invalid-namespace"),
        (HEADER.replace("<stream:stream", "<stream:river"), "bad-format"),
        (HEADER.replace("stream:", "flow:").replace(":stream=", ":flow="), "bad-namespace-prefix"),
        (HEADER.replace("to='", "to=<"), "not-well-formed"),
    ] {
        let mut stream = Stream::new();
        let said = stream.says(&header);
        assert!(said.starts_with("<?xml version='1.0'?><stream:stream "), "{header}: {said}");
        assert!(said.contains("from='capulet.example'"), "{said}");
        error(condition, &said);
    }
}

#[test]
fn whoever_does_not_know_the_secret_is_not_authorized() {
    let right = shake(SECRET);
    for first in [
        shake("Tybalt"),
        shake(""),
        "<handshake/>".to_owned(),
        right.to_uppercase().replace("HANDSHAKE", "handshake"),
        right.replace("</", "<x/></"),
        right.replace("<handshake>", "<handshake xmlns='urn:example:other'>"),
        format!("<message from='a@{DOMAIN}' to='b@capulet.example'/>"),
        "<iq type='get' id='1'><ping xmlns='urn:xmpp:ping'/></iq>".to_owned(),
    ] {
        let mut stream = Stream::new();
        stream.says(HEADER);
        let said = stream.says(&first);
        error("not-authorized", &said);
        assert!(stream.stanzas.is_empty());
        // What comes behind it is not read as if it were authorized.
        stream.says(&right);
        stream.says(&format!("<presence from='{DOMAIN}' to='b@capulet.example'/>"));
        assert!(stream.stanzas.is_empty() && !stream.machine.is_open());
    }
}

#[test]
fn one_stream_too_many_is_a_conflict() {
    let mut stream = Stream::new();
    stream.is_full = true;
    stream.says(HEADER);
    let said = stream.says(&shake(SECRET));
    error("conflict", &said);
    assert!(!said.contains("<handshake/>"));
}

#[test]
fn the_sender_is_of_the_domain_and_nobody_else() {
    for from in ["juliet@capulet.example", "capulet.example", "a.plays.capulet.example"] {
        let mut stream = Stream::open();
        let said = stream
            .says(&format!("<message from='{from}' to='b@capulet.example'><body/></message>"));
        error("invalid-from", &said);
        assert!(stream.stanzas.is_empty());
    }
    let mut stream = Stream::open();
    for from in
        [DOMAIN.to_owned(), format!("x@{DOMAIN}/y"), format!("{DOMAIN}/z"), DOMAIN.to_uppercase()]
    {
        assert_eq!(stream.says(&format!("<presence from='{from}' to='b@capulet.example'/>")), "");
    }
    assert_eq!(stream.stanzas.len(), 4);
}

#[test]
fn both_addresses_are_demanded() {
    for head in [format!("from='{DOMAIN}'"), "to='b@capulet.example'".to_owned(), String::new()] {
        let mut stream = Stream::open();
        let said = stream.says(&format!("<message {head}><body>x</body></message>"));
        error("improper-addressing", &said);
    }
}

#[test]
fn what_is_no_stanza_or_no_xml_ends_the_stream() {
    for (xml, condition) in [
        ("<foo/>", "unsupported-stanza-type"),
        ("<handshake>x</handshake>", "unsupported-stanza-type"),
        ("<message xmlns='urn:example:x'/>", "unsupported-stanza-type"),
        ("<message><</message>", "not-well-formed"),
        ("<!-- a -->", "restricted-xml"),
        ("text", "bad-format"),
    ] {
        let said = Stream::open().says(xml);
        error(condition, &said);
    }
    let long = format!(
        "<message from='{DOMAIN}' to='b@capulet.example'><body>{}</body></message>",
        "x".repeat(4_096)
    );
    let said = Stream::open().says(&long);
    assert!(said.contains("policy-violation") && said.contains("stanza-too-big"), "{said}");
}

#[test]
fn a_malformed_address_comes_back_and_the_stream_goes_on() {
    let mut stream = Stream::open();
    let said =
        stream.says(&format!("<message from='{DOMAIN}' to='@' id='m'><body>x</body></message>"));
    assert_eq!(said, "");
    let reply = String::from_utf8(stream.refused[0].to_bytes()).unwrap();
    assert!(reply.contains("jid-malformed") && reply.contains("id='m'"), "{reply}");
    assert!(stream.machine.is_open());
}

#[test]
fn silence_before_the_handshake_ends_it_and_silence_after_does_not() {
    let settings = Settings::default();
    let (header_wait_ms, handshake_wait_ms) = (settings.header_wait_ms, settings.handshake_wait_ms);
    let mut stream = Stream::new();
    assert_eq!(stream.machine.poll_timeout(), Some(NOW.plus(header_wait_ms)));
    stream.machine.handle_timeout(NOW.plus(header_wait_ms));
    let said = stream.heard();
    error("connection-timeout", &said);

    let mut stream = Stream::new();
    stream.says(HEADER);
    assert_eq!(stream.machine.poll_timeout(), Some(NOW.plus(handshake_wait_ms)));
    stream.machine.handle_timeout(NOW.plus(handshake_wait_ms));
    let said = stream.heard();
    error("connection-timeout", &said);

    let mut stream = Stream::open();
    let due = stream.machine.poll_timeout().unwrap();
    assert_eq!(due, NOW.plus(settings.keepalive_ms));
    stream.machine.handle_timeout(due);
    assert_eq!(stream.heard(), " ");
    assert!(stream.machine.is_open());
}

#[test]
fn an_error_of_the_peer_is_not_answered_by_another() {
    let mut stream = Stream::open();
    let said = stream.says(
        "<stream:error><undefined-condition xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>\
         </stream:error>",
    );
    assert_eq!(said, "</stream:stream>");
    assert!(matches!(stream.ended, Some(Some(Fault::ByPeer(_)))));
}
