//! Stream management, with exact bytes (XEP-0198).

#![allow(clippy::unwrap_used)]

mod support;

use stentor_stanza::Stanza;
use stentor_stream::Millis;
use stentor_stream::event::{Answer, Ask, Event};
use stentor_stream::pair::{Accounts, Served};
use support::{At, served, served_by};

/// A session whose host has stream management.
fn managed(at: At) -> Served {
    let mut accounts = Accounts::capulet();
    accounts.offer.management = true;
    served_by(accounts, at)
}

fn enabled() -> Served {
    let mut served = managed(At::Session);
    assert_eq!(served.say("<enable xmlns='urn:xmpp:sm:3' resume='true' max='30'/>"), "");
    let asked = served.events.pop();
    assert!(matches!(asked, Some(Event::Enable { resume: true, max_secs: Some(30) })), "{asked:?}");
    served.machine.enable_sm(Some("id-1"), 30);
    let answer = "<enabled xmlns='urn:xmpp:sm:3' id='id-1' resume='true' max='30'/>";
    assert_eq!(served.say(""), answer);
    served
}

fn message() -> Stanza {
    Stanza::parse(b"<message><body>x</body></message>").unwrap()
}

#[test]
fn is_offered_once_signed_in_where_the_host_has_it() {
    let mut first = managed(At::Restart);
    assert!(first.say(support::HEADER).contains("<sm xmlns='urn:xmpp:sm:3'/>"));
    let mut first = served(At::Restart);
    assert!(!first.say(support::HEADER).contains("urn:xmpp:sm:3"));
}

#[test]
fn s3_order_is_enforced() {
    let failed = "<failed xmlns='urn:xmpp:sm:3'>\
                  <unexpected-request xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></failed>";
    for at in [At::Tls, At::Auth, At::Bind] {
        for element in ["enable", "r"] {
            let out = managed(at).say(&format!("<{element} xmlns='urn:xmpp:sm:3'/>"));
            assert_eq!(out, failed, "{at:?} {element}");
        }
    }
    for element in ["<r", "<a h='1'", "<resume h='0' previd='x'"] {
        let out = managed(At::Session).say(&format!("{element} xmlns='urn:xmpp:sm:3'/>"));
        assert_eq!(out, failed, "{element}");
    }
    assert_eq!(enabled().say("<enable xmlns='urn:xmpp:sm:3'/>"), failed);
    assert_eq!(enabled().say("<resume xmlns='urn:xmpp:sm:3' h='0' previd='x'/>"), failed);
}

#[test]
fn s4_counts_stanzas_and_nothing_else() {
    let mut served = enabled();
    served.say("<message to='romeo@montague.example'/><presence/> <iq type='get'/>");
    assert_eq!(served.machine.received(), 3, "a stanza that is refused counts as well");
    served.events.clear();
    served.say("<r xmlns='urn:xmpp:sm:3'/>");
    assert!(matches!(served.events.pop(), Some(Event::AckRequested)));
    served.machine.acknowledge(3);
    assert_eq!(served.say(""), "<a xmlns='urn:xmpp:sm:3' h='3'/>");
    served.machine.acknowledge((1 << 32) + 1);
    assert_eq!(served.say(""), "<a xmlns='urn:xmpp:sm:3' h='1'/>");
    served.say("<a xmlns='urn:xmpp:sm:3' h='4294967295'/>");
    assert!(matches!(served.events.pop(), Some(Event::Acked(u32::MAX))));
}

#[test]
fn answers_of_the_machine_take_their_place_among_the_stanzas() {
    let mut served = enabled();
    for xml in [
        "<iq type='get' id='1' to='@'><x xmlns='urn:x'/></iq>",
        "<iq type='set' id='2'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>",
        "<iq type='set' id='3'><session xmlns='urn:ietf:params:xml:ns:xmpp-session'/></iq>",
    ] {
        assert_eq!(served.say(xml), "", "{xml}");
        assert!(matches!(served.events.pop(), Some(Event::Reply(_))), "{xml}");
    }
}

#[test]
fn malformed_acknowledgements_end_the_stream() {
    for xml in ["<a", "<a h=''", "<a h='-1'", "<a h='4294967296'", "<a h='x'"] {
        let out = enabled().say(&format!("{xml} xmlns='urn:xmpp:sm:3'/>"));
        assert!(out.starts_with("<stream:error><bad-format "), "{xml}: {out}");
    }
}

#[test]
fn s6_too_high_a_count_is_named() {
    let mut served = enabled();
    let fault = stentor_stream::fault::Fault::AckTooHigh { h: 10, sent: 8 };
    served.machine.close(Some(fault), Millis(0));
    let out = served.say("");
    assert!(
        out.starts_with(
            "<stream:error><undefined-condition xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>\
             <handled-count-too-high xmlns='urn:xmpp:sm:3' h='10' send-count='8'/>"
        ),
        "{out}"
    );
}

#[test]
fn asks_for_acknowledgements_without_being_a_burden() {
    let mut served = enabled();
    let mut out = Vec::new();
    for _ in 0..40 {
        served.machine.send(&message(), &mut out);
    }
    let out = String::from_utf8(out).unwrap();
    assert_eq!(out.matches("<r xmlns='urn:xmpp:sm:3'/>").count(), 1, "one question at a time");
    served.say("<a xmlns='urn:xmpp:sm:3' h='40'/>");
    let due = served.machine.poll_timeout().unwrap();
    served.machine.handle_timeout(due);
    assert_eq!(served.say(""), "<r xmlns='urn:xmpp:sm:3'/>");
}

const RESUME: &str = "<resume xmlns='urn:xmpp:sm:3' h='5' previd='id-1'/>";

/// A machine in front of a shell that gives this answer to a resumption.
fn resuming(answer: Answer) -> (Served, String) {
    let mut accounts = Accounts::capulet();
    accounts.offer.management = true;
    accounts.resumption = Some(answer);
    let mut served = served_by(accounts, At::Bind);
    let out = served.say(RESUME);
    (served, out)
}

#[test]
fn s5_a_session_goes_on() {
    let jid = stentor_jid::FullJid::new("juliet@capulet.example/balcony").unwrap();
    let (mut served, out) = resuming(Answer::Resumed { jid, received: 7 });
    assert_eq!(out, "<resumed xmlns='urn:xmpp:sm:3' h='7' previd='id-1'/>");
    assert!(served.machine.is_established());
    served.say("<presence/>");
    assert_eq!(served.machine.received(), 8, "the counts go on");
}

#[test]
fn s5_a_session_that_is_gone_leaves_binding() {
    let condition = stentor_stanza::Condition::ItemNotFound;
    let (mut served, out) = resuming(Answer::ResumeFailed { condition, h: Some(9) });
    assert_eq!(
        out,
        "<failed xmlns='urn:xmpp:sm:3' h='9'>\
         <item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></failed>"
    );
    assert!(served.say(support::BIND).contains("<jid>juliet@capulet.example/balcony</jid>"));
}

#[test]
fn s5_impossible_counts_and_missing_attributes() {
    let (_, out) = resuming(Answer::ResumeTooHigh { h: 5, sent: 3 });
    assert!(out.contains("<handled-count-too-high xmlns='urn:xmpp:sm:3' h='5' send-count='3'/>"));
    for xml in ["<resume h='1'", "<resume previd='x'", "<resume h='x' previd='x'"] {
        let out = managed(At::Bind).say(&format!("{xml} xmlns='urn:xmpp:sm:3'/>"));
        assert!(out.contains("<bad-request "), "{xml}: {out}");
    }
    // Where there is no stream management at all.
    let out = served(At::Bind).say(RESUME);
    assert!(out.contains("<feature-not-implemented "), "{out}");
}

#[test]
fn resumptions_are_asked_about_by_account() {
    let mut asked = Vec::new();
    let mut accounts = Accounts::capulet();
    accounts.offer.management = true;
    let answer = accounts.answer(Ask::Resume {
        account: stentor_jid::BareJid::new("juliet@capulet.example").unwrap(),
        previd: "x".into(),
        h: 0,
    });
    asked.push(answer);
    assert!(matches!(asked[0], Answer::ResumeFailed { .. }));
}
