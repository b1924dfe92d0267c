//! Stream management on streams between servers (XEP-0198), each end against a typed peer.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use stentor_stanza::Stanza;
use stentor_stream::s2s::{
    Answer, Ask, Former, Incoming, IncomingEvent, Offer, Outgoing, OutgoingEvent, Pair, Tally,
};
use stentor_stream::{Ending, Machine, Millis};
use stentor_xml::Frame;

const NOW: Millis = Millis(1_000);
const SM: &str = "xmlns='urn:xmpp:sm:3'";
const FROM_THEM: &str = "<message from='juliet@capulet.example' to='romeo@montague.example'/>";
const FROM_US: &str = "<message from='romeo@montague.example' to='juliet@capulet.example'/>";

fn header(from: &str, to: &str) -> String {
    format!(
        "<stream:stream xmlns='jabber:server' xmlns:db='jabber:server:dialback' \
         xmlns:stream='http://etherx.jabber.org/streams' from='{from}' to='{to}' id='s' \
         version='1.0'>"
    )
}

/// Hands in text, answers what is asked by `answer`, and returns what is written.
fn say<M: Machine>(machine: &mut M, xml: &str, mut answer: impl FnMut(&mut M, M::Event)) -> String {
    let mut rest = xml.as_bytes();
    loop {
        machine.handle_bytes(&mut rest, NOW);
        let Some(event) = machine.poll_event() else { break };
        answer(machine, event);
    }
    written(machine)
}

fn written<M: Machine>(machine: &mut M) -> String {
    let mut out = Vec::new();
    machine.take_output(&mut out);
    String::from_utf8(out).unwrap()
}

fn send(send: impl FnOnce(&Stanza, &mut Vec<u8>) -> bool) -> String {
    let mut out = Vec::new();
    let stanza = Stanza::from_frame(Frame::parse(FROM_US.as_bytes()).unwrap()).unwrap();
    assert!(send(&stanza, &mut out));
    String::from_utf8(out).unwrap()
}

/// Montague's end of a stream that Capulet's server opened and signed in on.
struct Montague {
    machine: Incoming,
    former: Result<Tally, Option<u64>>,
    told: Vec<String>,
}

impl Montague {
    fn new() -> Self {
        let mut montague = Self::before_auth();
        let features = montague
            .say("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>=</auth>");
        assert!(features.contains("<success"), "{features}");
        let features = montague.say(&header("capulet.example", "montague.example"));
        assert!(features.contains(&format!("<sm {SM}/>")), "{features}");
        assert!(features.contains("<max-bytes>10000</max-bytes>"), "{features}");
        montague.told.clear();
        montague
    }

    fn before_auth() -> Self {
        let mut ids = 0;
        let make_id = Box::new(move || {
            ids += 1;
            format!("id-{ids}")
        });
        let machine = Incoming::new(Arc::default(), true, make_id, NOW);
        let mut montague = Self { machine, former: Err(None), told: Vec::new() };
        let features = montague.say(&header("capulet.example", "montague.example"));
        assert!(!features.contains("<sm "), "too early: {features}");
        assert!(montague.say("<bidi xmlns='urn:xmpp:bidi'/>").is_empty());
        montague
    }

    fn say(&mut self, xml: &str) -> String {
        let (former, told) = (&self.former, &mut self.told);
        say(&mut self.machine, xml, |machine, event| match event {
            IncomingEvent::Ask(Ask::Host { .. }) => {
                let offer = Offer {
                    domain: "montague.example".into(),
                    external: true,
                    dialback: true,
                    bidi: true,
                    management: Some(60),
                    frame_bytes_max: Some(10_000),
                    ..Offer::default()
                };
                machine.handle_answer(Answer::Host(Ok(Arc::new(offer))), NOW);
            }
            IncomingEvent::Ask(Ask::Resume { previd }) => {
                told.push(format!("resume {previd}"));
                machine.handle_answer(Answer::Resume(*former), NOW);
            }
            IncomingEvent::Managed(id) => told.push(format!("managed {id:?}")),
            IncomingEvent::AckRequested => {
                let received = machine.tally().unwrap().received;
                machine.acknowledge(received);
            }
            IncomingEvent::Acked(h) => told.push(format!("acked {h}")),
            IncomingEvent::Ending(Ending::Ended { fault, .. }) => {
                told.push(format!("ended {}", fault.map_or("none", |f| f.condition().name())));
            }
            _ => {}
        })
    }

    fn send(&mut self) -> String {
        send(|stanza, out| self.machine.send(stanza, out))
    }
}

#[test]
fn both_directions_are_counted_from_enabling_on() {
    let mut montague = Montague::new();
    montague.say(FROM_THEM);
    montague.send();
    let enabled = montague.say(&format!("<enable {SM} resume='1'/>"));
    assert_eq!(enabled, format!("<enabled {SM} id='id-3' resume='true' max='60'/>"));
    assert_eq!(montague.told, ["managed Some(\"id-3\")"]);
    // One that is refused is handled as well.
    let bad = "<presence type='what' from='a@capulet.example' to='b@montague.example'/>";
    let acked = montague.say(&format!("{FROM_THEM}{bad}{FROM_THEM}<r {SM}/>"));
    assert!(acked.ends_with(&format!("<a {SM} h='3'/>")), "{acked}");
    montague.send();
    montague.send();
    montague.say(&format!("<a {SM} h='2'/>"));
    assert_eq!(montague.told.last().unwrap(), "acked 2");
    assert_eq!(montague.machine.tally(), Some(Tally { sent: 2, acked: 2, received: 3 }));
}

#[test]
fn more_acknowledged_than_was_sent_ends_the_stream() {
    let mut montague = Montague::new();
    montague.say(&format!("<enable {SM}/>"));
    montague.send();
    let out = montague.say(&format!("<a {SM} h='2'/>"));
    assert!(out.contains("<undefined-condition "), "{out}");
    assert!(out.contains("h='2' send-count='1'/>"), "{out}");
}

#[test]
fn what_is_out_of_turn_is_refused_and_the_stream_stands() {
    let mut montague = Montague::before_auth();
    let failed = montague.say(&format!("<enable {SM}/>"));
    assert!(failed.contains("<failed ") && failed.contains("<unexpected-request "), "{failed}");
    let mut montague = Montague::new();
    let failed = montague.say(&format!("<enable {SM} resume='perhaps'/>"));
    assert!(failed.contains("<bad-request "), "{failed}");
    montague.say(&format!("<enable {SM}/>"));
    let failed = montague.say(&format!("<enable {SM}/>"));
    assert!(failed.contains("<unexpected-request "), "{failed}");
    assert!(montague.say(&format!("<r {SM}/>")).contains("h='0'"));
    assert!(montague.say(&format!("<a {SM} h='x'/>")).contains("</stream:stream>"));
}

#[test]
fn a_stream_goes_on_with_both_counts_or_says_why_not() {
    let mut montague = Montague::new();
    let failed = montague.say(&format!("<resume {SM} previd='gone' h='4'/>"));
    assert!(failed.contains("<failed ") && failed.contains("<item-not-found "), "{failed}");
    montague.former = Ok(Tally { sent: 9, acked: 2, received: 1 << 32 });
    let resumed = montague.say(&format!("<resume {SM} previd='former' h='4'/>"));
    assert_eq!(resumed, format!("<resumed {SM} h='0' previd='former'/>"));
    assert_eq!(montague.told, ["resume gone", "resume former", "acked 4"]);
    // What is sent again is counted again.
    assert_eq!(montague.machine.tally().unwrap().sent, 4);
    let mut montague = Montague::new();
    montague.former = Ok(Tally { sent: 9, acked: 2, received: 7 });
    let out = montague.say(&format!("<resume {SM} previd='former' h='10'/>"));
    assert!(out.contains("h='10' send-count='9'/>"), "{out}");
}

#[test]
fn a_server_that_answers_nothing_is_given_up() {
    let mut montague = Montague::new();
    montague.say(&format!("<enable {SM}/>"));
    let due = montague.machine.poll_timeout().unwrap();
    montague.machine.handle_timeout(due);
    assert_eq!(written(&mut montague.machine), format!("<r {SM}/>"));
    let due = montague.machine.poll_timeout().unwrap();
    montague.machine.handle_timeout(due);
    let out = written(&mut montague.machine);
    assert!(out.contains("<connection-timeout "), "{out}");
}

/// Montague's end of a stream that it opened to Capulet's server.
struct Caller {
    machine: Outgoing,
    told: Vec<String>,
}

impl Caller {
    /// Up to the question for stream management, which is the answer.
    fn new(former: Option<Former>) -> (Self, String) {
        let pair = Pair { local: "montague.example".into(), remote: "capulet.example".into() };
        let mut machine = Outgoing::new(Arc::default(), pair, true, true, NOW);
        former.into_iter().for_each(|former| machine.go_on_for(former));
        let mut caller = Self { machine, told: Vec::new() };
        let header = header("capulet.example", "montague.example");
        caller.say(&header);
        let external = "<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>\
                        <mechanism>EXTERNAL</mechanism></mechanisms>";
        caller.say(&format!("<stream:features>{external}</stream:features>"));
        caller.say("<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>");
        caller.say(&header);
        let limits = "<limits xmlns='urn:xmpp:stream-limits:0'><max-bytes>999</max-bytes></limits>";
        let asked = caller.say(&format!("<stream:features><sm {SM}/>{limits}</stream:features>"));
        assert_eq!(caller.machine.bytes_max(), Some(999));
        assert!(caller.told.is_empty(), "nothing is sent before the answer");
        (caller, asked)
    }

    fn say(&mut self, xml: &str) -> String {
        let told = &mut self.told;
        say(&mut self.machine, xml, |_, event| {
            told.push(match event {
                OutgoingEvent::Managed { id, max_secs } => format!("managed {id:?} {max_secs:?}"),
                OutgoingEvent::Authorized(..) => "authorized".to_owned(),
                OutgoingEvent::Resumed(h) => format!("resumed {h}"),
                OutgoingEvent::NotResumed(h) => format!("not resumed {h:?}"),
                OutgoingEvent::Acked(h) => format!("acked {h}"),
                OutgoingEvent::AckRequested => "asked".to_owned(),
                other => format!("{other:?}"),
            });
        })
    }

    fn send(&mut self) -> String {
        send(|stanza, out| self.machine.send(stanza, out))
    }
}

#[test]
fn who_opens_a_stream_enables_the_counting_before_it_sends() {
    let (mut caller, asked) = Caller::new(None);
    assert_eq!(asked, format!("<enable {SM} resume='true'/>"));
    caller.say(&format!("<enabled {SM} id='x' resume='true' max='30'/>"));
    assert_eq!(caller.told, ["managed Some(\"x\") Some(30)", "authorized"]);
    let burst: String = (0..16).map(|_| caller.send()).collect();
    assert!(burst.ends_with(&format!("<r {SM}/>")), "{burst}");
    caller.say(&format!("<a {SM} h='16'/><r {SM}/>"));
    assert_eq!(caller.told[2..], ["acked 16", "asked"]);
    let out = caller.say(&format!("<a {SM} h='17'/>"));
    assert!(out.contains("<handled-count-too-high "), "{out}");
}

#[test]
fn who_is_refused_the_counting_sends_without() {
    let (mut caller, _) = Caller::new(None);
    caller.say(&format!("<failed {SM}/>"));
    assert_eq!(caller.told, ["authorized"]);
    assert_eq!(caller.machine.tally(), None);
    assert!(!caller.send().contains("<r "));
}

#[test]
fn a_broken_stream_goes_on_or_is_begun_anew() {
    let former = || {
        let tally = Tally { sent: 9, acked: 2, received: 3 };
        Some(Former { previd: "x".into(), tally })
    };
    let (mut caller, asked) = Caller::new(former());
    assert_eq!(asked, format!("<resume {SM} h='3' previd='x'/>"));
    caller.say(&format!("<resumed {SM} h='5' previd='x'/>"));
    assert_eq!(caller.told, ["resumed 5", "authorized"]);
    let (mut caller, _) = Caller::new(former());
    let asked = caller.say(&format!("<failed {SM} h='5'/>"));
    assert_eq!(asked, format!("<enable {SM} resume='true'/>"));
    caller.say(&format!("<enabled {SM}/>"));
    assert_eq!(caller.told, ["not resumed Some(5)", "managed None None", "authorized"]);
    assert_eq!(caller.machine.tally(), Some(Tally::default()));
}
