//! Binding, stanzas, closing and silence, with exact bytes (RFC 6120 §4.4, §4.6, §7, §8).

#![allow(clippy::unwrap_used)]

mod support;

use stentor_stanza::{Condition, Stanza, StanzaError};
use stentor_stream::Millis;
use stentor_stream::c2s::{ConnInfo, Idle, Probe, Settings, TlsInfo};
use stentor_stream::event::Event;
use stentor_stream::fault::{Fault, Incident, StreamCondition, Wait};
use stentor_stream::pair::{Accounts, Served, stanzas, tokens};
use support::{At, BIND, HEADER, advance, served, served_by, stream_error};

#[test]
fn binds_the_resource_asked_for_or_one_of_its_own() {
    let mut first = served(At::Bind);
    assert_eq!(first.say(BIND), bound("b1", "balcony"));
    assert_eq!(first.machine.jid().unwrap().as_str(), "juliet@capulet.example/balcony");
    for bind in ["<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>", EMPTY_RESOURCE] {
        let out = served(At::Bind).say(&format!("<iq type='set' id='x'>{bind}</iq>"));
        assert_eq!(out, bound("x", "made-1"), "{bind}");
    }
    let out =
        served(At::Bind).say(&BIND.replace("id='b1'", "id='b1' to='capulet.example' from='x@y'"));
    assert!(out.starts_with("<iq type='result' id='b1' from='capulet.example'>"), "{out}");
}

#[test]
fn refuses_bad_bind_requests_and_lets_the_client_try_again() {
    let mut served = served(At::Bind);
    for (request, error) in [
        (BIND.replace("balcony", "bal\u{7}cony").replace('\u{7}', "&#x9;"), "bad-request"),
        (BIND.replace("balcony", &"a".repeat(1_024)), "bad-request"),
        (BIND.replace("type='set'", "type='get'"), "bad-request"),
        (BIND.replace(" id='b1'", ""), "bad-request"),
        (BIND.replace("type='set'", "type='put'"), "bad-request"),
    ] {
        let out = served.say(&request);
        assert!(out.starts_with("<iq type='error'"), "{request}: {out}");
        assert!(out.contains(&format!("<error type='modify'><{error} ")), "{request}: {out}");
    }
    assert_eq!(served.say(BIND), bound("b1", "balcony"));
}

#[test]
fn passes_on_refused_binding_and_ends_after_too_many() {
    let mut accounts = Accounts::capulet();
    accounts.bind_error = Some(StanzaError::new(Condition::ResourceConstraint));
    let mut served = served_by(accounts, At::Bind);
    let refused = "<iq type='error' id='b1'><error type='wait'>\
                   <resource-constraint xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>";
    for _ in 0..5 {
        assert_eq!(served.say(BIND), refused);
    }
    let out = served.say(BIND);
    assert!(out.starts_with(refused), "{out}");
    assert_eq!(stream_error(&out).as_deref(), Some("policy-violation"));
}

#[test]
fn refuses_second_bind() {
    let mut served = served(At::Session);
    assert_eq!(
        served.say(BIND),
        "<iq type='error' id='b1' to='juliet@capulet.example/balcony'><error type='cancel'>\
         <not-allowed xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>"
    );
    assert!(served.machine.is_established());
}

#[test]
fn answers_the_session_step_of_old_clients() {
    let mut served = served(At::Session);
    let session = "<session xmlns='urn:ietf:params:xml:ns:xmpp-session'/>";
    assert_eq!(
        served.say(&format!("<iq type='set' id='s1'>{session}</iq>")),
        "<iq type='result' id='s1' to='juliet@capulet.example/balcony'/>"
    );
    assert_eq!(
        served.say(&format!("<iq type='set' id='s2' to='capulet.example'>{session}</iq>")),
        "<iq type='result' id='s2' to='juliet@capulet.example/balcony' from='capulet.example'/>"
    );
    assert!(served.events.is_empty());
    served.say(&format!("<iq type='set' id='s3' to='romeo@montague.example'>{session}</iq>"));
    assert_eq!(stanzas(&served.events).len(), 1, "to somebody else it is an ordinary stanza");
}

#[test]
fn stamps_sender_and_language() {
    let mut served = served(At::Session);
    served.say(
        "<message to='Romeo@Montague.example/x' from='forged@x.example' id='1'><body>a</body></message>\
         <message xml:lang='cs' to='romeo@montague.example'/>\
         <presence type='subscribe' to='romeo@montague.example'/>\
         <presence/>",
    );
    assert_eq!(
        stanzas(&served.events),
        [
            "<message id='1' to='romeo@montague.example/x' from='juliet@capulet.example/balcony' \
             xml:lang='en'><body>a</body></message>",
            "<message to='romeo@montague.example' from='juliet@capulet.example/balcony' \
             xml:lang='cs'/>",
            "<presence type='subscribe' to='romeo@montague.example' from='juliet@capulet.example' \
             xml:lang='en'/>",
            "<presence from='juliet@capulet.example/balcony' xml:lang='en'/>",
        ]
    );
}

#[test]
fn answers_bad_stanzas_without_ending_the_stream() {
    let mut served = served(At::Session);
    for (xml, start, error) in [
        (
            "<message to='@x' id='1'/>",
            "<message type='error' id='1' to='juliet@capulet.example/balcony'>",
            "jid-malformed",
        ),
        (
            "<presence to='a@b@c' id='1'/>",
            "<presence type='error' id='1' to='juliet@capulet.example/balcony'>",
            "jid-malformed",
        ),
        (
            "<iq type='subscribe' id='1'><ping xmlns='urn:xmpp:ping'/></iq>",
            "<iq type='error' id='1' to='juliet@capulet.example/balcony'>",
            "bad-request",
        ),
        (
            "<iq type='get'><ping xmlns='urn:xmpp:ping'/></iq>",
            "<iq type='error' id='' to='juliet@capulet.example/balcony'>",
            "bad-request",
        ),
        (
            "<iq type='get' id='1'/>",
            "<iq type='error' id='1' to='juliet@capulet.example/balcony'>",
            "bad-request",
        ),
        (
            "<iq type='set' id='1'><a xmlns='urn:a'/><b xmlns='urn:b'/></iq>",
            "<iq type='error' id='1' to='juliet@capulet.example/balcony'>",
            "bad-request",
        ),
        (
            "<presence type='gone' id='1'/>",
            "<presence type='error' id='1' to='juliet@capulet.example/balcony'>",
            "bad-request",
        ),
    ] {
        let out = served.say(xml);
        assert!(out.starts_with(start), "{xml}: {out}");
        assert!(out.contains(&format!("<error type='modify'><{error} ")), "{xml}: {out}");
    }
    for xml in [
        "<iq type='result'/>",
        "<message type='error' to='@'/>",
        "<iq type='error' id='1' to='@'/>",
    ] {
        assert_eq!(served.say(xml), "", "{xml}");
    }
    assert!(served.events.is_empty() && served.machine.is_established());
}

#[test]
fn hands_over_one_stanza_at_a_time() {
    let mut served = served(At::Session);
    let text = "<message id='1'/> <message id='2'/>";
    let mut rest = text.as_bytes();
    served.receive(&mut rest);
    assert_eq!(rest, b" <message id='2'/>");
    served.receive(&mut rest);
    assert_eq!(rest, b" <message id='2'/>", "the first has not been fetched");
    served.settle();
    served.receive(&mut rest);
    served.settle();
    assert!(rest.is_empty());
    assert_eq!(served.events.len(), 2);
}

#[test]
fn reads_nothing_more_while_its_answers_are_not_read() {
    let mut served = served(At::Session);
    let flood = "<iq/>".repeat(10_000);
    let mut rest = flood.as_bytes();
    served.receive(&mut rest);
    assert!(!rest.is_empty() && !served.machine.may_read());
    let written = served.take();
    assert!(written.len() < 20_000, "{}", written.len());
    assert!(served.machine.may_read());
}

#[test]
fn sends_behind_its_own_output_and_only_while_open() {
    let stanza = Stanza::parse(b"<message><body>hi</body></message>").unwrap();
    let mut served = served(At::Session);
    let mut rest =
        &b"<iq type='set' id='s1'><session xmlns='urn:ietf:params:xml:ns:xmpp-session'/></iq>"[..];
    served.receive(&mut rest);
    let mut out = Vec::new();
    assert!(served.machine.send(&stanza, &mut out));
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "<iq type='result' id='s1' to='juliet@capulet.example/balcony'/>\
         <message><body>hi</body></message>"
    );
    served.machine.close(None, Millis(0));
    assert_eq!(served.take(), b"</stream:stream>");
    let mut out = Vec::new();
    assert!(!served.machine.send(&stanza, &mut out));
    assert!(out.is_empty());
}

#[test]
fn closes_when_the_client_does_and_sends_first_what_is_owed() {
    let mut served = served(At::Session);
    let mut rest = &b"</stream:stream>"[..];
    served.receive(&mut rest);
    assert!(matches!(served.machine.poll_event(), Some(Event::PeerClosed)));
    let stanza = Stanza::parse(b"<message><body>owed</body></message>").unwrap();
    let mut out = Vec::new();
    assert!(served.machine.send(&stanza, &mut out));
    served.machine.close(None, Millis(1));
    served.machine.take_output(&mut out);
    assert_eq!(out, b"<message><body>owed</body></message></stream:stream>");
    served.settle();
    assert!(matches!(served.events[..], [Event::Ended { fault: None, by_peer: true }]));
}

#[test]
fn closes_by_itself_if_the_shell_does_not() {
    let mut served = served(At::Session);
    let mut rest = &b"</stream:stream>"[..];
    served.receive(&mut rest);
    assert!(matches!(served.machine.poll_event(), Some(Event::PeerClosed)));
    assert_eq!(served.wait(1_500), "</stream:stream>");
    assert_eq!(served.ended(), Some(None));
}

#[test]
fn closes_during_negotiation_too() {
    for at in [At::Tls, At::Auth, At::Bind] {
        let mut served = served(at);
        assert_eq!(served.say("</stream:stream>"), "</stream:stream>", "{at:?}");
        assert_eq!(served.ended(), Some(None));
    }
}

#[test]
fn waits_for_the_client_after_closing_and_takes_what_it_still_sends() {
    let mut served = served(At::Session);
    served.machine.close(None, Millis(0));
    assert_eq!(served.take(), b"</stream:stream>");
    assert_eq!(served.say("<message id='late'/><iq/>"), "", "nothing follows our closing tag");
    assert_eq!(stanzas(&served.events).len(), 1);
    assert!(served.ended().is_none());
    assert_eq!(served.say("</stream:stream>"), "");
    assert_eq!(served.ended(), Some(None));
}

#[test]
fn gives_up_on_a_client_that_does_not_close() {
    let mut served = served(At::Session);
    served.machine.close(Some(Fault::Replaced), Millis(0));
    assert_eq!(
        stream_error(&String::from_utf8(served.take()).unwrap()).as_deref(),
        Some("conflict")
    );
    served.say("<message id='late'/>");
    assert!(served.events.is_empty(), "after an error nothing is processed");
    assert_eq!(served.machine.poll_timeout(), Some(Millis(1_500)));
    assert_eq!(served.wait(1_500), "");
    assert_eq!(served.ended(), Some(Some(&Fault::Replaced)));
}

#[test]
fn says_why_it_ends() {
    for (fault, condition) in [
        (Fault::Shutdown, "system-shutdown"),
        (Fault::Replaced, "conflict"),
        (Fault::Reset, "reset"),
        (Fault::Overloaded, "resource-constraint"),
        (Fault::AccountClosed, "not-authorized"),
        (Fault::Policy("Too fast"), "policy-violation"),
        (Fault::Internal(Incident(0xab)), "internal-server-error"),
    ] {
        let mut served = served(At::Session);
        served.machine.close(Some(fault.clone()), Millis(0));
        let out = String::from_utf8(served.take()).unwrap();
        assert_eq!(stream_error(&out).as_deref(), Some(condition), "{out}");
    }
    let mut out = Vec::new();
    Fault::Internal(Incident(0xab)).write(&mut out);
    assert!(String::from_utf8(out).unwrap().contains(">Incident 000000ab</text>"));
}

#[test]
fn says_why_before_any_header_has_come() {
    let mut served = served(At::Start);
    served.machine.close(Some(Fault::Overloaded), Millis(0));
    let out = String::from_utf8(served.take()).unwrap();
    assert!(
        out.starts_with("<?xml version='1.0'?><stream:stream from='' id='t0000000000000001' "),
        "{out}"
    );
    assert_eq!(stream_error(&out).as_deref(), Some("resource-constraint"));
}

#[test]
fn understands_the_clients_stream_errors() {
    let mut served = served(At::Session);
    let out = served.say(
        "<stream:error><not-well-formed xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>\
         <text xmlns='urn:ietf:params:xml:ns:xmpp-streams'>Oh</text>\
         <odd xmlns='urn:example:odd'/></stream:error></stream:stream>",
    );
    assert_eq!(out, "</stream:stream>");
    let Some(Some(Fault::ByPeer(error))) = served.ended() else { panic!("ended by the peer") };
    assert_eq!(error.condition, StreamCondition::NotWellFormed);
    assert_eq!(error.text.as_deref(), Some("Oh"));
    assert_eq!(error.application, Some(("odd".into(), "urn:example:odd".into())));
}

#[test]
fn notices_a_lost_connection() {
    for at in [At::Start, At::Auth, At::Session] {
        let mut served = served(at);
        served.machine.handle_eof(Millis(1));
        served.settle();
        assert_eq!(served.ended(), Some(Some(&Fault::Lost)), "{at:?}");
        assert!(served.take().is_empty());
    }
}

#[test]
fn ends_connections_that_never_speak() {
    let mut served = served(At::Start);
    assert_eq!(served.wait(29_999), "");
    assert!(served.ended().is_none());
    let out = served.wait(1);
    assert!(out.starts_with("<?xml version='1.0'?><stream:stream "), "{out}");
    assert_eq!(stream_error(&out).as_deref(), Some("connection-timeout"));
    assert_eq!(served.ended(), Some(Some(&Fault::Timeout(Wait::Header))));
}

#[test]
fn ends_connections_that_never_sign_in() {
    for at in [At::Tls, At::Auth, At::Restart, At::Bind] {
        let mut served = served(at);
        assert_eq!(served.wait(59_999), "", "{at:?}");
        let out = served.wait(1);
        assert_eq!(stream_error(&out).as_deref(), Some("connection-timeout"), "{at:?}");
        assert_eq!(served.ended(), Some(Some(&Fault::Timeout(Wait::SignIn))));
    }
}

#[test]
fn asks_silent_clients_and_ends_those_that_do_not_answer() {
    let mut served = served(At::Session);
    let head = |number: u32| {
        format!(
            "<iq type='get' id='alive-{number}' to='juliet@capulet.example/balcony' \
             from='capulet.example'>"
        )
    };
    assert_eq!(served.wait(299_999), "");
    assert_eq!(served.wait(1), format!("{}<query xmlns='jabber:iq:version'/></iq>", head(1)));
    assert_eq!(served.wait(14_999), "");
    assert_eq!(served.wait(1), format!("{}<ping xmlns='urn:xmpp:ping'/></iq>", head(2)));
    assert_eq!(served.wait(14_999), "");
    let out = served.wait(1);
    assert_eq!(stream_error(&out).as_deref(), Some("connection-timeout"));
    assert_eq!(served.ended(), Some(Some(&Fault::Timeout(Wait::Answer))));
}

#[test]
fn keeps_clients_that_answer() {
    let mut served = served(At::Session);
    for (round, kind) in ["result", "error", "result"].into_iter().enumerate() {
        assert!(served.wait(300_000).contains("jabber:iq:version"));
        let answer = format!("<iq type='{kind}' id='alive-{}' to='capulet.example'/>", round + 1);
        assert_eq!(served.say(&answer), "");
        assert!(served.events.is_empty(), "the answer is the machine's own");
        assert_eq!(served.wait(30_000), "", "and it is asked no more");
        served.say(" ");
    }
    assert!(served.wait(300_000).contains("jabber:iq:version"));
    assert!(served.wait(15_000).contains("urn:xmpp:ping"));
    assert_eq!(served.say("<iq type='result' id='alive-4' to='capulet.example'/>"), "");
    assert!(served.events.is_empty(), "an answer may be slow");
    assert!(served.wait(300_000).contains("jabber:iq:version"));
    served.say(" ");
    assert_eq!(served.wait(30_000), "", "a space is a sign of life");
    assert!(served.machine.is_established());
    served.say("<iq type='result' id='alive-9'/>");
    assert_eq!(stanzas(&served.events).len(), 1, "an answer to nothing is the engine's to drop");
}

#[test]
fn sends_spaces_when_told_to_and_only_when_quiet() {
    let idle = Idle { after_ms: 0, keepalive_ms: 10_000, ..Idle::default() };
    let mut served = with_idle(idle);
    assert_eq!(served.wait(10_000), " ");
    assert_eq!(served.wait(10_000), " ");
    let stanza = Stanza::parse(b"<message/>").unwrap();
    assert!(served.machine.send(&stanza, &mut Vec::new()));
    assert_eq!(served.wait(10_000), "", "a stanza has kept the connection alive");
    assert_eq!(served.wait(10_000), " ");
    let idle = Idle { probe: Probe::Whitespace, ..Idle::default() };
    let mut served = with_idle(idle);
    for _ in 0..3 {
        assert_eq!(served.wait(300_000), " ");
    }
    assert!(served.machine.is_established());
    assert_eq!(with_idle(Idle { after_ms: 0, ..Idle::default() }).machine.poll_timeout(), None);
}

#[test]
fn ignores_white_space_between_stanzas() {
    let mut served = served(At::Session);
    assert_eq!(served.say(" \t\r\n \n"), "");
    served.say(
        "  <message\n to='romeo@montague.example' ><body> a\n b </body></message >\n\n<presence />",
    );
    let seen = stanzas(&served.events);
    assert!(seen[0].contains("<body> a\n b </body>"), "{seen:?}");
    assert_eq!(seen.len(), 2);
}

#[test]
fn has_nothing_to_say_after_the_end() {
    let mut served = served(At::Session);
    served.say("<bad");
    assert!(!served.say(" <").is_empty());
    assert!(served.machine.is_ended());
    assert_eq!(served.say(&format!("{HEADER}<message/></stream:stream>")), "");
    served.machine.close(Some(Fault::Shutdown), Millis(0));
    served.machine.handle_eof(Millis(0));
    assert_eq!(served.wait(1_000_000), "");
    assert_eq!(served.events.iter().filter(|e| matches!(e, Event::Ended { .. })).count(), 1);
}

fn with_idle(idle: Idle) -> Served {
    let settings = Settings { idle, ..Settings::default() };
    let conn = ConnInfo { tls: Some(TlsInfo::default()), tokens: tokens("t") };
    let mut served = Served::new(settings, Accounts::capulet(), conn, Millis(0));
    advance(&mut served, At::Session);
    served
}

fn bound(id: &str, resource: &str) -> String {
    format!(
        "<iq type='result' id='{id}'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>\
         <jid>juliet@capulet.example/{resource}</jid></bind></iq>"
    )
}

const EMPTY_RESOURCE: &str =
    "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource></resource></bind>";
